//! `vps connect` on a terminal: when ssh fails, one line names the command that finds the cause.

use std::fs;
use std::io::Write;

use crate::support::cluster::Cluster;
use crate::support::home::Home;
use crate::support::peers::RefusingPort;
use crate::support::run::{DEADLINE, Outcome, Run};
use crate::support::scene::ID;
use crate::support::sshd::{Sshd, ssh_keygen};
use crate::support::tools::{CLI, sh_quote, tool, user};

/// How the line ends.
const TO_FIND: &str = "; for a fix: `";

/// Runs `line`, in which `kr` is `kohakuriver`, on a terminal.
fn on_a_terminal(cluster: &Cluster, line: &str) -> Run {
    let line = line.replace("kr ", &format!("{} ", sh_quote(CLI)));
    let run = cluster.run(tool("script")).args(["-q", "-e", "-E", "never", "-c", &line, "/dev/null"]);
    run.env("TERM", "xterm").deadline(120)
}

/// The lines on the terminal, without those of a progress that was erased.
fn lines(outcome: &Outcome) -> Vec<String> {
    let text = outcome.text();
    let shown = |line: &str| {
        line.rsplit(['\r', '\x1b'])
            .map(|part| part.trim_start_matches("[K"))
            .find(|part| !part.is_empty())
            .unwrap_or_default()
            .to_owned()
    };
    text.lines().map(|line| shown(line.trim_end_matches('\r'))).collect()
}

fn connect() -> String {
    format!("kr vps connect {ID} --user {}", user())
}

#[test]
fn a_wrong_key_is_said_with_the_command_that_finds_the_cause() {
    let cluster = Cluster::new();
    let other = cluster.home.join("other");
    ssh_keygen(&other);
    let port = cluster.gateway.api().port();
    let line =
        format!("kr -H 127.0.0.1 vps connect {ID} -P {port} --user {} --key {} -- true", user(), other.display());
    let outcome = on_a_terminal(&cluster, &line).output();
    outcome.exits(255);
    let lines = lines(&outcome);
    let denied =
        lines.iter().position(|line| line.contains("Permission denied (publickey")).expect("ssh's own message");
    let login = format!("--user {} --key {}", user(), other.display());
    let expected = format!(
        "kohakuriver: VPS {ID} does not accept your key as {}{TO_FIND}kohakuriver --host 127.0.0.1 --port {port} doctor {ID} {login}`",
        user()
    );
    outcome.check(lines[denied + 1..] == [expected.clone()], &format!("{expected}\n{lines:?}"));
    // The command finds it.
    let command =
        expected.split('`').nth(1).unwrap().replace("kohakuriver --host", &format!("{} --host", sh_quote(CLI)));
    let doctor = cluster.run("/bin/sh").args(["-c", &command]).deadline(120).output();
    doctor
        .exits(1)
        .check(doctor.text().contains("caused by: ssh said: ") && doctor.text().contains("fix: "), "the cause");
}

#[test]
fn a_changed_host_key_and_a_line_of_ssh_config_are_said() {
    let cluster = Cluster::new();
    let other = Sshd::start();
    cluster.home.write(".ssh/.kohakuriver_known_hosts", other.known_as(&format!("kohakuriver-{ID}")));
    let outcome = on_a_terminal(&cluster, &format!("{} -- true", connect())).output();
    // The command that ssh asks for the key has said it, with what helps.
    let changed = format!("the host key of VPS {ID} has changed");
    outcome.exits(255).check(lines(&outcome).iter().filter(|line| line.contains(&changed)).count() == 1, &changed);
    outcome.check(!outcome.text().contains(TO_FIND), "no line of connect");

    let cluster = super::doctor::with_config("Host *\n  Ciphers 3des-cbc\n");
    let outcome = on_a_terminal(&cluster, &format!("{} -- true", connect())).output();
    let last = lines(&outcome).pop().unwrap();
    outcome.exits(255).check(last.contains("~/.ssh/config:2: `Ciphers 3des-cbc`; for a fix: `"), &last);
}

/// The reason of the tunnel is in ssh's own message.
#[test]
fn the_reason_of_the_tunnel_is_not_repeated() {
    let port = RefusingPort::new();
    let cluster = Cluster::with(Home::new(), |vps| vps["ssh_port"] = port.port.into());
    let outcome = on_a_terminal(&cluster, &format!("{} -- true", connect())).output();
    outcome.exits(255).check(outcome.text().contains(&format!("VPS {ID} refuses SSH connections")), "the reason");
    outcome.check(!outcome.text().contains("doctor"), "no other line");
}

#[test]
fn a_remote_status_of_255_and_a_success_get_no_line() {
    let cluster = Cluster::new();
    for status in [0, 3, 255] {
        let outcome = on_a_terminal(&cluster, &format!("{} -- 'echo out; exit {status}'", connect())).output();
        outcome.exits(status).check(lines(&outcome) == ["out"], "no other line");
    }
    // Nor over a shared connection, where ssh runs no LocalCommand.
    let path = cluster.home.join("shared");
    let options = format!("-o ControlPath={} -o ControlMaster=auto -o ControlPersist=60", path.display());
    on_a_terminal(&cluster, &format!("{} -- {options} 'exit 0'", connect())).output().succeeds();
    let outcome = on_a_terminal(&cluster, &format!("{} -- {options} 'echo out; exit 255'", connect())).output();
    outcome.exits(255).check(lines(&outcome) == ["out"], "no other line");
    let stopped =
        cluster.run(tool("ssh")).arg("-o").arg(format!("ControlPath={}", path.display())).args(["-O", "exit", "x"]);
    stopped.output().succeeds();
}

/// Ctrl-Z stops ssh and `vps connect`, and `fg` continues both.
#[test]
fn a_job_is_stopped_and_continued() {
    let cluster = Cluster::new();
    let run = on_a_terminal(&cluster, &format!("exec {} --norc --noprofile -i", tool("bash").display())).env("PS1", "");
    let mut process = run.stdin_open().start();
    let mut keyboard = process.stdin.take().unwrap();
    let seen = |text: &'static str| {
        move |seen: &crate::support::run::Seen| String::from_utf8_lossy(&seen.stdout).contains(text).then_some(())
    };
    let command =
        format!("{} -- -T 'echo u''p; cat; exit 7'\n", connect()).replace("kr ", &format!("{} ", sh_quote(CLI)));
    keyboard.write_all(command.as_bytes()).unwrap();
    process.wait_for("the remote command", DEADLINE, seen("\nup"));
    for round in ["1", "2", "3"] {
        keyboard.write_all(b"\x1a").unwrap();
        process.wait_for("the shell", DEADLINE, |seen| {
            (String::from_utf8_lossy(&seen.stdout).matches("Stopped").count() >= round.parse().unwrap()).then_some(())
        });
        keyboard.write_all(format!("fg\nround-{round}\n").as_bytes()).unwrap();
        // The terminal has no echo: this is the answer of `cat`.
        let answer = format!("round-{round}");
        process.wait_for_stdout(&answer);
    }
    keyboard.write_all(b"\x04").unwrap();
    // The terminal is the shell's again.
    keyboard.write_all(b"echo status=$?\nexit\n").unwrap();
    process.wait_for("the status", DEADLINE, seen("status=7"));
    let outcome = process.finish();
    outcome.check(!outcome.text().contains("doctor"), "no line");
}

/// A script reads stderr: off a terminal the program becomes ssh, and no line is added.
#[test]
fn off_a_terminal_it_becomes_ssh() {
    let cluster = Cluster::new();
    let outcome = cluster.connect().args(["--", "-o", "PubkeyAuthentication=no", "true"]).output();
    outcome
        .exits(255)
        .says(&["Permission denied"])
        .check(!outcome.stderr.contains("to find the cause"), "no line of ours");
    let mut process = cluster.connect().args(["--", "echo up; cat"]).stdin_open().start();
    process.wait_for_stdout("up");
    let name = fs::read_to_string(format!("/proc/{}/comm", process.id().as_raw_nonzero())).unwrap();
    drop(process.stdin.take());
    process.finish().succeeds();
    assert_eq!(name.trim(), "ssh");
}
