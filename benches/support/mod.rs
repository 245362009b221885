//! What the benchmarks share: who is measured, what they are measured against, how long anything may take, and how the
//! figures are told.
//!
//! The parts that the tests start too (sshd, the gateway, temporary folders) are the tests' own files.

#[path = "../../tests/it/support/certificates.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the tests use more of it, and may end where they stand")]
pub(crate) mod certificates;
#[path = "../../tests/it/support/gateway.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the tests use more of it, and may end where they stand")]
pub(crate) mod gateway;
#[path = "../../tests/it/support/home.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the tests use more of it, and may end where they stand")]
pub(crate) mod home;
#[path = "../../tests/it/support/host_api.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the tests use more of it, and may end where they stand")]
pub(crate) mod host_api;
#[path = "../../tests/it/support/inherited.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the tests use more of it, and may end where they stand")]
pub(crate) mod inherited;
#[path = "../../tests/it/support/older_host.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the tests use more of it, and may end where they stand")]
pub(crate) mod older_host;
#[path = "../../tests/it/support/peers.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the tests use more of it, and may end where they stand")]
pub(crate) mod peers;
#[path = "../../tests/it/support/processes.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the tests use more of it, and may end where they stand")]
pub(crate) mod processes;
#[path = "../../tests/it/support/proxies.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the tests use more of it, and may end where they stand")]
pub(crate) mod proxies;
#[path = "../../tests/it/support/random.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
pub(crate) mod random;
#[path = "../../tests/it/support/run.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the tests use more of it, and may end where they stand")]
pub(crate) mod run;
#[path = "../../tests/it/support/soak/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    reason = "the tests use more of it, and may end where they stand"
)]
pub(crate) mod soak;
#[path = "../../tests/it/support/sshd.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the tests use more of it, and may end where they stand")]
pub(crate) mod sshd;
#[path = "../../tests/it/support/tools.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the tests use more of it, and may end where they stand")]
pub(crate) mod tools;

pub(crate) mod figures;
pub(crate) mod limits;
pub(crate) mod mover;
pub(crate) mod ours;
#[allow(dead_code, reason = "not every benchmark has a plot")]
pub(crate) mod plot;
pub(crate) mod report;
#[allow(dead_code, reason = "each benchmark has its own peers")]
pub(crate) mod secured;
pub(crate) mod stat;
pub(crate) mod turns;
pub(crate) mod vps;
