//! The task id of a VPS that was named by its name.

use super::explain::gave_up;
use crate::api::{Api, ApiError, block_on};
use crate::dial::Watch;
use crate::failure::Failure;
use crate::names;
use crate::secret::Token;
use crate::settings::Settings;
use crate::target::{TaskId, VpsRef};

/// Asks the Host API. The helper uses it for nothing else.
///
/// # Errors
/// When `watch` ends the wait, the Host can't be asked, or no VPS or several have this name.
pub(super) fn task_id(
    name: &str,
    settings: &Settings,
    token: Option<&Token>,
    watch: Watch<'_>,
) -> Result<TaskId, Failure> {
    let client = Api::direct(settings, token.cloned(), watch);
    block_on(names::look_up(&client, name)).map_err(|error| match error {
        ApiError::Timeout { base, .. } => Failure::new(format!("cannot look up VPS {name}"))
            .cause(format!("the Host API at {base} gave no answer in time"))
            .hint("use the task id: it needs no look-up"),
        ApiError::Interrupted(why) => gave_up(&format!("VPS {name}"), &why),
        error => error.about(&VpsRef::Name(name.to_owned()), client.base()),
    })
}
