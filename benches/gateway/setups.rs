//! Tunnels set up: connect, request, answer, the VPS's first words, close; again and again, many at once.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::contestants::{Contestant, Kind};
use super::measures;
use super::opener::Opener;
use super::process::cpu_seconds;
use crate::support::figures::{Figures, Measure};

/// How long tunnels are opened before they are counted.
const WARM_UP: Duration = Duration::from_millis(300);

/// How many at once, and where the figures go: how many a second, what each took of the CPU, and what its log took of that.
const CROWDS: [(usize, [Measure; 3]); 2] = [
    (32, [measures::SETUPS_32, measures::CPU_SETUP_32, measures::CPU_LOG_32]),
    (256, [measures::SETUPS_256, measures::CPU_SETUP_256, measures::CPU_LOG_256]),
];

/// Counts for `window`.
pub(crate) fn setups(who: &Contestant, window: Duration, round: usize, figures: &mut Figures) -> Result<()> {
    for (at_once, [rate, cpu, _]) in CROWDS {
        let spent = || who.leader().map(cpu_seconds).transpose();
        let began = Instant::now();
        let mut start = None;
        let mut opened = 0;
        Opener::new(&who.entrance)?.open_and_close(at_once, |count| {
            opened = count;
            if start.is_none() && began.elapsed() >= WARM_UP {
                start = Some((Instant::now(), count, spent()));
            }
            began.elapsed() < WARM_UP + window
        })?;
        let now = Instant::now();
        let Some((from, before, spent_before)) = start else { anyhow::bail!("none was set up in time") };
        let count = (opened - before) as f64;
        ensure!(count > 0.0, "none was set up in {window:?}");
        figures.add(rate, who.kind.name(), round, count / (now - from).as_secs_f64());
        if let (Some(before), Some(after)) = (spent_before?, spent()?) {
            figures.add(cpu, who.kind.name(), round, (after - before) * 1e6 / count);
        }
    }
    Ok(())
}

/// Adds the CPU time of a tunnel's two audit lines: the difference between our gateways in each round.
pub(crate) fn price_of_the_log(figures: &mut Figures) {
    let (ours, without) = (Kind::Ours.name(), Kind::OursNoLog.name());
    for (_, [_, cpu, price]) in CROWDS {
        for (round, difference) in figures.differences(cpu, ours, without) {
            figures.add(price, ours, round, difference);
        }
    }
}
