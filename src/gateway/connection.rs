//! One connection, from its first byte to its last: request, lookup, dial, answer, relay.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::api::Reach;
use crate::failure::Failure;
use crate::gateway::dial::DialError;
use crate::gateway::directory::{Admission, Asker, Directory};
use crate::gateway::incoming::{self, Incoming};
use crate::gateway::limits::{Handshake, MORE_FILES, Permit};
use crate::gateway::line_protocol::LineAccess;
use crate::gateway::notices::{Matter, Notices};
use crate::gateway::policy::{self, Runners};
use crate::gateway::relay::Relays;
use crate::gateway::rules::Rules;
use crate::gateway::session::{Facts, Protocol, Sessions};
use crate::gateway::{Terms, closing, dial};
use crate::handshake::answer;
use crate::handshake::request::{Connect, Line, Request};
use crate::refusal::Refusal;
use crate::sys;
use crate::target::VpsRef;

/// How long it is waited until a Host that was not there is asked again how open it is.
const HOST_PAUSE: Duration = Duration::from_secs(10);

/// What every connection needs to know of the gateway.
pub(super) struct Gateway {
    directory: Directory,
    /// The addresses it listens on, of all its doors.
    own: Vec<SocketAddr>,
    terms: Terms,
    sessions: Arc<Sessions>,
    relays: Arc<Relays>,
    notices: Notices,
}

/// A way to a VPS, and the right to use it.
struct Way {
    admission: Admission,
    vps: TcpStream,
    permit: Permit,
}

impl Gateway {
    pub(super) fn new(
        directory: Directory,
        own: Vec<SocketAddr>,
        terms: Terms,
        relays: Arc<Relays>,
        notices: Notices,
    ) -> Self {
        Self { directory, own, terms, sessions: Arc::default(), relays, notices }
    }

    /// Reads again what an admin may have changed.
    pub(super) fn reload(&self, notices: &Notices) {
        self.directory.reload(notices);
        self.terms.rules.reload(notices);
    }

    /// Serves `client`, which comes from `address`, until it is gone, or until it has a tunnel.
    pub(super) async fn serve(&self, mut client: TcpStream, address: SocketAddr) {
        // Behind a proxy it is not known yet who this is.
        let from = (!self.terms.proxy_protocol).then_some(address.ip());
        let mut handshake = match self.terms.limits.handshakes.enter(from) {
            Ok(handshake) => handshake,
            Err(refusal) => return closing::turn_away(client, &answer::refused(&refusal, "")),
        };
        // It fails only when the client has gone again already.
        if sys::tune(&client).is_err() {
            return;
        }
        let read = incoming::read(&mut client, address, self.terms.proxy_protocol);
        let (address, came) = tokio::select! {
            biased;
            came = read => came,
            () = handshake.dropped() => {
                let refusal = Refusal::Limit("others wait, and your request has not come".to_owned());
                return closing::turn_away(client, &answer::refused(&refusal, ""));
            }
        };
        handshake.has_asked(address.ip());
        let (request, early) = match came {
            Incoming::Request(request, early) => (request, early),
            Incoming::Broken(answer) => return refuse(client, &answer, handshake).await,
            Incoming::Nobody => return,
        };
        // One set of rules for the whole of a request.
        let rules = self.terms.rules.current();
        let way = match &request {
            Request::Connect(connect) => self.connect(connect, address.ip(), &rules).await,
            Request::Line(line) => self.line(line, address.ip(), &rules).await,
        };
        let Way { admission: Admission { reach, user, .. }, vps, permit } = match way {
            Ok(way) => way,
            Err(answer) => return refuse(client, &answer, handshake).await,
        };
        let (protocol, yes) = match request {
            Request::Connect(_) => (Protocol::Connect, answer::ESTABLISHED),
            Request::Line(_) => (Protocol::Line, answer::SUCCESS),
        };
        if closing::write(&mut client, yes).await {
            let facts = Facts { user, client: address, protocol, vps: reach.id, node: reach.node.into() };
            self.relays.carry(client, vps, early, self.sessions.open(facts, permit));
        }
    }

    /// Warns the admin when anyone who can connect to one of the `doors` may reach every VPS. Takes as long as the Host
    /// takes to be there.
    pub(super) async fn warn_if_wide_open(&self, doors: &[SocketAddr]) {
        if !policy::is_wide_open(doors, self.terms.rules.current().clients.as_ref()) {
            return;
        }
        let open_to_everyone = loop {
            match self.directory.is_open_to_everyone().await {
                Some(open) => break open,
                None => tokio::time::sleep(HOST_PAUSE).await,
            }
        };
        if open_to_everyone {
            self.notices.say(
                "warning: there is no authentication, so whoever can connect to this gateway reaches every VPS: name \
                 the networks to serve with --allow",
            );
        }
    }

    /// The way that a CONNECT asks for, or the answer that says why there is none.
    async fn connect(&self, connect: &Connect, from: IpAddr, rules: &Rules) -> Result<Way, Vec<u8>> {
        let vps = match &connect.target {
            Ok(vps) => vps,
            Err(refusal) => {
                let host = connect.as_sent.rsplit_once(':').map_or(connect.as_sent.as_str(), |(host, _)| host);
                return Err(answer::refused(refusal, host));
            }
        };
        let way = self.open(vps, &Asker::with(connect.token.clone()), from, rules).await;
        way.map_err(|refusal| answer::refused(&refusal, &vps.to_string()))
    }

    /// The same for the line protocol, which has no token.
    async fn line(&self, line: &Line, from: IpAddr, rules: &Rules) -> Result<Way, Vec<u8>> {
        let id = line.target.map_err(answer::line_error)?;
        let way = match &rules.line {
            LineAccess::Off => Err(Refusal::LineNotServed),
            LineAccess::WithoutAuthentication => self.open(&VpsRef::Id(id), &Asker::with(None), from, rules).await,
            LineAccess::Anonymous => {
                let nobody = Asker { token: None, anonymous: true };
                self.open(&VpsRef::Id(id), &nobody, from, rules).await
            }
            LineAccess::As(token) => {
                let way = self.open(&VpsRef::Id(id), &Asker::with(Some(token.clone())), from, rules).await;
                if matches!(way, Err(Refusal::TokenNeeded)) {
                    let failure = Failure::new("the Host does not know the token that --line-protocol names");
                    let failure = failure.hint("put another one into the file, and send this process a SIGHUP");
                    self.notices.complain(Matter::LineToken, &failure);
                }
                way
            }
        };
        way.map_err(|refusal| answer::line_error(&refusal.line(&line.digits)))
    }

    async fn open(&self, vps: &VpsRef, asker: &Asker, from: IpAddr, rules: &Rules) -> Result<Way, Refusal> {
        if !policy::serves(from, rules.clients.as_ref()) {
            return Err(Refusal::AddressNotServed(from.to_canonical().to_string()));
        }
        let mut admission = self.directory.reach(vps, asker).await?;
        let permit = self.terms.limits.tunnels.admit(from, admission.user.clone()).inspect_err(|_| self.note_full())?;
        let mut dialled = self.dial(&admission.reach, rules).await;
        if dialled.as_ref().is_err_and(DialError::is_of_the_address) {
            match self.directory.reach_anew(vps, asker, &admission).await {
                // The Host can't be asked, so the port's own answer is all there is.
                None | Some(Err(Refusal::HostApi(_) | Refusal::Limit(_))) => {}
                Some(anew) => {
                    let old = std::mem::replace(&mut admission, anew?).reach;
                    if (&old.host, old.port) != (&admission.reach.host, admission.reach.port) {
                        dialled = self.dial(&admission.reach, rules).await;
                    }
                }
            }
        }
        let vps = dialled.map_err(|error| error.refusal(&admission.reach))?;
        sys::tune(&vps).map_err(|error| Refusal::Unreachable(format!("its connection broke at once: {error}")))?;
        Ok(Way { admission, vps, permit })
    }

    async fn dial(&self, reach: &Reach, rules: &Rules) -> Result<TcpStream, DialError> {
        let runners = Runners { own: &self.own, allowed: rules.runners.as_ref() };
        dial::dial(&reach.host, reach.port, runners).await
    }

    /// Tells the admin that all tunnels are taken, which is not known from a client that holds too many itself.
    fn note_full(&self) {
        if self.terms.limits.tunnels.are_all_taken() {
            let failure = Failure::new("all tunnels are taken: new ones are refused");
            self.notices.complain(Matter::Tunnels, &failure.hint(format!("raise --max-tunnels; or {MORE_FILES}")));
        }
    }
}

/// Tells `client` no. It may take its time for that unless others need its place.
async fn refuse(client: TcpStream, answer: &[u8], mut handshake: Handshake) {
    handshake.is_answered();
    tokio::select! {
        biased;
        () = closing::answer(client, answer) => {}
        () = handshake.dropped() => {}
    }
}
