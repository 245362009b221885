//! `kohakuriver vps connect` with the system's ssh, our gateway and its Host API.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::gateway::{NODE_DOWN, inventory, name_of, running};
use crate::support::home::{Home, set_mode};
use crate::support::peers::{RefusingPort, echo_server, echoes};
use crate::support::run::{DEADLINE, Outcome, Process, Run};
use crate::support::scene::ID;
use crate::support::sshd::{Sshd, free_port};
use crate::support::tools::{CLI, HELPER, sh_quote, tool, user};

fn refused(outcome: &Outcome, what: &str, hint: &str) {
    outcome.exits(255).prints_nothing().within(30).fails_with("kohakuriver", what, hint);
}

#[test]
fn a_remote_command_its_input_and_its_exit_status() {
    let cluster = Cluster::new();
    let outcome = cluster.connect().args(["--", "cat; echo $((6 * 7)); exit 42"]).stdin("in\n").output();
    outcome.exits(42).prints("in\n42\n");
    cluster.connect().args(["--", "kill -9 $$"]).output().exits(255);
    // Several words are one remote command, as with ssh.
    cluster.connect().args(["--", "echo", "a", "b"]).output().succeeds().prints("a b\n").says_nothing();
}

#[test]
fn a_vps_can_be_named_in_other_ways() {
    let cluster = Cluster::new();
    let name = name_of(ID);
    for vps in [format!("{ID}.kohakuriver"), format!("kohakuriver-{ID}"), name.clone(), format!("{name}.kohakuriver")] {
        let run = cluster.run(CLI).args(["vps", "connect", &vps, "--user", user(), "--", "echo in"]);
        run.output().succeeds().prints("in\n");
    }
    // One VPS, one identity, whatever it was called.
    assert_eq!(cluster.known_hosts().lines().count(), 1, "{}", cluster.known_hosts());
}

#[test]
fn the_host_key_is_kept_under_the_task_id_and_a_changed_one_is_refused() {
    let cluster = Cluster::new();
    cluster.connect().args(["--", "true"]).output().succeeds();
    let known = cluster.known_hosts();
    assert!(known.starts_with(&format!("kohakuriver-{ID},{ID}.kohakuriver ssh-")), "{known}");
    assert!(!cluster.home.join(".ssh/known_hosts").exists());

    let other = Sshd::start();
    for name in [format!("kohakuriver-{ID}"), format!("{ID}.kohakuriver")] {
        cluster.home.write(".ssh/.kohakuriver_known_hosts", other.known_as(&name));
        let outcome = cluster.connect().args(["--", "echo in"]).output();
        // ssh's own advice would name a file that doesn't exist.
        outcome.exits(255).prints_nothing().check(!outcome.stderr.contains("ssh-keygen -f"), "no advice of ssh");
        outcome.fails_with("kohakuriver", &format!("the host key of VPS {ID} has changed"), "ssh forget");
    }
}

#[test]
fn keys_are_taken_in_their_order() {
    let cluster = Cluster::new();
    let (generated, documented) = (format!(".ssh/id-kohakuriver-{ID}"), format!(".ssh/kohakuriver_{ID}"));
    let given = cluster.home.join("given");
    let another = Sshd::start();
    let works = |run: Run| {
        run.args(["--", "true"]).output().succeeds();
    };
    let denied = |run: Run| {
        run.args(["--", "true"]).output().exits(255).says(&["Permission denied"]);
    };

    // A key that the VPS doesn't know shows which one was taken.
    cluster.sshd.copy_key_to(&given);
    another.copy_key_to(&cluster.home.join(&generated));
    denied(cluster.connect());
    works(cluster.connect().arg("--key").arg(&given));
    works(cluster.connect().arg("-i").arg("~/given"));

    cluster.sshd.copy_key_to(&cluster.home.join(&documented));
    denied(cluster.connect());
    fs::remove_file(cluster.home.join(&generated)).unwrap();
    works(cluster.connect());
    another.copy_key_to(&given);
    denied(cluster.connect().arg("--key").arg(&given));

    // With none of them, ssh has its own way.
    fs::remove_file(cluster.home.join(&documented)).unwrap();
    cluster.sshd.copy_key_to(&given);
    let own = format!("IdentityFile={}", given.display());
    cluster.connect().args(["--", "-o", &own, "true"]).output().succeeds();
}

#[test]
fn a_key_that_ssh_would_not_take_is_said_before_ssh_starts() {
    let cluster = Cluster::new();
    let missing = cluster.home.join("missing");
    let outcome = cluster.connect().arg("--key").arg(&missing).args(["--", "true"]).output();
    outcome.exits(255).prints_nothing().says(&["kohakuriver: cannot use the key", "missing", "there is no such file"]);
    outcome.check(!outcome.stderr.contains("Permission denied"), "no word from ssh");

    let default = cluster.home.join(&format!(".ssh/id-kohakuriver-{ID}"));
    let given = cluster.home.join("a key");
    cluster.sshd.copy_key_to(&given);
    for (path, with_flag) in [(&given, true), (&default, false)] {
        set_mode(path, 0o644);
        let run = cluster.connect();
        let run = if with_flag { run.arg("--key").arg(path) } else { run };
        let outcome = run.args(["--", "true"]).output();
        let what = format!("cannot use the key {}", path.display());
        refused(&outcome, &what, "chmod 600 ");
        // The hint is there to be pasted.
        let hint = outcome.stderr.lines().find_map(|line| line.strip_prefix("  hint: ")?.strip_suffix('`')).unwrap();
        let (_, hint) = hint.split_once('`').unwrap();
        cluster.run("/bin/sh").args(["-c", hint]).output().succeeds();
        let run = cluster.connect();
        let run = if with_flag { run.arg("--key").arg(path) } else { run };
        run.args(["--", "true"]).output().succeeds();
    }
}

#[test]
fn the_login_is_the_one_that_is_asked_for() {
    let cluster = Cluster::new();
    let run = |user: &str| cluster.run(CLI).args(["vps", "connect", ID, "--user", user, "--", "id -un"]).output();
    run(user()).succeeds().prints(&format!("{}\n", user()));
    run("kr-nobody-here").exits(255).prints_nothing().says(&["kr-nobody-here@", "Permission denied"]);
    let by_default = cluster.run(CLI).args(["vps", "connect", ID, "--dry-run"]).output();
    by_default.succeeds().check(by_default.text().contains(" -l root "), "root as the login");
}

#[test]
fn a_dry_run_prints_a_command_that_can_be_pasted() {
    let cluster = Cluster::new();
    let outcome = cluster.connect().args(["--dry-run", "--", "echo 'a  b' \"$((1 + 1))\" '%h'; exit 3"]).output();
    outcome.succeeds().says_nothing();
    let command = outcome.text();
    assert_eq!(command.lines().count(), 1, "{command}");
    assert_eq!(cluster.known_hosts(), "", "a dry run leaves no traces");
    for shell in ["/bin/sh", "/bin/bash"] {
        cluster.run(shell).arg("-c").arg(&command).output().exits(3).prints("a  b 2 %h\n");
    }
}

/// Starts `connect` with a forwarding from a free port to `to`, and waits until `ready` finds that it is up.
fn forwarding(cluster: &Cluster, to: u16, more: &[&str], ready: &str) -> (Process, u16) {
    for _ in 0..5 {
        let port = free_port();
        let forward = format!("{port}:localhost:{to}");
        let run = cluster.connect().args(["--", "-v", "-o", "ExitOnForwardFailure=yes", "-L", &forward]).args(more);
        let process = run.stdin_open().start();
        let up = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(ready).then_some(());
        match process.try_wait_for(DEADLINE, |seen| up(&seen.stdout).or_else(|| up(&seen.stderr))) {
            Ok(()) => return (process, port),
            // Somebody else took the port meanwhile.
            Err(_) => drop(process.finish().says(&["Address already in use"])),
        }
    }
    panic!("no free port for -L after 5 tries");
}

#[test]
fn a_forwarding_forwards() {
    let cluster = Cluster::new();
    let echo = echo_server();
    let (mut ssh, port) = forwarding(&cluster, echo.address.port(), &["echo up-now; cat; exit 6"], "up-now");
    echoes(port);
    drop(ssh.stdin.take());
    ssh.finish().exits(6);
    echo.finish();
}

#[test]
fn a_forwarding_without_a_command() {
    let cluster = Cluster::new();
    let echo = echo_server();
    let (ssh, port) = forwarding(&cluster, echo.address.port(), &["-N"], "Entering interactive session.");
    echoes(port);
    ssh.signal(rustix::process::Signal::TERM);
    // The status of an ssh that was told to go differs between versions.
    ssh.finish().prints_nothing();
    echo.finish();
}

#[test]
fn options_of_ssh_pass_through() {
    let cluster = Cluster::new();
    cluster.connect().args(["--", "-X", "echo x"]).output().succeeds().prints("x\n");
    cluster.connect().args(["--", "-T", "-q", "-o", "SendEnv=none", "echo t"]).output().succeeds().prints("t\n");
    cluster.connect().args(["--", "-G"]).output().succeeds();
    cluster.connect().args(["--", "--help-me"]).output().exits(255).says(&["unknown option"]);
    // ssh has no long options, so this one is meant for us.
    cluster.connect().arg("--help-me").output().exits(255).says(&["kohakuriver: ", "--help-me"]);
}

/// Runs `command` on a terminal of its own.
fn on_a_terminal(cluster: &Cluster, command: &str) -> Run {
    cluster.run(tool("script")).args(["-q", "-e", "-c", command, "/dev/null"])
}

/// Whether an sshd of this user can: it must give each terminal to the group `tty`, which takes root unless the system
/// makes them so (devpts mounted with `gid=`, as nearly every system has it).
fn sshd_can_give_terminals() -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let devpts: Vec<&str> = mounts.lines().filter(|line| line.starts_with("devpts /dev/pts ")).collect();
    assert!(!devpts.is_empty(), "no devpts in {mounts}");
    rustix::process::geteuid().is_root() || devpts.iter().any(|line| line.contains(",gid="))
}

#[test]
fn a_terminal_and_a_shell() {
    let cluster = Cluster::new();
    let connect = format!("{} vps connect {ID} --user {}", sh_quote(CLI), user());
    let outcome = on_a_terminal(&cluster, &format!("{connect} -- -t tty")).output();
    if !sshd_can_give_terminals() {
        // `-t` and a shell ask the sshd for a terminal, and that is the point here. This sshd dies of the request.
        outcome.exits(255).check(outcome.text().contains("closed by remote host"), "an sshd that dies of its terminal");
        return;
    }
    outcome.succeeds().check(outcome.text().contains("/dev/pts/"), "a terminal");
    let outcome = on_a_terminal(&cluster, &connect).stdin("echo in-$((40 + 2)); exit 7\n").output();
    outcome.exits(7).check(outcome.text().contains("in-42"), "an answer of the shell");
}

#[test]
fn names_of_folders_do_not_matter() {
    let odd = r#"a b%h 100% 'q" $x `id` é;&|\#"#;
    let cluster = Cluster::in_home(Home::named(odd));
    let cli = cluster.home.copy(CLI.as_ref(), "pro grams/kohakuriver");
    cluster.home.copy(HELPER.as_ref(), "pro grams/kohakuriver-proxy");
    let given = cluster.home.join("my 'key' %u");
    cluster.sshd.copy_key_to(&given);
    for shell in ["/bin/sh", "/bin/bash"] {
        let connect = || cluster.run(&cli).env("SHELL", shell).args(["vps", "connect", ID, "--user", user()]);
        connect().args(["--", "echo in; exit 9"]).output().exits(9).prints("in\n");
        connect().arg("--key").arg(&given).args(["--", "echo in; exit 9"]).output().exits(9).prints("in\n");
        let command = connect().arg("--key").arg(&given).args(["--dry-run", "--", "echo 'i  n'; exit 9"]).output();
        command.succeeds();
        let pasted = cluster.run(shell).env("SHELL", shell).arg("-c").arg(command.text());
        pasted.output().exits(9).prints("i  n\n");
    }
    assert_eq!(cluster.known_hosts().lines().count(), 1, "{}", cluster.known_hosts());
}

#[test]
fn what_can_not_be_reached_is_said_before_ssh_starts() {
    let vps = format!("VPS {ID}");
    let cases: Vec<(Value, String, &str)> = vec![
        (json!({ "status": "paused" }), format!("{vps} is paused"), "kohakuriver vps resume"),
        (json!({ "status": "stopped" }), format!("{vps} is stopped"), "kohakuriver vps create"),
        (json!({ "status": "failed" }), format!("{vps} has failed"), "kohakuriver vps restart"),
        (
            json!({ "status": "killed_oom" }),
            format!("{vps} ran out of memory and was killed"),
            "kohakuriver vps create",
        ),
        (json!({ "status": "lost", "assigned_node": NODE_DOWN }), format!("{vps} is lost"), "kohakuriver node list"),
        (json!({ "status": "lost" }), format!("{vps} is lost"), "its Runner is online again"),
        (
            json!({ "status": "paused", "assigned_node": NODE_DOWN }),
            format!("the Runner of {vps} is offline"),
            "kohakuriver node list",
        ),
        (
            json!({ "assigned_node": "nowhere" }),
            format!("the Host does not know the Runner of {vps}"),
            "kohakuriver node list",
        ),
        (json!({ "status": "pending" }), format!("{vps} is starting (status: pending)"), "--wait"),
        (
            json!({ "status": "assigning", "ssh_port": 2222 }),
            format!("{vps} is starting (status: assigning)"),
            "--wait",
        ),
        (json!({ "status": "pending_approval" }), format!("{vps} awaits approval"), "operator"),
        (json!({ "ssh_port": null }), format!("{vps} has no SSH: it was created for terminals only"), "vps create"),
        (json!({ "ssh_port": 0 }), format!("{vps} has no SSH: it was created for terminals only"), "vps create"),
        (json!({ "assigned_node": NODE_DOWN }), format!("the Runner of {vps} is offline"), "kohakuriver node list"),
        (json!({ "assigned_node": null }), format!("{vps} has no Runner"), "kohakuriver node list"),
        (json!({ "task_type": "command" }), format!("task {ID} is a command task, not a VPS"), "kohakuriver vps list"),
        (json!({ "task_id": "42" }), format!("there is no {vps}"), "kohakuriver vps list"),
    ];
    for (change, what, hint) in cases {
        let cluster = Cluster::on_a_host(&change);
        let outcome = cluster.connect().args(["--", "echo in"]).output();
        refused(&outcome, &what, hint);
        assert_eq!(cluster.sshd.connections(), 0, "ssh was started\n{outcome}");
    }
    let outcome = Cluster::new().run(CLI).args(["vps", "connect", "no-such-name"]).output();
    refused(&outcome, "there is no VPS no-such-name", "kohakuriver vps list");
}

#[test]
fn a_host_that_can_not_be_reached_is_named() {
    let cluster = Cluster::new();
    let refusing = RefusingPort::new();
    let run = cluster.connect().env("KOHAKURIVER_PORT", refusing.port.to_string());
    let outcome = run.args(["--", "echo in"]).output();
    outcome.exits(255).prints_nothing().within(30).says(&[&format!("127.0.0.1:{}", refusing.port), "  caused by: "]);
    outcome.says(&["  hint: "]);
    let run = cluster.connect().env("KOHAKURIVER_HOST", "kr-no-such-host.invalid");
    let outcome = run.args(["--", "echo in"]).deadline(60).output();
    outcome.exits(255).prints_nothing().says(&["kr-no-such-host.invalid", "  caused by: ", "  hint: "]);
}

/// A change of the inventory is taken up without a restart, and a broken one is not.
#[test]
fn the_inventory_can_change_while_the_gateway_serves() {
    let cluster = Cluster::new();
    cluster.connect().args(["--", "true"]).output().succeeds();
    cluster.gateway.write_inventory("{ broken");
    // The file is looked at when a request comes or from time to time; the last good one stays either way.
    for _ in 0..5 {
        cluster.connect().args(["--", "true"]).output().succeeds();
    }
    let mut vps = running(ID, cluster.sshd.port);
    vps["status"] = json!("stopped");
    cluster.gateway.write_inventory(&inventory(&[vps]).to_string());
    let end = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let outcome = cluster.connect().args(["--", "true"]).output();
        if outcome.stderr.contains("is stopped") {
            return;
        }
        outcome.succeeds();
        assert!(std::time::Instant::now() < end, "the new inventory was not taken up\n{outcome}");
    }
}
