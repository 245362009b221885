//! The programs of others that the tests need. A missing one fails the test; nothing is skipped.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::home::Home;

/// Says what a test run leaves out, and not through the test's own output: libtest hides it unless the test fails.
pub(crate) fn not_tested(what: &str) {
    std::io::stderr().write_all(format!("NOT TESTED: {what}\n").as_bytes()).unwrap();
}

/// Where `name` is, on PATH or where Debian keeps servers.
pub(crate) fn tool(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    found
        .unwrap_or_else(|| panic!("`{name}` is not installed: run contrib/test.sh, which installs what the tests need"))
}

/// The programs under test. `contrib/test.sh TARGET` names others.
pub(crate) const HELPER: &str = match option_env!("HELPER_UNDER_TEST") {
    Some(named) => named,
    None => env!("CARGO_BIN_EXE_kohakuriver-proxy"),
};
pub(crate) const CLI: &str = match option_env!("CLI_UNDER_TEST") {
    Some(named) => named,
    None => env!("CARGO_BIN_EXE_kohakuriver"),
};
pub(crate) const GATEWAY: &str = match option_env!("GATEWAY_UNDER_TEST") {
    Some(named) => named,
    None => env!("CARGO_BIN_EXE_kohakuriver-gateway"),
};

/// An error in the words of the helper's C library: glibc's, or musl's in a static helper.
pub(crate) fn of_its_libc(glibc: &'static str, musl: &'static str) -> &'static str {
    if option_env!("HELPER_UNDER_TEST").is_some() { musl } else { glibc }
}

/// The older Host's Python.
pub(crate) fn older_host_python() -> PathBuf {
    installed("older-host", "bin/python")
}

/// A file of other people's SSH clients.
pub(crate) fn clients(name: &str) -> PathBuf {
    installed("ssh-clients", name)
}

/// A file of Grafana's types.
pub(crate) fn grafana(name: &str) -> PathBuf {
    installed("grafana", name)
}

/// A file of this folder, which contrib/test.sh makes.
fn installed(folder: &str, name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join(folder);
    let path = folder.join(name);
    assert!(
        folder.join("complete").is_file() && path.exists(),
        "{} is not complete: run contrib/test.sh, which installs what the tests need",
        folder.display()
    );
    path
}

/// The older ssh (8.4) that contrib/test.sh has unpacked, as a script in `home`. On a machine that has none, that is said.
pub(crate) fn older_ssh(home: &Home) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("older-ssh/root");
    let ssh = root.join("usr/bin/ssh");
    if !ssh.is_file() {
        not_tested("an older ssh, as contrib/test.sh found none for this machine");
        return None;
    }
    let libraries: Vec<PathBuf> = std::fs::read_dir(root.join("usr/lib")).unwrap().map(|f| f.unwrap().path()).collect();
    let libraries = std::env::join_paths(libraries).unwrap().into_string().unwrap();
    let script = format!(
        "#!/bin/sh\nLD_LIBRARY_PATH={} exec {} \"$@\"\n",
        sh_quote(&libraries),
        sh_quote(&ssh.display().to_string())
    );
    Some(home.script("older/ssh", &script))
}

/// The name of the user who runs the tests, from the user database: ssh and sshd look there too.
pub(crate) fn user() -> &'static str {
    static USER: LazyLock<String> = LazyLock::new(|| {
        let output = std::process::Command::new(tool("id")).arg("-un").output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    });
    &USER
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
