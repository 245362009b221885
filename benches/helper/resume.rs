//! Tunnels that survive their connection, beside the same that end with it: over TCP alone, and over TLS.

use anyhow::Result;

use super::child;
use super::contestants::{Contestant, Mode};
use super::measures;
use super::plain::Way;
use super::ssh::Ssh;
use super::tls::{PLAIN, RESUMABLE, TLS, TLS_RESUMABLE};
use crate::support::figures::{Figures, Measure};
use crate::support::gateway::running;
use crate::support::home::Home;
use crate::support::mover::Share;
use crate::support::ours::helper;
use crate::support::report::{Bound, Target};
use crate::support::secured::Certified;
use crate::support::sshd::Sshd;
use crate::support::turns::{Rounds, rounds, turns};
use crate::support::vps;

/// The name of these rows.
pub(crate) const NAME: &str = "resume";

/// All of them, in the order of the table.
pub(crate) const NAMES: [&str; 4] = [PLAIN, RESUMABLE, TLS, TLS_RESUMABLE];

/// The VPS that does no cryptography, and the one that is a real sshd.
const VPS: &str = "7323718749301768192";
const SSHD: &str = "7323718749301768193";

/// How much is done.
pub(crate) struct Effort {
    first_byte: Rounds,
    round_trip: Rounds,
    memory: Rounds,
    bulk: Rounds,
    ssh_bulk: Rounds,
    round_trips: u64,
    bytes: u64,
    ssh_bytes: u64,
}

pub(crate) const FULL: Effort = Effort {
    first_byte: rounds(100, 40),
    round_trip: rounds(25, 80),
    memory: rounds(3, 10),
    bulk: rounds(7, 90),
    ssh_bulk: rounds(15, 240),
    round_trips: 2000,
    bytes: 512 << 20,
    ssh_bytes: 192 << 20,
};

pub(crate) const QUICK: Effort = Effort {
    first_byte: rounds(30, 10),
    round_trip: rounds(3, 10),
    memory: rounds(1, 5),
    bulk: rounds(3, 30),
    ssh_bulk: rounds(3, 40),
    round_trips: 1000,
    bytes: 256 << 20,
    ssh_bytes: 128 << 20,
};

pub(crate) const TARGETS: [Target; 12] = {
    use Bound::{AtLeast, AtMost};
    use measures::*;
    const fn to(measure: Measure, contestant: &'static str, reference: &'static str, bound: Bound) -> Target {
        Target { measure, contestant, reference: Some(reference), bound }
    }
    const fn alone(measure: Measure, contestant: &'static str, most: f64) -> Target {
        Target { measure, contestant, reference: None, bound: AtMost(most) }
    }
    [
        to(SSH_CPU_UP, RESUMABLE, PLAIN, AtMost(1.3)),
        to(SSH_CPU_DOWN, RESUMABLE, PLAIN, AtMost(1.3)),
        to(SSH_CPU_UP, TLS_RESUMABLE, TLS, AtMost(1.3)),
        to(SSH_CPU_DOWN, TLS_RESUMABLE, TLS, AtMost(1.3)),
        to(SSH_BULK_UP, RESUMABLE, PLAIN, AtLeast(0.9)),
        to(SSH_BULK_DOWN, RESUMABLE, PLAIN, AtLeast(0.9)),
        to(SSH_BULK_UP, TLS_RESUMABLE, TLS, AtLeast(0.9)),
        to(SSH_BULK_DOWN, TLS_RESUMABLE, TLS, AtLeast(0.9)),
        to(ROUND_TRIP, RESUMABLE, PLAIN, AtMost(1.1)),
        to(ROUND_TRIP, TLS_RESUMABLE, TLS, AtMost(1.1)),
        alone(RSS, RESUMABLE, 4.0),
        alone(RSS, TLS_RESUMABLE, 4.0),
    ]
};

/// Measures all of it.
pub(crate) fn measure(effort: &Effort, figures: &mut Figures) -> Result<()> {
    let (sshd, home, certified) = (Sshd::start(), Home::new(), Certified::new());
    let vps = vps::start(Share::Equal)?;
    let (gateway, tls) = certified.gateway(&[running(VPS, vps.port()), running(SSHD, sshd.port)], &[]);
    let ours = |vps: &'static str| {
        let plain = format!("--proxy {} {vps} 22", gateway.address);
        let secured = format!("--proxy https://localhost:{} --ca-file {} {vps} 22", tls.port(), certified.ca.display());
        [(PLAIN, "--no-resume", &plain), (RESUMABLE, "--resume", &plain), (TLS, "--no-resume", &secured)]
            .into_iter()
            .chain([(TLS_RESUMABLE, "--resume", &secured)])
            .map(|(name, how, way)| Contestant::new(name, Mode::Stdio, vps, helper().into(), &format!("{how} {way}")))
            .collect::<Vec<_>>()
    };
    let way = Way { proxy: gateway.address, home: home.path() };
    let everybody = ours(VPS);
    turns("first byte", effort.first_byte, &everybody, figures, |who, round, f| way.first_byte(who, round, f))?;
    turns("round trip", effort.round_trip, &everybody, figures, |who, round, f| {
        way.round_trip(who, effort.round_trips, round, f)
    })?;
    turns("memory", effort.memory, &everybody, figures, |who, round, f| way.memory(who, round, f))?;
    turns("bulk without crypto of ssh", effort.bulk, &everybody, figures, |who, round, f| {
        way.bulk_up(who, effort.bytes, round, f)?;
        way.bulk_down(who, effort.bytes, round, f)?;
        child::reap_carriers()
    })?;
    let under_ssh = ours(SSHD);
    let ssh = Ssh::new(&sshd, &under_ssh, &home, effort.ssh_bytes)?;
    turns("bulk under ssh", effort.ssh_bulk, &under_ssh, figures, |who, round, f| {
        ssh.bulk_up(who, round, f)?;
        ssh.bulk_down(who, round, f)
    })
}
