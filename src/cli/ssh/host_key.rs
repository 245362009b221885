//! `kohakuriver ssh host-key`: the `KnownHostsCommand` of what we generate.
//!
//! ssh asks it for the keys of a host, twice a connection: first to know which types to prefer, then with the key that
//! the server showed. It answers with the keys that are stored under the VPS's task id, so every name of a VPS has the
//! same. The first key of a VPS that was never seen is stored, as `accept-new` would store it under whatever name was
//! typed. Another key than the stored is refused by ssh; what that may mean is said here, since only here it is known.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::api::started_at;
use crate::cli::host::{ask_host, client};
use crate::cli::programs::names::PROGRAM;
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::names;
use crate::settings::Settings;
use crate::ssh::known_hosts::{HostKey, Known, KnownHosts, KnownHostsError};
use crate::ssh::options::alias;
use crate::target::{SSH_PORT, Target, TaskId, VpsRef};

/// How long the Host may take to say when a VPS was started.
const ASKING_LIMIT: Duration = Duration::from_secs(5);

/// A Host's word on when a VPS was started is this much older or younger than the truth: two heartbeats that it may
/// have missed.
const TOLERANCE: Duration = Duration::from_secs(60);

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// The known_hosts file
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// The host (`%H`)
    // The name `host` would be that of the global flag, and set it.
    asked: String,
    /// The type of the key it showed (`%t`), or NONE
    kind: String,
    /// The key it showed (`%K`), or NONE
    key: String,
}

pub(crate) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    // An alias of the user's own, or a host of somebody else's: ssh has files for those.
    let Ok(Target::Vps(vps)) = Target::parse(&arguments.asked, SSH_PORT) else { return Ok(()) };
    let id = match &vps {
        VpsRef::Id(id) => *id,
        VpsRef::Name(name) => ask_host(settings, async {
            let client = client(settings)?;
            names::look_up(&client, name).await.map_err(|error| error.about(&vps, client.base()))
        })?,
    };
    let store = KnownHosts::at(&arguments.file);
    let cannot = |error: KnownHostsError| {
        Failure::new(format!("cannot tell whether the host key of VPS {id} is right")).because(&error)
    };
    let mut known = store.of(id).map_err(cannot)?;
    if let Some(shown) = shown(arguments) {
        if known.is_empty() {
            known = store.store_first(id, &shown).map_err(cannot)?;
        }
        if known.iter().all(|known| known.key != shown) {
            let failure = changed(settings, id, &shown.kind, &known);
            // Of a type that it has no key of, ssh would take the server's word.
            if known.iter().all(|known| known.key.kind != shown.kind) {
                return Err(failure);
            }
            ui::remark(failure.render(PROGRAM).trim_end());
        }
    }
    let line = |known: &Known| format!("{} {} {}\n", arguments.asked, known.key.kind, known.key.key);
    ui::print(&known.iter().map(line).collect::<String>())
}

/// The key that the server showed. A certificate is none: the authority that signed it is ssh's to judge.
fn shown(arguments: &Arguments) -> Option<HostKey> {
    HostKey::new(&arguments.kind, &arguments.key).filter(|key| key.kind != "NONE" && !key.kind.contains("-cert-"))
}

/// Why a VPS may show another key than before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reason {
    /// It was started after its key was stored.
    Started,
    /// It has run since before its key was stored.
    None,
    /// The Host doesn't tell, or the times are too close to each other.
    Unknown,
}

fn reason(started: Option<SystemTime>, stored: Option<SystemTime>) -> Reason {
    let (Some(started), Some(stored)) = (started, stored) else { return Reason::Unknown };
    let later = |a: SystemTime, b: SystemTime| a.duration_since(b).is_ok_and(|by| by > TOLERANCE);
    match (later(started, stored), later(stored, started)) {
        (true, _) => Reason::Started,
        (_, true) => Reason::None,
        _ => Reason::Unknown,
    }
}

/// What a key of another VPS's, or of a VPS that was re-created, may mean; `kind` is the type of the one that was
/// shown.
pub(crate) fn changed(settings: &Settings, id: TaskId, kind: &str, known: &[Known]) -> Failure {
    let stored = known.iter().filter_map(|known| known.stored).max();
    let started = ask_host(settings, async {
        let client = client(settings)?;
        Ok(tokio::time::timeout(ASKING_LIMIT, started_at(&client, id)).await.ok().flatten())
    });
    let time = stored.map_or_else(|| "before".to_owned(), |time| humantime::format_rfc3339_seconds(time).to_string());
    let failure = Failure::new(format!("the host key of VPS {id} is not the one that is known"))
        .cause(format!("it showed a key of type {kind} that differs from the one stored by {time}"));
    let forget = format!("`kohakuriver ssh forget {id}`");
    match reason(started.ok().flatten(), stored) {
        Reason::Started => failure
            .cause("the VPS was started after that, and one that is re-created has a new key")
            .hint(format!("if you expect that, {forget} and connect again")),
        Reason::None => failure
            .cause("the VPS has not been started since, so somebody may have put another machine in its place")
            .hint(format!(
                "do not log in; ask whoever runs the Host whether its key is the one that is known: \
                 `ssh-keygen -l -F {} -f ~/.ssh/kohakuriver_known_hosts`",
                alias(id)
            )),
        Reason::Unknown => failure
            .cause("whether the VPS was started after that can't be told; one that is re-created has a new key")
            .hint(format!("only if you know that it was, {forget} and connect again")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_start_after_the_key_was_stored_explains_another() {
        let time = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        for (started, stored, expected) in [
            (time(1000), time(500), Reason::Started),
            (time(500), time(1000), Reason::None),
            (time(1000), time(1010), Reason::Unknown),
            (time(1010), time(1000), Reason::Unknown),
            (None, time(1), Reason::Unknown),
            (time(1), None, Reason::Unknown),
        ] {
            assert_eq!(reason(started, stored), expected, "{started:?} {stored:?}");
        }
    }
}
