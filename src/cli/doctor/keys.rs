//! Which private keys ssh would offer: whether their files are such as ssh takes, and whether anybody can unlock them.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Check;
use super::case::Case;
use super::finding::Verdict;
use super::program;
use super::programs::LIMIT;
use crate::failure::Failure;
use crate::ssh::keys;
use crate::ssh::options::host_name;
use crate::ssh::quote::shell_word;
use crate::target::TaskId;
use crate::text::excerpt;

pub(super) const CHECKS: &[Check] = &[Check { name: "keys", of_vps: true, examine: look }];

/// After this many keys an sshd hangs up (`MaxAuthTries`, by default).
pub(super) const MAX_TRIES: usize = 6;

/// The private key for the VPS: `--key`, else one that lies where one for it would.
pub(super) fn resolve(case: &Case, id: TaskId) -> Result<Option<PathBuf>, Failure> {
    keys::resolve(case.key_flag.as_deref(), id, case.home.as_deref())
}

fn look(case: &mut Case) -> (String, Verdict) {
    let Some(id) = case.id() else {
        return (
            "the keys that ssh would offer".to_owned(),
            Verdict::Skipped("nothing is known of the VPS".to_owned()),
        );
    };
    let list = "ls -l ~/.ssh";
    let own = match resolve(case, id) {
        Ok(own) => own,
        Err(failure) => {
            let tried = match &case.key_flag {
                Some(key) => format!("the key {}", key.display()),
                None => format!("the key of VPS {id} in ~/.ssh"),
            };
            let failure = if failure.advice().is_none() {
                failure.hint(format!("see which there are: `{list}`"))
            } else {
                failure
            };
            return (tried, Verdict::wrong(&failure, list));
        }
    };
    case.key.clone_from(&own);
    let agent = agent();
    let verdict = match &own {
        Some(key) => of_its_own(key, &agent),
        None => of_everyone(case, id, &agent),
    };
    let tried = match own {
        Some(key) => format!("the key {}, and no other", key.display()),
        None => "the keys that ssh offers everyone (`ssh -G`) and those of the agent (`ssh-add -l`)".to_owned(),
    };
    case.keys = !verdict.is_wrong();
    (tried, verdict)
}

fn of_its_own(key: &Path, agent: &Agent) -> Verdict {
    match Lock::of(key, agent) {
        Lock::Open(print) => Verdict::Fine(print),
        Lock::InAgent(print) => Verdict::Fine(format!("{print}; it is encrypted, and the agent has it")),
        Lock::Locked(print) => locked(key, &print, agent),
        Lock::NoKey(why) => {
            let failure = Failure::new(format!("cannot use the key {}", key.display())).cause(why);
            Verdict::wrong(&failure.hint("see which there are: `ls -l ~/.ssh`"), "ls -l ~/.ssh")
        }
    }
}

fn locked(key: &Path, print: &str, agent: &Agent) -> Verdict {
    let add = format!("ssh-add {}", shell_word(key.as_os_str()).to_string_lossy());
    let (cause, command) = match agent {
        Agent::None => ("and no agent runs that could have it", format!("eval \"$(ssh-agent)\" && {add}")),
        Agent::Keys(_) => ("and the agent does not have it", add),
    };
    let failure = Failure::new(format!("the key {} is encrypted", key.display()))
        .cause(format!("{print} {cause}: ssh has to ask for its passphrase, which an IDE's ssh can't"))
        .hint(format!("give it to an agent: `{command}`"));
    Verdict::wrong(&failure, command)
}

/// No key of the VPS's own: whatever ssh finds by itself.
fn of_everyone(case: &Case, id: TaskId, agent: &Agent) -> Verdict {
    let (mut open, mut shut, mut unusable) = (Vec::new(), Vec::new(), Vec::new());
    for file in identity_files(case, id) {
        match keys::resolve(Some(&file), id, case.home.as_deref()) {
            Err(failure) => unusable.push(failure),
            Ok(_) => match Lock::of(&file, agent) {
                Lock::Open(_) | Lock::InAgent(_) => open.push(file),
                Lock::Locked(print) => shut.push((file, print)),
                Lock::NoKey(_) => {}
            },
        }
    }
    let in_agent = agent.prints().len();
    if open.is_empty() && in_agent == 0 {
        if let Some(failure) = unusable.first() {
            return Verdict::wrong(failure, "ls -l ~/.ssh");
        }
        if let Some((file, print)) = shut.first() {
            return locked(file, print, agent);
        }
        return Verdict::Note("none at all: only a VPS that wants no key lets you in".to_owned());
    }
    let files: Vec<String> = open.iter().map(|file| file.display().to_string()).collect();
    let mut text = match in_agent {
        0 => String::new(),
        count => format!("{count} in the agent"),
    };
    if !files.is_empty() {
        let and = if text.is_empty() { "" } else { " and " };
        text += &format!("{and}{}", files.join(", "));
    }
    if in_agent + files.len() > MAX_TRIES {
        return Verdict::Note(format!("{text}; an sshd hangs up after {MAX_TRIES}, so name one with `--key`"));
    }
    match unusable.first() {
        Some(failure) => Verdict::Note(format!("{text}; {} as well", failure.what())),
        None => Verdict::Fine(text),
    }
}

/// The private keys that ssh would try for the VPS, as far as they exist.
fn identity_files(case: &Case, id: TaskId) -> Vec<PathBuf> {
    let Some(ssh) = &case.ssh else { return Vec::new() };
    let Ok(output) = program::run(Command::new(ssh).args(["-G", &host_name(id)]), LIMIT) else { return Vec::new() };
    let files = output.stdout.lines().filter_map(|line| line.strip_prefix("identityfile "));
    let home = case.ssh_home.as_ref().or(case.home.as_ref());
    let expand = |file: &str| match (file.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(file),
    };
    files.map(expand).filter(|file| file.exists()).collect()
}

/// What an agent holds.
enum Agent {
    /// None runs, or it can't be asked.
    None,
    /// The fingerprints of its keys.
    Keys(Vec<String>),
}

impl Agent {
    fn prints(&self) -> &[String] {
        match self {
            Self::None => &[],
            Self::Keys(prints) => prints,
        }
    }
}

fn agent() -> Agent {
    let Ok(output) = program::run(Command::new("ssh-add").args(["-l", "-E", "sha256"]), LIMIT) else {
        return Agent::None;
    };
    match output.code() {
        Some(0) => Agent::Keys(output.stdout.lines().filter_map(fingerprint).map(str::to_owned).collect()),
        Some(1) => Agent::Keys(Vec::new()),
        _ => Agent::None,
    }
}

/// `256 SHA256:… comment (ED25519)`
fn fingerprint(line: &str) -> Option<&str> {
    line.split(' ').find(|word| word.starts_with("SHA256:"))
}

/// Whether a key file can be used without asking anybody. Holds the key's type and fingerprint.
enum Lock {
    Open(String),
    InAgent(String),
    Locked(String),
    NoKey(String),
}

impl Lock {
    fn of(key: &Path, agent: &Agent) -> Self {
        let shown = program::run(Command::new("ssh-keygen").args(["-l", "-E", "sha256", "-f"]).arg(key), LIMIT);
        let line = shown.map(|output| excerpt(output.stdout.lines().next().unwrap_or_default())).unwrap_or_default();
        let print = fingerprint(&line).unwrap_or_default().to_owned();
        let kind = line.rsplit_once('(').map(|(_, kind)| kind.trim_end_matches(')')).unwrap_or_default();
        let name = format!("{kind} {print}").trim().to_owned();
        // An empty passphrase is that of a key that has none; -P keeps it from asking.
        let opened = program::run(Command::new("ssh-keygen").args(["-y", "-P", "", "-f"]).arg(key), LIMIT);
        match opened {
            Ok(output) if output.succeeded() => Self::Open(name),
            Ok(output) if output.stderr.contains("passphrase") => {
                match !print.is_empty() && agent.prints().contains(&print) {
                    true => Self::InAgent(name),
                    false => Self::Locked(name),
                }
            }
            Ok(output) => Self::NoKey(excerpt(&output.stderr)),
            Err(error) => Self::NoKey(error.to_string()),
        }
    }
}

/// A name for `key` that a message can hold.
pub(super) fn word(key: &Path) -> String {
    String::from_utf8_lossy(shell_word(key.as_os_str()).as_bytes()).into_owned()
}
