//! The search for programs on PATH.

use std::env::consts::EXE_SUFFIX;
use std::ffi::OsStr;
use std::path::PathBuf;

use crate::sys;

/// The program called `name`: the system's own, or the first on PATH, as an absolute path.
pub(crate) fn first(name: &str) -> Option<PathBuf> {
    let of_system = || sys::system_program(name);
    of_system().or_else(|| find_all(name, std::env::var_os("PATH").as_deref()).into_iter().next())
}

/// The file name of the program `name`.
pub(crate) fn file_name(name: &str) -> String {
    format!("{name}{EXE_SUFFIX}")
}

/// Every program called `name` on PATH, in order, as absolute paths.
///
/// An empty entry means the working directory to a shell. It is skipped here, so that no file of the working directory
/// is run by accident.
pub(crate) fn find_all(name: &str, search_path: Option<&OsStr>) -> Vec<PathBuf> {
    let Some(search_path) = search_path else { return Vec::new() };
    let file = file_name(name);
    std::env::split_paths(search_path)
        .filter(|folder| !folder.as_os_str().is_empty())
        .filter_map(|folder| std::path::absolute(folder.join(&file)).ok())
        .filter(|path| sys::is_executable(path))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_programs_are_found_and_in_order() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path();
        for (name, mode) in [("a", 0o755), ("b", 0o644), ("c", 0o755)] {
            fs::create_dir_all(folder.join(name)).unwrap();
            fs::write(folder.join(name).join("tool"), "").unwrap();
            fs::set_permissions(folder.join(name).join("tool"), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::create_dir_all(folder.join("d").join("tool")).unwrap();
        let entries = ["c", "", "b", "missing", "d", "a"];
        let path = std::env::join_paths(entries.map(|name| match name {
            "" => PathBuf::new(),
            name => folder.join(name),
        }))
        .unwrap();
        let found = find_all("tool", Some(&path));
        assert_eq!(found, [folder.join("c").join("tool"), folder.join("a").join("tool")]);
    }
}
