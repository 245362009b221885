//! The user's files.

use std::path::PathBuf;

/// `config.json` in the user's configuration directory; `None` without a home directory.
pub fn config_path() -> Option<PathBuf> {
    directories::ProjectDirs::from("", "", "kohakuriver").map(|dirs| dirs.config_dir().join("config.json"))
}

/// `~/.kohakuriver/auth.json`, where KohakuRiver's Python CLI keeps the token.
pub fn auth_path() -> Option<PathBuf> {
    home_dir().map(|home| home.join(".kohakuriver").join("auth.json"))
}

/// The user's home directory.
pub fn home_dir() -> Option<PathBuf> {
    directories::BaseDirs::new().map(|dirs| dirs.home_dir().to_owned())
}
