//! `config.json`, to be changed: all that a command doesn't know stays.
//!
//! The keys of a cluster stand in `clusters`, or at the top level: there, a file that knew one Host has always had them.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::cli::programs::host_keys;
use crate::cluster::UNNAMED;
use crate::failure::Failure;
use crate::settings::{
    self, CLUSTER_KEYS, CLUSTERS, ConfigFile, ConfigFileError, DEFAULT_CLUSTER, DEFAULT_HOST, Flags, Settings,
};
use crate::ssh::keys::expand_home;
use crate::ssh::user_file::{FolderLock, UserFile, UserFileError};
use crate::sys;

/// The user's configuration file. Nobody else changes it with this program meanwhile.
pub(crate) struct ConfigJson {
    path: PathBuf,
    stored: UserFile,
    object: Map<String, Value>,
    _lock: FolderLock,
}

impl ConfigJson {
    pub(crate) fn path_of_user() -> Result<PathBuf, Failure> {
        let path = settings::config_path();
        path.ok_or_else(|| Failure::new("your configuration directory is unknown").hint(sys::FIND_HOME))
    }

    /// The file of this user. It may hold unusable values: a user corrects them with a command.
    pub(crate) fn of_user() -> Result<Self, Failure> {
        Self::at(Self::path_of_user()?)
    }

    fn at(path: PathBuf) -> Result<Self, Failure> {
        let cannot = |error: &UserFileError| cannot_change(&path).because(error);
        let folder = path.parent().unwrap_or(Path::new("/"));
        sys::create_private_folder_all(folder).map_err(|error| cannot(&UserFileError::Write(error)))?;
        let lock = FolderLock::of(folder).map_err(|error| cannot(&error))?;
        let stored = UserFile::read(&path).map_err(|error| cannot(&error))?;
        let text = stored.content().unwrap_or(b"{}");
        // All but one of them would be lost.
        if let Err(error @ ConfigFileError::TwoOfOneName(_)) = ConfigFile::parse(text) {
            return Err(cannot_change(&path).because(&error).hint("correct it in an editor"));
        }
        let object = serde_json::from_slice(text).map_err(|error| {
            let failure = cannot_change(&path).cause(format!("it is not one JSON object: {error}"));
            failure.hint("correct it in an editor, or move it away")
        })?;
        Ok(Self { path, stored, object, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The settings that are the same for each cluster, and, for a file that names none, those of its only one.
    pub(crate) fn top(&mut self) -> &mut Map<String, Value> {
        &mut self.object
    }

    /// The name of the default cluster, whether there is one or not.
    pub(crate) fn default_name(&self) -> String {
        self.object.get(DEFAULT_CLUSTER).and_then(Value::as_str).unwrap_or(UNNAMED).to_owned()
    }

    /// Whether the settings of the default cluster stand at the top level.
    fn has_top(&self) -> bool {
        CLUSTER_KEYS.iter().any(|key| self.object.contains_key(*key))
    }

    fn is_listed(&self, name: &str) -> bool {
        self.object.get(CLUSTERS).and_then(|clusters| clusters.get(name)).is_some()
    }

    /// The object with the settings of the cluster `name`, if there is one.
    pub(crate) fn keys_of(&mut self, name: &str) -> Option<&mut Map<String, Value>> {
        if self.is_listed(name) {
            return self.object.get_mut(CLUSTERS)?.get_mut(name)?.as_object_mut();
        }
        (name == self.default_name()).then_some(&mut self.object)
    }

    /// Adds the cluster `name`, or changes these settings of it and keeps its others; null removes one. The first cluster
    /// of a file becomes the default one.
    pub(crate) fn put(&mut self, name: &str, keys: Map<String, Value>) -> Result<(), Failure> {
        let is_first = !self.has_top() && self.object.get(CLUSTERS).is_none_or(|all| all == &json!({}));
        let values = keys.clone().into_iter().filter(|(_, value)| !value.is_null());
        if name == UNNAMED && is_first || !is_first && self.keys_of(name).is_some() {
            if let Some(own) = self.keys_of(name) {
                own.retain(|key, _| keys.get(key).is_none_or(|value| !value.is_null()));
                own.extend(values);
            }
            return Ok(());
        }
        self.clusters()?.insert(name.to_owned(), values.collect());
        if is_first {
            self.object.insert(DEFAULT_CLUSTER.to_owned(), name.into());
        }
        Ok(())
    }

    pub(crate) fn set_default(&mut self, name: &str) -> Result<(), Failure> {
        if self.has_top() {
            let before = self.default_name();
            if before == name && !self.is_listed(name) {
                return Ok(());
            }
            let mut keys = self.take_top();
            keys.entry("host").or_insert_with(|| DEFAULT_HOST.into());
            self.clusters()?.insert(before, keys.into());
        }
        self.object.insert(DEFAULT_CLUSTER.to_owned(), name.into());
        Ok(())
    }

    /// Gives the cluster `old` another name.
    pub(crate) fn rename(&mut self, old: &str, new: &str) -> Result<(), Failure> {
        let is_default = self.default_name() == old;
        if self.is_listed(old) {
            let clusters = self.clusters()?;
            if let Some(keys) = clusters.remove(old) {
                clusters.insert(new.to_owned(), keys);
            }
        }
        if is_default {
            self.object.insert(DEFAULT_CLUSTER.to_owned(), new.into());
        }
        Ok(())
    }

    /// Removes the cluster `name`. If it was the default one, there is none afterwards.
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), Failure> {
        let is_default = self.default_name() == name;
        if self.is_listed(name) {
            self.clusters()?.remove(name);
        } else if is_default {
            self.take_top();
        }
        if is_default {
            self.object.remove(DEFAULT_CLUSTER);
        }
        Ok(())
    }

    fn take_top(&mut self) -> Map<String, Value> {
        CLUSTER_KEYS.iter().filter_map(|key| self.object.remove_entry(*key)).collect()
    }

    fn clusters(&mut self) -> Result<&mut Map<String, Value>, Failure> {
        let clusters = self.object.entry(CLUSTERS).or_insert_with(|| json!({}));
        let wrong = || cannot_change(&self.path).cause(format!("`{CLUSTERS}` must be an object"));
        clusters.as_object_mut().ok_or_else(|| wrong().hint("correct it in an editor"))
    }

    /// Replaces the file, in which `key` was changed, if programs can use the new one.
    pub(crate) fn write(&self, key: &str) -> Result<(), Failure> {
        let text = format!("{:#}\n", Value::Object(self.object.clone()));
        let file = ConfigFile::parse(text.as_bytes()).map_err(|error| {
            let failure = Failure::usage(format!("{} would not be usable", self.path.display())).because(&error);
            failure.hint("see the settings with `kohakuriver config set --help`")
        })?;
        // An address is checked only here.
        for (name, _) in &file.clusters {
            let flags = Flags { cluster: Some(name.clone()), ..Flags::default() };
            Settings::resolve(flags, &|_| None, file.clone())?;
        }
        if let Some(file) = file.known_hosts.filter(|_| key == "known_hosts") {
            host_keys::check(&expand_home(&file, settings::home_dir().as_deref()))?;
        }
        let has_password = file.clusters.iter().any(|(_, keys)| keys.has_password());
        let replaced = match has_password {
            true => self.stored.replace_privately(text.as_bytes()),
            false => self.stored.replace(text.as_bytes()),
        };
        replaced.map_err(|error| cannot_change(&self.path).because(&error))
    }
}

fn cannot_change(path: &Path) -> Failure {
    Failure::new(format!("cannot change {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The file after `change`.
    fn after(before: &str, change: impl FnOnce(&mut ConfigJson) -> Result<(), Failure>) -> Value {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kohakuriver/config.json");
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, before).unwrap();
        let mut file = ConfigJson::at(path.clone()).unwrap();
        change(&mut file).unwrap();
        file.write(CLUSTERS).unwrap_or_else(|failure| panic!("{failure:?}"));
        serde_json::from_slice(&fs::read(&path).unwrap()).unwrap()
    }

    fn host(host: &str) -> Map<String, Value> {
        json!({ "host": host }).as_object().unwrap().clone()
    }

    #[test]
    fn each_change_keeps_everything_else() {
        let one = r#"{"host":"a","port":9,"x":1}"#;
        let two = r#"{"host":"a","x":1,"clusters":{"lab":{"host":"b","y":2}}}"#;
        let named = r#"{"default_cluster":"lab","clusters":{"lab":{"host":"b"},"work":{"host":"a"}}}"#;
        for (before, after) in [
            (after("{}", |file| file.put("default", host("a"))), json!({ "host": "a" })),
            (
                after("{}", |file| file.put("lab", host("b"))),
                json!({ "default_cluster": "lab", "clusters": { "lab": { "host": "b" } } }),
            ),
            (after(one, |file| file.put("default", host("c"))), json!({ "host": "c", "port": 9, "x": 1 })),
            (
                after(one, |file| file.put("lab", host("b"))),
                json!({ "host": "a", "port": 9, "x": 1, "clusters": { "lab": { "host": "b" } } }),
            ),
            (
                after(two, |file| file.put("lab", host("c"))),
                json!({ "host": "a", "x": 1, "clusters": { "lab": { "host": "c", "y": 2 } } }),
            ),
            (
                after(two, |file| file.set_default("lab")),
                json!({
                    "x": 1, "default_cluster": "lab",
                    "clusters": { "lab": { "host": "b", "y": 2 }, "default": { "host": "a" } }
                }),
            ),
            (
                after(r#"{"port":9,"clusters":{"lab":{"host":"b"}}}"#, |file| file.set_default("lab")),
                json!({
                    "default_cluster": "lab",
                    "clusters": { "lab": { "host": "b" }, "default": { "host": "localhost", "port": 9 } }
                }),
            ),
            (
                after(two, |file| file.rename("default", "work")),
                json!({ "host": "a", "x": 1, "default_cluster": "work", "clusters": { "lab": { "host": "b", "y": 2 } } }),
            ),
            (
                after(named, |file| file.rename("lab", "home")),
                json!({ "default_cluster": "home", "clusters": { "home": { "host": "b" }, "work": { "host": "a" } } }),
            ),
            (after(two, |file| file.remove("lab")), json!({ "host": "a", "x": 1, "clusters": {} })),
            (
                after(two, |file| file.remove("default")),
                json!({ "x": 1, "clusters": { "lab": { "host": "b", "y": 2 } } }),
            ),
            (after(named, |file| file.remove("lab")), json!({ "clusters": { "work": { "host": "a" } } })),
        ] {
            assert_eq!(before, after);
        }
    }

    #[test]
    fn a_file_that_no_program_could_use_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let before = r#"{"host":"a"}"#;
        fs::write(&path, before).unwrap();
        let mut file = ConfigJson::at(path.clone()).unwrap();
        file.put("lab", host("not a host")).unwrap();
        let text = file.write(CLUSTERS).unwrap_err().render("p");
        assert!(text.contains("the Host is `not a host`"), "{text}");
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
    }

    #[test]
    fn a_file_with_a_password_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let mode_after = |url: &str| {
            fs::write(&path, "{}").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            let mut file = ConfigJson::at(path.clone()).unwrap();
            file.top().insert("upstream_proxy".to_owned(), url.into());
            file.write("upstream_proxy").unwrap();
            fs::metadata(&path).unwrap().permissions().mode() & 0o777
        };
        assert_eq!(["http://me@proxy", "http://me:sekrit@proxy"].map(mode_after), [0o644, 0o600]);
    }
}
