//! The VPSes that a shell offers on TAB.
//!
//! `vps list`, and `ssh config` where it writes, leave their ids and names in a small private file of the user's cache
//! directory, one for each Host. Completing reads that file and nothing else: no network, so never a wait. A file that
//! can't be read or written means nothing to offer, and no more.

use std::fs::{self, DirBuilder, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use serde_json::{Value, json};

use crate::api::Vps;
use crate::settings::{Flags, Settings};
use crate::text::excerpt;

/// Largest file that is read, in bytes: some ten thousand VPSes.
const MAX_FILE: u64 = 1024 * 1024;

/// Keeps what the Host at `base` listed.
pub(crate) fn keep(base: &str, list: &[Vps]) {
    if let Some(path) = path(base) {
        // Without it there is nothing to offer on TAB, which is no failure of a list.
        let _ = write(&path, list);
    }
}

/// What an argument that names a VPS offers on TAB.
pub(crate) fn candidates() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let base = Settings::load(Flags::default()).ok().map(|settings| settings.api_url());
        base.and_then(|base| path(&base)).map(|path| read(&path)).unwrap_or_default()
    })
}

fn path(base: &str) -> Option<PathBuf> {
    let directories = directories::ProjectDirs::from("", "", "kohakuriver")?;
    let mut hasher = DefaultHasher::new();
    base.hash(&mut hasher);
    Some(directories.cache_dir().join(format!("vps-{:016x}.json", hasher.finish())))
}

fn write(path: &Path, list: &[Vps]) -> io::Result<()> {
    let vpses: Vec<Value> = list
        .iter()
        .map(|vps| json!({ "task_id": vps.id.to_string(), "name": vps.name, "status": vps.status.as_str() }))
        .collect();
    let text = Value::from(vpses).to_string();
    if fs::read(path).is_ok_and(|kept| kept == text.as_bytes()) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
    let stored = file.and_then(|mut file| file.write_all(text.as_bytes()));
    let stored = stored.and_then(|()| fs::rename(&new, path));
    if stored.is_err() {
        let _ = fs::remove_file(&new);
    }
    stored
}

/// Names first: they are what people type.
fn read(path: &Path) -> Vec<CompletionCandidate> {
    let mut text = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut text));
    let vpses: Vec<Value> = read.ok().and_then(|_| serde_json::from_slice(&text).ok()).unwrap_or_default();
    let word = |value: &Value| value.as_str().map(excerpt).filter(|word| !word.is_empty());
    let candidate = |field: &'static str, other: &'static str, order: usize| {
        vpses.iter().filter_map(move |vps| {
            let about = [word(&vps[other]), word(&vps["status"])].into_iter().flatten().collect::<Vec<_>>().join(", ");
            let candidate = CompletionCandidate::new(word(&vps[field])?).display_order(Some(order));
            Some(candidate.help(Some(about.into())))
        })
    };
    candidate("name", "task_id", 0).chain(candidate("task_id", "name", 1)).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cli::host::vps::tests::vps;
    use crate::status::VpsStatus;

    #[test]
    fn what_was_listed_is_offered_and_a_broken_file_offers_nothing() {
        let folder = std::env::temp_dir().join(format!("kohakuriver-vps-cache-{}", std::process::id()));
        let path = folder.join("deep/vps.json");
        assert!(read(&path).is_empty());
        let nameless = Vps { id: crate::target::TaskId::parse("7").unwrap(), name: None, ..vps(VpsStatus::Paused) };
        write(&path, &[vps(VpsStatus::Running), nameless]).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let words: Vec<_> = read(&path).iter().map(|candidate| candidate.get_value().to_owned()).collect();
        assert_eq!(words, ["trainer", "7323718749301768192", "7"]);
        for broken in ["", "[7]", "{}", "[{\"name\":3}]"] {
            fs::write(&path, broken).unwrap();
            assert!(read(&path).is_empty(), "{broken}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
