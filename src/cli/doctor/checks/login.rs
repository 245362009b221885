//! Whether the VPS accepts a login, and if not, why: taken from the output of `ssh -v`.

use super::keys::{MAX_TRIES, Usable};
use crate::cli::doctor::check::{Check, Examined, Given};
use crate::cli::doctor::finding::Verdict;
use crate::cli::doctor::own_config::OwnConfig;
use crate::cli::doctor::session::{LOGIN_LIMIT, Session};
use crate::cli::doctor::ssh_log::SshLog;
use crate::cli::doctor::subject::Subject;
use crate::failure::Failure;
use crate::ssh::options::DEFAULT_USER;
use crate::ssh::quote::shown_word;

pub(super) struct Login<'a> {
    pub(super) subject: &'a Subject,
    /// The VPS, for messages.
    pub(super) name: &'a str,
    pub(super) session: &'a Given<Session>,
    pub(super) keys: &'a Given<Usable>,
    pub(super) config: &'a Given<OwnConfig>,
}

impl Check for Login<'_> {
    const NAME: &'static str = "login";
    const NEEDS_VPS: bool = true;
    type Gives = ();

    fn tried(&self) -> String {
        format!("`ssh -v` to VPS {} as {}, without questions", self.name, self.subject.login())
    }

    fn examine(&self) -> Result<Examined<()>, Verdict> {
        let (session, keys) = (self.session.as_ref()?, self.keys.as_ref()?);
        let key = keys.own.as_deref().map(shown_word);
        let verdict = match judge(&session.log, self.name, self.subject.login(), key) {
            Verdict::Fine(text) => Verdict::Fine(format!("{text}, within {} ms", session.took.as_millis())),
            note @ Verdict::Note(_) => note,
            verdict => {
                let connect = self.subject.connect(self.name);
                return Err(session.problem_of(self.config, &connect, verdict.text()).unwrap_or(verdict));
            }
        };
        Ok(Examined::giving(verdict, ()))
    }
}

/// The verdict on a login by the log of ssh. Pure.
fn judge(log: &SshLog, id: &str, user: &str, key: Option<String>) -> Verdict {
    let Some(method) = &log.authenticated else {
        let see = format!("kohakuriver vps connect {id} --user {user} -- -v true");
        return Verdict::wrong(&refusal(log, id, user, key, &see), see);
    };
    let with = match &log.accepted {
        Some(key) => format!("with {key}"),
        None => format!("by the method {method}"),
    };
    match log.status {
        Some(0) => Verdict::Fine(format!("logged in {with}")),
        Some(status) => Verdict::Note(format!("logged in {with}, but `true` exited with status {status} there")),
        None => Verdict::Note(format!("logged in {with}, but `true` did not end there")),
    }
}

/// Why the login failed. `see` is a command that shows all messages of ssh.
fn refusal(log: &SshLog, id: &str, user: &str, key: Option<String>, see: &str) -> Failure {
    let refused = |what: String| Failure::new(what).cause(format!("ssh said: {}", log.last));
    let name_the_key = format!("name the key that the VPS was created with: `kohakuriver vps connect {id} --key KEY`");
    if log.status.is_none() {
        return Failure::new(format!("VPS {id} did not finish the login in time"))
            .cause(format!("ssh did not end within {} s", LOGIN_LIMIT.as_secs()))
            .hint(format!("see where it stops: `{see}`"));
    }
    if log.too_many {
        let key = key.as_deref().unwrap_or("KEY");
        return refused(format!("VPS {id} disconnected after too many wrong keys"))
            .cause(format!(
                "ssh offered {} keys, and an sshd disconnects after {MAX_TRIES} by default",
                log.offered.len()
            ))
            .hint(format!("offer only the right key: `kohakuriver vps connect {id} --key {key}`"));
    }
    match &log.accepted {
        Some(key) if log.signature_rejected => {
            let failure = refused(format!("VPS {id} accepts your key but refuses {user}"))
                .cause(format!("its sshd was ready to accept {key}, and then rejected the signature"));
            if user == DEFAULT_USER {
                let other = format!("kohakuriver vps connect {id} --user kohaku");
                return failure
                    .cause("an sshd does that when root logins are disabled (`PermitRootLogin no`)")
                    .hint(format!("log in as another user, for example the one that VMs have: `{other}`"));
            }
            failure.cause("the account may be locked or expired").hint(format!("see all messages of ssh: `{see}`"))
        }
        Some(key) => refused(format!("VPS {id} accepts your key, but ssh could not sign with it"))
            .cause(format!("{key}: its private half is missing or encrypted, or the agent refused"))
            .hint("add the key to your agent again: `ssh-add`"),
        None if log.offered.is_empty() => refused(format!("VPS {id} requires a key, but ssh had none to offer"))
            .cause(accepted_methods(&log.methods))
            .hint(name_the_key),
        None => refused(format!("VPS {id} does not accept your key as {user}"))
            .cause(format!("ssh offered {}", log.offered.join("; ")))
            .cause(accepted_methods(&log.methods))
            .hint(name_the_key),
    }
}

fn accepted_methods(methods: &str) -> String {
    match methods {
        "" => "the VPS did not say what it accepts".to_owned(),
        "publickey" => "the VPS accepts only keys, no passwords".to_owned(),
        methods => format!("the VPS accepts: {methods}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(log: &str, user: &str) -> (String, String) {
        let log = SshLog { status: Some(255), ..SshLog::read(log) };
        let Verdict::Wrong(wrong) = judge(&log, "42", user, None) else { panic!("{log:?}") };
        assert!(!wrong.causes.is_empty() && !wrong.fix.is_empty());
        (wrong.what, wrong.command)
    }

    #[test]
    fn each_refusal_has_its_message_and_command() {
        let offer = "debug1: Offering public key: k ED25519 SHA256:x agent\n";
        let accept = "debug1: Server accepts key: k ED25519 SHA256:x agent\n";
        let more = "debug1: Authentications that can continue: publickey\n";
        let denied = "root@42: Permission denied (publickey).\n";
        let connect = "kohakuriver vps connect 42 --key KEY";
        for (log, user, what, command) in [
            (format!("{offer}{more}{denied}"), "root", "VPS 42 does not accept your key as root", connect),
            (denied.to_owned(), "root", "VPS 42 requires a key, but ssh had none to offer", connect),
            (
                format!("{offer}{accept}{more}{denied}"),
                "root",
                "VPS 42 accepts your key but refuses root",
                "kohakuriver vps connect 42 --user kohaku",
            ),
            (
                format!("{offer}{accept}{more}{denied}"),
                "u",
                "VPS 42 accepts your key but refuses u",
                "kohakuriver vps connect 42 --user u -- -v true",
            ),
            (
                format!("{offer}{accept}{denied}"),
                "u",
                "VPS 42 accepts your key, but ssh could not sign with it",
                "ssh-add",
            ),
            (
                format!("{}Disconnected: Too many authentication failures\n", offer.repeat(6)),
                "u",
                "VPS 42 disconnected after too many wrong keys",
                connect,
            ),
        ] {
            assert_eq!(wrong(&log, user), (what.to_owned(), command.to_owned()), "{log}");
        }
    }

    #[test]
    fn a_login_works_whatever_the_remote_command_does() {
        let text = "Authenticated to 42 (via proxy) using \"none\".\n";
        let judged = |status| judge(&SshLog { status, ..SshLog::read(text) }, "42", "root", None);
        assert_eq!(judged(Some(0)), Verdict::Fine("logged in by the method none".into()));
        assert!(matches!(judged(Some(1)), Verdict::Note(text) if text.contains("exited with status 1")));
        assert!(matches!(judged(None), Verdict::Note(text) if text.contains("did not end")));
        let key = SshLog { accepted: Some("k ED25519".to_owned()), status: Some(0), ..SshLog::read(text) };
        assert_eq!(judge(&key, "42", "root", None), Verdict::Fine("logged in with k ED25519".into()));
    }

    #[test]
    fn the_time_limit_comes_first_and_the_right_key_is_named() {
        let too_many = "Disconnected: Too many authentication failures\n";
        let log = SshLog { status: None, ..SshLog::read(too_many) };
        let Verdict::Wrong(wrong) = judge(&log, "42", "u", None) else { panic!("{log:?}") };
        assert_eq!(
            (wrong.what.as_str(), wrong.command.as_str()),
            ("VPS 42 did not finish the login in time", "kohakuriver vps connect 42 --user u -- -v true",)
        );
        let log = SshLog { status: Some(255), ..SshLog::read(too_many) };
        let Verdict::Wrong(wrong) = judge(&log, "42", "u", Some("'a key'".to_owned())) else { panic!("{log:?}") };
        assert_eq!(wrong.command, "kohakuriver vps connect 42 --key 'a key'");
    }
}
