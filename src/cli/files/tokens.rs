//! Stores and removes tokens: `tokens.json` and, for the default cluster, the file of KohakuRiver's Python CLI, so that it
//! is logged in as well.
//!
//! A token stands in one place. One that would be lost from `auth.json` because another default cluster's takes its place
//! moves to `tokens.json`.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::api::{NewToken, User};
use crate::failure::Failure;
use crate::secret::Token;
use crate::settings::{self, Origin, Settings};
use crate::ssh::user_file::{FolderLock, UserFile, UserFileError};
use crate::sys;
use crate::tokens::{self, AUTH_JSON, Found, Source, Store, TOKENS, hash};

/// The two files of one user.
pub(crate) struct Files {
    ours: PathBuf,
    auth: PathBuf,
}

impl Files {
    pub(crate) fn of_user() -> Result<Self, Failure> {
        let (ours, auth) = (tokens::path(), settings::auth_path());
        let both = ours.zip(auth).map(|(ours, auth)| Self { ours, auth });
        both.ok_or_else(|| Failure::new("your home directory is unknown").hint(sys::FIND_HOME))
    }

    /// Stores `record` for the Host in `settings`. Returns the file. On failure, both files have their old content.
    pub(crate) fn store(&self, settings: &Settings, token: &Token, record: &Value) -> Result<PathBuf, Failure> {
        let _lock = self.lock()?;
        let api = settings.api_url();
        let (ours, store) = self.read()?;
        let bound = Token::from_auth_file(&self.auth).ok().flatten();
        let bound = bound.and_then(|token| store.host_of_auth_file(&token)).map(str::to_owned);
        let mut content = store.into_content();
        // A token of auth.json is replaced there: else the old token would still be sent.
        let is_in_auth_file = bound.as_ref() == Some(&api);
        if !settings.is_default && !is_in_auth_file {
            tokens_of(&mut content).insert(api, record.clone());
            self.write(&self.ours, &ours, &content.into())?;
            return Ok(self.ours.clone());
        }
        let auth = UserFile::read(&self.auth).map_err(|error| cannot_store(&self.auth, &error))?;
        // Nobody could tell later whose token it was, if no Host has accepted it.
        if let Some(other) = bound.filter(|other| *other != api)
            && let Some(kept) = self.record(&api, &self.auth)
        {
            tokens_of(&mut content).insert(other, kept);
        }
        tokens_of(&mut content).remove(&api);
        content.insert(AUTH_JSON.to_owned(), json!({ "sha256": hash(token), "host_api": api }));
        self.write(&self.ours, &ours, &content.into())?;
        if let Err(failure) = self.write(&self.auth, &auth, record) {
            // The hash of a token that is nowhere harms nothing, but a token that has moved must not stand in two places.
            let now = UserFile::read(&self.ours).ok();
            let undone = now.and_then(|now| now.replace_privately(ours.content().unwrap_or(b"{}\n")).ok());
            return Err(if undone.is_some() { failure } else { failure.cause("tokens.json can't be put back") });
        }
        Ok(self.auth.clone())
    }

    /// Before the default cluster's Host becomes `next`: a token in `auth.json` that no Host has accepted stays the present
    /// one's, and does not follow.
    pub(crate) fn keep_from(&self, next: &Origin) -> Result<(), Failure> {
        // Without usable settings it was sent nowhere, and its file tells nobody whose it is.
        let Some(present) = tokens::home().ok().filter(|present| present != next) else { return Ok(()) };
        match tokens::stored(&present) {
            Ok(Some(Found { token, source: Source::AuthFile { is_bound: false, .. } })) => {
                self.bind(&present.to_string(), &token)
            }
            _ => Ok(()),
        }
    }

    /// Remembers that the Host at `api` has accepted this token of `auth.json`.
    pub(crate) fn bind(&self, api: &str, token: &Token) -> Result<(), Failure> {
        let _lock = self.lock()?;
        let (ours, store) = self.read()?;
        let mut content = store.into_content();
        content.insert(AUTH_JSON.to_owned(), json!({ "sha256": hash(token), "host_api": api }));
        self.write(&self.ours, &ours, &content.into())
    }

    /// Removes the token for the Host API `api` from the file that it is in.
    pub(crate) fn remove(&self, api: &str, path: &Path) -> Result<(), Failure> {
        let _lock = self.lock()?;
        if path == self.auth {
            let auth = UserFile::read(&self.auth).and_then(|auth| auth.remove());
            return auth
                .map_err(|error| Failure::new(format!("cannot remove {}", self.auth.display())).because(&error));
        }
        let (ours, store) = self.read()?;
        let mut content = store.into_content();
        tokens_of(&mut content).remove(api);
        let text = format!("{:#}\n", Value::from(content));
        ours.replace_privately(text.as_bytes()).map_err(|error| {
            Failure::new(format!("cannot remove the token from {}", self.ours.display())).because(&error)
        })
    }

    /// `auth.json`, if it can't be read and could only be for the Host in `settings`.
    pub(crate) fn unreadable(&self, settings: &Settings) -> Option<PathBuf> {
        (settings.is_default && Token::from_auth_file(&self.auth).is_err()).then(|| self.auth.clone())
    }

    /// The record of the token in the file `path`: the token, the user, and the id that revokes the token, if a login made it.
    pub(crate) fn record(&self, api: &str, path: &Path) -> Option<Value> {
        match path == self.auth {
            true => serde_json::from_reader(sys::open_regular(&self.auth).ok()?).ok(),
            false => Store::at(&self.ours).ok()?.record(api).cloned(),
        }
    }

    fn lock(&self) -> Result<FolderLock, Failure> {
        let folder = self.ours.parent().unwrap_or(Path::new("/"));
        sys::create_private_folder_all(folder)
            .map_err(|error| cannot_store(&self.ours, &UserFileError::Write(error)))?;
        FolderLock::of(folder).map_err(|error| cannot_store(&self.ours, &error))
    }

    fn read(&self) -> Result<(UserFile, Store), Failure> {
        let store = Store::at(&self.ours).map_err(|error| {
            let hint = format!("move it away, and log in again: `{}`", sys::move_away(&self.ours, ".old"));
            Failure::new("cannot change the stored tokens").because(&error).hint(hint)
        })?;
        let file = UserFile::read(&self.ours).map_err(|error| cannot_store(&self.ours, &error))?;
        Ok((file, store))
    }

    fn write(&self, path: &Path, file: &UserFile, content: &Value) -> Result<(), Failure> {
        let text = format!("{content:#}\n");
        file.replace_privately(text.as_bytes()).map_err(|error| cannot_store(path, &error))
    }
}

/// The record of a token that the user has typed in.
pub(crate) fn record(token: &Token, user: &User) -> Value {
    json!({ "token": token.expose(), "username": user.name, "role": user.role.name() })
}

/// The record of a token that a login has made, with the id that revokes it.
pub(crate) fn record_of_new(new: &NewToken, user: &User) -> Value {
    json!({
        "token": new.token.expose(), "token_id": new.id, "token_name": new.name,
        "username": user.name, "role": user.role.name(),
    })
}

/// The tokens in `tokens.json`. What another type of value holds is no token.
fn tokens_of(content: &mut Map<String, Value>) -> &mut Map<String, Value> {
    let tokens = content.entry(TOKENS).or_insert_with(|| json!({}));
    if !tokens.is_object() {
        *tokens = json!({});
    }
    match tokens {
        Value::Object(tokens) => tokens,
        _ => unreachable!("it was made an object"),
    }
}

fn cannot_store(path: &Path, error: &UserFileError) -> Failure {
    Failure::new(format!("cannot store the token in {}", path.display()))
        .because(error)
        .hint("set the token in KOHAKURIVER_TOKEN instead")
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::api::Role;
    use crate::settings::{ConfigFile, Flags};

    const CONFIG: &str = r#"{"host":"work-head","clusters":{"lab":{"host":"lab-head"}}}"#;

    fn settings(config: &str, cluster: Option<&str>) -> Settings {
        let flags = Flags { cluster: cluster.map(|name| name.parse().unwrap()), ..Flags::default() };
        Settings::resolve(flags, &|_| None, ConfigFile::parse(config.as_bytes()).unwrap()).unwrap()
    }

    fn files(folder: &Path) -> Files {
        let own = folder.join(".kohakuriver");
        Files { ours: own.join("tokens.json"), auth: own.join("auth.json") }
    }

    fn json_at(path: &Path) -> Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn the_default_clusters_token_is_the_python_clis_and_each_other_one_has_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let user = User { name: "alice".into(), role: Role::User };
        let [work, lab] = ["work-token", "lab-token"].map(|text| Token::new(text).unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let new = NewToken { token: work.clone(), id: 7, name: "laptop".into() };
        let stored = files.store(&settings(CONFIG, None), &work, &record_of_new(&new, &user)).unwrap();
        assert_eq!((stored.as_path(), mode(&stored)), (files.auth.as_path(), 0o600));
        let of_work = json!({
            "token": "work-token", "token_id": 7, "token_name": "laptop", "username": "alice", "role": "user"
        });
        assert_eq!(json_at(&files.auth), of_work);
        fs::set_permissions(&files.ours, Permissions::from_mode(0o644)).unwrap();
        files.store(&settings(CONFIG, Some("lab")), &lab, &record(&lab, &user)).unwrap();
        assert_eq!((json_at(&files.auth), mode(&files.ours)), (of_work.clone(), 0o600));
        let store = Store::at(&files.ours).unwrap();
        assert_eq!(store.host_of_auth_file(&work), Some("http://work-head:8000"));
        assert_eq!(store.host_of_auth_file(&lab), None);
        assert_eq!(store.record("http://lab-head:8000").unwrap()["token"], "lab-token");
        assert_eq!(files.record("http://work-head:8000", &files.auth), Some(of_work.clone()));

        // The other cluster becomes the default one: nothing is lost.
        let other = r#"{"default_cluster":"lab","clusters":{"lab":{"host":"lab-head"},"work":{"host":"work-head"}}}"#;
        let stored = files.store(&settings(other, None), &lab, &record(&lab, &user)).unwrap();
        assert_eq!((stored, json_at(&files.auth)["token"].as_str()), (files.auth.clone(), Some("lab-token")));
        let store = Store::at(&files.ours).unwrap();
        assert_eq!(store.record("http://work-head:8000"), Some(&of_work));
        assert_eq!(store.record("http://lab-head:8000"), None);
        assert_eq!(files.record("http://work-head:8000", &files.ours), Some(of_work));

        files.remove("http://work-head:8000", &files.ours).unwrap();
        assert_eq!(Store::at(&files.ours).unwrap().record("http://work-head:8000"), None);
        files.remove("http://lab-head:8000", &files.auth).unwrap();
        assert!(!files.auth.exists());
    }

    #[test]
    fn a_file_that_can_not_be_read_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        fs::create_dir(files.ours.parent().unwrap()).unwrap();
        fs::write(&files.ours, "{\"tokens\": sekrit").unwrap();
        let token = Token::new("new").unwrap();
        let failure = files.store(&settings(CONFIG, None), &token, &json!({ "token": "new" })).unwrap_err();
        let text = failure.render("p");
        assert!(text.contains("it is not one JSON object") && !text.contains("sekrit"), "{text}");
        assert_eq!(fs::read_to_string(&files.ours).unwrap(), "{\"tokens\": sekrit");
        assert!(!files.auth.exists());
    }
}
