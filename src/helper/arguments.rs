//! The helper's command line, as typed.
//!
//! Read with a small lexer: the helper starts anew for every connection, and a general parser would be a fifth of its
//! size and of the time it takes to start.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::Arg::{Long, Short, Value};

use crate::failure::Failure;
use crate::seconds;
use crate::settings::ProxyAddress;
use crate::target::SSH_PORT;

/// Which tunnel to open, and how.
#[derive(Clone, Debug)]
pub struct Arguments {
    /// Task id or name of the VPS, with or without `.kohakuriver`; or any other host.
    pub target: String,
    /// TCP port to ask for; a VPS offers 22 only.
    pub port: u16,
    /// Hand ssh the connected socket and exit.
    pub fdpass: bool,
    /// The proxy, when it is not the one of the settings.
    pub proxy: Option<ProxyAddress>,
    /// The Host API that names are looked up at, when it is not the one of the settings.
    pub host_api: Option<ProxyAddress>,
    /// Which protocol to speak with the proxy.
    pub protocol: ProtocolChoice,
    /// When to give up on the VPS's first byte.
    pub connect_timeout: Duration,
    /// For how long to keep trying while the VPS is starting.
    pub wait: Option<Duration>,
    /// Where failures are appended.
    pub log_file: Option<PathBuf>,
    /// Say each step on stderr.
    pub verbose: bool,
}

/// Which protocol to speak with the proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProtocolChoice {
    /// HTTP CONNECT, and the older line protocol when the answer shows an older Host
    Auto,
    /// HTTP CONNECT only
    Connect,
    /// The older Hosts' line protocol only
    RequestTunnel,
}

/// What a command line asks for.
#[derive(Clone, Debug)]
pub enum Asked {
    /// A tunnel.
    Tunnel(Arguments),
    /// This text on stdout: the help or the version.
    Text(&'static str),
}

/// The text of `--help`. The manual page is made from it.
pub const HELP: &str = "\
Open an SSH tunnel to a KohakuRiver VPS, as the ProxyCommand of ssh

Takes an HTTP CONNECT tunnel through the Host's SSH proxy and pipes it to stdin and stdout, or hands ssh the socket.
Works through any other HTTP CONNECT proxy as well.

Usage: kohakuriver-proxy [OPTIONS] <TARGET> [PORT]

Arguments:
  <TARGET>  Task id or name of the VPS, with or without `.kohakuriver`; or any other host: a name with a dot, or an
            address, is sent to the proxy as it stands
  [PORT]    TCP port to ask for; a VPS offers 22 only [default: 22]

Options:
      --fdpass                     Hand ssh the connected socket and exit (for `ProxyUseFdpass yes`); where stdout
                                   is no UNIX socket, or stdin is another one, bytes are piped instead
      --proxy <HOST[:PORT]>        Connect through this proxy [default: the Host, port 8002]
      --host-api <HOST[:PORT]>     Look names up at this Host's API [default: the Host, port 8000]
      --protocol <PROTOCOL>        Speak this protocol with the proxy [default: auto]
                                     auto: HTTP CONNECT, and the line protocol when an older Host answers
                                     connect: HTTP CONNECT only
                                     request-tunnel: the older Hosts' line protocol only
      --connect-timeout <SECONDS>  Give up when the VPS has not said its first byte by then [default: 20]
      --wait [<SECONDS>]           Keep trying while the VPS is starting, for 300 seconds unless told otherwise; the
                                   tunnel that opens has --connect-timeout for its first byte all the same
      --log-file <PATH>            Append failures to this file; `%p` in it is the parent's process id
                                   [env: KOHAKURIVER_LOG_FILE]
  -v, --verbose                    Say each step on stderr
  -h, --help                       Print help
  -V, --version                    Print version

Example, in ~/.ssh/config:
  Host *.kohakuriver
      User root
      ProxyCommand kohakuriver-proxy --fdpass %h %p
      ProxyUseFdpass yes
      ServerAliveInterval 30

Exit status: 0 the tunnel opened and ended normally; 1 it did not; 2 wrong usage.
";

const VERSION: &str = concat!("kohakuriver-proxy ", env!("CARGO_PKG_VERSION"), "\n");

/// What `--connect-timeout` is without being given.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

impl Arguments {
    /// Reads a command line, the program's name first. Of an option that is given twice, the last one counts.
    ///
    /// # Errors
    /// When it is no command line of this program.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Asked, Failure> {
        let mut words = lexopt::Parser::from_iter(seconds::settle_wait(words.into_iter().collect()));
        let mut positional = Vec::new();
        let mut read = Self {
            target: String::new(),
            port: SSH_PORT,
            fdpass: false,
            proxy: None,
            host_api: None,
            protocol: ProtocolChoice::Auto,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            wait: None,
            log_file: None,
            verbose: false,
        };
        let unreadable = |error: lexopt::Error| wrong(error.to_string());
        while let Some(word) = words.next().map_err(unreadable)? {
            match word {
                Short('h') | Long("help") => return Ok(Asked::Text(HELP)),
                Short('V') | Long("version") => return Ok(Asked::Text(VERSION)),
                Short('v') | Long("verbose") => read.verbose = true,
                Long("fdpass") => read.fdpass = true,
                Long("proxy") => read.proxy = Some(value(&mut words, "--proxy", str::parse)?),
                Long("host-api") => read.host_api = Some(value(&mut words, "--host-api", str::parse)?),
                Long("protocol") => read.protocol = value(&mut words, "--protocol", protocol)?,
                Long("connect-timeout") => {
                    read.connect_timeout = value(&mut words, "--connect-timeout", seconds::parse)?;
                }
                Long("wait") => read.wait = Some(value(&mut words, "--wait", seconds::parse)?),
                Long("log-file") => read.log_file = Some(words.value().map_err(unreadable)?.into()),
                Value(word) => positional.push(word.to_string_lossy().into_owned()),
                unknown => return Err(unreadable(unknown.unexpected())),
            }
        }
        read.place(positional)?;
        Ok(Asked::Tunnel(read))
    }

    fn place(&mut self, positional: Vec<String>) -> Result<(), Failure> {
        let mut words = positional.into_iter();
        self.target = words.next().ok_or_else(|| wrong("no TARGET is named"))?;
        if let Some(port) = words.next() {
            self.port = port.parse().ok().filter(|&number| number > 0).ok_or_else(|| {
                wrong(format!("PORT is `{port}`, which is no TCP port")).cause("it is a number from 1 to 65535")
            })?;
        }
        match words.next() {
            Some(more) => Err(wrong(format!("`{more}` is one word too many behind TARGET and PORT"))),
            None => Ok(()),
        }
    }
}

/// The value of the option that was just read.
fn value<T, E: Display>(
    words: &mut lexopt::Parser,
    option: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, Failure> {
    let text = words.value().map_err(|error| wrong(error.to_string()))?;
    let text = text.to_string_lossy();
    parse(&text).map_err(|error| wrong(format!("{option} is `{text}`")).cause(error.to_string()))
}

fn wrong(what: impl Into<String>) -> Failure {
    Failure::usage(what).hint("see `kohakuriver-proxy --help`")
}

fn protocol(text: &str) -> Result<ProtocolChoice, &'static str> {
    match text {
        "auto" => Ok(ProtocolChoice::Auto),
        "connect" => Ok(ProtocolChoice::Connect),
        "request-tunnel" => Ok(ProtocolChoice::RequestTunnel),
        _ => Err("it is one of auto, connect and request-tunnel"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "7323718749301768192";

    fn read(line: &str) -> Result<Asked, Failure> {
        Arguments::read(std::iter::once("kohakuriver-proxy").chain(line.split(' ')).map(OsString::from))
    }

    fn tunnel(line: &str) -> Arguments {
        match read(line) {
            Ok(Asked::Tunnel(arguments)) => arguments,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_target_alone_gets_the_defaults() {
        let all = tunnel(ID);
        assert_eq!((all.target.as_str(), all.port, all.protocol), (ID, 22, ProtocolChoice::Auto));
        assert_eq!((all.connect_timeout, all.wait), (Duration::from_secs(20), None));
        assert!(!all.fdpass && !all.verbose && all.proxy.is_none() && all.log_file.is_none());
    }

    #[test]
    fn options_stand_anywhere_with_their_value_behind_them_or_behind_a_sign() {
        for line in [
            "--fdpass -v --proxy door:9 --protocol connect --connect-timeout 0.5 --log-file /l vps 2022",
            "vps --proxy=door:9 --fdpass 2022 --protocol=connect --verbose --connect-timeout=0.5 --log-file=/l",
            "--proxy lost --proxy door:9 --fdpass --protocol connect --connect-timeout 0.5 --log-file /l -v -- vps 2022",
        ] {
            let all = tunnel(line);
            assert_eq!((all.target.as_str(), all.port, all.protocol), ("vps", 2022, ProtocolChoice::Connect), "{line}");
            assert_eq!(all.proxy, Some("door:9".parse().unwrap()), "{line}");
            assert_eq!(all.connect_timeout, Duration::from_millis(500), "{line}");
            assert_eq!(all.log_file, Some(PathBuf::from("/l")), "{line}");
            assert!(all.fdpass && all.verbose, "{line}");
        }
    }

    #[test]
    fn behind_two_dashes_nothing_is_an_option() {
        assert_eq!(tunnel("-- -x").target, "-x");
    }

    #[test]
    fn wait_takes_seconds_or_none() {
        for (line, wait) in [
            (format!("{ID} 22"), None),
            (format!("--wait {ID} 22"), Some(300)),
            (format!("--wait 60 {ID} 22"), Some(60)),
            (format!("--wait=60 {ID}"), Some(60)),
            (format!("{ID} --wait 60"), Some(60)),
            (format!("{ID} 22 --wait"), Some(300)),
            (format!("--wait --fdpass {ID}"), Some(300)),
        ] {
            let all = tunnel(&line);
            assert_eq!((all.wait.map(|wait| wait.as_secs()), all.target.as_str(), all.port), (wait, ID, 22), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, named) in [
            ("--no-such-flag vps", "--no-such-flag"),
            ("-x vps", "-x"),
            ("-fv vps", "-f"),
            ("--fdpass=yes vps", "--fdpass"),
            ("vps --proxy", "--proxy"),
            ("--proxy ftp://x vps", "ftp://x"),
            ("--protocol gopher vps", "gopher"),
            ("--fdpass", "TARGET"),
            ("vps 22 more", "more"),
            ("vps 0", "PORT"),
            ("vps 65536", "PORT"),
            ("vps ssh", "PORT"),
            ("--connect-timeout 0 vps", "--connect-timeout"),
            ("--connect-timeout -1 vps", "--connect-timeout"),
            ("--connect-timeout nan vps", "nan"),
            ("--connect-timeout 1e30 vps", "1e30"),
            ("--connect-timeout 5s vps", "5s"),
            ("--wait=86401 vps", "86401"),
            ("--wait= vps", "--wait"),
        ] {
            let failure = read(line).expect_err(line);
            assert!(failure.what().contains(named), "{line}: {failure:?}");
            assert_eq!(failure.exit_code(), std::process::ExitCode::from(2), "{line}");
        }
    }

    #[test]
    fn help_names_every_option() {
        let Ok(Asked::Text(help)) = read("--help") else { panic!("no help") };
        for name in ["--fdpass", "--proxy", "--protocol", "--connect-timeout", "--wait", "--log-file", "-v, --verbose"]
        {
            assert!(help.contains(name), "{name}");
        }
        assert!(help.lines().all(|line| line.len() <= 120));
        assert!(matches!(read("-V"), Ok(Asked::Text(text)) if text.contains(env!("CARGO_PKG_VERSION"))));
    }
}
