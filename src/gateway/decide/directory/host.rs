//! A Host as the source of VPSes and of the right to reach them.
//!
//! Each question carries the caller's own token, so the Host alone decides on rights. There are three questions, and
//! each answer is cached for seconds: who the caller is, which VPS it means, and where the VPS's Runner is.
//!
//! | the caller is, to the Host | may reach |
//! |---|---|
//! | everyone (authentication is off) | every VPS |
//! | an operator, an admin | every VPS |
//! | a user | the VPSes that the Host shows to this user: own ones and assigned ones |
//! | a viewer, an unknown role | none, though the Host shows a viewer every task |
//! | unknown: no token, or a wrong one | none; with `--line-protocol anonymous` the VPSes that the Host shows to anyone |
//!
//! Anyone can invent tokens, and ask for VPSes that don't exist. So an unknown token takes no room in the cache, and
//! the number of questions without a cached answer that run at once is limited.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::{Uri, http::uri};
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use super::cache::{Cache, Known};
use super::host_state::{self, Checked, HostState};
use super::lookup::{Admission, Requester};
use crate::api::{ApiError, Caller, Client, Node, Reach, Role, User, needs_runner, online_runner};
use crate::gateway::limits::{Turn, Turns};
use crate::gateway::watch::metrics::{Lookup, Metrics};
use crate::refusal::Refusal;
use crate::secret::Token;
use crate::target::{VpsRef, without_brackets};

/// How long an answer of the Host's counts.
pub(super) const FRESH: Duration = Duration::from_secs(5);
/// Time limit for all calls to the Host that one question takes.
const LOOKUP_LIMIT: Duration = Duration::from_secs(10);
/// Time limit for these calls where an older answer is cached (stale-while-error).
const LOOKUP_LIMIT_WITH_OLDER: Duration = Duration::from_secs(2);
/// Time limit for a check whether the Host answers. The caller has a limit of its own.
const READY_LIMIT: Duration = Duration::from_secs(5);

/// How old the list of Runners is at least before it is fetched again for a Runner that is not online in it.
const RUNNERS_AGE: Duration = Duration::from_secs(1);

/// Most questions of either kind without a cached answer that the Host is asked at once.
const NEW_QUESTIONS: usize = 32;
/// Most of them for one client. The others share the rest, each in its turn.
const NEW_QUESTIONS_OF_ONE_CLIENT: usize = NEW_QUESTIONS / 2;

/// A Host, and its latest answers.
pub(crate) struct HostDirectory {
    client: Client,
    /// Asks for the Runners, which every caller needs: that waits for no long list of one caller.
    for_runners: Client,
    for_ready: Client,
    state: HostState,
    stale: Duration,
    /// Whether the Host looks at tokens. A guess until its first answer; its latest answer counts.
    has_users: AtomicBool,
    new_callers: Arc<Turns>,
    new_places: Arc<Turns>,
    callers: Cache<Option<Token>, Caller>,
    places: Cache<(Option<Token>, VpsRef), Reach>,
    /// The Runners by name. The Host shows them to anyone, so one answer serves every caller.
    runners: Cache<(), Arc<HashMap<String, Node>>>,
}

impl HostDirectory {
    /// The Host that `client` asks. While it is down, its answers count for `stale`.
    pub(crate) fn new(client: Client, stale: Duration) -> Self {
        Self {
            for_runners: client.apart(),
            for_ready: client.apart(),
            client,
            state: HostState::default(),
            stale,
            has_users: AtomicBool::new(true),
            new_callers: Turns::new(NEW_QUESTIONS, NEW_QUESTIONS_OF_ONE_CLIENT),
            new_places: Turns::new(NEW_QUESTIONS, NEW_QUESTIONS_OF_ONE_CLIENT),
            callers: Cache::new(FRESH, stale),
            places: Cache::new(FRESH, stale),
            runners: Cache::new(FRESH, stale),
        }
    }

    /// Tells the admin by `state` whether the Host is there.
    pub(crate) fn telling(self, state: HostState) -> Self {
        Self { state, ..self }
    }

    /// Watches whether the Host is there.
    pub(super) async fn watch(&self) {
        self.state.watch(self.base(), self.stale, || self.check()).await;
    }

    /// The last result of the watch.
    pub(crate) async fn checked(&self) -> Checked {
        self.state.checked().await
    }

    pub(super) async fn reach(
        &self,
        vps: &VpsRef,
        requester: &Requester,
        metrics: &Metrics,
    ) -> Result<Admission, Refusal> {
        let caller = self.caller(requester, metrics).await?;
        match &caller {
            Caller::Everyone { .. } => {}
            Caller::Anonymous if requester.anonymous => {}
            Caller::Anonymous => return Err(Refusal::TokenNeeded),
            Caller::User(User { name, role }) => {
                requester.user.get_or_init(|| name.as_str().into());
                if !matches!(role, Role::User | Role::Operator | Role::Admin) {
                    return Err(Refusal::RoleTooLow(role.to_string()));
                }
            }
        }
        let key = self.key(vps, requester);
        let client = self.client.with_token(key.0.clone());
        let _turn = self.turn(&self.new_places, requester.from, self.places.has(&key)).await?;
        let ask = async |has_older| self.limited(has_older, Box::pin(self.place(&client, vps, &caller)), metrics).await;
        let known = self.places.get(&key, ask).await.inspect_err(|_| metrics.cache_misses.increment())?;
        let counter = match &known {
            Known { is_stale: true, .. } => &metrics.cache_stale,
            Known { is_new: true, .. } => &metrics.cache_misses,
            _ => &metrics.cache_hits,
        };
        counter.increment();
        let known_from = (!known.is_new).then_some(known.asked_at);
        Ok(Admission { reach: known.value, known_from })
    }

    pub(super) fn invalidate(&self, vps: &VpsRef, requester: &Requester, known_from: Instant) {
        self.places.invalidate(&self.key(vps, requester), known_from);
        self.runners.outdate(&(), RUNNERS_AGE);
    }

    /// The cache key of an answer about `vps`: the same for every caller where the Host ignores tokens.
    fn key(&self, vps: &VpsRef, requester: &Requester) -> (Option<Token>, VpsRef) {
        (requester.token.clone().filter(|_| self.has_users.load(Ordering::Relaxed)), vps.clone())
    }

    /// The API's address: `http://host:port` without a slash at its end.
    pub(crate) fn base(&self) -> &str {
        self.client.base()
    }

    /// The name or address of the API, and its port.
    pub(super) fn address(&self) -> Option<(String, u16)> {
        let base: Uri = self.client.base().parse().ok()?;
        let default = if base.scheme() == Some(&uri::Scheme::HTTPS) { 443 } else { 80 };
        Some((without_brackets(base.host()?).to_owned(), base.port_u16().unwrap_or(default)))
    }

    /// Whether a lookup could succeed now; else why not.
    pub(super) async fn ready(&self) -> Result<(), String> {
        self.check().await.map_err(|error| {
            self.state.note(&error);
            host_state::why(self.base(), &error)
        })
    }

    /// Asks a question that the Host answers to anyone.
    async fn check(&self) -> Result<(), ApiError> {
        let timed_out = |_| ApiError::Timeout { base: self.base().to_owned(), limit: READY_LIMIT };
        timeout(READY_LIMIT, self.for_ready.nodes()).await.map_err(timed_out)?.map(drop)
    }

    pub(super) async fn caller(&self, requester: &Requester, metrics: &Metrics) -> Result<Caller, Refusal> {
        let Requester { token, from, .. } = requester;
        if token.is_some() && self.has_users.load(Ordering::Relaxed) {
            match self.ask_for_caller(token, *from, metrics).await {
                // The Host has just answered that it ignores tokens.
                Err(Refusal::TokenNeeded) if !self.has_users.load(Ordering::Relaxed) => {}
                answer => return answer,
            }
        }
        match self.ask_for_caller(&None, *from, metrics).await? {
            everyone @ Caller::Everyone { .. } => Ok(everyone),
            nobody if token.is_none() => Ok(nobody),
            _ => self.ask_for_caller(token, *from, metrics).await,
        }
    }

    async fn ask_for_caller(&self, token: &Option<Token>, from: IpAddr, metrics: &Metrics) -> Result<Caller, Refusal> {
        let client = self.client.with_token(token.clone());
        let _turn = self.turn(&self.new_callers, from, self.callers.has(token)).await?;
        let ask = async |has_older| {
            let caller = self.limited(has_older, Box::pin(client.caller()), metrics).await?;
            self.has_users.store(!matches!(caller, Caller::Everyone { .. }), Ordering::Relaxed);
            match caller {
                // An unknown token is not cached.
                Caller::Anonymous | Caller::Everyone { .. } if token.is_some() => Err(Refusal::TokenNeeded),
                caller => Ok(caller),
            }
        };
        self.callers.get(token, ask).await.map(|known| known.value)
    }

    async fn place(&self, client: &Client, vps: &VpsRef, caller: &Caller) -> Result<Reach, ApiError> {
        let vps = client.vps(vps).await?;
        loop {
            let Some(name) = vps.node.as_ref().filter(|_| needs_runner(&vps.status)) else {
                return client.reach(&vps, None, Some(caller)).await.map_err(ApiError::Refusal);
            };
            let Known { value: runners, is_new, .. } = self.runners().await.map_err(ApiError::Refusal)?;
            let runner = runners.get(name);
            // Otherwise the Runner may have come back since the list was fetched.
            if is_new || online_runner(&vps, runner).is_ok() || !self.runners.outdate(&(), RUNNERS_AGE) {
                return client.reach(&vps, runner, Some(caller)).await.map_err(ApiError::Refusal);
            }
        }
    }

    /// The Runners. A Host takes every registration, so their list may be long: it is fetched once for all callers, and
    /// kept without what is not needed.
    async fn runners(&self) -> Result<Known<Arc<HashMap<String, Node>>>, Refusal> {
        let ask = async |_| {
            let nodes = self.for_runners.nodes().await.map_err(|error| error.refusal())?;
            let mut by_name = HashMap::with_capacity(nodes.entries.len());
            for node in nodes.entries {
                // As with a search through the list, the first one of a name counts.
                by_name.entry(node.hostname.clone()).or_insert(Node { json: Value::Null, ..node });
            }
            Ok(Arc::new(by_name))
        };
        self.runners.get(&(), ask).await
    }

    /// Waits for the turn of the client at `from`, unless it `has_answer`. Taken before others can wait for the same
    /// question: they must not wait for this client's turn.
    async fn turn(&self, turns: &Arc<Turns>, from: IpAddr, has_answer: bool) -> Result<Option<Turn>, Refusal> {
        if has_answer {
            return Ok(None);
        }
        let too_many = |_| Refusal::Limit("too many others wait for an answer of the Host".to_owned());
        timeout(LOOKUP_LIMIT, turns.take(from)).await.map(Some).map_err(too_many)
    }

    /// The answer to `question`, if it comes in time. `has_older`: an older answer can be used instead.
    ///
    /// The question is on the heap: most connections have none, and should not carry the room for it.
    async fn limited<T>(
        &self,
        has_older: bool,
        question: Pin<Box<impl Future<Output = Result<T, ApiError>>>>,
        metrics: &Metrics,
    ) -> Result<T, Refusal> {
        let limit = if has_older { LOOKUP_LIMIT_WITH_OLDER } else { LOOKUP_LIMIT };
        let deadline = Instant::now() + limit;
        let begun = Instant::now();
        let timed_out = || ApiError::Timeout { base: self.client.base().to_owned(), limit };
        let answer = timeout_at(deadline, question).await.unwrap_or_else(|_| Err(timed_out()));
        let outcome = match &answer {
            Ok(_) => Lookup::Found,
            Err(ApiError::Refusal(_)) => Lookup::Refused,
            Err(_) => Lookup::Failed,
        };
        metrics.looked_up(outcome, begun.elapsed());
        if let (Lookup::Failed, Err(error)) = (outcome, &answer) {
            self.state.note(error);
        }
        answer.map_err(|error| error.refusal())
    }
}

#[cfg(test)]
mod tests;
