//! `contrib/install.sh`, as people pipe it into their shell, with a web server on this machine.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::mpsc;

use rustix::process::Signal;

use crate::support::home::Home;
use crate::support::peers::{Peer, RefusingPort, read_head};
use crate::support::release::{files, web_server};
use crate::support::run::{DEADLINE, Outcome, Process, Run};
use crate::support::tools::{sha256, tool};

const SCRIPT: &str = include_str!("../../contrib/install.sh");
const VERSION: &str = "1.2.3";
const PROGRAMS: [&str; 3] = ["kohakuriver", "kohakuriver-gateway", "kohakuriver-proxy"];
/// The programs that the script needs, except one that downloads.
const NEEDS: [&str; 14] =
    ["awk", "cut", "find", "grep", "gzip", "mkdir", "mktemp", "mv", "rm", "rmdir", "sha256sum", "tar", "uname", "sh"];
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

    /// A `uname` of another system.
    fn uname(&self, machine: &str, system: &str) {
        fs::remove_file(self.home.join("tools/uname")).unwrap();
        let script = format!("#!/bin/sh\ncase $1 in -m) echo {machine} ;; *) echo {system} ;; esac\n");
        self.home.script("tools/uname", &script);
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

    /// Installs onto a disk of its own, mounted with this option, and prints what is left there.
    fn install_on_disk(&self, option: &str) -> Outcome {
        self.home.write("install.sh", SCRIPT.replace("@VERSION@", VERSION));
        fs::create_dir_all(self.prefix()).unwrap();
        let script = format!(
            "{mount} -t tmpfs -o {option} none .local && {{ PATH=$PWD/tools {dash} install.sh; status=$?; \
             {find} .local -mindepth 1; exit $status; }}",
            mount = tool("mount").display(),
            dash = tool("dash").display(),
            find = tool("find").display(),
        );
        let run = Run::new(tool("unshare"), &self.home).args(["--map-root-user", "--mount", "sh", "-c", &script]);
        run.env("KOHAKURIVER_URL", &self.url).output()
    }

    #[track_caller]
    fn refuses(&self, says: &[&str]) {
        let outcome = self.install();
        outcome.exits(1).prints_nothing().says(says);
        assert!(!self.prefix().exists(), "{:?} are left\n{outcome}", files(&self.prefix()));
    }
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
                &["in $HOME/.local/bin\n", "export PATH=", "next: $HOME/.local/bin/kohakuriver login HOST\n"]
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
    let next = format!("\nnext: '{}' login HOST\n", old.display());
    run().output().succeeds().says(&["/a b/bin\n", &next]);
    Run::new(&old, &release.home).output().succeeds().prints("kohakuriver 1.2.3\n");
    assert!(files(&release.prefix()).is_empty());

    // KohakuRiver's Python command has the same name.
    let path = |folders: [PathBuf; 2]| std::env::join_paths([&folders[0], &folders[1], &release.home.join("tools")]);
    let ours = release.home.join("a b/bin");
    let other = release.home.script("other/kohakuriver", "#!/bin/sh\n");
    let first = path([other.parent().unwrap().to_owned(), ours.clone()]).unwrap();
    let comes_first = format!("{} comes first on your PATH\nput this line into ", other.display());
    run().env("PATH", first).output().succeeds().says(&[&comes_first, &next]);
    // The folder's name on PATH may have another spelling.
    for ours in [ours.clone(), ours.join(""), ours.join("../bin")] {
        let outcome = run().env("PATH", path([ours, other.parent().unwrap().to_owned()]).unwrap()).output();
        outcome.succeeds().says(&["\nnext: kohakuriver login HOST\n"]);
        outcome.check(!outcome.stderr.contains("PATH"), "no word about PATH");
    }
}

#[test]
fn each_prefix_gets_programs_that_others_can_run() {
    let release = Release::new();
    for prefix in ["-a", "-a b/c/d/", "b/../c"] {
        fs::create_dir_all(release.home.join("b")).unwrap();
        let run = release.run(SHELLS[0], &format!("umask 077\n{SCRIPT}")).env("KOHAKURIVER_PREFIX", prefix);
        run.env("SHELL", "/bin/zsh").output().succeeds().says(&["/share/zsh/site-functions\" $fpath)\n"]);
        let bin = release.home.join(prefix).join("bin");
        Run::new(bin.join("kohakuriver"), &release.home).output().succeeds().prints("kohakuriver 1.2.3\n");
        for path in [bin.join("kohakuriver"), bin, release.home.join(prefix)] {
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755, "{}", path.display());
        }
    }
}

#[test]
fn a_failure_names_the_address_and_leaves_no_folder_of_a_new_prefix() {
    let release = Release::new();
    let missing = format!("{}/missing", release.url);
    let port = RefusingPort::new();
    let refused = format!("http://127.0.0.1:{}", port.port);
    fs::create_dir(release.home.join("empty")).unwrap();
    let busybox_wget = release.home.script("busybox-wget", "#!/bin/sh\nexec \"$BUSYBOX\" wget \"$@\"\n");
    for downloader in ["curl", "wget", "busybox"] {
        release.tools(if downloader == "busybox" { &[] } else { std::slice::from_ref(&downloader) });
        if downloader == "busybox" {
            symlink(&busybox_wget, release.home.join("tools/wget")).unwrap();
        }
        for (url, reason) in [(&missing, "404"), (&refused, "onnect")] {
            let run =
                release.run(SHELLS[0], SCRIPT).env("KOHAKURIVER_PREFIX", "empty/a b/c").env("BUSYBOX", tool("busybox"));
            let outcome = run.env("KOHAKURIVER_URL", format!("{url}/")).output();
            outcome.exits(1).prints_nothing();
            let line = outcome.stderr.lines().find_map(|line| line.strip_prefix("install.sh: cannot download "));
            let said = line.and_then(|line| line.strip_prefix(&format!("{url}/SHA256SUMS: ")));
            outcome.check(
                said.is_some_and(|said| said.contains(reason)),
                &format!("the address and {downloader}'s reason"),
            );
            assert!(release.home.join("empty").read_dir().unwrap().next().is_none(), "{outcome}");
        }
    }
    // The first folder can be made, and the second has a longer name than a file system takes.
    let run = release.run(SHELLS[0], SCRIPT).env("KOHAKURIVER_PREFIX", format!("empty/a/{}", "b".repeat(300)));
    let outcome = run.output();
    outcome.exits(1).says(&["install.sh: cannot write to "]);
    assert!(release.home.join("empty").read_dir().unwrap().next().is_none(), "{outcome}");
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
    release.refuses(&[&format!("cannot download {}/kohakuriver-proxy-1.2.3-", release.url), "404"]);
    release.home.write("www/SHA256SUMS", format!("{sum}  another.tar.gz\n"));
    release.refuses(&[&format!("{}/SHA256SUMS does not name kohakuriver-proxy-1.2.3-", release.url)]);
}

#[test]
fn a_system_that_lacks_something_is_told_what() {
    let release = Release::new();
    release.tools(&[]);
    release.refuses(&["neither curl nor wget is installed\n  hint: install one of them\n"]);
    let needed =
        ["awk", "cut", "find", "grep", "gzip", "mktemp", "tar"].map(|name| (name, format!("{name} is not installed")));
    let either = ("sha256sum", "neither sha256sum nor shasum is installed".to_owned());
    for (name, says) in needed.into_iter().chain([either]) {
        release.tools(&["curl"]);
        fs::remove_file(release.home.join("tools").join(name)).unwrap();
        release.refuses(&[&says]);
    }
    release.tools(&["curl"]);
    release.run(SHELLS[0], SCRIPT).env("HOME", "").output().exits(1).says(&["HOME is not set\n"]);
    for (machine, system, says) in [
        ("riscv64", "Linux", "there are no programs for the processor riscv64\n  hint: build them in "),
        (
            "x86_64",
            "FreeBSD",
            "there are no programs for FreeBSD\n  hint: build them in the folder of the source: cargo ",
        ),
        ("x86_64", "MINGW64_NT-10.0-22631", "-1.2.3-x86_64-pc-windows-gnu.zip\n"),
    ] {
        release.uname(machine, system);
        release.refuses(&[says]);
    }

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
    // The archive fits on the second disk, and what is in it doesn't.
    for (size, says) in [("100k", "cannot download "), ("400k", "cannot unpack ")] {
        let outcome = release.install_on_disk(&format!("size={size}"));
        outcome.exits(1).prints_nothing().says(&[says, " room "]);
        outcome.check(outcome.stderr.lines().count() < 6, "one error");
    }
}

#[test]
fn a_disk_that_runs_no_programs_is_named() {
    let outcome = Release::new().install_on_disk("noexec");
    let hint = "if its disk is mounted noexec, name another folder: KOHAKURIVER_PREFIX=FOLDER\n";
    outcome.exits(1).prints_nothing().says(&["the programs don't run in ", hint]);
}

/// Fills it with bytes that can't be packed.
fn rand(bytes: &mut [u8]) {
    fs::File::open("/dev/urandom").unwrap().read_exact(bytes).unwrap();
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
    let (asked, asks) = mpsc::channel();
    let silent = Peer::serve(move |mut stream| {
        read_head(&mut stream)?;
        asked.send(())?;
        // The end of the connection may be a reset.
        let _ = stream.read(&mut [0]);
        Ok(())
    });
    let url = format!("http://{}", silent.address);
    let run = release.run(SHELLS[0], SCRIPT).env("KOHAKURIVER_URL", url).start();
    asks.recv_timeout(DEADLINE).unwrap();
    assert_eq!(fs::read_dir(release.prefix()).unwrap().count(), 1);
    run.signal_group(Signal::TERM);
    run.finish().exits(130);
    assert!(!release.prefix().exists());
}

#[test]
fn a_reader_of_its_words_that_goes_away_leaves_nothing() {
    let release = Release::new();
    release.home.write("install.sh", SCRIPT.replace("@VERSION@", VERSION));
    // Nobody reads what it writes into this pipe.
    let (_, pipe) = std::io::pipe().unwrap();
    let run = Run::new(tool("dash"), &release.home).args(["-c", "exec sh install.sh 2>&0"]).stdin_from(pipe);
    let run = run.env("PATH", release.home.join("tools")).env("KOHAKURIVER_URL", &release.url);
    run.output().exits(130).prints_nothing();
    assert!(!release.prefix().exists());
}

#[test]
fn a_folder_that_cannot_be_written_is_told_before_anything_is_installed() {
    let release = Release::new();
    let earlier = release.home.script(".local/bin/kohakuriver", "#!/bin/sh\necho earlier\n");
    // A file where a folder has to be, and a folder where a file has to be.
    for (blocks, way) in [("man/man1/kohakuriver.1.gz/x", "man/man1/kohakuriver.1.gz"), ("man", "man")] {
        let _ = fs::remove_dir_all(release.prefix().join("share"));
        release.home.write(&format!(".local/share/{blocks}"), "the user's");
        let before = files(&release.prefix());
        let says = format!("cannot write to {}\n", release.prefix().join("share").join(way).display());
        release.install().exits(1).prints_nothing().says(&[&says, "KOHAKURIVER_PREFIX=FOLDER"]);
        assert_eq!(files(&release.prefix()), before, "{blocks}");
        Run::new(&earlier, &release.home).output().succeeds().prints("earlier\n");
    }
}
