//! The table and the JSON file: every median, and for each target whether it was reached.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use super::figures::{Figures, Measure, Sum};
use super::tools::GATEWAY;

/// A figure that has to be reached.
pub(crate) struct Target {
    pub(crate) measure: Measure,
    pub(crate) contestant: &'static str,
    /// The contestant whose figure is the divisor; without one, the figure stands alone.
    pub(crate) reference: Option<&'static str>,
    pub(crate) bound: Bound,
}

impl Target {
    /// For a figure of `contestant` as a ratio to that of `reference`.
    pub(crate) const fn to(measure: Measure, contestant: &'static str, reference: &'static str, bound: Bound) -> Self {
        Self { measure, contestant, reference: Some(reference), bound }
    }

    /// For a figure by itself.
    pub(crate) const fn alone(measure: Measure, contestant: &'static str, bound: Bound) -> Self {
        Self { measure, contestant, reference: None, bound }
    }
}

/// How many targets there are, how many of them have figures, and how many of those are reached.
#[derive(Clone, Copy, Serialize)]
struct Score {
    reached: usize,
    measured: usize,
    #[serde(rename = "targets")]
    all: usize,
}

/// Which side of a limit is good.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(limit) => value >= limit,
            Self::AtMost(limit) => value <= limit,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(limit) => format!("≥ {limit}"),
            Self::AtMost(limit) => format!("≤ {limit}"),
        }
    }
}

/// Width of the first column, and of each other one.
const FIRST: usize = 32;
const COLUMN: usize = 12;

/// Everything that is told.
pub(crate) struct Report<'a> {
    pub(crate) figures: &'a Figures,
    /// In the order of the table.
    pub(crate) measures: &'a [Measure],
    pub(crate) contestants: &'a [&'static str],
    pub(crate) targets: &'a [Target],
    /// The conditions of the run, for the JSON file: those of [`conditions`], and more.
    pub(crate) conditions: Value,
}

impl Report<'_> {
    /// Prints the table and writes the file.
    pub(crate) fn tell(&self, name: &str) -> Result<()> {
        print!("{}", self.table());
        let path = self.write_json(&folder(), name)?;
        println!("{} s; all samples in {}", self.conditions["seconds"], path.display());
        Ok(())
    }

    /// The table, for people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{:FIRST$}", "median of the rounds");
        for who in self.contestants {
            let _ = write!(text, "{:>COLUMN$}", who);
        }
        text.push('\n');
        for &measure in self.measures {
            if self.contestants.iter().all(|who| self.figure(measure, who).is_none()) {
                continue;
            }
            let _ = write!(text, "{:FIRST$}", measure.label);
            for who in self.contestants {
                let cell = self.figure(measure, who).map_or("-".to_owned(), shown);
                let _ = write!(text, "{cell:>COLUMN$}");
            }
            text.push('\n');
            for target in self.targets.iter().filter(|target| target.measure == measure) {
                let _ = writeln!(text, "    {}", self.verdict(target));
            }
        }
        for note in &self.figures.notes {
            let _ = writeln!(text, "note: {note}");
        }
        for error in &self.figures.errors {
            let _ = writeln!(text, "went wrong: {error}");
        }
        let Score { reached, measured, all } = self.score();
        let _ = write!(text, "{reached} of {measured} measured targets reached");
        if measured < all {
            let _ = write!(text, "; {} not measured", all - measured);
        }
        text.push('\n');
        text
    }

    fn score(&self) -> Score {
        let verdicts: Vec<_> = self.targets.iter().filter_map(|target| self.reached(target)).collect();
        let reached = verdicts.iter().filter(|&&reached| reached).count();
        Score { reached, measured: verdicts.len(), all: self.targets.len() }
    }

    /// Writes the JSON file, for programs, with every sample.
    pub(crate) fn write_json(&self, folder: &Path, name: &str) -> Result<PathBuf> {
        let mut measures = serde_json::Map::new();
        for &measure in self.measures {
            let mut by_contestant = serde_json::Map::new();
            for who in self.contestants {
                if let Some(figure) = self.figure(measure, who) {
                    let samples = self.figures.samples(measure, who);
                    by_contestant.insert((*who).to_owned(), json!({ "figure": figure, "samples": samples }));
                }
            }
            measures.insert(measure.key.to_owned(), by_contestant.into());
        }
        let targets: Vec<_> = self
            .targets
            .iter()
            .map(|target| {
                let value = self.value(target);
                json!({
                    "measure": target.measure.key, "contestant": target.contestant, "reference": target.reference,
                    "target": target.bound.text(), "value": value, "reached": self.reached(target),
                })
            })
            .collect();
        let report = json!({
            "conditions": self.conditions, "measures": measures, "targets": targets, "score": self.score(),
            "notes": self.figures.notes, "errors": self.figures.errors,
        });
        std::fs::create_dir_all(folder)?;
        let path = folder.join(name);
        std::fs::write(&path, serde_json::to_string_pretty(&report)? + "\n")?;
        Ok(path)
    }

    fn figure(&self, measure: Measure, contestant: &str) -> Option<f64> {
        match measure.sum {
            Sum::Total => {
                let samples = self.figures.samples(measure, contestant);
                (!samples.is_empty()).then(|| samples.iter().sum())
            }
            Sum::Median => self.figures.median(measure, contestant),
        }
    }

    fn value(&self, target: &Target) -> Option<f64> {
        match target.reference {
            Some(reference) => self.figures.ratio(target.measure, target.contestant, reference),
            None => self.figure(target.measure, target.contestant),
        }
    }

    fn reached(&self, target: &Target) -> Option<bool> {
        self.value(target).map(|value| target.bound.holds(value))
    }

    fn verdict(&self, target: &Target) -> String {
        let what = match target.reference {
            Some(reference) => format!("{} to {reference}", target.contestant),
            None => target.contestant.to_owned(),
        };
        let value = self.value(target).map_or("not measured".to_owned(), |value| format!("{value:.2}"));
        let verdict = match self.reached(target) {
            Some(true) => "reached",
            Some(false) => "MISSED",
            None => "",
        };
        format!("{what:18} {value:>12}   target {:8} {verdict}", target.bound.text()).trim_end().to_owned()
    }
}

/// Three digits that matter.
fn shown(value: f64) -> String {
    match value {
        v if v == 0.0 || v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v if v >= 1.0 => format!("{v:.2}"),
        v => format!("{v:.3}"),
    }
}

/// The conditions of a run that `began` then.
pub(crate) fn conditions(is_quick: bool, began: Instant) -> Result<Value> {
    Ok(json!({
        "quick": is_quick, "seconds": began.elapsed().as_secs(),
        "cpus": std::thread::available_parallelism()?.get(),
        "kernel": std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
    }))
}

/// Where reports are written: <target>/bench. The programs are in <target>/<profile>.
pub(crate) fn folder() -> PathBuf {
    Path::new(GATEWAY).ancestors().nth(2).expect("a program of cargo's is in its target folder").join("bench")
}
