//! One connection, step by step: admit it, read its request, open its upstream, start the relay or refuse.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::carrier::Reason;
use crate::gateway::api_proxy::ApiProxy;
use crate::gateway::carry::relay::{EarlyData, Relays};
use crate::gateway::carry::resumable::{Held, Resumables};
use crate::gateway::decide::networks::canonical;
use crate::gateway::front::attempt::Attempt;
use crate::gateway::front::client::{Client, Insecure};
use crate::gateway::front::closing;
use crate::gateway::front::incoming::{self, Incoming};
use crate::gateway::front::peers::{Holder, Peers};
use crate::gateway::front::session_requests::{self, SessionRequest};
use crate::gateway::front::terms::Terms;
use crate::gateway::front::upstream::{Upstream, Upstreams};
use crate::gateway::limits::{Full, Handshake, Permit};
use crate::gateway::roster::Roster;
use crate::gateway::watch::records::Records;
use crate::gateway::words::client_fault::ClientFault;
use crate::gateway::words::session::Ending;
use crate::handshake::request::{Connect, Request};
use crate::handshake::{answer, resume, sessions};
use crate::refusal::Refusal;
use crate::resume::{Mac, SessionId};
use crate::target::VpsRef;

/// How long the gateway waits for the first bytes of a client that it has no room for.
const FIRST_BYTES: Duration = Duration::from_millis(100);

/// The parts of the gateway that every connection needs.
pub(crate) struct Gateway {
    pub(crate) terms: Terms,
    pub(crate) upstreams: Upstreams,
    pub(crate) relays: Arc<Relays>,
    pub(crate) resumables: Arc<Resumables>,
    /// The other gateways of the cluster.
    pub(crate) peers: Peers,
    /// The open tunnels, for those who may see them.
    pub(crate) roster: Arc<Roster>,
    /// The Host API on the TLS ports, if it is served there.
    pub(crate) api: Option<ApiProxy>,
    pub(crate) records: Records,
}

impl Gateway {
    /// Reads again what an admin may have changed.
    pub(crate) fn reload(&self) {
        self.upstreams.reload();
        if let Some(certificates) = &self.terms.certificates {
            certificates.reload();
        }
    }

    /// Serves `client`, whose peer is at `address`, until it has a tunnel or is refused.
    pub(crate) async fn serve(&self, mut client: Client, address: SocketAddr) {
        let peer = canonical(address);
        let handshake = match self.admit(peer) {
            Ok(handshake) => handshake,
            Err(refusal) => {
                // The first bytes, which arrive at once as a rule, show the client's protocol.
                let _ = timeout(FIRST_BYTES, client.readable()).await;
                return self.turn_away(&mut client, &[], &refusal);
            }
        };
        let attempt = Attempt::new(&self.records, peer, client.transport());
        if client.tune().is_err() {
            return;
        }
        let connection = Connection { gateway: self, client, peer, handshake, attempt, received: Vec::new() };
        let Some((connection, request)) = connection.read_request().await else { return };
        if let Request::Sessions(asked) = &request {
            // On the heap: a connection that asks for a tunnel should not carry the room for it.
            return Box::pin(connection.tell_about_sessions(asked)).await;
        }
        if let Request::Connect(connect) = &request
            && let Some(resume::Asked::Continue { id, delivered, n, mac, passed }) = connect.resume
        {
            return connection.resume(&request, connect, Continues { id, delivered, n, mac, passed }).await;
        }
        let Some((connection, upstream)) = connection.open_upstream(&request).await else { return };
        connection.carry(&request, upstream);
    }

    /// The tunnel that a client continues. The Host is asked again whether the caller may have it. While it can't be
    /// asked, tunnels live on, and so does one whose client has come again.
    async fn resume(
        &self,
        connect: &Connect,
        continues: Continues,
        attempt: &mut Attempt<'_>,
    ) -> Result<Found, Refusal> {
        let Continues { id, delivered, n, mac, passed } = continues;
        let is_peer = passed && self.peers.have(attempt.address(), &self.upstreams.resolver).await;
        // A peer has checked its own clients.
        if !is_peer {
            self.terms.rules.current().check_served(attempt.address())?;
        }
        let failed = &self.terms.limits.failed_resumptions;
        // A peer counts the failures of its own clients.
        let tried = if is_peer { None } else { Some(failed.begin(attempt.address()).map_err(too_many_tries)?) };
        let found = match self.resumables.find(id, delivered, n, &mac) {
            Ok(held) => Ok(Found::Here(held)),
            Err(Refusal::SessionOver(None)) if !passed && self.peers.are_there() => {
                self.peers.holder(connect, attempt.client()).await.map(Found::Elsewhere)
            }
            Err(refusal) => Err(refusal),
        }?;
        tried.inspect(|tried| failed.forgive(tried));
        let Found::Here(held) = found else { return Ok(found) };
        match self.upstreams.may_continue(connect, &held.session, attempt).await {
            Ok(()) => Ok(Found::Here(held)),
            Err(refusal) => {
                if refusal.ends_session() {
                    self.resumables.end(&held, Reason::Other);
                }
                Err(refusal)
            }
        }
    }

    fn admit(&self, peer: SocketAddr) -> Result<Handshake, Refusal> {
        // Behind a proxy the client's own address is unknown until its header has arrived.
        let from = (!self.terms.proxy_protocol).then_some(peer.ip());
        let entered = self.terms.limits.handshakes.enter(from);
        let mut handshake = entered.map_err(|full| self.refuse_handshake(full, peer.ip()))?;
        self.warn_of_met(&mut handshake, peer.ip());
        if self.terms.proxy_protocol && !self.is_trusted_proxy(peer.ip()) {
            return Err(Refusal::AddressNotServed(peer.ip().to_string()));
        }
        Ok(handshake)
    }

    /// The refusal for a client at `from` that meets a limit on handshakes. The admin hears of it, too.
    fn refuse_handshake(&self, full: Full, from: IpAddr) -> Refusal {
        self.warn_full(full, from);
        full.refusal()
    }

    /// Tells the admin of the limit for which another connection made room.
    fn warn_of_met(&self, handshake: &mut Handshake, from: IpAddr) {
        if let Some(full) = handshake.take_met() {
            self.warn_full(full, from);
        }
    }

    fn warn_full(&self, full: Full, from: IpAddr) {
        self.records.notices.warn_full(full, from, None, || self.terms.limits.handshakes.largest());
    }

    fn is_trusted_proxy(&self, ip: IpAddr) -> bool {
        let from = &self.terms.proxy_from;
        from.is_empty() || from.iter().any(|network| network.contains(&ip))
    }

    /// Ends a connection at once. It is counted, but not audited: a client that opens thousands of connections must not
    /// fill the audit log.
    fn turn_away(&self, client: &mut Client, received: &[u8], refusal: &Refusal) {
        self.records.metrics.count_refused((refusal.reason(), refusal.proxy_error()));
        closing::turn_away(client, received, refusal);
    }
}

fn too_many_tries(wait: Duration) -> Refusal {
    Refusal::Limit(format!("too many sessions could not be continued; try again in {} s", wait.as_secs() + 1))
}

/// The session that a client continues.
#[derive(Clone, Copy)]
struct Continues {
    id: SessionId,
    delivered: u64,
    n: u64,
    mac: Mac,
    passed: bool,
}

/// The gateway that has the session.
enum Found {
    Here(Arc<Held>),
    Elsewhere(Holder),
}

/// A connection that was let in. Each step either passes it on, or answers the client and ends it.
struct Connection<'g> {
    gateway: &'g Gateway,
    client: Client,
    /// The other end of the connection: the client, or a proxy in front of the gateway.
    peer: SocketAddr,
    handshake: Handshake,
    attempt: Attempt<'g>,
    /// The bytes of the request, and later the early data behind it.
    received: Vec<u8>,
}

impl Connection<'_> {
    async fn read_request(mut self) -> Option<(Self, Request)> {
        let terms = &self.gateway.terms;
        let heads = &terms.limits.heads;
        let (proxied, own) = (terms.proxy_protocol, &terms.guard.names);
        let has_api = self.gateway.api.is_some();
        let read = incoming::read(&mut self.client, &mut self.received, self.peer, proxied, heads, own, has_api);
        let (address, incoming) = tokio::select! {
            biased;
            read = read => read,
            () = self.handshake.dropped() => {
                let refusal = Refusal::Limit("others wait, and your request has not come".to_owned());
                self.gateway.turn_away(&mut self.client, &self.received, &refusal);
                return None;
            }
        };
        self.attempt.note_client(address);
        let has_room = self.handshake.note_request(address.ip());
        let has_room = has_room.map_err(|full| self.gateway.refuse_handshake(full, address.ip()));
        self.gateway.warn_of_met(&mut self.handshake, address.ip());
        match incoming {
            Incoming::Nothing => None,
            Incoming::Insecure(insecure) => {
                self.end_insecure(insecure).await;
                None
            }
            Incoming::Api => {
                self.serve_api(has_room).await;
                None
            }
            Incoming::Request(request) => {
                self.attempt.note_certificate(self.client.certified_name());
                self.attempt.note_request(&request);
                let Err(refusal) = has_room else { return Some((self, request)) };
                self.refuse_at_once(&request, &refusal);
                None
            }
            Incoming::Fault(answer, fault) => {
                match fault {
                    ClientFault::TooSlow(_) => heads.count_too_slow(),
                    ClientFault::TooLarge(too_large) => heads.count_too_large(too_large),
                    _ => {}
                }
                self.attempt.fail(fault);
                // Before its handshake, a client of a TLS port could not read it.
                let answer = if self.client.is_before_tls() { Vec::new() } else { answer };
                match has_room {
                    Ok(()) => self.answer(&answer).await,
                    Err(_) => closing::send_at_once(&mut self.client, &answer),
                }
                None
            }
        }
    }

    /// Serves the Host API. From here on the connection is no attempt to get a tunnel, and has a place of its own.
    async fn serve_api(self, has_room: Result<(), Refusal>) {
        let Self { gateway, mut client, handshake, attempt, received, .. } = self;
        let address = attempt.address();
        drop((attempt, handshake));
        let Some(api) = &gateway.api else { return };
        let place =
            has_room.and_then(|()| api.enter(address).ok_or(Refusal::Limit("it serves many others".to_owned())));
        match place {
            Ok(_place) => api.serve(client, received, address).await,
            Err(refusal) => gateway.turn_away(&mut client, &received, &refusal),
        }
    }

    /// Ends a connection that has no TLS although it must. A client without it is told in the clear.
    async fn end_insecure(self, insecure: Insecure) {
        match insecure {
            Insecure::Left => {}
            Insecure::Plain => {
                self.attempt.is_insecure(ClientFault::Plain, "its first byte starts no TLS");
                let answer = closing::in_its_protocol(&self.received, &Refusal::TlsNeeded);
                self.answer(&answer).await;
            }
            Insecure::Failed(why) => {
                self.attempt.is_insecure(ClientFault::Handshake, &why);
                // The alert, which tells the client why, has to arrive.
                self.answer(&[]).await;
            }
        }
    }

    async fn open_upstream(mut self, request: &Request) -> Option<(Self, Upstream)> {
        let upstream = tokio::select! {
            biased;
            () = self.client.left(!self.received.is_empty()) => {
                self.attempt.fail(ClientFault::Left);
                // A client that only ended its stream, such as `nc -N`, still reads this.
                let refusal = Refusal::BadRequest("the client ended its stream before the tunnel was open".to_owned());
                closing::send_at_once(&mut self.client, &answer::refuse(request, &refusal));
                return None;
            }
            upstream = self.gateway.upstreams.open(request, &mut self.attempt) => upstream,
            () = self.handshake.dropped() => {
                self.make_room(request, "neither the Host nor the VPS has answered");
                return None;
            }
        };
        match upstream {
            Ok(upstream) => Some((self, upstream)),
            Err(refusal) => {
                self.attempt.refuse(&refusal);
                self.answer(&answer::refuse(request, &refusal)).await;
                None
            }
        }
    }

    /// Answers a request about sessions.
    async fn tell_about_sessions(self, asked: &sessions::Asked) {
        let Gateway { upstreams, peers, roster, .. } = self.gateway;
        let request = SessionRequest { asked, attempt: &self.attempt, upstreams, peers, roster };
        let (status, answer) = tokio::select! {
            biased;
            answer = request.answer() => answer,
            () = self.handshake.dropped() => session_requests::busy(),
        };
        self.gateway.records.metrics.count_session_request(status);
        self.answer(&answer).await;
    }

    /// Gives the connection to the tunnel that the client continues.
    async fn resume(mut self, request: &Request, connect: &Connect, continues: Continues) {
        let found = tokio::select! {
            biased;
            found = self.gateway.resume(connect, continues, &mut self.attempt) => found,
            () = self.handshake.dropped() => return self.make_room(request, "the Host has not answered"),
        };
        let refusal = match found {
            Ok(Found::Here(held)) => {
                let Self { gateway, mut client, attempt, received: mut early, .. } = self;
                early.append(&mut client.take_ahead());
                let address = attempt.client();
                drop(attempt);
                if let Ok(carrier) = client.into_carrier() {
                    gateway.resumables.resume(&held, carrier, early, address, continues.delivered);
                }
                return;
            }
            Ok(Found::Elsewhere(holder)) => {
                let permit = self.gateway.upstreams.tunnels.admit(self.attempt.address(), None);
                match permit {
                    Ok(permit) => return self.pass_on(connect, holder, permit),
                    Err(full) => full.refusal(),
                }
            }
            Err(refusal) => refusal,
        };
        self.attempt.refuse(&refusal);
        self.answer(&answer::refuse(request, &refusal)).await;
    }

    /// Carries the bytes of the client to the gateway that has its session, and back.
    fn pass_on(self, connect: &Connect, holder: Holder, permit: Permit) {
        let Self { gateway, mut client, attempt, received: mut up, .. } = self;
        up.append(&mut client.take_ahead());
        let Holder { name, carrier, early, delivered } = holder;
        let Ok(VpsRef::Id(vps)) = connect.target else { return };
        let session = attempt.pass_on(&gateway.roster.sessions, vps, &name, permit);
        drop(attempt);
        let down = [answer::established(resume::Answered::Continued(delivered)), early].concat();
        match client.into_carrier() {
            Ok(client) => gateway.relays.carry(client, carrier, EarlyData { up, down, answer: b"" }, session),
            Err(_) => session.close(Ending::Fault),
        }
    }

    fn carry(self, request: &Request, upstream: Upstream) {
        let Self { gateway, mut client, attempt, received: mut early, .. } = self;
        early.append(&mut client.take_ahead());
        let Upstream { reach, vps, permit } = upstream;
        let session = attempt.open(&gateway.roster.sessions, &reach, permit);
        drop(attempt);
        let yes = if matches!(request, Request::Connect(_)) { answer::ESTABLISHED } else { answer::SUCCESS };
        // A tunnel lives long: it keeps the early data, and not the room that the request took.
        early.shrink_to_fit();
        let Ok(mut client) = client.into_carrier() else { return session.close(Ending::Fault) };
        let mut yes = yes;
        if let Request::Connect(Connect { resume: Some(resume::Asked::New(half)), .. }) = request
            // Bytes behind the request came before its sender could know that frames are asked for.
            && early.is_empty()
            && gateway.resumables.are_offered()
        {
            client = match gateway.resumables.begin(client, half, &session) {
                Ok(resumable) => {
                    // A resumable tunnel writes its own answer.
                    yes = b"";
                    resumable
                }
                Err(client) => client,
            };
        }
        let early = EarlyData { up: early, down: Vec::new(), answer: yes };
        gateway.relays.carry(client, Box::new(vps), early, session);
    }

    /// Refuses the request in favour of a newcomer, since something takes long.
    fn make_room(&mut self, request: &Request, what: &str) {
        self.refuse_at_once(request, &Refusal::Limit(format!("others wait, and {what}")));
    }

    /// Refuses the request of a client that is not waited for.
    fn refuse_at_once(&mut self, request: &Request, refusal: &Refusal) {
        self.attempt.refuse(refusal);
        closing::send_at_once(&mut self.client, &answer::refuse(request, refusal));
    }

    /// Writes the last answer. The client may take its time for it, unless a newcomer needs the place.
    async fn answer(mut self, answer: &[u8]) {
        self.handshake.note_answer();
        tokio::select! {
            biased;
            () = closing::answer(self.client, answer) => {}
            () = self.handshake.dropped() => {}
        }
    }
}
