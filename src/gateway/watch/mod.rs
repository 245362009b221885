//! The gateway's records: log lines, audit lines, metrics, and what its page shows of the last hour.
//!
//! Writing a record never waits for a reader or a disk. This room knows `words`, and `limits` for their numbers; every
//! other room may use it.

pub(super) mod audit;
pub(super) mod history;
mod limit_warnings;
pub(super) mod metrics;
pub(super) mod notices;
mod outlet;
pub(super) mod records;
pub(super) mod refusals;
pub(super) mod session_list;
