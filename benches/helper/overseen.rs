//! The children that are waited for, and how long.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::support::limits::ONE_CONNECTION;

/// How long a ProxyCommand may outlive its ssh.
const GRACE: Duration = Duration::from_secs(1);

static OVERSEEN: LazyLock<Mutex<HashMap<Pid, Instant>>> = LazyLock::new(Mutex::default);

/// Kills what is overdue; everybody when the run is over, so that whoever waits for one of them goes on.
pub(crate) fn end_overdue(over: bool) {
    let now = Instant::now();
    for (&id, &deadline) in overseen().iter() {
        if over || now >= deadline {
            kill(id);
        }
    }
}

/// Kills the process group that the child `id` leads. The child must not have been reaped.
pub(crate) fn kill(id: Pid) {
    // ESRCH: all of them have ended.
    let _ = kill_process_group(id, Signal::KILL);
}

/// Has the group of the child `id` killed when the child is not forgotten within [`ONE_CONNECTION`].
pub(crate) fn oversee(id: Pid) {
    overseen().insert(id, Instant::now() + ONE_CONNECTION);
}

/// Has what is left of the group of the child `id` killed soon.
pub(crate) fn hasten(id: Pid) {
    overseen().insert(id, Instant::now() + GRACE);
}

/// To be called before the child is reaped: after that its id may be somebody else's.
pub(crate) fn forget(id: Pid) {
    overseen().remove(&id);
}

fn overseen() -> MutexGuard<'static, HashMap<Pid, Instant>> {
    OVERSEEN.lock().unwrap_or_else(PoisonError::into_inner)
}
