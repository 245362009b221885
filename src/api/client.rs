//! The calls that read, for both generations of Hosts.
//!
//! Today's Hosts serve everything under `/api`. The older generation (hakuriver 0.3) serves it at the root, has neither
//! users nor names, and gives a VPS's Runner and port only in its lists. The first call finds out which generation
//! answers, and the client remembers it. When a Host is upgraded meanwhile, the next call notices that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::api::caller::Caller;
use crate::api::error::ApiError;
use crate::api::model::{Listing, ModelError, Node, Vps, node_list, vps_list};
use crate::api::name::{Case, choose};
use crate::api::transport::{Answer, Transport, Turn, unusable};
use crate::refusal::Refusal;
use crate::secret::Token;
use crate::status::VpsStatus;
use crate::target::{TaskId, VpsRef};

/// The number of entries from which a list is long.
const LONG_LIST: usize = 1000;

/// A client of one Host's API over a transport. Clones are cheap and share connections.
#[derive(Clone)]
pub struct Api<T> {
    pub(super) shared: Arc<Shared<T>>,
    pub(super) token: Option<Token>,
}

pub(super) struct Shared<T> {
    pub(super) transport: T,
    /// Whether the Host serves its API at the root. A guess before the first answer; each answer corrects it.
    pub(super) at_root: AtomicBool,
}

/// A usable answer, and the generation of the Host that gave it.
pub(super) struct Found {
    pub(super) json: Value,
    #[cfg_attr(not(any(feature = "cli", feature = "gateway")), expect(dead_code, reason = "the helper needs none"))]
    pub(super) date: Option<String>,
    pub(super) at_root: bool,
    turn: Turn,
}

impl<T: Transport> Api<T> {
    /// A client. Nothing is sent yet.
    pub(super) fn over(transport: T, token: Option<Token>) -> Self {
        Self { shared: Arc::new(Shared { transport, at_root: AtomicBool::new(false) }), token }
    }

    /// A client of the same Host for another user.
    pub fn with_token(&self, token: Option<Token>) -> Self {
        Self { shared: Arc::clone(&self.shared), token }
    }

    /// Waits as the transport does: without blocking a runtime, and until an interruption.
    pub(crate) async fn pause(&self, time: Duration) -> Result<(), ApiError> {
        self.shared.transport.pause(time).await
    }

    /// The API's address.
    pub fn base(&self) -> &str {
        self.shared.transport.base()
    }

    /// Whether a Host of the older generation gave the last answer.
    pub fn is_of_older_host(&self) -> bool {
        self.shared.at_root.load(Ordering::Relaxed)
    }

    /// The task that `vps` names. It may turn out to be a command ([`Vps::is_vps`]).
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Ambiguous`], [`Refusal::AmbiguousStart`], [`Refusal::TokenNeeded`],
    /// [`Refusal::NotAllowed`], or why the API gave no usable answer.
    pub async fn vps(&self, vps: &VpsRef) -> Result<Vps, ApiError> {
        match vps {
            VpsRef::Id(id) => self.by_id(*id).await,
            VpsRef::Name(name) => {
                let id = self.named(name, Case::Kept, true).await?;
                // The list shows each VPS to each user. Only the request for one VPS checks this user's rights.
                self.by_id(id).await
            }
        }
    }

    /// The task id of the VPS called `name`. One request is enough when such a VPS runs. The rights of this user are not
    /// checked here: opening the tunnel does that.
    ///
    /// # Errors
    /// The errors of [`Api::vps`].
    pub async fn id_of(&self, name: &str, case: Case) -> Result<TaskId, ApiError> {
        match self.named(name, case, false).await {
            // Find a VPS that has ended as well, so that the error can say so.
            Err(ApiError::Refusal(Refusal::NotFound)) => self.named(name, case, true).await,
            found => found,
        }
    }

    /// The task id of the VPS called `name`, among all of them or the current ones. Their list, which may be long, is gone
    /// when this returns.
    async fn named(&self, name: &str, case: Case, all: bool) -> Result<TaskId, ApiError> {
        // The list is dropped before its turn.
        let (_turn, list) = self.list_in_turn(all).await?;
        self.choose(name, case, &list.entries).await
    }

    /// The task id of the VPS among `all` that `name` means to this caller. Who that is decides among VPSes of several
    /// owners only, so it is asked then.
    async fn choose(&self, name: &str, case: Case, all: &[Vps]) -> Result<TaskId, ApiError> {
        let chosen = match choose(name, case, all, None) {
            Err(Refusal::Ambiguous(_) | Refusal::AmbiguousStart(_)) => {
                let me = self.get("/auth/me").await.ok().and_then(|found| Caller::from_json(&found.json));
                let me = if let Some(Caller::User(user)) = me { Some(user.name) } else { None };
                choose(name, case, all, me.as_deref())
            }
            chosen => chosen,
        };
        chosen.map(|vps| vps.id).map_err(ApiError::Refusal)
    }

    /// The VPSes of the Host: `all`, or those that haven't ended. A user whose role may not list all gets those that are
    /// assigned to the user.
    ///
    /// # Errors
    /// [`Refusal::TokenNeeded`], [`Refusal::NotAllowed`], or why the API gave no usable answer.
    pub async fn list(&self, all: bool) -> Result<Listing<Vps>, ApiError> {
        self.list_in_turn(all).await.map(|(_, list)| list)
    }

    async fn list_in_turn(&self, all: bool) -> Result<(Turn, Listing<Vps>), ApiError> {
        let path = if all { "/vps" } else { "/vps/status" };
        let found = match self.get(path).await {
            Err(ApiError::Refusal(Refusal::NotAllowed)) => {
                let mut mine = self.assigned().await?;
                mine.entries.retain(|vps| all || is_current(&vps.status));
                return Ok((None, mine));
            }
            found => found?,
        };
        let list = self.read_list(found.json, vps_list)?;
        if !(all && found.at_root) {
            return Ok((found.turn, list));
        }
        // Nobody may hold one turn and wait for another.
        drop(found.turn);
        // The older generation's full list has no ports.
        let current = self.read_list(self.get("/vps/status").await?.json, vps_list)?;
        let complete = |vps: Vps| match current.entries.iter().find(|other| other.id == vps.id) {
            Some(other) => self.read(merged(vps, other)),
            None => Ok(vps),
        };
        let entries = list.entries.into_iter().map(complete).collect::<Result<_, _>>()?;
        Ok((None, Listing { entries, ..list }))
    }

    /// All Runners of the Host. This needs no token.
    ///
    /// # Errors
    /// Why the API gave no usable answer.
    pub async fn nodes(&self) -> Result<Listing<Node>, ApiError> {
        let found = self.get("/nodes").await?;
        self.read_list(found.json, node_list)
    }

    /// The Runner of `vps`; `None` when it has none, or one that the Host does not know. Without a Runner, sends nothing.
    ///
    /// # Errors
    /// Why the API gave no usable answer.
    pub async fn runner_of(&self, vps: &Vps) -> Result<Option<Node>, ApiError> {
        if vps.node.is_none() {
            return Ok(None);
        }
        Ok(self.nodes().await?.entries.into_iter().find(|node| node.runs(vps)))
    }

    async fn by_id(&self, id: TaskId) -> Result<Vps, ApiError> {
        let found = match self.get(&format!("/status/{id}")).await {
            // An assigned user may reach a VPS but not read its status. The list of assignments has it.
            Err(ApiError::Refusal(Refusal::NotAllowed)) => return self.assigned_by_id(id).await,
            found => found?,
        };
        let task = self.read(Vps::from_json(found.json))?;
        if task.id != id {
            return Err(unusable(
                self.base(),
                format!("the request was for task {id}, the answer is about task {}", task.id),
            ));
        }
        if found.at_root { self.complete(task).await } else { Ok(task) }
    }

    /// The older generation's status has neither type nor Runner nor port. A task that is on no list of VPSes is not a VPS.
    async fn complete(&self, task: Vps) -> Result<Vps, ApiError> {
        for path in ["/vps/status", "/vps"] {
            let list = self.read_list(self.get(path).await?.json, vps_list)?;
            if let Some(listed) = list.entries.iter().find(|vps| vps.id == task.id) {
                return self.read(merged(task, listed));
            }
        }
        Ok(Vps { is_vps: false, ..task })
    }

    async fn assigned_by_id(&self, id: TaskId) -> Result<Vps, ApiError> {
        let mine = match self.assigned().await {
            // This role has no assignments, so the first refusal is the answer.
            Err(ApiError::Refusal(_)) => Vec::new(),
            mine => mine?.entries,
        };
        mine.into_iter().find(|vps| vps.id == id).ok_or(ApiError::Refusal(Refusal::NotAllowed))
    }

    async fn assigned(&self) -> Result<Listing<Vps>, ApiError> {
        let found = self.get("/vps/my").await?;
        self.read_list(found.json, vps_list)
    }

    /// Sends a GET in the form of the generation that answered last, and in the other form when the path is unknown.
    pub(super) async fn get(&self, path: &str) -> Result<Found, ApiError> {
        let first = self.is_of_older_host();
        for at_root in [first, !first] {
            let full = if at_root { path.to_owned() } else { format!("/api{path}") };
            let mut answer = self.shared.transport.get(&full, self.token.as_ref()).await?;
            if answer.is_unknown_route() {
                continue;
            }
            let (date, turn) = (answer.date.clone(), answer.turn.take());
            let json = self.usable(answer)?;
            self.shared.at_root.store(at_root, Ordering::Relaxed);
            return Ok(Found { json, date, at_root, turn });
        }
        Err(ApiError::NotAHost { base: self.base().to_owned(), path: path.to_owned() })
    }

    fn usable(&self, answer: Answer) -> Result<Value, ApiError> {
        match answer.status {
            200 => answer.json.ok_or_else(|| unusable(self.base(), "its body is not JSON")),
            status => {
                let refused = refusal(status, &answer.detail()).map(ApiError::Refusal);
                Err(refused.unwrap_or_else(|| answer.status_error(self.base())))
            }
        }
    }

    /// Reads a list. A long one takes milliseconds.
    fn read_list<V>(&self, json: Value, read: fn(Value) -> Result<V, ModelError>) -> Result<V, ApiError> {
        let is_long = json.as_array().is_some_and(|list| list.len() > LONG_LIST);
        self.read(if is_long { self.shared.transport.apart(|| read(json)) } else { read(json) })
    }

    pub(super) fn read<V>(&self, result: Result<V, ModelError>) -> Result<V, ApiError> {
        result.map_err(|error| unusable(self.base(), error.to_string()))
    }
}

/// The refusal that a status other than 200 stands for, if any.
fn refusal(status: u16, detail: &str) -> Option<Refusal> {
    match (status, detail) {
        (401, _) => Some(Refusal::TokenNeeded),
        // To a Host, the bearer of an unknown token is anonymous.
        (403, detail) if detail.starts_with("Anonymous ") => Some(Refusal::TokenNeeded),
        (403, _) => Some(Refusal::NotAllowed),
        (404, "Task not found." | "Task id not found" | "VPS not found.") => Some(Refusal::NotFound),
        _ => None,
    }
}

/// Whether a Host has this state in its list of current VPSes.
fn is_current(status: &VpsStatus) -> bool {
    matches!(status, VpsStatus::Pending | VpsStatus::Assigning | VpsStatus::Running | VpsStatus::Paused)
}

/// `task` with each field that `listed` has.
fn merged(task: Vps, listed: &Vps) -> Result<Vps, ModelError> {
    let mut json = task.json;
    if let (Value::Object(object), Value::Object(listed)) = (&mut json, &listed.json) {
        object.extend(listed.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())));
    }
    Vps::from_json(json)
}

#[cfg(test)]
#[cfg(any(feature = "cli", feature = "gateway"))]
mod tests;
