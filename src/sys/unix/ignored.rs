//! Signals that were ignored before this program began, as under nohup(1) or for a script's job behind `&`.

use std::fs;

/// The `signals` that this process doesn't ignore now (proc(5), `SigIgn`). Where the system doesn't tell, it ignores
/// none.
pub(super) fn not_ignored(signals: &[i32]) -> Vec<i32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    // The lowest bit is signal 1.
    signals.iter().copied().filter(|signal| ignored >> (signal - 1) & 1 == 0).collect()
}
