//! `vps connect --diagnose`: the cause stands under ssh's own message.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::Instant;

use rustix::process::Signal;

use crate::support::cluster::Cluster;
use crate::support::peers::MutePort;
use crate::support::run::{DEADLINE, Outcome, Run};
use crate::support::scene::ID;
use crate::support::spawned::MOMENT;
use crate::support::sshd::{Sshd, ssh_keygen};
use crate::support::tools::{CLI, sh_quote, tool, user};

fn connect(cluster: &Cluster) -> Run {
    cluster.run(CLI).args(["vps", "connect", ID, "--user", user(), "--diagnose"]).deadline(120)
}

#[test]
fn a_refused_key_is_explained_under_sshs_own_message() {
    let cluster = Cluster::new();
    let other = cluster.home.join("other");
    ssh_keygen(&other);
    let outcome = connect(&cluster).arg("--key").arg(&other).args(["--", "true"]).output();
    let what = format!("kohakuriver: VPS {ID} does not accept your key");
    outcome.exits(255).prints_nothing().says(&["Permission denied (publickey", &what, "\n  caused by: ", "\n  fix: "]);
    let at = |text: &str| outcome.stderr.find(text).unwrap();
    outcome.check(at("Permission denied (publickey") < at(&what), "ssh's own message first");
}

#[test]
fn a_changed_host_key_is_explained() {
    let cluster = Cluster::new();
    let other = Sshd::start();
    cluster.home.write(".ssh/.kohakuriver_known_hosts", other.known_as(&format!("kohakuriver-{ID}")));
    let outcome = connect(&cluster).args(["--", "true"]).output();
    outcome.exits(255).says(&["KnownHostsCommand failed", "has changed", "\n  fix: "]);
}

#[test]
fn the_status_of_a_remote_command_is_not_diagnosed() {
    let cluster = Cluster::new();
    for status in [0, 1, 7, 254, 255] {
        let outcome = connect(&cluster).args(["--", &format!("echo out; exit {status}")]).output();
        outcome.exits(status).prints("out\n").says_nothing();
    }
    // Not even when a login would fail by then.
    let line = format!("rm -r '{}'; exit 255", cluster.home.join(".ssh").display());
    connect(&cluster).args(["--", &line]).output().exits(255).says_nothing();
}

#[test]
fn the_local_command_of_the_user_still_runs() {
    let cluster = Cluster::new();
    let local = ["-o", "PermitLocalCommand=yes", "-o", "LocalCommand=echo mine 100%%"];
    let outcome = connect(&cluster).arg("--").args(local).arg("echo out; exit 255").output();
    outcome.exits(255).prints("mine 100%\nout\n").says_nothing();
}

/// A connection that an earlier ssh shares runs no LocalCommand.
#[test]
fn the_status_of_a_remote_command_over_a_shared_connection_is_not_diagnosed() {
    let cluster = Cluster::new();
    let path = format!("ControlPath={}", cluster.home.join("master").display());
    let master = ["-o", "ControlMaster=yes", "-o", "PermitLocalCommand=yes", "-o", "LocalCommand=echo up", "-N"];
    let master = cluster.connect().args(["--", "-o", &path]).args(master).start();
    master.wait_for_stdout("up");
    let outcome = connect(&cluster).args(["--", "-o", &path, "echo out; exit 255"]).output();
    outcome.exits(255).prints("out\n").says_nothing();
    assert_eq!(cluster.sshd.connections(), 1, "one connection, and no diagnosis");
}

#[test]
fn the_diagnosis_uses_the_login_that_ssh_tried() {
    let cluster = Cluster::new();
    let run = cluster.run(CLI).args(["vps", "connect", ID, "--diagnose"]).deadline(120);
    let outcome = run.args(["--", "-l", "kr-nobody", "true"]).output();
    outcome.exits(255).says(&[&format!("VPS {ID} does not accept your key as kr-nobody"), "\n  fix: "]);
}

/// Without the mark, 255 may also be the status of the remote command.
#[test]
fn without_a_directory_for_the_mark_there_is_no_diagnosis() {
    let cluster = Cluster::new();
    let run = || connect(&cluster).env("TMPDIR", "/no/such/folder");
    let outcome = run().args(["--", "echo out; exit 255"]).output();
    outcome.exits(255).prints("out\n").says(&["cannot look for the cause", "`export TMPDIR=/tmp`"]);
    outcome.check(!outcome.stderr.contains("fix: "), "no finding");
    run().args(["--", "exit 3"]).output().exits(3).says_nothing();
}

#[test]
fn a_wrong_ssh_argument_leaves_nothing_to_diagnose() {
    let cluster = Cluster::new();
    let outcome = connect(&cluster).args(["--", "-o", "NoSuchOption=1", "true"]).output();
    outcome.exits(255).says(&["nosuchoption", "works now"]);
    assert_eq!(cluster.sshd.connections(), 3, "a tunnel and two logins, but no measurement of speed");
}

#[test]
fn input_reaches_the_remote_command() {
    let outcome = connect(&Cluster::new()).args(["--", "cat; exit 3"]).stdin("in\n").output();
    outcome.exits(3).prints("in\n").says_nothing();
}

#[track_caller]
fn ended_by(outcome: &Outcome, signal: Signal) -> &Outcome {
    outcome.check(outcome.status.signal() == Some(signal.as_raw()), "an end by that signal")
}

#[test]
fn signals_reach_ssh_and_this_program_ends_like_ssh() {
    let cluster = Cluster::new();
    let temporary = cluster.home.join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    // An ssh that the signal ends, and one that handles the signal.
    let real = tool("ssh");
    let script = |body: &str| {
        format!(
            "#!/bin/sh\ncase \" $* \" in *' -G '*|*' -V '*) exec {} -F none \"$@\";; esac\n{body}\n",
            real.display()
        )
    };
    let with = |body: &str| {
        cluster.home.script("bin/ssh", &script(body));
        let process = connect(&cluster).args(["--", "true"]).env("TMPDIR", &temporary).start();
        process.wait_for_stdout("up");
        process
    };
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let process = with("echo up; exec sleep 600");
        process.signal(signal);
        let outcome = process.finish();
        ended_by(&outcome, signal).says_nothing();
        outcome.check(std::fs::read_dir(&temporary).unwrap().count() == 0, "no temporary files");
    }
    // ssh has ended, and the diagnosis runs: the signal is for this program.
    let mute = MutePort::new();
    cluster.home.script("bin/ssh", &script("echo down >&2; exit 255"));
    let process = connect(&cluster).through(mute.port).args(["--", "true"]).start();
    process.wait_for_stderr("down");
    while process.try_wait_for(MOMENT, |_| None::<()>).is_err_and(|why| !why.contains("has ended")) {
        process.signal(Signal::TERM);
    }
    let outcome = process.finish();
    ended_by(&outcome, Signal::TERM);

    let process = with("trap 'echo trapped; exit 9' TERM; echo up; while :; do sleep 0.1; done");
    process.signal(Signal::TERM);
    process.finish().exits(9).prints("up\ntrapped\n");
}

#[test]
fn ctrl_c_on_a_terminal_ends_both_programs() {
    let cluster = Cluster::new();
    let temporary = cluster.home.join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let line = format!("{} vps connect {ID} --user {} --diagnose -- 'echo up; cat'", sh_quote(CLI), user());
    let run = cluster.run(tool("script")).args(["-q", "-e", "-c", &line, "/dev/null"]).env("TMPDIR", &temporary);
    let mut process = run.stdin_open().start();
    process.wait_for_stdout("up");
    let mut keyboard = process.stdin.take().unwrap();
    keyboard.write_all(b"\x03").unwrap();
    let outcome = process.finish();
    outcome.exits(130).check(!outcome.text().contains("kohakuriver:"), "no message of this program");
    outcome.check(std::fs::read_dir(&temporary).unwrap().count() == 0, "no temporary files");
    drop(keyboard);
}

/// ssh stops itself on its escape `~^Z`, and the user wants the shell back.
#[test]
fn a_stopped_ssh_stops_this_program_and_both_continue() {
    let cluster = Cluster::new();
    let body = "case \" $* \" in *' -G '*) exit 0;; esac; echo up; kill -STOP $$; echo on; exit 7";
    cluster.home.script("bin/ssh", &format!("#!/bin/sh\n{body}\n"));
    let process = cluster.run(CLI).args(["vps", "connect", ID, "--diagnose", "--", "true"]).start();
    process.wait_for_stdout("up");
    let end = Instant::now() + DEADLINE;
    let status = format!("/proc/{}/status", process.id());
    while !std::fs::read_to_string(&status).unwrap().contains("State:\tT") {
        assert!(Instant::now() < end, "it did not stop");
        thread::yield_now();
    }
    process.signal(Signal::CONT);
    process.finish().exits(7).prints("up\non\n");
}

#[test]
fn ssh_inherits_ignored_signals() {
    let cluster = Cluster::new();
    let body = "case \" $* \" in *' -G '*) exit 0;; esac; kill -HUP $$; echo stayed";
    cluster.home.script("bin/ssh", &format!("#!/bin/sh\n{body}\n"));
    let line = format!("{} vps connect {ID} --diagnose -- true", sh_quote(CLI));
    let nohup = cluster.run("/bin/sh").args(["-c", &format!("trap '' HUP; exec {line}")]).output();
    nohup.succeeds().check(nohup.text().ends_with("stayed\n"), "an ssh that ignores SIGHUP");
    ended_by(&cluster.run("/bin/sh").args(["-c", &format!("exec {line}")]).output(), Signal::HUP);
}
