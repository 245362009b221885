//! What was measured, and what is made of it.

use std::collections::BTreeMap;

/// What is measured. The order is that of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Measure {
    SshBulkUp,
    SshBulkDown,
    SshCpuUp,
    SshCpuDown,
    PlainCpuUp,
    PlainCpuDown,
    PlainUp,
    PlainDown,
    FirstByte,
    SshTrue,
    RoundTrip,
    Rss,
    Pss,
    BinarySize,
    Failures,
}

impl Measure {
    pub(crate) const ALL: [Self; 15] = [
        Self::SshBulkUp,
        Self::SshBulkDown,
        Self::SshCpuUp,
        Self::SshCpuDown,
        Self::PlainCpuUp,
        Self::PlainCpuDown,
        Self::PlainUp,
        Self::PlainDown,
        Self::FirstByte,
        Self::SshTrue,
        Self::RoundTrip,
        Self::Rss,
        Self::Pss,
        Self::BinarySize,
        Self::Failures,
    ];

    /// What it is, in which unit.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::SshBulkUp => "bulk under ssh, up, MiB/s",
            Self::SshBulkDown => "bulk under ssh, down, MiB/s",
            Self::SshCpuUp => "  CPU of ssh+helper, up, s/GiB",
            Self::SshCpuDown => "  CPU of ssh+helper, down, s/GiB",
            Self::PlainCpuUp => "CPU of the helper, up, s/GiB",
            Self::PlainCpuDown => "CPU of the helper, down, s/GiB",
            Self::PlainUp => "bulk without crypto, up, MiB/s",
            Self::PlainDown => "bulk without crypto, down, MiB/s",
            Self::FirstByte => "exec to first banner byte, ms",
            Self::SshTrue => "ssh host true, ms",
            Self::RoundTrip => "1-byte round trip, µs",
            Self::Rss => "RSS while idle, MiB",
            Self::Pss => "PSS while idle, MiB",
            Self::BinarySize => "binary, MiB",
            Self::Failures => "failures of 100 at once",
        }
    }

    /// Its name in the JSON file.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::SshBulkUp => "ssh_bulk_up_mib_s",
            Self::SshBulkDown => "ssh_bulk_down_mib_s",
            Self::SshCpuUp => "ssh_cpu_up_s_gib",
            Self::SshCpuDown => "ssh_cpu_down_s_gib",
            Self::PlainCpuUp => "plain_cpu_up_s_gib",
            Self::PlainCpuDown => "plain_cpu_down_s_gib",
            Self::PlainUp => "plain_bulk_up_mib_s",
            Self::PlainDown => "plain_bulk_down_mib_s",
            Self::FirstByte => "first_byte_ms",
            Self::SshTrue => "ssh_true_ms",
            Self::RoundTrip => "round_trip_us",
            Self::Rss => "rss_mib",
            Self::Pss => "pss_mib",
            Self::BinarySize => "binary_mib",
            Self::Failures => "failures",
        }
    }
}

pub(crate) const MIB: f64 = 1024.0 * 1024.0;
pub(crate) const GIB: f64 = 1024.0 * MIB;

/// Every figure, by what was measured and on whom; a round each.
#[derive(Default)]
pub(crate) struct Figures {
    samples: BTreeMap<(Measure, &'static str), BTreeMap<usize, f64>>,
    /// What went wrong on the way: who could not do what.
    pub(crate) errors: Vec<String>,
}

impl Figures {
    pub(crate) fn add(&mut self, measure: Measure, contestant: &'static str, round: usize, value: f64) {
        self.samples.entry((measure, contestant)).or_default().insert(round, value);
    }

    /// Notes that a contestant failed, unless the same was said of it before.
    pub(crate) fn fail(&mut self, contestant: &str, what: &str, error: &anyhow::Error) {
        let line = format!("{contestant}: {what}: {error:#}");
        if !self.errors.contains(&line) {
            self.errors.push(line);
        }
    }

    pub(crate) fn samples(&self, measure: Measure, contestant: &str) -> Vec<f64> {
        self.rounds(measure, contestant).map(|(_, value)| value).collect()
    }

    fn rounds(&self, measure: Measure, contestant: &str) -> impl Iterator<Item = (usize, f64)> {
        let found = self.samples.iter().find(|((of, who), _)| *of == measure && *who == contestant);
        found.into_iter().flat_map(|(_, samples)| samples.iter().map(|(&round, &value)| (round, value)))
    }

    pub(crate) fn median(&self, measure: Measure, contestant: &str) -> Option<f64> {
        median(self.samples(measure, contestant))
    }

    /// The median of the ratios that the two had in each round: what disturbs a round disturbs both.
    pub(crate) fn ratio(&self, measure: Measure, contestant: &str, reference: &str) -> Option<f64> {
        let base: BTreeMap<_, _> = self.rounds(measure, reference).collect();
        let ratios = self.rounds(measure, contestant).filter_map(|(round, value)| Some(value / base.get(&round)?));
        median(ratios.collect())
    }
}

/// The middle one of `values`; the mean of the middle two.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}
