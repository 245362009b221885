//! The long soak. The tests have a short one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};

use super::process;
use crate::support::limits;
use crate::support::soak::{Length, Soak, run};

/// What asks for it.
pub(crate) const NAME: &str = "soak";
/// How long it is unless something else is said, in seconds.
const SECONDS: u64 = 300;
/// How many users there are.
const USERS: usize = 200;
/// Most bytes each way through one tunnel: more than any buffer on the way holds.
const LARGEST: u64 = 16 << 20;
/// Time to start and to settle.
const AROUND: Duration = Duration::from_secs(300);

/// One half of the time with authentication at the Host, and one without.
pub(crate) fn main() -> Result<()> {
    // Cargo adds an argument of its own.
    let numbers = std::env::args().skip(2).filter(|argument| argument != "--bench");
    let numbers = numbers.map(|word| word.parse::<u64>().with_context(|| format!("{word:?} is not a number")));
    let numbers = numbers.collect::<Result<Vec<_>>>()?;
    let seconds = numbers.first().copied().unwrap_or(SECONDS);
    let seed = match numbers.get(1) {
        Some(seed) => *seed,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    process::raise_open_files()?;
    limits::start(Duration::from_secs(seconds) + AROUND, |_| {})?;
    println!("a soak of {seconds} s; to have it again: cargo bench --bench gateway -- soak {seconds} {seed}");
    let mut faults = 0;
    for (seed, logins) in [(seed, true), (seed + 1, false)] {
        limits::check()?;
        let length = Length::Time(Duration::from_secs(seconds) / 2);
        let soak = Soak { seed, users: USERS, length, logins, largest: LARGEST };
        let findings = run(soak, &["--audit-log", "off"], || limits::check().is_err());
        println!("{findings}");
        faults += findings.faults.len();
    }
    ensure!(faults == 0, "{faults} faults");
    Ok(())
}
