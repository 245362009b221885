//! Whether the Host API can be used, as the gateway's admin hears it: one warning when it is gone, and one when it is back;
//! and the last result for the page and the metrics.
//!
//! Only a check decides that: a question that every Host answers soon. It is repeated all the time, so a Host that goes
//! while nobody asks for a tunnel is noticed, too. A look-up that fails brings the next check forward. So however many
//! look-ups fail, the admin hears it once, and a Host that fails some look-ups and answers others is not gone.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::host_tls;
use crate::api::ApiError;
use crate::failure::Failure;
use crate::gateway::watch::notices::{Notices, RateLimitKey};
use crate::lock::lock;
use crate::refusal::Refusal;

/// The least time between two checks.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// The time between two checks of a Host that was there.
const PAUSE: Duration = Duration::from_secs(10);
/// The time between two checks of a Host that was gone.
const PAUSE_WHILE_GONE: Duration = Duration::from_secs(2);

/// How long a reader of the state waits for the first result.
const FIRST_LIMIT: Duration = Duration::from_millis(500);

/// The results of the checks so far.
#[derive(Clone, Default)]
pub(crate) struct Checked {
    /// When the last check ended; `None` before the first one has.
    pub(crate) asked: Option<SystemTime>,
    /// When the Host last gave a usable answer to a check.
    pub(crate) answered: Option<SystemTime>,
    /// Why it gave none to the last check.
    pub(crate) why: Option<String>,
}

/// Tells the admin.
#[derive(Default)]
pub(crate) struct HostState {
    notices: Notices,
    /// `--host-api` names the Host, so no setting counts.
    by_option: bool,
    /// The latest look-up that failed since the last check.
    failed: Mutex<Option<Failure>>,
    doubted: Notify,
    checked: watch::Sender<Checked>,
}

impl HostState {
    /// Tells it by `notices`. `by_option`: `--host-api` names the Host.
    pub(crate) fn new(notices: Notices, by_option: bool) -> Self {
        Self { notices, by_option, ..Self::default() }
    }

    /// A look-up has failed.
    pub(super) fn note(&self, error: &ApiError) {
        // Not the Host's fault: the gateway itself is at a limit.
        if !matches!(error.refusal(), Refusal::Limit(_)) {
            let failure = error.failure("the Host API failed to answer a question");
            *lock(&self.failed) = Some(host_tls::with_hint(failure, self.by_option));
            self.doubted.notify_one();
        }
    }

    /// Checks again and again. `base` is the address of the Host API, whose answers count for `stale` while it is gone.
    pub(super) async fn watch<C>(&self, base: &str, stale: Duration, check: impl Fn() -> C)
    where
        C: Future<Output = Result<(), ApiError>>,
    {
        let mut gone_since = None;
        loop {
            let failed = lock(&self.failed).take();
            let result = check().await;
            self.keep(base, &result);
            match (result, gone_since, failed) {
                (Err(error), None, _) if !matches!(error.refusal(), Refusal::Limit(_)) => {
                    gone_since = Some(Instant::now());
                    self.notices.warn(&self.gone(base, stale, &error));
                }
                (Ok(()), Some(since), _) => {
                    gone_since = None;
                    let seconds = since.elapsed().as_secs();
                    self.notices.warn(&Failure::new(format!("the Host API at {base} is back after {seconds} s")));
                }
                (Ok(()), None, Some(failure)) => self.notices.warn_limited(RateLimitKey::HostLookup, &failure),
                _ => {}
            }
            if gone_since.is_some() {
                sleep(PAUSE_WHILE_GONE).await;
            } else {
                sleep(LEAST_PAUSE).await;
                let _ = timeout(PAUSE - LEAST_PAUSE, self.doubted.notified()).await;
            }
        }
    }

    fn keep(&self, base: &str, result: &Result<(), ApiError>) {
        let now = SystemTime::now();
        self.checked.send_modify(|checked| {
            checked.asked = Some(now);
            checked.why = result.as_ref().err().map(|error| why(base, error));
            if result.is_ok() {
                checked.answered = Some(now);
            }
        });
    }

    /// The results so far. Right after the start, this waits a little for the first one.
    pub(super) async fn checked(&self) -> Checked {
        let mut results = self.checked.subscribe();
        let first = timeout(FIRST_LIMIT, results.wait_for(|checked| checked.asked.is_some())).await;
        first.ok().and_then(Result::ok).map(|checked| checked.clone()).unwrap_or_default()
    }

    fn gone(&self, base: &str, stale: Duration, error: &ApiError) -> Failure {
        let failure = Failure::new(format!("the Host API at {base} can't be used: it decides on new tunnels"));
        let known = host_tls::with_hint(error.failure(""), self.by_option);
        let failure = known.causes().iter().fold(failure, Failure::cause);
        if error.fault_of_tls().is_some() {
            return failure.maybe_hint(known.advice());
        }
        let seconds = stale.as_secs();
        failure.hint(format!(
            "check that the Host runs: `curl -sS {base}/api/nodes`; until then its answers count for {seconds} s \
             (--stale), and open tunnels stay"
        ))
    }
}

/// The words for a Host API at `base` that fails so.
pub(super) fn why(base: &str, error: &ApiError) -> String {
    if let ApiError::Timeout { limit, .. } = error {
        return format!("the Host API at {base} gave no answer within {} s", limit.as_secs());
    }
    let why = error.refusal().detail().map_or_else(String::new, |why| format!(": {why}"));
    format!("the Host API at {base} can't be used{why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::watch::notices::tests::Heard;
    use std::cell::RefCell;
    use std::collections::VecDeque;

    fn fails() -> ApiError {
        ApiError::Status { base: "http://h:8000".to_owned(), status: 500, detail: "no database".to_owned() }
    }

    /// The notices to the admin about checks with these results, with a failed look-up before each of them.
    async fn heard(checks: &[bool]) -> Vec<String> {
        let heard = Heard::default();
        let state = HostState::new(Notices::to(heard.clone()), true);
        let left = RefCell::new(checks.iter().copied().collect::<VecDeque<_>>());
        let check = || async {
            let is_there = left.borrow_mut().pop_front();
            state.note(&fails());
            match is_there {
                Some(true) => Ok(()),
                Some(false) => Err(fails()),
                None => std::future::pending().await,
            }
        };
        let watched = timeout(Duration::from_secs(3600), state.watch("http://h:8000", Duration::from_secs(7), check));
        assert!(watched.await.is_err() && left.borrow().is_empty());
        heard.text().lines().map(|line| line.split_once("WARN ").unwrap().1.to_owned()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn one_warning_when_it_goes_and_one_when_it_is_back() {
        let gone = "the Host API at http://h:8000 can't be used: it decides on new tunnels \
                    cause=\"the Host API at http://h:8000 answered 500: no database\" hint=\"check that the Host runs: \
                    `curl -sS http://h:8000/api/nodes`; until then its answers count for 7 s (--stale), and open tunnels stay\"";
        // The clock of the test stands still for `Instant`.
        let back = "the Host API at http://h:8000 is back after 0 s";
        assert_eq!(heard(&[false, false, false, true]).await, [gone, back]);
        assert_eq!(heard(&[false, true, false, true]).await, [gone, back, gone, back]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_result_is_kept_and_the_first_one_waited_for() {
        let state = HostState::default();
        assert!(state.checked().await.asked.is_none());
        let results = RefCell::new(VecDeque::from([Err(fails()), Ok(()), Err(fails())]));
        let check = || async {
            sleep(FIRST_LIMIT / 2).await;
            let next = results.borrow_mut().pop_front();
            match next {
                Some(result) => result,
                None => std::future::pending().await,
            }
        };
        let watched = async {
            let _ = timeout(Duration::from_secs(3600), state.watch("http://h:8000", Duration::ZERO, check)).await;
        };
        let (first, ()) = tokio::join!(state.checked(), watched);
        let why = "the Host API at http://h:8000 can't be used: it answered 500: no database";
        assert!(first.why.as_deref() == Some(why) && first.answered.is_none(), "{:?}", first.why);
        let last = state.checked().await;
        assert!(last.why.as_deref() == Some(why) && last.answered.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_is_gone_is_checked_more_often() {
        for (is_there, pause) in [(true, PAUSE), (false, PAUSE_WHILE_GONE)] {
            let checks = RefCell::new(Vec::new());
            let check = || async {
                checks.borrow_mut().push(tokio::time::Instant::now());
                if is_there { Ok(()) } else { Err(fails()) }
            };
            let state = HostState::default();
            assert!(timeout(pause * 5 / 2, state.watch("http://h", Duration::ZERO, check)).await.is_err());
            let apart: Vec<_> = checks.borrow().windows(2).map(|two| (two[1] - two[0]).as_secs()).collect();
            assert_eq!(apart, [pause.as_secs(); 2]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_fails_look_ups_alone_is_not_gone() {
        let heard = heard(&[true, true, true, true]).await;
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert!(heard[0].starts_with("the Host API failed to answer a question cause="), "{heard:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_without_descriptors_does_not_blame_the_host() {
        let heard = Heard::default();
        let state = HostState::new(Notices::to(heard.clone()), true);
        let check = || async {
            let source = Box::new(std::io::Error::from(rustix::io::Errno::MFILE));
            let error = ApiError::Unreachable { base: "http://h".to_owned(), source };
            state.note(&error);
            Err(error)
        };
        let _ = timeout(Duration::from_secs(60), state.watch("http://h", Duration::ZERO, check)).await;
        assert_eq!(heard.text(), "");
    }
}
