//! The order of things: arguments, contestants, rows, report.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use kohakuriver_proxy::sys::raise_open_files;

use super::beside::beside;
use super::contestants::{Contestant, Kind};
use super::endings::endings;
use super::far_end::{self, Vps};
use super::memory::{hold, idle};
use super::setups::{price_of_the_log, setups};
use super::throughput::bulk;
use super::tls::{KINDS, Secured};
use super::{hostile, measures, resume, scale, soaking, watched};
use crate::support::figures::{Figures, Measure};
use crate::support::limits;
use crate::support::report::{Bound, Report, Target, conditions};
use crate::support::secured::Certified;
use crate::support::turns::{Rounds, rounds, turns};

/// How much is done.
struct Effort {
    throughput: Rounds,
    setups: Rounds,
    idle: Rounds,
    hold: Rounds,
    beside: Rounds,
    endings: Rounds,
    tls: Rounds,
    watched: Rounds,
    /// How long one figure is measured.
    window: Duration,
}

const FULL: Effort = Effort {
    throughput: rounds(7, 240),
    setups: rounds(7, 120),
    idle: rounds(3, 90),
    hold: rounds(1, 30),
    beside: rounds(7, 120),
    endings: rounds(1, 120),
    tls: rounds(7, 120),
    watched: rounds(7, 120),
    window: Duration::from_secs(1),
};

const QUICK: Effort = Effort {
    throughput: rounds(3, 60),
    setups: rounds(3, 30),
    idle: rounds(1, 30),
    hold: rounds(1, 30),
    beside: rounds(3, 30),
    endings: rounds(1, 60),
    tls: rounds(3, 30),
    watched: rounds(3, 60),
    window: Duration::from_millis(400),
};

/// Longest time for a whole run.
const WHOLE_RUN: Duration = Duration::from_secs(20 * 60);

/// Measures something of everybody before the VPS.
type Row = fn(&Effort, &Vps, &mut Figures) -> Result<()>;

/// The rows that can be asked for one by one.
const ROWS: [(&str, Row); 9] = [
    ("throughput", |effort, vps, figures| {
        turns("throughput", effort.throughput, &all(vps.address)?, figures, |who, round, figures| {
            bulk(who, vps.address, effort.window, round, figures)
        })
    }),
    ("setups", |effort, vps, figures| {
        let mut all = all(vps.address)?;
        all.push(Contestant::start(Kind::OursNoLog, vps.address)?);
        turns("setups", effort.setups, &all, figures, |who, round, figures| {
            setups(who, effort.window, round, figures)
        })?;
        price_of_the_log(figures);
        Ok(())
    }),
    ("idle", |effort, vps, figures| {
        turns("idle", effort.idle, &SERVERS, figures, |kind, round, figures| idle(*kind, vps.address, round, figures))
    }),
    ("hold", |effort, vps, figures| {
        turns("hold", effort.hold, &HOLD, figures, |kind, round, figures| hold(*kind, vps.address, round, figures))
    }),
    ("beside", |effort, vps, figures| {
        turns("beside", effort.beside, &all(vps.behind)?, figures, |who, round, figures| {
            beside(who, vps.behind, effort.window * 2, round, figures)
        })
    }),
    ("endings", |effort, vps, figures| {
        turns("endings", effort.endings, &SERVERS, figures, |kind, round, figures| {
            endings(*kind, vps.address, round, figures)
        })
    }),
    ("tls", |effort, vps, figures| {
        let certified = Certified::new();
        let start = |kind| Secured::start(kind, &certified, vps.address);
        turns("TLS set-ups", effort.tls, &KINDS.map(start), figures, |who, round, figures| {
            who.setups(effort.window, round, figures)
        })?;
        turns("idle TLS", effort.idle, &KINDS, figures, |kind, round, figures| start(*kind).idle(round, figures))
    }),
    ("resume", |effort, vps, figures| {
        let all: Vec<_> = RESUME.into_iter().map(|kind| Contestant::start(kind, vps.address)).collect::<Result<_>>()?;
        turns("resumable bulk", effort.throughput, &all, figures, |who, round, figures| {
            resume::bulk(who, effort.window, round, figures)
        })?;
        turns("resumable tunnels", effort.idle, &RESUME[..1], figures, |_, round, figures| {
            resume::idle(vps.address, round, figures)?;
            resume::come_back(vps.address, round, figures)?;
            resume::beside_wrong_tries(vps.address, round, figures)
        })
    }),
    ("watched", |effort, vps, figures| {
        turns("watched", effort.watched, &RESUME[..1], figures, |_, round, figures| {
            watched::watched(vps.address, effort.window * 5, round, figures)
        })
    }),
];

/// The contestants whose bulk is measured beside the bulk of resumable tunnels.
const RESUME: [Kind; 2] = [Kind::Ours, Kind::HaproxySplice];

/// Everybody but the VPS itself.
const SERVERS: [Kind; 7] =
    [Kind::Ours, Kind::Haproxy, Kind::HaproxySplice, Kind::Tinyproxy, Kind::Squid, Kind::OlderHost, Kind::Asyncio];
/// The contestants that are asked to hold as many tunnels as there can be.
const HOLD: [Kind; 2] = [Kind::Ours, Kind::Haproxy];

/// Starts everybody. What the audit log takes is seen in set-ups alone.
fn all(vps: SocketAddr) -> Result<Vec<Contestant>> {
    let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::OursNoLog);
    kinds.map(|kind| Contestant::start(kind, vps)).collect()
}

const TARGETS: [Target; 35] = {
    use Bound::{AtLeast, AtMost};
    use measures::*;
    const fn to(measure: Measure, reference: Kind, bound: Bound) -> Target {
        Target::to(measure, Kind::Ours.name(), reference.name(), bound)
    }
    const fn alone(measure: Measure, bound: Bound) -> Target {
        Target::alone(measure, Kind::Ours.name(), bound)
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
        to(SETUPS_32, Kind::Tinyproxy, AtLeast(1.35)),
        to(SETUPS_32, Kind::OlderHost, AtLeast(20.0)),
        to(SETUPS_256, Kind::Tinyproxy, AtLeast(1.35)),
        to(SETUPS_256, Kind::OlderHost, AtLeast(20.0)),
        alone(CPU_LOG_32, AtMost(8.0)),
        alone(CPU_LOG_256, AtMost(8.0)),
        to(RSS, Kind::Haproxy, AtMost(1.0)),
        alone(FAILURES, AtMost(0.0)),
        to(BESIDE_P99, Kind::Squid, AtMost(1.0)),
        to(BESIDE_BULK, Kind::Squid, AtLeast(2.0)),
        alone(DESCRIPTORS, AtMost(0.0)),
        to(TLS_FULL, Kind::Haproxy, AtLeast(1.0)),
        to(TLS_RESUMED, Kind::Haproxy, AtLeast(1.0)),
        to(TLS_RSS, Kind::Haproxy, AtMost(1.0)),
        to(RESUME_CPU_DOWN, Kind::HaproxySplice, AtMost(2.0)),
        to(RESUME_CPU_UP, Kind::HaproxySplice, AtMost(2.0)),
        alone(RESUME_RSS, AtMost(8.0)),
        alone(RESUME_LOST, AtMost(0.0)),
        alone(RESUME_BACK, AtMost(10.0)),
        alone(RESUME_OTHERS, AtMost(2.0)),
        alone(RESUME_WRONG, AtLeast(10_000.0)),
        alone(RESUME_BESIDE_WRONG, AtMost(2.0)),
        alone(WATCHED_RATIO, AtMost(1.1)),
    ]
};

/// The effort and the rows that the command line asks for.
struct Asked {
    effort: &'static Effort,
    rows: Vec<&'static (&'static str, Row)>,
}

pub(crate) fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some(far_end::NAME) => return far_end::main(),
        Some(name @ (soaking::SOAK | soaking::ATTACKS)) => return soaking::main(name),
        Some(hostile::NAME) => return hostile::main(),
        Some(scale::NAME) => return scale::main(),
        _ => {}
    }
    let asked = read_arguments()?;
    let began = Instant::now();
    // The programs that it starts inherit it.
    raise_open_files();
    let vps = Vps::start()?;
    limits::start(WHOLE_RUN, vps.ender()?)?;

    let mut figures = Figures::default();
    // Figures that were measured before an interruption, or before the time was over, are reported all the same.
    let outcome = asked.rows.iter().try_for_each(|(_, row)| row(asked.effort, &vps, &mut figures));

    let report = Report {
        figures: &figures,
        measures: &measures::ALL.concat(),
        contestants: &Kind::ALL.map(Kind::name),
        targets: &TARGETS,
        conditions: conditions(std::ptr::eq(asked.effort, &QUICK), began)?,
    };
    report.tell("gateway.json")?;
    outcome
}

fn read_arguments() -> Result<Asked> {
    let mut asked = Asked { effort: &FULL, rows: Vec::new() };
    for argument in std::env::args().skip(1) {
        match (argument.as_str(), ROWS.iter().find(|(name, _)| *name == argument)) {
            ("--quick", _) => asked.effort = &QUICK,
            // Cargo adds it.
            ("--bench", _) => {}
            (_, Some(row)) => asked.rows.push(row),
            _ => {
                bail!(
                    "unknown argument {argument:?}; there are --quick, {}, hostile, scale, and soak or attacks [SECONDS [SEED]]",
                    ROWS.map(|(name, _)| name).join(", ")
                )
            }
        }
    }
    if asked.rows.is_empty() {
        asked.rows.extend(&ROWS);
    }
    Ok(asked)
}
