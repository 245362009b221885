//! All records of one gateway: notices for its admin, audit lines, metrics and the last refusals. Clones share them.

use std::sync::Arc;
use std::time::Duration;

use crate::failure::Failure;
use crate::gateway::watch::audit::{Audit, AuditLog};
use crate::gateway::watch::metrics::Metrics;
use crate::gateway::watch::notices::Notices;
use crate::gateway::watch::refusals::LastRefusals;

/// How long the end of the process waits for lines of the audit log that are not written yet; then for the log.
const FINISH_LIMIT: Duration = Duration::from_millis(500);

/// The records of a gateway.
#[derive(Clone, Default)]
pub(crate) struct Records {
    pub(crate) notices: Notices,
    pub(crate) audit: Audit,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) refusals: Arc<LastRefusals>,
}

impl Records {
    /// Opens the audit log. There is a log already, which counts its lost lines in `metrics`.
    pub(crate) fn open(audit: &AuditLog, notices: Notices, metrics: Arc<Metrics>) -> Result<Self, Failure> {
        let audit = Audit::open(audit, &notices, &metrics)?;
        Ok(Self { notices, audit, metrics, refusals: Arc::default() })
    }

    /// Opens the audit log's file again, after it was moved away.
    pub(crate) fn reopen(&self) {
        self.audit.reopen();
    }

    /// Waits for audit lines that are not written yet.
    pub(crate) fn finish(&self) {
        self.audit.finish(FINISH_LIMIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::carry::session::Sessions;
    use crate::gateway::carry::session::tests::tunnel;
    use crate::gateway::tests::PATIENCE;
    use crate::gateway::watch::audit::tests::audit_that_rests;
    use std::time::Instant;

    /// Ends tunnels of `records`, and waits until `is_written`.
    fn note(records: &Records, is_written: impl Fn() -> bool) {
        let sessions = Arc::new(Sessions::new(0, records.clone()));
        (0..2).for_each(|_| drop(tunnel(&sessions, None)));
        let begun = Instant::now();
        while !is_written() {
            assert!(begun.elapsed() < PATIENCE, "the lines are not written");
            records.finish();
        }
    }

    #[test]
    fn the_end_waits_for_the_audit_log() {
        // After its first line, it writes nothing more by itself as long as the test runs.
        let (audit, heard) = audit_that_rests(Duration::from_secs(3600));
        let records = Records { audit, ..Records::default() };
        note(&records, || heard.text().lines().count() == 4);
    }

    #[test]
    fn an_audit_log_that_was_moved_away_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let [path, moved] = ["audit.log", "audit.log.1"].map(|name| folder.path().join(name));
        let open = AuditLog::File(path.clone());
        let records = Records::open(&open, Notices::default(), Arc::default()).unwrap();
        let count = || std::fs::read_to_string(&path).map_or(0, |text| text.lines().count());
        note(&records, || count() == 4);
        std::fs::rename(&path, moved).unwrap();
        records.reopen();
        note(&records, || count() == 4);
    }
}
