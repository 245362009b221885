//! What answers on Host :8002: HTTP CONNECT and the older line protocol on one port, to VPSes and nothing else.
//!
//! ```text
//!          accept ─▶ connection ─▶ incoming ─▶ directory ─▶ dial ─▶ relay
//!  client ───────────────▶ request ──▶ who may, where? ──▶ Runner ──▶ bytes, both ways
//!                                       │                   │
//!                                 Host API, or          policy
//!                                 inventory ─▶ host_api (its read-only API)
//! ```
//!
//! # Promises
//! - It reaches VPSes only, and asks the Host in the caller's own name who may reach which.
//! - A yes is said once the VPS's port has accepted; a no says why, and arrives.
//! - Everything a stranger can send or hold open has a limit, in size, number or time.
//! - It says nothing of its clients: stderr gets what it serves and its own faults.
//!
//! It neither ends TLS nor keeps state: it can be killed and started again at any time, and loses the open tunnels.

mod accept;
mod arguments;
mod closing;
mod connection;
mod dial;
mod directory;
mod host_api;
mod incoming;
mod inventory;
mod limits;
mod line_protocol;
mod listen;
mod networks;
mod notices;
mod policy;
mod relay;
mod rules;
mod session;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use arguments::Arguments;
pub use directory::{Directory, HostDirectory};
pub use inventory::{Cluster, Inventory, InventoryError};
pub use limits::{Limits, Wanted};
pub use notices::Notices;
pub use relay::Relays;
pub use rules::RuleBook;

use crate::api::Client;
use crate::failure::Failure;
use crate::settings::{DEFAULT_PORT, Flags, Settings, Source};
use accept::Doors;
use connection::Gateway;
use session::Ending;

/// The program's name, in front of what it says.
pub const PROGRAM: &str = "kohakuriver-gateway";

/// Where the gateway listens. The caller binds, so it knows the ports before anything is served.
pub struct Listeners {
    /// For tunnels.
    pub tunnels: Vec<TcpListener>,
    /// For the read-only Host API; taken in inventory mode only.
    pub api: Option<TcpListener>,
}

/// Serves what the command line says until SIGTERM or SIGINT.
///
/// # Errors
/// When the settings, the inventory or an address can't be used.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let settings = Settings::load(Flags::default())?;
    let notices = Notices::to(io::stderr());
    let directory = directory(arguments, &settings, &notices)?;
    let rules = Arc::new(RuleBook::open(arguments.rules())?);
    let broken = |error: io::Error| Failure::new("cannot start").because(&error);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(broken)?;
    let served = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(broken)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(broken)?;
        let listeners = bind(arguments, &settings)?;
        announce(&listeners, &notices).map_err(broken)?;
        let open_files = limits::raise_open_files();
        let limits = Limits::new(&arguments.limits(), open_files);
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let threads = arguments.relay_threads.map_or_else(relay::default_threads, usize::from);
        let idle_timeout = arguments.idle_timeout.map(|seconds| Duration::from_secs(seconds.into()));
        let relays = Relays::start(threads, idle_timeout).map_err(broken)?;
        serve(listeners, directory, relays, limits, rules, notices, stop).await.map_err(broken)
    });
    // A resolver that hangs in a thread of its own must not hold up the end.
    runtime.shutdown_background();
    served
}

/// Serves tunnels, within `limits` and by `rules`, until `stop`; then ends those that are open.
///
/// # Errors
/// When a listener has no address.
pub async fn serve(
    listeners: Listeners,
    directory: Directory,
    relays: Relays,
    limits: Limits,
    rules: Arc<RuleBook>,
    notices: Notices,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let all = listeners.tunnels.iter().chain(&listeners.api);
    let own = all.map(TcpListener::local_addr).collect::<io::Result<Vec<SocketAddr>>>()?;
    let limits = Arc::new(limits);
    let doors = Doors {
        tracker: TaskTracker::new(),
        stop: CancellationToken::new(),
        notices: notices.clone(),
        limits: Arc::clone(&limits),
    };
    if let (Directory::Inventory(inventory), Some(listener)) = (&directory, listeners.api) {
        let inventory = Arc::clone(inventory);
        let permits = Arc::new(Semaphore::new(host_api::MAX_CONNECTIONS));
        doors.open(listener, permits, move |stream, _| host_api::serve(Arc::clone(&inventory), stream));
    }
    let relays = Arc::new(relays);
    let tunnels = listeners.tunnels.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<SocketAddr>>>()?;
    let (sessions, relays_of_gateway) = (Arc::default(), Arc::clone(&relays));
    // Those that are being dropped for others count a moment longer than their places.
    let permits = Arc::new(Semaphore::new(2 * limits.most(limits::Kind::Handshakes)));
    let gateway = Arc::new(Gateway { directory, own, limits, rules, sessions, relays: relays_of_gateway, notices });
    let warning = Arc::clone(&gateway);
    let warning = async move { warning.warn_if_wide_open(&tunnels).await };
    doors.tracker.spawn(doors.stop.clone().run_until_cancelled_owned(warning));
    for listener in listeners.tunnels {
        let gateway = Arc::clone(&gateway);
        let serve = move |stream, address| {
            let gateway = Arc::clone(&gateway);
            async move { gateway.serve(stream, address).await }
        };
        doors.open(listener, Arc::clone(&permits), serve);
    }
    stop.await;
    doors.stop.cancel();
    doors.tracker.close();
    doors.tracker.wait().await;
    relays.end_all(Ending::Stopped);
    relays.none().await;
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
    let stale = Duration::from_secs(arguments.stale.into());
    let client = Client::new(&base, None);
    client.map(|client| Directory::Host(HostDirectory::new(client, stale))).map_err(|error| {
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
    Ok(Listeners { tunnels, api })
}

/// Says where it listens. From here on the system takes connections, so whoever waits for these lines may come.
fn announce(listeners: &Listeners, notices: &Notices) -> io::Result<()> {
    if let Some(api) = &listeners.api {
        notices.say(&format!("serving the Host API on {}", api.local_addr()?));
    }
    for listener in &listeners.tunnels {
        notices.say(&format!("listening on {}", listener.local_addr()?));
    }
    Ok(())
}
