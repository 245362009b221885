//! The order of things: arguments, helpers and their rows, report.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::contestants::Measured;
use super::{child, measures, overseen, peers, resume, tls};
use crate::support::figures::Figures;
use crate::support::limits;
use crate::support::ours::{helper, measure_instead};
use crate::support::report::{Report, conditions};

/// Longest time for a whole run.
const WHOLE_RUN: Duration = Duration::from_secs(7 * 60 + 45);

/// Helpers that are measured beside each other: the file of their figures, and what measures them, in a hurry or not.
type Set = (&'static str, fn(bool, &mut Figures) -> Result<Measured>);

pub(crate) fn main() -> Result<()> {
    let (mut is_quick, mut set): (_, Set) = (false, ("helper.json", peers::measure));
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--helper" => measure_instead(&arguments.next().context("--helper needs a file")?)?,
            "--quick" => is_quick = true,
            "tls" => set = ("helper-tls.json", tls::measure),
            "resume" => set = ("helper-resume.json", resume::measure),
            // Cargo adds it.
            "--bench" => {}
            _ => bail!("unknown argument {argument:?}; there are --helper FILE, --quick, tls and resume"),
        }
    }
    let began = Instant::now();
    limits::start(WHOLE_RUN, overseen::end_overdue)?;
    child::adopt_orphans()?;
    let (file, measure) = set;
    let mut figures = Figures::default();
    // Figures that were measured before an interruption, or before the time was over, are reported all the same.
    let (names, targets, outcome) = measure(is_quick, &mut figures)?;
    let mut conditions = conditions(is_quick, began)?;
    conditions["helper"] = json!(helper());
    let report =
        Report { figures: &figures, measures: &measures::ALL.concat(), contestants: &names, targets, conditions };
    report.tell(file)?;
    outcome
}
