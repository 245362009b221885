//! The ProxyCommand helper beside what people use today, and beside nothing at all.
//!
//! All of them go through the same gateway, in turns, to a VPS of the benchmark's own that does no cryptography, and to
//! a real sshd (to which `direct` goes straight when it is ssh that is measured). `cargo bench --bench helper` prints a
//! table and writes `target/bench/helper.json`; `-- --quick` does so in less time and less exactly.
//!
//! `-- tls` measures the same over TLS instead, beside stunnel and socat, and `-- resume` tunnels that survive their
//! connection beside the same that don't.
//!
//! It tells what it measures; that a target is missed is no failure of the run. It reads /proc, so it needs Linux.

#[cfg(target_os = "linux")]
#[path = "helper/mod.rs"]
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
