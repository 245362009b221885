//! `kohakuriver vps connect` in the place of ssh: as the transport of other programs, with ssh's own options.

use std::fs;
use std::path::Path;

use crate::support::cluster::Cluster;
use crate::support::gateway::name_of;
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::tools::{CLI, HELPER, tool, user};

/// Runs `program` with our programs on its PATH.
fn with_ours_on_path(cluster: &Cluster, program: impl AsRef<std::ffi::OsStr>) -> Run {
    let folder = |program: &str| Path::new(program).parent().unwrap().display().to_string();
    let bin = cluster.home.join("bin");
    let path = [bin.display().to_string(), folder(CLI), folder(HELPER), std::env::var("PATH").unwrap()].join(":");
    cluster.run(program).env("PATH", path)
}

fn destination() -> String {
    format!("{}@{}", user(), name_of(ID))
}

#[test]
fn rsync_in_both_directions() {
    let cluster = Cluster::new();
    let text = "rsync\n".repeat(50_000);
    cluster.home.write("there/file", &text);
    let copy = cluster.home.join("copy");
    let rsync = |from: String, to: String| {
        let run = with_ours_on_path(&cluster, tool("rsync")).args(["-a", "-e", "kohakuriver vps connect"]);
        run.args([from, to]).output().succeeds();
    };
    rsync(cluster.home.join("there/").display().to_string() + "/", format!("{}:{}", destination(), copy.display()));
    assert_eq!(fs::read_to_string(copy.join("file")).unwrap(), text);
    let back = cluster.home.join("back");
    rsync(format!("{}:{}", destination(), copy.join("file").display()), back.display().to_string());
    assert_eq!(fs::read_to_string(back).unwrap(), text);
}

#[test]
fn git_clones_and_pushes() {
    let cluster = Cluster::new();
    let (bare, clone) = (cluster.home.join("bare"), cluster.home.join("clone"));
    let git = |args: &[&str]| {
        let run = with_ours_on_path(&cluster, tool("git")).args(["-c", "user.name=u", "-c", "user.email=u@h"]);
        // git asks this command with `-G` whether it is OpenSSH.
        run.env("GIT_SSH_COMMAND", "kohakuriver vps connect").args(args).output()
    };
    git(&["init", "-q", "--bare", "-b", "main", bare.to_str().unwrap()]).succeeds();
    let url = format!("{}:{}", destination(), bare.display());
    git(&["clone", "-q", &url, clone.to_str().unwrap()]).succeeds();
    let clone = clone.to_str().unwrap();
    git(&["-C", clone, "commit", "-q", "--allow-empty", "-m", "first"]).succeeds();
    git(&["-C", clone, "push", "-q", "origin", "HEAD:main"]).succeeds();
    git(&["-C", bare.to_str().unwrap(), "log", "--format=%s", "main"]).succeeds().prints("first\n");
    // A URL with a port makes git add `-p`.
    git(&["ls-remote", &format!("ssh://{}:22{}", destination(), bare.display())]).succeeds();
}

/// `-S` takes a program without arguments.
#[test]
fn scp_and_sftp() {
    let cluster = Cluster::new();
    let file = cluster.home.write("file", "scp\n");
    let transport = cluster.home.script("vps-ssh", "#!/bin/sh\nexec kohakuriver vps connect \"$@\"\n");
    for (to, options) in [("one", &[][..]), ("two", &["-O"])] {
        let to = cluster.home.join(to);
        let run = with_ours_on_path(&cluster, tool("scp")).arg("-q").args(options).arg("-S").arg(&transport);
        run.arg(&file).arg(format!("{}:{}", destination(), to.display())).output().succeeds();
        assert_eq!(fs::read_to_string(to).unwrap(), "scp\n");
    }
    let run = with_ours_on_path(&cluster, tool("sftp")).arg("-q").arg("-S").arg(&transport).args(["-b", "-"]);
    let back = cluster.home.join("three");
    let commands = format!("get {} {}\n", file.display(), back.display());
    run.arg(destination()).stdin(commands).output().succeeds();
    assert_eq!(fs::read_to_string(back).unwrap(), "scp\n");
}

#[test]
fn sshs_own_options_stand_before_and_behind_the_vps() {
    let cluster = Cluster::new();
    let log = cluster.home.join("log");
    for words in [
        vec!["-v", "-E", log.to_str().unwrap(), "-o", "SetEnv=A=b", ID],
        vec![ID, "-vE", log.to_str().unwrap(), "-oSetEnv=A=b"],
        vec!["-v", ID, "-E", log.to_str().unwrap()],
    ] {
        let run = cluster.run(CLI).args(["vps", "connect"]).args(words).args(["-l", user(), "echo", "-n", "--", "in"]);
        run.output().succeeds().prints("-- in").says_nothing();
        let logged = fs::read_to_string(&log).unwrap();
        assert!(logged.contains("Sending command: echo -n -- in"), "{logged}");
        fs::remove_file(&log).unwrap();
    }
}

#[test]
fn its_own_failures_have_sshs_exit_status() {
    let cluster = Cluster::new();
    for (args, what) in [
        (&["nosuch", "true"][..], "there is no VPS nosuch"),
        (&["--colour", ID], "unexpected argument '--colour'"),
        (&["--key", "/no/such/key", ID], "cannot use the key /no/such/key"),
        (&["a b"], "a b"),
    ] {
        cluster.run(CLI).args(["vps", "connect"]).args(args).output().exits(255).prints_nothing().says(&[what]);
    }
    let run = cluster.run(CLI).env("KOHAKURIVER_PORT", "x").args(["vps", "connect", ID]);
    run.output().exits(255).says(&["KOHAKURIVER_PORT"]);
    // rsync shows the reason. Its status is its own, and depends on what it notices first.
    let run = with_ours_on_path(&cluster, tool("rsync")).args(["-e", "kohakuriver vps connect", "nosuch:x", "."]);
    let outcome = run.output();
    outcome.says(&["kohakuriver: there is no VPS nosuch"]).check(!outcome.status.success(), "a failure");
}
