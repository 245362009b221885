//! The messages of a hand-over between two gateways.
//!
//! ```text
//!  predecessor                                     successor
//!  environment: VERSION and the last tunnel's id ──▶ refuses another version, and exits
//!  each socket, with one byte for its purpose    ──▶
//!  end of stream                                 ──▶ takes the sockets, serves
//!                                                ◀── one byte: VERSION. The predecessor stays if it is another.
//!  each resumable tunnel, on a socket of its own ──▶ carries it on
//!                                                ◀── one byte: the predecessor closes the client's connection
//! ```

/// The version of all this. It changes when an older program would misunderstand a newer one.
pub(super) const VERSION: u8 = 1;

/// The purpose of a socket that is passed, and the byte beside it at a hand-over. All but [`Purpose::Line`] and
/// [`Purpose::Sessions`] listen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Purpose {
    /// Tunnels.
    Tunnels = b't',
    /// The Host API of the inventory.
    Api = b'a',
    /// The admin.
    Admin = b'm',
    /// The admin, on a UNIX socket whose file the gateway has made, and removes when it stops.
    AdminWithFile = b'f',
    /// A line to a previous process.
    Line = b'l',
    /// Tunnels, over TLS.
    Tls = b's',
    /// The sessions of resumable tunnels, one after the other.
    Sessions = b'r',
}

impl Purpose {
    /// The purposes of sockets that a service manager passes, with their names in `FileDescriptorName=`.
    const NAMES: [(Self, &str); 4] =
        [(Self::Tunnels, "tunnels"), (Self::Api, "api"), (Self::Admin, "admin"), (Self::Tls, "tls")];

    /// The purpose of a socket with this name. A unit that gives no name has its own name here, and a single socket
    /// needs none.
    pub(super) fn named(name: &str) -> Self {
        Self::NAMES.iter().find(|(_, known)| *known == name).map_or(Self::Tunnels, |(purpose, _)| *purpose)
    }

    pub(super) fn of_byte(byte: u8) -> Option<Self> {
        let all = [Self::Tunnels, Self::Api, Self::Admin, Self::AdminWithFile, Self::Line, Self::Tls, Self::Sessions];
        all.into_iter().find(|purpose| *purpose as u8 == byte)
    }
}

/// The value of the environment variable: the version, and the id of the last tunnel.
pub(super) fn greeting(last_id: u64) -> String {
    format!("{VERSION} {last_id}")
}

/// Reads [`greeting`]. The error is the reason for a refusal.
pub(super) fn read_greeting(greeting: &str) -> Result<u64, String> {
    let (version, last_id) = greeting.split_once(' ').unwrap_or((greeting, ""));
    if version != VERSION.to_string() {
        return Err(format!(
            "it hands over by version `{}`, and this program by version {VERSION}",
            version.escape_debug()
        ));
    }
    last_id.parse().map_err(|_| "it gives no tunnel id to count up from".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_bytes_of_purposes() {
        for (name, purpose) in [
            ("tunnels", Purpose::Tunnels),
            ("api", Purpose::Api),
            ("admin", Purpose::Admin),
            ("tls", Purpose::Tls),
            ("kohakuriver-gateway.socket", Purpose::Tunnels),
            ("unknown", Purpose::Tunnels),
            ("", Purpose::Tunnels),
        ] {
            assert_eq!(Purpose::named(name), purpose, "{name}");
            assert_eq!(Purpose::of_byte(purpose as u8), Some(purpose));
        }
        for purpose in [Purpose::AdminWithFile, Purpose::Line, Purpose::Sessions] {
            assert_eq!(Purpose::of_byte(purpose as u8), Some(purpose));
        }
        assert_eq!(Purpose::of_byte(0), None);
    }

    #[test]
    fn only_the_own_version_is_understood() {
        assert_eq!(read_greeting(&greeting(1_000_042)), Ok(1_000_042));
        for (greeting, why) in [
            ("2 1000042", "it hands over by version `2`, and this program by version 1"),
            ("1000042", "it hands over by version `1000042`, and this program by version 1"),
            ("", "it hands over by version ``, and this program by version 1"),
            ("1", "it gives no tunnel id to count up from"),
            ("1 x", "it gives no tunnel id to count up from"),
        ] {
            assert_eq!(read_greeting(greeting), Err(why.to_owned()), "{greeting}");
        }
    }
}
