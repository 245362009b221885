//! A request that changes something on the Host: what is said while it is waited for, and when no answer comes.
//!
//! Nobody knows then whether the Host does what it was asked to. That is said, and how to find out.

use crate::api::ApiError;
use crate::cli::host::denied::denied;
use crate::cli::terminal::interrupt;
use crate::cli::terminal::progress;
use crate::failure::Failure;
use crate::target::TaskId;

/// What the Host is asked to do.
pub(crate) struct Change {
    /// As it reads behind `cannot`.
    pub(crate) what: String,
    /// The VPS that is changed, where there is one already.
    pub(crate) vps: Option<TaskId>,
    /// How to find out whether it was done.
    pub(crate) look: String,
}

impl Change {
    /// `verb` of the VPS `id`.
    pub(crate) fn of(verb: &str, id: TaskId) -> Self {
        Self {
            what: format!("{verb} VPS {id}"),
            vps: Some(id),
            look: format!("see how it is with `kohakuriver vps status {id}`"),
        }
    }

    /// The Host's answer to `request`.
    ///
    /// # Errors
    /// In the Host's terms, or with what is known when there is no answer, or no longer anybody who waits for it.
    pub(crate) async fn ask<T>(&self, request: impl Future<Output = Result<T, ApiError>>) -> Result<T, Failure> {
        match interrupt::unless_raised(self.waited_for(request)).await {
            Some(answer) => answer.map_err(|error| self.failed(&error)),
            None => Err(self.abandoned()),
        }
    }

    /// `request`, with progress.
    pub(crate) async fn waited_for<T>(&self, request: impl Future<Output = T>) -> T {
        progress::during(&format!("the Host and its Runner {}", self.what), request).await
    }

    /// What a user is told whose Host gave `error` for an answer.
    pub(crate) fn failed(&self, error: &ApiError) -> Failure {
        let failure = denied(error, format!("cannot {}", self.what), self.vps);
        if error.was_not_heard() {
            return failure;
        }
        failure.cause("whether the Host does it nevertheless is unknown").hint(self.look.as_str())
    }

    /// What a user is told who has not waited for the answer.
    pub(crate) fn abandoned(&self) -> Failure {
        Failure::interrupted("no longer waiting for the Host")
            .cause(format!("it was asked to {}, and may do so nevertheless", self.what))
            .hint(self.look.as_str())
    }
}
