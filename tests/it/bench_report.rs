//! The report of a benchmark's run that measured only a part of the targets.

use serde_json::{Value, json};

use crate::support::home::Home;
use crate::support::tools;

#[path = "../../benches/support/figures.rs"]
#[allow(dead_code, reason = "the benchmarks use more of it")]
mod figures;
#[path = "../../benches/support/report.rs"]
#[allow(dead_code, reason = "the benchmarks use more of it")]
mod report;

use figures::{Figures, Measure};
use report::{Bound, Report, Target};

const SPEED: Measure = Measure::median("speed", "speed, MiB/s");
const MEMORY: Measure = Measure::median("memory", "memory, KiB");

/// The last line of the table, and the score in the JSON file, with these figures for speed and memory.
fn told(speed: Option<f64>, memory: Option<f64>) -> (String, Value) {
    let target = |measure, bound| Target { measure, contestant: "ours", reference: None, bound };
    let targets = [target(SPEED, Bound::AtLeast(100.0)), target(MEMORY, Bound::AtMost(2.0))];
    let mut figures = Figures::default();
    for (measure, figure) in [(SPEED, speed), (MEMORY, memory)] {
        if let Some(figure) = figure {
            figures.add(measure, "ours", 0, figure);
        }
    }
    let report = Report {
        figures: &figures,
        measures: &[SPEED, MEMORY],
        contestants: &["ours"],
        targets: &targets,
        conditions: Value::Null,
    };
    let home = Home::new();
    let path = report.write_json(home.path(), "report.json").unwrap();
    let json: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    (report.table().lines().last().unwrap().to_owned(), json["score"].clone())
}

#[test]
fn targets_without_figures_are_counted_by_themselves() {
    for (speed, memory, line, reached, measured) in [
        (Some(200.0), Some(1.0), "2 of 2 measured targets reached", 2, 2),
        (Some(50.0), Some(1.0), "1 of 2 measured targets reached", 1, 2),
        (Some(200.0), None, "1 of 1 measured targets reached; 1 not measured", 1, 1),
        (None, Some(9.0), "0 of 1 measured targets reached; 1 not measured", 0, 1),
        (None, None, "0 of 0 measured targets reached; 2 not measured", 0, 0),
    ] {
        let score = json!({ "reached": reached, "measured": measured, "targets": 2 });
        assert_eq!(told(speed, memory), (line.to_owned(), score), "{speed:?} {memory:?}");
    }
}
