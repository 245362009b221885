//! Why there is no way through the upstream proxy.

use std::io;

use super::auth_command::CommandError;
use super::exchange::ExchangeError;
use super::upstream::Sent;
use crate::dial::DialError;
use crate::failure::words;
use crate::handshake::connect::Refused;
use crate::handshake::socks5::Code;
use crate::tls::Fault;

/// Why there is no way through the upstream proxy. "It" in a message is the proxy.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamFault {
    /// The proxy can't be reached.
    #[error("{}", words(.0))]
    Dial(DialError),
    /// TLS with the proxy failed.
    #[error("{}", Fault::of(.0).map_or_else(|| words(.0), ToString::to_string))]
    Tls(io::Error),
    /// The proxy was silent until the deadline.
    #[error("it accepted the connection, but sent no answer")]
    Silent,
    /// The proxy ended the connection, or the connection broke.
    #[error(transparent)]
    Ended(ExchangeError),
    /// Another protocol answers there.
    #[error(transparent)]
    NoProxy(Stranger),
    /// The proxy wants a login, or another one.
    #[error("{answer}")]
    Login {
        /// Its words.
        answer: String,
        /// The authentication schemes that it offers.
        schemes: Vec<String>,
        /// The credentials that the proxy got.
        sent: Sent,
    },
    /// The proxy refused the CONNECT.
    #[error("it answered {}", .0.status_line())]
    Refused(Box<Refused>, Option<String>),
    /// The proxy refused in SOCKS5.
    #[error("it answered: {0}")]
    Socks(Code),
    /// The name of the server can't be resolved here, as socks5:// asks for.
    #[error("{}", words(.0))]
    Resolve(DialError),
    /// The name of the server is too long for SOCKS5.
    #[error("the server's name is longer than SOCKS5 can say")]
    LongName,
    /// The command that logs in failed.
    #[error(transparent)]
    Command(CommandError),
    /// The proxy sent something behind its answer that no server sends before it is asked.
    #[error("it opened the way, and then sent `{0}` before anything was asked")]
    Spoke(String),
}

/// The answer of a server that is not a proxy.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Stranger {
    /// A server with TLS.
    #[error("it speaks TLS")]
    Tls,
    /// An SSH server.
    #[error("an SSH server answered: `{0}`")]
    Ssh(String),
    /// Something else. Holds its first line, as far as it arrived.
    #[error("it answered {}", shown(.0))]
    Other(String),
    /// HTTP that can't be read.
    #[error("its answer can't be read: {0}")]
    Malformed(&'static str),
}

fn shown(line: &str) -> String {
    if line.is_empty() { "in another protocol".to_owned() } else { format!("`{line}`") }
}
