//! Whether the tunnels of entries and commands survive their connection, and the reason.
//!
//! A tunnel whose socket is ssh's own is the fastest one, and ends with that socket. So on a network that can be relied
//! on, ssh gets the socket. Elsewhere a process of the helper carries the bytes, and the tunnel is resumable.

/// The flag that demands this of tunnels, of the helper and of `ssh config`.
pub fn resume_flag(demand: bool) -> &'static str {
    if demand { "--resume" } else { "--no-resume" }
}

/// Whether tunnels are resumable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resume {
    /// The user says so.
    Demanded {
        /// Whether tunnels are resumable.
        is_on: bool,
        /// Whether a flag says so, and not the setting.
        by_flag: bool,
    },
    /// Tunnels are resumable: the helper carries the bytes of TLS in any case.
    Tls,
    /// Tunnels are resumable: a proxy is on the way.
    Upstream,
    /// Tunnels are resumable: the gateway has an address of the internet.
    Internet,
    /// Tunnels are resumable only if ssh can't get the socket: the gateway is in a private network.
    Near,
}

impl Resume {
    /// The helper's option, where its own choice would be another.
    pub fn option(self) -> Option<&'static str> {
        match self {
            Self::Demanded { is_on, .. } => Some(resume_flag(is_on)),
            Self::Upstream | Self::Internet => Some(resume_flag(true)),
            Self::Tls | Self::Near => None,
        }
    }

    /// Whether tunnels are resumable, where ssh asks the helper for a socket (`fdpass`), or does not.
    pub fn is_on(self, fdpass: bool) -> bool {
        match self {
            Self::Demanded { is_on, .. } => is_on,
            Self::Tls | Self::Upstream | Self::Internet => true,
            Self::Near => !fdpass,
        }
    }

    /// The words for a user: whether tunnels are resumable, and why.
    pub fn explained(self, fdpass: bool) -> String {
        let reason = match self {
            Self::Demanded { is_on: true, by_flag: true } => "`--resume` was given",
            Self::Demanded { is_on: false, by_flag: true } => "`--no-resume` was given",
            Self::Demanded { is_on: true, by_flag: false } => "the setting `resume` is on",
            Self::Demanded { is_on: false, by_flag: false } => "the setting `resume` is off",
            Self::Tls => "a process of the helper carries the bytes of TLS in any case",
            Self::Upstream => "the proxy on the way may end connections",
            Self::Internet => "the gateway is in the internet",
            Self::Near if fdpass => {
                "the gateway is in a private network, and ssh gets the socket itself, which is fastest"
            }
            Self::Near => {
                "ssh does not get the socket itself, so a process of the helper carries the bytes in any case"
            }
        };
        format!("tunnels are {}resumable: {reason}", if self.is_on(fdpass) { "" } else { "not " })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_private_network_the_socket_decides() {
        assert!(
            Resume::Near.explained(true).starts_with("tunnels are not resumable: the gateway is in a private network")
        );
        assert!(Resume::Near.explained(false).starts_with("tunnels are resumable: ssh does not get the socket itself"));
        assert!(Resume::Internet.explained(true).starts_with("tunnels are resumable: the gateway is in the internet"));
    }
}
