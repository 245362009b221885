//! The host key of a container that `vps restart` re-created.
//!
//! The Host makes the container anew, and the new one makes new host keys, which ssh refuses. The user asked for that, and
//! the new key came through the tunnel that was just tested: it replaces a key that was stored before. Nothing is stored
//! for a VPS that had no key, nothing changes while the key stays the same, and no other VPS is touched.

use std::io;

use crate::cli::programs::host_keys::HostKeys;
use crate::cli::programs::route::home;
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::ssh::known_hosts::{HostKey, Known, KnownHosts};
use crate::target::TaskId;

/// The stored host keys of a VPS from before its restart.
pub(crate) struct KeysBefore {
    id: TaskId,
    store: Option<KnownHosts>,
    known: Vec<Known>,
}

impl KeysBefore {
    /// Reads them. Without a file that can be read there are none: ssh reports a broken one.
    pub(crate) fn of(settings: &Settings, id: TaskId) -> Self {
        let store = home().ok().map(|home| KnownHosts::at(HostKeys::of(settings, &home).store, &settings.cluster));
        let known = store.as_ref().and_then(|store| store.of(id).ok()).unwrap_or_default();
        Self { id, store, known }
    }

    /// Stores `seen`, the key of the new container, in place of another one, and says so.
    pub(crate) fn follow(&self, seen: Option<&HostKey>) {
        let Some(seen) = seen else { return self.warn() };
        if self.known.is_empty() || self.known.iter().any(|known| known.key == *seen) {
            return;
        }
        // A key of another type says nothing about the known ones.
        if self.known.iter().all(|known| known.key.kind != seen.kind) {
            return self.warn();
        }
        ui::remark(&self.replace(seen).unwrap_or_else(|failure| failure.render("warning").trim_end().to_owned()));
    }

    /// Says that ssh may refuse the key of the new container, which has not been seen.
    pub(crate) fn warn(&self) {
        if !self.known.is_empty() {
            let id = self.id;
            ui::remark(&format!(
                "warning: the stored host key of VPS {id} is that of the old container;\n  \
                 forget it with `kohakuriver ssh forget {id}` if ssh refuses the new one"
            ));
        }
    }

    fn replace(&self, seen: &HostKey) -> Result<String, Failure> {
        let id = self.id;
        let cannot = || {
            Failure::new(format!("cannot store the new host key of VPS {id}"))
                .hint(format!("forget the old one: `kohakuriver ssh forget {id}`"))
        };
        let prints = || -> io::Result<(String, Vec<String>)> {
            let before: io::Result<_> = self.known.iter().map(|known| known.key.fingerprint()).collect();
            Ok((seen.fingerprint()?, before?))
        };
        let (now, before) = prints().map_err(|error| cannot().because(&error))?;
        let Some(store) = &self.store else { return Err(cannot()) };
        store.replace(id, seen).map_err(|error| cannot().because(&error))?;
        Ok(format!(
            "the restart gave VPS {id} a new host key, which is stored now in place of the old one:\n  \
             new: {now} ({kind})\n  old: {before}",
            kind = seen.kind,
            before = before.join(", ")
        ))
    }
}
