//! From a request to a connection to its VPS: look-up, permit, dial.

use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use crate::api::Reach;
use crate::failure::Failure;
use crate::gateway::decide::dial::{self, DialError};
use crate::gateway::decide::directory::{Directory, Requester};
use crate::gateway::decide::line_protocol::LineAccess;
use crate::gateway::decide::policy::{Denied, HostMachine, Runners, Why};
use crate::gateway::decide::resolve::{Resolver, Unresolved};
use crate::gateway::decide::rules::{RuleBook, Rules};
use crate::gateway::front::attempt::Attempt;
use crate::gateway::limits::{Permit, Tunnels};
use crate::gateway::watch::notices::RateLimitKey;
use crate::gateway::watch::records::Records;
use crate::gateway::words::session::Session;
use crate::handshake::request::{Connect, Line, Request};
use crate::refusal::Refusal;
use crate::sys;
use crate::target::VpsRef;

/// How long a client waits for its answer, from its request on. Less than the 20 s after which our own helper gives up,
/// so that its user reads the reason.
const SETUP_LIMIT: Duration = Duration::from_secs(18);

/// How long a client that continues its tunnel waits for the Host's answer.
const RESUME_LIMIT: Duration = Duration::from_secs(2);

/// A connection to a VPS, with the permit to use it.
pub(super) struct Upstream {
    pub(super) reach: Reach,
    pub(super) vps: TcpStream,
    pub(super) permit: Permit,
}

/// Opens connections to VPSes.
pub(crate) struct Upstreams {
    pub(crate) directory: Arc<Directory>,
    pub(crate) resolver: Resolver,
    pub(crate) rules: Arc<RuleBook>,
    pub(crate) tunnels: Arc<Tunnels>,
    pub(crate) records: Records,
    /// All ports that the gateway listens on. They are never dialled on this machine.
    pub(crate) own_ports: Vec<u16>,
    /// The ports where the Host's own SSH proxy may listen. They are never dialled on the Host's machine.
    pub(crate) host_ssh_proxy: [u16; 2],
}

impl Upstreams {
    /// Reads the inventory and the rules again.
    pub(super) fn reload(&self) {
        self.directory.reload(&self.records.notices);
        self.rules.reload(&self.records.notices);
    }

    /// Connects to the VPS of `request`.
    pub(super) async fn open(&self, request: &Request, attempt: &mut Attempt<'_>) -> Result<Upstream, Refusal> {
        // One set of rules for the whole request, whatever is reloaded meanwhile.
        let rules = self.rules.current();
        match request {
            Request::Connect(Connect { target, token, .. }) => {
                let target = target.as_ref().map_err(Refusal::clone)?;
                self.open_as(target, &Requester::with(attempt.address(), token.clone()), &rules, attempt).await
            }
            Request::Line(line) => self.open_for_line(line, &rules, attempt).await,
            Request::Sessions(_) => Err(Refusal::BadRequest("it asks for no tunnel".to_owned())),
        }
    }

    /// Whether the caller may continue the tunnel of `session`. A Host that gives no answer soon changes nothing, as with
    /// tunnels that are open.
    pub(super) async fn may_continue(
        &self,
        connect: &Connect,
        session: &Session,
        attempt: &mut Attempt<'_>,
    ) -> Result<(), Refusal> {
        let (rules, from) = (self.rules.current(), attempt.address());
        let requester = Requester::with(from, connect.token.clone());
        let vps = VpsRef::Id(session.facts.vps);
        let reached = timeout(RESUME_LIMIT, self.directory.reach(&vps, &requester, &self.records.metrics)).await;
        let user = attempt.note_user(requester.user(), &rules);
        match reached {
            Ok(Err(refusal)) if refusal.ends_session() => Err(refusal),
            Ok(_) if requester.user().is_some() && user != session.facts.user => Err(Refusal::NotAllowed),
            _ => Ok(()),
        }
    }

    /// Connects for a client of the line protocol, which has no token.
    async fn open_for_line(&self, line: &Line, rules: &Rules, attempt: &mut Attempt<'_>) -> Result<Upstream, Refusal> {
        let id = line.target.map_err(|text| Refusal::BadRequest(text.to_owned()))?;
        let requester = match &rules.line {
            LineAccess::Off => return Err(Refusal::LineNotServed),
            LineAccess::WithoutAuthentication => Requester::with(attempt.address(), None),
            LineAccess::Anonymous => Requester::anonymous(attempt.address()),
            LineAccess::As(token) => Requester::with(attempt.address(), Some(token.clone())),
        };
        let upstream = self.open_as(&VpsRef::Id(id), &requester, rules, attempt).await;
        if let (LineAccess::As(_), Err(Refusal::TokenNeeded)) = (&rules.line, &upstream) {
            let failure = Failure::new("the Host does not know the token that --line-protocol names");
            let failure = failure.hint("put another one into the file, and send this process a SIGHUP");
            self.records.notices.warn_limited(RateLimitKey::LineToken, &failure);
        }
        upstream
    }

    async fn open_as(
        &self,
        vps: &VpsRef,
        requester: &Requester,
        rules: &Rules,
        attempt: &mut Attempt<'_>,
    ) -> Result<Upstream, Refusal> {
        let (from, metrics) = (attempt.address(), &self.records.metrics);
        let deadline = Instant::now() + SETUP_LIMIT;
        rules.check_served(from)?;
        let admitted = timeout_at(deadline, self.directory.reach(vps, requester, metrics)).await;
        let too_late = || Refusal::HostSilent(format!("it took longer than {} s", SETUP_LIMIT.as_secs()));
        let admitted = admitted.unwrap_or_else(|_| Err(too_late()));
        let user = attempt.note_user(requester.user(), rules);
        let mut admission = admitted?;
        attempt.note_location(&admission.reach);
        let permit = self.permit(from, user)?;
        let mut dialled = self.dial(&admission.reach, from, rules, deadline).await;
        if dialled.as_ref().is_err_and(DialError::is_of_the_address) {
            let newer = self.directory.reach_anew(vps, requester, &admission, metrics);
            match timeout_at(deadline, newer).await.unwrap_or_default() {
                // The Host gives no newer address, so the result of the dial stands.
                None => {}
                Some(Err(refusal)) if refusal.is_fault() => {}
                Some(newer) => {
                    let old = std::mem::replace(&mut admission, newer?).reach;
                    if (&old.host, old.port) != (&admission.reach.host, admission.reach.port) {
                        attempt.note_location(&admission.reach);
                        dialled = self.dial(&admission.reach, from, rules, deadline).await;
                    }
                }
            }
        }
        let vps = dialled.map_err(|error| error.refusal(&admission.reach))?;
        sys::tune(&vps).map_err(|error| Refusal::Unreachable(format!("its connection broke at once: {error}")))?;
        Ok(Upstream { reach: admission.reach, vps, permit })
    }

    async fn dial(
        &self,
        reach: &Reach,
        from: IpAddr,
        rules: &Rules,
        deadline: Instant,
    ) -> Result<TcpStream, DialError> {
        let host =
            timeout_at(deadline, self.host_machine(reach.port, from)).await.map_err(|_| DialError::Timeout)??;
        let runners = Runners {
            own: &self.own_ports,
            host: host.as_ref(),
            allowed: rules.runners.as_ref(),
            are_the_admins: matches!(*self.directory, Directory::Inventory(_)),
        };
        let limit = deadline.saturating_duration_since(Instant::now());
        let dialled = dial::dial(&reach.host, reach.port, runners, (&self.resolver, from), limit).await;
        if let Err(DialError::Denied(Denied { address, why: Why::OwnMachine })) = dialled {
            let failure = Failure::new(format!("the Runner {} is on this machine, so it is not dialled", reach.node));
            let failure = failure.cause("anyone who can register a Runner at the Host chooses its address");
            let hint = format!("if it is yours, start the gateway with `--allow-runner {address}`");
            self.records.notices.warn_limited(RateLimitKey::OwnMachine, &failure.hint(hint));
        }
        dialled
    }

    /// The machine of the Host that this gateway asks, if one of its ports that are never dialled is `port`.
    async fn host_machine(&self, port: u16, from: IpAddr) -> Result<Option<HostMachine>, DialError> {
        let Some((host, api)) = self.directory.host_api() else { return Ok(None) };
        let ssh_proxy = self.host_ssh_proxy;
        if api != port && !ssh_proxy.contains(&port) {
            return Ok(None);
        }
        let addresses = match self.resolver.addresses(&host, from).await {
            Ok(addresses) => addresses,
            Err(Unresolved::Busy) => return Err(DialError::Busy),
            // The addresses to refuse are unknown then.
            Err(Unresolved::Failed(source)) => return Err(DialError::NoAddress { host, source }),
        };
        Ok(Some(HostMachine { addresses, api, ssh_proxy }))
    }

    fn permit(&self, from: IpAddr, user: Option<Arc<str>>) -> Result<Permit, Refusal> {
        self.tunnels.admit(from, user.clone()).map_err(|full| {
            self.records.notices.warn_full(full, from, user.as_deref(), || self.tunnels.largest());
            full.refusal()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Client;
    use crate::api::fake_host::FakeHost;
    use crate::gateway::carry::session::Sessions;
    use crate::gateway::carry::session::tests::tunnel;
    use crate::gateway::decide::directory::HostDirectory;
    use crate::gateway::decide::rules::Sources;
    use crate::gateway::limits::{Limits, Wanted};
    use crate::gateway::words::session::Transport;
    use crate::secret::Token;
    use serde_json::json;

    fn upstreams(host: &FakeHost) -> Upstreams {
        let host = HostDirectory::new(Client::new(&host.base, None).unwrap(), Duration::ZERO);
        Upstreams {
            directory: Arc::new(Directory::Host(Box::new(host))),
            resolver: Resolver::of_the_system(),
            rules: Arc::new(RuleBook::open(Sources::default()).unwrap()),
            tunnels: Arc::clone(&Limits::of(&Wanted::default()).tunnels),
            records: Records::default(),
            own_ports: Vec::new(),
            host_ssh_proxy: [8012, 8002],
        }
    }

    /// The state of a Host that is asked again.
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum State {
        HasUsers,
        HasNone,
        Fails,
    }

    #[tokio::test]
    async fn a_tunnel_is_continued_by_its_own_user_alone_and_while_the_host_fails() {
        let host = FakeHost::start().await;
        let off = json!({ "detail": "Authentication is not enabled on this server" });
        let task = json!({ "task_id": "7323718749301768192", "task_type": "vps", "status": "running", "ssh_port": 22,
                           "assigned_node": "n" });
        for (state, token, user, expected) in [
            (State::HasUsers, "alice", Some("alice"), Ok(())),
            (State::HasUsers, "bob", Some("alice"), Err(Refusal::NotAllowed)),
            (State::HasUsers, "bob", None, Err(Refusal::NotAllowed)),
            (State::HasUsers, "wrong", Some("alice"), Err(Refusal::TokenNeeded)),
            (State::HasNone, "alice", None, Ok(())),
            (State::HasNone, "alice", Some("alice"), Ok(())),
            (State::Fails, "alice", Some("alice"), Ok(())),
            (State::Fails, "bob", Some("alice"), Ok(())),
        ] {
            host.forget();
            host.on("/api/status/7323718749301768192", 200, &task).on(
                "/api/nodes",
                200,
                json!([{ "hostname": "n", "url": "http://10.0.0.7:8001", "status": "online" }]),
            );
            match state {
                State::HasUsers => {
                    host.on("/api/auth/me", 200, json!({ "id": -1, "username": "_anonymous", "role": "anony" }));
                    for name in ["alice", "bob"] {
                        host.on_with(name, "/api/auth/me", 200, json!({ "username": name, "role": "user" }));
                    }
                }
                State::HasNone => drop(host.on("/api/auth/me", 503, &off)),
                State::Fails => host.forget_and_answer_all(500, "Internal Server Error"),
            }
            let upstreams = upstreams(&host);
            let session = tunnel(&Arc::new(Sessions::default()), user);
            let client = "10.0.0.9:51234".parse().unwrap();
            let mut attempt = Attempt::new(&upstreams.records, client, Transport::Tcp);
            let token = Some(Token::new(token).unwrap());
            let connect = Connect { target: Err(Refusal::NotFound), as_sent: String::new(), token, resume: None };
            let result = upstreams.may_continue(&connect, &session, &mut attempt).await;
            assert_eq!(result, expected, "{state:?} {:?} {user:?}", connect.token);
        }
    }
}
