//! What is recorded and shown: log lines, audit lines, metrics and the admin's address.

pub(super) mod admin;
pub(super) mod audit;
pub(super) mod metrics;
pub(super) mod notices;
pub(super) mod outlet;
pub(super) mod records;
