//! Tunnels that survive their connection, beside the same that end with it: over TCP alone, and over TLS.

use anyhow::Result;

use super::contestants::{Contestant, Measured, Mode};
use super::measures;
use super::stage::{self, Effort, SSHD, Stage};
use super::tls::{PLAIN, TLS};
use crate::support::figures::Figures;
use crate::support::ours::helper;
use crate::support::report::{Bound, Target};
use crate::support::secured::Certified;
use crate::support::turns::rounds;

/// A tunnel that survives its connection.
const RESUMABLE: &str = "resumable";
const TLS_RESUMABLE: &str = "tls resumable";

/// All of them, in the order of the table.
const NAMES: [&str; 4] = [PLAIN, RESUMABLE, TLS, TLS_RESUMABLE];

const FULL: Effort = Effort {
    first_byte: rounds(100, 40),
    round_trip: rounds(25, 80),
    memory: rounds(3, 10),
    bulk: rounds(7, 90),
    ssh_bulk: rounds(15, 240),
    round_trips: 2000,
    bytes: 512 << 20,
    ssh_bytes: 192 << 20,
    ..Effort::NONE
};

const QUICK: Effort = Effort {
    first_byte: rounds(30, 10),
    round_trip: rounds(3, 10),
    memory: rounds(1, 5),
    bulk: rounds(3, 30),
    ssh_bulk: rounds(3, 40),
    round_trips: 1000,
    bytes: 256 << 20,
    ssh_bytes: 128 << 20,
    ..Effort::NONE
};

const TARGETS: [Target; 12] = {
    use Bound::{AtLeast, AtMost};
    use measures::*;
    [
        Target::to(SSH_CPU_UP, RESUMABLE, PLAIN, AtMost(1.3)),
        Target::to(SSH_CPU_DOWN, RESUMABLE, PLAIN, AtMost(1.3)),
        Target::to(SSH_CPU_UP, TLS_RESUMABLE, TLS, AtMost(1.3)),
        Target::to(SSH_CPU_DOWN, TLS_RESUMABLE, TLS, AtMost(1.3)),
        Target::to(SSH_BULK_UP, RESUMABLE, PLAIN, AtLeast(0.9)),
        Target::to(SSH_BULK_DOWN, RESUMABLE, PLAIN, AtLeast(0.9)),
        Target::to(SSH_BULK_UP, TLS_RESUMABLE, TLS, AtLeast(0.9)),
        Target::to(SSH_BULK_DOWN, TLS_RESUMABLE, TLS, AtLeast(0.9)),
        Target::to(ROUND_TRIP, RESUMABLE, PLAIN, AtMost(1.1)),
        Target::to(ROUND_TRIP, TLS_RESUMABLE, TLS, AtMost(1.1)),
        Target::alone(RSS, RESUMABLE, AtMost(4.0)),
        Target::alone(RSS, TLS_RESUMABLE, AtMost(4.0)),
    ]
};

pub(super) fn measure(is_quick: bool, figures: &mut Figures) -> Result<Measured> {
    let (stage, certified) = (Stage::new()?, Certified::new());
    let (gateway, tls) = certified.gateway(&stage.vps(), &[]);
    let ours = |vps: &'static str| {
        let plain = format!("--proxy {} {vps} 22", gateway.address);
        let secured = format!("--proxy https://localhost:{} --ca-file {} {vps} 22", tls.port(), certified.ca.display());
        [(PLAIN, "--no-resume", &plain), (RESUMABLE, "--resume", &plain), (TLS, "--no-resume", &secured)]
            .into_iter()
            .chain([(TLS_RESUMABLE, "--resume", &secured)])
            .map(|(name, how, way)| Contestant::new(name, Mode::Stdio, vps, helper().into(), &format!("{how} {way}")))
            .collect::<Vec<_>>()
    };
    let effort = if is_quick { &QUICK } else { &FULL };
    let outcome = stage.measure(effort, gateway.address, (&ours(stage::PLAIN), &ours(SSHD)), figures);
    Ok((NAMES.to_vec(), &TARGETS, outcome))
}
