//! The target of a tunnel: a VPS, or any other `host:port`, which is sent to the proxy as it stands.
//!
//! Pure: text in, [`Target`] out. Nothing is looked up here.

use std::fmt;
use std::net::IpAddr;

/// The only port a VPS offers.
pub const SSH_PORT: u16 = 22;

/// The top-level name that stands for "a VPS of the cluster" in an ssh_config.
pub const SUFFIX: &str = ".kohakuriver";

/// Longest host or VPS name taken, in bytes (RFC 1035 §2.3.4 has the same limit for names in the DNS).
const MAX_NAME: usize = 255;

/// A Host's id of a task: a Snowflake number, which fits a positive 64-bit integer.
///
/// The id is kept as a number and shown in its canonical form, so leading zeros don't make a second identity. In JSON it
/// is always a string, since most readers of JSON lose digits above 2^53.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TaskId(u64);

impl TaskId {
    /// Reads one to nineteen ASCII digits, leading zeros included, at most 2^63 − 1. `None` for anything else. Only the
    /// line protocol accepts more leading zeros, as Hosts do.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = (1..=19).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        let id = if digits { text.parse::<u64>().ok()? } else { return None };
        (id <= i64::MAX as u64).then_some(Self(id))
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name that a user or client gave a VPS.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum VpsRef {
    /// By its task id.
    Id(TaskId),
    /// By its name, which the Host must resolve.
    Name(String),
}

impl VpsRef {
    /// Reads a task id, a name, either with `.kohakuriver` behind it, or `kohakuriver-<id>` and
    /// `kohakuriver-vps-<id>`, which existing configurations use.
    ///
    /// # Errors
    /// When it is a number too large for a task id, or a name with characters that no host name can have.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let bare = strip_suffix(text).unwrap_or(text);
        let digits = strip_prefix(bare, "kohakuriver-vps-").or_else(|| strip_prefix(bare, "kohakuriver-"));
        if let Some(id) = digits.and_then(TaskId::parse) {
            return Ok(Self::Id(id));
        }
        if !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_digit()) {
            return TaskId::parse(bare).map(Self::Id).ok_or_else(|| TargetError::IdTooLarge(text.to_owned()));
        }
        check_name(bare, text)?;
        Ok(Self::Name(bare.to_owned()))
    }

    /// Reads what a user typed, who may name a VPS that can't be part of a host name: a Host takes any text as a name.
    ///
    /// # Errors
    /// When it is a number too large for a task id, empty, reads as an option, or can't be shown on a line.
    pub fn typed(text: &str) -> Result<Self, TargetError> {
        match Self::parse(text) {
            Err(TargetError::NoName(_)) if !text.trim().is_empty() && !text.starts_with('-') && is_printable(text) => {
                Ok(Self::Name(text.to_owned()))
            }
            read => read,
        }
    }
}

impl fmt::Display for VpsRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// The target of a tunnel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A VPS of the cluster, port 22.
    Vps(VpsRef),
    /// Another host, for a CONNECT proxy that is not ours.
    Foreign {
        /// A name with a dot or an address, without brackets.
        host: String,
        /// Its TCP port.
        port: u16,
    },
}

impl Target {
    /// Reads `%h` and `%p` of a ProxyCommand.
    ///
    /// # Errors
    /// When `host` can't be one, or a VPS is asked for a port other than 22.
    pub fn parse(host: &str, port: u16) -> Result<Self, TargetError> {
        if strip_suffix(host).is_none() {
            let bare = without_brackets(host);
            let address = bare.split_once('%').map_or(bare, |(address, _zone)| address);
            if address.parse::<IpAddr>().is_ok() || bare.contains('.') {
                // Only a zone may hold `%`; only addresses hold brackets and colons.
                check_name(&address.replace(':', ""), host)?;
                check_name(&bare.replace([':', '%'], ""), host)?;
                return Ok(Self::Foreign { host: bare.to_owned(), port });
            }
        }
        let vps = VpsRef::parse(host)?;
        if port != SSH_PORT {
            return Err(TargetError::Port { target: host.to_owned(), port });
        }
        Ok(Self::Vps(vps))
    }

    /// `host:port` as it stands in a CONNECT request (RFC 9110 §7.1, authority-form), IPv6 in brackets.
    pub fn authority(&self) -> String {
        match self {
            Self::Vps(vps) => format!("{vps}:{SSH_PORT}"),
            Self::Foreign { host, port } => authority(host, *port),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vps(vps) => write!(f, "VPS {vps}"),
            Self::Foreign { .. } => f.write_str(&self.authority()),
        }
    }
}

/// `host` without the brackets around an IPv6 address.
pub fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// `host:port`, with an IPv6 address in brackets.
pub fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Why a text is no target.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Digits only, but no 63-bit number.
    #[error("`{0}` is not a task id: an id has at most 19 digits and is at most 9223372036854775807")]
    IdTooLarge(String),
    /// Empty, too long, or with characters that can't stand in a host name.
    #[error("`{0}` is neither a task id, nor a VPS name, nor a host name")]
    NoName(String),
    /// A VPS, but another port.
    #[error("VPS {target} offers port {SSH_PORT} only, not port {port}")]
    Port {
        /// The VPS as it was named.
        target: String,
        /// The port that was asked for.
        port: u16,
    },
}

fn strip_suffix(text: &str) -> Option<&str> {
    let at = text.len().checked_sub(SUFFIX.len())?;
    (text.is_char_boundary(at) && text[at..].eq_ignore_ascii_case(SUFFIX)).then(|| &text[..at])
}

fn strip_prefix<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

/// Refuses characters that would break a request line (white space, control characters), an authority (`:/?#@[]`), a
/// shell word or a terminal.
fn check_name(name: &str, as_typed: &str) -> Result<(), TargetError> {
    let fits = |c: char| !c.is_whitespace() && !c.is_control() && !":/?#@[]%\\\"'`<>".contains(c);
    if name.is_empty() || name.len() > MAX_NAME || name.starts_with('-') || !name.chars().all(fits) {
        return Err(TargetError::NoName(as_typed.to_owned()));
    }
    Ok(())
}

/// Whether a text has no control characters.
fn is_printable(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digits: &str) -> Target {
        Target::Vps(VpsRef::Id(TaskId::parse(digits).unwrap()))
    }

    fn name(name: &str) -> Target {
        Target::Vps(VpsRef::Name(name.to_owned()))
    }

    fn foreign(host: &str, port: u16) -> Target {
        Target::Foreign { host: host.to_owned(), port }
    }

    #[test]
    fn every_form_of_a_vps() {
        for (text, expected) in [
            ("7323718749301768192", id("7323718749301768192")),
            ("7323718749301768192.kohakuriver", id("7323718749301768192")),
            ("7323718749301768192.KohakuRiver", id("7323718749301768192")),
            ("kohakuriver-7323718749301768192", id("7323718749301768192")),
            ("kohakuriver-vps-7323718749301768192", id("7323718749301768192")),
            ("KOHAKURIVER-VPS-42.kohakuriver", id("42")),
            ("0042", id("42")),
            ("0000000000000000042", id("42")),
            ("9223372036854775807", id("9223372036854775807")),
            ("trainer", name("trainer")),
            ("trainer.kohakuriver", name("trainer")),
            ("my.trainer.kohakuriver", name("my.trainer")),
            ("kohakuriver-trainer", name("kohakuriver-trainer")),
            ("größe.kohakuriver", name("größe")),
        ] {
            assert_eq!(Target::parse(text, 22), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_user_may_name_what_no_host_name_can_be() {
        let long = "ä".repeat(200);
        for text in ["a b", " a", "a:b", "a/b#c", "100%", "a@b", "größe", "a\\b", "it's \"x\"", "<a>", &long] {
            assert_eq!(VpsRef::typed(text), Ok(VpsRef::Name(text.to_owned())));
        }
        assert_eq!(VpsRef::typed("a b.kohakuriver"), Ok(VpsRef::Name("a b.kohakuriver".to_owned())));
        assert_eq!(VpsRef::typed("kohakuriver-7.kohakuriver"), Ok(VpsRef::Id(TaskId(7))));
        for text in ["", "  ", "-x", "a\nb", "\x1b[2J", "99999999999999999999"] {
            assert!(VpsRef::typed(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_with_a_dot_and_addresses_are_sent_as_they_stand() {
        for (text, expected, authority) in [
            ("example.org", foreign("example.org", 22), "example.org:22"),
            ("127.0.0.1", foreign("127.0.0.1", 2222), "127.0.0.1:2222"),
            ("::1", foreign("::1", 22), "[::1]:22"),
            ("[fe80::1%eth0]", foreign("fe80::1%eth0", 22), "[fe80::1%eth0]:22"),
        ] {
            let Target::Foreign { port, .. } = expected else { panic!("{text}") };
            let target = Target::parse(text, port).unwrap();
            assert_eq!(target, expected, "{text}");
            assert_eq!(target.authority(), authority);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let long = "x".repeat(256);
        for text in [
            "",
            ".kohakuriver",
            "a b",
            "a\nb",
            "a\r\nHost: x",
            "a:b",
            "[x]",
            "a/b",
            "-oProxyCommand=x",
            "a@b",
            "\x1b[2J",
            "x.y\nz",
            "::1\n",
            "1.2.3.4\r",
            &long,
        ] {
            assert!(matches!(Target::parse(text, 22), Err(TargetError::NoName(_))), "{text:?}");
        }
        // 23 digits are too many even if four of them are leading zeros.
        for text in [
            "00007323718749301768192",
            "9223372036854775808",
            "99999999999999999999",
            "9223372036854775808.kohakuriver",
        ] {
            assert!(matches!(Target::parse(text, 22), Err(TargetError::IdTooLarge(_))), "{text}");
        }
        assert!(matches!(Target::parse("42", 2222), Err(TargetError::Port { port: 2222, .. })));
    }
}
