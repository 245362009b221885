//! A Host as the one who knows the VPSes and decides who may reach them.
//!
//! It is asked with the caller's own token, so rights are kept there and nowhere else. Three things are asked, each
//! remembered for seconds: who the caller is, which VPS they mean, and where its Runner is.
//!
//! | the Host takes the caller for | may reach |
//! |---|---|
//! | everyone (authentication is off) | every VPS |
//! | an operator, an admin | every VPS |
//! | a user | what the Host shows them: the VPSes they own or are assigned to |
//! | a viewer, a role that isn't known | none, though the Host shows a viewer every task |
//! | nobody: no token, or a wrong one | none; with `--line-protocol anonymous` what the Host shows to nobody |
//!
//! Anyone can make tokens up, and ask for VPSes that aren't there. So a token that means nothing takes no room, and
//! those of whom nothing is known yet wait for each other when they are many.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::Uri;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::cache::{Cache, Known};
use super::{Admission, Asker};
use crate::api::{ApiError, Caller, Client, Reach, Role, User, locate};
use crate::gateway::watch::metrics::{Lookup, Metrics};
use crate::refusal::Refusal;
use crate::secret::Token;
use crate::target::VpsRef;

/// How long an answer of the Host's counts.
pub(super) const FRESH: Duration = Duration::from_secs(5);
/// How long the Host has for everything that one question asks of it.
const LOOKUP_LIMIT: Duration = Duration::from_secs(10);
/// The same where an older answer is at hand.
const LOOKUP_LIMIT_WITH_OLDER: Duration = Duration::from_secs(2);
/// How long it has when it is only asked whether it is there: whoever asks has a limit of their own.
const READY_LIMIT: Duration = Duration::from_secs(5);

/// How many questions of either kind, of which no older answer is at hand, are put to the Host at once.
const NEW_QUESTIONS: usize = 32;

/// A Host, and what it said lately.
pub struct HostDirectory {
    client: Client,
    /// Tokens mean something to it. Only a guess before it has said so; what it says last counts.
    has_users: AtomicBool,
    new_callers: Semaphore,
    new_places: Semaphore,
    callers: Cache<Option<Token>, Caller>,
    places: Cache<(Option<Token>, VpsRef), Reach>,
}

impl HostDirectory {
    /// The Host that `client` asks. While it is down, what it said counts for `stale`.
    pub fn new(client: Client, stale: Duration) -> Self {
        Self {
            client,
            has_users: AtomicBool::new(true),
            new_callers: Semaphore::new(NEW_QUESTIONS),
            new_places: Semaphore::new(NEW_QUESTIONS),
            callers: Cache::new(FRESH, stale),
            places: Cache::new(FRESH, stale),
        }
    }

    pub(super) async fn reach(&self, vps: &VpsRef, asker: &Asker, metrics: &Metrics) -> Result<Admission, Refusal> {
        match self.caller(&asker.token, metrics).await? {
            Caller::Everyone => {}
            Caller::Anonymous if asker.anonymous => {}
            Caller::Anonymous => return Err(Refusal::TokenNeeded),
            Caller::User(User { name, role }) => {
                asker.user.get_or_init(|| name.into());
                if !matches!(role, Role::User | Role::Operator | Role::Admin) {
                    return Err(Refusal::RoleTooLow(role.to_string()));
                }
            }
        }
        let key = self.key(vps, asker);
        let client = self.client.with_token(key.0.clone());
        let new = |has_older: bool| (!has_older).then_some(&self.new_places);
        let ask = async |has_older| self.limited(new(has_older), Box::pin(place(&client, vps)), metrics).await;
        let known = self.places.get(&key, ask).await.inspect_err(|_| metrics.cache_misses.increment())?;
        let was_good_for = match &known {
            Known { is_stale: true, .. } => &metrics.cache_stale,
            Known { is_new: true, .. } => &metrics.cache_misses,
            _ => &metrics.cache_hits,
        };
        was_good_for.increment();
        let known_from = (!known.is_new).then_some(known.asked_at);
        Ok(Admission { reach: known.value, known_from })
    }

    pub(super) fn doubt(&self, vps: &VpsRef, asker: &Asker, known_from: Instant) {
        self.places.doubt(&self.key(vps, asker), known_from);
    }

    /// What an answer about `vps` is kept under: where nobody looks at tokens, the same for everyone.
    fn key(&self, vps: &VpsRef, asker: &Asker) -> (Option<Token>, VpsRef) {
        (asker.token.clone().filter(|_| self.has_users.load(Ordering::Relaxed)), vps.clone())
    }

    /// The name or address of the API, and its port.
    pub(super) fn address(&self) -> Option<(String, u16)> {
        let base: Uri = self.client.base().parse().ok()?;
        let host = base.host()?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Some((bare.to_owned(), base.port_u16().unwrap_or(80)))
    }

    /// Whether a look-up could succeed now; else why not. The Host is asked what it tells to anyone.
    pub(super) async fn ready(&self) -> Result<(), String> {
        match timeout(READY_LIMIT, self.client.nodes()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.refusal().detail().unwrap_or_else(|| error.to_string())),
            Err(_) => {
                let seconds = READY_LIMIT.as_secs();
                Err(format!("the Host API at {} gave no answer within {seconds} s", self.client.base()))
            }
        }
    }

    pub(super) async fn is_open_to_everyone(&self, metrics: &Metrics) -> Option<bool> {
        self.caller(&None, metrics).await.ok().map(|caller| caller == Caller::Everyone)
    }

    async fn caller(&self, token: &Option<Token>, metrics: &Metrics) -> Result<Caller, Refusal> {
        if token.is_some() && self.has_users.load(Ordering::Relaxed) {
            match self.ask_for_caller(token, metrics).await {
                // The Host has just said that it looks at no tokens.
                Err(Refusal::TokenNeeded) if !self.has_users.load(Ordering::Relaxed) => {}
                answer => return answer,
            }
        }
        match self.ask_for_caller(&None, metrics).await? {
            Caller::Everyone => Ok(Caller::Everyone),
            nobody if token.is_none() => Ok(nobody),
            _ => self.ask_for_caller(token, metrics).await,
        }
    }

    async fn ask_for_caller(&self, token: &Option<Token>, metrics: &Metrics) -> Result<Caller, Refusal> {
        let client = self.client.with_token(token.clone());
        let new = |has_older: bool| (!has_older).then_some(&self.new_callers);
        let ask = async |has_older| {
            let caller = self.limited(new(has_older), Box::pin(client.caller()), metrics).await?;
            self.has_users.store(caller != Caller::Everyone, Ordering::Relaxed);
            match caller {
                // Such tokens are not remembered.
                Caller::Anonymous | Caller::Everyone if token.is_some() => Err(Refusal::TokenNeeded),
                caller => Ok(caller),
            }
        };
        self.callers.get(token, ask).await.map(|known| known.value)
    }

    /// The answer to `question`, if it comes in time. One of which nothing is known yet waits for its turn among the
    /// `new` ones, and that counts.
    ///
    /// It is on the heap: most connections need none, and are not to carry the room for it.
    async fn limited<T>(
        &self,
        new: Option<&Semaphore>,
        question: Pin<Box<impl Future<Output = Result<T, ApiError>>>>,
        metrics: &Metrics,
    ) -> Result<T, Refusal> {
        let limit = if new.is_none() { LOOKUP_LIMIT_WITH_OLDER } else { LOOKUP_LIMIT };
        let deadline = Instant::now() + limit;
        let _turn = match new {
            Some(new) => {
                let too_many = || Refusal::Limit("too many others wait for an answer of the Host".to_owned());
                Some(timeout_at(deadline, new.acquire()).await.map_err(|_| too_many())?)
            }
            None => None,
        };
        let begun = Instant::now();
        let timed_out = || ApiError::Timeout { base: self.client.base().to_owned(), limit };
        let answer = timeout_at(deadline, question).await.unwrap_or_else(|_| Err(timed_out()));
        let outcome = match &answer {
            Ok(_) => Lookup::Found,
            Err(ApiError::Refusal(_)) => Lookup::Refused,
            Err(_) => Lookup::Failed,
        };
        metrics.looked_up(outcome, begun.elapsed());
        answer.map_err(|error| error.refusal())
    }
}

async fn place(client: &Client, vps: &VpsRef) -> Result<Reach, ApiError> {
    let vps = client.vps(vps).await?;
    match locate(&vps, None) {
        // Nothing but its Runner is missing: only now that question is worth a call.
        Err(Refusal::RunnerOffline(_)) => {
            let node = client.runner_of(&vps).await?;
            locate(&vps, node.as_ref()).map_err(ApiError::Refusal)
        }
        verdict => verdict.map_err(ApiError::Refusal),
    }
}

#[cfg(test)]
mod tests;
