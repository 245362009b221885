//! The gateway while it serves, as a list of steps: [`serve`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::gateway::admin::{self, Admin, EndRight};
use crate::gateway::api_proxy::ApiProxy;
use crate::gateway::carry::relay::Relays;
use crate::gateway::carry::resumable::Resumables;
use crate::gateway::carry::session::{EndTunnel, Sessions};
use crate::gateway::decide::directory::Directory;
use crate::gateway::decide::resolve::Resolver;
use crate::gateway::front::accept::{AcceptLoops, Listener, TlsListener};
use crate::gateway::front::admin_socket::AdminSocket;
use crate::gateway::front::client::Client;
use crate::gateway::front::connection::Gateway;
use crate::gateway::front::exposure;
use crate::gateway::front::listen::Listeners;
use crate::gateway::front::peers::Peers;
use crate::gateway::front::terms::Terms;
use crate::gateway::front::upstream::Upstreams;
use crate::gateway::host_api::HostApi;
use crate::gateway::http;
use crate::gateway::http::guard::Guard;
use crate::gateway::life::hand_over::{HandOver, Successor};
use crate::gateway::life::moving;
use crate::gateway::life::orders::Order;
use crate::gateway::life::service_manager::ServiceManager;
use crate::gateway::life::stop::Shutdown;
use crate::gateway::roster::others::Others;
use crate::gateway::roster::previous::{self, PreviousProcesses};
use crate::gateway::roster::{self, Roster};
use crate::gateway::watch::records::Records;
use crate::settings::DEFAULT_SSH_PROXY_PORT;
use crate::sys::OwnedFd;

/// The parts of a gateway. The caller binds the listeners, so it knows the ports before anything is served.
pub(crate) struct Parts {
    /// The sockets that it serves.
    pub(crate) listeners: Listeners,
    /// The processes before this one that still have tunnels.
    pub(crate) previous: PreviousProcesses,
    /// The resumable tunnels of the process before this one come on this socket.
    pub(crate) arriving: Option<OwnedFd>,
    /// The source of the VPSes' addresses.
    pub(crate) directory: Directory,
    /// The threads that carry the bytes.
    pub(crate) relays: Relays,
    /// The terms that its admin sets.
    pub(crate) terms: Terms,
    /// The log, the audit log and the metrics.
    pub(crate) records: Records,
    /// The service manager that it reports to.
    pub(crate) service_manager: ServiceManager,
}

/// Serves tunnels until an order to stop, or until a successor serves. Then lets the open tunnels finish, within the
/// terms.
///
/// # Errors
/// When a listener has no address, or the system has no descriptor left.
pub(crate) async fn serve(parts: Parts, mut orders: Receiver<Order>) -> io::Result<()> {
    let Parts { mut listeners, previous, arriving, directory, relays, terms, records, service_manager } = parts;
    let own_ports: Vec<u16> = listeners.addresses()?.iter().map(SocketAddr::port).collect();
    let hand_over = HandOver::of(&listeners, &previous)?;
    let socket_file = listeners.admin.as_mut().and_then(AdminSocket::take_file);
    let (directory, relays) = (Arc::new(directory), Arc::new(relays));
    let sessions = Arc::new(Sessions::new(previous.last_id, records.clone()));
    if terms.metrics_by_user {
        sessions.count_users();
    }
    let others: Vec<_> = terms.peers.iter().map(|address| address.or_port(DEFAULT_SSH_PROXY_PORT)).collect();
    let roster = Arc::new(Roster {
        name: terms.gateway_name.clone().unwrap_or_else(|| roster::default_name(&own_ports)),
        end: end_tunnel(&sessions, &relays),
        sessions,
        previous,
        others: Others::new(others.clone(), terms.proxy_protocol, Arc::clone(&terms.rules)),
    });
    let gateway = Arc::new(Gateway {
        roster: Arc::clone(&roster),
        upstreams: Upstreams {
            directory: Arc::clone(&directory),
            resolver: Resolver::of_the_system(),
            rules: Arc::clone(&terms.rules),
            tunnels: Arc::clone(&terms.limits.tunnels),
            records: records.clone(),
            own_ports,
            host_ssh_proxy: terms.host_ssh_proxy,
        },
        terms: terms.clone(),
        peers: Peers::new(others, terms.proxy_protocol),
        resumables: Arc::new(Resumables::new(Arc::clone(&terms.limits.parked), waker(&relays), records.clone())),
        relays: Arc::clone(&relays),
        api: terms.api_proxy.then(|| ApiProxy::new(&directory, Arc::clone(&terms.rules), records.clone())),
        records: records.clone(),
    });
    let seen = admin::Parts {
        roster,
        records: records.clone(),
        limits: Arc::clone(&terms.limits),
        certificates: terms.certificates.clone(),
        end_right: match &listeners.admin {
            Some(AdminSocket::Local(..)) => EndRight::Everyone,
            _ => EndRight::Token(Arc::clone(&terms.rules)),
        },
    };
    let admin = Admin::new(seen, &directory, terms.guard.clone());
    if let Some(socket) = arriving {
        take_over_tunnels(socket, &gateway)?;
    }
    let accept = AcceptLoops::new(records.clone());
    start_host_api(&accept, listeners.api, &directory, terms.guard.clone());
    start_admin(&accept, listeners.admin, admin);
    warn_if_exposed(&accept, &listeners.tunnels, &listeners.tls, &gateway)?;
    start_tunnels(&accept, listeners.tunnels, listeners.tls, &gateway);
    accept.spawn_until_closed(async move { directory.watch().await });

    let serving = Serving { gateway: &gateway, service_manager: &service_manager, hand_over };
    let successor = serving.until_it_ends(&mut orders).await;

    let shutdown = Shutdown { accept: &accept, relays: &relays, orders: &mut orders, records: &records };
    match successor {
        Some(successor) => {
            service_manager.handed_over(successor.id);
            leave(shutdown, successor, &gateway).await;
        }
        None => {
            // Before the listener closes, so that nobody meets a socket on which nobody listens.
            if let Some(file) = socket_file {
                file.remove();
            }
            shutdown.stop(terms.drain_timeout, &service_manager).await;
        }
    }
    Ok(())
}

/// Takes the resumable tunnels of the process before this one, in a thread of their own.
fn take_over_tunnels(socket: OwnedFd, gateway: &Arc<Gateway>) -> io::Result<()> {
    // Before the first client: it may come for one of them.
    gateway.resumables.set_arriving(true);
    let gateway = Arc::clone(gateway);
    let thread = std::thread::Builder::new().name("arrivals".to_owned());
    thread.spawn(move || moving::take_all(&gateway, socket)).map(drop)
}

/// Wakes a tunnel whose client has come again.
fn waker(relays: &Arc<Relays>) -> Box<dyn Fn(u64) + Send + Sync> {
    // Not a strong one: the relays own the tunnels, and each of these owns this function.
    let relays = Arc::downgrade(relays);
    Box::new(move |session| {
        if let Some(relays) = relays.upgrade() {
            relays.wake(session);
        }
    })
}

/// Ends a tunnel of this process for an admin, or for its user.
fn end_tunnel(sessions: &Arc<Sessions>, relays: &Arc<Relays>) -> EndTunnel {
    let (sessions, relays) = (Arc::clone(sessions), Arc::clone(relays));
    Arc::new(move |id, by| {
        let is_open = sessions.ask_to_end(id, by);
        relays.end_asked();
        is_open
    })
}

fn start_host_api(accept: &AcceptLoops, listener: Option<TcpListener>, directory: &Directory, guard: Guard) {
    let (Directory::Inventory(inventory), Some(listener)) = (directory, listener) else { return };
    let api = Arc::new(HostApi::new(Arc::clone(inventory), guard));
    let permits = Arc::new(Semaphore::new(http::MAX_CONNECTIONS));
    accept.without_drain().start(listener, permits, move |(client, _)| {
        let api = Arc::clone(&api);
        async move { api.serve(client).await }
    });
}

fn start_admin(accept: &AcceptLoops, socket: Option<AdminSocket>, admin: Admin) {
    let Some(socket) = socket else { return };
    let accept = accept.without_drain();
    let admin = Arc::new(admin);
    let permits = Arc::new(Semaphore::new(http::MAX_CONNECTIONS));
    let watched = Arc::clone(&admin);
    accept.spawn_until_closed(async move { watched.keep_history().await });
    match socket {
        AdminSocket::Tcp(listener) => accept.start(listener, permits, move |(client, _)| {
            let admin = Arc::clone(&admin);
            async move { admin.serve(client).await }
        }),
        AdminSocket::Local(listener, _) => accept.start(listener, permits, move |client| {
            let admin = Arc::clone(&admin);
            async move { admin.serve(client).await }
        }),
    }
}

fn warn_if_exposed(
    accept: &AcceptLoops,
    listeners: &[TcpListener],
    tls: &[TcpListener],
    gateway: &Arc<Gateway>,
) -> io::Result<()> {
    // Not everyone has a certificate.
    let is_guarded = gateway.terms.certificates.as_ref().is_some_and(|certificates| certificates.are_of_clients_too());
    let tls = if is_guarded { &[] } else { tls };
    let listening = listeners.iter().chain(tls).map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
    let gateway = Arc::clone(gateway);
    accept.spawn_until_closed(async move {
        exposure::warn(&listening, &gateway.upstreams.directory, &gateway.terms, &gateway.records).await;
    });
    Ok(())
}

fn start_tunnels(accept: &AcceptLoops, plain: Vec<TcpListener>, tls: Vec<TcpListener>, gateway: &Arc<Gateway>) {
    // A handshake that is dropped for another one exists for a moment after its place is taken. Each loop has a permit
    // for the client that it waits for. Those of the Host API are no handshakes any more.
    let of_api = if gateway.api.is_some() { ApiProxy::MOST_CONNECTIONS } else { 0 };
    let most = 2 * gateway.terms.limits.handshakes.most() + of_api + plain.len() + tls.len() - 1;
    let permits = Arc::new(Semaphore::new(most));
    for listener in plain {
        start_listener(accept, listener, &permits, gateway);
    }
    for socket in tls {
        let Some(certificates) = gateway.terms.certificates.clone() else { continue };
        start_listener(accept, TlsListener { socket, certificates }, &permits, gateway);
    }
}

fn start_listener<L>(accept: &AcceptLoops, listener: L, permits: &Arc<Semaphore>, gateway: &Arc<Gateway>)
where
    L: Listener<Accepted = (Client, SocketAddr)>,
{
    let gateway = Arc::clone(gateway);
    accept.start(listener, Arc::clone(permits), move |(client, address)| {
        let gateway = Arc::clone(&gateway);
        async move { gateway.serve(client, address).await }
    });
}

/// The gateway between its start and its end.
struct Serving<'s> {
    gateway: &'s Gateway,
    service_manager: &'s ServiceManager,
    hand_over: HandOver,
}

impl Serving<'_> {
    /// Carries orders out until the gateway ends. Returns the successor after a hand-over, and `None` after an order to
    /// stop. On return the duplicates of the listeners are closed: the system takes connections for a listener as long
    /// as one descriptor of it is open.
    async fn until_it_ends(self, orders: &mut Receiver<Order>) -> Option<Successor> {
        loop {
            match orders.recv().await {
                Some(Order::Reload) => self.reload(),
                Some(Order::HandOver) => {
                    // A new process may take a while to start. A service manager that stops this one doesn't wait for
                    // it.
                    let stop = self.reload_until_stop(orders);
                    match self.hand_over.run(self.gateway.roster.sessions.last_id(), stop).await {
                        Ok(successor) => return successor,
                        Err(error) => {
                            let what = "cannot hand over to a new process; this one continues to serve";
                            self.gateway.records.notices.fault(&Failure::new(what).because(&error));
                        }
                    }
                }
                Some(Order::Stop) | None => return None,
            }
        }
    }

    async fn reload_until_stop(&self, orders: &mut Receiver<Order>) {
        loop {
            match orders.recv().await {
                Some(Order::Reload) => self.reload(),
                Some(Order::HandOver) => {}
                Some(Order::Stop) | None => return,
            }
        }
    }

    /// Reads files again, and opens the audit log's file again.
    fn reload(&self) {
        self.service_manager.reloading();
        self.gateway.reload();
        self.gateway.records.reopen();
        // The service manager has had this message before, so nothing waits for it.
        let _ = self.service_manager.ready();
    }
}

/// Gives the resumable tunnels to the successor.
async fn give_tunnels(socket: Option<OwnedFd>, gateway: &Arc<Gateway>) {
    let Some(socket) = socket else { return };
    let gateway = Arc::clone(gateway);
    let giving = tokio::task::spawn_blocking(move || {
        let given = moving::give(&gateway, socket);
        if given > 0 {
            gateway.records.notices.say(&format!("handed over resumable tunnels: {given}"));
        }
    });
    // A panic of that task has been reported on stderr.
    let _ = giving.await;
}

/// Answers the successor's questions about the tunnels that are left, until they have ended.
async fn leave(shutdown: Shutdown<'_>, mut successor: Successor, gateway: &Arc<Gateway>) {
    give_tunnels(successor.sessions.take(), gateway).await;
    let (sessions, end) = (Arc::clone(&gateway.roster.sessions), Arc::clone(&gateway.roster.end));
    let over = CancellationToken::new();
    let answering = successor.line.take().map(|line| previous::answer(line, sessions, end, over.clone()));
    let answering = answering.map(tokio::spawn);
    shutdown.leave(successor, gateway.terms.drain_timeout).await;
    over.cancel();
    if let Some(answering) = answering {
        // A panic of that task has been reported on stderr.
        let _ = answering.await;
    }
}
