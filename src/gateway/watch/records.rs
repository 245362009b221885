//! What the gateway keeps of what happens: notices for its admin, audit lines, and counts. Clones share all of it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::failure::Failure;
use crate::gateway::arguments::Arguments;
use crate::gateway::watch::audit::Audit;
use crate::gateway::watch::metrics::Metrics;
use crate::gateway::watch::notices::Notices;

/// How long the end waits for lines that are not written yet, in all.
const FINISH_LIMIT: Duration = Duration::from_secs(1);

/// Where everything is noted.
#[derive(Clone, Debug, Default)]
pub struct Records {
    pub(crate) notices: Notices,
    pub(crate) audit: Audit,
    pub(crate) metrics: Arc<Metrics>,
}

impl Records {
    /// What the command line asks for.
    pub(crate) fn open(arguments: &Arguments) -> Result<Self, Failure> {
        let metrics = Arc::new(Metrics::default());
        let notices = Notices::on_stderr(arguments.log_level, arguments.log_format, &metrics);
        let audit = Audit::open(&arguments.audit_log, &notices, &metrics)?;
        Ok(Self { notices, audit, metrics })
    }

    /// Notices to `sink`, no audit.
    pub fn to(sink: impl io::Write + Send + 'static) -> Self {
        Self { notices: Notices::to(sink), ..Self::default() }
    }

    /// Opens the audit file anew, after it was moved away.
    pub fn reopen(&self) {
        self.audit.reopen();
    }

    /// Gives lines that are not written yet a while.
    pub(crate) fn finish(&self) {
        self.audit.finish(FINISH_LIMIT / 2);
        self.notices.finish(FINISH_LIMIT / 2);
    }
}
