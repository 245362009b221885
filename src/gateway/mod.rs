//! What answers on Host :8002: HTTP CONNECT and the older line protocol on one port, to VPSes and nothing else.
//!
//! ```text
//!          accept ─▶ connection ─▶ incoming ─▶ directory ─▶ dial ─▶ relay
//!  client ───────────────▶ request ──▶ who may, where? ──▶ Runner ──▶ bytes, both ways
//!                                       │                   │
//!                                 Host API, or          policy
//!                                 inventory ─▶ host_api (its read-only API)
//!
//!  attempt, session ─▶ records: audit, metrics, notices ◀─ admin (/healthz, /metrics, /sessions)
//! ```
//!
//! # Promises
//! - It reaches VPSes only, and asks the Host in the caller's own name who may reach which.
//! - A yes is said once the VPS's port has accepted; a no says why, and arrives.
//! - Everything a stranger can send or hold open has a limit, in size, number or time.
//! - stderr says nothing of its clients unless it is asked to; whoever was connected to what stands in the audit log,
//!   and on the admin's address. Neither ever keeps a tunnel waiting.
//!
//! It neither ends TLS nor keeps state: it can be killed and started again at any time, and loses the open tunnels.

mod accept;
mod admin;
mod arguments;
mod attempt;
mod audit;
mod closing;
mod connection;
mod dial;
mod directory;
mod host_api;
mod http;
mod incoming;
mod inventory;
mod limits;
mod listen;
mod metrics;
mod notices;
mod outlet;
mod policy;
mod records;
mod relay;
mod session;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use arguments::{AdminAddress, Arguments};
pub use audit::AuditLog;
pub use directory::Directory;
pub use inventory::{Cluster, Inventory, InventoryError};
pub use notices::{LogFormat, LogLevel, Notices};
pub use records::Records;

use crate::api::Client;
use crate::failure::Failure;
use crate::settings::{DEFAULT_PORT, Flags, Settings, Source};
use accept::Doors;
use admin::Admin;
use connection::Gateway;
use session::Sessions;

/// The program's name, in front of what it says.
pub const PROGRAM: &str = "kohakuriver-gateway";

/// Where the gateway listens. The caller binds, so it knows the ports before anything is served.
pub struct Listeners {
    /// For tunnels.
    pub tunnels: Vec<TcpListener>,
    /// For the read-only Host API; taken in inventory mode only.
    pub api: Option<TcpListener>,
    /// For the admin.
    pub admin: Option<TcpListener>,
}

/// Serves what the command line says until SIGTERM or SIGINT.
///
/// # Errors
/// When the settings, the inventory or an address can't be used.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let settings = Settings::load(Flags::default())?;
    let records = Records::open(arguments)?;
    let served = run_with(arguments, &settings, &records);
    records.finish();
    served
}

fn run_with(arguments: &Arguments, settings: &Settings, records: &Records) -> Result<(), Failure> {
    let notices = &records.notices;
    let directory = directory(arguments, settings, notices)?;
    let broken = |error: io::Error| Failure::new("cannot start").because(&error);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(broken)?;
    let served = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(broken)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(broken)?;
        let listeners = bind(arguments, settings)?;
        announce(&listeners, notices).map_err(broken)?;
        let open_files = limits::raise_open_files();
        let max_tunnels = limits::tunnels(arguments.max_tunnels as usize, open_files);
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        serve(listeners, directory, max_tunnels, records.clone(), stop).await.map_err(broken)
    });
    // A resolver that hangs in a thread of its own must not hold up the end.
    runtime.shutdown_background();
    served
}

/// Serves tunnels, at most `max_tunnels` at once, until `stop`; then ends those that are open.
///
/// # Errors
/// When a listener has no address.
pub async fn serve(
    listeners: Listeners,
    directory: Directory,
    max_tunnels: usize,
    records: Records,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let all = listeners.tunnels.iter().chain(&listeners.api).chain(&listeners.admin);
    let own = all.map(TcpListener::local_addr).collect::<io::Result<Vec<SocketAddr>>>()?;
    let doors = Doors { tracker: TaskTracker::new(), stop: CancellationToken::new(), notices: records.notices.clone() };
    if let (Directory::Inventory(inventory), Some(listener)) = (&directory, listeners.api) {
        let inventory = Arc::clone(inventory);
        let permits = Arc::new(Semaphore::new(http::MAX_CONNECTIONS));
        doors.open(listener, permits, move |stream| host_api::serve(Arc::clone(&inventory), stream));
    }
    let directory = Arc::new(directory);
    let sessions = Arc::new(Sessions::new(records.clone()));
    let gateway = Arc::new(Gateway::new(Arc::clone(&directory), Arc::clone(&sessions), own, max_tunnels));
    if let Some(listener) = listeners.admin {
        let ending = Arc::clone(&gateway);
        let admin = Arc::new(Admin::new(sessions, directory, Box::new(move |id| ending.end(id))));
        let permits = Arc::new(Semaphore::new(http::MAX_CONNECTIONS));
        doors.open(listener, permits, move |stream| {
            let admin = Arc::clone(&admin);
            async move { admin.serve(stream).await }
        });
    }
    let most = max_tunnels + limits::WAITING_ROOM;
    let permits = Arc::new(Semaphore::new(most));
    let free = Arc::clone(&permits);
    // Each listener holds a permit for whoever comes next.
    let most_free = most.saturating_sub(listeners.tunnels.len());
    let used = move || most_free.saturating_sub(free.available_permits()) as u64;
    records.metrics.limits.show("connections", most as u64, used);
    for listener in listeners.tunnels {
        let gateway = Arc::clone(&gateway);
        let serve = move |stream| {
            let gateway = Arc::clone(&gateway);
            async move { gateway.serve(stream).await }
        };
        doors.open(listener, Arc::clone(&permits), serve);
    }
    stop.await;
    doors.stop.cancel();
    doors.tracker.close();
    doors.tracker.wait().await;
    Ok(())
}

fn directory(arguments: &Arguments, settings: &Settings, notices: &Notices) -> Result<Directory, Failure> {
    if let Some(path) = &arguments.inventory {
        let inventory = Inventory::open(path, notices.clone()).map_err(|error| {
            Failure::usage(format!("cannot use the inventory {}", path.display()))
                .because(&error)
                .hint(format!("`{PROGRAM} --help` shows what an inventory looks like"))
        })?;
        return Ok(Directory::Inventory(Arc::new(inventory)));
    }
    let base = arguments.host_api.clone().unwrap_or_else(|| host_api_of(settings));
    let client = Client::new(&base, None);
    client.map(Directory::Host).map_err(|error| {
        Failure::usage(format!("cannot use `{base}` as --host-api"))
            .because(&error)
            .hint("write it as http://HOST:PORT")
    })
}

/// The Host API when no flag names it. A gateway stands beside its Host, and `localhost` may mean an address that a
/// Host doesn't listen on.
fn host_api_of(settings: &Settings) -> String {
    match settings.host.source {
        Source::Default => format!("http://127.0.0.1:{}", settings.port.value),
        _ => settings.api_url(),
    }
}

fn bind(arguments: &Arguments, settings: &Settings) -> Result<Listeners, Failure> {
    let default = [SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), settings.ssh_proxy_port.value)];
    let addresses = if arguments.listen.is_empty() { &default[..] } else { &arguments.listen };
    let tunnels = addresses.iter().map(|address| listen::listen(*address)).collect::<Result<_, _>>()?;
    let api_address = arguments.api_listen.unwrap_or(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DEFAULT_PORT));
    let api = arguments.inventory.is_some().then(|| listen::listen(api_address)).transpose()?;
    let other = "take another address with --admin, or none with `--admin off`";
    let admin = arguments.admin.0.map(|address| listen::listen(address).map_err(|failure| failure.hint(other)));
    Ok(Listeners { tunnels, api, admin: admin.transpose()? })
}

/// Says where it listens. From here on the system takes connections, so whoever waits for these lines may come.
fn announce(listeners: &Listeners, notices: &Notices) -> io::Result<()> {
    if let Some(api) = &listeners.api {
        notices.say(&format!("serving the Host API on {}", api.local_addr()?));
    }
    if let Some(admin) = &listeners.admin {
        let address = admin.local_addr()?;
        notices.say(&format!("admin on {address}"));
        if !address.ip().is_loopback() {
            let what = format!("whoever reaches {address} may see every tunnel and end it");
            notices.warn(&Failure::new(what).hint("keep --admin on 127.0.0.1, or in a network of admins"));
        }
    }
    for listener in &listeners.tunnels {
        notices.say(&format!("listening on {}", listener.local_addr()?));
    }
    Ok(())
}
