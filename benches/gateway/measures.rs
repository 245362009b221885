//! The measures of a gateway.

use crate::support::figures::Measure;

pub(crate) const DOWN_1: Measure = Measure::median("down_1_mib_s", "1 tunnel, down, MiB/s");
pub(crate) const UP_1: Measure = Measure::median("up_1_mib_s", "1 tunnel, up, MiB/s");
pub(crate) const DOWN_8: Measure = Measure::median("down_8_mib_s", "8 tunnels, down, MiB/s");
pub(crate) const UP_8: Measure = Measure::median("up_8_mib_s", "8 tunnels, up, MiB/s");
pub(crate) const CPU_DOWN_1: Measure = Measure::median("cpu_down_1_s_gib", "CPU, 1 tunnel, down, s/GiB");
pub(crate) const CPU_UP_1: Measure = Measure::median("cpu_up_1_s_gib", "CPU, 1 tunnel, up, s/GiB");
pub(crate) const CPU_DOWN_8: Measure = Measure::median("cpu_down_8_s_gib", "CPU, 8 tunnels, down, s/GiB");
pub(crate) const CPU_UP_8: Measure = Measure::median("cpu_up_8_s_gib", "CPU, 8 tunnels, up, s/GiB");

/// The CPU time of the benchmark itself, as the client and as the VPS: the benchmark and the contestant share the
/// processors.
pub(crate) const ENDS_DOWN_1: Measure = Measure::median("ends_cpu_down_1_s_gib", "  CPU of the two ends, s/GiB");
pub(crate) const ENDS_UP_1: Measure = Measure::median("ends_cpu_up_1_s_gib", "  CPU of the two ends, s/GiB");
pub(crate) const ENDS_DOWN_8: Measure = Measure::median("ends_cpu_down_8_s_gib", "  CPU of the two ends, s/GiB");
pub(crate) const ENDS_UP_8: Measure = Measure::median("ends_cpu_up_8_s_gib", "  CPU of the two ends, s/GiB");
pub(crate) const SETUPS_32: Measure = Measure::median("setups_32_per_s", "set up, 32 at once, 1/s");
pub(crate) const SETUPS_256: Measure = Measure::median("setups_256_per_s", "set up, 256 at once, 1/s");
pub(crate) const CPU_SETUP_32: Measure = Measure::median("cpu_setup_32_us", "  CPU of one of 32, µs");
pub(crate) const CPU_SETUP_256: Measure = Measure::median("cpu_setup_256_us", "  CPU of one of 256, µs");
pub(crate) const CPU_LOG_32: Measure = Measure::median("cpu_log_32_us", "  CPU of its audit lines, µs");
pub(crate) const CPU_LOG_256: Measure = Measure::median("cpu_log_256_us", "  CPU of its audit lines, µs");
pub(crate) const RSS: Measure = Measure::median("rss_idle_kib", "RSS of an idle tunnel, KiB");
pub(crate) const FAILURES: Measure = Measure::total("held_failures", "failures of 10,000 held");
pub(crate) const BESIDE_P99: Measure = Measure::median("beside_bulk_p99_us", "beside bulk: 1 byte, p99, µs");
pub(crate) const BESIDE_P50: Measure = Measure::median("beside_bulk_p50_us", "  median, µs");
pub(crate) const BESIDE_BULK: Measure = Measure::median("beside_bulk_mib_s", "  the bulk, MiB/s");
pub(crate) const DESCRIPTORS: Measure = Measure::total("descriptors_left", "descriptors left of 10,000");
pub(crate) const TLS_FULL: Measure = Measure::median("tls_full_per_s", "TLS: set up in full, 1/s");
pub(crate) const CPU_TLS_FULL: Measure = Measure::median("cpu_tls_full_us", "  CPU of one, µs");
pub(crate) const TLS_RESUMED: Measure = Measure::median("tls_resumed_per_s", "TLS: set up, resumed, 1/s");
pub(crate) const CPU_TLS_RESUMED: Measure = Measure::median("cpu_tls_resumed_us", "  CPU of one, µs");
pub(crate) const TLS_RSS: Measure = Measure::median("tls_rss_idle_kib", "TLS: RSS of an idle tunnel, KiB");

pub(crate) const RESUME_CPU_DOWN: Measure = Measure::median("resume_cpu_down_s_gib", "resumable: CPU, down, s/GiB");
pub(crate) const RESUME_CPU_UP: Measure = Measure::median("resume_cpu_up_s_gib", "  CPU, up, s/GiB");
pub(crate) const RESUME_RSS: Measure = Measure::median("resume_rss_idle_kib", "  RSS of an idle tunnel, KiB");
pub(crate) const RESUME_LOST: Measure = Measure::total("resume_lost", "  not back of 500 cut at once");
pub(crate) const RESUME_BACK: Measure = Measure::median("resume_back_s", "  the others are back after, s");
pub(crate) const RESUME_OTHERS: Measure = Measure::median("resume_others", "  set-up beside that, to alone");
pub(crate) const RESUME_WRONG: Measure = Measure::median("resume_wrong_per_s", "  wrong tries to continue one, 1/s");
pub(crate) const RESUME_BESIDE_WRONG: Measure =
    Measure::median("resume_beside_wrong", "  set-up beside those, to alone");

pub(crate) const WATCHED_ALONE: Measure = Measure::median("unwatched_p99_us", "200 type: 1 byte, p99, µs");
pub(crate) const WATCHED: Measure = Measure::median("watched_p99_us", "  beside 200 pages and 10 scrapes/s");
pub(crate) const WATCHED_RATIO: Measure = Measure::median("watched_ratio", "  to that without them");

/// All of it, in the order of the table: a line for each subject.
pub(crate) const ALL: [&[Measure]; 11] = [
    &[DOWN_1, UP_1, DOWN_8, UP_8],
    &[CPU_DOWN_1, ENDS_DOWN_1, CPU_UP_1, ENDS_UP_1],
    &[CPU_DOWN_8, ENDS_DOWN_8, CPU_UP_8, ENDS_UP_8],
    &[SETUPS_32, CPU_SETUP_32, CPU_LOG_32, SETUPS_256, CPU_SETUP_256, CPU_LOG_256],
    &[RSS, FAILURES],
    &[BESIDE_P99, BESIDE_P50, BESIDE_BULK],
    &[DESCRIPTORS],
    &[TLS_FULL, CPU_TLS_FULL, TLS_RESUMED, CPU_TLS_RESUMED, TLS_RSS],
    &[RESUME_CPU_DOWN, RESUME_CPU_UP, RESUME_RSS, RESUME_LOST, RESUME_BACK, RESUME_OTHERS],
    &[RESUME_WRONG, RESUME_BESIDE_WRONG],
    &[WATCHED_ALONE, WATCHED, WATCHED_RATIO],
];
