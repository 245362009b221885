//! The helper's command line, as typed.
//!
//! Read by hand: the helper starts anew for every connection, and a general parser would be a fifth of its size and of
//! the time it takes to start.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::failure::Failure;
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

const HELP: &str = "\
Open an SSH tunnel to a KohakuRiver VPS, as the ProxyCommand of ssh

Takes an HTTP CONNECT tunnel through the Host's SSH proxy and pipes it to stdin and stdout, or hands ssh the socket.
Works through any other HTTP CONNECT proxy as well.

Usage: kohakuriver-proxy [OPTIONS] <TARGET> [PORT]

Arguments:
  <TARGET>  Task id or name of the VPS, with or without `.kohakuriver`; or any other host: a name with a dot, or an
            address, is sent to the proxy as it stands
  [PORT]    TCP port to ask for; a VPS offers 22 only [default: 22]

Options:
      --fdpass                     Hand ssh the connected socket and exit (for `ProxyUseFdpass yes`); where stdout is
                                   no UNIX socket, bytes are piped instead
      --proxy <HOST[:PORT]>        Connect through this proxy [default: the Host, port 8002]
      --protocol <PROTOCOL>        Speak this protocol with the proxy [default: auto]
                                     auto: HTTP CONNECT, and the line protocol when an older Host answers
                                     connect: HTTP CONNECT only
                                     request-tunnel: the older Hosts' line protocol only
      --connect-timeout <SECONDS>  Give up when the VPS has not said its first byte by then [default: 20]
      --wait [<SECONDS>]           Keep trying while the VPS is starting, for 300 seconds unless told otherwise
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

/// Seconds that `--connect-timeout` stands at.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Time that `--wait` without a value stands for.
const DEFAULT_WAIT: Duration = Duration::from_secs(300);

/// Most digits of a number of seconds: a day has five.
const SECONDS_DIGITS: usize = 5;

/// Longest `--connect-timeout` and `--wait`.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

impl Arguments {
    /// Reads a command line, the program's name first. Of an option that is given twice, the last one counts.
    ///
    /// # Errors
    /// When it is no command line of this program.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Asked, Failure> {
        let mut words = words.into_iter().skip(1).peekable();
        let mut positional = Vec::new();
        let mut read = Self {
            target: String::new(),
            port: SSH_PORT,
            fdpass: false,
            proxy: None,
            protocol: ProtocolChoice::Auto,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            wait: None,
            log_file: None,
            verbose: false,
        };
        while let Some(word) = words.next() {
            if word == "--" {
                positional.extend(words);
                break;
            }
            let text = word.to_str().unwrap_or_default();
            if !text.starts_with('-') || text == "-" {
                positional.push(word);
                continue;
            }
            let (name, mut value) = match text.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(OsString::from(value))),
                _ => (text, None),
            };
            match name {
                "-h" | "--help" => return Ok(Asked::Text(HELP)),
                "-V" | "--version" => return Ok(Asked::Text(VERSION)),
                "--proxy" | "--protocol" | "--connect-timeout" | "--log-file" if value.is_none() => {
                    value = words.next();
                    if value.is_none() {
                        return Err(wrong(format!("{name} needs a value")));
                    }
                }
                // Its value may be left out, and the word behind it may be the target.
                "--wait" if value.is_none() => value = words.next_if(is_seconds),
                _ => {}
            }
            match (name, value) {
                ("--fdpass", None) => read.fdpass = true,
                ("-v" | "--verbose", None) => read.verbose = true,
                ("--wait", None) => read.wait = Some(DEFAULT_WAIT),
                ("--wait", Some(value)) => read.wait = Some(seconds(name, &value)?),
                ("--connect-timeout", Some(value)) => read.connect_timeout = seconds(name, &value)?,
                ("--log-file", Some(value)) => read.log_file = Some(value.into()),
                ("--protocol", Some(value)) => read.protocol = protocol(&value)?,
                ("--proxy", Some(value)) => {
                    let text = value.to_string_lossy();
                    let address = text.parse();
                    read.proxy = Some(address.map_err(|error| wrong(format!("--proxy is `{text}`")).because(&error))?);
                }
                ("--fdpass" | "-v" | "--verbose", Some(_)) => return Err(wrong(format!("{name} takes no value"))),
                _ => return Err(wrong(format!("there is no option {name}"))),
            }
        }
        read.place(&positional)?;
        Ok(Asked::Tunnel(read))
    }

    fn place(&mut self, positional: &[OsString]) -> Result<(), Failure> {
        let (target, port) = match positional {
            [target] => (target, None),
            [target, port] => (target, Some(port)),
            [] => return Err(wrong("no TARGET is named")),
            [_, _, more, ..] => {
                return Err(wrong(format!("`{}` is one word too many behind TARGET and PORT", more.to_string_lossy())));
            }
        };
        self.target = target.to_string_lossy().into_owned();
        if let Some(port) = port {
            let port = port.to_string_lossy();
            self.port = port.parse().ok().filter(|&number| number > 0).ok_or_else(|| {
                wrong(format!("PORT is `{port}`, which is no TCP port")).cause("it is a number from 1 to 65535")
            })?;
        }
        Ok(())
    }
}

fn wrong(what: impl Into<String>) -> Failure {
    Failure::usage(what).hint("see `kohakuriver-proxy --help`")
}

fn protocol(value: &OsString) -> Result<ProtocolChoice, Failure> {
    match value.to_str() {
        Some("auto") => Ok(ProtocolChoice::Auto),
        Some("connect") => Ok(ProtocolChoice::Connect),
        Some("request-tunnel") => Ok(ProtocolChoice::RequestTunnel),
        _ => Err(wrong(format!("--protocol is `{}`", value.to_string_lossy()))
            .cause("it is one of auto, connect and request-tunnel")),
    }
}

/// Whether a word behind `--wait` is its value: seconds have at most [`SECONDS_DIGITS`] digits, a task id has many more.
fn is_seconds(word: &OsString) -> bool {
    let digits = word.as_encoded_bytes();
    (1..=SECONDS_DIGITS).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
}

fn seconds(name: &str, value: &OsString) -> Result<Duration, Failure> {
    let number = value.to_str().and_then(|text| text.parse().ok());
    let duration = number.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.filter(|duration| !duration.is_zero() && *duration <= MAX_TIMEOUT).ok_or_else(|| {
        wrong(format!("{name} is `{}`", value.to_string_lossy()))
            .cause(format!("it is a number of seconds above 0 and up to {}", MAX_TIMEOUT.as_secs()))
    })
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
            ("-fv vps", "-fv"),
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
