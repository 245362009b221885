//! Where a VPS is, and whether this caller may reach it: asked of the Host, or read in the inventory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::api::{ApiError, Client, Reach, choose, locate};
use crate::failure::Failure;
use crate::gateway::inventory::Inventory;
use crate::gateway::metrics::{Lookup, Metrics};
use crate::gateway::notices::Notices;
use crate::refusal::Refusal;
use crate::secret::Token;
use crate::target::VpsRef;

/// How long the Host has for everything that one lookup asks of it.
const LOOKUP_LIMIT: Duration = Duration::from_secs(10);

/// How long it has when it is only asked whether it is there: whoever asks has a limit of their own.
const READY_LIMIT: Duration = Duration::from_secs(5);

/// Who knows the VPSes.
pub enum Directory {
    /// A Host, which also decides who may reach which.
    Host(Client),
    /// A file; everyone may reach all that is in it.
    Inventory(Arc<Inventory>),
}

impl Directory {
    /// Reads the inventory again; a Host has nothing to read. Says what came of it.
    pub(super) fn reload(&self, notices: &Notices) {
        let Self::Inventory(inventory) = self else { return notices.say("reloaded") };
        match inventory.reload() {
            Ok(count) => notices.say(&format!("reloaded; the inventory has {count} VPSes")),
            Err(error) => {
                let what = "the inventory is refused; the last good one stays";
                notices.fault(&Failure::new(what).because(&error));
            }
        }
    }

    /// Where `vps` is reached by whoever has `token`.
    pub(super) async fn reach(&self, vps: &VpsRef, token: Option<Token>, metrics: &Metrics) -> Result<Reach, Refusal> {
        match self {
            Self::Host(client) => {
                let begun = Instant::now();
                let limited = timeout(LOOKUP_LIMIT, ask(&client.with_token(token), vps)).await;
                let timed_out = || ApiError::Timeout { base: client.base().to_owned(), limit: LOOKUP_LIMIT };
                let answer = limited.unwrap_or_else(|_| Err(timed_out()));
                metrics.looked_up(
                    match &answer {
                        Ok(_) => Lookup::Found,
                        Err(ApiError::Refusal(_)) => Lookup::Refused,
                        Err(_) => Lookup::Failed,
                    },
                    begun.elapsed(),
                );
                answer.map_err(|error| error.refusal())
            }
            Self::Inventory(inventory) => {
                let cluster = inventory.current();
                let found = match vps {
                    VpsRef::Id(id) => cluster.vps.iter().find(|vps| vps.id == *id).ok_or(Refusal::NotFound)?,
                    VpsRef::Name(name) => choose(name, &cluster.vps)?,
                };
                locate(found, cluster.nodes.iter().find(|node| Some(&node.hostname) == found.node.as_ref()))
            }
        }
    }

    /// Whether a look-up could succeed now; else why not. A Host is asked what it tells to anyone.
    pub(super) async fn ready(&self) -> Result<(), String> {
        match self {
            Self::Host(client) => match timeout(READY_LIMIT, client.nodes()).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(error.refusal().detail().unwrap_or_else(|| error.to_string())),
                Err(_) => {
                    Err(format!("the Host API at {} gave no answer within {} s", client.base(), READY_LIMIT.as_secs()))
                }
            },
            // What was good last is there at any time.
            Self::Inventory(_) => Ok(()),
        }
    }
}

async fn ask(client: &Client, vps: &VpsRef) -> Result<Reach, ApiError> {
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
