//! The gateway's command line, as typed.

use std::convert::Infallible;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser, Subcommand, ValueHint};
use ipnet::IpNet;

use crate::gateway::audit_report;
use crate::gateway::cert;
use crate::gateway::decide::line_protocol::LineProtocol;
use crate::gateway::decide::networks::network;
use crate::gateway::decide::rules::Sources;
use crate::gateway::front::certificates::Files;
use crate::gateway::limits::Wanted;
use crate::gateway::watch::audit::AuditLog;
use crate::gateway::watch::notices::{LogFormat, LogLevel};
use crate::gateway::words::PROGRAM;
use crate::handshake::session_ref::is_gateway_name;
use crate::settings::{ProxyAddress, socket_path};

/// The port that our documents move a Host's own SSH proxy to, as its port is the gateway's then.
const MOVED_SSH_PROXY_PORT: u16 = 8012;

/// The default of `--drain-timeout`, in seconds. Less than the 20 s that our clients wait for an answer: if a service
/// manager holds the socket, a client that connects during a restart waits for the old process to exit.
const DEFAULT_DRAIN_SECONDS: u32 = 10;
/// A day, in seconds.
const DAY: i64 = 24 * 60 * 60;

/// Answer on a Host's SSH port and carry SSH to its VPSes
///
/// Takes HTTP CONNECT and the older REQUEST_TUNNEL line on the same port, finds the VPS through the Host API or in an
/// inventory file, and reaches nothing but VPSes.
#[derive(Parser, Clone, Debug)]
#[command(name = "kohakuriver-gateway", version, after_help = AFTER_HELP, disable_help_flag = true,
          args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub(super) command: Option<Command>,

    /// Listen for tunnels on this address; may be given several times
    #[arg(
        long,
        value_name = "ADDR",
        help = "Listen for tunnels on this address; may be given several times \
                [default: [::]:8002, IPv4 as well, or none with --tls-listen]"
    )]
    pub listen: Vec<SocketAddr>,

    /// Listen for tunnels over TLS on this address; may be given several times
    ///
    /// A client without TLS is told so. Without --listen, there is no port for plain tunnels then.
    #[arg(long, value_name = "ADDR", requires = "tls_cert")]
    pub tls_listen: Vec<SocketAddr>,

    /// The certificate for TLS, with those between it and its CA (PEM)
    ///
    /// Read again on SIGHUP, and when the file changes, or the link that leads to it. Files that can't be used are
    /// reported, and what was read before stays in force.
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of that certificate (PEM), which not everybody may read
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_cert",
        help = "The private key of that certificate (PEM) [default: in the same file]"
    )]
    pub tls_key: Option<PathBuf>,

    /// Serve clients over TLS only with a certificate of a CA in this file (PEM)
    ///
    /// Lists of revoked certificates (`X509 CRL`) in the same file hold. Where the Host names no user, the one in the
    /// certificate counts: its common name, else its first name of a machine or of a mailbox.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,

    /// Take the users of clients' certificates from this file: one `NAME USER` per line, `#` starts a comment
    ///
    /// A certificate whose name is not in it stands for no user. Read again on SIGHUP.
    #[arg(long, value_name = "FILE", requires = "tls_client_ca")]
    pub tls_user_map: Option<PathBuf>,

    /// Ask the Host API at this address [default: http://127.0.0.1:8000]
    #[arg(long, value_name = "URL", conflicts_with = "inventory")]
    pub host_api: Option<String>,

    /// For an https:// Host API: trust the CAs in this file [default: those of the system]
    #[arg(long, value_name = "FILE", requires = "host_api")]
    pub host_api_ca: Option<PathBuf>,

    /// The other gateways of the cluster: their addresses for tunnels, with commas in between
    ///
    /// For several gateways behind one address. A client that continues its tunnel is passed on to the gateway that has
    /// it, and lists of sessions have those of all gateways.
    #[arg(long, value_name = "ADDRS", value_delimiter = ',')]
    pub peers: Vec<ProxyAddress>,

    /// The name of this gateway among several, in lists of sessions
    #[arg(
        long,
        value_name = "NAME",
        value_parser = gateway_name,
        help = "The name of this gateway among several, in lists of sessions \
                [default: the machine's host name, with the port unless it is 8002]"
    )]
    pub gateway_name: Option<String>,

    /// Never dial this port on the Host's machine: the Host's own SSH proxy, which checks no token, listens there
    #[arg(long, value_name = "PORT", default_value_t = MOVED_SSH_PROXY_PORT, conflicts_with = "inventory",
          value_parser = clap::value_parser!(u16).range(1..))]
    pub host_ssh_proxy_port: u16,

    /// Find VPSes in this file; no Host is needed
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,

    /// Serve the read-only part of the Host API on this address [default: 127.0.0.1:8000]
    ///
    /// With --inventory only: its content is served.
    #[arg(long, value_name = "ADDR", requires = "inventory", conflicts_with = "host_api")]
    pub api_listen: Option<SocketAddr>,

    /// Serve the Host API to users on the TLS port, too, as far as VPSes need it
    ///
    /// Requests to /api are passed on to the Host, with the token in them. With --inventory, its content is served. So one
    /// port and one certificate are all that a cluster shows to the internet.
    #[arg(long, requires = "tls_cert")]
    pub api_proxy: bool,

    /// While the Host API is down, use its answers up to this many seconds old; 0 disables it
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(..=DAY))]
    pub stale: u32,

    /// Serve clients of these networks only, such as 10.0.0.0/8 or one address; may be given several times
    #[arg(long, value_name = "CIDR", value_parser = network,
          help = "Serve clients of this network only, such as 10.0.0.0/8; may be given several times [default: everyone]")]
    pub allow: Vec<IpNet>,

    /// Also serve clients of the networks in this file: one per line, `#` starts a comment
    ///
    /// Read again on SIGHUP. A file without a network allows nobody.
    #[arg(long, value_name = "FILE")]
    pub allow_file: Option<PathBuf>,

    /// Dial Runners in these networks only; may be given several times
    ///
    /// A Runner on the gateway's own machine is dialled only if this option names its address, or a part of the loopback
    /// network: a wider network around the address is not enough. Link-local, multicast and metadata addresses, the
    /// gateway's own ports, the Host's API and the Host's own SSH proxy are never dialled, whatever is allowed.
    #[arg(long, value_name = "CIDR", value_parser = network,
          help = "Dial Runners in this network only; may be given several times \
                  [default: any but those on this machine]")]
    pub allow_runner: Vec<IpNet>,

    /// Also dial Runners in the networks of this file: one per line, `#` starts a comment
    ///
    /// Read again on SIGHUP. A file without a network allows none.
    #[arg(long, value_name = "FILE")]
    pub allow_runner_file: Option<PathBuf>,

    /// Serve clients of the older line protocol, which have no token: off, anonymous, or token-file FILE
    ///
    /// off: refuse them; anonymous: ask the Host without a token, and let it decide; token-file FILE: serve them all as
    /// the user of the token in that file, which only its owner may read, and which is read again on SIGHUP.
    #[arg(long, value_names = ["HOW", "FILE"], num_args = 1..=2,
          help = "Serve clients of the older line protocol, which have no token: off, anonymous, or token-file FILE \
                  [default: off where the Host has authentication on]")]
    pub line_protocol: Vec<OsString>,

    #[command(flatten)]
    pub(super) limits: Wanted,

    /// End a tunnel that has carried nothing for this many seconds [default: never]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub idle_timeout: Option<u32>,

    /// Give open tunnels this long to finish at a shutdown; 0 ends them at once
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_DRAIN_SECONDS,
          value_parser = clap::value_parser!(u32).range(..=DAY))]
    pub drain_timeout: u32,

    /// Expect a PROXY protocol v2 header at the start of each connection, and refuse connections without one
    ///
    /// The header names the client's address: name the proxies that may do so with --proxy-from.
    #[arg(long)]
    pub proxy_protocol: bool,

    /// Trust proxies in these networks only, such as 10.0.0.0/8 or one address; may be given several times
    #[arg(long, value_name = "CIDR", value_parser = network, requires = "proxy_protocol",
          help = "Trust proxies in this network only, such as 10.0.0.0/8; may be given several times [default: everyone]")]
    pub proxy_from: Vec<IpNet>,

    /// Carry bulk data in this many threads, and all else in one more [default: half of the processors]
    ///
    /// The same number of other threads answers requests.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub relay_threads: Option<u16>,

    /// Serve the page, /status, /healthz, /metrics and /sessions on this address: a TCP port, unix:/PATH, or `off`
    ///
    /// Everyone who reaches a TCP port may read all of it: keep it on loopback, or in a network of admins. A UNIX socket
    /// is for its owner and its group (mode 0660), who may also end tunnels.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8003")]
    pub admin: AdminAddress,

    /// Count the open tunnels and the bytes of each user in /metrics, of 200 users at most
    ///
    /// The others are counted together, and so are tunnels without a user. The counts are those of this process.
    #[arg(long)]
    pub metrics_by_user: bool,

    /// End tunnels over TCP only for requests with the token in this file, as `Authorization: Bearer`
    ///
    /// Without it, `DELETE /sessions/<id>` is refused on a TCP port. Only the file's owner may read it. Read again on
    /// SIGHUP.
    #[arg(
        long,
        value_name = "FILE",
        help = "End tunnels over TCP only for requests with the token in this file [default: end none]"
    )]
    pub admin_token_file: Option<PathBuf>,

    /// A name of this gateway, besides localhost and the machine's own host name; may be given several times
    ///
    /// The admin's address and the Host API answer requests for these names and for addresses only: a web page may have
    /// made its own name stand for this machine (DNS rebinding). A CONNECT may have such a name as its Host field.
    #[arg(long, value_name = "NAME")]
    pub server_name: Vec<String>,

    /// Append a JSON line for each tunnel opened, closed or refused to this file; `-` is stdout, `off` disables it
    #[arg(long, value_name = "FILE", default_value = "-", value_hint = ValueHint::FilePath, value_parser = |typed: &str| Ok::<_, Infallible>(AuditLog::from(typed)))]
    pub audit_log: AuditLog,

    /// Log this much on stderr; debug shows each step of each connection
    ///
    /// RUST_LOG is not read: libraries could log the data that they carry.
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t)]
    pub log_level: LogLevel,

    /// Write the log on stderr as text or as JSON, one object per line
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,

    /// Print help
    // Always the short texts, as our other programs do: for the long ones, which are in the manual page, clap would put
    // each option and its text on lines of their own, with empty lines between them.
    #[arg(long, short = 'h', action = ArgAction::HelpShort)]
    help: Option<bool>,
}

/// Another task of the program, instead of serving.
#[derive(Subcommand, Clone, Debug)]
pub(super) enum Command {
    // A subcommand has the gateway's flag for help otherwise.
    #[command(disable_help_flag = true)]
    Cert(cert::Arguments),
    #[command(disable_help_flag = true)]
    Audit(audit_report::Arguments),
}

fn gateway_name(typed: &str) -> Result<String, &'static str> {
    let why = "a name has at most 64 letters, digits, dots, colons, hyphens and underscores";
    if is_gateway_name(typed) { Ok(typed.to_owned()) } else { Err(why) }
}

/// The address for the admin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AdminAddress {
    /// None.
    Off,
    /// A TCP port.
    Tcp(SocketAddr),
    /// A UNIX socket with this file.
    Unix(PathBuf),
}

impl FromStr for AdminAddress {
    type Err = &'static str;

    fn from_str(typed: &str) -> Result<Self, Self::Err> {
        if typed == "off" {
            return Ok(Self::Off);
        }
        let unix = socket_path(typed).map(Self::Unix);
        unix.or_else(|| typed.parse().ok().map(Self::Tcp)).ok_or("it is none of ADDRESS:PORT, unix:/PATH and off")
    }
}

const AFTER_HELP: &str = "\
KOHAKURIVER_HOST, KOHAKURIVER_PORT and KOHAKURIVER_SSH_PROXY_PORT, or config.json, change the defaults. Sockets that a \
service manager passes (LISTEN_FDS) replace --listen; a socket named `tls` replaces --tls-listen, one named `api` replaces --api-listen, one named `admin` \
replaces --admin.

Signals:
  SIGTERM, SIGINT  Stop; a second signal stops at once
  SIGHUP           Read the files again
  SIGUSR2          Hand over to a new process

Exit status:
  0  Stopped by a signal
  1  Could not serve
  2  Wrong usage

Example, stand-alone, with this in inventory.json:
  { \"nodes\": [ { \"hostname\": \"node1\", \"url\": \"http://127.0.0.1:8001\",
                 \"status\": \"online\" } ],
    \"vps\": [ { \"task_id\": \"7323718749301768192\", \"name\": \"trainer\",
               \"status\": \"running\", \"assigned_node\": \"node1\",
               \"ssh_port\": 32768 } ] }
  kohakuriver-gateway --inventory inventory.json";

impl Arguments {
    /// The command of a command line, for hints: the program, or the program and its subcommand.
    pub fn typed(words: impl IntoIterator<Item = OsString>) -> String {
        let second = words.into_iter().nth(1);
        let definition = Self::command();
        let command = second.and_then(|word| definition.find_subcommand(word).map(|found| found.get_name().to_owned()));
        command.map_or_else(|| PROGRAM.to_owned(), |command| format!("{PROGRAM} {command}"))
    }

    /// Whether a command line, which may be wrong, asks for the log in JSON.
    pub(super) fn wants_json(words: &[OsString]) -> bool {
        let is_in_one = |word: &OsString| word == "--log-format=json";
        words.iter().any(is_in_one) || words.windows(2).any(|pair| pair[0] == "--log-format" && pair[1] == "json")
    }

    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    /// Clap's, which also says what `--help` and `--version` print.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let arguments = Self::try_parse_from(words)?;
        let wrong = |why: String| Err(Self::command().error(ErrorKind::InvalidValue, why));
        match LineProtocol::read(&arguments.line_protocol) {
            Err(why) => wrong(why),
            Ok(LineProtocol::TokenFile(_)) if arguments.inventory.is_some() => {
                wrong("--line-protocol token-file is for a Host: an inventory asks nobody for a token".to_owned())
            }
            Ok(_) => Ok(arguments),
        }
    }

    /// The sources of the rules.
    pub(super) fn rules(&self) -> Sources {
        Sources {
            allow: self.allow.clone(),
            allow_file: self.allow_file.clone(),
            allow_runner: self.allow_runner.clone(),
            allow_runner_file: self.allow_runner_file.clone(),
            // Checked when the command line was read.
            line_protocol: LineProtocol::read(&self.line_protocol).unwrap_or_default(),
            admin_token_file: self.admin_token_file.clone(),
            tls_user_map: self.tls_user_map.clone(),
        }
    }

    /// The files for TLS, if there is a certificate.
    pub(super) fn tls(&self) -> Option<Files> {
        let certificate = self.tls_cert.clone()?;
        let key = self.tls_key.clone().unwrap_or_else(|| certificate.clone());
        Some(Files { certificate, key, client_ca: self.tls_client_ca.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<Arguments, clap::Error> {
        Arguments::read(format!("kohakuriver-gateway {words}").split_whitespace().map(OsString::from))
    }

    #[test]
    fn a_wrong_command_line_may_ask_for_json() {
        for (line, wants) in [
            ("g --log-format json --frobnicate", true),
            ("g --frobnicate --log-format=json", true),
            ("g --log-format text --frobnicate json", false),
            ("g --log-format", false),
        ] {
            let words: Vec<_> = line.split(' ').map(OsString::from).collect();
            assert_eq!(Arguments::wants_json(&words), wants, "{line}");
        }
    }

    #[test]
    fn definitions_are_valid() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn accepted_options_and_wrong_usage() {
        let arguments = read("--listen 127.0.0.1:0 --listen [::1]:2 --inventory f --api-listen 127.0.0.1:0").unwrap();
        assert_eq!(arguments.listen.len(), 2);
        let defaults = read("").unwrap();
        assert_eq!((defaults.limits.tunnels, defaults.limits.handshakes, defaults.stale), (4096, 1024, 60));
        assert_eq!(read("--allow 10.0.0.0/8 --allow ::1").unwrap().allow.len(), 2);
        let rules = read("--line-protocol token-file /etc/token --allow-file f --admin-token-file t").unwrap().rules();
        assert_eq!(rules.admin_token_file, Some("t".into()));
        assert_eq!(rules.line_protocol, LineProtocol::TokenFile("/etc/token".into()));
        assert_eq!(rules.allow_file, Some("f".into()));
        assert_eq!(defaults.admin, AdminAddress::Tcp("127.0.0.1:8003".parse().unwrap()));
        assert_eq!((defaults.audit_log, defaults.log_level), (AuditLog::Stdout, LogLevel::Info));
        assert_eq!(read("--admin off").unwrap().admin, AdminAddress::Off);
        assert_eq!(
            read("--admin unix:/run/g/admin.sock").unwrap().admin,
            AdminAddress::Unix("/run/g/admin.sock".into())
        );
        for wrong in [
            "--listen 8002",
            "--listen host:8002",
            "--host-api http://h:1 --inventory f",
            "--host-api http://h:1 --api-listen 127.0.0.1:0",
            "--api-listen 127.0.0.1:0",
            "--max-tunnels 0",
            "--max-tunnels-per-client 0",
            "--max-tunnels-per-user x",
            "--max-handshakes 0",
            "--proxy-from 10.0.0.1",
            "--proxy-protocol --proxy-from lab",
            "--head-timeout 0",
            "--head-timeout 301",
            "--max-head-bytes 1023",
            "--max-head-bytes 65537",
            "--max-head-fields 9",
            "--max-head-fields 1001",
            "--stale -1",
            "--stale 86401",
            "--allow 10.0.0.0/33",
            "--allow-runner lab",
            "--line-protocol",
            "--line-protocol on",
            "--line-protocol token-file a --inventory f",
            "--drain-timeout 86401",
            "--drain-timeout -1",
            "--idle-timeout 0",
            "--relay-threads 0",
            "--admin on",
            "--admin 8003",
            "--gateway-name a/b",
            "--gateway-name=",
            "--admin unix:",
            "--admin unix:admin.sock",
            "--log-level loud",
            "--tls-listen 127.0.0.1:0",
            "--tls-listen 8443 --tls-cert f",
            "--tls-key f",
            "--tls-client-ca f",
            "--tls-cert f --tls-user-map f",
            "--frobnicate",
            "stray",
        ] {
            assert_eq!(read(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }
}
