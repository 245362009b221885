//! The place of VPSes' host keys: the file of the setting, ~/.ssh, or the user's folder for state if ~/.ssh can't be
//! written, as a Secret of Kubernetes can't.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::settings::env_vars::KOHAKURIVER_KNOWN_HOSTS;
use crate::ssh::keys::expand_home;
use crate::ssh::options::{earlier_known_hosts_path, known_hosts_path};
use crate::sys;

/// The files with host keys.
pub(crate) struct HostKeys {
    /// The file that keys are stored in.
    pub(crate) store: PathBuf,
    /// Files that can't be changed. Their keys count.
    pub(crate) others: Vec<PathBuf>,
}

impl HostKeys {
    /// The files of a user with this home directory.
    pub(crate) fn of(settings: &Settings, home: &Path) -> Self {
        if let Some(file) = &settings.known_hosts {
            return Self { store: expand_home(&file.value, Some(home)), others: Vec::new() };
        }
        let ours = in_folder_of_ssh(home);
        // A file or a dangling link in place of the folder is a mistake.
        let folder = home.join(".ssh");
        let is_read_only = (folder.is_dir() || folder.symlink_metadata().is_err()) && !can_be_written(&ours);
        match replacement().filter(|path| is_read_only && can_be_written(path)) {
            Some(store) => Self { store, others: Some(ours).filter(|ours| ours.is_file()).into_iter().collect() },
            None => Self { store: ours, others: Vec::new() },
        }
    }

    /// All of them, the one that stores keys first.
    pub(crate) fn files(self) -> Vec<PathBuf> {
        [vec![self.store], self.others].concat()
    }
}

/// The file in ~/.ssh. An earlier version's is kept while it exists, since entries elsewhere may name it.
pub(crate) fn in_folder_of_ssh(home: &Path) -> PathBuf {
    let earlier = earlier_known_hosts_path(home);
    if earlier.exists() { earlier } else { known_hosts_path(home) }
}

/// The files that the user's own ssh_config or arguments name, as `ssh -G` prints them, besides ssh's defaults.
pub(crate) fn of_user(options: &str) -> Vec<PathBuf> {
    let value = options.lines().find_map(|line| line.strip_prefix("userknownhostsfile ")).unwrap_or_default();
    let defaults = [".ssh/known_hosts", ".ssh/known_hosts2"];
    // ssh prints several paths without quotes.
    let paths = [value].into_iter().chain(value.split(' ')).map(Path::new);
    let mut files: Vec<PathBuf> = Vec::new();
    for path in paths.filter(|path| path.is_absolute() && path.is_file()) {
        if !defaults.iter().any(|default| path.ends_with(default)) && files.iter().all(|file| file != path) {
            files.push(path.to_owned());
        }
    }
    files
}

/// The file in place of the one in ~/.ssh.
fn replacement() -> Option<PathBuf> {
    let folders = directories::ProjectDirs::from("", "", "kohakuriver")?;
    Some(folders.state_dir().unwrap_or(folders.data_local_dir()).join("known_hosts"))
}

/// Whether this user may change the file at `path`, or create it with its folders.
pub(crate) fn can_be_written(path: &Path) -> bool {
    if path.exists() && sys::check_writable(path).is_err() {
        return false;
    }
    let folder = path.ancestors().skip(1).find(|folder| folder.symlink_metadata().is_ok());
    folder.is_some_and(|folder| folder.is_dir() && sys::check_usable_folder(folder).is_ok())
}

/// Whether `store` is a file, or can be created.
pub(crate) fn check(store: &Path) -> Result<(), Failure> {
    match store.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err(cannot_keep(store, "it is not a regular file")),
        Err(_) if can_be_written(store) => Ok(()),
        Err(_) => Err(cannot_keep(store, "it does not exist, and you can't create it there")),
    }
}

fn cannot_keep(store: &Path, why: impl Into<String>) -> Failure {
    Failure::new(format!("cannot keep host keys in {}", store.display())).cause(why).hint(format!(
        "name another file for them: `{}`, or `kohakuriver config set known_hosts \
         FILE`; without stored host keys, ssh could not detect an impostor",
        sys::users_shell().set(KOHAKURIVER_KNOWN_HOSTS, "FILE")
    ))
}

/// Creates `store` if it is missing, with the permissions of ssh's own files.
pub(crate) fn prepare(store: &Path) -> Result<(), Failure> {
    check(store)?;
    let cannot = |error: io::Error| cannot_keep(store, error.to_string());
    if let Some(folder) = store.parent() {
        sys::create_private_folder_all(folder).map_err(cannot)?;
    }
    match sys::private(OpenOptions::new().write(true).create_new(true)).open(store) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(cannot(error)),
        Ok(_) => {
            if replacement().is_some_and(|replacement| store == replacement) {
                ui::remark(&format!("~/.ssh can't be written, so host keys are kept in {}", store.display()));
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn known_hosts_is_created_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        fs::create_dir(&home).unwrap();
        let path = known_hosts_path(&home);
        prepare(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(path.parent().unwrap()), mode(&path)), (0o700, 0o600));
        fs::write(&path, "kept").unwrap();
        prepare(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
        fs::remove_dir_all(&home).unwrap();
        fs::write(&home, "no directory").unwrap();
        let failure = prepare(&path).unwrap_err();
        assert!(failure.what().contains("kohakuriver_known_hosts"), "{failure:?}");
    }
}
