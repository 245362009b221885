//! The common parts of the benchmarks: our programs, the VPS and the servers of others, the limits of time, and the
//! report of the figures.
//!
//! The parts that the tests start too (sshd, the gateway, temporary folders) are the tests' own files.

#[path = "../../tests/it/support"]
#[allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    reason = "the tests use more of it, and may end where they stand"
)]
mod of_the_tests {
    pub(crate) mod certificates;
    pub(crate) mod gateway;
    pub(crate) mod home;
    pub(crate) mod host_api;
    pub(crate) mod inherited;
    pub(crate) mod older_host;
    pub(crate) mod peers;
    pub(crate) mod processes;
    pub(crate) mod proxies;
    pub(crate) mod random;
    pub(crate) mod run;
    pub(crate) mod soak;
    pub(crate) mod sshd;
    pub(crate) mod tools;
}

pub(crate) use of_the_tests::*;

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
