//! All records of one gateway: notices for its admin, audit lines, metrics and the last refusals. Clones share them.

use std::sync::Arc;
use std::time::Duration;

use crate::failure::Failure;
use crate::gateway::watch::audit::{Audit, AuditLog};
use crate::gateway::watch::metrics::Metrics;
use crate::gateway::watch::notices::{LogFormat, LogLevel, Notices};
use crate::gateway::watch::refusals::LastRefusals;

/// How long the end of the process waits for lines that are not written yet, in all.
const FINISH_LIMIT: Duration = Duration::from_secs(1);

/// The records of a gateway.
#[derive(Clone, Debug, Default)]
pub struct Records {
    pub(crate) notices: Notices,
    pub(crate) audit: Audit,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) refusals: Arc<LastRefusals>,
}

impl Records {
    /// Opens the audit log, and writes notices to stderr.
    pub(crate) fn open(audit: &AuditLog, level: LogLevel, format: LogFormat) -> Result<Self, Failure> {
        let metrics = Arc::new(Metrics::default());
        let notices = Notices::on_stderr(level, format, &metrics);
        let audit = Audit::open(audit, &notices, &metrics)?;
        Ok(Self { notices, audit, metrics, refusals: Arc::default() })
    }

    /// Opens the audit log's file again, after it was moved away.
    pub fn reopen(&self) {
        self.audit.reopen();
    }

    /// Waits for lines that are not written yet, up to [`FINISH_LIMIT`].
    pub(crate) fn finish(&self) {
        self.audit.finish(FINISH_LIMIT / 2);
        self.notices.finish(FINISH_LIMIT / 2);
    }
}
