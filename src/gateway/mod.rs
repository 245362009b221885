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
//! - Told to stop, it serves whoever has come, for a while (`stop`); told to hand over, it gives its sockets to a new
//!   process (`hand_over`). With sockets that outlive it (`inherited`) no connection attempt is lost in between.
//!
//! It neither ends TLS nor keeps state: it can be killed and started again at any time, and loses the open tunnels.

mod arguments;
mod carry;
mod connection;
mod decide;
mod front;
mod host_api;
mod life;
mod limits;
#[cfg(test)]
mod tests;
mod watch;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

pub use arguments::{AdminAddress, Arguments};
pub use carry::relay::Relays;
pub use decide::directory::{Directory, HostDirectory};
pub use decide::inventory::{Cluster, Inventory, InventoryError};
pub use decide::rules::RuleBook;
pub use life::elders::Elders;
pub use life::orders::Order;
pub use life::service_manager::ServiceManager;
pub use limits::{Limits, Wanted};
pub use watch::audit::AuditLog;
pub use watch::notices::{LogFormat, LogLevel, Notices};
pub use watch::records::Records;

use crate::api::Client;
use crate::failure::Failure;
use crate::settings::{DEFAULT_PORT, Flags, Settings, Source};
use crate::sys;
use carry::relay;
use carry::session::Sessions;
use connection::Gateway;
use decide::resolve::Resolver;
use front::accept::Doors;
use front::{http, listen};
use life::hand_over::{Estate, Parent};
use life::inherited::{Inherited, Purpose};
use life::stop::Closing;
use life::{elders, orders};
use limits::Kind;
use watch::admin::{Admin, End};

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
    /// The processes that have listened there before, and are still there.
    pub elders: Elders,
}

/// What a gateway may do, and for how long.
#[derive(Clone)]
pub struct Terms {
    /// How much it holds at once.
    pub limits: Arc<Limits>,
    /// Whom it serves and where it dials, as long as nobody changes that.
    pub rules: Arc<RuleBook>,
    /// How long tunnels have to finish when it is told to stop.
    pub drain_timeout: Duration,
    /// Whether a connection starts with a PROXY protocol header, which tells the client's address.
    pub proxy_protocol: bool,
    /// The networks of the proxies that are believed; with none, whoever connects is.
    pub proxy_from: Vec<IpNet>,
}

/// Serves what the command line says until SIGTERM or SIGINT.
///
/// # Errors
/// When the settings, the inventory or an address can't be used.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let inherited = Inherited::take()?;
    let settings = Settings::load(Flags::default())?;
    let records = Records::open(arguments)?;
    let served = run_with(arguments, &settings, &records, inherited);
    records.finish();
    served
}

fn run_with(
    arguments: &Arguments,
    settings: &Settings,
    records: &Records,
    inherited: Inherited,
) -> Result<(), Failure> {
    let notices = &records.notices;
    let directory = directory(arguments, settings, notices)?;
    let rules = RuleBook::open(arguments.rules())?;
    let broken = |error: io::Error| {
        let hint = sys::is_out_of_descriptors(&error).then_some(limits::MORE_FILES);
        Failure::new("cannot start").because(&error).maybe_hint(hint)
    };
    let open_files = limits::raise_open_files();
    let threads = arguments.relay_threads.map_or_else(relay::default_threads, usize::from);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(threads).enable_all().build().map_err(broken)?;
    let served = runtime.block_on(async {
        let orders = orders::from_signals().map_err(broken)?;
        let idle_timeout = arguments.idle_timeout.map(|seconds| Duration::from_secs(seconds.into()));
        let relays = Relays::start(threads, idle_timeout).map_err(broken)?;
        let (listeners, parent) = bind(arguments, settings, inherited)?;
        announce(&listeners, notices).map_err(broken)?;
        let limits = Limits::new(&arguments.limits(), open_files);
        if limits.most(Kind::Tunnels) < arguments.max_tunnels as usize {
            let most = limits.most(Kind::Tunnels);
            notices.say(&format!(
                "carrying at most {most} tunnels at once: more would not fit into the limit of open files"
            ));
        }
        let terms = Terms {
            limits: Arc::new(limits),
            rules: Arc::new(rules),
            drain_timeout: Duration::from_secs(arguments.drain_timeout.into()),
            proxy_protocol: arguments.proxy_protocol,
            proxy_from: arguments.proxy_from.clone(),
        };
        let service_manager = ServiceManager::from_env();
        match parent {
            // It tells the service manager who is the service now; before that, nobody else is heard.
            Some(parent) => parent.relieve(),
            None => service_manager.ready().map_err(|error| {
                Failure::new("cannot tell the service manager that the gateway serves").because(&error)
            })?,
        }
        serve(listeners, directory, relays, terms, records.clone(), service_manager, orders).await.map_err(broken)
    });
    // A resolver that hangs in a thread of its own must not hold up the end.
    runtime.shutdown_background();
    served
}

/// Serves tunnels until an order to stop, or until another process has taken over; then lets those that are open
/// finish, within `terms`.
///
/// # Errors
/// When a listener has no address, or the system has no descriptor left.
pub async fn serve(
    listeners: Listeners,
    directory: Directory,
    relays: Relays,
    terms: Terms,
    records: Records,
    service_manager: ServiceManager,
    mut orders: Receiver<Order>,
) -> io::Result<()> {
    let all = listeners.tunnels.iter().chain(&listeners.api).chain(&listeners.admin);
    let own = all.map(TcpListener::local_addr).collect::<io::Result<Vec<SocketAddr>>>()?;
    let estate = Estate::of(&listeners)?;
    let doors = Doors::new(records.notices.clone(), Arc::clone(&records.metrics));
    if let (Directory::Inventory(inventory), Some(listener)) = (&directory, listeners.api) {
        let inventory = Arc::clone(inventory);
        let permits = Arc::new(Semaphore::new(http::MAX_CONNECTIONS));
        doors.aside().open(listener, permits, move |stream, _| host_api::serve(Arc::clone(&inventory), stream))?;
    }
    let directory = Arc::new(directory);
    let sessions = Arc::new(Sessions::behind(listeners.elders.last_id, records.clone()));
    let relays = Arc::new(relays);
    let end: End = {
        let (open, carried) = (Arc::clone(&sessions), Arc::clone(&relays));
        Arc::new(move |id| {
            let is_open = open.ask_to_end(id);
            carried.end_asked();
            is_open
        })
    };
    if let Some(listener) = listeners.admin {
        let (sessions, directory) = (Arc::clone(&sessions), Arc::clone(&directory));
        let admin = Arc::new(Admin::new(sessions, listeners.elders, directory, Arc::clone(&end)));
        let permits = Arc::new(Semaphore::new(http::MAX_CONNECTIONS));
        doors.aside().open(listener, permits, move |stream, _| {
            let admin = Arc::clone(&admin);
            async move { admin.serve(stream).await }
        })?;
    }
    limits::show(&terms.limits, &records.metrics);
    let tunnels = listeners.tunnels.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<SocketAddr>>>()?;
    // Those that are being dropped for others count a moment longer than their places.
    let permits = Arc::new(Semaphore::new(2 * terms.limits.most(Kind::Handshakes)));
    let drain_timeout = terms.drain_timeout;
    let resolver = Resolver::of_the_system();
    let (open, carried) = (Arc::clone(&sessions), Arc::clone(&relays));
    let gateway = Arc::new(Gateway { directory, sessions: open, own, terms, relays: carried, resolver });
    let warning = Arc::clone(&gateway);
    doors.beside(async move { warning.warn_if_wide_open(&tunnels).await });
    for listener in listeners.tunnels {
        let gateway = Arc::clone(&gateway);
        let serve = move |stream, address| {
            let gateway = Arc::clone(&gateway);
            async move { gateway.serve(stream, address).await }
        };
        doors.open(listener, Arc::clone(&permits), serve)?;
    }
    let reload = || {
        service_manager.reloading();
        gateway.reload(&doors.notices);
        records.reopen();
        // It has heard of this gateway before.
        let _ = service_manager.ready();
    };
    let heir = loop {
        match orders.recv().await {
            Some(Order::Reload) => reload(),
            Some(Order::HandOver) => {
                // A new process may take its time, and a service manager that stops this one does not wait for it.
                let stop = async {
                    loop {
                        match orders.recv().await {
                            Some(Order::Reload) => reload(),
                            Some(Order::HandOver) => {}
                            Some(Order::Stop) | None => return,
                        }
                    }
                };
                match estate.pass_on(sessions.last_id(), stop).await {
                    Ok(heir) => break heir,
                    Err(error) => doors
                        .notices
                        .fault(&Failure::new("cannot hand over to a new process; this one goes on").because(&error)),
                }
            }
            Some(Order::Stop) | None => break None,
        }
    };
    // As long as one descriptor of a listener is open, the system takes connections for it.
    drop(estate);
    let closing = Closing { doors: &doors, relays: &relays, orders: &mut orders, records: &records };
    match heir {
        Some(mut heir) => {
            service_manager.handed_over(heir.id);
            let over = CancellationToken::new();
            let answering = heir.line.take().map(|line| elders::answer(line, sessions, end, over.clone()));
            let answering = answering.map(tokio::spawn);
            closing.leave(heir, drain_timeout).await;
            over.cancel();
            if let Some(answering) = answering {
                // A panic there has been told of.
                let _ = answering.await;
            }
        }
        None => closing.stop(drain_timeout, &service_manager).await,
    }
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
    client.map(|client| Directory::Host(Box::new(HostDirectory::new(client, stale)))).map_err(|error| {
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

/// The listeners: those that were passed to this process, and for what none was passed, its own.
fn bind(
    arguments: &Arguments,
    settings: &Settings,
    mut inherited: Inherited,
) -> Result<(Listeners, Option<Parent>), Failure> {
    let mut passed = |purpose| {
        inherited
            .listeners(purpose)
            .map_err(|error| Failure::new("cannot use a socket that was passed").because(&error))
    };
    let mut tunnels = passed(Purpose::Tunnels)?;
    if tunnels.is_empty() {
        let default = [SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), settings.ssh_proxy_port.value)];
        let addresses = if arguments.listen.is_empty() { &default[..] } else { &arguments.listen };
        tunnels = addresses.iter().map(|address| listen::listen(*address)).collect::<Result<_, _>>()?;
    }
    let mut api = passed(Purpose::Api)?;
    if api.len() > usize::from(arguments.inventory.is_some()) {
        return Err(Failure::usage("cannot use the sockets named `api`")
            .cause("the Host API is served on one socket, and of an inventory only")
            .hint("drop the socket unit with `FileDescriptorName=api`, or give --inventory"));
    }
    if api.is_empty() && arguments.inventory.is_some() {
        let address = arguments.api_listen.unwrap_or(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DEFAULT_PORT));
        api.push(listen::listen(address)?);
    }
    let mut admin = passed(Purpose::Admin)?;
    if let (None, Some(address)) = (admin.last(), arguments.admin.0) {
        let other = "take another address with --admin, or none with `--admin off`";
        admin.push(listen::listen(address).map_err(|failure| failure.hint(other))?);
    }
    let broken = |error| Failure::new("cannot take the place of an older gateway").because(&error);
    let elders = inherited.elders().map_err(broken)?;
    Ok((Listeners { tunnels, api: api.pop(), admin: admin.pop(), elders }, inherited.parent()))
}

/// Says where it listens. From here on the system takes connections, so whoever waits for these lines may come.
fn announce(listeners: &Listeners, notices: &Notices) -> io::Result<()> {
    if let Some(api) = &listeners.api {
        notices.announce(&format!("serving the Host API on {}", api.local_addr()?));
    }
    if let Some(admin) = &listeners.admin {
        let address = admin.local_addr()?;
        notices.announce(&format!("admin on {address}"));
        if !address.ip().is_loopback() {
            let what = format!("whoever reaches {address} may see every tunnel and end it");
            notices.warn(&Failure::new(what).hint("keep --admin on 127.0.0.1, or in a network of admins"));
        }
    }
    for listener in &listeners.tunnels {
        notices.announce(&format!("listening on {}", listener.local_addr()?));
    }
    Ok(())
}
