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

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::cache::Cache;
use super::{Admission, Asker};
use crate::api::{ApiError, Caller, Client, Reach, Role, locate};
use crate::refusal::Refusal;
use crate::secret::Token;
use crate::target::VpsRef;

/// How long an answer of the Host's counts.
pub(super) const FRESH: Duration = Duration::from_secs(5);
/// How long the Host has for everything that one question asks of it.
const LOOKUP_LIMIT: Duration = Duration::from_secs(10);
/// The same where an older answer is at hand.
const LOOKUP_LIMIT_WITH_OLDER: Duration = Duration::from_secs(2);

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

    pub(super) async fn reach(&self, vps: &VpsRef, asker: &Asker) -> Result<Admission, Refusal> {
        let user = match self.caller(&asker.token).await? {
            Caller::Everyone => None,
            Caller::Anonymous if asker.anonymous => None,
            Caller::Anonymous => return Err(Refusal::TokenNeeded),
            Caller::User { name, role: Role::User | Role::Operator | Role::Admin } => Some(Arc::from(name)),
            Caller::User { role: Role::Viewer, .. } => return Err(Refusal::RoleTooLow("viewer".to_owned())),
            Caller::User { role: Role::Other(role), .. } => return Err(Refusal::RoleTooLow(role)),
        };
        let client = self.client.with_token(asker.token.clone());
        let key = (asker.token.clone(), vps.clone());
        let ask = async |has_older| self.limited(has_older, place(&client, vps)).await;
        let known = self.places.get(&key, ask).await?;
        let known_from = (!known.is_new).then_some(known.asked_at);
        Ok(Admission { reach: known.value, user, known_from })
    }

    pub(super) fn doubt(&self, vps: &VpsRef, asker: &Asker, known_from: Instant) {
        self.places.doubt(&(asker.token.clone(), vps.clone()), known_from);
    }

    pub(super) async fn is_open_to_everyone(&self) -> Option<bool> {
        self.caller(&None).await.ok().map(|caller| caller == Caller::Everyone)
    }

    async fn caller(&self, token: &Option<Token>) -> Result<Caller, Refusal> {
        let client = self.client.with_token(token.clone());
        let ask = async |has_older| match self.limited(has_older, client.caller()).await {
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
    ) -> Result<T, Refusal> {
        let limit = if has_older { LOOKUP_LIMIT_WITH_OLDER } else { LOOKUP_LIMIT };
        let timed_out = || ApiError::Timeout { base: self.client.base().to_owned(), limit };
        let answer = timeout(limit, question).await.unwrap_or_else(|_| Err(timed_out()));
        answer.map_err(|error| error.refusal())
    }
}

async fn place(client: &Client, vps: &VpsRef) -> Result<Reach, ApiError> {
    let vps = client.vps(vps).await?;
    match locate(&vps, None) {
        // Nothing but its Runner is missing: only now that question is worth a call.
        Err(Refusal::RunnerOffline(Some(node))) => {
            let node = client.node(&node).await?;
            locate(&vps, node.as_ref()).map_err(ApiError::Refusal)
        }
        verdict => verdict.map_err(ApiError::Refusal),
    }
}

#[cfg(test)]
mod tests;
