//! A request that changes something on the Host, with progress and with failures.
//!
//! Without an answer it is unknown whether the Host makes the change. The failure says so, and how to find out.

use crate::api::ApiError;
use crate::cli::host::denied::denied;
use crate::cli::terminal::{interrupt, progress};
use crate::failure::Failure;
use crate::target::TaskId;

/// A change that the Host is asked to make.
pub(crate) struct Change {
    /// The change in words that fit after `cannot`.
    pub(crate) what: String,
    /// The VPS, unless it is still to be created.
    pub(crate) vps: Option<TaskId>,
    /// A hint how to find out whether the change was made.
    pub(crate) look: String,
}

impl Change {
    /// `verb` of the VPS `id`.
    pub(crate) fn of(verb: &str, id: TaskId) -> Self {
        Self {
            what: format!("{verb} VPS {id}"),
            vps: Some(id),
            look: format!("see its state with `kohakuriver vps status {id}`"),
        }
    }

    /// Sends `request` and returns the Host's answer.
    ///
    /// # Errors
    /// The Host's refusal, a missing answer, or an interruption by the user.
    pub(crate) async fn ask<T>(&self, request: impl Future<Output = Result<T, ApiError>>) -> Result<T, Failure> {
        match interrupt::unless_raised(self.with_progress(request)).await {
            Some(answer) => answer.map_err(|error| self.failed(&error)),
            None => Err(self.abandoned()),
        }
    }

    pub(crate) async fn with_progress<T>(&self, request: impl Future<Output = T>) -> T {
        progress::during(&format!("asked the Host to {}", self.what), request).await
    }

    /// The failure if the Host answered with `error`, or did not answer.
    pub(crate) fn failed(&self, error: &ApiError) -> Failure {
        let failure = denied(error, &self.what, self.vps);
        if error.had_no_effect() {
            return failure;
        }
        failure.cause("it is unknown whether the Host still does it").hint(self.look.as_str())
    }

    /// The failure if the user did not wait for the answer.
    pub(crate) fn abandoned(&self) -> Failure {
        Failure::interrupted("interrupted before the Host answered")
            .cause(format!("the request to {} was sent, so the Host may still do it", self.what))
            .hint(self.look.as_str())
    }
}
