//! `~/.kohakuriver/auth.json`, in the format of KohakuRiver's Python CLI.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::api::{NewToken, User};
use crate::failure::Failure;
use crate::secret::Token;
use crate::settings;
use crate::ssh::user_file::UserFile;
use crate::sys;

pub(crate) struct AuthFile {
    path: PathBuf,
}

impl AuthFile {
    pub(crate) fn of_user() -> Result<Self, Failure> {
        let path = settings::auth_path();
        path.map(|path| Self { path }).ok_or_else(|| Failure::new("your home directory is unknown").hint("set HOME"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Stores the token of `user`. On failure the old content stays.
    pub(crate) fn store(&self, token: &Token, user: &User) -> Result<(), Failure> {
        self.write(json!({ "token": token.expose(), "username": user.name, "role": user.role.name() }))
    }

    /// [`AuthFile::store`] for a token that a login made, with the id that revokes it.
    pub(crate) fn store_new(&self, new: &NewToken, user: &User) -> Result<(), Failure> {
        self.write(json!({
            "token": new.token.expose(), "token_id": new.id, "token_name": new.name,
            "username": user.name, "role": user.role.name(),
        }))
    }

    /// The id that revokes the stored token, if a login made it.
    pub(crate) fn token_id(&self) -> Option<u64> {
        let value: Value = serde_json::from_reader(sys::open_regular(&self.path).ok()?).ok()?;
        value["token_id"].as_u64()
    }

    /// Removes the file; returns whether there was one.
    pub(crate) fn remove(&self) -> Result<bool, Failure> {
        match fs::remove_file(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Failure::new(format!("cannot remove {}", self.path.display())).because(&error)),
        }
    }

    fn write(&self, value: Value) -> Result<(), Failure> {
        let cannot = || {
            Failure::new(format!("cannot store the token in {}", self.path.display()))
                .hint("set the token in KOHAKURIVER_TOKEN instead")
        };
        if let Some(folder) = self.path.parent() {
            sys::create_private_folder_all(folder).map_err(|error| cannot().because(&error))?;
        }
        let file = UserFile::read(&self.path);
        file.and_then(|file| file.replace_privately(format!("{value:#}\n").as_bytes()))
            .map_err(|error| cannot().because(&error))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::api::Role;

    #[test]
    fn the_file_has_the_python_clis_format_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let file = AuthFile { path: folder.path().join(".kohakuriver/auth.json") };
        let user = User { name: "alice".into(), role: Role::User };
        let token = Token::new("5ekr1t").unwrap();
        let read = || -> Value { serde_json::from_slice(&fs::read(file.path()).unwrap()).unwrap() };
        let mode = || fs::metadata(file.path()).unwrap().permissions().mode() & 0o777;
        file.store(&token, &user).unwrap();
        assert_eq!(read(), json!({ "token": "5ekr1t", "username": "alice", "role": "user" }));
        assert_eq!((mode(), file.token_id()), (0o600, None));

        fs::set_permissions(file.path(), Permissions::from_mode(0o644)).unwrap();
        file.store_new(&NewToken { token, id: 7, name: "laptop".into() }, &user).unwrap();
        let expected = json!({
            "token": "5ekr1t", "token_id": 7, "token_name": "laptop", "username": "alice", "role": "user"
        });
        assert_eq!((read(), mode(), file.token_id()), (expected, 0o600, Some(7)));
        assert!(Token::from_auth_file(file.path()).unwrap().is_some());
        assert!(file.remove().unwrap());
        assert!(!file.remove().unwrap());
    }
}
