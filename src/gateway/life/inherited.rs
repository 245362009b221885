//! Listening sockets that were open before this process started: from a service manager (sd_listen_fds(3)), or from the
//! gateway that this process replaces. So no connection attempt is lost between two processes.

use std::io;

use listenfd::ListenFd;
use tokio::net::TcpListener;

use crate::failure::Failure;
use crate::gateway::front::admin_socket::AdminSocket;
use crate::gateway::life::predecessor::Predecessor;
use crate::gateway::life::wire::Purpose;
use crate::gateway::roster::previous::PreviousProcesses;
use crate::settings::env_vars::LISTEN_FDNAMES;
use crate::sys::{self, OwnedFd};

/// The sockets, and the gateway that passed them on, if a gateway did.
#[derive(Default)]
pub(crate) struct Inherited {
    sockets: Vec<(Purpose, OwnedFd)>,
    /// The gateway that this process replaces.
    pub(crate) predecessor: Option<Predecessor>,
}

impl Inherited {
    /// Takes the sockets that were passed to this process. Must be called first, and once: it changes the environment, so
    /// that a child process doesn't take the sockets for its own.
    pub(crate) fn take() -> Result<Self, Failure> {
        let unusable = |error: io::Error| {
            Failure::usage("cannot use the sockets that the service manager passes")
                .because(&error)
                .hint("pass sockets that listen, `ListenStream=` and `Accept=no` in the socket unit: of TCP, or of UNIX for `admin`")
        };
        match Predecessor::from_env() {
            Some(predecessor) => {
                let taken = predecessor.and_then(|predecessor| {
                    let sockets = predecessor.receive()?;
                    let mut listeners =
                        sockets.iter().filter(|(purpose, _)| !matches!(purpose, Purpose::Line | Purpose::Sessions));
                    listeners.try_for_each(|(_, socket)| check_listens(socket))?;
                    Ok(Self { sockets, predecessor: Some(predecessor) })
                });
                taken.map_err(|error| Failure::new("cannot take the place of an older gateway").because(&error))
            }
            None => Ok(Self { sockets: from_service_manager().map_err(unusable)?, predecessor: None }),
        }
    }

    /// Takes the listeners for `purpose`. Needs a runtime.
    pub(crate) fn listeners(&mut self, purpose: Purpose) -> io::Result<Vec<TcpListener>> {
        self.take_for(purpose).map(listener).collect()
    }

    fn take_for(&mut self, purpose: Purpose) -> impl Iterator<Item = OwnedFd> {
        self.sockets.extract_if(.., move |(other, _)| *other == purpose).map(|(_, socket)| socket)
    }

    /// Takes the sockets for the admin. Needs a runtime.
    pub(crate) fn admin(&mut self) -> io::Result<Vec<AdminSocket>> {
        let is_admins = |purpose: Purpose| matches!(purpose, Purpose::Admin | Purpose::AdminWithFile);
        let sockets = self.sockets.extract_if(.., |(purpose, _)| is_admins(*purpose));
        let socket = |(purpose, socket)| match sys::is_local(&socket)? {
            true => AdminSocket::passed_locally(sys::local_listener(socket)?, purpose == Purpose::AdminWithFile),
            false => listener(socket).map(AdminSocket::Tcp),
        };
        sockets.map(socket).collect()
    }

    /// Takes the lines to the previous processes.
    pub(crate) fn previous(&mut self) -> io::Result<PreviousProcesses> {
        let last_id = self.predecessor.as_ref().map_or(0, |predecessor| predecessor.last_id);
        PreviousProcesses::new(last_id, self.take_for(Purpose::Line).collect())
    }

    /// Takes the socket on which the gateway that this process replaces passes its resumable tunnels on.
    pub(crate) fn sessions(&mut self) -> Option<OwnedFd> {
        self.take_for(Purpose::Sessions).next()
    }
}

fn from_service_manager() -> io::Result<Vec<(Purpose, OwnedFd)>> {
    let mut passed = ListenFd::from_env();
    let names = std::env::var(LISTEN_FDNAMES).unwrap_or_default();
    let mut names = names.split(':');
    let mut sockets = Vec::with_capacity(passed.len());
    for number in 0..passed.len() {
        let purpose = Purpose::named(names.next().unwrap_or_default());
        let socket: Option<OwnedFd> = match passed.take_tcp_listener(number) {
            Err(_) if purpose == Purpose::Admin => passed.take_unix_listener(number)?.map(Into::into),
            taken => taken?.map(Into::into),
        };
        if let Some(socket) = socket {
            check_listens(&socket)?;
            sockets.push((purpose, socket));
        }
    }
    Ok(sockets)
}

fn check_listens(socket: &OwnedFd) -> io::Result<()> {
    match sys::is_listening(socket)? {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "a socket that does not listen")),
    }
}

/// Readies a TCP socket for the asynchronous runtime.
fn listener(socket: OwnedFd) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::from(socket);
    sys::tune(&listener)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_socket_must_listen() {
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        let connected = TcpStream::connect(listening.local_addr().unwrap()).unwrap();
        assert!(super::check_listens(&listening.into()).is_ok());
        assert_eq!(super::check_listens(&connected.into()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(super::check_listens(&std::fs::File::open("/dev/null").unwrap().into()).is_err());
    }
}
