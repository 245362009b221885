//! The process itself, under the names that every Prometheus exporter uses. A value that the system doesn't tell is left
//! out.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::page::Page;

pub(super) fn write(page: &mut Page, started: SystemTime) {
    let mut gauge = |name, help, value: Option<f64>| {
        if let Some(value) = value {
            page.gauge(name, help, &[], value);
        }
    };
    let started = started.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64());
    gauge("process_start_time_seconds", "When the process started, since 1970.", started);
    // One of the entries is the descriptor through which the folder is read.
    let open = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1) as f64);
    gauge("process_open_fds", "Open file descriptors.", open);
    let most = getrlimit(Resource::Nofile).current;
    gauge("process_max_fds", "Most file descriptors that may be open.", most.map(|most| most as f64));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    gauge("process_resident_memory_bytes", "Memory that is resident.", bytes(&status, "VmRSS:"));
    gauge("process_virtual_memory_bytes", "Memory that is mapped.", bytes(&status, "VmSize:"));
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let used = Duration::new(used.tv_sec.unsigned_abs(), u32::try_from(used.tv_nsec).unwrap_or_default());
    page.seconds("process_cpu_seconds_total", "Time that the process has used of CPUs.", used);
}

/// The value of `field`, which proc(5) gives in KiB.
fn bytes(status: &str, field: &str) -> Option<f64> {
    let value = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((kib * 1024) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_status_file() {
        let status = "Name:\tx\nVmSize:\t  123456 kB\nVmRSS:\t    2048 kB\nThreads:\t3\n";
        assert_eq!(bytes(status, "VmRSS:"), Some(2_097_152.0));
        for broken in ["", "VmRSS:\t12 MB\n", "VmRSS:\tx kB\n"] {
            assert_eq!(bytes(broken, "VmRSS:"), None, "{broken:?}");
        }
    }
}
