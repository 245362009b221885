//! The calls that change a VPS: from its creation to its end.
//!
//! A Host's refusal is kept in its own words ([`ApiError::Status`]), since only they say which role or state it takes.
//! Nothing is asked twice: a call that broke off may have been heard.

use std::sync::atomic::Ordering;

use serde_json::Value;

use crate::api::order::Order;
use crate::api::pooled::{Question, WORK_LIMIT};
use crate::api::transport::{Answer, nonsense};
use crate::api::{ApiError, Client};
use crate::refusal::Refusal;
use crate::target::TaskId;
use crate::text::excerpt;

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
    /// Whether the Host is of the older generation, which makes and stops VPSes by other calls.
    ///
    /// # Errors
    /// Why the API gave no usable answer.
    pub async fn is_older(&self) -> Result<bool, ApiError> {
        self.get("/nodes").await?;
        Ok(self.shared.at_root.load(Ordering::Relaxed))
    }

    /// Has a VPS made. The Host answers once its Runner has it, which may take minutes.
    ///
    /// # Errors
    /// [`ApiError::NotTaken`] when this Host has no field for a part of `order`; [`ApiError::Status`] in the Host's own
    /// words; or why the API gave no usable answer, after which the VPS may exist all the same unless
    /// [`ApiError::was_not_heard`].
    pub async fn create(&self, order: &Order) -> Result<Created, ApiError> {
        let older = self.is_older().await?;
        let body = if older { order.for_older_host() } else { order.for_todays_host() };
        let not_taken = |what: &str| ApiError::NotTaken { base: self.base().to_owned(), older, what: what.to_owned() };
        let body = body.map_err(not_taken)?;
        let path = if older { "/submit" } else { "/api/vps/create" };
        let answer = self.post(path, Some(&body)).await?;
        let json = self.accepted(&answer)?;
        let id = json["task_id"].as_str().or_else(|| json["task_ids"][0].as_str()).and_then(TaskId::parse);
        Ok(Created {
            id: id.ok_or_else(|| nonsense(self.base(), "it names no task id"))?,
            node: json["assigned_node"]["hostname"].as_str().map(excerpt),
            message: message(&json),
        })
    }

    /// Ends a VPS for good: what the Host says to it.
    ///
    /// # Errors
    /// [`ApiError::Status`] in the Host's own words, or why the API gave no usable answer.
    pub async fn stop(&self, id: TaskId) -> Result<String, ApiError> {
        let path = if self.is_older().await? { format!("/kill/{id}") } else { format!("/api/vps/stop/{id}") };
        self.act(&path).await
    }

    /// Restarts a VPS: what the Host says to it. It answers once that is done, which may take minutes.
    ///
    /// # Errors
    /// [`ApiError::NotTaken`] by a Host that has no such call, [`ApiError::Status`] in the Host's own words, or why the
    /// API gave no usable answer.
    pub async fn restart(&self, id: TaskId) -> Result<String, ApiError> {
        if self.is_older().await? {
            return Err(ApiError::NotTaken {
                base: self.base().to_owned(),
                older: true,
                what: "restarting a VPS".to_owned(),
            });
        }
        self.act(&format!("/api/vps/restart/{id}")).await
    }

    /// Pauses or resumes a VPS: what the Host says to it. A Host answers so too when its Runner failed: see
    /// [`succeeded`].
    ///
    /// # Errors
    /// [`ApiError::Status`] in the Host's own words, or why the API gave no usable answer.
    pub async fn freeze(&self, id: TaskId, freeze: Freeze) -> Result<String, ApiError> {
        let prefix = if self.is_older().await? { "" } else { "/api" };
        self.act(&format!("{prefix}/command/{id}/{}", freeze.verb())).await
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
