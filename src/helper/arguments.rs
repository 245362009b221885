//! The helper's command line, as typed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::seconds;
use crate::settings::ProxyAddress;
use crate::target::SSH_PORT;

/// Open an SSH tunnel to a KohakuRiver VPS, as the ProxyCommand of ssh
///
/// Takes an HTTP CONNECT tunnel through the Host's SSH proxy and pipes it to stdin and stdout, or hands ssh the socket.
/// Works through any other HTTP CONNECT proxy as well.
#[derive(Parser, Clone, Debug)]
#[command(name = "kohakuriver-proxy", version, after_help = AFTER_HELP)]
pub struct Arguments {
    /// Task id or name of the VPS, with or without `.kohakuriver`; or any other host
    ///
    /// A host name with a dot, or an address, is sent to the proxy as it stands.
    #[arg(value_name = "TARGET")]
    pub target: String,

    /// TCP port to ask for; a VPS offers 22 only
    #[arg(value_name = "PORT", default_value_t = SSH_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,

    /// Hand ssh the connected socket and exit (for `ProxyUseFdpass yes`)
    ///
    /// Where stdin and stdout are not one UNIX socket, bytes are piped instead.
    #[arg(long)]
    pub fdpass: bool,

    /// Connect through this proxy [default: the Host, port 8002]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub proxy: Option<ProxyAddress>,

    /// Look names up at this Host's API [default: the Host, port 8000]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub host_api: Option<ProxyAddress>,

    /// Speak this protocol with the proxy
    #[arg(long, value_enum, default_value_t = ProtocolChoice::Auto)]
    pub protocol: ProtocolChoice,

    /// Give up when the VPS has not said its first byte by then
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds::parse)]
    pub connect_timeout: Duration,

    /// Keep trying while the VPS is starting, for 300 seconds unless told otherwise
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = seconds::DEFAULT_WAIT,
          value_parser = seconds::parse)]
    pub wait: Option<Duration>,

    /// Append failures to this file; `%p` in it is the parent's process id [env: KOHAKURIVER_LOG_FILE]
    #[arg(long, value_name = "PATH")]
    pub log_file: Option<PathBuf>,

    /// Say each step on stderr
    #[arg(short, long)]
    pub verbose: bool,
}

const AFTER_HELP: &str = "\
Example, in ~/.ssh/config:
  Host *.kohakuriver
      User root
      ProxyCommand kohakuriver-proxy --fdpass %h %p
      ProxyUseFdpass yes
      ServerAliveInterval 30

Exit status: 0 the tunnel opened and ended normally; 1 it did not; 2 wrong usage.";

/// Which protocol to speak with the proxy.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProtocolChoice {
    /// HTTP CONNECT, and the older line protocol when the answer shows an older Host
    Auto,
    /// HTTP CONNECT only
    Connect,
    /// The older Hosts' line protocol only
    RequestTunnel,
}

impl Arguments {
    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    /// Clap's, which also says what `--help` and `--version` print.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(seconds::settle_wait(words.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn wait_takes_seconds_or_none() {
        let read = |line: &str| {
            let words = std::iter::once("kohakuriver-proxy").chain(line.split(' ')).map(OsString::from);
            let arguments = Arguments::read(words).unwrap();
            (arguments.wait.map(|wait| wait.as_secs()), arguments.target, arguments.port)
        };
        let id = "7323718749301768192";
        for (line, wait) in [
            (format!("{id} 22"), None),
            (format!("--wait {id} 22"), Some(300)),
            (format!("--wait 60 {id} 22"), Some(60)),
            (format!("--wait=60 {id}"), Some(60)),
            (format!("{id} --wait 60"), Some(60)),
            (format!("{id} 22 --wait"), Some(300)),
            (format!("--wait --fdpass {id}"), Some(300)),
        ] {
            assert_eq!(read(&line), (wait, id.to_owned(), 22), "{line}");
        }
    }
}
