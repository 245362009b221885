//! The order of things: arguments, contestants, rows, report.

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use super::contestants::{Contestant, Kind};
use super::throughput::{Way, bulk};
use super::{measures, process};
use crate::support::figures::Figures;
use crate::support::report::{Bound, Report, Target, folder};
use crate::support::turns::{Rounds, rounds, turns};
use crate::support::{limits, vps};

/// How much is done.
struct Effort {
    throughput: Rounds,
    /// How long the bytes of one figure are counted.
    window: Duration,
}

const FULL: Effort = Effort { throughput: rounds(5, 200), window: Duration::from_secs(1) };
const QUICK: Effort = Effort { throughput: rounds(3, 60), window: Duration::from_millis(400) };

/// Longest time for a whole run.
const WHOLE_RUN: Duration = Duration::from_secs(20 * 60);
/// Makes this program a VPS, in a process of its own: it needs as many descriptors as the client does.
const VPS: &str = "--vps";

/// The rows that can be asked for one by one.
const ROWS: [&str; 1] = ["throughput"];

const TARGETS: [Target; 12] = {
    use Bound::{AtLeast, AtMost};
    use measures::*;
    const fn to(measure: crate::support::figures::Measure, reference: Kind, bound: Bound) -> Target {
        Target { measure, contestant: Kind::Ours.name(), reference: Some(reference.name()), bound }
    }
    [
        to(DOWN_1, Kind::HaproxySplice, AtLeast(1.0)),
        to(DOWN_1, Kind::OlderHost, AtLeast(30.0)),
        to(UP_1, Kind::HaproxySplice, AtLeast(1.0)),
        to(UP_1, Kind::OlderHost, AtLeast(30.0)),
        to(DOWN_8, Kind::HaproxySplice, AtLeast(1.0)),
        to(DOWN_8, Kind::OlderHost, AtLeast(30.0)),
        to(UP_8, Kind::HaproxySplice, AtLeast(1.0)),
        to(UP_8, Kind::OlderHost, AtLeast(30.0)),
        to(CPU_DOWN_1, Kind::HaproxySplice, AtMost(0.9)),
        to(CPU_UP_1, Kind::HaproxySplice, AtMost(0.9)),
        to(CPU_DOWN_8, Kind::HaproxySplice, AtMost(0.9)),
        to(CPU_UP_8, Kind::HaproxySplice, AtMost(0.9)),
    ]
};

/// What the command line asks for.
struct Asked {
    effort: &'static Effort,
    rows: Vec<&'static str>,
}

pub(crate) fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some(VPS) {
        return be_vps();
    }
    let asked = read_arguments()?;
    let began = Instant::now();
    limits::start(WHOLE_RUN)?;
    process::raise_open_files()?;
    let vps = Vps::start()?;

    let mut figures = Figures::default();
    // What was measured before an interruption, or before the time was over, is told all the same.
    let outcome = measure(&asked, vps.address, &mut figures);

    let conditions = json!({
        "quick": std::ptr::eq(asked.effort, &QUICK), "seconds": began.elapsed().as_secs(),
        "cpus": std::thread::available_parallelism()?.get(),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
    });
    let report = Report {
        figures: &figures,
        measures: &measures::ALL,
        contestants: &Kind::ALL.map(Kind::name),
        targets: &TARGETS,
        conditions,
    };
    print!("{}", report.table());
    println!(
        "{} s; all samples in {}",
        began.elapsed().as_secs(),
        report.write_json(&folder(), "gateway.json")?.display()
    );
    outcome
}

fn measure(asked: &Asked, vps: SocketAddr, figures: &mut Figures) -> Result<()> {
    let all = Kind::ALL.map(|kind| Contestant::start(kind, vps)).into_iter().collect::<Result<Vec<_>>>()?;
    if asked.rows.contains(&"throughput") {
        turns("throughput", asked.effort.throughput, &all, figures, |who, round, figures| {
            for (way, tunnels) in [(Way::Down, 1), (Way::Up, 1), (Way::Down, 8), (Way::Up, 8)] {
                bulk(who, vps, (way, tunnels), asked.effort.window, round, figures)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn read_arguments() -> Result<Asked> {
    let mut asked = Asked { effort: &FULL, rows: Vec::new() };
    for argument in std::env::args().skip(1) {
        match (argument.as_str(), ROWS.iter().find(|row| **row == argument)) {
            ("--quick", _) => asked.effort = &QUICK,
            // Cargo adds it.
            ("--bench", _) => {}
            (_, Some(row)) => asked.rows.push(row),
            _ => bail!("unknown argument {argument:?}; there are --quick and {}", ROWS.join(", ")),
        }
    }
    if asked.rows.is_empty() {
        asked.rows.extend(ROWS);
    }
    Ok(asked)
}

/// The VPS's process.
struct Vps {
    address: SocketAddr,
    process: Child,
}

impl Vps {
    fn start() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = command.arg(VPS).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let out = process.stdout.take().context("a piped stdout")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line)?;
        let address = line.trim().parse();
        let vps = Self { address: address.with_context(|| format!("the VPS says {line:?}"))?, process };
        ensure!(vps.address.ip().is_loopback(), "the VPS is elsewhere");
        Ok(vps)
    }
}

impl Drop for Vps {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves until stdin ends.
fn be_vps() -> Result<()> {
    println!("{}", vps::start()?);
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
