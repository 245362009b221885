//! `contrib/install.sh`, as people pipe it into their shell, with a web server on this machine.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::support::home::Home;
use crate::support::release::web_server;
use crate::support::run::{Outcome, Process, Run};
use crate::support::tools::{sha256, tool};

const SCRIPT: &str = include_str!("../../contrib/install.sh");
const VERSION: &str = "1.2.3";
const PROGRAMS: [&str; 3] = ["kohakuriver", "kohakuriver-gateway", "kohakuriver-proxy"];
/// The programs that the script needs, except one that downloads.
const NEEDS: [&str; 13] =
    ["awk", "cut", "find", "gzip", "mkdir", "mktemp", "mv", "rm", "rmdir", "sha256sum", "tar", "uname", "sh"];
const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];

/// A release on a web server, and a user who has nothing but [`NEEDS`] on PATH.
struct Release {
    home: Home,
    archive: PathBuf,
    url: String,
    _server: Process,
}

impl Release {
    fn new() -> Self {
        let home = Home::new();
        let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
        let name = format!("kohakuriver-proxy-{VERSION}-{target}");
        for program in PROGRAMS {
            home.script(&format!("made/{name}/bin/{program}"), &format!("#!/bin/sh\necho {program} {VERSION}\n"));
            fs::remove_file(home.join(&format!("made/{name}/bin/{program}.source"))).unwrap();
        }
        home.write(&format!("made/{name}/share/man/man1/kohakuriver.1.gz"), "a manual page");
        home.write(&format!("made/{name}/LICENSE"), "MIT");
        let archive = home.join(&format!("www/{name}.tar.gz"));
        home.write(&format!("www/{name}.tar.gz"), "");
        let tar = Run::new(tool("tar"), &home).arg("-czf").arg(&archive).args(["-C", "made", &name]);
        tar.output().succeeds();
        home.write("www/SHA256SUMS", format!("{}  {name}.tar.gz\n", sha256(&archive)));

        let (server, url) = web_server(&home.join("www"), &home);
        let release = Self { archive, url, home, _server: server };
        release.tools(&["curl"]);
        release
    }

    /// Leaves these programs beside [`NEEDS`] on PATH.
    fn tools(&self, others: &[&str]) {
        let folder = self.home.join("tools");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        for name in NEEDS.iter().chain(others) {
            symlink(tool(name), folder.join(name)).unwrap();
        }
    }

    /// A program of the system that prints this.
    fn fake(&self, name: &str, prints: &str) {
        fs::remove_file(self.home.join("tools").join(name)).unwrap();
        self.home.script(&format!("tools/{name}"), &format!("#!/bin/sh\necho {prints}\n"));
    }

    /// A shell that reads the script from its stdin.
    fn run(&self, shell: &[&str], script: &str) -> Run {
        let run = Run::new(tool(shell[0]), &self.home).args(&shell[1..]).env("PATH", self.home.join("tools"));
        run.env("KOHAKURIVER_URL", &self.url).stdin(script.replace("@VERSION@", VERSION).replace("@URL@", &self.url))
    }

    fn install(&self) -> Outcome {
        self.run(SHELLS[0], SCRIPT).output()
    }

    /// Where it installs to.
    fn prefix(&self) -> PathBuf {
        self.home.join(".local")
    }

    #[track_caller]
    fn refuses(&self, says: &[&str]) {
        let outcome = self.install();
        outcome.exits(1).prints_nothing().says(says);
        assert!(!self.prefix().exists(), "{:?} are left\n{outcome}", files(&self.prefix()));
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

#[test]
fn each_shell_installs_with_curl_and_with_wget() {
    let release = Release::new();
    let mut expected: Vec<_> = PROGRAMS.iter().map(|name| release.prefix().join("bin").join(name)).collect();
    expected.push(release.prefix().join("share/man/man1/kohakuriver.1.gz"));
    for shell in SHELLS {
        for downloader in ["curl", "wget"] {
            release.tools(&[downloader]);
            let _ = fs::remove_dir_all(release.prefix());
            let outcome = release.run(shell, SCRIPT).output();
            outcome.succeeds().prints_nothing();
            outcome.says(
                &["in $HOME/.local/bin\n", "export PATH=", "next: kohakuriver login HOST\n"]
                    .map(|text| text.replace("$HOME", &release.home.path().display().to_string()))
                    .iter()
                    .map(String::as_str)
                    .collect::<Vec<_>>(),
            );
            assert_eq!(files(&release.prefix()), expected, "{shell:?} {downloader}");
            Run::new(&expected[0], &release.home).output().succeeds().prints("kohakuriver 1.2.3\n");
        }
    }
}

#[test]
fn it_replaces_an_earlier_version_and_goes_where_it_is_told() {
    let release = Release::new();
    let old = release.home.script("a b/bin/kohakuriver", "#!/bin/sh\necho old\n");
    let run = || release.run(SHELLS[0], SCRIPT).env("KOHAKURIVER_PREFIX", "a b");
    run().output().succeeds().says(&["/a b/bin\n"]);
    Run::new(&old, &release.home).output().succeeds().prints("kohakuriver 1.2.3\n");
    assert!(files(&release.prefix()).is_empty());

    // KohakuRiver's Python command has the same name.
    let path = |folders: [PathBuf; 2]| std::env::join_paths([&folders[0], &folders[1], &release.home.join("tools")]);
    let ours = release.home.join("a b/bin");
    let other = release.home.script("other/kohakuriver", "#!/bin/sh\n");
    let first = path([other.parent().unwrap().to_owned(), ours.clone()]).unwrap();
    run().env("PATH", first).output().succeeds().says(&[&format!("{} comes first on your PATH", other.display())]);
    let second = path([ours, other.parent().unwrap().to_owned()]).unwrap();
    let outcome = run().env("PATH", second).output();
    outcome.succeeds().check(!outcome.stderr.contains("PATH"), "no word about PATH");
}

#[test]
fn a_file_that_is_not_the_releases_is_not_installed() {
    let release = Release::new();
    let sum = sha256(&release.archive);
    let good = fs::read(&release.archive).unwrap();
    fs::write(&release.archive, [&good[..], b"\n"].concat()).unwrap();
    release.refuses(&[&format!("SHA256SUMS says {sum}\n")]);
    fs::write(&release.archive, &good[..good.len() / 2]).unwrap();
    release.refuses(&[&format!("SHA256SUMS says {sum}\n")]);
    fs::remove_file(&release.archive).unwrap();
    release.refuses(&["cannot download kohakuriver-proxy-1.2.3-", "404"]);
    release.home.write("www/SHA256SUMS", format!("{sum}  another.tar.gz\n"));
    release.refuses(&["SHA256SUMS does not name kohakuriver-proxy-1.2.3-"]);
}

#[test]
fn a_system_that_lacks_something_is_told_what() {
    let release = Release::new();
    release.tools(&[]);
    release.refuses(&["neither curl nor wget is installed\n  hint: install one of them\n"]);
    let needed = ["awk", "cut", "find", "gzip", "mktemp", "tar"].map(|name| (name, format!("{name} is not installed")));
    let either = ("sha256sum", "neither sha256sum nor shasum is installed".to_owned());
    for (name, says) in needed.into_iter().chain([either]) {
        release.tools(&["curl"]);
        fs::remove_file(release.home.join("tools").join(name)).unwrap();
        release.refuses(&[&says]);
    }
    release.tools(&["curl"]);
    release.run(SHELLS[0], SCRIPT).env("HOME", "").output().exits(1).says(&["HOME is not set\n"]);
    release.fake("uname", "riscv64");
    release.refuses(&["there are no programs for the processor riscv64\n"]);
    release.fake("uname", "x86_64");
    release.refuses(&["this script knows Linux and macOS, not x86_64\n"]);

    release.tools(&["curl"]);
    release.home.write(".local", "a file");
    release
        .install()
        .exits(1)
        .says(&["cannot write to ", "\n  hint: name another folder: KOHAKURIVER_PREFIX=FOLDER\n"]);
    assert_eq!(fs::read_to_string(release.prefix()).unwrap(), "a file");
}

#[test]
fn a_full_disk_is_told_and_nothing_is_left() {
    let release = Release::new();
    // More than the disk has room for, and it doesn't get smaller by being packed.
    let mut noise = vec![0; 300_000];
    rand(&mut noise);
    let archive = release.archive.file_name().unwrap().to_str().unwrap().to_owned();
    let name = archive.trim_end_matches(".tar.gz").to_owned();
    release.home.write(&format!("made/{name}/share/noise"), &noise);
    Run::new(tool("tar"), &release.home).args(["-czf", "www/a.tar.gz", "-C", "made", &name]).output().succeeds();
    fs::rename(release.home.join("www/a.tar.gz"), &release.archive).unwrap();
    release.home.write("www/SHA256SUMS", format!("{}  {archive}\n", sha256(&release.archive)));
    release.home.write("install.sh", SCRIPT.replace("@VERSION@", VERSION));
    fs::create_dir(release.prefix()).unwrap();
    // The archive fits on the second disk, and what is in it doesn't.
    for (size, says) in [("100k", "cannot download "), ("400k", "cannot unpack ")] {
        let script = format!(
            "{mount} -t tmpfs -o size={size} none .local && {{ PATH=$PWD/tools {dash} install.sh; status=$?; \
             {find} .local -mindepth 1; exit $status; }}",
            mount = tool("mount").display(),
            dash = tool("dash").display(),
            find = tool("find").display(),
        );
        let run = Run::new(tool("unshare"), &release.home).args(["--map-root-user", "--mount", "sh", "-c", &script]);
        run.env("KOHAKURIVER_URL", &release.url).output().exits(1).prints_nothing().says(&[says, "room on the disk"]);
    }
}

/// Fills it with bytes that can't be packed.
fn rand(bytes: &mut [u8]) {
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").unwrap(), bytes).unwrap();
}

#[test]
fn a_script_that_is_cut_off_does_nothing() {
    let release = Release::new();
    let ends: Vec<_> = SCRIPT.trim_end().match_indices('\n').map(|(end, _)| end).collect();
    assert!(ends.len() > 50);
    for end in ends {
        release.run(SHELLS[0], &SCRIPT[..end]).output();
        assert!(!release.prefix().exists(), "it ran: {}", &SCRIPT[..end]);
    }
}

#[test]
fn an_interrupted_installation_leaves_nothing() {
    let release = Release::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let run = release.run(SHELLS[0], SCRIPT).env("KOHAKURIVER_URL", url).start();
    let _asked = silent.accept().unwrap();
    assert_eq!(fs::read_dir(release.prefix()).unwrap().count(), 1);
    run.signal_group(Signal::TERM);
    run.finish().exits(130);
    assert!(!release.prefix().exists());
}

#[test]
fn a_folder_that_cannot_be_written_is_told_before_anything_is_installed() {
    let release = Release::new();
    let earlier = release.home.script(".local/bin/kohakuriver", "#!/bin/sh\necho earlier\n");
    // A file where a folder has to be, and a folder where a file has to be.
    for (blocks, folder) in [("man/man1/kohakuriver.1.gz/x", "man/man1"), ("man", "man/man1")] {
        let _ = fs::remove_dir_all(release.prefix().join("share"));
        release.home.write(&format!(".local/share/{blocks}"), "the user's");
        let before = files(&release.prefix());
        let says = format!("cannot write to {}\n", release.prefix().join("share").join(folder).display());
        release.install().exits(1).prints_nothing().says(&[&says, "KOHAKURIVER_PREFIX=FOLDER"]);
        assert_eq!(files(&release.prefix()), before, "{blocks}");
        Run::new(&earlier, &release.home).output().succeeds().prints("earlier\n");
    }
}
