//! The release that `contrib/release.sh` makes of the tested programs.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::home::Home;
use super::run::{DEADLINE, Process, Run};
use super::tools::{CLI, GATEWAY, HELPER, not_tested, older_host_python, tool};

/// Targets of other systems, and how a program's name ends there.
const OTHERS: [(&str, &str); 2] = [("x86_64-pc-windows-gnu", ".exe"), ("aarch64-apple-darwin", "")];

/// Where archives begin.
pub(crate) fn archive(end: &str) -> String {
    format!("kohakuriver-proxy-{}-{ARCH}-unknown-linux-{end}", env!("CARGO_PKG_VERSION"))
}

/// The artifacts of a release: those in the folder that RELEASE_ARTIFACTS names, else [`made`].
pub(crate) fn artifacts() -> PathBuf {
    std::env::var_os("RELEASE_ARTIFACTS").map_or_else(|| made().to_owned(), PathBuf::from)
}

/// The artifacts of the targets with glibc and with musl, which have the tested programs, and of other systems, whose
/// programs are none.
pub(crate) fn made() -> &'static Path {
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
            // The packed programs are compressed, and most of their bytes are debug information.
            Run::new(tool("strip"), &home)
                .arg("-o")
                .arg(programs.join(Path::new(program).file_name().unwrap()))
                .arg(program)
                .output()
                .succeeds();
        }
    }
    for (target, end) in OTHERS {
        for program in [CLI, HELPER] {
            let name = Path::new(program).file_name().unwrap().to_str().unwrap();
            home.write(&format!("programs/{target}/{name}{end}"), name);
        }
    }
    home.write(&format!("programs/{}/kohakuriver-gateway", OTHERS[1].0), "kohakuriver-gateway");
    // The cargo that runs the tests, with its downloads and for its target folder.
    let cargo = Path::new(env!("CARGO")).parent().unwrap();
    let downloads = std::env::var_os("CARGO_HOME")
        .map_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cargo"), PathBuf::from);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/release.sh");
    let run = Run::new(script, &home).first_on_path(cargo).env("CARGO_HOME", downloads);
    let run = run.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap());
    let run = run.args(["--url", concat!("https://example.org/v", env!("CARGO_PKG_VERSION"))]);
    let run = run.arg("--programs").arg(home.join("programs")).arg("--output").arg(folder).args(targets);
    let run = run.args(OTHERS.map(|(target, _)| target));
    change(run).deadline(1200).output().succeeds();
}

/// The path of the one artifact whose name ends like this.
pub(crate) fn artifact(end: &str) -> PathBuf {
    let entries = fs::read_dir(artifacts()).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> = entries.filter(|path| path.to_str().unwrap().ends_with(end)).collect();
    assert_eq!(found.len(), 1, "artifacts *{end}: {found:?}");
    found.into_iter().next().unwrap()
}

/// Unpacks the archive of a target, and returns its folder.
pub(crate) fn unpacked(target: &str, home: &Home) -> PathBuf {
    let name = format!("kohakuriver-proxy-{}-{target}", env!("CARGO_PKG_VERSION"));
    let unpack = match artifacts().join(format!("{name}.zip")) {
        zip if zip.is_file() => {
            Run::new(older_host_python(), home).args(["-m", "zipfile", "-e"]).arg(zip).arg(home.path())
        }
        _ => Run::new(tool("tar"), home).arg("-xzf").arg(artifacts().join(format!("{name}.tar.gz"))),
    };
    unpack.output().succeeds();
    home.join(&name)
}

/// The name of this machine's processor in Debian and in containers.
pub(crate) fn architecture() -> &'static str {
    if ARCH == "x86_64" { "amd64" } else { "arm64" }
}

/// Whether the release has programs for ARM64, and qemu runs such programs here. Otherwise it is said that `what` is not
/// tested.
pub(crate) fn arm64_runs(what: &str) -> bool {
    let mut files = fs::read_dir(artifacts()).unwrap().map(|file| file.unwrap().file_name());
    let is_there = files.any(|name| name.to_str().unwrap().ends_with("_arm64.deb"));
    let runs = is_there && std::env::var("EMULATED").is_ok_and(|processor| processor == "aarch64");
    if !runs {
        not_tested(&format!("{what} for ARM64: a release of all targets has that, and root can register qemu"));
    }
    runs
}

/// A web server for this folder, and its address.
pub(crate) fn web_server(folder: &Path, home: &Home) -> (Process, String) {
    let run = Run::new(older_host_python(), home).args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]);
    let server = run.arg("--directory").arg(folder).deadline(600).start();
    let address = server.wait_for("the web server", DEADLINE, |seen| {
        let text = String::from_utf8_lossy(&seen.stdout).into_owned();
        Some(text.split_once("(http://")?.1.split_once("/)")?.0.to_owned())
    });
    (server, format!("http://{address}"))
}

/// All files below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    files.sort();
    files
}
