//! The measures of a helper.

use crate::support::figures::Measure;

pub(crate) const SSH_BULK_UP: Measure = Measure::median("ssh_bulk_up_mib_s", "bulk under ssh, up, MiB/s");
pub(crate) const SSH_BULK_DOWN: Measure = Measure::median("ssh_bulk_down_mib_s", "bulk under ssh, down, MiB/s");
pub(crate) const SSH_CPU_UP: Measure = Measure::median("ssh_cpu_up_s_gib", "  CPU of ssh+helper, up, s/GiB");
pub(crate) const SSH_CPU_DOWN: Measure = Measure::median("ssh_cpu_down_s_gib", "  CPU of ssh+helper, down, s/GiB");
pub(crate) const PLAIN_CPU_UP: Measure = Measure::median("plain_cpu_up_s_gib", "CPU of the helper, up, s/GiB");
pub(crate) const PLAIN_CPU_DOWN: Measure = Measure::median("plain_cpu_down_s_gib", "CPU of the helper, down, s/GiB");
pub(crate) const PLAIN_UP: Measure = Measure::median("plain_bulk_up_mib_s", "bulk without crypto, up, MiB/s");
pub(crate) const PLAIN_DOWN: Measure = Measure::median("plain_bulk_down_mib_s", "bulk without crypto, down, MiB/s");
pub(crate) const FIRST_BYTE: Measure = Measure::median("first_byte_ms", "exec to first banner byte, ms");
pub(crate) const SSH_TRUE: Measure = Measure::median("ssh_true_ms", "ssh host true, ms");
pub(crate) const ROUND_TRIP: Measure = Measure::median("round_trip_us", "1-byte round trip, µs");
pub(crate) const RSS: Measure = Measure::median("rss_mib", "RSS while idle, MiB");
pub(crate) const PSS: Measure = Measure::median("pss_mib", "PSS while idle, MiB");
pub(crate) const BINARY_SIZE: Measure = Measure::median("binary_mib", "binary, MiB");
pub(crate) const FAILURES: Measure = Measure::total("failures", "failures of 100 at once");
pub(crate) const TLS_MORE: Measure = Measure::median("tls_more_ms", "  with TLS rather than without, ms");
pub(crate) const ALL_CPU_UP: Measure = Measure::median("all_cpu_up_s_gib", "  CPU of all in between, up, s/GiB");
pub(crate) const ALL_CPU_DOWN: Measure = Measure::median("all_cpu_down_s_gib", "  CPU of all in between, down, s/GiB");
pub(crate) const SSH_ALL_CPU_UP: Measure = Measure::median("ssh_all_cpu_up_s_gib", "  CPU of all, up, s/GiB");
pub(crate) const SSH_ALL_CPU_DOWN: Measure = Measure::median("ssh_all_cpu_down_s_gib", "  CPU of all, down, s/GiB");

/// All of it, in the order of the table: a line for each subject.
pub(crate) const ALL: [&[Measure]; 6] = [
    &[SSH_BULK_UP, SSH_BULK_DOWN, SSH_CPU_UP, SSH_CPU_DOWN, SSH_ALL_CPU_UP, SSH_ALL_CPU_DOWN],
    &[PLAIN_CPU_UP, PLAIN_CPU_DOWN, PLAIN_UP, PLAIN_DOWN, ALL_CPU_UP, ALL_CPU_DOWN],
    &[FIRST_BYTE, TLS_MORE, SSH_TRUE, ROUND_TRIP],
    &[RSS, PSS],
    &[BINARY_SIZE],
    &[FAILURES],
];
