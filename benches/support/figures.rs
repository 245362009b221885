//! The figures of all rounds, and their medians, differences and ratios.

use std::collections::BTreeMap;

/// A quantity that is measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Measure {
    /// Its name in the JSON file.
    pub(crate) key: &'static str,
    /// A description, with the unit.
    pub(crate) label: &'static str,
    /// The way to make one figure of all rounds.
    pub(crate) sum: Sum,
}

/// How the figures of all rounds become one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Sum {
    Median,
    /// Failures add up.
    Total,
}

impl Measure {
    pub(crate) const fn median(key: &'static str, label: &'static str) -> Self {
        Self { key, label, sum: Sum::Median }
    }

    pub(crate) const fn total(key: &'static str, label: &'static str) -> Self {
        Self { key, label, sum: Sum::Total }
    }
}

pub(crate) const MIB: f64 = 1024.0 * 1024.0;
pub(crate) const GIB: f64 = 1024.0 * MIB;

/// Every figure, by what was measured and on whom; a round each.
#[derive(Default)]
pub(crate) struct Figures {
    samples: BTreeMap<(Measure, &'static str), BTreeMap<usize, f64>>,
    /// Remarks for the reader of the table: which contestant can't do what, and why.
    pub(crate) notes: Vec<String>,
    /// Failures on the way: which contestant could not do what.
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

    pub(crate) fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
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

    /// The figure of `contestant` less that of `reference`, in each round.
    #[allow(dead_code, reason = "the helper's benchmark asks for ratios only")]
    pub(crate) fn differences(&self, measure: Measure, contestant: &str, reference: &str) -> Vec<(usize, f64)> {
        let base: BTreeMap<_, _> = self.rounds(measure, reference).collect();
        self.rounds(measure, contestant).filter_map(|(round, value)| Some((round, value - base.get(&round)?))).collect()
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
