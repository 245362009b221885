//! The contestants: our gateway, servers that others would put in its place, and no server at all.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::Pid;

use super::process;
use super::tunnel::{self, Asks, Entrance};
use crate::support::gateway::{Gateway, NODE, inventory, running};
use crate::support::home::Home;
use crate::support::older_host::{OlderHost, task};
use crate::support::proxies::{Proxy, squid_at, start, tinyproxy_at};
use crate::support::run::{DEADLINE, Process, Run};
use crate::support::tools::{older_host_python, tool};
use crate::support::turns::Contender;

/// The VPS's task id.
pub(super) const VPS: &str = "7323718749301768192";
/// More tunnels than anybody here is asked for at once.
const MAX_TUNNELS: usize = 20_000;
/// How our gateway is started: its limits are out of the way, and it writes its audit log, as it does by default, here
/// into a file. Handshakes are fewer than tunnels, as what may be open is shared between them.
pub(super) const OPTIONS: [&str; 7] = [
    "--audit-log=audit.log",
    "--max-tunnels=20000",
    "--max-tunnels-per-client=20000",
    "--max-tunnels-per-user=20000",
    "--max-handshakes=600",
    "--max-handshakes-per-client=600",
    "--max-parked-per-user=20000",
];
/// HAProxy's pipes: more than tunnels carry bulk here.
const PIPES: usize = 256;
/// Descriptors that HAProxy has beside those of tunnels and pipes.
const OTHER_FILES: usize = 200;
/// How often a server that is starting is asked for a tunnel.
const AGAIN: Duration = Duration::from_millis(10);

/// One of those who are measured. The order is that of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Ours,
    /// The same without its audit log.
    OursNoLog,
    /// HAProxy in TCP mode; it always goes to the same VPS.
    Haproxy,
    /// The same, made to splice.
    HaproxySplice,
    Tinyproxy,
    Squid,
    OlderHost,
    /// A copy loop of 1,024 bytes in Python's asyncio.
    Asyncio,
    /// The VPS itself.
    Direct,
}

impl Kind {
    pub(crate) const ALL: [Self; 9] = [
        Self::Ours,
        Self::OursNoLog,
        Self::Haproxy,
        Self::HaproxySplice,
        Self::Tinyproxy,
        Self::Squid,
        Self::OlderHost,
        Self::Asyncio,
        Self::Direct,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OursNoLog => "ours no log",
            Self::Haproxy => "haproxy",
            Self::HaproxySplice => "ha splice",
            Self::Tinyproxy => "tinyproxy",
            Self::Squid => "squid",
            Self::OlderHost => "older Host",
            Self::Asyncio => "asyncio",
            Self::Direct => "direct",
        }
    }

    /// Where a server of this kind at `address` opens tunnels to `vps`.
    pub(super) fn entrance(self, address: SocketAddr, vps: SocketAddr) -> Entrance {
        Entrance { address, asks: self.asks(), request: request(self, vps) }
    }

    /// The way to ask for a tunnel.
    fn asks(self) -> Asks {
        match self {
            Self::Ours | Self::OursNoLog | Self::Tinyproxy | Self::Squid => Asks::Connect,
            Self::OlderHost => Asks::Line,
            Self::Haproxy | Self::HaproxySplice | Self::Asyncio | Self::Direct => Asks::Nothing,
        }
    }
}

/// A server that runs until this is dropped.
pub(crate) struct Contestant {
    pub(crate) kind: Kind,
    /// Where tunnels are opened.
    pub(crate) entrance: Entrance,
    pub(super) server: Server,
}

pub(super) enum Server {
    Ours(Gateway),
    Proxy(Proxy),
    OlderHost(OlderHost),
    Asyncio(Process, #[expect(dead_code, reason = "it is removed at the end")] Home),
    Direct,
}

impl Contender for Kind {
    fn name(&self) -> &'static str {
        Kind::name(*self)
    }
}

impl Contender for Contestant {
    fn name(&self) -> &'static str {
        self.kind.name()
    }
}

impl Contestant {
    /// Starts one of `kind` before the VPS at `vps`.
    pub(crate) fn start(kind: Kind, vps: SocketAddr) -> Result<Self> {
        let entrance = |address| kind.entrance(address, vps);
        let serves = |process: &Process, address| serves(process, &entrance(address));
        let (address, server) = match kind {
            Kind::Ours | Kind::OursNoLog => {
                let mut options = OPTIONS;
                if kind == Kind::OursNoLog {
                    options[0] = "--audit-log=off";
                }
                let gateway = Gateway::with_inventory_and(&inventory(&[running(VPS, vps.port())]), &options);
                (gateway.address, Server::Ours(gateway))
            }
            Kind::Haproxy | Kind::HaproxySplice => {
                let proxy = start(serves, |home, port| haproxy(home, port, &[vps], kind == Kind::HaproxySplice));
                (proxy.address, Server::Proxy(proxy))
            }
            Kind::Tinyproxy => {
                // At its usual level, its log would be most of what it does.
                let proxy = start(serves, |home, port| tinyproxy_at(home, port, vps.port(), MAX_TUNNELS, "Warning"));
                (proxy.address, Server::Proxy(proxy))
            }
            Kind::Squid => {
                let proxy = start(serves, |home, port| squid_at(home, port, vps.port()));
                (proxy.address, Server::Proxy(proxy))
            }
            Kind::OlderHost => {
                let host = OlderHost::start(&[task(VPS, "running", Some(NODE), Some(vps.port()))]);
                (host.proxy, Server::OlderHost(host))
            }
            Kind::Asyncio => {
                let home = Home::new();
                let (process, port) = asyncio(&home, vps)?;
                (([127, 0, 0, 1], port).into(), Server::Asyncio(process, home))
            }
            Kind::Direct => (vps, Server::Direct),
        };
        let entrance = entrance(address);
        tunnel::open(&entrance).with_context(|| format!("{} gives no tunnel", kind.name()))?;
        Ok(Self { kind, entrance, server })
    }

    /// A gateway that somebody has started.
    pub(super) fn of(gateway: Gateway, vps: SocketAddr) -> Self {
        let kind = Kind::Ours;
        Self { kind, entrance: kind.entrance(gateway.address, vps), server: Server::Ours(gateway) }
    }

    /// The process that leads its group; nothing where there is no server in between.
    pub(crate) fn leader(&self) -> Option<Pid> {
        match &self.server {
            Server::Ours(gateway) => Some(gateway.process.id()),
            Server::Proxy(proxy) => Some(proxy.process.id()),
            Server::OlderHost(host) => Some(host.process.id()),
            Server::Asyncio(process, _) => Some(process.id()),
            Server::Direct => None,
        }
    }
}

fn request(kind: Kind, vps: SocketAddr) -> String {
    let connect = |target: String| format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    match kind.asks() {
        Asks::Connect if matches!(kind, Kind::Ours | Kind::OursNoLog) => connect(format!("{VPS}:22")),
        Asks::Connect => connect(vps.to_string()),
        Asks::Line => format!("REQUEST_TUNNEL {VPS}\n"),
        Asks::Nothing => String::new(),
    }
}

/// Waits until `process` gives a tunnel.
pub(super) fn serves(process: &Process, entrance: &Entrance) -> bool {
    let end = Instant::now() + DEADLINE;
    while Instant::now() < end {
        if tunnel::open(entrance).is_ok() {
            return true;
        }
        // Waits a little, less when it ends.
        if process.try_wait_for(AGAIN, |_| None::<()>) == Err("the program has ended") {
            return false;
        }
    }
    false
}

/// HAProxy in TCP mode. Each of `servers` gets a connection in turn.
pub(super) fn haproxy(home: &Home, port: u16, servers: &[SocketAddr], splice: bool) -> Run {
    let (pipes, global, option) = match splice {
        true => (PIPES, format!("maxpipes {PIPES}"), "option splice-request\n option splice-response"),
        false => (0, "nosplice".to_owned(), "no option splice-auto"),
    };
    // It doesn't start unless all of it fits into the descriptors that it may have.
    let connections = MAX_TUNNELS.min(process::open_files().saturating_sub(2 * pipes + OTHER_FILES) / 2);
    let servers: String =
        servers.iter().enumerate().map(|(number, server)| format!(" server vps{number} {server}\n")).collect();
    let config = format!(
        "global\n maxconn {connections}\n {global}\ndefaults\n mode tcp\n maxconn {connections}\n \
         timeout connect 10s\n timeout client 1h\n timeout server 1h\n {option}\nlisten vps\n \
         bind 127.0.0.1:{port}\n{servers}"
    );
    Run::new(tool("haproxy"), home).args(["-q", "-db", "-f"]).arg(home.write("haproxy.cfg", config))
}

fn asyncio(home: &Home, vps: SocketAddr) -> Result<(Process, u16)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/support/copy_loop.py");
    let run = Run::new(older_host_python(), home).arg(script).arg(vps.port().to_string()).stdin_open();
    let process = run.deadline(600).start();
    let ready = process.try_wait_for(DEADLINE, |seen| {
        String::from_utf8_lossy(&seen.stdout).lines().find_map(|line| line.strip_prefix("ready ")?.parse().ok())
    });
    let port = ready.map_err(|why| anyhow::anyhow!("the copy loop in Python does not start: {why}"))?;
    Ok((process, port))
}
