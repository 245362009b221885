//! Access lists of files, by the program `icacls` of the system: it takes a user's name, where the system's calls would
//! take its security identifier.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// The accounts that Windows' OpenSSH lets read a key beside its owner: the system and the administrators. Windows
/// translates their names, so they are named by their identifiers.
const OTHERS: [&str; 2] = ["*S-1-5-18:F", "*S-1-5-32-544:F"];

/// Leaves the file at `path` to the user.
///
/// # Errors
/// The output of the program.
#[cfg(feature = "cli")]
pub(super) fn make_private(path: &Path) -> std::io::Result<()> {
    use std::path::PathBuf;
    use std::process::{Command, Stdio};

    let words = private(path);
    // No other program of the name, wherever it is.
    let folder = std::env::var_os("SystemRoot").map(|root| PathBuf::from(root).join("System32")).unwrap_or_default();
    let program = folder.join(&words[0]).with_extension("exe");
    let output = Command::new(program).args(&words[1..]).stdin(Stdio::null()).output()?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = [output.stdout, output.stderr].concat();
            Err(std::io::Error::other(format!("icacls: {}", String::from_utf8_lossy(&said).trim())))
        }
    }
}

/// The program and its arguments that leave the file or the folder at `path` to the user, the system and the
/// administrators: what it inherits from its folder goes.
pub(super) fn private(path: &Path) -> Vec<OsString> {
    private_to(path, &user())
}

/// The program and its arguments that give the user access to the file or the folder at `path`.
pub(super) fn access_of_user(path: &Path) -> Vec<OsString> {
    command(path, &[OsStr::new("/grant"), &all_rights(&user())])
}

fn private_to(path: &Path, user: &OsStr) -> Vec<OsString> {
    let rights = all_rights(user);
    let words = ["/inheritance:r", "/grant:r"].map(OsStr::new).into_iter().chain([rights.as_os_str()]);
    command(path, &words.chain(OTHERS.map(OsStr::new)).collect::<Vec<_>>())
}

fn command(path: &Path, words: &[&OsStr]) -> Vec<OsString> {
    let command = [OsStr::new("icacls"), path.as_os_str()].into_iter().chain(words.iter().copied());
    command.chain([OsStr::new("/q")]).map(OsStr::to_owned).collect()
}

fn all_rights(user: &OsStr) -> OsString {
    [user, OsStr::new(":F")].into_iter().collect()
}

/// The user's name, with the domain that knows it.
fn user() -> OsString {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let name = variable("USERNAME").unwrap_or_default();
    match variable("USERDOMAIN") {
        Some(domain) => [domain.as_os_str(), OsStr::new("\\"), &name].into_iter().collect(),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_left_to_its_user_and_to_those_whom_ssh_accepts() {
        let path = Path::new(r"C:\Users\A B\.ssh\id-kohakuriver-42");
        let words = private_to(path, OsStr::new(r"DESK TOP\A B"));
        let expected = [
            "icacls",
            r"C:\Users\A B\.ssh\id-kohakuriver-42",
            "/inheritance:r",
            "/grant:r",
            r"DESK TOP\A B:F",
            "*S-1-5-18:F",
            "*S-1-5-32-544:F",
            "/q",
        ];
        assert_eq!(words, expected.map(OsString::from));
    }
}
