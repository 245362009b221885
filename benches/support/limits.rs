//! How long anything may take. A benchmark that hangs is of no use to anybody, and one that is interrupted must not
//! leave its children behind.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Longest time for one connection, whatever is done with it.
pub(crate) const ONE_CONNECTION: Duration = Duration::from_secs(30);
/// How long a ProxyCommand may outlive its ssh.
const GRACE: Duration = Duration::from_secs(1);
/// How often what is overdue is looked for.
const TICK: Duration = Duration::from_millis(200);

static OVERSEEN: LazyLock<Mutex<BTreeMap<u32, Instant>>> = LazyLock::new(Mutex::default);
static OVER: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Starts the clock: from now on SIGINT, SIGTERM, SIGHUP and the end of `whole_run` make [`check`] fail, and
/// end the children that are overseen, so that whoever waits for one of them goes on.
pub(crate) fn start(whole_run: Duration) -> Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&OVER))?;
    }
    let end = Instant::now() + whole_run;
    thread::spawn(move || {
        loop {
            thread::sleep(TICK);
            if Instant::now() >= end {
                OVER.store(true, Ordering::SeqCst);
            }
            end_overdue();
        }
    });
    Ok(())
}

/// Fails once the run is over before its time.
pub(crate) fn check() -> Result<()> {
    ensure!(!OVER.load(Ordering::SeqCst), "interrupted, or not done in time");
    Ok(())
}

fn end_overdue() {
    let now = Instant::now();
    let over = OVER.load(Ordering::SeqCst);
    for (&id, &deadline) in overseen().iter() {
        if over || now >= deadline {
            kill(id);
        }
    }
}

/// Kills the process group that the child `id` leads. The child must not have been reaped.
pub(crate) fn kill(id: u32) {
    if let Some(group) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        // ESRCH: all of them have ended.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Has the group of the child `id` killed when the child is not forgotten within [`ONE_CONNECTION`].
pub(crate) fn oversee(id: u32) {
    overseen().insert(id, Instant::now() + ONE_CONNECTION);
}

/// Has what is left of the group of the child `id` killed soon.
pub(crate) fn hasten(id: u32) {
    overseen().insert(id, Instant::now() + GRACE);
}

/// To be called before the child is reaped: after that its id may be somebody else's.
pub(crate) fn forget(id: u32) {
    overseen().remove(&id);
}

fn overseen() -> MutexGuard<'static, BTreeMap<u32, Instant>> {
    OVERSEEN.lock().unwrap_or_else(PoisonError::into_inner)
}
