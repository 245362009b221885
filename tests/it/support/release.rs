//! What `contrib/release.sh` makes of the programs that are tested.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::home::Home;
use super::run::Run;
use super::tools::{CLI, GATEWAY, HELPER, tool};

/// Where archives begin.
pub(crate) fn archive(end: &str) -> String {
    format!("kohakuriver-proxy-{}-{ARCH}-unknown-linux-{end}", env!("CARGO_PKG_VERSION"))
}

/// The artifacts of the targets with glibc and with musl. Both have the tested programs, which are not static.
pub(crate) fn artifacts() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("release");
        make(&folder, |run| run);
        folder
    })
}

/// Makes the same artifacts in `folder`.
pub(crate) fn make(folder: &Path, change: impl FnOnce(Run) -> Run) {
    let home = Home::new();
    let targets = ["gnu", "musl"].map(|library| format!("{ARCH}-unknown-linux-{library}"));
    for target in &targets {
        let programs = home.join(&format!("programs/{target}"));
        fs::create_dir_all(&programs).unwrap();
        for program in [CLI, GATEWAY, HELPER] {
            // What is packed is compressed, and debug information is most of it.
            Run::new(tool("strip"), &home)
                .arg("-o")
                .arg(programs.join(Path::new(program).file_name().unwrap()))
                .arg(program)
                .output()
                .succeeds();
        }
    }
    // The cargo that runs the tests, with its downloads and for its target folder.
    let cargo = Path::new(env!("CARGO")).parent().unwrap();
    let path = format!("{}:{}", cargo.display(), std::env::var("PATH").unwrap());
    let downloads = std::env::var_os("CARGO_HOME")
        .map_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cargo"), PathBuf::from);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/release.sh");
    let run = Run::new(script, &home).env("PATH", path).env("CARGO_HOME", downloads);
    let run = run.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap());
    let run = run.arg("--programs").arg(home.join("programs")).arg("--output").arg(folder).args(targets);
    change(run).deadline(1200).output().succeeds();
}

/// The path of the one artifact whose name ends like this.
pub(crate) fn artifact(end: &str) -> PathBuf {
    let entries = fs::read_dir(artifacts()).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> = entries.filter(|path| path.to_str().unwrap().ends_with(end)).collect();
    assert_eq!(found.len(), 1, "artifacts *{end}: {found:?}");
    found.into_iter().next().unwrap()
}
