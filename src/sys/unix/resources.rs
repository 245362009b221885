//! The limit of open files of this process, and the resources that it uses.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// How many files this process may have open; `None`: unlimited.
pub fn most_open_files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Raises the limit of open files as far as this process may, and returns it. Daemons start with a low limit for the
/// sake of programs that use `select(2)`. This program doesn't use it.
pub fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // On failure the limit stays as it is.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    most_open_files()
}

/// The time of a clock that never jumps (CLOCK_MONOTONIC). All processes of this machine share the clock.
pub fn monotonic_time() -> Duration {
    duration(clock_gettime(ClockId::Monotonic))
}

/// The resources that this process uses. A value that the system doesn't tell is `None`.
pub struct Usage {
    /// Open files.
    pub open_files: Option<u64>,
    /// Resident memory, in bytes.
    pub resident: Option<u64>,
    /// Mapped memory, in bytes.
    pub mapped: Option<u64>,
    /// Time of CPUs so far.
    pub cpu: Duration,
}

impl Usage {
    /// The current usage. Reads files of `/proc`, so a runtime's thread must not call this.
    pub fn now() -> Self {
        // One of the entries is the descriptor through which the folder is read.
        let open_files = fs::read_dir("/proc/self/fd").ok().map(|entries| (entries.count() as u64).saturating_sub(1));
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let cpu = duration(clock_gettime(ClockId::ProcessCPUTime));
        Self { open_files, resident: bytes(&status, "VmRSS:"), mapped: bytes(&status, "VmSize:"), cpu }
    }
}

fn duration(time: Timespec) -> Duration {
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The value of `field`, which proc(5) gives in KiB.
fn bytes(status: &str, field: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_status_file() {
        let status = "Name:\tx\nVmSize:\t  123456 kB\nVmRSS:\t    2048 kB\nThreads:\t3\n";
        assert_eq!(bytes(status, "VmRSS:"), Some(2_097_152));
        for broken in ["", "VmRSS:\t12 MB\n", "VmRSS:\tx kB\n"] {
            assert_eq!(bytes(broken, "VmRSS:"), None, "{broken:?}");
        }
    }
}
