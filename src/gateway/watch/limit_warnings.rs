//! Warnings to the admin about a limit that is met: the source of its number, who fills it, and what helps.

use std::net::IpAddr;

use crate::failure::Failure;
use crate::gateway::limits::{Full, MORE_FILES, Places, Scope, SetBy};
use crate::gateway::watch::notices::{Notices, RateLimitKey};
use crate::text::escaped;

impl Notices {
    /// Warns that no place is left for `user` at the address `from`. `largest` tells who has most places, and how many.
    pub(crate) fn warn_full(
        &self,
        full: Full,
        from: IpAddr,
        user: Option<&str>,
        largest: impl FnOnce() -> Option<(String, usize)>,
    ) {
        if self.is_due(RateLimitKey::Full(full.places)) {
            let who = match (full.places, user) {
                (Places::Tunnels(Scope::All) | Places::Handshakes(Scope::All), _) => None,
                (Places::Tunnels(Scope::User), Some(user)) => Some(format!("the user {}", escaped(user))),
                _ => Some(format!("the client {from}")),
            };
            let largest = if who.is_none() { largest() } else { None };
            let failure = Failure::new(what(full.places, who.as_deref()))
                .cause(cause(full))
                .maybe_cause(largest.map(|(who, count)| format!("{who} has {count} of them")));
            let raise = raise(full);
            self.warn(&failure.hint(match full.places {
                Places::Tunnels(_) => self.end_some_or(&raise),
                Places::Handshakes(_) => format!(
                    "{raise}, or keep strangers out with --allow; behind a proxy, --proxy-protocol tells clients apart"
                ),
            }));
        }
    }

    /// Warns that a tunnel of `user` ends, since more than `most` wait for their clients.
    pub(crate) fn warn_too_many_parked(&self, user: &str, most: usize) {
        if self.is_due(RateLimitKey::Parked) {
            let what = format!(
                "{user} has too many tunnels that wait for their clients: the one whose client has been away longest ends"
            );
            let cause = format!("--max-parked-per-user allows {most}");
            let hint = self.end_some_or(&format!("raise --max-parked-per-user above {most}"));
            self.warn(&Failure::new(what).cause(cause).hint(hint));
        }
    }

    /// Warns that a tunnel ends, since bytes that may have to be sent again fill `mebibytes`.
    pub(crate) fn warn_replay_memory(&self, mebibytes: usize) {
        if self.is_due(RateLimitKey::ReplayMemory) {
            let what = "bytes that may have to be sent again fill their memory: the tunnel whose client has been away longest ends";
            let cause = format!("--max-replay-memory allows {mebibytes} MiB");
            let hint = format!("raise --max-replay-memory above {mebibytes}, or lower --resume-window");
            self.warn(&Failure::new(what).cause(cause).hint(hint));
        }
    }

    /// The advice to `raise` a limit. Where the gateway has an admin address, the command that lists tunnels there is first.
    fn end_some_or(&self, raise: &str) -> String {
        match self.admin() {
            Some(admin) => format!(
                "`kohakuriver vps sessions --admin {admin}` lists them, and with `--end ID` it ends one; or {raise}"
            ),
            None => raise.to_owned(),
        }
    }
}

fn what(places: Places, who: Option<&str>) -> String {
    match (places, who) {
        (Places::Tunnels(_), Some(who)) => format!("{who} has all tunnels that it may have: new ones are refused"),
        (Places::Tunnels(_), None) => "all tunnels are taken: new ones are refused".to_owned(),
        (Places::Handshakes(_), Some(who)) => {
            format!("{who} has too many connections that ask for a tunnel: its oldest makes room for each new one")
        }
        (Places::Handshakes(_), None) => {
            "too many connections ask for a tunnel: the oldest makes room for each new one".to_owned()
        }
    }
}

fn cause(full: Full) -> String {
    let (most, option) = (full.most.number, full.option());
    match full.most.set_by {
        SetBy::Option => format!("{option} allows {most}"),
        SetBy::PartOf(whole) => format!("{whole} is {most}, and {option} is not set"),
        SetBy::OpenFiles => format!("the limit of open files allows {most}"),
    }
}

fn raise(full: Full) -> String {
    match full.most.set_by {
        SetBy::OpenFiles => MORE_FILES.to_owned(),
        _ => format!("raise {} above {}", full.option(), full.most.number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::limits::Most;
    use crate::gateway::watch::notices::tests::Heard;

    #[test]
    fn a_warning_names_the_source_of_the_number_and_what_helps() {
        let from = "10.0.0.1".parse().unwrap();
        let of_user = "WARN the user bob has all tunnels that it may have: new ones are refused";
        let of_client = "WARN the client 10.0.0.1 has all tunnels that it may have: new ones are refused";
        let list = "`kohakuriver vps sessions --admin 127.0.0.1:8003` lists them, and with `--end ID` it ends one; or ";
        for (scope, set_by, expected) in [
            (
                Scope::All,
                SetBy::OpenFiles,
                format!(
                    "WARN all tunnels are taken: new ones are refused cause=\"the limit of open files allows 16: the \
                     user ann has 9 of them\" hint=\"{list}{MORE_FILES}\"\n"
                ),
            ),
            (
                Scope::Client,
                SetBy::PartOf("half of --max-tunnels"),
                format!(
                    "{of_client} cause=\"half of --max-tunnels is 16, and --max-tunnels-per-client is not set\" \
                     hint=\"{list}raise --max-tunnels-per-client above 16\"\n"
                ),
            ),
            (
                Scope::User,
                SetBy::Option,
                format!(
                    "{of_user} cause=\"--max-tunnels-per-user allows 16\" hint=\"{list}raise --max-tunnels-per-user \
                     above 16\"\n"
                ),
            ),
            (
                Scope::Client,
                SetBy::Option,
                format!(
                    "{of_client} cause=\"--max-tunnels-per-client allows 16\" hint=\"{list}raise \
                     --max-tunnels-per-client above 16\"\n"
                ),
            ),
        ] {
            let heard = Heard::default();
            let notices = Notices::to(heard.clone());
            notices.note_admin("127.0.0.1:8003".to_owned());
            let full = Full { places: Places::Tunnels(scope), most: Most { number: 16, set_by } };
            notices.warn_full(full, from, Some("bob"), || Some(("the user ann".to_owned(), 9)));
            let text = heard.text();
            assert_eq!(text.split_once("Z ").unwrap().1.trim_start(), expected);
        }
        // Without an admin address there is no command.
        let heard = Heard::default();
        Notices::to(heard.clone()).warn_too_many_parked("the user ann", 2);
        assert!(heard.text().ends_with("hint=\"raise --max-parked-per-user above 2\"\n"), "{}", heard.text());
        let heard = Heard::default();
        let notices = Notices::to(heard.clone());
        (0..2).for_each(|_| notices.warn_replay_memory(256));
        let text = heard.messages();
        assert!(text.starts_with("bytes that may have to be sent again fill their memory: "), "{text}");
        assert_eq!(text.matches("--max-replay-memory allows 256 MiB").count(), 1, "{text}");
    }
}
