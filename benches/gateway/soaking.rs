//! The long soaks. The tests have short ones.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use kohakuriver_proxy::sys::raise_open_files;

use crate::support::limits;
use crate::support::soak::{Attackers, Length, Soak, run};

/// The argument that asks for the soak in which the Host and Runners fail.
pub(crate) const SOAK: &str = "soak";
/// The argument that asks for the soak in which clients attack.
pub(crate) const ATTACKS: &str = "attacks";
/// How long a soak is unless something else is said, in seconds.
const SECONDS: u64 = 300;
/// How many users there are.
const USERS: usize = 200;
/// Most bytes each way through one tunnel: more than any buffer on the way holds.
const LARGEST: u64 = 16 << 20;
/// Time to start and to settle.
const AROUND: Duration = Duration::from_secs(300);
/// The attackers. Fewer users act beside them.
const ATTACKERS: Attackers = Attackers { slow: 10_000, unread: 1_000, resets: 300 };
const USERS_BESIDE_ATTACKERS: usize = 50;

/// Runs the soak with this name.
pub(crate) fn main(name: &str) -> Result<()> {
    // Cargo adds an argument of its own.
    let numbers = std::env::args().skip(2).filter(|argument| argument != "--bench");
    let numbers = numbers.map(|word| word.parse::<u64>().with_context(|| format!("{word:?} is not a number")));
    let numbers = numbers.collect::<Result<Vec<_>>>()?;
    let seconds = numbers.first().copied().unwrap_or(SECONDS);
    let seed = match numbers.get(1) {
        Some(seed) => *seed,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    raise_open_files();
    let time = Duration::from_secs(seconds);
    limits::start(time + AROUND, |_| {})?;
    println!("{seconds} s; to have it again: cargo bench --bench gateway -- {name} {seconds} {seed}");
    let soak =
        Soak { seed, users: USERS, length: Length::Time(time / 2), logins: true, largest: LARGEST, attackers: None };
    let (soaks, options) = match name {
        // One half of the time with authentication at the Host, and one without.
        SOAK => (vec![soak, Soak { seed: seed + 1, logins: false, ..soak }], ["--audit-log", "off"]),
        _ => {
            let attackers = Some(ATTACKERS);
            // It has three parts.
            let length = Length::Time(time / 3);
            (vec![Soak { users: USERS_BESIDE_ATTACKERS, length, attackers, ..soak }], ["--audit-log", "/dev/full"])
        }
    };
    let mut faults = 0;
    for soak in soaks {
        limits::check()?;
        let findings = run(soak, &options, || limits::check().is_err());
        println!("{findings}");
        faults += findings.faults.len();
    }
    ensure!(faults == 0, "{faults} faults");
    Ok(())
}
