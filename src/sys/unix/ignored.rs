//! Signals that were ignored before this program began, as under nohup(1) or for a script's job behind `&`.

use std::fs;

/// A set of signals that this program ignores.
#[derive(Clone, Copy, Debug)]
pub struct IgnoredSignals(u64);

impl IgnoredSignals {
    /// Those it ignores now (proc(5), `SigIgn`); none where the system doesn't tell.
    pub fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        Self(mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0))
    }

    /// Whether the signal of this number is one of them.
    pub fn contains(self, number: i32) -> bool {
        // The lowest bit is signal 1.
        self.0 >> (number - 1) & 1 == 1
    }
}
