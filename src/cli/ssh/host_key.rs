//! `kohakuriver ssh host-key`: the `KnownHostsCommand` in our ssh_config entries.
//!
//! ssh runs it twice per connection: first to learn which key types to prefer, then with the key that the server
//! presented. It prints the keys that are stored under the VPS's task id, so all names of a VPS share them. The first key
//! of a new VPS is stored; `accept-new` would store it under the name that was typed. For a different key this command
//! fails, and with it ssh. It explains what the key may mean, since only it knows the VPS. Given the known keys, ssh would
//! refuse as well, but end with a command that removes a key from a file that doesn't exist.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::api::{Client, started_at};
use crate::cli::host::{ask_host, client_with};
use crate::cli::programs::host_keys::{HostKeys, can_be_written, in_folder_of_ssh};
use crate::cli::programs::route::home;
use crate::cli::terminal::ui;
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::names;
use crate::settings::env_vars::KOHAKURIVER_EXPLAINED;
use crate::settings::{self, Settings};
use crate::ssh::known_hosts::{HostKey, Known, KnownHosts, KnownHostsError};
use crate::sys;
use crate::target::{SSH_PORT, Target, TaskId, VpsRef};
use crate::tokens::{self, Line};

/// How long the Host may take to answer when a VPS was started.
const ASKING_LIMIT: Duration = Duration::from_secs(5);

/// The Host's start time of a VPS may be wrong by this much, which is two missed heartbeats.
const TOLERANCE: Duration = Duration::from_secs(60);

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Cluster in the names of its host keys
    #[arg(long, value_name = "NAME")]
    scope: Option<String>,
    /// Files with the known host keys; the first one stores those of new VPSes
    #[arg(long, value_name = "FILE", required = true)]
    file: Vec<PathBuf>,
    /// Host name (`%H`)
    // Not named `host`, which would set the global flag.
    asked: String,
    /// Type of the key that the server presented (`%t`), or NONE
    kind: String,
    /// Key that the server presented (`%K`), or NONE
    key: String,
    /// Host name that ssh connects to (`%h`), where `%H` may be an alias of the user's
    target: Option<String>,
}

pub(crate) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let cluster = Cluster::of_scope(arguments.scope.as_deref());
    check(settings, &cluster, arguments).inspect_err(|_| {
        if let Some(name) = cluster.name() {
            settings::name_in_messages(name);
        }
    })
}

fn check(settings: &Settings, cluster: &Cluster, arguments: &Arguments) -> Result<(), Failure> {
    let target = cluster.without_name(arguments.target.as_ref().unwrap_or(&arguments.asked));
    // An unrelated host: ssh has its own files for it.
    let Ok(Target::Vps(vps)) = Target::parse(&target, SSH_PORT) else { return Ok(()) };
    let id = match &vps {
        VpsRef::Id(id) => *id,
        VpsRef::Name(name) => {
            let found = ask_host(settings, async {
                let client = client_of_entry(settings)?;
                names::look_up(&client, name)
                    .await
                    .map(|meant| meant.id)
                    .map_err(|error| error.about(&vps, client.base()))
            });
            match found {
                Ok(id) => id,
                // ssh only asks for an order of key types. The helper failed at the same look-up: ssh reads its reason
                // next, unless this command fails.
                Err(_) if presented(arguments).is_none() => return Ok(()),
                Err(failure) => return Err(failure),
            }
        }
    };
    let cannot = |file: &Path, error: KnownHostsError| {
        let failure = Failure::new(format!("cannot check the host key of VPS {id}")).because(&error);
        failure.hint(format!("see what is wrong: `{}`", sys::show_access(file)))
    };
    let store = store(settings, &arguments.file[0]);
    let others = arguments.file.iter().filter(|file| **file != store);
    let files = std::iter::once(&store)
        .chain(others)
        .map(|file| KnownHosts::at(file, cluster).of(id).map_err(|error| cannot(file, error)));
    let mut known = files.collect::<Result<Vec<_>, _>>()?.concat();
    if let Some(presented) = presented(arguments) {
        if known.is_empty() {
            known = store_first(&store, cluster, id, &presented).map_err(|error| cannot(&store, error))?;
        }
        if known.iter().all(|known| known.key != presented) {
            // For `vps connect`, which has nothing to add.
            if let Some(mark) = settings::process_environment(KOHAKURIVER_EXPLAINED) {
                // Without it, `vps connect` only says more.
                let _ = std::fs::write(mark, "");
            }
            return Err(changed(settings, id, &presented.kind, &known, &store));
        }
    }
    let line = |known: &Known| format!("{} {} {}\n", arguments.asked, known.key.kind, known.key.key);
    ui::print(&known.iter().map(line).collect::<String>())
}

/// The file that new keys go to: the one that the entry names, unless ~/.ssh has become read-only since.
fn store(settings: &Settings, file: &Path) -> PathBuf {
    match home() {
        Ok(home) if file == in_folder_of_ssh(&home) && !can_be_written(file) => HostKeys::of(settings, &home).store,
        _ => file.to_owned(),
    }
}

fn store_first(store: &Path, cluster: &Cluster, id: TaskId, key: &HostKey) -> Result<Vec<Known>, KnownHostsError> {
    if let Some(folder) = store.parent() {
        // Storing the key says why it can't.
        let _ = sys::create_private_folder_all(folder);
    }
    KnownHosts::at(store, cluster).store_first(id, key)
}

/// A client of the Host that the entry names, whose token the environment may not know.
fn client_of_entry(settings: &Settings) -> Result<Client, Failure> {
    let found = tokens::for_api(Some(&settings.api()), Line::Generated)?;
    client_with(settings, found.map(|found| found.token))
}

/// The key that the server presented. A certificate doesn't count: ssh itself checks the authority that signed it.
fn presented(arguments: &Arguments) -> Option<HostKey> {
    HostKey::new(&arguments.kind, &arguments.key).filter(|key| key.kind != "NONE" && !key.kind.contains("-cert-"))
}

/// Why a VPS may present a different key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reason {
    /// The VPS was started after its key was stored.
    Started,
    /// The VPS was already running when its key was stored.
    None,
    /// The Host gives no time, or the times are too close.
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

/// The failure for a key that differs from the known ones, with the likely reason; `kind` is its type. `ssh forget` changes
/// the file `store`, and no line that names other hosts as well.
pub(crate) fn changed(settings: &Settings, id: TaskId, kind: &str, known: &[Known], store: &Path) -> Failure {
    let stored = known.iter().filter_map(|known| known.stored).max();
    let started = ask_host(settings, async {
        let client = client_of_entry(settings)?;
        Ok(tokio::time::timeout(ASKING_LIMIT, started_at(&client, id)).await.ok().flatten())
    });
    let time =
        stored.map_or_else(|| "earlier".to_owned(), |time| format!("at {}", humantime::format_rfc3339_seconds(time)));
    let mut failure = Failure::new(format!("the host key of VPS {id} has changed"))
        .cause(format!("the key of type {kind} differs from the one stored {time}"));
    let (by_hand, own): (Vec<&Known>, Vec<&Known>) =
        known.iter().partition(|known| known.is_pattern || known.file != store);
    for Known { file, line, is_pattern, .. } in &by_hand {
        let why = if *is_pattern { ", under a pattern that other hosts match as well" } else { "" };
        failure = failure.cause(format!("the stored key is in {}:{line}{why}", file.display()));
    }
    let forget = (!own.is_empty()).then(|| format!("run `kohakuriver ssh forget {id}`"));
    let edit = by_hand.iter().map(|known| {
        let line = sys::edit_at(&known.file, known.line);
        format!("remove the line, or this VPS from it: `{line}`")
    });
    let renew = forget.into_iter().chain(edit).collect::<Vec<_>>().join(", ");
    match reason(started.ok().flatten(), stored) {
        Reason::Started => failure
            .cause("the VPS was started after that; a re-created VPS has a new key")
            .hint(format!("if you expect that, {renew} and connect again")),
        Reason::None => failure
            .cause("the VPS has not been restarted since, so another machine may be impersonating it")
            .hint(format!(
                "do not log in; ask the Host's admin whether its key is the known one: `{}`",
                known.first().map(|known| sys::show_host_key(&known.file, known.line)).unwrap_or_default()
            )),
        Reason::Unknown => failure
            .cause("it is unknown whether the VPS was started after that; a re-created VPS has a new key")
            .hint(format!("only if you know that it was, {renew} and connect again")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_and_no_key_at_all_are_not_checked() {
        let presented = |kind: &str, key: &str| {
            let (kind, key) = (kind.to_owned(), key.to_owned());
            presented(&Arguments {
                scope: None,
                file: vec!["f".into()],
                asked: "42.kohakuriver".into(),
                kind,
                key,
                target: None,
            })
            .map(|key| key.kind)
        };
        assert_eq!(presented("ssh-ed25519", "AAAA").as_deref(), Some("ssh-ed25519"));
        assert_eq!(presented("NONE", "NONE"), None);
        assert_eq!(presented("ssh-ed25519-cert-v01@openssh.com", "AAAA"), None);
    }

    #[test]
    fn only_a_start_after_the_key_was_stored_explains_a_new_key() {
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
