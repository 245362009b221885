//! The VPSes that a shell offers on TAB.
//!
//! `vps list`, and `ssh config` when it writes, store ids and names in a small private file in the user's cache folder,
//! one file per Host. Completion reads only that file and never waits for a network. A file that can't be read or
//! written means that nothing is offered.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use serde_json::{Value, json};

use crate::api::Vps;
use crate::cache;
use crate::cluster::ClusterName;
use crate::settings::{ConfigFile, Flags, Settings};
use crate::sys;
use crate::target::{SUFFIX, VpsRef};
use crate::text::excerpt;

/// Largest file that is read, in bytes: about ten thousand VPSes.
const MAX_FILE: u64 = 1024 * 1024;

/// A file is removed if its Host was not listed for this long.
const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Stores what the Host at `base` listed.
pub(crate) fn keep(base: &str, list: &[Vps]) {
    if let Some(path) = path(base) {
        // Completion offers nothing then, but the list itself succeeded.
        let _ = write(&path, list);
    }
}

/// The candidates on TAB for an argument that names a VPS.
pub(crate) fn candidates() -> ArgValueCandidates {
    ArgValueCandidates::new(|| listed(""))
}

/// The VPSes that were listed last, each with `end` behind it: those of the cluster that the command line names, or those of
/// the default one and then, with their clusters in their names, those of the others.
pub(crate) fn listed(end: &str) -> Vec<CompletionCandidate> {
    let flags = typed_flags(std::env::args());
    let names_one = flags.cluster.is_some() || flags.host.is_some();
    let Ok(settings) = Settings::load(flags) else { return Vec::new() };
    let others = settings.clusters.iter().filter(|name| !names_one && settings.cluster.name() != Some(name.as_str()));
    let of_other = |name: &ClusterName| {
        let flags = Flags { cluster: Some(name.clone()), ..Flags::default() };
        let base = Settings::load(flags).ok()?.api_url();
        Some(read(&path(&base)?, &format!(".{name}{SUFFIX}{end}")))
    };
    let own = path(&settings.api_url()).map(|path| read(&path, end)).unwrap_or_default();
    own.into_iter().chain(others.filter_map(of_other).flatten()).collect()
}

/// The clusters of the user, on TAB.
pub(crate) fn clusters() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let names = ConfigFile::load().map(|file| file.clusters).unwrap_or_default();
        names.into_iter().map(|(name, _)| CompletionCandidate::new(name.to_string())).collect()
    })
}

/// The flags in a command line that is being typed, which say where its VPSes are.
fn typed_flags(words: impl Iterator<Item = String>) -> Flags {
    let mut flags = Flags::default();
    let mut words = words.skip_while(|word| word != "--").skip(1).peekable();
    while let Some(word) = words.next() {
        let (flag, attached) =
            word.split_once('=').map_or((word.as_str(), None), |(flag, value)| (flag, Some(value.to_owned())));
        let mut value = || attached.clone().or_else(|| words.next());
        match flag {
            "--cluster" => flags.cluster = value().and_then(|name| name.parse().ok()),
            "--host" | "-H" => flags.host = value(),
            "--port" | "-P" => flags.port = value().and_then(|port| port.parse().ok()),
            _ => {}
        }
    }
    flags
}

fn path(base: &str) -> Option<PathBuf> {
    cache::folder().map(|folder| folder.join(file_name(base)))
}

/// The file's name, equal in every version of this program: host and port, percent-encoded.
fn file_name(base: &str) -> String {
    let authority = base.split_once("://").map_or(base, |(_scheme, authority)| authority);
    let encoded = authority.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    format!("vps-{}.json", encoded.collect::<String>())
}

fn write(path: &Path, list: &[Vps]) -> io::Result<()> {
    let vpses: Vec<Value> = list
        .iter()
        .map(|vps| json!({ "task_id": vps.id.to_string(), "name": vps.name, "status": vps.status.as_str() }))
        .collect();
    let text = Value::from(vpses).to_string();
    let mut kept = Vec::new();
    if let Ok(mut file) = sys::open_regular(path)
        && file.read_to_end(&mut kept).is_ok()
        && kept == text.as_bytes()
    {
        // The time says that the Host is still in use.
        return file.set_modified(SystemTime::now());
    }
    cache::write(path, text.as_bytes())?;
    if let Some(folder) = path.parent() {
        cache::remove_old(folder, MAX_AGE, SystemTime::now());
    }
    Ok(())
}

/// Names first: people type them.
fn read(path: &Path, end: &str) -> Vec<CompletionCandidate> {
    let mut text = Vec::new();
    let read = sys::open_regular(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut text));
    let vpses: Vec<Value> = read.ok().and_then(|_| serde_json::from_slice(&text).ok()).unwrap_or_default();
    let word = |value: &Value| value.as_str().map(excerpt).filter(|word| !word.is_empty());
    let candidate = |field: &'static str, other: &'static str, order: usize| {
        vpses.iter().filter_map(move |vps| {
            let about = [word(&vps[other]), word(&vps["status"])].into_iter().flatten().collect::<Vec<_>>().join(", ");
            // A name such as `42` or `kohakuriver-42` is read as the id of another VPS.
            let is_read = |word: &&str| VpsRef::parse(word) == Ok(VpsRef::Name((*word).to_owned()));
            let word = vps[field].as_str().filter(|word| needs_no_quotes(word));
            let word = word.filter(|word| field != "name" || is_read(word))?;
            let candidate = CompletionCandidate::new(format!("{word}{end}")).display_order(Some(order));
            Some(candidate.help(Some(about.into())))
        })
    };
    candidate("name", "task_id", 0).chain(candidate("task_id", "name", 1)).collect()
}

/// Whether each shell takes `word` as it is. Some shells put what is offered into the command line unquoted, and would
/// run a VPS's name such as `trainer$(id)`.
fn needs_no_quotes(word: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !word.is_empty() && word.chars().all(is_plain) && !word.starts_with('-')
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cli::host::vps::tests::vps;
    use crate::status::VpsStatus;

    #[test]
    fn the_typed_cluster_counts() {
        let flags = |line: &str| typed_flags(line.split(' ').map(str::to_owned));
        let found = flags("kohakuriver -- kohakuriver --cluster lab vps connect -P 9000 tr");
        assert_eq!((found.cluster, found.host, found.port), (Some("lab".parse().unwrap()), None, Some(9000)));
        let found = flags("kohakuriver -- kohakuriver vps --host=head connect");
        assert_eq!((found.cluster, found.host.as_deref()), (None, Some("head")));
        assert!(flags("kohakuriver --cluster lab").cluster.is_none());
    }

    #[test]
    fn listed_vpses_are_offered_and_a_broken_file_offers_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/vps.json");
        assert!(read(&path, "").is_empty());
        let nameless = Vps { id: crate::target::TaskId::parse("7").unwrap(), name: None, ..vps(VpsStatus::Paused) };
        write(&path, &[vps(VpsStatus::Running), nameless]).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let words: Vec<_> = read(&path, "").iter().map(|candidate| candidate.get_value().to_owned()).collect();
        assert_eq!(words, ["trainer", "7323718749301768192", "7"]);
        let odd =
            ["a$(id)", "a b", "*", "a;b", "-rf", "a`id`", "a'b", "~", "a&b", "ä", "a\u{202e}b", "a|b", "a\\b", "#a"];
        let vpses = odd.map(|name| Vps { name: Some(name.to_owned()), ..vps(VpsStatus::Running) });
        write(&path, &vpses).unwrap();
        let words: Vec<_> = read(&path, "").iter().map(|candidate| candidate.get_value().to_owned()).collect();
        assert_eq!(words, ["7323718749301768192"; 14]);
        // Commands read these as other VPSes.
        let vpses = ["2000", "kohakuriver-7", "kohakuriver-vps-7", "trainer.kohakuriver"]
            .map(|name| Vps { name: Some(name.to_owned()), ..vps(VpsStatus::Running) });
        write(&path, &vpses).unwrap();
        let words: Vec<_> = read(&path, "").iter().map(|candidate| candidate.get_value().to_owned()).collect();
        assert_eq!(words, ["7323718749301768192"; 4]);
        for broken in ["", "[7]", "{}", "[{\"name\":3}]"] {
            fs::write(&path, broken).unwrap();
            assert!(read(&path, "").is_empty(), "{broken}");
        }
    }

    #[test]
    fn each_host_has_a_file_with_a_stable_name() {
        for (base, name) in [
            ("http://gpu-head:8000", "vps-gpu-head%3A8000.json"),
            ("http://gpu-head:8001", "vps-gpu-head%3A8001.json"),
            ("http://[fd00::1]:8000", "vps-%5Bfd00%3A%3A1%5D%3A8000.json"),
            ("http://../a_b:8000", "vps-..%2Fa%5Fb%3A8000.json"),
        ] {
            assert_eq!(file_name(base), name);
        }
    }

    #[test]
    fn files_of_hosts_that_are_no_longer_listed_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, age: Duration| {
            let path = folder.path().join(name);
            File::create(&path).unwrap().set_modified(SystemTime::now() - age).unwrap();
            path
        };
        let day = Duration::from_secs(24 * 60 * 60);
        let old = file("vps-0123456789abcdef.json", MAX_AGE + day);
        let recent = file("vps-other%3A8000.json", MAX_AGE - day);
        let path = folder.path().join("vps-head%3A8000.json");
        write(&path, &[vps(VpsStatus::Running)]).unwrap();
        assert_eq!([&old, &recent, &path].map(|path| path.exists()), [false, true, true]);
        // Listing the same again counts as use.
        File::options().append(true).open(&path).unwrap().set_modified(SystemTime::now() - MAX_AGE - day).unwrap();
        write(&path, &[vps(VpsStatus::Running)]).unwrap();
        write(&recent, &[vps(VpsStatus::Paused)]).unwrap();
        assert!(path.exists());
    }
}
