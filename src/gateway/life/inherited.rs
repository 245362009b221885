//! Listening sockets that were open before this process was, so that no connection attempt falls between it and the one
//! before: from a service manager (sd_listen_fds(3)), or from the gateway whose place this one takes.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

use listenfd::ListenFd;

use crate::failure::Failure;
use crate::gateway::life::elders::Elders;
use crate::gateway::life::hand_over::{Parent, PassedOn};
use crate::settings::env_vars::LISTEN_FDNAMES;
use crate::sys;

/// What a listening socket is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// Tunnels.
    Tunnels,
    /// The Host API of the inventory.
    Api,
    /// The admin.
    Admin,
}

impl Purpose {
    /// Every purpose, and its name in `FileDescriptorName=`.
    const NAMES: [(Self, &str); 3] = [(Self::Tunnels, "tunnels"), (Self::Api, "api"), (Self::Admin, "admin")];

    /// What a socket of this name is for. A unit that names none gets its own name, and one socket needs none.
    fn named(name: &str) -> Self {
        Self::NAMES.iter().find(|(_, known)| *known == name).map_or(Self::Tunnels, |(purpose, _)| *purpose)
    }

    /// The byte beside its socket when it is handed over.
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::Tunnels => b't',
            Self::Api => b'a',
            Self::Admin => b'm',
        }
    }

    fn of_byte(byte: u8) -> Option<Self> {
        Self::NAMES.iter().map(|(purpose, _)| *purpose).find(|purpose| purpose.byte() == byte)
    }
}

/// The sockets, and the gateway that passed them on, if it was one.
#[derive(Default)]
pub(crate) struct Inherited {
    sockets: Vec<(Purpose, TcpListener)>,
    parent: Option<(Parent, PassedOn)>,
}

impl Inherited {
    /// Takes what was passed to this process. To be called first, and once: it changes the environment, so that what is
    /// started later doesn't take the sockets for its own.
    pub(crate) fn take() -> Result<Self, Failure> {
        let unusable = |error: io::Error| {
            Failure::usage("cannot use the sockets that the service manager passes")
                .because(&error)
                .hint("pass TCP sockets that listen: `ListenStream=` and `Accept=no` in the socket unit")
        };
        match Parent::from_env() {
            Some(parent) => {
                let taken = parent.and_then(|parent| {
                    let mut passed_on = parent.passes_on()?;
                    let named = |(byte, socket)| {
                        let purpose = Purpose::of_byte(byte).ok_or_else(|| io::Error::other("an unknown purpose"))?;
                        Ok((purpose, listener(socket)?))
                    };
                    let sockets = passed_on.listening.drain(..).map(named).collect::<io::Result<_>>()?;
                    Ok(Self { sockets, parent: Some((parent, passed_on)) })
                });
                taken.map_err(|error| Failure::new("cannot take the place of an older gateway").because(&error))
            }
            None => Ok(Self { sockets: from_service_manager().map_err(unusable)?, parent: None }),
        }
    }

    /// Takes those for `purpose`.
    pub(crate) fn listeners(&mut self, purpose: Purpose) -> io::Result<Vec<tokio::net::TcpListener>> {
        let of_purpose = self.sockets.extract_if(.., |(other, _)| *other == purpose);
        of_purpose.map(|(_, listener)| tokio::net::TcpListener::from_std(listener)).collect()
    }

    /// The processes before this one. To be called once.
    pub(crate) fn elders(&mut self) -> io::Result<Elders> {
        self.parent.as_mut().map_or_else(|| Ok(Elders::default()), |(_, passed_on)| passed_on.elders())
    }

    /// The gateway whose place this one takes.
    pub(crate) fn parent(self) -> Option<Parent> {
        self.parent.map(|(parent, _)| parent)
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

/// A socket that was passed, if it listens, made ready for the asynchronous runtime.
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
    fn names_and_bytes_of_purposes() {
        for (name, purpose) in [
            ("tunnels", Purpose::Tunnels),
            ("api", Purpose::Api),
            ("admin", Purpose::Admin),
            ("kohakuriver-gateway.socket", Purpose::Tunnels),
            ("unknown", Purpose::Tunnels),
            ("", Purpose::Tunnels),
        ] {
            assert_eq!(Purpose::named(name), purpose, "{name}");
            assert_eq!(Purpose::of_byte(purpose.byte()), Some(purpose));
        }
        assert_eq!(Purpose::of_byte(0), None);
    }

    #[test]
    fn a_socket_must_listen() {
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        let connected = TcpStream::connect(listening.local_addr().unwrap()).unwrap();
        assert!(listener(listening.into()).is_ok());
        assert_eq!(listener(connected.into()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(listener(std::fs::File::open("/dev/null").unwrap().into()).is_err());
    }
}
