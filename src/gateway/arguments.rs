//! The gateway's command line, as typed.

use std::convert::Infallible;
use std::ffi::OsString;
use std::net::{AddrParseError, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;

use crate::gateway::audit::AuditLog;
use crate::gateway::limits::DEFAULT_MAX_TUNNELS;
use crate::gateway::notices::{LogFormat, LogLevel};

/// How long tunnels have to finish when nothing else is asked for, in seconds. Less than the 20 s that our clients wait
/// for an answer: with a socket that a service manager holds, who comes during a restart waits for the old process.
const DEFAULT_DRAIN_SECONDS: u32 = 10;
/// The longest time to finish, in seconds: a day.
const MAX_DRAIN_SECONDS: i64 = 24 * 60 * 60;

/// Answer on a Host's SSH port and carry SSH to its VPSes
///
/// Takes HTTP CONNECT and the older REQUEST_TUNNEL line on the same port, finds the VPS through the Host API or in an
/// inventory file, and reaches nothing but VPSes.
#[derive(Parser, Clone, Debug)]
#[command(name = "kohakuriver-gateway", version, after_help = AFTER_HELP)]
pub struct Arguments {
    /// Listen for tunnels on this address; may be given several times
    #[arg(
        long,
        value_name = "ADDR",
        help = "Listen for tunnels on this address; may be given several times [default: [::]:8002, both families]"
    )]
    pub listen: Vec<SocketAddr>,

    /// Ask the Host API at this address [default: http://127.0.0.1:8000]
    #[arg(long, value_name = "URL", conflicts_with = "inventory")]
    pub host_api: Option<String>,

    /// Find VPSes in this file; no Host is needed
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,

    /// Serve the read-only part of the Host API on this address [default: 127.0.0.1:8000]
    ///
    /// With --inventory only: it is the inventory that is served.
    #[arg(long, value_name = "ADDR", requires = "inventory", conflicts_with = "host_api")]
    pub api_listen: Option<SocketAddr>,

    /// Carry at most this many tunnels at once; the limit of open files may allow fewer
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_TUNNELS as u32,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_tunnels: u32,

    /// End a tunnel that has carried nothing for so many seconds [default: never]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub idle_timeout: Option<u32>,

    /// Give open tunnels this long to finish when told to stop; 0 ends them at once
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_DRAIN_SECONDS,
          value_parser = clap::value_parser!(u32).range(..=MAX_DRAIN_SECONDS))]
    pub drain_timeout: u32,

    /// Take connections from a proxy that starts each with a PROXY protocol v2 header, and none without
    ///
    /// The client's address is then the one in the header, so nobody but the proxy may reach --listen.
    #[arg(long)]
    pub proxy_protocol: bool,

    /// Carry bytes in this many threads, and answer requests in as many [default: half of the processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub relay_threads: Option<u16>,

    /// Answer /healthz, /metrics and /sessions on this address, or `off`
    ///
    /// Nobody is asked for a login there, and `DELETE /sessions/<id>` ends a tunnel: keep it on loopback, or in a network of
    /// admins.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8003")]
    pub admin: AdminAddress,

    /// Append a JSON line for each tunnel opened, closed or refused to this file; `-` is stdout, `off` is none
    #[arg(long, value_name = "FILE", default_value = "-", value_parser = |typed: &str| Ok::<_, Infallible>(AuditLog::from(typed)))]
    pub audit_log: AuditLog,

    /// Say this much on stderr; debug tells each step of each connection
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t)]
    pub log_level: LogLevel,

    /// Write the log on stderr as text or as JSON; the lines that say where it listens stay as they are
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// Where the admin is answered; `None`: nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AdminAddress(pub Option<SocketAddr>);

impl FromStr for AdminAddress {
    type Err = AddrParseError;

    fn from_str(typed: &str) -> Result<Self, Self::Err> {
        if typed == "off" { Ok(Self(None)) } else { typed.parse().map(|address| Self(Some(address))) }
    }
}

const AFTER_HELP: &str = "\
Example, stand-alone, with this in inventory.json:
  { \"nodes\": [ { \"hostname\": \"node1\", \"url\": \"http://127.0.0.1:8001\", \"status\": \"online\" } ],
    \"vps\": [ { \"task_id\": \"7323718749301768192\", \"name\": \"trainer\", \"status\": \"running\",
               \"assigned_node\": \"node1\", \"ssh_port\": 32768 } ] }
  kohakuriver-gateway --inventory inventory.json

KOHAKURIVER_HOST, KOHAKURIVER_PORT and KOHAKURIVER_SSH_PROXY_PORT, or config.json, change the defaults.

Signals: SIGTERM and SIGINT stop it, a second one at once; SIGHUP reads files again; SIGUSR2 hands over to a new process.
Sockets that a service manager passes (LISTEN_FDS) take the place of --listen; one named `api` that of --api-listen, one
named `admin` that of --admin.

Exit status: 0 told to stop; 1 it could not serve; 2 wrong usage.";

impl Arguments {
    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    /// Clap's, which also says what `--help` and `--version` print.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn read(words: &str) -> Result<Arguments, clap::Error> {
        Arguments::read(format!("kohakuriver-gateway {words}").split_whitespace().map(OsString::from))
    }

    #[test]
    fn definitions_are_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_is_taken_and_what_is_wrong_usage() {
        let arguments = read("--listen 127.0.0.1:0 --listen [::1]:2 --inventory f --api-listen 127.0.0.1:0").unwrap();
        assert_eq!(arguments.listen.len(), 2);
        assert_eq!(read("").unwrap().max_tunnels, 4096);
        let default = read("").unwrap();
        assert_eq!(default.admin.0, Some("127.0.0.1:8003".parse().unwrap()));
        assert_eq!((default.audit_log, default.log_level), (AuditLog::Stdout, LogLevel::Info));
        assert_eq!(read("--admin off").unwrap().admin.0, None);
        for wrong in [
            "--listen 8002",
            "--listen host:8002",
            "--host-api http://h:1 --inventory f",
            "--host-api http://h:1 --api-listen 127.0.0.1:0",
            "--api-listen 127.0.0.1:0",
            "--max-tunnels 0",
            "--drain-timeout 86401",
            "--drain-timeout -1",
            "--idle-timeout 0",
            "--relay-threads 0",
            "--admin on",
            "--admin 8003",
            "--log-level loud",
            "--frobnicate",
            "stray",
        ] {
            assert_eq!(read(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }
}
