//! The CPU time and the memory of a server's processes.

use std::fs;

use anyhow::Result;
use kohakuriver_proxy::sys::most_open_files;
use rustix::process::Pid;

use crate::support::stat;

/// CPU time of the threads that the group of `leader` has now, to the nanosecond. Only good for what is done between
/// two looks by threads that are there at both.
pub(crate) fn cpu_seconds_of_threads(leader: Pid) -> Result<f64> {
    let mut nanoseconds = 0;
    for process in stat::group(leader)? {
        // A process or a thread may have ended since.
        for thread in fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten() {
            let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            nanoseconds += text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or_default();
        }
    }
    Ok(nanoseconds as f64 / 1e9)
}

/// CPU time of the group of `leader`, to the tick, with that of the children it has reaped.
pub(crate) fn cpu_seconds(leader: Pid) -> Result<f64> {
    // utime, stime, cutime, cstime: user and system, its own with all its threads, and its children's.
    stat::group(leader)?.into_iter().map(|process| stat::seconds(&stat::stat(process)?[11..15])).sum()
}

/// How many files a process may have open.
pub(crate) fn open_files() -> usize {
    most_open_files().and_then(|limit| limit.try_into().ok()).unwrap_or(usize::MAX)
}

/// Resident memory of the group of `leader`.
pub(crate) fn rss_kib(leader: Pid) -> Result<f64> {
    stat::group(leader)?.into_iter().map(|process| stat::smaps(process, "Rss:")).sum()
}
