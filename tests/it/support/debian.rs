//! A Debian in a folder, which packages are installed into.

use std::fs;
use std::path::{Path, PathBuf};

use super::home::{Home, set_mode};
use super::release::{architecture, arm64_runs};
use super::run::Run;
use super::tools::{not_tested, tool};

/// A systemctl that writes down what it is told, and passes a SIGHUP on.
const SYSTEMCTL: &str =
    "#!/bin/sh\necho \"$*\" >>/said\ncase $* in *'kill -s HUP'*) kill -s HUP \"$(cat /pid)\" ;; esac\n";

/// A copy of a Debian that contrib/test.sh has unpacked.
pub(crate) struct Debian {
    pub(crate) home: Home,
    pub(crate) root: PathBuf,
    /// Debian's name for the processor.
    pub(crate) architecture: &'static str,
}

impl Debian {
    /// One for this machine's processor; `None` if another user than root runs the tests, and that is said.
    pub(crate) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            not_tested("the installed package, as only root can install it");
            return None;
        }
        Some(Self::in_folder("debian-root", architecture()))
    }

    /// One for ARM64, where qemu runs its programs; `None` elsewhere, and that is said.
    pub(crate) fn arm64() -> Option<Self> {
        arm64_runs("the installed package").then(|| Self::in_folder("debian-root-arm64", "arm64"))
    }

    fn in_folder(name: &str, architecture: &'static str) -> Self {
        let unpacked = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join(name);
        assert!(
            unpacked.join("complete").is_file(),
            "there is no Debian in {}: run contrib/test.sh, which installs what the tests need",
            unpacked.display()
        );
        let home = Home::new();
        let root = home.join("root");
        Run::new(tool("cp"), &home).arg("-a").arg(unpacked.join("root")).arg(&root).output().succeeds();
        // As if systemd ran.
        fs::create_dir_all(root.join("run/systemd/system")).unwrap();
        home.script("root/usr/bin/systemctl", SYSTEMCTL);
        // A namespace of users has no devices of its own. Scripts only discard what they write there.
        if !root.join("dev/null").exists() {
            home.write("root/dev/null", "");
            set_mode(&root.join("dev/null"), 0o666);
        }
        Self { home, root, architecture }
    }

    /// Runs a program in it.
    pub(crate) fn run(&self, words: &[&str]) -> Run {
        let path = "/usr/sbin:/usr/bin:/sbin:/bin";
        Run::new(tool("chroot"), &self.home).arg(&self.root).args(words).env("PATH", path).env("HOME", "/root")
    }

    /// Runs `dpkg`, and returns the commands that the maintainer's scripts gave to systemctl.
    pub(crate) fn dpkg(&self, words: &[&str]) -> Vec<String> {
        let outcome = self.run(&["dpkg"]).args(words).deadline(600).output();
        outcome.succeeds().check(!outcome.stderr.contains("warning"), "no warning");
        self.said()
    }

    /// The commands that systemctl got since the last call.
    pub(crate) fn said(&self) -> Vec<String> {
        let said = fs::read_to_string(self.root.join("said")).unwrap_or_default();
        let _ = fs::remove_file(self.root.join("said"));
        said.lines().map(str::to_owned).collect()
    }

    /// The files below the root, and links, with our name in theirs, but what is the user's own.
    pub(crate) fn ours(&self) -> Vec<String> {
        let find = Run::new(tool("find"), &self.home).arg(&self.root).args(["-name", "*kohakuriver*"]);
        let found = find.output().succeeds().text();
        let root = format!("{}/", self.root.display());
        let mut found: Vec<_> = found.lines().map(|path| path.trim_start_matches(&root).to_owned()).collect();
        found.sort();
        found
    }
}

/// Whether systemctl was told to start something, now or with the machine.
pub(crate) fn told_to_start(said: &[String]) -> bool {
    said.iter()
        .any(|line| ["start", "enable", "preset"].iter().any(|word| line.split(' ').any(|said| said.ends_with(word))))
}
