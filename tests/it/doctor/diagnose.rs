//! `vps connect --diagnose`: the cause under ssh's own message.

use rustix::process::Signal;

use crate::support::cluster::Cluster;
use crate::support::peers::MutePort;
use crate::support::run::{DEADLINE, Run};
use crate::support::scene::ID;
use crate::support::spawned::MOMENT;
use crate::support::sshd::{Sshd, ssh_keygen};
use crate::support::tools::{CLI, tool, user};

fn connect(cluster: &Cluster) -> Run {
    cluster.run(CLI).args(["vps", "connect", ID, "--user", &user(), "--diagnose"]).deadline(120)
}

#[test]
fn a_refused_key_is_explained_under_sshs_own_message() {
    let cluster = Cluster::new();
    let other = cluster.home.join("other");
    ssh_keygen(&other);
    let outcome = connect(&cluster).arg("--key").arg(&other).args(["--", "true"]).output();
    let what = format!("kohakuriver: VPS {ID} does not take your key");
    outcome.exits(255).prints_nothing().says(&["Permission denied (publickey", &what, "\n  caused by: ", "\n  fix: "]);
    let at = |text: &str| outcome.stderr.find(text).unwrap();
    outcome.check(at("Permission denied (publickey") < at(&what), "ssh's own message first");
}

#[test]
fn a_changed_host_key_is_explained() {
    let cluster = Cluster::new();
    let other = Sshd::start();
    cluster.home.write(".ssh/kohakuriver_known_hosts", other.known_as(&format!("kohakuriver-{ID}")));
    let outcome = connect(&cluster).args(["--", "true"]).output();
    outcome.exits(255).says(&["REMOTE HOST IDENTIFICATION HAS CHANGED", "is not the one that is known", "\n  fix: "]);
}

#[test]
fn a_remote_commands_own_status_is_no_failure_of_sshs() {
    let cluster = Cluster::new();
    for status in [0, 1, 7, 254, 255] {
        let outcome = connect(&cluster).args(["--", &format!("echo out; exit {status}")]).output();
        outcome.exits(status).prints("out\n").says_nothing();
    }
    // Even where the way is broken by then.
    let line = format!("rm -r '{}'; exit 255", cluster.home.join(".ssh").display());
    connect(&cluster).args(["--", &line]).output().exits(255).says_nothing();
}

#[test]
fn the_users_own_local_command_stays() {
    let cluster = Cluster::new();
    let local = ["-o", "PermitLocalCommand=yes", "-o", "LocalCommand=echo mine"];
    let outcome = connect(&cluster).arg("--").args(local).arg("echo out; exit 255").output();
    outcome.exits(255).check(outcome.text().contains("mine\n"), "the user's command");
    outcome.check(!outcome.stderr.contains("fix: "), "no finding");
}

#[test]
fn what_ssh_dislikes_in_its_own_arguments_is_not_the_ways_fault() {
    let outcome = connect(&Cluster::new()).args(["--", "-o", "NoSuchOption=1", "true"]).output();
    outcome.exits(255).says(&["nosuchoption", "works now"]);
}

#[test]
fn input_reaches_the_remote_command() {
    let outcome = connect(&Cluster::new()).args(["--", "cat; exit 3"]).stdin("in\n").output();
    outcome.exits(3).prints("in\n").says_nothing();
}

#[test]
fn signals_reach_ssh_and_end_this_program_as_they_end_ssh() {
    let cluster = Cluster::new();
    // An ssh that dies of what it is sent, and one that has a word to say first.
    let real = tool("ssh");
    let script = |body: &str| {
        format!(
            "#!/bin/sh\ncase \" $* \" in *' -G '*|*' -V '*) exec {} -F none \"$@\";; esac\n{body}\n",
            real.display()
        )
    };
    let with = |body: &str| {
        cluster.home.script("bin/ssh", &script(body));
        let process = connect(&cluster).args(["--", "true"]).start();
        process.wait_for("ssh", DEADLINE, |seen| String::from_utf8_lossy(&seen.stdout).find("up"));
        process
    };
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let process = with("echo up; exec sleep 600");
        process.signal(signal);
        let outcome = process.finish();
        let ended_by = std::os::unix::process::ExitStatusExt::signal(&outcome.status);
        outcome.check(ended_by == Some(signal.as_raw()), "an end by the same signal").says_nothing();
    }
    // ssh is gone, and the search for the cause takes its time: the signal is this program's own.
    let mute = MutePort::new();
    cluster.home.script("bin/ssh", &script("echo down >&2; exit 255"));
    let run = connect(&cluster).env("KOHAKURIVER_SSH_PROXY_PORT", mute.port.to_string());
    let process = run.args(["--", "true"]).start();
    process.wait_for("ssh", DEADLINE, |seen| String::from_utf8_lossy(&seen.stderr).find("down"));
    while process.try_wait_for(MOMENT, |_| None::<()>).is_err_and(|why| !why.contains("has ended")) {
        process.signal(Signal::TERM);
    }
    let outcome = process.finish();
    let ended_by = std::os::unix::process::ExitStatusExt::signal(&outcome.status);
    outcome.check(ended_by == Some(Signal::TERM.as_raw()), "an end by the signal");

    let process = with("trap 'echo told; exit 9' TERM; echo up; while :; do sleep 0.1; done");
    process.signal(Signal::TERM);
    process.finish().exits(9).prints("up\ntold\n");
}
