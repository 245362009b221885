//! Whether the Host API answers. It is asked while somebody looks, every [`PAUSE`] at most, and nobody waits for an answer
//! that takes long.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::time::timeout;

use crate::gateway::decide::directory::Directory;
use crate::lock::lock;

/// The time between two questions.
const PAUSE: Duration = Duration::from_secs(10);
/// How long the first one who looks waits for the answer.
const FIRST_LIMIT: Duration = Duration::from_millis(500);

/// The question, and the last answer.
pub(super) struct HostCheck {
    directory: Arc<Directory>,
    state: Mutex<State>,
    is_asking: AtomicBool,
}

#[derive(Default)]
struct State {
    asked: Option<SystemTime>,
    answered: Option<SystemTime>,
    why: Option<String>,
}

/// The state of the Host API. Times are RFC 3339.
#[derive(Serialize, PartialEq, Debug)]
pub(super) struct HostState {
    /// `host` or `inventory`.
    source: &'static str,
    /// The base of its URLs; `null` for an inventory.
    pub(super) address: Option<String>,
    /// `null` until there is an answer, or none in time.
    pub(super) reachable: Option<bool>,
    /// Why it can't be reached.
    pub(super) why: Option<String>,
    /// When it was asked last.
    asked: Option<String>,
    /// When it last gave a usable answer to this question.
    pub(super) answered: Option<String>,
}

impl HostCheck {
    pub(super) fn new(directory: Arc<Directory>) -> Arc<Self> {
        Arc::new(Self { directory, state: Mutex::default(), is_asking: AtomicBool::new(false) })
    }

    /// The state now.
    pub(super) async fn state(self: &Arc<Self>) -> HostState {
        let asked = lock(&self.state).asked;
        let is_old = asked.is_none_or(|asked| asked.elapsed().is_ok_and(|age| age >= PAUSE));
        if is_old && !self.is_asking.swap(true, Ordering::AcqRel) {
            let this = Arc::clone(self);
            let asking = tokio::spawn(async move { this.ask().await });
            if asked.is_none() {
                let _ = timeout(FIRST_LIMIT, asking).await;
            }
        }
        self.shown()
    }

    async fn ask(&self) {
        let answer = self.directory.ready().await;
        let now = SystemTime::now();
        let mut state = lock(&self.state);
        state.asked = Some(now);
        match answer {
            Ok(()) => (state.answered, state.why) = (Some(now), None),
            Err(why) => state.why = Some(why),
        }
        self.is_asking.store(false, Ordering::Release);
    }

    fn shown(&self) -> HostState {
        let address = match &*self.directory {
            Directory::Host(host) => Some(host.base().to_owned()),
            Directory::Inventory(_) => None,
        };
        let state = lock(&self.state);
        let time = |at: Option<SystemTime>| at.map(|at| humantime::format_rfc3339_seconds(at).to_string());
        HostState {
            source: if address.is_some() { "host" } else { "inventory" },
            address,
            reachable: state.asked.map(|_| state.why.is_none()),
            why: state.why.clone(),
            asked: time(state.asked),
            answered: time(state.answered),
        }
    }
}
