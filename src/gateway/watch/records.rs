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
