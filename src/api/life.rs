//! The calls that change a VPS: from its creation to its end.
//!
//! A Host's refusal is kept in its own words ([`ApiError::Status`]), since only they say which role or state it takes.
//! Nothing is asked twice: a call that broke off may have been heard.

use serde_json::Value;

use crate::api::order::{NotTaken, Order};
use crate::api::pooled::{Question, WORK_LIMIT};
use crate::api::transport::{Answer, nonsense};
use crate::api::{ApiError, Client};
use crate::refusal::Refusal;
use crate::target::TaskId;
use crate::text::excerpt;

/// What an older Host has no call for.
const RESTART: NotTaken = NotTaken {
    what: "restarting a VPS",
    hint: "stop it with `kohakuriver vps stop` and make a new one, or ask who runs the Host to upgrade it to KohakuRiver",
};

/// A VPS that a Host just made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Created {
    /// Its task id.
    pub id: TaskId,
    /// The Runner that it was given to.
    pub node: Option<String>,
    /// What the Host says of it.
    pub message: String,
}

impl Created {
    /// Reads what a Host of either generation answers; `None` when it names no task id.
    pub fn from_json(json: &Value) -> Option<Self> {
        let id = json["task_id"].as_str().or_else(|| json["task_ids"][0].as_str());
        Some(Self {
            id: TaskId::parse(id?)?,
            node: json["assigned_node"]["hostname"].as_str().map(excerpt),
            message: message(json),
        })
    }
}

/// Of which generation a Host is: each makes and stops VPSes by calls of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Generation {
    /// hakuriver 0.3.
    Older,
    /// KohakuRiver.
    Todays,
}

/// What can be done to a VPS and undone again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freeze {
    /// Stop its processes for a while.
    Pause,
    /// Let them go on.
    Resume,
}

impl Freeze {
    /// As the Host, and our command line, spell it.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

impl Client {
    /// Of which generation the Host is. Asked on its own, so that what goes wrong with it changes nothing.
    ///
    /// # Errors
    /// Why the API gave no usable answer.
    pub async fn generation(&self) -> Result<Generation, ApiError> {
        Ok(if self.get("/nodes").await?.at_root { Generation::Older } else { Generation::Todays })
    }

    /// Has a VPS made. The Host answers once its Runner has it, which may take minutes.
    ///
    /// # Errors
    /// [`ApiError::NotTaken`] when this Host has no field for a part of `order`; [`ApiError::Status`] in the Host's own
    /// words; or why the API gave no usable answer, after which the VPS may exist all the same unless
    /// [`ApiError::was_not_heard`].
    pub async fn create(&self, generation: Generation, order: &Order) -> Result<Created, ApiError> {
        let (path, body) = match generation {
            Generation::Older => ("/submit", order.for_older_host()),
            Generation::Todays => ("/api/vps/create", order.for_todays_host()),
        };
        let body = body.map_err(|part| self.not_taken(generation, part))?;
        let answer = self.post(path, Some(&body)).await?;
        let json = self.accepted(&answer)?;
        Created::from_json(&json).ok_or_else(|| nonsense(self.base(), "it names no task id"))
    }

    /// Ends a VPS for good: what the Host says to it.
    ///
    /// # Errors
    /// [`ApiError::Status`] in the Host's own words, or why the API gave no usable answer.
    pub async fn stop(&self, generation: Generation, id: TaskId) -> Result<String, ApiError> {
        self.act(&match generation {
            Generation::Older => format!("/kill/{id}"),
            Generation::Todays => format!("/api/vps/stop/{id}"),
        })
        .await
    }

    /// Restarts a VPS: what the Host says to it. It answers once that is done, which may take minutes.
    ///
    /// # Errors
    /// [`ApiError::NotTaken`] by a Host that has no such call, [`ApiError::Status`] in the Host's own words, or why the
    /// API gave no usable answer.
    pub async fn restart(&self, generation: Generation, id: TaskId) -> Result<String, ApiError> {
        match generation {
            Generation::Older => Err(self.not_taken(generation, RESTART)),
            Generation::Todays => self.act(&format!("/api/vps/restart/{id}")).await,
        }
    }

    /// Pauses or resumes a VPS: what the Host says to it. A Host answers so too when its Runner failed: see
    /// [`succeeded`].
    ///
    /// # Errors
    /// [`ApiError::Status`] in the Host's own words, or why the API gave no usable answer.
    pub async fn freeze(&self, generation: Generation, id: TaskId, freeze: Freeze) -> Result<String, ApiError> {
        let prefix = if generation == Generation::Older { "" } else { "/api" };
        self.act(&format!("{prefix}/command/{id}/{}", freeze.verb())).await
    }

    fn not_taken(&self, generation: Generation, NotTaken { what, hint }: NotTaken) -> ApiError {
        ApiError::NotTaken { base: self.base().to_owned(), older: generation == Generation::Older, what, hint }
    }

    async fn act(&self, path: &str) -> Result<String, ApiError> {
        let answer = self.post(path, None).await?;
        Ok(message(&self.accepted(&answer)?))
    }

    async fn post(&self, path: &str, body: Option<&Value>) -> Result<Answer, ApiError> {
        let question = Question::post(path, body, self.token.as_ref());
        self.shared.transport.ask(Question { limit: WORK_LIMIT, ..question }).await
    }

    fn accepted(&self, answer: &Answer) -> Result<Value, ApiError> {
        match answer.status {
            200 | 202 => answer.json.clone().ok_or_else(|| nonsense(self.base(), "its body is not JSON")),
            401 => Err(ApiError::Refusal(Refusal::TokenNeeded)),
            status => Err(ApiError::Status { base: self.base().to_owned(), status, detail: answer.detail() }),
        }
    }
}

/// Whether what a Host said to [`Client::freeze`] means that its Runner did it.
pub fn succeeded(message: &str) -> bool {
    message.contains("successfully")
}

fn message(json: &Value) -> String {
    json["message"].as_str().map(excerpt).unwrap_or_default()
}
