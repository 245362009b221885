//! One connection, from its first byte to its last: request, lookup, dial, answer, relay.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use crate::api::Reach;
use crate::failure::Failure;
use crate::gateway::Terms;
use crate::gateway::carry::relay::{EarlyData, Relays};
use crate::gateway::carry::session::{Ending, Sessions};
use crate::gateway::decide::attempt::Attempt;
use crate::gateway::decide::dial;
use crate::gateway::decide::dial::DialError;
use crate::gateway::decide::directory::{Asker, Directory};
use crate::gateway::decide::networks::canonical;
use crate::gateway::decide::policy::{self, Runners};
use crate::gateway::decide::resolve::{Resolver, Unresolved};
use crate::gateway::decide::rules::Rules;
use crate::gateway::front::accepted::Accepted;
use crate::gateway::front::closing;
use crate::gateway::front::incoming::{self, Incoming};
use crate::gateway::front::line_protocol::LineAccess;
use crate::gateway::limits::{Handshake, MORE_FILES, Permit};
use crate::gateway::watch::notices::{Matter, Notices};
use crate::handshake::answer;
use crate::handshake::request::{Connect, Line, Request};
use crate::refusal::Refusal;
use crate::sys;
use crate::target::VpsRef;

/// How long it is waited until a Host that was not there is asked again how open it is.
const HOST_PAUSE: Duration = Duration::from_secs(10);
/// How long the first bytes of a newcomer are waited for that there is no place for.
const FIRST_BYTES: Duration = Duration::from_millis(100);
/// How long a client waits for its yes or no, from its request on. Less than the 20 s after which our own helper gives
/// up: who waits in vain shall read what for.
const SETUP_LIMIT: Duration = Duration::from_secs(18);
/// The least that has to be left of it for another try.
const RETRY_LEAST: Duration = Duration::from_secs(1);

/// What every connection needs to know of the gateway.
pub(super) struct Gateway {
    pub(super) directory: Arc<Directory>,
    pub(super) sessions: Arc<Sessions>,
    /// The addresses it listens on, of all its doors.
    pub(super) own: Vec<SocketAddr>,
    pub(super) terms: Terms,
    pub(super) relays: Arc<Relays>,
    pub(super) resolver: Resolver,
}

/// A way to a VPS, and the right to use it.
struct Way {
    reach: Reach,
    vps: TcpStream,
    permit: Permit,
}

impl Gateway {
    /// Reads again what an admin may have changed.
    pub(super) fn reload(&self, notices: &Notices) {
        self.directory.reload(notices);
        self.terms.rules.reload(notices);
    }

    /// Serves `client`, which comes from `address`, until it is gone, or until it has a tunnel.
    pub(super) async fn serve(&self, mut client: Accepted, address: SocketAddr) {
        let address = canonical(address);
        // Behind a proxy it is not known yet who this is.
        let from = (!self.terms.proxy_protocol).then_some(address.ip());
        let mut handshake = match self.terms.limits.handshakes.enter(from) {
            Ok(handshake) => handshake,
            Err(refusal) => return self.turn_back(client, &refusal).await,
        };
        if self.terms.proxy_protocol && !self.is_a_proxy(address.ip()) {
            return self.turn_back(client, &Refusal::AddressNotServed(address.ip().to_string())).await;
        }
        let mut attempt = Attempt::new(&self.sessions, address);
        // On Linux the listener is tuned instead. It fails only when the client has gone again already.
        if !cfg!(target_os = "linux") && sys::tune(&client).is_err() {
            return;
        }
        let mut bytes = Vec::new();
        let limits = &self.terms.limits;
        let read = incoming::read(&mut client, &mut bytes, address, self.terms.proxy_protocol, &limits.heads);
        let (address, came) = tokio::select! {
            biased;
            came = read => came,
            () = handshake.dropped() => {
                let refusal = Refusal::Limit("others wait, and your request has not come".to_owned());
                return self.turn_away(&client, &bytes, &refusal);
            }
        };
        attempt.comes_from(address);
        let has_room = handshake.has_asked(address.ip());
        let request = match came {
            Incoming::Request(request) => request,
            Incoming::Broken(answer, why) => {
                attempt.broken(why);
                return match has_room {
                    Ok(()) => refuse(client, &answer, handshake).await,
                    Err(_) => closing::send_at_once(&client, &answer),
                };
            }
            Incoming::Nobody => return,
        };
        attempt.asks(&request);
        if let Err(refusal) = has_room {
            attempt.refuse(&refusal);
            return closing::send_at_once(&client, &answer::refuse(&request, &refusal));
        }
        let way = tokio::select! {
            biased;
            way = self.way(&request, &mut attempt) => way,
            () = handshake.dropped() => {
                let refusal = Refusal::Limit("others wait, and neither the Host nor the VPS has answered".to_owned());
                attempt.refuse(&refusal);
                return closing::send_at_once(&client, &answer::refuse(&request, &refusal));
            }
        };
        let Way { reach, vps, permit } = match way {
            Ok(way) => way,
            Err(refusal) => {
                attempt.refuse(&refusal);
                return refuse(client, &answer::refuse(&request, &refusal), handshake).await;
            }
        };
        let session = attempt.open(&reach, permit);
        drop(attempt);
        let yes = if matches!(request, Request::Connect(_)) { answer::ESTABLISHED } else { answer::SUCCESS };
        // A tunnel lives long: it keeps what came behind the request, and not the room for it.
        bytes.shrink_to_fit();
        match client.into_std() {
            Ok(client) => self.relays.carry(client, vps, EarlyData { up: bytes, answer: yes }, session),
            Err(_) => session.close(Ending::Fault),
        }
    }

    /// Warns the admin when anyone who can connect to one of the `doors` may reach every VPS. Takes as long as the Host
    /// takes to be there.
    pub(super) async fn warn_if_wide_open(&self, doors: &[SocketAddr]) {
        if self.terms.proxy_protocol && self.terms.proxy_from.is_empty() && policy::is_wide_open(doors, None) {
            let failure = Failure::new("whoever can connect to this gateway may claim to come from any address");
            let failure = failure.cause("--proxy-protocol believes the header, and it listens beyond this machine");
            self.notices().warn(&failure.hint("name the proxies with --proxy-from"));
        }
        if !policy::is_wide_open(doors, self.terms.rules.current().clients.as_ref()) {
            return;
        }
        let open_to_everyone = loop {
            match self.directory.is_open_to_everyone(&self.sessions.records().metrics).await {
                Some(open) => break open,
                None => tokio::time::sleep(HOST_PAUSE).await,
            }
        };
        if open_to_everyone {
            let failure = Failure::new("whoever can connect to this gateway reaches every VPS");
            let failure = failure.cause("there is no authentication, and it listens beyond this machine");
            self.notices().warn(&failure.hint("name the networks to serve with --allow"));
        }
    }

    /// Whether it is believed what a header from `ip` says.
    fn is_a_proxy(&self, ip: IpAddr) -> bool {
        let from = &self.terms.proxy_from;
        from.is_empty() || from.iter().any(|network| network.contains(&ip))
    }

    /// The way that `request` asks for, or why there is none.
    async fn way(&self, request: &Request, attempt: &mut Attempt<'_>) -> Result<Way, Refusal> {
        match request {
            Request::Connect(Connect { target, token, .. }) => {
                let asker = Asker::with(token.clone());
                self.open(target.as_ref().map_err(Refusal::clone)?, &asker, &self.terms.rules.current(), attempt).await
            }
            Request::Line(line) => self.line(line, attempt).await,
        }
    }

    /// The same for the line protocol, which has no token.
    async fn line(&self, line: &Line, attempt: &mut Attempt<'_>) -> Result<Way, Refusal> {
        let id = line.target.map_err(|text| Refusal::BadRequest(text.to_owned()))?;
        // One set of rules for the whole of a request.
        let rules = self.terms.rules.current();
        let asker = match &rules.line {
            LineAccess::Off => None,
            LineAccess::WithoutAuthentication => Some(Asker::with(None)),
            LineAccess::Anonymous => Some(Asker::anonymous()),
            LineAccess::As(token) => Some(Asker::with(Some(token.clone()))),
        };
        let way = match &asker {
            None => Err(Refusal::LineNotServed),
            Some(asker) => self.open(&VpsRef::Id(id), asker, &rules, attempt).await,
        };
        if let (LineAccess::As(_), Err(Refusal::TokenNeeded)) = (&rules.line, &way) {
            let failure = Failure::new("the Host does not know the token that --line-protocol names");
            let failure = failure.hint("put another one into the file, and send this process a SIGHUP");
            self.notices().complain(Matter::LineToken, &failure);
        }
        way
    }

    async fn open(
        &self,
        vps: &VpsRef,
        asker: &Asker,
        rules: &Rules,
        attempt: &mut Attempt<'_>,
    ) -> Result<Way, Refusal> {
        let (from, metrics) = (attempt.address(), &self.sessions.records().metrics);
        let deadline = Instant::now() + SETUP_LIMIT;
        let enough_is_left = || Instant::now() + RETRY_LEAST <= deadline;
        if !policy::serves(from, rules.clients.as_ref()) {
            return Err(Refusal::AddressNotServed(from.to_string()));
        }
        let admitted = timeout_at(deadline, self.directory.reach(vps, asker, metrics)).await;
        let admitted =
            admitted.unwrap_or_else(|_| Err(Refusal::HostApi(format!("it took longer than {SETUP_LIMIT:?}"))));
        attempt.user = asker.user();
        let mut admission = admitted?;
        attempt.located(&admission.reach);
        let permit = self.permit(from, asker.user())?;
        let mut dialled = self.dial(&admission.reach, rules, deadline).await;
        if dialled.as_ref().is_err_and(DialError::is_of_the_address) && enough_is_left() {
            let anew = self.directory.reach_anew(vps, asker, &admission, metrics);
            match timeout_at(deadline, anew).await.unwrap_or_default() {
                // The Host can't be asked, so the port's own answer is all there is.
                None | Some(Err(Refusal::HostApi(_) | Refusal::Limit(_))) => {}
                Some(anew) => {
                    let old = std::mem::replace(&mut admission, anew?).reach;
                    if (&old.host, old.port) != (&admission.reach.host, admission.reach.port) && enough_is_left() {
                        attempt.located(&admission.reach);
                        dialled = self.dial(&admission.reach, rules, deadline).await;
                    }
                }
            }
        }
        let vps = dialled.map_err(|error| error.refusal(&admission.reach))?;
        sys::tune(&vps).map_err(|error| Refusal::Unreachable(format!("its connection broke at once: {error}")))?;
        Ok(Way { reach: admission.reach, vps, permit })
    }

    async fn dial(&self, reach: &Reach, rules: &Rules, deadline: Instant) -> Result<TcpStream, DialError> {
        let host = timeout_at(deadline, self.host_addresses(reach.port)).await.map_err(|_| DialError::Timeout)??;
        let runners = Runners { own: &self.own, host: &host, allowed: rules.runners.as_ref() };
        dial::dial(&reach.host, reach.port, runners, &self.resolver, deadline.saturating_duration_since(Instant::now()))
            .await
    }

    /// Where the Host API is that this gateway asks, if that is on `port`.
    async fn host_addresses(&self, port: u16) -> Result<Vec<SocketAddr>, DialError> {
        match self.directory.host_api() {
            Some((host, api)) if api == port => {
                let addresses = match self.resolver.addresses(&host).await {
                    Err(Unresolved::Busy) => return Err(DialError::Busy),
                    // A name that leads nowhere leads no Runner there.
                    found => found.unwrap_or_default(),
                };
                Ok(addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    fn permit(&self, from: IpAddr, user: Option<Arc<str>>) -> Result<Permit, Refusal> {
        let tunnels = &self.terms.limits.tunnels;
        tunnels.admit(from, user).inspect_err(|_| {
            // An admin need not know of a client that holds too many itself.
            if tunnels.are_all_taken() {
                let failure = Failure::new("all tunnels are taken: new ones are refused");
                let hint = format!("raise --max-tunnels; or {MORE_FILES}");
                self.notices().complain(Matter::Tunnels, &failure.hint(hint));
            }
        })
    }

    /// Ends a connection that there is no place for, as soon as it can be told what it speaks: its first bytes are on
    /// their way as a rule.
    async fn turn_back(&self, mut client: Accepted, refusal: &Refusal) {
        let _ = timeout(FIRST_BYTES, client.readable()).await;
        self.turn_away(&client, &[], refusal);
    }

    /// Ends a connection at once. It is counted, and that is all: whoever opens thousands of them shall not fill the
    /// audit log, too.
    fn turn_away(&self, client: &Accepted, came: &[u8], refusal: &Refusal) {
        self.sessions.records().metrics.refuse(refusal.reason(), refusal.proxy_error());
        closing::turn_away(client, came, refusal);
    }

    fn notices(&self) -> &Notices {
        &self.sessions.records().notices
    }
}

/// Tells `client` no. It may take its time for that unless others need its place.
async fn refuse(client: Accepted, answer: &[u8], mut handshake: Handshake) {
    handshake.is_answered();
    tokio::select! {
        biased;
        () = closing::answer(client, answer) => {}
        () = handshake.dropped() => {}
    }
}
