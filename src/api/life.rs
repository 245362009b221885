//! The calls that change a VPS, from its creation to its end.
//!
//! A refusal keeps the Host's own words ([`ApiError::Status`]), since only they name the role or state that is needed.
//! No call is repeated: after a broken connection, the Host may have acted on the first one.

use serde_json::Value;

use crate::api::error::ApiError;
use crate::api::order::{Order, Unsupported};
use crate::api::pooled::{ApiRequest, Client, WORK_LIMIT};
use crate::api::transport::{Answer, unusable};
use crate::refusal::Refusal;
use crate::target::TaskId;
use crate::text::excerpt;

/// An older Host has no such call.
const RESTART: Unsupported = Unsupported {
    what: "restarting a VPS",
    hint: "make a new one with `kohakuriver vps create --gen-ssh-key`, or ask the administrator to upgrade the Host to \
           KohakuRiver",
};

/// A VPS that a Host has just created.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Created {
    /// Its task id.
    pub id: TaskId,
    /// Its Runner.
    pub node: Option<String>,
    /// The message of the Host.
    pub message: String,
}

impl Created {
    /// Reads the answer of a Host of either generation; `None` when it has no task id.
    pub fn from_json(json: &Value) -> Option<Self> {
        let id = json["task_id"].as_str().or_else(|| json["task_ids"][0].as_str());
        Some(Self {
            id: TaskId::parse(id?)?,
            node: json["assigned_node"]["hostname"].as_str().map(excerpt),
            message: message(json),
        })
    }
}

/// The generation of a Host. Each has its own calls that create and stop VPSes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Generation {
    /// hakuriver 0.3.
    Older,
    /// KohakuRiver.
    Todays,
}

/// Pausing a VPS, and the reverse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freeze {
    /// Suspend its processes.
    Pause,
    /// Continue its processes.
    Resume,
}

impl Freeze {
    /// The verb of the Host, and of our command line.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

impl Client {
    /// The generation of the Host. A request of its own, which changes nothing when it fails.
    ///
    /// # Errors
    /// Why the API gave no usable answer.
    pub async fn generation(&self) -> Result<Generation, ApiError> {
        Ok(if self.get("/nodes").await?.at_root { Generation::Older } else { Generation::Todays })
    }

    /// Creates a VPS. The Host answers once its Runner has the VPS, which may take minutes.
    ///
    /// # Errors
    /// [`ApiError::Unsupported`] when this Host has no field for a setting of `order`; [`ApiError::Status`] in the Host's own
    /// words; or why the API gave no usable answer, after which the VPS may exist all the same unless
    /// [`ApiError::had_no_effect`].
    pub async fn create(&self, generation: Generation, order: &Order) -> Result<Created, ApiError> {
        let (path, body) = match generation {
            Generation::Older => ("/submit", order.for_older_host()),
            Generation::Todays => ("/api/vps/create", order.for_todays_host()),
        };
        let body = body.map_err(|part| self.unsupported(generation, part))?;
        let answer = self.post(path, Some(&body)).await?;
        let json = self.accepted(&answer)?;
        Created::from_json(&json).ok_or_else(|| unusable(self.base(), "it names no task id"))
    }

    /// Ends a VPS for good. Returns the Host's message.
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

    /// Restarts a VPS. Returns the Host's message once that is done, which may take minutes.
    ///
    /// # Errors
    /// [`ApiError::Unsupported`] when the Host has no such call, [`ApiError::Status`] in the Host's own words, or why the
    /// API gave no usable answer.
    pub async fn restart(&self, generation: Generation, id: TaskId) -> Result<String, ApiError> {
        match generation {
            Generation::Older => Err(self.unsupported(generation, RESTART)),
            Generation::Todays => self.act(&format!("/api/vps/restart/{id}")).await,
        }
    }

    /// Pauses or resumes a VPS. Returns the Host's message, which also comes when its Runner failed: see [`succeeded`].
    ///
    /// # Errors
    /// [`ApiError::Status`] in the Host's own words, or why the API gave no usable answer.
    pub async fn freeze(&self, generation: Generation, id: TaskId, freeze: Freeze) -> Result<String, ApiError> {
        let prefix = if generation == Generation::Older { "" } else { "/api" };
        self.act(&format!("{prefix}/command/{id}/{}", freeze.verb())).await
    }

    fn unsupported(&self, generation: Generation, Unsupported { what, hint }: Unsupported) -> ApiError {
        ApiError::Unsupported { base: self.base().to_owned(), older: generation == Generation::Older, what, hint }
    }

    async fn act(&self, path: &str) -> Result<String, ApiError> {
        let answer = self.post(path, None).await?;
        Ok(message(&self.accepted(&answer)?))
    }

    async fn post(&self, path: &str, body: Option<&Value>) -> Result<Answer, ApiError> {
        let request = ApiRequest::post(path, body, self.token.as_ref());
        self.shared.transport.send(ApiRequest { limit: WORK_LIMIT, ..request }).await
    }

    fn accepted(&self, answer: &Answer) -> Result<Value, ApiError> {
        match answer.status {
            200 | 202 => answer.json.clone().ok_or_else(|| unusable(self.base(), "its body is not JSON")),
            401 => Err(ApiError::Refusal(Refusal::TokenNeeded)),
            _ => Err(answer.status_error(self.base())),
        }
    }
}

/// Whether the message of [`Client::freeze`] means that the Host's Runner succeeded.
pub fn succeeded(message: &str) -> bool {
    message.contains("successfully")
}

fn message(json: &Value) -> String {
    json["message"].as_str().map(excerpt).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::fake_host::FakeHost;

    #[tokio::test]
    async fn what_a_host_says_of_a_change_is_told() {
        let host = FakeHost::start().await;
        let client = Client::new(&host.base, None).unwrap();
        let (id, stop) = (TaskId::parse("42").unwrap(), "/api/vps/stop/42");
        for (status, body, told) in [
            (200, json!({ "message": "stopped \u{1b}[2J now" }).to_string(), Ok("stopped [2J now")),
            (202, "{}".to_owned(), Ok("")),
            (200, "<html>".to_owned(), Err("gave an unusable answer: its body is not JSON")),
            (401, "{}".to_owned(), Err("the Host wants a token")),
            (409, json!({ "detail": "it is not running" }).to_string(), Err("answered 409: it is not running")),
        ] {
            host.on(stop, status, body);
            match (client.stop(Generation::Todays, id).await, told) {
                (Ok(message), Ok(told)) => assert_eq!(message, told),
                (Err(error), Err(told)) => assert!(error.to_string().contains(told), "{error}"),
                (answered, _) => panic!("{status}: {answered:?}"),
            }
        }
        host.on("/kill/42", 200, json!({ "message": "killed" }));
        assert_eq!(client.stop(Generation::Older, id).await.unwrap(), "killed");
        host.seen();
        let older = client.restart(Generation::Older, id).await;
        assert!(matches!(older, Err(ApiError::Unsupported { older: true, .. })), "{older:?}");
        assert_eq!(host.seen(), <[&str; 0]>::default());
    }

    #[tokio::test]
    async fn a_change_may_take_as_long_as_a_machine_takes_to_start() {
        let host = FakeHost::start().await;
        host.on("/api/vps/restart/42", 0, "");
        let (client, id) = (Client::new(&host.base, None).unwrap(), TaskId::parse("42").unwrap());
        let asked = async {
            while host.seen().is_empty() {
                tokio::task::yield_now().await;
            }
            // The clock jumps to the time limit.
            tokio::time::pause();
        };
        let (answer, ()) = tokio::join!(client.restart(Generation::Todays, id), asked);
        assert!(matches!(answer, Err(ApiError::Timeout { limit: WORK_LIMIT, .. })), "{answer:?}");
    }

    #[test]
    fn only_a_message_of_success_is_one() {
        assert!(succeeded("VPS 42 paused successfully."));
        assert!(!succeeded("failed to pause VPS 42"));
    }
}
