//! How much of the gateway one client, one user, and all of them together may hold.
//!
//! | limit | counts | who comes beyond it |
//! |---|---|---|
//! | tunnels | tunnels in all, from the dial on | is refused |
//! | tunnels of a client, of a user | the same, of one of them | is refused |
//! | handshakes, in all and of a client | connections without a tunnel | takes the place of the oldest that says nothing |
//! | heads | seconds, bytes and fields of one request | is refused |
//!
//! A client is an address, and over IPv6 a network of 64 bits, which is what one customer has at least. What is counted
//! can be read at any time ([`Limits::used`], [`Limits::refused`]).

mod handshakes;
mod heads;
mod open_files;
mod tunnels;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(super) use handshakes::{Handshake, Handshakes};
pub(super) use heads::{DEFAULT_HEAD_SECONDS, Heads};
pub(super) use open_files::raise_open_files;
pub(super) use tunnels::{Permit, Tunnels};

use crate::gateway::watch::metrics::Metrics;
use crate::handshake::request::MaxSize;

/// Most tunnels at once, when nothing else is asked for.
pub(super) const DEFAULT_MAX_TUNNELS: u32 = 4096;
/// Most handshakes at once, when nothing else is asked for.
pub(super) const DEFAULT_MAX_HANDSHAKES: u32 = 1024;
/// The part of the tunnels that one client may hold, when nothing else is asked for: an office behind one address, but
/// not all of them.
const CLIENTS_PART: u32 = 2;
/// The same for one user.
const USERS_PART: u32 = 4;

/// What an admin can do when the limit of open files is in the way.
pub(super) const MORE_FILES: &str =
    "raise its limit of open files: `LimitNOFILE=` in its systemd unit, `ulimit -n` in a shell";

/// What is limited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Tunnels in all.
    Tunnels,
    /// Tunnels of one client.
    TunnelsPerClient,
    /// Tunnels of one user.
    TunnelsPerUser,
    /// Handshakes in all.
    Handshakes,
    /// Handshakes of one client.
    HandshakesPerClient,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 5] =
        [Self::Tunnels, Self::TunnelsPerClient, Self::TunnelsPerUser, Self::Handshakes, Self::HandshakesPerClient];

    /// As it is called wherever it is shown.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tunnels => "tunnels",
            Self::TunnelsPerClient => "tunnels-per-client",
            Self::TunnelsPerUser => "tunnels-per-user",
            Self::Handshakes => "handshakes",
            Self::HandshakesPerClient => "handshakes-per-client",
        }
    }
}

/// What the command line asks for; `None` stands for a part of the whole.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// `--max-tunnels`
    pub tunnels: u32,
    /// `--max-tunnels-per-client`
    pub tunnels_per_client: Option<u32>,
    /// `--max-tunnels-per-user`
    pub tunnels_per_user: Option<u32>,
    /// `--max-handshakes`
    pub handshakes: u32,
    /// `--max-handshakes-per-client`
    pub handshakes_per_client: Option<u32>,
    /// `--head-timeout`
    pub head_time: Duration,
    /// `--max-head-bytes`, `--max-head-fields`
    pub head_size: MaxSize,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            tunnels: DEFAULT_MAX_TUNNELS,
            tunnels_per_client: None,
            tunnels_per_user: None,
            handshakes: DEFAULT_MAX_HANDSHAKES,
            handshakes_per_client: None,
            head_time: Duration::from_secs(DEFAULT_HEAD_SECONDS.into()),
            head_size: MaxSize::DEFAULT,
        }
    }
}

/// The limits in force, and how far they are used.
pub struct Limits {
    pub(super) tunnels: Arc<Tunnels>,
    pub(super) handshakes: Arc<Handshakes>,
    pub(super) heads: Heads,
}

impl Limits {
    /// What is `wanted`, as far as so many open files allow it (`None`: any number).
    pub fn new(wanted: &Wanted, open_files: Option<u64>) -> Self {
        let handshakes = open_files::handshakes(wanted.handshakes, open_files);
        let most = open_files::tunnels(wanted.tunnels, handshakes, open_files);
        let part = |asked: Option<u32>, part: u32| asked.unwrap_or(most / part).clamp(1, most);
        let per_client = part(wanted.tunnels_per_client, CLIENTS_PART);
        let per_user = part(wanted.tunnels_per_user, USERS_PART);
        let of_client = wanted.handshakes_per_client.unwrap_or(handshakes / CLIENTS_PART).clamp(1, handshakes);
        Self {
            tunnels: Arc::new(Tunnels::new(most as usize, per_client as usize, per_user as usize)),
            handshakes: Arc::new(Handshakes::new(handshakes as usize, of_client as usize)),
            heads: Heads::new(wanted.head_time, wanted.head_size),
        }
    }

    /// The limit itself.
    pub(super) fn most(&self, kind: Kind) -> usize {
        match kind {
            Kind::Tunnels => self.tunnels.most,
            Kind::TunnelsPerClient => self.tunnels.most_per_client,
            Kind::TunnelsPerUser => self.tunnels.most_per_user,
            Kind::Handshakes => self.handshakes.most,
            Kind::HandshakesPerClient => self.handshakes.most_per_client,
        }
    }

    /// How much of it is used now; of a limit for each client or user the most that any of them uses.
    pub(super) fn used(&self, kind: Kind) -> usize {
        match kind {
            Kind::Tunnels | Kind::TunnelsPerClient | Kind::TunnelsPerUser => self.tunnels.used(kind),
            Kind::Handshakes | Kind::HandshakesPerClient => self.handshakes.used(kind),
        }
    }

    /// How many connections were refused, or dropped for another, because of it so far.
    pub(super) fn refused(&self, kind: Kind) -> u64 {
        let counts = match kind {
            Kind::Tunnels | Kind::TunnelsPerClient | Kind::TunnelsPerUser => &self.tunnels.refused,
            Kind::Handshakes | Kind::HandshakesPerClient => &self.handshakes.refused,
        };
        counts.of(kind).load(Ordering::Relaxed)
    }
}

/// Shows all of them among the `metrics`.
pub(super) fn show(limits: &Arc<Limits>, metrics: &Metrics) {
    for kind in Kind::ALL {
        let (of_used, of_refused) = (Arc::clone(limits), Arc::clone(limits));
        let (used, refused) = (move || of_used.used(kind) as u64, move || of_refused.refused(kind));
        metrics.limits.show(kind.name(), limits.most(kind) as u64, used, refused);
    }
    for (name, most, place) in limits.heads.all() {
        let limits = Arc::clone(limits);
        metrics.limits.show_of_each(name, most, move || limits.heads.met(place));
    }
}

/// A count for each [`Kind`].
#[derive(Default)]
pub(super) struct Counts([AtomicU64; Kind::ALL.len()]);

impl Counts {
    fn of(&self, kind: Kind) -> &AtomicU64 {
        &self.0[kind as usize]
    }

    fn count(&self, kind: Kind) {
        self.of(kind).fetch_add(1, Ordering::Relaxed);
    }
}

/// Whom an address counts for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Client(IpAddr);

impl Client {
    pub(super) fn of(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
            v4 => v4,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The right to some tunnel.
    pub(crate) fn permit() -> Permit {
        let limits = Limits::new(&Wanted::default(), None);
        limits.tunnels.admit(IpAddr::from([127, 0, 0, 1]), None).unwrap()
    }

    #[test]
    fn whom_an_address_counts_for() {
        let same = |a: &str, b: &str| Client::of(a.parse().unwrap()) == Client::of(b.parse().unwrap());
        assert!(same("10.0.0.1", "::ffff:10.0.0.1") && !same("10.0.0.1", "10.0.0.2"));
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9") && !same("2001:db8:1:2::1", "2001:db8:1:3::1"));
    }

    #[test]
    fn parts_of_the_whole() {
        let wanted = Wanted::default();
        let of = |wanted: &Wanted, files| {
            let limits = Limits::new(wanted, files);
            Kind::ALL.map(|kind| limits.most(kind))
        };
        assert_eq!(of(&wanted, None), [4096, 2048, 1024, 1024, 512]);
        assert_eq!(of(&Wanted { tunnels: 1, ..wanted }, None), [1, 1, 1, 1024, 512]);
        let all = Wanted { tunnels_per_client: Some(5000), tunnels_per_user: Some(2), ..wanted };
        assert_eq!(of(&all, None), [4096, 4096, 2, 1024, 512]);
        assert_eq!(of(&wanted, Some(1024)), [256, 128, 64, 256, 128]);
    }

    #[test]
    fn kinds_are_numbered_in_their_order() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index, "{}", kind.name());
        }
    }
}
