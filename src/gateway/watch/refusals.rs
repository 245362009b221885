//! The last requests that got no tunnel, in memory. Clients without TLS on a TLS port are not among them, as in the audit
//! log: a scan would leave nothing else.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::SystemTime;

use serde::Serialize;

use crate::gateway::watch::audit::Refused;
use crate::gateway::words::session::Protocol;
use crate::lock::lock;
use crate::text::excerpt;

/// Most refusals that are kept.
const MOST: usize = 50;

/// The last refusals.
#[derive(Debug, Default)]
pub(crate) struct LastRefusals(Mutex<VecDeque<Listed>>);

/// One refusal, or several of the same kind in a row. It contains no token.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Shown {
    pub(crate) user: Option<String>,
    pub(crate) client: String,
    pub(crate) transport: &'static str,
    protocol: Option<&'static str>,
    /// The target that the client asked for, with escapes.
    pub(crate) target: Option<String>,
    pub(crate) reason: &'static str,
    pub(crate) detail: Option<String>,
}

/// A refusal that is kept.
#[derive(Clone, Serialize, Debug)]
pub(crate) struct Listed {
    /// The time of the last one, RFC 3339.
    pub(crate) time: String,
    /// How many came one after the other.
    pub(crate) count: u64,
    #[serde(flatten)]
    pub(crate) shown: Shown,
}

impl LastRefusals {
    /// Adds a refusal. The same one of the same client address again counts as one more of it: a client that tries in a loop
    /// hides nobody else's.
    pub(crate) fn add(&self, refused: &Refused<'_>) {
        let shown = Shown {
            user: refused.user.map(str::to_owned),
            client: refused.client.ip().to_canonical().to_string(),
            transport: refused.transport.name(),
            protocol: refused.protocol.map(Protocol::name),
            target: refused.target.map(excerpt),
            reason: refused.reason,
            detail: refused.detail.as_deref().map(excerpt),
        };
        let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let mut kept = lock(&self.0);
        let before = kept.iter().position(|kept| kept.shown == shown).and_then(|at| kept.remove(at));
        let count = before.map_or(1, |before| before.count + 1);
        kept.truncate(MOST - 1);
        kept.push_front(Listed { time, count, shown });
    }

    /// The refusals, the newest first.
    pub(crate) fn list(&self) -> Vec<Listed> {
        lock(&self.0).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::words::session::Transport;
    use std::time::Duration;

    fn refused(target: &str) -> Refused<'_> {
        Refused {
            user: Some("alice"),
            client: "10.0.0.9:51234".parse().unwrap(),
            transport: Transport::Tls,
            protocol: Some(Protocol::Connect),
            target: Some(target),
            reason: "not-found",
            detail: Some("x".repeat(5000)),
            took: Duration::ZERO,
        }
    }

    #[test]
    fn the_newest_are_kept_and_repetitions_take_one_place() {
        let refusals = LastRefusals::default();
        for number in 0..60 {
            refusals.add(&refused(&number.to_string()));
        }
        for _ in 0..1000 {
            refusals.add(&refused("30"));
        }
        let listed = refusals.list();
        assert_eq!(listed.len(), 50);
        assert_eq!((listed[0].count, listed[0].shown.target.as_deref()), (1001, Some("30")));
        assert_eq!((listed[1].count, listed[1].shown.target.as_deref()), (1, Some("59")));
        assert_eq!(listed[49].shown.target.as_deref(), Some("10"));
        assert!(listed[0].shown.detail.as_ref().unwrap().chars().count() <= crate::text::MAX_EXCERPT + 1);
    }
}
