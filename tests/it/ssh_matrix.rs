//! The system's ssh and its family through our helper, in each combination of what answers (our gateway by CONNECT,
//! with TLS as well, or an older Host by the line protocol) and how the connection is shared (a passed socket, or a pipe).

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use crate::support::gateway::name_of;
use crate::support::heavy;
use crate::support::home::Home;
use crate::support::peers::{echo_server, http_server};
use crate::support::run::{DEADLINE, Run};
use crate::support::scene::{Front, ID, Mode, Scene, destination};
use crate::support::sshd::free_port;
use crate::support::tools::{sha256, tool};

/// One test per capability and combination.
macro_rules! matrix {
    ($($test:ident),+ $(,)?) => {
        matrix!(@module connect_fdpass, Scene::connect(), Mode::Fdpass, $($test)+);
        matrix!(@module connect_stdio, Scene::connect(), Mode::Stdio, $($test)+);
        matrix!(@module tls_fdpass, Scene::tls(), Mode::Fdpass, $($test)+);
        matrix!(@module tls_stdio, Scene::tls(), Mode::Stdio, $($test)+);
        matrix!(@module line_fdpass, Scene::line(), Mode::Fdpass, $($test)+);
        matrix!(@module line_stdio, Scene::line(), Mode::Stdio, $($test)+);
    };
    (@module $module:ident, $scene:expr, $mode:expr, $($test:ident)+) => {
        mod $module {
            use super::{Mode, Scene};
            $(#[test]
            fn $test() {
                super::$test(&$scene, $mode);
            })+
        }
    };
}

matrix![
    a_command_and_its_exit_status,
    hundred_megabytes_up,
    hundred_megabytes_down,
    scp_both_ways,
    sftp_batch,
    rsync_both_ways,
    git_clone_and_push,
    control_master,
    stdio_forward,
    proxy_jump,
    dynamic_forward_as_an_ide_does_it,
    twenty_at_once,
    the_far_end_closes_while_stdin_stays_open,
];

fn a_command_and_its_exit_status(scene: &Arc<Scene>, mode: Mode) {
    let run = scene.ssh(mode).arg(destination()).arg("echo out; echo err >&2; exit 42");
    run.output().exits(42).prints("out\n").check_stderr("err\n");
    scene.ssh(mode).arg(destination()).arg("cat").stdin("a\0b\n").output().succeeds().prints("a\0b\n").says_nothing();
}

/// A file of 100 MB that nothing on the way can compress.
fn big_file(home: &Home) -> PathBuf {
    let path = home.join("big");
    let output = Command::new(tool("head")).args(["-c", "100000000", "/dev/urandom"]).output().unwrap();
    assert_eq!(output.stdout.len(), 100_000_000);
    fs::write(&path, output.stdout).unwrap();
    path
}

fn hundred_megabytes_up(scene: &Arc<Scene>, mode: Mode) {
    let _heavy = heavy();
    let home = Home::new();
    let big = big_file(&home);
    let outcome = scene.ssh(mode).arg(destination()).arg("sha256sum").stdin_file(&big).deadline(120).output();
    outcome.succeeds().prints(&format!("{}  -\n", sha256(&big)));
}

fn hundred_megabytes_down(scene: &Arc<Scene>, mode: Mode) {
    let _heavy = heavy();
    let home = Home::new();
    let (big, copy) = (big_file(&home), home.join("copy"));
    let command = format!("cat {}", big.display());
    scene.ssh(mode).arg(destination()).arg(command).stdout_file(&copy).deadline(120).output().succeeds();
    assert_eq!(sha256(&copy), sha256(&big));
}

fn scp_both_ways(scene: &Arc<Scene>, mode: Mode) {
    let home = Home::new();
    let original = home.write("original", "scp\n".repeat(50_000));
    let (there, back) = (home.join("there"), home.join("back"));
    let remote = format!("{}:{}", destination(), there.display());
    scene.client("scp", mode).arg(&original).arg(&remote).output().succeeds();
    scene.client("scp", mode).arg(&remote).arg(&back).output().succeeds();
    assert_eq!(fs::read(&there).unwrap(), fs::read(&original).unwrap());
    assert_eq!(fs::read(&back).unwrap(), fs::read(&original).unwrap());
}

fn sftp_batch(scene: &Arc<Scene>, mode: Mode) {
    let home = Home::new();
    let original = home.write("original", "sftp\n".repeat(50_000));
    let (there, back) = (home.join("there"), home.join("back"));
    let batch = format!("put {0} {1}\nls {1}\nget {1} {2}\n", original.display(), there.display(), back.display());
    let outcome = scene.client("sftp", mode).args(["-b", "-"]).arg(destination()).stdin(batch).output();
    outcome.succeeds();
    assert_eq!(fs::read(&back).unwrap(), fs::read(&original).unwrap());
}

fn rsync_both_ways(scene: &Arc<Scene>, mode: Mode) {
    let home = Home::new();
    home.write("tree/one", "1\n".repeat(10_000));
    home.write("tree/deep/er/two", "2\n");
    let shell = scene.remote_shell(mode);
    let rsync = || Run::new(tool("rsync"), &scene.home).args(["-a", "-e"]).arg(&shell);
    let remote = |name: &str| format!("{}:{}", destination(), home.join(name).display());
    rsync().arg(home.join("tree/")).arg(remote("there")).output().succeeds();
    rsync().arg(remote("there/")).arg(home.join("back")).output().succeeds();
    for name in ["one", "deep/er/two"] {
        let read = |tree: &str| fs::read(home.join(tree).join(name)).unwrap();
        assert_eq!(read("back"), read("tree"), "{name}");
        assert_eq!(read("there"), read("tree"), "{name}");
    }
}

fn git_clone_and_push(scene: &Arc<Scene>, mode: Mode) {
    let home = Home::new();
    let shell = scene.remote_shell(mode);
    let git = |folder: &str, args: &[&str]| {
        let run = Run::new(tool("git"), &home).arg("-C").arg(home.join(folder)).args(["-c", "user.name=a"]);
        let run = run.args(["-c", "user.email=a@example.org"]).args(args).env("GIT_SSH_COMMAND", &shell);
        let outcome = run.env("GIT_CONFIG_NOSYSTEM", "1").output();
        outcome.succeeds();
        outcome.text()
    };
    home.write("origin/file", "first\n");
    git("origin", &["init", "-q", "-b", "trunk"]);
    git("origin", &["add", "file"]);
    git("origin", &["commit", "-q", "-m", "first"]);
    let url = format!("ssh://{}{}", destination(), home.join("origin").display());
    git(".", &["clone", "-q", &url, "clone"]);
    assert_eq!(fs::read_to_string(home.join("clone/file")).unwrap(), "first\n");
    home.write("clone/file", "second\n".repeat(100_000));
    git("clone", &["commit", "-q", "-a", "-m", "second"]);
    git("clone", &["push", "-q", "origin", "HEAD:refs/heads/pushed"]);
    assert_eq!(git("origin", &["rev-parse", "pushed"]), git("clone", &["rev-parse", "HEAD"]));
}

fn control_master(scene: &Arc<Scene>, mode: Mode) {
    // A folder of its own: tests that share the scene must not share the master.
    let home = Home::new();
    let path = format!("ControlPath={}/m", home.path().display());
    let ssh = |options: &[&str]| {
        let run = scene.ssh(mode).args(["-o", &path]);
        options.iter().fold(run, |run, option| run.arg("-o").arg(option))
    };
    let first = ssh(&["ControlMaster=auto", "ControlPersist=60"]).arg(destination()).arg("echo first").output();
    first.succeeds().prints("first\n");
    ssh(&[]).args(["-O", "check"]).arg(destination()).output().succeeds().says(&["Master running"]);
    // A helper that can only fail shows that this one takes the master's connection.
    let second =
        ssh(&["ProxyCommand=false", "ProxyUseFdpass=no"]).arg(destination()).arg("echo second; exit 3").output();
    second.exits(3).prints("second\n");
    ssh(&[]).args(["-O", "exit"]).arg(destination()).output().succeeds();
}

fn stdio_forward(scene: &Arc<Scene>, mode: Mode) {
    let echo = echo_server();
    let data = "through\n".repeat(100_000);
    let outcome =
        scene.ssh(mode).arg("-W").arg(echo.address.to_string()).arg(destination()).stdin(data.clone()).output();
    outcome.succeeds().check(outcome.text() == data, "all that was sent, back");
    echo.finish();
}

fn proxy_jump(scene: &Arc<Scene>, mode: Mode) {
    let outcome =
        scene.ssh(mode).arg("-J").arg(destination()).args(["direct", "echo $SSH_CONNECTION; exit 5"]).output();
    outcome.exits(5);
    let port = format!(" {}\n", scene.sshd.port);
    outcome.check(outcome.text().ends_with(&port), "an answer of the sshd behind the VPS");
}

fn dynamic_forward_as_an_ide_does_it(scene: &Arc<Scene>, mode: Mode) {
    let page = http_server(|asked| (200, "text/plain", format!("page {}", asked.path)));
    let url = format!("http://{}/x", page.address);
    for _ in 0..5 {
        let socks = free_port().to_string();
        let mut ssh = scene.ssh(mode).args(["-T", "-D", &socks, "-o", "ExitOnForwardFailure=yes"]);
        ssh = ssh.arg(destination()).arg("sh").stdin_open();
        let mut ssh = ssh.start();
        ssh.types("echo the-shell-is-up\n");
        let up = ssh.try_wait_for(DEADLINE, |seen| seen.stdout.starts_with(b"the-shell-is-up\n").then_some(()));
        if up.is_err() {
            // Somebody else took the port meanwhile.
            ssh.finish().exits(255).says(&["Address already in use"]);
            continue;
        }
        let curl =
            Run::new(tool("curl"), &scene.home).args(["-sS", "--socks5-hostname", &format!("127.0.0.1:{socks}")]);
        curl.arg(&url).output().succeeds().prints("page /x");
        ssh.types("exit 7\n");
        ssh.finish().exits(7);
        return;
    }
    panic!("no free port for -D after 5 tries");
}

fn twenty_at_once(scene: &Arc<Scene>, mode: Mode) {
    let _heavy = heavy();
    let started: Vec<_> = (0..20)
        .map(|n| scene.ssh(mode).arg(destination()).arg(format!("echo {n}; exit {n}")).deadline(120).start())
        .collect();
    for (n, ssh) in started.into_iter().enumerate() {
        ssh.finish().exits(i32::try_from(n).unwrap()).prints(&format!("{n}\n")).says_nothing();
    }
}

/// ssh ends when the command does, although its stdin is still open: nothing on the way may wait for that.
fn the_far_end_closes_while_stdin_stays_open(scene: &Arc<Scene>, mode: Mode) {
    let ssh = scene.ssh(mode).arg(destination()).arg("exit 9").stdin_open().start();
    let mut ssh = ssh;
    let stdin = ssh.stdin.take();
    ssh.finish().exits(9).within(30);
    drop(stdin);
}

/// For a name the helper asks the Host's API for the task id, so an older Host is reached by name as well.
#[test]
fn a_vps_by_its_name() {
    let scene = Scene::connect();
    let Front::Gateway(gateway) = &scene.front else { unreachable!("a scene of another kind") };
    for mode in Mode::BOTH {
        let ssh = |name: &str| scene.ssh(mode).on_host(gateway.api().port()).arg(name).arg("echo in; exit 3").output();
        ssh(&format!("{}.kohakuriver", name_of(ID))).exits(3).prints("in\n").says_nothing();
        let outcome = ssh("no-such-name.kohakuriver");
        outcome.ssh_fails_with("there is no VPS no-such-name", "kohakuriver vps list");
    }
}
