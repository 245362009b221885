//! Our helper beside what people use today.

use anyhow::Result;

use super::contestants::{self, DIRECT, FDPASS, Measured, NC, STDIO};
use super::measures;
use super::stage::{Effort, PLAIN, SSHD, Stage};
use crate::support::figures::{Figures, MIB};
use crate::support::gateway::{Gateway, inventory};
use crate::support::ours::helper;
use crate::support::report::{Bound, Target};
use crate::support::turns::rounds;

const FULL: Effort = Effort {
    first_byte: rounds(200, 40),
    round_trip: rounds(5, 25),
    // It hardly changes.
    memory: rounds(5, 10),
    // Bytes in pipes go at one of two speeds, by which programs share a processor: a few rounds may all meet the same one.
    bulk: rounds(31, 130),
    ssh_true: rounds(30, 80),
    crowd: rounds(10, 60),
    ssh_bulk: rounds(7, 120),
    round_trips: 4000,
    bytes: 256 << 20,
    ssh_bytes: 192 << 20,
};

const QUICK: Effort = Effort {
    first_byte: rounds(30, 5),
    round_trip: rounds(3, 5),
    memory: rounds(5, 10),
    bulk: rounds(3, 15),
    ssh_true: rounds(5, 10),
    crowd: rounds(1, 5),
    ssh_bulk: rounds(3, 30),
    round_trips: 1000,
    bytes: 256 << 20,
    ssh_bytes: 128 << 20,
};

const TARGETS: [Target; 20] = {
    use Bound::{AtLeast, AtMost};
    use measures::*;
    [
        Target::to(SSH_BULK_UP, FDPASS, DIRECT, AtLeast(0.92)),
        Target::to(SSH_BULK_DOWN, FDPASS, DIRECT, AtLeast(1.0)),
        Target::to(SSH_CPU_UP, FDPASS, DIRECT, AtMost(1.0)),
        Target::to(SSH_CPU_DOWN, FDPASS, DIRECT, AtMost(1.0)),
        Target::to(SSH_BULK_UP, STDIO, NC, AtLeast(1.2)),
        Target::to(SSH_BULK_DOWN, STDIO, NC, AtLeast(1.15)),
        Target::to(PLAIN_CPU_UP, STDIO, NC, AtMost(0.3)),
        Target::to(PLAIN_CPU_DOWN, STDIO, NC, AtMost(0.25)),
        Target::to(PLAIN_UP, STDIO, NC, AtLeast(1.7)),
        Target::to(PLAIN_DOWN, STDIO, NC, AtLeast(2.5)),
        Target::to(FIRST_BYTE, STDIO, NC, AtMost(0.7)),
        Target::to(FIRST_BYTE, FDPASS, NC, AtMost(0.7)),
        Target::to(SSH_TRUE, STDIO, DIRECT, AtMost(0.75)),
        Target::to(SSH_TRUE, FDPASS, DIRECT, AtMost(0.75)),
        Target::to(ROUND_TRIP, STDIO, NC, AtMost(1.0)),
        Target::to(ROUND_TRIP, FDPASS, NC, AtMost(0.8)),
        Target::alone(RSS, STDIO, AtMost(2.5)),
        Target::alone(BINARY_SIZE, STDIO, AtMost(1.25)),
        Target::alone(FAILURES, STDIO, AtMost(0.0)),
        Target::alone(FAILURES, FDPASS, AtMost(0.0)),
    ]
};

pub(super) fn measure(is_quick: bool, figures: &mut Figures) -> Result<Measured> {
    let stage = Stage::new()?;
    let gateway = Gateway::with_inventory(&inventory(&stage.vps()));
    let (plain, missing) = contestants::all(gateway.address, PLAIN);
    let (under_ssh, _) = contestants::all(gateway.address, SSHD);
    missing.iter().for_each(|name| figures.note(format!("{name} is not installed, so it is not measured")));
    figures.add(measures::BINARY_SIZE, STDIO, 0, std::fs::metadata(helper())?.len() as f64 / MIB);
    let effort = if is_quick { &QUICK } else { &FULL };
    let outcome = stage.measure(effort, gateway.address, (&plain, &under_ssh), figures);
    Ok((plain.iter().map(|who| who.name).collect(), &TARGETS, outcome))
}
