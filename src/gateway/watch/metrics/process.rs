//! The process itself, under the names that every Prometheus exporter uses. A value that the system doesn't tell is left
//! out.

use std::time::{SystemTime, UNIX_EPOCH};

use super::page::Page;
use crate::sys;

pub(super) fn write(page: &mut Page, started: SystemTime) {
    let mut gauge = |name, help, value: Option<f64>| {
        if let Some(value) = value {
            page.value(name, help, value);
        }
    };
    let started = started.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64());
    gauge("process_start_time_seconds", "When the process started, since 1970.", started);
    let usage = sys::Usage::now();
    let number = |value: Option<u64>| value.map(|value| value as f64);
    gauge("process_open_fds", "Open file descriptors.", number(usage.open_files));
    gauge("process_max_fds", "Most file descriptors that may be open.", number(sys::most_open_files()));
    gauge("process_resident_memory_bytes", "Memory that is resident.", number(usage.resident));
    gauge("process_virtual_memory_bytes", "Memory that is mapped.", number(usage.mapped));
    page.value("process_cpu_seconds_total", "Time that the process has used of CPUs.", usage.cpu.as_secs_f64());
}
