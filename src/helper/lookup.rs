//! The task id of a VPS that was named by its name.

use super::explain::gave_up;
use super::journal::Journal;
use crate::api::{Api, ApiError, block_on};
use crate::dial::Watch;
use crate::failure::Failure;
use crate::names;
use crate::secret::Token;
use crate::settings::Settings;
use crate::sys::{self, AsFd, PollFlags};
use crate::target::{TaskId, VpsRef};
use crate::terminal::Screen;

/// Asks the Host API. The helper uses it for nothing else.
///
/// # Errors
/// When `watch` ends the wait, the Host can't be asked, or no VPS or several have this name.
pub(super) fn task_id(
    name: &str,
    settings: &Settings,
    token: Option<&Token>,
    watch: Watch<'_>,
    journal: &Journal,
) -> Result<TaskId, Failure> {
    let client = Api::direct(settings, token.cloned(), watch);
    journal.waits_for(format!("looking up VPS {name} at {}", client.base()));
    let look_up = || block_on(names::look_up(&client, name));
    let looked_up = if journal.screen() == Screen::None { look_up() } else { beside(watch, look_up) };
    let meant = looked_up.map_err(|error| match error {
        ApiError::Timeout { base, .. } => Failure::new(format!("cannot look up VPS {name}"))
            .cause(format!("the Host API at {base} gave no answer in time"))
            .hint("use the task id: it needs no look-up"),
        ApiError::Interrupted(why) => gave_up(&format!("VPS {name}"), "the tunnel was open", &why),
        error => error.about(&VpsRef::Name(name.to_owned()), client.base()),
    })?;
    if let Some(remark) = meant.remark(name) {
        journal.line(&remark);
    }
    Ok(meant.id)
}

/// The result of `work`, with what `watch` does meanwhile. A client of the Host API can't do that, as a client may be
/// shared by threads; so the work runs in a thread of its own.
fn beside<T: Send>(watch: Watch<'_>, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let Ok((done, awaited)) = sys::socket_pair() else { return work() };
        let worker = scope.spawn(|| {
            // Closing one end wakes the waiting side up.
            let _done = done;
            work()
        });
        // Any other end of this wait ends the work as well.
        let _ = watch.wait_for(awaited.as_fd(), PollFlags::IN);
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
