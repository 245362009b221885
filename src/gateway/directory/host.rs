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

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::cache::{Cache, Known};
use super::{Admission, Asker};
use crate::api::{ApiError, Caller, Client, Reach, Role, User, locate};
use crate::gateway::metrics::{Lookup, Metrics};
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

/// A Host, and what it said lately.
pub struct HostDirectory {
    client: Client,
    callers: Cache<Option<Token>, Caller>,
    places: Cache<(Option<Token>, VpsRef), Reach>,
}

impl HostDirectory {
    /// The Host that `client` asks. While it is down, what it said counts for `stale`.
    pub fn new(client: Client, stale: Duration) -> Self {
        Self { client, callers: Cache::new(FRESH, stale), places: Cache::new(FRESH, stale) }
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
        let client = self.client.with_token(asker.token.clone());
        let key = (asker.token.clone(), vps.clone());
        let ask = async |has_older| self.limited(has_older, place(&client, vps), metrics).await;
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
        self.places.doubt(&(asker.token.clone(), vps.clone()), known_from);
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
        let client = self.client.with_token(token.clone());
        let ask = async |has_older| match self.limited(has_older, client.caller(), metrics).await {
            // Anyone can make up tokens: those are not remembered.
            Ok(Caller::Anonymous) if token.is_some() => Err(Refusal::TokenNeeded),
            answer => answer,
        };
        self.callers.get(token, ask).await.map(|known| known.value)
    }

    async fn limited<T>(
        &self,
        has_older: bool,
        question: impl Future<Output = Result<T, ApiError>>,
        metrics: &Metrics,
    ) -> Result<T, Refusal> {
        let begun = Instant::now();
        let limit = if has_older { LOOKUP_LIMIT_WITH_OLDER } else { LOOKUP_LIMIT };
        let timed_out = || ApiError::Timeout { base: self.client.base().to_owned(), limit };
        let answer = timeout(limit, question).await.unwrap_or_else(|_| Err(timed_out()));
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
