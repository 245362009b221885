//! What the benchmarks share: who is measured, what they are measured against, how long anything may take, and how the
//! figures are told.
//!
//! The parts that the tests start too (sshd, the gateway, temporary folders) are the tests' own files.

#[path = "../../tests/it/support/gateway.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the tests use more of it, and may end where they stand")]
pub(crate) mod gateway;
#[path = "../../tests/it/support/home.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the tests use more of it, and may end where they stand")]
pub(crate) mod home;
#[path = "../../tests/it/support/run.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the tests use more of it, and may end where they stand")]
pub(crate) mod run;
#[path = "../../tests/it/support/sshd.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the tests use more of it, and may end where they stand")]
pub(crate) mod sshd;
#[path = "../../tests/it/support/tools.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the tests use more of it, and may end where they stand")]
pub(crate) mod tools;

pub(crate) mod child;
pub(crate) mod contestants;
pub(crate) mod figures;
pub(crate) mod limits;
pub(crate) mod plain;
pub(crate) mod report;
pub(crate) mod session;
pub(crate) mod ssh;
pub(crate) mod vps;
