//! The gateway beside what others would put in its place, and beside nothing at all.
//!
//! Each of them stands, in turns, before the same VPS of the benchmark's own that does no cryptography.
//! `cargo bench --bench gateway` prints a table and writes `target/bench/gateway.json`; `-- --quick` does so in less
//! time and less exactly, and the names of rows (`-- throughput`) measure those alone.
//!
//! `-- soak [SECONDS [SEED]]` is no measure: it lets 200 users do as they please for 5 minutes, or as long as is said,
//! while the Host API and Runners fail, and fails if the gateway does anything wrong.
//!
//! `-- attacks [SECONDS [SEED]]` is the same, but clients and signals attack the gateway and nothing else fails.
//!
//! `-- hostile` measures a user's set-up while 500 connections of another address ask for all they can get. Only root can
//! run its second half, since a name server has port 53.
//!
//! `-- scale` measures what grows with the number of tunnels, and draws it as a plot.
//!
//! It tells what it measures; that a target is missed is no failure of the run. It reads /proc, so it needs Linux.

#[cfg(target_os = "linux")]
#[path = "gateway/mod.rs"]
mod parts;
#[cfg(target_os = "linux")]
mod support;

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    parts::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("this benchmark reads /proc, so it runs on Linux only");
}
