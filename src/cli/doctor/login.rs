//! Whether the VPS takes a login, and if not, why: read from what `ssh -v` says.

use super::Check;
use super::case::Case;
use super::finding::Verdict;
use super::keys::{MAX_TRIES, word};
use super::session::Log;
use crate::failure::Failure;
use crate::ssh::options::DEFAULT_USER;

pub(super) const CHECKS: &[Check] = &[Check { name: "login", of_vps: true, examine: login }];

fn login(case: &mut Case) -> (String, Verdict) {
    let user = case.user_flag.as_deref().unwrap_or(DEFAULT_USER).to_owned();
    let tried = format!("`ssh -v` to VPS {} as {user}, asking nobody anything", case.vps_name());
    let (log, took) = match (&case.session, case.host_key, case.keys) {
        (Some(Ok(session)), true, true) => (&session.log, session.took),
        (Some(Ok(_)), true, false) => return (tried, Verdict::Skipped("there is no key that ssh can use".to_owned())),
        (Some(Ok(_)), false, _) => return (tried, Verdict::Skipped("its host key is not as it should be".to_owned())),
        _ => return (tried, Verdict::Skipped("ssh did not get that far".to_owned())),
    };
    let id = case.vps_name();
    let verdict = match judge(log, &id, &user, case.key.as_deref().map(word)) {
        Verdict::Fine(text) => Verdict::Fine(format!("{text}, all of it in {} ms", took.as_millis())),
        verdict => verdict,
    };
    case.login = matches!(verdict, Verdict::Fine(_) | Verdict::Note(_));
    (tried, verdict)
}

fn judge(log: &Log, id: &str, user: &str, key: Option<String>) -> Verdict {
    if let Some(method) = &log.authenticated {
        let with = match &log.accepted {
            Some(key) => format!("with {key}"),
            None => format!("by {method}"),
        };
        return match log.status {
            Some(0) => Verdict::Fine(format!("logged in {with}")),
            Some(status) => Verdict::Note(format!("logged in {with}, but `true` ended with {status} there")),
            None => Verdict::Note(format!("logged in {with}, but `true` did not end")),
        };
    }
    let see = format!("kohakuriver vps connect {id} --user {user} -- -v true");
    let refused = |what: String| Failure::new(what).cause(format!("ssh said: {}", log.last));
    let failure = match () {
        () if log.status.is_none() => Failure::new(format!("VPS {id} did not finish the login in time"))
            .cause("ssh had to be ended")
            .hint(format!("see where it stops: `{see}`")),
        () if log.too_many => {
            let connect = format!("kohakuriver vps connect {id} --key KEY");
            let connect = key.map_or(connect.clone(), |key| connect.replace("KEY", &key));
            refused(format!("VPS {id} hung up after too many keys that are not its own"))
                .cause(format!(
                    "{} keys were offered, and an sshd hangs up after {MAX_TRIES} unless it is told otherwise",
                    log.offered.len()
                ))
                .hint(format!("offer the right one alone: `{connect}`"))
        }
        () if log.refused_after_all => {
            let key = log.accepted.as_deref().unwrap_or("a key");
            let failure = refused(format!("VPS {id} knows your key and still lets {user} not in"))
                .cause(format!("it was ready to take {key}, and then refused its signature"));
            if user == DEFAULT_USER {
                let other = format!("kohakuriver vps connect {id} --user kohaku");
                failure
                    .cause("that is what an sshd does that has root logins disabled (`PermitRootLogin no`)")
                    .hint(format!("log in as another user, as VMs have one: `{other}`"))
            } else {
                failure.cause("the account may be locked or expired there").hint(format!("see what it says: `{see}`"))
            }
        }
        () if log.accepted.is_some() => {
            let key = log.accepted.as_deref().unwrap_or_default();
            refused(format!("VPS {id} takes your key, but nobody could sign with it"))
                .cause(format!("{key}: it is encrypted, or its agent refused"))
                .hint("give it to your agent again: `ssh-add`")
        }
        () if log.offered.is_empty() => refused(format!("VPS {id} wants a key, and there was none to offer"))
            .cause(takes(&log.methods))
            .hint(format!("name the key that it was created with: `kohakuriver vps connect {id} --key KEY`")),
        () => {
            let offered = log.offered.join("; ");
            refused(format!("VPS {id} does not take your key as {user}"))
                .cause(format!("offered was {offered}"))
                .cause(takes(&log.methods))
                .hint(format!("name the key that it was created with: `kohakuriver vps connect {id} --key KEY`"))
        }
    };
    Verdict::wrong(&failure, see)
}

fn takes(methods: &str) -> String {
    match methods {
        "" => "what it would take it did not say".to_owned(),
        "publickey" => "it takes keys alone, and no password".to_owned(),
        methods => format!("it would take: {methods}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(log: &str, user: &str) -> (String, String) {
        let log = Log { status: Some(255), ..Log::read(log) };
        let Verdict::Wrong(wrong) = judge(&log, "42", user, None) else { panic!("{log:?}") };
        assert!(!wrong.causes.is_empty() && !wrong.fix.is_empty());
        (wrong.what, wrong.command)
    }

    #[test]
    fn each_refusal_has_its_own_words_and_command() {
        let offer = "debug1: Offering public key: k ED25519 SHA256:x agent\n";
        let accept = "debug1: Server accepts key: k ED25519 SHA256:x agent\n";
        let more = "debug1: Authentications that can continue: publickey\n";
        let denied = "root@42: Permission denied (publickey).\n";
        let connect = "kohakuriver vps connect 42 --key KEY";
        for (log, user, what, command) in [
            (format!("{offer}{more}{denied}"), "root", "VPS 42 does not take your key as root", connect),
            (denied.to_owned(), "root", "VPS 42 wants a key, and there was none to offer", connect),
            (
                format!("{offer}{accept}{more}{denied}"),
                "root",
                "VPS 42 knows your key and still lets root not in",
                "kohakuriver vps connect 42 --user kohaku",
            ),
            (
                format!("{offer}{accept}{more}{denied}"),
                "u",
                "VPS 42 knows your key and still lets u not in",
                "kohakuriver vps connect 42 --user u -- -v true",
            ),
            (
                format!("{offer}{accept}{denied}"),
                "u",
                "VPS 42 takes your key, but nobody could sign with it",
                "ssh-add",
            ),
            (
                format!("{}Disconnected: Too many authentication failures\n", offer.repeat(6)),
                "u",
                "VPS 42 hung up after too many keys that are not its own",
                connect,
            ),
        ] {
            assert_eq!(wrong(&log, user), (what.to_owned(), command.to_owned()), "{log}");
        }
    }

    #[test]
    fn a_login_is_one_whatever_the_command_says() {
        let text = "Authenticated to 42 (via proxy) using \"none\".\n";
        let judged = |status| judge(&Log { status, ..Log::read(text) }, "42", "root", None);
        assert_eq!(judged(Some(0)), Verdict::Fine("logged in by none".into()));
        assert!(matches!(judged(Some(1)), Verdict::Note(text) if text.contains("ended with 1")));
    }
}
