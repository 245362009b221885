//! `vps stop`, `restart`, `pause` and `resume`: what is asked before, what a Host says, and what is looked at
//! afterwards.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, NODE};
use crate::support::home::{Home, set_mode};
use crate::support::life_host::{LifeHost, OPERATOR, USER, vps};
use crate::support::older_host::{OlderHost, task};
use crate::support::run::{DEADLINE, Outcome, Process, Run};
use crate::support::scene::ID;
use crate::support::sshd::Sshd;
use crate::support::terminal;
use crate::support::tools::{CLI, clients, sh_quote, tool, user};

/// The requests that change something, as `METHOD path`.
fn changes(host: &LifeHost) -> Vec<String> {
    host.changes().iter().map(|request| format!("{} {}", request.method, request.path)).collect()
}

/// Runs it on a terminal, with `typed` as what a person types: all that appeared there.
fn on_a_terminal(host: &LifeHost, home: &Home, args: &str, typed: &str) -> Outcome {
    Run::new(tool("script"), home)
        .on_host(host.peer.address.port())
        .args(["-q", "-e", "-E", "never", "-c", &format!("{} {args}", sh_quote(CLI)), "/dev/null"])
        .stdin(typed)
        .output()
}

#[test]
fn stop_asks_first() {
    let home = Home::new();
    let host = LifeHost::with(vps("running", "docker", 22022));
    let outcome = host.run(&home, &["vps", "stop", "trainer"]).output();
    outcome.exits(2).prints_nothing().says(&["no terminal to ask on", "hint: confirm with `--yes`"]);
    for no in ["n\n", "\n", "what\n"] {
        let outcome = on_a_terminal(&host, &home, "vps stop trainer", no);
        let question = format!("Stop VPS {ID} (trainer)? A stopped VPS can't be started again. [y/N] ");
        outcome.exits(1).check(outcome.text().contains(&question), &question);
        outcome.check(outcome.text().contains("kohakuriver: nothing was done"), "that nothing was done");
    }
    // It is wrapped at words, and so is what the Host says.
    let narrow = |answer: &str| {
        let run = terminal::on_a_terminal(&home, host.peer.address.port(), (40, 24), "xterm", "vps stop trainer");
        run.stdin(answer).output()
    };
    let outcome = narrow("n\n");
    let question = format!("Stop VPS {ID} (trainer)?\r\n    A stopped VPS can't be started\r\n    again. [y/N] ");
    outcome.check(outcome.text().contains(&question), &question);
    // Nobody sees a question that goes to a file.
    on_a_terminal(&host, &home, "vps stop trainer 2>err", "y\n").exits(2);
    assert!(fs::read_to_string(home.join("err")).unwrap().contains("no terminal to ask on"));
    assert!(changes(&host).is_empty());
    let outcome = narrow("y\n");
    let word = "stop requested.\r\n    VPS marked as stopped.";
    outcome.succeeds().check(outcome.text().contains(word), "the Host's word");
    assert_eq!(changes(&host), [format!("POST /api/vps/stop/{ID}")]);

    let outcome = host.run(&home, &["vps", "stop", ID, "-y"]).output();
    let what = format!("cannot stop VPS {ID}");
    outcome.exits(1).prints_nothing().fails_with("kohakuriver", &what, "the VPS has already ended");
    outcome.says(&["says: VPS cannot be stopped (state: stopped)\n"]);
}

#[test]
fn a_command_task_is_no_vps() {
    let (home, host) = (Home::new(), LifeHost::with(vps("stopped", "docker", 22022)));
    host.change(|state| state.vpses[0]["task_type"] = "command".into());
    for verb in ["stop", "restart", "pause", "resume"] {
        let what = format!("task {ID} is a command task, not a VPS");
        let outcome = host.run(&home, &["vps", verb, ID]).output();
        outcome.exits(1).fails_with("kohakuriver", &what, "vps list");
    }
}

#[test]
fn restart_asks_first() {
    let home = Home::new();
    let host = LifeHost::with(vps("running", "docker", 1));
    let outcome = on_a_terminal(&host, &home, "vps restart trainer", "n\n");
    let question = format!(
        "Restart VPS {ID} (trainer)? The Host re-creates the container, which then lets everybody log in as root without a key. [y/N] "
    );
    outcome.exits(1).check(outcome.text().contains(&question), &question);
    assert!(changes(&host).is_empty());
}

/// An sshd that lets everybody in.
fn open_sshd(home: &Home) -> (Process, u16) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/open_sshd.py");
    let process = Run::new(clients("python/bin/python"), home).arg(script).stdin_open().deadline(300).start();
    let port = process.wait_for("its port", DEADLINE, |seen| {
        String::from_utf8_lossy(&seen.stdout).strip_suffix('\n').and_then(|line| line.parse().ok())
    });
    (process, port)
}

#[test]
fn a_restarted_container_is_asked_whether_it_takes_everybody() {
    let home = Home::new();
    let sshd = Sshd::start();
    let (_open, open_port) = open_sshd(&home);
    for (port, verdict) in [
        (sshd.port, format!("VPS {ID} answers, and refuses logins without a key\n")),
        (open_port, format!("warning: VPS {ID} lets everybody who can reach")),
    ] {
        let host = LifeHost::with(vps("running", "docker", port));
        let gateway = Gateway::with_host_api(&host.base());
        let run = |args: &[&str]| host.run(&home, args).through(gateway.address.port()).output();
        run(&["vps", "restart", ID]).exits(2).prints_nothing().says(&["confirm with `--yes`"]);
        assert!(changes(&host).is_empty());
        for args in [&["vps", "restart", ID, "--yes"][..], &["vps", "restart", "trainer", "-y", "--wait"]] {
            let outcome = run(args);
            outcome.succeeds().prints_nothing().says(&[&format!("VPS {ID} restart successful.\n"), &verdict]);
        }
        assert_eq!(changes(&host), vec![format!("POST /api/vps/restart/{ID}"); 2]);
    }
    // Nothing of it is remembered as the VPS's host key.
    assert!(!home.join(".ssh").exists());
    sshd.was_connected_to();
}

/// `vps restart` of a VPS whose key was stored before it had the sshd at `port`, and the known keys afterwards.
fn restarted(home: &Home, backend: &str, status: &str, port: u16) -> (Outcome, String) {
    let host = LifeHost::with(vps(status, backend, port));
    let gateway = Gateway::with_host_api(&host.base());
    let run = host.run(home, &["vps", "restart", ID, "--yes", "--wait", "5"]);
    let outcome = run.through(gateway.address.port()).output();
    (outcome, home.read(".ssh/.kohakuriver_known_hosts"))
}

fn fingerprint(sshd: &Sshd) -> String {
    let output = Run::new(tool("ssh-keygen"), &Home::new()).args(["-l", "-f"]).arg(sshd.host_key_file()).output();
    output.succeeds().text().split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn the_new_host_key_of_a_restarted_container_replaces_the_stored_one() {
    let (home, before, now) = (Home::new(), Sshd::start(), Sshd::start());
    let other = before.known_as("kohakuriver-42,42.kohakuriver");
    let known = format!("{}{other}", before.known_as(&format!("kohakuriver-{ID},{ID}.kohakuriver")));
    home.write(".ssh/.kohakuriver_known_hosts", &known);

    // It did not restart, it is a machine, or it has the same key.
    let (outcome, left) = restarted(&home, "docker", "stopped", now.port);
    outcome.exits(1).check(left == known, "unchanged keys");
    let (outcome, left) = restarted(&home, "qemu", "running", now.port);
    outcome.succeeds().check(left == known && !outcome.stderr.contains("host key"), "unchanged keys");
    let (outcome, left) = restarted(&home, "docker", "running", before.port);
    outcome.succeeds().check(left == known && !outcome.stderr.contains("host key"), "unchanged keys");
    // Its sshd does not answer, so the new key is not known.
    let (outcome, left) = restarted(&home, "docker", "running", 1);
    outcome.exits(1).says(&[&format!("`kohakuriver ssh forget {ID}` if ssh refuses the new one")]);
    outcome.check(left == known, "unchanged keys");

    let (outcome, left) = restarted(&home, "docker", "running", now.port);
    let (new, old) = (fingerprint(&now), fingerprint(&before));
    outcome.succeeds().says(&[
        &format!("the restart gave VPS {ID} a new host key, which is stored now in place of the old one:\n"),
        &format!("\n  new: {new} (ssh-ed25519)\n  old: {old}\n"),
    ]);
    let lines: Vec<&str> = left.lines().collect();
    let key = now.known_as("").split_whitespace().nth(1).unwrap().to_owned();
    outcome.check(lines.len() == 2 && lines[0] == other.trim_end() && lines[1].contains(&key), &left);
    // The login that restart recommends.
    let host = LifeHost::with(vps("running", "docker", now.port));
    let gateway = Gateway::with_host_api(&host.base());
    let key = now.key.display().to_string();
    let connect = ["vps", "connect", ID, "--key", &key, "--user", user(), "--", "-F", "none", "echo in"];
    host.run(&home, &connect).through(gateway.address.port()).output().succeeds().prints("in\n").says_nothing();

    // Nothing is stored for a VPS without a key.
    let home = Home::new();
    restarted(&home, "docker", "running", now.port).0.succeeds();
    assert!(!home.join(".ssh").exists());
}

#[test]
fn a_restarted_machine_is_not_made_anew() {
    let home = Home::new();
    let sshd = Sshd::start();
    let host = LifeHost::with(vps("running", "qemu", sshd.port));
    let gateway = Gateway::with_host_api(&host.base());
    let run = |args: &[&str]| host.run(&home, args).through(gateway.address.port()).output();
    let said = format!("VPS {ID} restart successful.\n");
    run(&["vps", "restart", ID]).succeeds().prints_nothing().check_stderr(&said);
    assert_eq!(sshd.connections(), 0);
    run(&["vps", "restart", ID, "--wait", "30"]).succeeds().check_stderr(&said);
    sshd.was_connected_to();
}

#[test]
fn a_restarted_vps_that_does_not_answer_is_said() {
    let home = Home::new();
    let host = LifeHost::with(vps("running", "docker", 1));
    // No gateway either.
    let run = host.run(&home, &["vps", "restart", ID, "--yes", "--wait", "2"]).env("KOHAKURIVER_SSH_PROXY_PORT", "1");
    let outcome = run.output();
    outcome
        .exits(1)
        .within(20)
        .says(&[&format!("VPS {ID} does not answer on SSH yet"), "its sshd does not answer yet: "]);
}

#[test]
fn the_ssh_configuration_follows_where_there_is_one() {
    let home = Home::new();
    let host = LifeHost::start(22022);
    let run = |args: &[&str]| host.run(&home, args).output();
    run(&["vps", "create", "--no-ssh-key", "--name", "trainer"]).succeeds();
    run(&["vps", "stop", ID, "-y"]).succeeds();
    assert!(!home.join(".ssh").exists(), "nothing is made that wasn't there");
    host.change(|state| state.vpses.clear());

    run(&["ssh", "config", "--write"]).succeeds();
    let entries = || fs::read_to_string(home.join(".ssh/kohakuriver.conf")).unwrap();
    assert!(!entries().contains("trainer"));
    run(&["vps", "create", "--gen-ssh-key", "--name", "trainer"]).succeeds().says_nothing();
    assert!(entries().contains("Host trainer.kohakuriver\n"), "{}", entries());
    assert!(entries().contains(&format!("id-kohakuriver-{ID}")), "{}", entries());
    run(&["vps", "stop", "trainer", "-y"]).succeeds();
    assert!(!entries().contains("trainer"));
    // One that can't be written is a remark, since the command has done its work.
    let running = || host.change(|state| state.vpses[0]["status"] = "running".into());
    running();
    home.write(".ssh/kohakuriver.conf", format!("{}# changed\n", entries()));
    set_mode(&home.join(".ssh/kohakuriver.conf"), 0o444);
    let outcome = run(&["vps", "stop", "trainer", "-y"]);
    outcome.succeeds().says(&["cannot refresh the ssh configuration: cannot write ", "it is read-only"]);
    // One that is not ours is left alone.
    running();
    home.write(".ssh/kohakuriver.conf", "Host mine\n");
    let outcome = run(&["vps", "stop", "trainer", "-y"]);
    outcome.succeeds().check(!outcome.stderr.contains("kohakuriver.conf"), "not a word about it each time");
    assert_eq!(entries(), "Host mine\n");
}

/// `ssh NAME.kohakuriver` works as soon as the VPS runs, with the key of the user or one made for it.
#[test]
fn a_vps_that_was_just_created_is_a_host_of_ssh() {
    let sshd = Sshd::start();
    for key in ["--gen-ssh-key", "--no-ssh-key", "--public-key-file"] {
        let home = Home::new();
        let host = LifeHost::start(sshd.port);
        let gateway = Gateway::with_host_api(&host.base());
        let proxy = gateway.address.to_string();
        let run = |args: &[&str]| host.run(&home, &["--proxy", &proxy]).args(args).output();
        home.write(".ssh/config", format!("Host *\n  IdentityFile {}\n  BatchMode yes\n", sshd.key.display()));
        run(&["ssh", "config", "--write"]).succeeds();
        // It starts, and its port is not known yet.
        host.change(|state| state.course = ["assigning"].into());
        let public = sshd.key.with_extension("pub").display().to_string();
        let key = if key == "--public-key-file" { vec![key, &public] } else { vec![key] };
        run(&[&["vps", "create", "--name", "Fresh"], &key[..]].concat()).succeeds();
        host.change(|state| state.course = ["running"].into());
        let entries = fs::read_to_string(home.join(".ssh/kohakuriver.conf")).unwrap();
        assert!(entries.contains("\nHost Fresh.kohakuriver\n"), "{entries}");
        let ssh = Run::new(tool("ssh"), &home).arg("-F").arg(home.join(".ssh/config"));
        ssh.args(["Fresh.kohakuriver", "-l", user(), "echo in"]).output().succeeds().prints("in\n");
        // A restart re-creates it.
        host.change(|state| state.course = ["assigning"].into());
        run(&["vps", "restart", "fresh", "--yes", "--wait", "1"]);
        assert_eq!(fs::read_to_string(home.join(".ssh/kohakuriver.conf")).unwrap(), entries);
        run(&["vps", "stop", "fresh", "--yes"]).succeeds();
        assert!(
            !fs::read_to_string(home.join(".ssh/kohakuriver.conf")).unwrap().contains("\nHost Fresh.kohakuriver\n")
        );
    }
}

#[test]
fn a_second_vps_of_one_name_is_asked_about() {
    let home = Home::new();
    let host = LifeHost::start(22022);
    let named = |name: &str, status: &str| {
        let mut vps = vps(status, "docker", 22022);
        (vps["task_id"], vps["name"]) = ("5".into(), name.into());
        host.change(|state| state.vpses = vec![vps]);
    };
    named("Trainer", "running");
    let create = ["vps", "create", "--no-ssh-key", "--name", "trainer"];
    let outcome = host.run(&home, &create).output();
    outcome.exits(2).says(&["caused by: VPS 5 (Trainer) has this name already", "hint: confirm with `--yes`"]);
    let line = create.join(" ");
    let outcome = on_a_terminal(&host, &home, &line, "n\n");
    let question = "VPS 5 (Trainer) has this name already. Create another one? [y/N] ";
    outcome.exits(1).check(outcome.text().contains(question), question);
    assert!(changes(&host).is_empty());
    on_a_terminal(&host, &home, &line, "y\n").succeeds();
    host.run(&home, &create).arg("-y").output().succeeds();
    // Another name, one that has ended, and one of another user.
    for (name, status) in [("trainer-2", "running"), ("trainer", "stopped")] {
        named(name, status);
        host.run(&home, &create).output().succeeds();
    }
    named("trainer", "running");
    let of = |owner: &str| {
        host.change(|state| {
            state.auth = true;
            state.vpses[0]["owner_username"] = owner.into();
            state.vpses[0]["assignees"] = json!([]);
        });
        host.run(&home, &create).env("KOHAKURIVER_TOKEN", OPERATOR).output()
    };
    of("operator1").exits(2);
    of("somebody").succeeds();
}

#[test]
fn a_name_that_is_listed_is_taken_by_every_command() {
    let home = Home::new();
    let host = LifeHost::with(vps("running", "docker", 22022));
    let long = "ä".repeat(200);
    for name in ["my trainer", "a:b", "#1", "100%", "größe", "it's \"x\"", "$(id)", "a/b", &long] {
        host.change(|state| {
            state.vpses[0]["name"] = name.into();
            state.vpses[0]["status"] = "running".into();
        });
        let status = host.run(&home, &["vps", "status", name, "--json"]).output();
        let status: Value = serde_json::from_slice(&status.succeeds().stdout).unwrap();
        assert_eq!(status["name"], name);
        let connect = host.run(&home, &["vps", "connect", name, "--dry-run"]).output();
        connect.succeeds().check(connect.text().contains(&format!(" {ID}.kohakuriver")), name);
        host.run(&home, &["ssh", "forget", name]).output().succeeds();
        host.run(&home, &["vps", "pause", name]).output().succeeds();
        host.run(&home, &["vps", "stop", name, "-y"]).output().succeeds();
    }
}

#[test]
fn a_name_that_fits_no_vps_or_several_is_explained() {
    let home = Home::new();
    let host = LifeHost::with(vps("running", "docker", 22022));
    host.change(|state| {
        let mut tester = state.vpses[0].clone();
        (tester["task_id"], tester["name"]) = ("5".into(), "tester".into());
        state.vpses.push(tester);
    });
    let status = |name| host.run(&home, &["vps", "status", name]).output();
    let candidates = format!("they are: trainer ({ID}, running), tester (5, running)");
    status("t").exits(1).says(&["more than one VPS's name begins with `t`", &candidates, "use the task id"]);
    status("root@trainer").exits(1).fails_with(
        "kohakuriver",
        "there is no VPS root@trainer",
        "name the VPS without a login: `trainer`; `vps connect` takes the login as `--user root`",
    );
}

#[test]
fn an_older_host_does_what_it_can() {
    let home = Home::new();
    let id = |n: usize| format!("74270000000000000{n:02}");
    let host = OlderHost::start(&[
        task(&id(0), "running", Some(NODE), Some(1)),
        task(&id(1), "paused", Some(NODE), Some(1)),
        task(&id(2), "killed", Some(NODE), Some(1)),
    ]);
    let run = |args: &[&str]| Run::new(CLI, &home).on_host(host.api.port()).args(args).output();
    run(&["vps", "stop", &id(0), "--yes"]).succeeds().prints_nothing().says(&["marked as killed"]);
    let status = run(&["vps", "status", &id(0), "--json"]);
    let status: Value = serde_json::from_slice(&status.succeeds().stdout).unwrap();
    assert_eq!(status["status"], "killed");
    let outcome = run(&["vps", "stop", &id(1), "--yes"]);
    outcome.exits(1).fails_with("kohakuriver", &format!("cannot stop VPS {}", id(1)), "kohakuriver vps resume");
    let outcome = run(&["vps", "pause", &id(2)]);
    outcome.exits(1).fails_with("kohakuriver", &format!("cannot pause VPS {}", id(2)), "it has ended");
    // Its Runner isn't there.
    let outcome = run(&["vps", "resume", &id(1)]);
    outcome.exits(1).fails_with("kohakuriver", &format!("cannot resume VPS {}", id(1)), "kohakuriver node list");
    let outcome = run(&["vps", "restart", &id(1)]);
    outcome.exits(1).fails_with(
        "kohakuriver",
        &format!("cannot restart VPS {}", id(1)),
        "kohakuriver vps create --gen-ssh-key",
    );
    outcome.says(&["is too old for restarting a VPS\n"]);
    for (args, what, hint) in [
        (&["vps", "create"][..], "a VPS without a key", "--gen-ssh-key"),
        (&["vps", "create", "--gen-ssh-key", "--name", "n"], "--name", "leave it out"),
        (&["vps", "create", "--gen-ssh-key", "--backend", "qemu"], "--backend qemu", "leave it out"),
    ] {
        let outcome = run(args);
        outcome.exits(1).fails_with("kohakuriver", "cannot create the VPS", hint);
        outcome.says(&[&format!("is too old for {what}\n")]);
    }
    assert!(fs::read_dir(home.join(".ssh")).unwrap().next().is_none());
    let (_runner, asked) = host.runner();
    let outcome =
        run(&["vps", "create", "--gen-ssh-key", "--privileged", "--mount", "/data:/data:ro", "-t", NODE, "--json"]);
    let made: Value = serde_json::from_slice(&outcome.succeeds().stdout).unwrap();
    let made_id = made["task_id"].as_str().unwrap();
    assert_eq!(made["key_file"], json!(home.join(&format!(".ssh/id-kohakuriver-{made_id}"))));
    let listed = run(&["vps", "list"]);
    listed.succeeds().check(listed.text().contains(made_id), "the new VPS");
    let key = fs::read_to_string(home.join(&format!(".ssh/id-kohakuriver-{made_id}.pub"))).unwrap();
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked["command"].as_str(), Some(key.trim()), "{asked}");
    assert_eq!(asked["docker_additional_mounts"], json!(["/data:/data:ro"]));
    assert_eq!((&asked["docker_privileged"], &asked["task_type"]), (&json!(true), &json!("vps")));
    for (args, code) in [(&["auth", "status"][..], 0), (&["auth", "login"], 0), (&["node", "list"], 0)] {
        run(args).exits(code);
    }
}

/// A VPS that moves to another port, as one does that is restarted, with the host key that it had.
#[test]
fn a_new_port_gives_no_prompt_when_the_host_key_is_the_same() {
    let home = Home::new();
    let sshd = Sshd::start();
    let host = LifeHost::with(vps("running", "docker", sshd.port));
    home.write(".ssh/config", format!("Host *\n  IdentityFile {}\n  LogLevel ERROR\n", sshd.key.display()));
    let ssh = || {
        // Without BatchMode, ssh would ask on a terminal, and there is no terminal.
        let run = Run::new(tool("ssh"), &home).arg("-F").arg(home.join(".ssh/config"));
        run.args(["trainer.kohakuriver", "-l", user(), "echo in"]).output()
    };
    let written = |gateway: &Gateway| {
        let proxy = gateway.address.to_string();
        host.run(&home, &["--proxy", &proxy, "ssh", "config", "--write"]).output().succeeds();
        let ours = fs::read_to_string(home.join(".ssh/kohakuriver.conf")).unwrap();
        home.write(".ssh/kohakuriver.conf", ours.replace("User root", &format!("User {}", user())));
    };
    let gateway = Gateway::with_host_api(&host.base());
    written(&gateway);
    ssh().succeeds().prints("in\n").says_nothing();
    let known = fs::read_to_string(home.join(".ssh/.kohakuriver_known_hosts")).unwrap();

    // Another port of the VPS, another port of the gateway, another start.
    let moved = sshd.moved();
    assert_ne!(moved.port, sshd.port);
    host.change(|state| {
        state.vpses[0]["ssh_port"] = moved.port.into();
        state.vpses[0]["started_at"] = "2026-11-23T12:08:50".into();
    });
    drop(gateway);
    let gateway = Gateway::with_host_api(&host.base());
    written(&gateway);
    ssh().succeeds().prints("in\n").says_nothing();
    // The VPS at its new port answered.
    moved.was_connected_to();
    assert_eq!(fs::read_to_string(home.join(".ssh/.kohakuriver_known_hosts")).unwrap(), known);
}

/// The VPS `id` of `owner`.
fn another(id: &str, name: &str, status: &str, owner: &str) -> Value {
    let mut vps = vps(status, "docker", 22023);
    vps["task_id"] = id.into();
    vps["name"] = name.into();
    vps["owner_username"] = owner.into();
    vps
}

#[test]
fn one_command_changes_several_vpses() {
    let (home, host) = (Home::new(), LifeHost::with(vps("running", "docker", 22022)));
    host.change(|state| {
        state.vpses.extend([another("43", "notebook", "running", "user1"), another("44", "over", "stopped", "user1")]);
    });
    // All are looked up before the first is changed.
    let outcome = host.run(&home, &["vps", "pause", "trainer", "nosuch", "notebook"]).output();
    outcome.exits(1).fails_with("kohakuriver", "there is no VPS nosuch", "kohakuriver vps list");
    assert!(changes(&host).is_empty());
    // One that is named twice is changed once.
    host.run(&home, &["vps", "pause", "trainer", "notebook", ID]).output().succeeds();
    assert_eq!(changes(&host), [ID, "43"].map(|id| format!("POST /api/command/{id}/pause")));
    host.run(&home, &["vps", "resume", "43", ID]).output().succeeds();
    assert_eq!(changes(&host)[2..], ["43", ID].map(|id| format!("POST /api/command/{id}/resume")));
    // A failure stops none of the others, and is not forgotten.
    let question =
        format!("Stop VPSes {ID} (trainer), 44 (over), 43 (notebook)? A stopped VPS can't be started again.");
    let outcome = on_a_terminal(&host, &home, "vps stop trainer over notebook", "y\n");
    outcome.exits(1).check(outcome.text().contains(&question), &question);
    for text in ["kohakuriver: cannot stop VPS 44", "kohakuriver: 1 of 3 VPSes failed"] {
        outcome.check(outcome.text().contains(text), text);
    }
    assert_eq!(changes(&host)[4..], [ID, "44", "43"].map(|id| format!("POST /api/vps/stop/{id}")));
}

#[test]
fn a_list_of_some_vpses() {
    let (home, host) = (Home::new(), LifeHost::with(vps("running", "docker", 22022)));
    host.change(|state| {
        state.auth = true;
        state.vpses.extend([
            another("43", "notebook", "paused", "user1"),
            another("44", "over", "stopped", "user1"),
            another("45", "broken", "failed", "operator1"),
        ]);
    });
    let list = |args: &[&str], token: &str| {
        let outcome = host.run(&home, &["vps", "list", "-q"]).args(args).env("KOHAKURIVER_TOKEN", token).output();
        outcome.succeeds();
        outcome.text()
    };
    for (args, token, ids) in [
        (&[][..], OPERATOR, format!("{ID}\n43\n45\n")),
        (&["--all"], OPERATOR, format!("{ID}\n43\n44\n45\n")),
        (&["--status", "paused"], OPERATOR, "43\n".to_owned()),
        // A status that ends a VPS asks for those that have ended.
        (&["-s", "stopped,running"], OPERATOR, format!("{ID}\n44\n")),
        (&["--mine"], USER, "43\n".to_owned()),
        (&["--mine", "--all"], USER, "43\n44\n".to_owned()),
        (&["--mine", "-s", "failed"], USER, String::new()),
    ] {
        assert_eq!(list(args, token), ids, "{args:?}");
    }
    let outcome = host.run(&home, &["vps", "list", "--mine"]).env("KOHAKURIVER_TOKEN", USER).output();
    outcome.succeeds().check(outcome.text().contains("notebook") && !outcome.text().contains("trainer"), "one's own");
    let outcome = host.run(&home, &["vps", "list", "--status", "asleep"]).output();
    outcome.exits(2).says(&["invalid value 'asleep'", "possible values: pending_approval, "]);
    host.run(&home, &["vps", "list", "-q", "--json"]).output().exits(2);
}
