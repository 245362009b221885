//! The task id of a VPS that was named by its name.

use std::time::{Duration, Instant};

use crate::api::Client;
use crate::failure::Failure;
use crate::names;
use crate::secret::Token;
use crate::settings::Settings;
use crate::target::{TaskId, VpsRef};

/// Asks the Host API. It is the only time the helper does, and the only runtime it ever needs.
///
/// # Errors
/// When the Host can't be asked by `deadline`, knows no such VPS, or more than one.
pub(super) fn task_id(
    name: &str,
    settings: &Settings,
    token: Option<&Token>,
    deadline: Instant,
) -> Result<TaskId, Failure> {
    let base = settings.api_url();
    let what = || format!("cannot look up VPS {name}");
    let client = Client::new(&base, token.cloned()).map_err(|error| error.failure(what()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(what()).because(&error))?;
    let limit = deadline.saturating_duration_since(Instant::now());
    let found = runtime.block_on(async { tokio::time::timeout(limit, names::look_up(&client, name)).await });
    // A resolver that hangs in a thread of the runtime is not waited for.
    runtime.shutdown_timeout(Duration::ZERO);
    match found {
        Ok(Ok(id)) => Ok(id),
        Ok(Err(error)) => Err(error.about(&VpsRef::Name(name.to_owned()), &base)),
        Err(_) => Err(Failure::new(what())
            .cause(format!("the Host API at {base} gave no answer in time"))
            .hint("use the task id: no look-up is needed then")),
    }
}
