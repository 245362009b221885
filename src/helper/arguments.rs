//! The helper's command line, as typed.
//!
//! A small lexer reads it: the helper starts for every connection, and a general parser would be a fifth of its size
//! and of the time it takes to start.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::Arg::{Long, Short, Value};

use super::child;
use super::help;
use crate::cluster::ClusterName;
use crate::failure::Failure;
use crate::seconds;
use crate::settings::{ProxyAddress, Trust, UpstreamSetting};
use crate::sys;
use crate::target::SSH_PORT;

/// The tunnel to open, and how to open it.
#[derive(Clone, Default, Debug)]
pub struct Arguments {
    /// Task id or name of the VPS, with or without `.kohakuriver`; or any other host.
    pub target: String,
    /// TCP port to ask for; a VPS offers 22 only.
    pub port: u16,
    /// Hand ssh the connected socket and exit.
    pub fdpass: bool,
    /// The cluster that the target is in. Entries of ssh_config name it.
    pub cluster: Option<ClusterName>,
    /// The proxy, when it is not the one of the settings.
    pub proxy: Option<ProxyAddress>,
    /// The Host API that names are looked up at, when it is not the one of the settings.
    pub host_api: Option<ProxyAddress>,
    /// The certificates that a connection with TLS trusts, beside the settings.
    pub trust: Trust,
    /// The proxy on the way, or that there is none.
    pub upstream_proxy: Option<UpstreamSetting>,
    /// The protocol to speak with the proxy.
    pub protocol: ProtocolChoice,
    /// Whether the tunnel is to survive its connection. By default it does, unless ssh gets the socket itself.
    pub resume: Option<bool>,
    /// How long to wait for the VPS's first byte.
    pub connect_timeout: Duration,
    /// For how long to keep trying while the VPS is starting.
    pub wait: Option<Duration>,
    /// The file that failures are appended to.
    pub log_file: Option<PathBuf>,
    /// Print each step on stderr.
    pub verbose: bool,
}

/// The protocol to speak with the proxy.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ProtocolChoice {
    /// HTTP CONNECT, and the older line protocol when the answer shows an older Host
    #[default]
    Auto,
    /// HTTP CONNECT only
    Connect,
    /// The older Hosts' line protocol only
    RequestTunnel,
}

/// The request of a command line.
#[derive(Clone, Debug)]
pub enum Asked {
    /// A tunnel.
    Tunnel(Box<Arguments>),
    /// This text on stdout: the help or the version.
    Text(String),
    /// The work of the carrying child.
    Hold,
}

const VERSION: &str = concat!("kohakuriver-proxy ", env!("CARGO_PKG_VERSION"), "\n");

/// The default of `--connect-timeout`.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

impl Arguments {
    /// Reads a command line, the program's name first. The last one of a repeated option counts.
    ///
    /// # Errors
    /// When the command line is wrong.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Asked, Failure> {
        let mut words = lexopt::Parser::from_iter(words);
        let mut positional = Vec::new();
        let mut read = Self { port: SSH_PORT, connect_timeout: DEFAULT_CONNECT_TIMEOUT, ..Self::default() };
        let unreadable = |error: lexopt::Error| wrong(error.to_string());
        while let Some(word) = words.next().map_err(unreadable)? {
            match word {
                Short('h') | Long("help") => return Ok(Asked::Text(help::text())),
                Short('V') | Long("version") => return Ok(Asked::Text(VERSION.to_owned())),
                Short('v') | Long("verbose") => read.verbose = true,
                Long("fdpass") if sys::CAN_PASS_DESCRIPTORS => read.fdpass = true,
                // `Client` reads this option, since it counts beside a wrong argument, too.
                Long("no-disconnect" | child::CARRY) => {}
                Long(child::HOLD) => return Ok(Asked::Hold),
                Long("cluster") => read.cluster = Some(value(&mut words, "--cluster", str::parse)?),
                Long("proxy") => read.proxy = Some(value(&mut words, "--proxy", str::parse)?),
                Long("host-api") => read.host_api = Some(value(&mut words, "--host-api", str::parse)?),
                Long("ca-file") => read.trust.ca_file = Some(file(&mut words)?),
                Long("pinned-key") => read.trust.pins = Some(value(&mut words, "--pinned-key", str::parse)?),
                Long("client-cert") => read.trust.client_cert = Some(file(&mut words)?),
                Long("client-key") => read.trust.client_key = Some(file(&mut words)?),
                Long("upstream-proxy") => read.upstream_proxy = Some(upstream_proxy(&mut words)?),
                Long("protocol") => read.protocol = value(&mut words, "--protocol", protocol)?,
                Long("resume") => read.resume = Some(true),
                Long("no-resume") => read.resume = Some(false),
                Long("connect-timeout") => {
                    read.connect_timeout = value(&mut words, "--connect-timeout", seconds::parse)?;
                }
                Long("wait") => read.wait = Some(wait(&mut words)?),
                Long("log-file") => read.log_file = Some(path(&mut words)?),
                Value(word) => positional.push(word.to_string_lossy().into_owned()),
                unknown => return Err(unreadable(unknown.unexpected())),
            }
        }
        read.place(positional)?;
        Ok(Asked::Tunnel(Box::new(read)))
    }

    fn place(&mut self, positional: Vec<String>) -> Result<(), Failure> {
        let mut words = positional.into_iter();
        self.target = words.next().ok_or_else(|| wrong("TARGET is missing"))?;
        if let Some(port) = words.next() {
            self.port = port.parse().ok().filter(|&number| number > 0).ok_or_else(|| {
                wrong(format!("PORT is `{port}`, which is no TCP port")).cause("a TCP port is a number from 1 to 65535")
            })?;
        }
        match words.next() {
            Some(more) => Err(wrong(format!("unexpected word `{more}` after TARGET and PORT"))),
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
    parsed(&text, option, parse)
}

/// The proxy on the way. Its text is not shown: it may hold a password.
fn upstream_proxy(words: &mut lexopt::Parser) -> Result<UpstreamSetting, Failure> {
    let text = words.value().map_err(|error| wrong(error.to_string()))?;
    UpstreamSetting::from_flag(&text.to_string_lossy())
        .map_err(|error| wrong("--upstream-proxy can't be used").cause(error.to_string()))
}

fn path(words: &mut lexopt::Parser) -> Result<PathBuf, Failure> {
    words.value().map(PathBuf::from).map_err(|error| wrong(error.to_string()))
}

/// The path of a file that is read. The settings take absolute paths and those below `~`.
fn file(words: &mut lexopt::Parser) -> Result<PathBuf, Failure> {
    let path = path(words)?;
    Ok(if path.starts_with("~") { path } else { std::path::absolute(&path).unwrap_or(path) })
}

/// The value of `--wait`, which may be left out.
fn wait(words: &mut lexopt::Parser) -> Result<Duration, Failure> {
    let attached = words.optional_value();
    let are_seconds = |word: &OsStr| word.to_str().is_some_and(seconds::are_seconds);
    let text = attached.or_else(|| words.try_raw_args()?.next_if(are_seconds));
    parsed(text.as_deref().unwrap_or(OsStr::new(seconds::DEFAULT_WAIT)), "--wait", seconds::parse)
}

fn parsed<T, E: Display>(text: &OsStr, option: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, Failure> {
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
        _ => Err("it must be auto, connect or request-tunnel"),
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
            Ok(Asked::Tunnel(arguments)) => *arguments,
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
    fn options_stand_anywhere_with_their_value_attached_or_after_them() {
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
    fn after_two_dashes_nothing_is_an_option() {
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
            (format!("{ID} --wait -- 22"), Some(300)),
            (format!("--wait 60 --wait {ID}"), Some(300)),
        ] {
            let all = tunnel(&line);
            assert_eq!((all.wait.map(|wait| wait.as_secs()), all.target.as_str(), all.port), (wait, ID, 22), "{line}");
        }
    }

    #[test]
    fn an_error_names_the_wrong_word() {
        for (line, named) in [
            ("--no-such-flag vps", "--no-such-flag"),
            ("-x vps", "-x"),
            ("-fv vps", "-f"),
            ("--fdpass=yes vps", "--fdpass"),
            ("vps --proxy", "--proxy"),
            ("--cluster a.b vps", "--cluster"),
            ("--pinned-key sha1//x vps", "--pinned-key"),
            ("--ca-file", "--ca-file"),
            ("--upstream-proxy http://me:pw@p vps", "--upstream-proxy"),
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
        assert!(matches!(read("-V"), Ok(Asked::Text(text)) if text.contains(env!("CARGO_PKG_VERSION"))));
    }
}
