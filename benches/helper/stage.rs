//! Where helpers are measured: the VPSes that they go to, and what is done with each helper there.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::Value;

use super::contestants::Contestant;
use super::plain::Way;
use super::ssh::Ssh;
use crate::support::figures::Figures;
use crate::support::gateway::running;
use crate::support::home::Home;
use crate::support::mover::Share;
use crate::support::sshd::Sshd;
use crate::support::turns::{Rounds, rounds, turns};
use crate::support::vps;

/// The task id of the VPS that does no cryptography.
pub(super) const PLAIN: &str = "7323718749301768192";
/// The task id of the VPS that is a real sshd.
pub(super) const SSHD: &str = "7323718749301768193";
/// How many connections are opened at once.
const CROWD: usize = 100;

/// How much is done.
pub(super) struct Effort {
    pub(super) first_byte: Rounds,
    pub(super) round_trip: Rounds,
    pub(super) memory: Rounds,
    pub(super) bulk: Rounds,
    pub(super) ssh_true: Rounds,
    pub(super) crowd: Rounds,
    pub(super) ssh_bulk: Rounds,
    pub(super) round_trips: u64,
    pub(super) bytes: u64,
    pub(super) ssh_bytes: u64,
}

impl Effort {
    pub(super) const NONE: Self = Self {
        first_byte: rounds(0, 0),
        round_trip: rounds(0, 0),
        memory: rounds(0, 0),
        bulk: rounds(0, 0),
        ssh_true: rounds(0, 0),
        crowd: rounds(0, 0),
        ssh_bulk: rounds(0, 0),
        round_trips: 0,
        bytes: 0,
        ssh_bytes: 0,
    };
}

/// The VPSes, and the helpers' home.
pub(super) struct Stage {
    pub(super) plain: SocketAddr,
    sshd: Sshd,
    home: Home,
}

impl Stage {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { plain: vps::start(Share::Equal)?, sshd: Sshd::start_with(""), home: Home::new() })
    }

    /// The VPSes as a gateway knows them.
    pub(super) fn vps(&self) -> [Value; 2] {
        [running(PLAIN, self.plain.port()), running(SSHD, self.sshd.port)]
    }

    /// Measures helpers on their way through the gateway at `proxy`: those to the VPS without cryptography, and those to
    /// the sshd. The longest part comes last.
    pub(super) fn measure(
        &self,
        effort: &Effort,
        proxy: SocketAddr,
        (plain, under_ssh): (&[Contestant], &[Contestant]),
        f: &mut Figures,
    ) -> Result<()> {
        let way = Way { proxy, home: self.home.path() };
        let ssh = Ssh::new(&self.sshd, under_ssh, &self.home, effort.ssh_bytes)?;
        turns("first byte", effort.first_byte, plain, f, |who, round, f| way.first_byte(who, round, f))?;
        turns("round trip", effort.round_trip, plain, f, |who, round, f| {
            way.round_trip(who, effort.round_trips, round, f)
        })?;
        turns("memory", effort.memory, plain, f, |who, round, f| way.memory(who, round, f))?;
        turns("bulk without crypto", effort.bulk, plain, f, |who, round, f| way.bulk(who, effort.bytes, round, f))?;
        turns("ssh host true", effort.ssh_true, under_ssh, f, |who, round, f| ssh.run_true(who, round, f))?;
        turns("many at once", effort.crowd, plain, f, |who, round, f| way.crowd(who, CROWD, round, f))?;
        turns("bulk under ssh", effort.ssh_bulk, under_ssh, f, |who, round, f| ssh.bulk(who, round, f))
    }
}
