//! Listening sockets that were open before this process started: from a service manager (sd_listen_fds(3)), or from the
//! gateway that this process replaces. So no connection attempt is lost between two processes.

use std::io;
use std::net::TcpListener;

use listenfd::ListenFd;

use crate::failure::Failure;
use crate::gateway::life::predecessor::{PassedOn, Predecessor};
use crate::gateway::life::previous::PreviousProcesses;
use crate::gateway::life::wire::Purpose;
use crate::settings::env_vars::LISTEN_FDNAMES;
use crate::sys::{self, OwnedFd};

/// The sockets, and the gateway that passed them on, if a gateway did.
#[derive(Default)]
pub(crate) struct Inherited {
    sockets: Vec<(Purpose, TcpListener)>,
    predecessor: Option<(Predecessor, PassedOn)>,
}

impl Inherited {
    /// Takes the sockets that were passed to this process. Must be called first, and once: it changes the environment, so
    /// that a child process doesn't take the sockets for its own.
    pub(crate) fn take() -> Result<Self, Failure> {
        let unusable = |error: io::Error| {
            Failure::usage("cannot use the sockets that the service manager passes")
                .because(&error)
                .hint("pass TCP sockets that listen: `ListenStream=` and `Accept=no` in the socket unit")
        };
        match Predecessor::from_env() {
            Some(predecessor) => {
                let taken = predecessor.and_then(|predecessor| {
                    let mut passed_on = predecessor.receive()?;
                    let named = |(byte, socket)| {
                        let purpose = Purpose::of_byte(byte).ok_or_else(|| io::Error::other("an unknown purpose"))?;
                        Ok((purpose, listener(socket)?))
                    };
                    let sockets = passed_on.listening.drain(..).map(named).collect::<io::Result<_>>()?;
                    Ok(Self { sockets, predecessor: Some((predecessor, passed_on)) })
                });
                taken.map_err(|error| Failure::new("cannot take the place of an older gateway").because(&error))
            }
            None => Ok(Self { sockets: from_service_manager().map_err(unusable)?, predecessor: None }),
        }
    }

    /// Takes the listeners for `purpose`.
    pub(crate) fn listeners(&mut self, purpose: Purpose) -> io::Result<Vec<tokio::net::TcpListener>> {
        let of_purpose = self.sockets.extract_if(.., |(other, _)| *other == purpose);
        of_purpose.map(|(_, listener)| tokio::net::TcpListener::from_std(listener)).collect()
    }

    /// Takes the lines to the previous processes.
    pub(crate) fn previous(&mut self) -> io::Result<PreviousProcesses> {
        let passed_on = self.predecessor.as_mut();
        passed_on.map_or_else(|| Ok(PreviousProcesses::default()), |(_, passed_on)| passed_on.previous())
    }

    /// The gateway that this process replaces.
    pub(crate) fn predecessor(self) -> Option<Predecessor> {
        self.predecessor.map(|(predecessor, _)| predecessor)
    }
}

fn from_service_manager() -> io::Result<Vec<(Purpose, TcpListener)>> {
    let mut passed = ListenFd::from_env();
    let names = std::env::var(LISTEN_FDNAMES).unwrap_or_default();
    let mut names = names.split(':');
    let mut sockets = Vec::with_capacity(passed.len());
    for number in 0..passed.len() {
        let purpose = Purpose::named(names.next().unwrap_or_default());
        if let Some(socket) = passed.take_tcp_listener(number)? {
            sockets.push((purpose, listener(socket.into())?));
        }
    }
    Ok(sockets)
}

/// Readies a passed socket for the asynchronous runtime, if it listens.
fn listener(socket: OwnedFd) -> io::Result<TcpListener> {
    if !sys::is_listening(&socket)? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a socket that does not listen"));
    }
    let listener = TcpListener::from(socket);
    sys::tune(&listener)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn a_socket_must_listen() {
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        let connected = TcpStream::connect(listening.local_addr().unwrap()).unwrap();
        assert!(listener(listening.into()).is_ok());
        assert_eq!(listener(connected.into()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(listener(std::fs::File::open("/dev/null").unwrap().into()).is_err());
    }
}
