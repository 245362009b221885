//! What the admin hears of a limit that is met: which option sets it, who fills it, and what helps.

use std::net::IpAddr;

use crate::failure::Failure;
use crate::gateway::limits::{Full, MORE_FILES, Places, Scope};
use crate::gateway::watch::notices::{Notices, RateLimitKey};
use crate::text::escaped;

/// The commands that show and end tunnels.
const END_SOME: &str = "`kohakuriver vps sessions` lists them and `--end ID` ends one";

impl Notices {
    /// No place is left for `user` at the address `from`. `largest` is who has most of the places, and how many.
    pub(crate) fn warn_full(
        &self,
        full: Full,
        from: IpAddr,
        user: Option<&str>,
        largest: impl FnOnce() -> Option<(String, usize)>,
    ) {
        if self.is_due(RateLimitKey::Full(full.places)) {
            self.warn(&match full.places {
                Places::Tunnels(scope) => no_tunnels(full, scope, from, user, largest),
                Places::Handshakes(scope) => no_handshakes(full, scope, from, largest),
            });
        }
    }

    /// A tunnel of `whose` ends, since more than `most` wait for their clients.
    pub(crate) fn warn_too_many_parked(&self, whose: &str, most: usize) {
        if self.is_due(RateLimitKey::Parked) {
            let what =
                format!("{whose} has too many tunnels that wait for their clients: the one that waits longest ends");
            let cause = format!("there are more than {most}, which --max-parked-per-user sets");
            let hint = format!("{END_SOME}; or raise --max-parked-per-user above {most}");
            self.warn(&Failure::new(what).cause(cause).hint(hint));
        }
    }

    /// A tunnel ends, since bytes that may have to be sent again fill `mebibytes`.
    pub(crate) fn warn_replay_memory(&self, mebibytes: usize) {
        if self.is_due(RateLimitKey::ReplayMemory) {
            let what = "bytes that may have to be sent again fill their memory: the tunnel that waits longest ends";
            let cause = format!("it has {mebibytes} MiB, which --max-replay-memory sets");
            let hint = format!("raise --max-replay-memory above {mebibytes}, or lower --resume-window");
            self.warn(&Failure::new(what).cause(cause).hint(hint));
        }
    }
}

fn no_tunnels(
    full: Full,
    scope: Scope,
    from: IpAddr,
    user: Option<&str>,
    largest: impl FnOnce() -> Option<(String, usize)>,
) -> Failure {
    let (most, option) = (full.most, full.option());
    let of_one = |who: String| {
        Failure::new(format!("{who} has all tunnels that it may have: new ones are refused"))
            .cause(format!("it has {most}, which {option} sets"))
    };
    let (failure, files) = match (scope, user) {
        (Scope::All, _) => {
            let failure = Failure::new("all tunnels are taken: new ones are refused")
                .cause(format!("there are {most}, which {option} sets"));
            (failure.maybe_cause(of_them(largest())), format!("; {MORE_FILES}"))
        }
        (Scope::User, Some(user)) => (of_one(format!("the user {}", escaped(user))), String::new()),
        _ => (of_one(format!("the client {from}")), String::new()),
    };
    failure.hint(format!("{END_SOME}; or raise {option} above {most}{files}"))
}

fn no_handshakes(full: Full, scope: Scope, from: IpAddr, largest: impl FnOnce() -> Option<(String, usize)>) -> Failure {
    let (most, option) = (full.most, full.option());
    let failure = match scope {
        Scope::All => Failure::new("too many connections ask for a tunnel: the oldest makes room for each new one")
            .cause(format!("there are {most}, which {option} sets"))
            .maybe_cause(of_them(largest())),
        _ => Failure::new(format!(
            "the client {from} has too many connections that ask for a tunnel: its oldest makes room for each new one"
        ))
        .cause(format!("it has {most}, which {option} sets")),
    };
    failure.hint(format!(
        "raise {option} above {most}, or keep strangers out with --allow; behind a proxy, --proxy-protocol tells clients apart"
    ))
}

fn of_them(largest: Option<(String, usize)>) -> Option<String> {
    largest.map(|(who, count)| format!("{who} has {count} of them"))
}
