//! The programs of others that the tests need. A missing one fails the test; nothing is skipped.

use std::path::{Path, PathBuf};

/// Where `name` is, on PATH or where Debian keeps servers.
pub(crate) fn tool(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    found
        .unwrap_or_else(|| panic!("`{name}` is not installed: run contrib/test.sh, which installs what the tests need"))
}

/// The programs under test.
pub(crate) const HELPER: &str = env!("CARGO_BIN_EXE_kohakuriver-proxy");
pub(crate) const CLI: &str = env!("CARGO_BIN_EXE_kohakuriver");
pub(crate) const GATEWAY: &str = env!("CARGO_BIN_EXE_kohakuriver-gateway");

/// The Python of the folder that contrib/test.sh has installed the older Host into.
pub(crate) fn older_host_python() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let python = target.join("older-host/bin/python");
    assert!(
        target.join("older-host/complete").is_file() && python.is_file(),
        "the older Host is not installed in {}: run contrib/test.sh, which installs what the tests need",
        target.join("older-host").display()
    );
    python
}

/// A file of the folder that contrib/test.sh has installed other people's SSH clients into.
pub(crate) fn clients(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("ssh-clients");
    let path = folder.join(name);
    assert!(
        folder.join("complete").is_file() && path.exists(),
        "the SSH clients are not installed in {}: run contrib/test.sh, which installs what the tests need",
        folder.display()
    );
    path
}

/// The name of the user who runs the tests, from the user database: ssh and sshd look there too.
pub(crate) fn user() -> String {
    let output = std::process::Command::new(tool("id")).arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A user who has no rights of their own here: Debian's nobody.
pub(crate) const NORMAL_USER: u32 = 65534;

/// `text` as one word of a shell.
pub(crate) fn sh_quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The SHA-256 of a file, in hexadecimal.
pub(crate) fn sha256(path: &Path) -> String {
    let output = std::process::Command::new(tool("sha256sum")).stdin(std::fs::File::open(path).unwrap()).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let sum = text.split_whitespace().next().unwrap_or_default().to_owned();
    assert_eq!(sum.len(), 64, "sha256sum says {text:?}");
    sum
}
