//! The token for a Host: which one may be sent to it, if any.
//!
//! A token belongs to one Host API, by its origin: scheme, host and port. It leaves for that and for its gateway (the one
//! that settings name for this Host, such as `--proxy`), and for nothing else. There are three places:
//!
//! - `KOHAKURIVER_TOKEN` counts for the Host that the same environment names; without one, for the Host of a command line
//!   that a user typed, and for the default cluster's. A command about all clusters names no Host.
//! - `~/.kohakuriver/auth.json`, the file of KohakuRiver's Python CLI, has no Host in it: its token is for the default cluster's Host.
//!   Once a Host has accepted that token, `tokens.json` remembers which, by a hash, and it is for that Host alone.
//! - `~/.kohakuriver/tokens.json` has the other tokens, each under its Host API.
//!
//! This module reads; the command writes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::failure::Failure;
use crate::hex::hex;
use crate::secret::{AuthFileError, Token, read_stored};
use crate::settings::env_vars::{KOHAKURIVER_CLUSTER, KOHAKURIVER_HOST, KOHAKURIVER_TOKEN};
use crate::settings::{self, ConfigFile, Flags, Origin, Settings, auth_path, home_api, process_environment, token_in};
use crate::sys;

/// Largest `tokens.json` that is read, in bytes: some thousand tokens.
const MAX_FILE: u64 = 1024 * 1024;

/// The member of `tokens.json` with the tokens.
pub const TOKENS: &str = "tokens";
/// The member of `tokens.json` with the Host of the token in `auth.json`.
pub const AUTH_JSON: &str = "auth_json";

/// The author of the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Line {
    /// A person, who has named a Host or means the default one.
    Typed,
    /// An entry of ssh_config, or a command that goes through all clusters: the Host says nothing about a token in the
    /// environment.
    Generated,
}

/// The source of a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// The environment.
    Env,
    /// The Python CLI's file. With `is_bound` unset, no Host has accepted it yet.
    AuthFile {
        /// The file.
        path: PathBuf,
        /// Whether its Host is known.
        is_bound: bool,
    },
    /// Our file.
    Ours(PathBuf),
}

impl Source {
    /// The file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Env => None,
            Self::AuthFile { path, .. } | Self::Ours(path) => Some(path),
        }
    }
}

/// A token and its source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The token.
    pub token: Token,
    /// Its source.
    pub source: Source,
}

/// The use of the token in the environment, for [`how_to_log_in`].
static OF_ENV: AtomicU8 = AtomicU8::new(NONE);
const NONE: u8 = 0;
const USED: u8 = 1;
/// The token is for another Host.
const OF_OTHER: u8 = 2;

/// The token for the Host in `settings`.
///
/// # Errors
/// When the token in the environment, or a file with tokens, can't be used. The message quotes neither.
pub fn of(settings: &Settings) -> Result<Option<Found>, Failure> {
    let is_typed = settings.cluster_source != settings::Source::File;
    for_api(Some(&settings.api()), if is_typed { Line::Typed } else { Line::Generated })
}

/// The token for the Host API `api`. If that is unknown, only a token in the environment can count.
///
/// # Errors
/// The errors of [`of`].
pub fn for_api(api: Option<&Origin>, line: Line) -> Result<Option<Found>, Failure> {
    if process_environment(KOHAKURIVER_TOKEN).is_some() {
        let named = env_api()?;
        let counts = match (named, line) {
            (Some(named), _) => api.is_none_or(|api| named == *api),
            (None, Line::Typed) => true,
            (None, Line::Generated) => api == Some(&home()?),
        };
        OF_ENV.store(if counts { USED } else { OF_OTHER }, Ordering::Relaxed);
        if counts {
            return Ok(token_in(KOHAKURIVER_TOKEN)?.map(|token| Found { token, source: Source::Env }));
        }
    }
    api.map_or(Ok(None), stored)
}

/// Whether the token for the Host in `settings` is the environment's, and only the command line names the Host.
///
/// # Errors
/// The errors of [`of`].
pub fn is_of_command_line(settings: &Settings) -> Result<bool, Failure> {
    Ok(of(settings)?.is_some_and(|found| found.source == Source::Env) && env_api()?.is_none())
}

/// The Host API that the environment names.
fn env_api() -> Result<Option<Origin>, Failure> {
    if process_environment(KOHAKURIVER_HOST).or_else(|| process_environment(KOHAKURIVER_CLUSTER)).is_none() {
        return Ok(None);
    }
    let settings = Settings::resolve(Flags::default(), &process_environment, ConfigFile::default());
    let settings = settings.ok().filter(Settings::names_api).map_or_else(|| Settings::load(Flags::default()), Ok)?;
    Ok(Some(settings.api()))
}

/// The Host of a token without a Host.
///
/// # Errors
/// The errors of [`home_api`].
pub fn home() -> Result<Origin, Failure> {
    home_api(&ConfigFile::load()?, &process_environment)
}

/// The stored token for `api`.
///
/// # Errors
/// When a file with tokens can't be used. The message doesn't quote it.
pub fn stored(api: &Origin) -> Result<Option<Found>, Failure> {
    let cannot = |error: AuthFileError| {
        Failure::usage("cannot use the stored token").because(&error).hint("log in again with `kohakuriver auth login`")
    };
    let ours = Store::of_user().map_err(cannot)?;
    let Some(path) = auth_path() else { return ours.token(api).map_err(cannot) };
    // Without a usable configuration nobody knows, and the token stays here.
    let is_home = || home().is_ok_and(|home| home == *api);
    match Token::from_auth_file(&path) {
        Ok(Some(token)) => {
            let bound = ours.host_of_auth_file(&token);
            let is_bound = bound.is_some();
            if bound.map_or_else(is_home, |bound| bound == api.to_string()) {
                return Ok(Some(Found { token, source: Source::AuthFile { path, is_bound } }));
            }
        }
        Ok(None) => {}
        // An auth.json that can't be read is no other Host's business.
        Err(error) if is_home() => return Err(cannot(error)),
        Err(_) => {}
    }
    ours.token(api).map_err(cannot)
}

/// Every token that is stored on this machine or in the environment, so that none is ever shown.
pub fn all() -> Vec<Token> {
    let named = process_environment(KOHAKURIVER_TOKEN).and_then(|value| Token::new(&value.to_string_lossy()).ok());
    let auth_file = auth_path().and_then(|path| Token::from_auth_file(&path).ok().flatten());
    let ours = Store::of_user().map(|store| store.all()).unwrap_or_default();
    named.into_iter().chain(auth_file).chain(ours).collect()
}

/// The step that helps a user whom the Host does not know. A token in the environment wins over the one that a login
/// stores.
pub fn how_to_log_in() -> String {
    let login = "log in with `kohakuriver auth login`";
    match OF_ENV.load(Ordering::Relaxed) {
        USED => {
            let unset = sys::users_shell().unset(KOHAKURIVER_TOKEN);
            format!("correct {KOHAKURIVER_TOKEN}, or remove it with `{unset}` and {login}")
        }
        OF_OTHER => {
            format!("{KOHAKURIVER_TOKEN} is for the Host that the environment names, not for this one; {login}")
        }
        _ => login.to_owned(),
    }
}

/// The content of `tokens.json`.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    content: Map<String, Value>,
}

impl Store {
    /// The store of this user; without a home directory it is empty.
    ///
    /// # Errors
    /// The errors of [`Store::at`].
    pub fn of_user() -> Result<Self, AuthFileError> {
        path().map_or_else(|| Ok(Self { path: PathBuf::new(), content: Map::new() }), |path| Self::at(&path))
    }

    /// The file at `path`; an absent one is an empty one.
    ///
    /// # Errors
    /// When it can't be read, belongs to somebody else, or is no JSON object.
    pub fn at(path: &Path) -> Result<Self, AuthFileError> {
        // The parser's own message is left out: it may quote the file.
        let no_object = |_| AuthFileError::new(path, "it is not one JSON object".to_owned());
        let content = match read_stored(path, MAX_FILE)? {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(no_object)?,
            None => Map::new(),
        };
        Ok(Self { path: path.to_owned(), content })
    }

    /// All of it, to be written again.
    pub fn into_content(self) -> Map<String, Value> {
        self.content
    }

    /// The record for the Host API `api`: its token, and the facts that a login knows about it.
    pub fn record(&self, api: &str) -> Option<&Value> {
        self.content.get(TOKENS)?.get(api)
    }

    /// The Host API that has accepted this token of `auth.json`.
    pub fn host_of_auth_file(&self, token: &Token) -> Option<&str> {
        let bound = self.content.get(AUTH_JSON)?;
        (bound["sha256"] == hash(token)).then(|| bound["host_api"].as_str()).flatten()
    }

    fn token(&self, api: &Origin) -> Result<Option<Found>, AuthFileError> {
        let Some(record) = self.record(&api.to_string()) else { return Ok(None) };
        let Some(text) = record["token"].as_str() else { return Ok(None) };
        let token = Token::new(text).map_err(|error| AuthFileError::new(&self.path, error.to_string()))?;
        Ok(Some(Found { token, source: Source::Ours(self.path.clone()) }))
    }

    fn all(&self) -> Vec<Token> {
        let records = self.content.get(TOKENS).and_then(Value::as_object).into_iter().flat_map(Map::values);
        records.filter_map(|record| Token::new(record["token"].as_str()?).ok()).collect()
    }
}

/// `~/.kohakuriver/tokens.json`.
pub fn path() -> Option<PathBuf> {
    settings::home_dir().map(|home| home.join(".kohakuriver").join("tokens.json"))
}

/// The hash by which a token is recognised.
pub fn hash(token: &Token) -> String {
    hex(Sha256::digest(token.expose()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Output for other people is searched for each of them.
    #[test]
    fn a_store_knows_all_its_tokens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        let records =
            serde_json::json!({ "http://a:1": { "token": "one" }, "http://b:2": { "token": "two" }, "x": {} });
        std::fs::write(&path, serde_json::json!({ TOKENS: records }).to_string()).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let store = Store::at(&path).unwrap();
        assert_eq!(store.all(), ["one", "two"].map(|text| Token::new(text).unwrap()));
        let found = store.token(&Origin::plain("b", 2)).unwrap().unwrap();
        assert_eq!((found.token, found.source.path()), (Token::new("two").unwrap(), Some(path.as_path())));
    }
}
