//! How much of the gateway one client, one user, and all of them together may hold.
//!
//! | limit | counts | beyond it, a newcomer |
//! |---|---|---|
//! | tunnels | tunnels in all, from the dial on | is refused |
//! | tunnels per client, per user | the same, for one of them | is refused |
//! | handshakes, in all and per client | connections without a tunnel | replaces the oldest that is silent |
//! | heads | seconds, bytes and fields of one request | is refused |
//! | parked tunnels per user, replay memory | tunnels whose clients are away, and their bytes | ends the tunnel whose client has been away longest |
//! | turns | questions to the Host and to the resolver at once, each client's part of them | waits |
//!
//! A client is an IPv4 address or an IPv6 network of 64 bits. [`Limits::all`] gives the counts at any time.
//!
//! This room knows no other room of the gateway. Metrics ask it; it doesn't know them.

mod attempts;
mod client;
mod full;
mod handshakes;
mod heads;
mod limit;
mod open_files;
mod parked;
mod tunnels;
mod turns;

use std::sync::Arc;
use std::time::Duration;

pub(super) use attempts::Attempts;
pub(super) use client::Client;
pub(super) use full::{Full, Places, Scope};
pub(super) use handshakes::{Handshake, Handshakes};
pub(super) use heads::Heads;
pub(super) use limit::{Most, SetBy, Shown};
pub(super) use open_files::MORE_FILES;
pub(super) use parked::{Parked, Whose};
pub(super) use tunnels::{Permit, Tunnels};
pub(super) use turns::{Turn, Turns};

use crate::handshake::request::MaxSize;

/// The part of the tunnels that one client may hold by default: enough for an office behind one address, but not all.
const CLIENTS_PART: u32 = 2;
/// The part of the tunnels that one user may hold by default.
const USERS_PART: u32 = 4;

/// How often one client may fail to continue a tunnel in one minute. A whole office may have lost its tunnels with one
/// gateway, and each of its clients has to read the reason.
const FAILED_RESUMPTIONS: u32 = 1000;

/// The limits that the command line asks for; `None` stands for a part of the whole.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Carry at most this many tunnels at once; the limit of open files may allow fewer
    #[arg(long = "max-tunnels", value_name = "N", default_value_t = 4096,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) tunnels: u32,

    /// Carry at most this many for one client address (of IPv6: one /64) [default: half of --max-tunnels]
    #[arg(long = "max-tunnels-per-client", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) tunnels_per_client: Option<u32>,

    /// Carry at most this many for one user of the Host [default: a quarter of --max-tunnels]
    #[arg(long = "max-tunnels-per-user", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) tunnels_per_user: Option<u32>,

    /// Keep at most this many connections without a tunnel; beyond that, the oldest silent one is dropped
    #[arg(long = "max-handshakes", value_name = "N", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) handshakes: u32,

    /// Keep at most this many of them for one client address [default: half of --max-handshakes]
    #[arg(long = "max-handshakes-per-client", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) handshakes_per_client: Option<u32>,

    /// Give a client this many seconds for its request, from 1 to 300
    // Older Hosts have always given 10 s.
    #[arg(long = "head-timeout", value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=300))]
    pub(crate) head_seconds: u32,

    /// Take requests of at most this many bytes, from 1024 to 65536
    #[arg(long = "max-head-bytes", value_name = "N", default_value_t = MaxSize::DEFAULT.bytes as u32,
          value_parser = clap::value_parser!(u32).range(1024..=65_536))]
    pub(crate) head_bytes: u32,

    /// Take requests with at most this many fields, from 10 to 1000
    #[arg(long = "max-head-fields", value_name = "N", default_value_t = MaxSize::DEFAULT.fields as u32,
          value_parser = clap::value_parser!(u32).range(10..=1000))]
    pub(crate) head_fields: u32,

    /// Keep a tunnel for this many seconds whose client has lost its connection; 0 lets no tunnel be resumed
    #[arg(long, value_name = "SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u32).range(..=86_400))]
    pub(crate) resume_window: u32,

    /// Keep at most this many such tunnels for one user; beyond that, the one whose client has been away longest ends
    #[arg(long = "max-parked-per-user", value_name = "N", default_value_t = 32,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) parked_per_user: u32,

    /// Keep at most this many MiB for bytes that may have to be sent again; beyond that, the tunnel whose client has been away longest ends
    #[arg(long = "max-replay-memory", value_name = "MIB", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub(crate) replay_mebibytes: u32,
}

/// The limits in force, and how much of each is used.
pub(crate) struct Limits {
    pub(super) tunnels: Arc<Tunnels>,
    pub(super) handshakes: Arc<Handshakes>,
    pub(super) heads: Heads,
    pub(super) parked: Arc<Parked>,
    /// How often one client may fail to continue a tunnel.
    pub(super) failed_resumptions: Attempts,
}

impl Limits {
    /// The limits that are `wanted`, lowered to what this number of open files allows (`None`: unlimited).
    pub(crate) fn new(wanted: &Wanted, has_tls: bool, open_files: Option<u64>) -> Self {
        // A handshake of a TLS port takes two: its socket, and a duplicate on the event loop.
        let files = if has_tls { 2 } else { 1 };
        let handshakes = open_files::handshakes(wanted.handshakes, files, open_files);
        let most = open_files::tunnels(wanted.tunnels, files * u64::from(handshakes), open_files);
        let in_all = |fit: u32, wanted: u32| {
            let set_by = if fit < wanted { SetBy::OpenFiles } else { SetBy::Option };
            Most { number: fit as usize, set_by }
        };
        let part = |asked: Option<u32>, whole: u32, part: u32, name| {
            let set_by = if asked.is_some() { SetBy::Option } else { SetBy::PartOf(name) };
            Most { number: asked.unwrap_or(whole / part).clamp(1, whole) as usize, set_by }
        };
        let per_client = part(wanted.tunnels_per_client, most, CLIENTS_PART, "half of --max-tunnels");
        let per_user = part(wanted.tunnels_per_user, most, USERS_PART, "a quarter of --max-tunnels");
        let of_client = part(wanted.handshakes_per_client, handshakes, CLIENTS_PART, "half of --max-handshakes");
        Self {
            tunnels: Arc::new(Tunnels::new(in_all(most, wanted.tunnels), per_client, per_user)),
            handshakes: Arc::new(Handshakes::new(in_all(handshakes, wanted.handshakes), of_client)),
            heads: Heads::new(
                Duration::from_secs(wanted.head_seconds.into()),
                MaxSize { bytes: wanted.head_bytes as usize, fields: wanted.head_fields as usize },
            ),
            failed_resumptions: Attempts::new(FAILED_RESUMPTIONS),
            parked: Arc::new(Parked::new(
                Duration::from_secs(wanted.resume_window.into()),
                wanted.parked_per_user as usize,
                wanted.replay_mebibytes as usize * 1024 * 1024,
            )),
        }
    }

    /// Each limit, and how much of it is used.
    pub(crate) fn all(&self) -> impl Iterator<Item = Shown> {
        let of_connections = self.tunnels.limits().into_iter().chain(self.handshakes.limits());
        of_connections.chain(self.heads.limits()).chain(self.parked.limits())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use clap::{Args as _, FromArgMatches as _};
    use std::net::IpAddr;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    impl Default for Wanted {
        fn default() -> Self {
            let command = Self::augment_args(clap::Command::new("gateway"));
            Self::from_arg_matches(&command.get_matches_from(["gateway"])).unwrap()
        }
    }

    impl Limits {
        /// The limits that are `wanted`.
        pub(crate) fn of(wanted: &Wanted) -> Self {
            Self::new(wanted, false, None)
        }
    }

    pub(crate) fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Polls a future once.
    pub(crate) fn poll<T>(future: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Option<T> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    /// A permit for a tunnel.
    pub(crate) fn permit() -> Permit {
        let limits = Limits::of(&Wanted::default());
        limits.tunnels.admit(IpAddr::from([127, 0, 0, 1]), None).unwrap()
    }

    #[test]
    fn each_limit_knows_the_source_of_its_number() {
        let sources = |wanted: &Wanted, open_files| {
            let limits = Limits::new(wanted, false, open_files);
            let client = "10.0.0.1".parse().unwrap();
            let mut held = Vec::new();
            let full = loop {
                match limits.tunnels.admit(client, None) {
                    Ok(permit) => held.push(permit),
                    Err(full) => break full,
                }
            };
            (full.option(), full.most.set_by, full.most.number)
        };
        let of_all = Wanted { tunnels_per_client: Some(64), ..Wanted::default() };
        assert_eq!(sources(&of_all, Some(64)), ("--max-tunnels", SetBy::OpenFiles, 16));
        let few = Wanted { tunnels: 4, ..Wanted::default() };
        let half = SetBy::PartOf("half of --max-tunnels");
        assert_eq!(sources(&few, None), ("--max-tunnels-per-client", half, 2));
        let set = Wanted { tunnels_per_client: Some(3), ..few };
        assert_eq!(sources(&set, None), ("--max-tunnels-per-client", SetBy::Option, 3));
        let all = Wanted { tunnels_per_client: Some(4), ..few };
        assert_eq!(sources(&all, None), ("--max-tunnels", SetBy::Option, 4));
    }

    #[test]
    fn parts_of_the_whole() {
        let wanted = Wanted::default();
        let of = |wanted: &Wanted, files| {
            let limits = Limits::new(wanted, false, files);
            limits.all().take(5).map(|limit| limit.most).collect::<Vec<_>>()
        };
        assert_eq!(of(&wanted, None), [4096, 2048, 1024, 1024, 512]);
        assert_eq!(of(&Wanted { tunnels: 1, ..wanted }, None), [1, 1, 1, 1024, 512]);
        let all = Wanted { tunnels_per_client: Some(5000), tunnels_per_user: Some(2), ..wanted };
        assert_eq!(of(&all, None), [4096, 4096, 2, 1024, 512]);
        assert_eq!(of(&wanted, Some(1024)), [256, 128, 64, 256, 128]);
    }

    #[test]
    fn each_kind_has_a_limit_a_use_and_a_count_of_its_own() {
        let wanted = Wanted {
            tunnels: 5,
            tunnels_per_client: Some(3),
            tunnels_per_user: Some(2),
            handshakes: 4,
            handshakes_per_client: Some(3),
            ..Wanted::default()
        };
        let limits = Limits::of(&wanted);
        let counts = || limits.all().map(|limit| (limit.used, limit.met)).take(5).unzip::<_, _, Vec<_>, Vec<_>>();
        let names = ["tunnels", "tunnels-per-client", "tunnels-per-user", "handshakes", "handshakes-per-client"];
        let shown: Vec<_> = limits.all().map(|limit| (limit.name, limit.most)).collect();
        assert_eq!(shown[..5], names.into_iter().zip([5, 3, 2, 4, 3]).collect::<Vec<_>>());
        let ip = |last| IpAddr::from([10, 0, 0, last]);
        let tunnel = |last, user: &str| limits.tunnels.admit(ip(last), Some(user.into()));
        let _tunnels = [tunnel(1, "a"), tunnel(1, "a"), tunnel(1, "b"), tunnel(2, "c")].map(Result::unwrap);
        let mut handshakes = [1, 1, 2].map(|last| limits.handshakes.enter(Some(ip(last))).unwrap());
        assert_eq!(counts().0, [4, 3, 2, 3, 2].map(Some));
        assert!(tunnel(1, "c").is_err() && tunnel(2, "a").is_err() && tunnel(3, "a").is_err());
        handshakes[0].note_request(ip(1)).unwrap();
        let _more = [1, 1].map(|last| limits.handshakes.enter(Some(ip(last))).unwrap());
        assert_eq!(counts().1, [0, 1, 2, 0, 1]);
    }
}
