//! The private keys that ssh would offer: whether ssh would use their files, and whether they sign without a question.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::programs::FoundSsh;
use crate::cli::doctor::check::{Check, Examined, Given};
use crate::cli::doctor::finding::Verdict;
use crate::cli::doctor::subject::Subject;
use crate::cli::programs::program::{self, QUICK};
use crate::failure::Failure;
use crate::ssh::keys;
use crate::ssh::quote::shown_word;
use crate::sys;
use crate::target::TaskId;
use crate::text::excerpt;

/// After this many keys an sshd disconnects (`MaxAuthTries`, by default).
pub(super) const MAX_TRIES: usize = 6;

pub(super) struct Keys<'a> {
    subject: &'a Subject,
    id: Given<TaskId>,
    ssh: &'a Given<FoundSsh>,
    /// The VPS's own key, if it has one.
    own: Result<Option<PathBuf>, Failure>,
}

/// Keys that ssh can use.
pub(super) struct Usable {
    /// The VPS's own key, if it has one: ssh offers no other.
    pub(super) own: Option<PathBuf>,
}

impl<'a> Keys<'a> {
    pub(super) fn of(subject: &'a Subject, id: Given<TaskId>, ssh: &'a Given<FoundSsh>) -> Self {
        let own = id.map_or(Ok(None), |id| subject.private_key(id));
        Self { subject, id, ssh, own }
    }
}

impl Check for Keys<'_> {
    const NAME: &'static str = "keys";
    const NEEDS_VPS: bool = true;
    type Gives = Usable;

    fn tried(&self) -> String {
        match (&self.own, &self.subject.key, self.id) {
            (Ok(Some(key)), _, _) => format!("the key {}; ssh offers no other", key.display()),
            (Err(_), Some(key), _) => format!("the key {}", key.display()),
            (Err(_), None, Ok(id)) => format!("the key of VPS {id} in ~/.ssh"),
            _ => "the default keys of ssh (`ssh -G`) and those in the agent (`ssh-add -l`)".to_owned(),
        }
    }

    fn examine(&self) -> Result<Examined<Usable>, Verdict> {
        let id = self.id?;
        let verdict = match &self.own {
            Err(failure) if failure.advice().is_none() => {
                Verdict::wrong(&with_list(failure.clone()), sys::list_ssh_folder())
            }
            Err(failure) => Verdict::wrong(failure, sys::list_ssh_folder()),
            Ok(Some(key)) => own_key(key, &ask_agent()),
            Ok(None) => {
                let files = self.ssh.as_ref().map(|ssh| identity_files(self.subject, ssh, id)).unwrap_or_default();
                default_keys(self.subject, id, files, &ask_agent())
            }
        };
        match &self.own {
            Ok(own) if verdict.breaks().is_none() => Ok(Examined::giving(verdict, Usable { own: own.clone() })),
            _ => Err(verdict),
        }
    }
}

fn with_list(failure: Failure) -> Failure {
    failure.hint(format!("list your keys: `{}`", sys::list_ssh_folder()))
}

fn own_key(key: &Path, agent: &Agent) -> Verdict {
    match Lock::of(key, agent) {
        Lock::Open(print) => Verdict::Fine(print),
        Lock::InAgent(print) => Verdict::Fine(format!("{print}; it is encrypted, and the agent has it")),
        Lock::Locked(print) => locked(key, &print, agent),
        Lock::NoKey(why) => Verdict::wrong(
            &with_list(Failure::new(format!("cannot use the key {}", key.display())).cause(why)),
            sys::list_ssh_folder(),
        ),
    }
}

fn locked(key: &Path, print: &str, agent: &Agent) -> Verdict {
    let add = format!("ssh-add {}", shown_word(key));
    let (cause, command) = match agent {
        None => ("no agent is running", sys::start_agent(&add)),
        Some(_) => ("the agent does not have it", add),
    };
    let failure = Failure::new(format!("the key {} is encrypted", key.display()))
        .cause(format!("{print}: {cause}, so ssh must ask for the passphrase, which the ssh of an IDE can't do"))
        .hint(format!("add the key to an agent: `{command}`"));
    Verdict::wrong(&failure, command)
}

/// The VPS has no key of its own, so ssh offers those in the agent and `files`.
fn default_keys(subject: &Subject, id: TaskId, files: Vec<PathBuf>, agent: &Agent) -> Verdict {
    let (mut open, mut shut, mut unusable) = (Vec::new(), Vec::new(), Vec::new());
    for file in files {
        match keys::resolve(Some(&file), id, subject.home.as_deref().ok(), &subject.key_names()) {
            Err(failure) => unusable.push(failure),
            Ok(_) => match Lock::of(&file, agent) {
                Lock::Open(_) | Lock::InAgent(_) => open.push(file.display().to_string()),
                Lock::Locked(print) => shut.push((file, print)),
                Lock::NoKey(_) => {}
            },
        }
    }
    let in_agent = agent.as_ref().map_or(0, Vec::len);
    if open.is_empty() && in_agent == 0 {
        return match (unusable.first(), shut.first()) {
            (Some(failure), _) => Verdict::wrong(failure, sys::list_ssh_folder()),
            (None, Some((file, print))) => locked(file, print, agent),
            (None, None) => Verdict::Note("no keys at all: only a VPS that needs no key accepts you".to_owned()),
        };
    }
    let count = in_agent + open.len();
    let mut offered = open.join(", ");
    if in_agent > 0 {
        offered = format!("{in_agent} in the agent{}{offered}", if offered.is_empty() { "" } else { " and " });
    }
    match unusable.first() {
        _ if count > MAX_TRIES => Verdict::Note(format!(
            "{offered}; an sshd disconnects after {MAX_TRIES} keys, so name the right one with `--key`"
        )),
        Some(failure) => Verdict::Note(format!("{offered}; but {}", failure.what())),
        None => Verdict::Fine(offered),
    }
}

/// The private keys that ssh tries for the VPS, without those that don't exist.
fn identity_files(subject: &Subject, ssh: &FoundSsh, id: TaskId) -> Vec<PathBuf> {
    let Ok(output) = program::run(Command::new(&ssh.path).args(["-G", &subject.cluster.host_name(id)]), QUICK) else {
        return Vec::new();
    };
    let files = output.stdout.lines().filter_map(|line| line.strip_prefix("identityfile "));
    let home = ssh.home.as_deref().or(subject.home.as_deref().ok());
    let expand = |file: &str| keys::expand_home(Path::new(file), home);
    let hidden = home.map(|home| keys::hidden_defaults(&output.stdout, home)).unwrap_or_default();
    files.map(expand).filter(|file| file.exists()).chain(hidden).collect()
}

/// The fingerprints of the keys in the ssh-agent; `None` when no agent is running, or it does not answer.
type Agent = Option<Vec<String>>;

fn ask_agent() -> Agent {
    let output = program::run(Command::new("ssh-add").args(["-l", "-E", "sha256"]), QUICK).ok()?;
    match output.code() {
        Some(0) => Some(output.stdout.lines().filter_map(fingerprint).map(str::to_owned).collect()),
        Some(1) => Some(Vec::new()),
        _ => None,
    }
}

/// `256 SHA256:… comment (ED25519)`
fn fingerprint(line: &str) -> Option<&str> {
    line.split(' ').find(|word| word.starts_with("SHA256:"))
}

/// Whether ssh can use a key file without a passphrase. Holds the type and the fingerprint of the key.
enum Lock {
    Open(String),
    InAgent(String),
    Locked(String),
    NoKey(String),
}

impl Lock {
    fn of(key: &Path, agent: &Agent) -> Self {
        let shown = program::run(Command::new("ssh-keygen").args(["-l", "-E", "sha256", "-f"]).arg(key), QUICK);
        let line = shown.map(|output| excerpt(output.stdout.lines().next().unwrap_or_default())).unwrap_or_default();
        let print = fingerprint(&line).unwrap_or_default().to_owned();
        let kind = line.rsplit_once('(').map(|(_, kind)| kind.trim_end_matches(')')).unwrap_or_default();
        let name = format!("{kind} {print}").trim().to_owned();
        // `-P` prevents a question. The empty passphrase opens a key that has none.
        let opened = program::run(Command::new("ssh-keygen").args(["-y", "-P", "", "-f"]).arg(key), QUICK);
        match opened {
            Ok(output) if output.succeeded() => Self::Open(name),
            Ok(output) if output.stderr.contains("passphrase") => {
                match !print.is_empty() && agent.as_ref().is_some_and(|prints| prints.contains(&print)) {
                    true => Self::InAgent(name),
                    false => Self::Locked(name),
                }
            }
            Ok(output) => Self::NoKey(excerpt(&output.stderr)),
            Err(error) => Self::NoKey(error.to_string()),
        }
    }
}
