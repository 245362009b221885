//! A slow Host: progress on terminals and in scripts, and what an interrupted command reports.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::life_host::{LifeHost, MADE, PASSWORD, vps};
use crate::support::peers::{MutePort, Peer, read_head};
use crate::support::run::{DEADLINE, Process, Run};
use crate::support::scene::ID;
use crate::support::sshd::Sshd;
use crate::support::terminal;
use crate::support::tools::{CLI, sh_quote, tool};

/// Takes the line back that moves.
const CLEAR: &str = "\r\x1b[K";

/// A machine that runs. After a restart of a machine, no login is tried.
fn host(status: &str) -> LifeHost {
    LifeHost::with(vps(status, "qemu", 22022))
}

/// Runs `kohakuriver` on a terminal, but for its stdout, which goes to the file `out`.
fn on_a_terminal(host: &LifeHost, home: &Home, terminal: &str, args: &str) -> Process {
    let command = format!("exec {} {args} </dev/null >{}", sh_quote(CLI), sh_quote(home.join("out").to_str().unwrap()));
    Run::new(tool("script"), home)
        .on_host(host.peer.address.port())
        .env("KOHAKURIVER_GATEWAY_ADMIN", host.peer.address.to_string())
        .env("TERM", terminal)
        .args(["-q", "-e", "-c", &command, "/dev/null"])
        .start()
}

#[test]
fn every_command_names_on_a_terminal_what_it_waits_for() {
    let commands = [
        ("running", "vps connect trainer --dry-run"),
        ("running", "vps list"),
        ("running", "vps list --json"),
        ("running", "vps status trainer"),
        ("running", "vps create"),
        ("running", "vps stop trainer --yes"),
        ("running", "vps restart trainer --yes"),
        ("running", "vps pause trainer"),
        ("paused", "vps resume trainer"),
        ("running", "node list --json"),
        ("running", "ssh config"),
        ("running", "ssh config --diff"),
        ("running", "ssh config --write"),
        ("running", "ssh forget trainer"),
        ("running", "ssh host-key --file known trainer.kohakuriver NONE NONE"),
        ("running", "auth login --token-stdin"),
        ("running", "auth status"),
        ("running", "auth logout"),
    ];
    let set: Vec<_> = commands.map(|(status, args)| (host(status), Home::new(), args)).into();
    let run: Vec<_> = set
        .iter()
        .map(|(host, home, args)| {
            home.write(".kohakuriver/auth.json", json!({ "token": MADE, "token_id": 7 }).to_string());
            let held = host.hold("/");
            (held, on_a_terminal(host, home, "xterm", args))
        })
        .collect();
    for ((host, home, args), (held, process)) in set.iter().zip(run) {
        process.wait_for_stdout(&format!(" the Host at {} has not answered yet; 1 s\x1b[K", host.base()));
        drop(held);
        let outcome = process.finish();
        let text = outcome.succeeds().text();
        let after = text.rsplit_once("has not answered yet; ").unwrap().1;
        outcome.check(after.contains(CLEAR), &format!("no line left behind by {args}"));
        let out = fs::read_to_string(home.join("out")).unwrap();
        assert!(!out.contains("has not answered yet") && !out.contains('\x1b'), "{args}: {out}");
    }
}

#[test]
fn the_gateways_admin_is_waited_for_too() {
    let (host, home) = (host("running"), Home::new());
    for args in ["vps sessions", "vps sessions --end 7"] {
        let held = host.hold("/sessions");
        let process = on_a_terminal(&host, &home, "xterm", args);
        process.wait_for_stdout(&format!(" the gateway at {} has not answered yet; 1 s", host.base()));
        drop(held);
        process.finish().exits(1);
    }
}

#[test]
fn a_watch_waits_in_sight_too() {
    let (host, home) = (host("running"), Home::new());
    let api = host.peer.address.port();
    let process = terminal::on_a_terminal(&home, api, (100, 24), "xterm", "vps list --watch 0.2").start();
    process.wait_for_stdout("trainer");
    let held = host.hold("/");
    process.wait_for_stdout(&format!(" the Host at {} has not answered yet; 1 s\x1b[K", host.base()));
    drop(held);
    // The line goes, and the next answer stands where the one before stood.
    process.wait_for("an answer", DEADLINE, |seen| {
        let text = String::from_utf8_lossy(&seen.stdout).into_owned();
        text.rsplit_once("has not answered yet; ")?.1.contains(&format!("{CLEAR}\x1b[")).then_some(())
    });
}

/// ssh has the helper's stderr be its own.
#[test]
fn a_proxy_that_drops_packets_is_waited_for_in_sight() {
    let (host, home, drops) = (host("running"), Home::new(), MutePort::new());
    let args = format!("--proxy 127.0.0.1:{} vps connect trainer", drops.port);
    let process = on_a_terminal(&host, &home, "xterm", &args);
    process.wait_for_stdout(&format!(" connecting to the SSH proxy at 127.0.0.1:{}; 2 s\x1b[K", drops.port));
}

#[test]
fn ssh_prints_its_message_where_the_line_was() {
    let (host, home) = (host("running"), Home::new());
    let (asked, answer) = (Mutex::new(()), "HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n");
    let asked = Arc::new(asked);
    let gate = Arc::clone(&asked);
    let held = asked.lock().unwrap();
    let proxy = Peer::serve(move |mut stream| {
        read_head(&mut stream)?;
        drop(gate.lock());
        Ok(stream.write_all(answer.as_bytes())?)
    });
    let process = on_a_terminal(&host, &home, "xterm", &format!("--proxy {} vps connect trainer", proxy.address));
    process.wait_for_stdout(&format!(" the SSH proxy at {} has not answered yet; 1 s\x1b[K", proxy.address));
    drop(held);
    let outcome = process.finish();
    let text = outcome.exits(255).text();
    let (_, last) = text.rsplit_once("has not answered yet; ").unwrap();
    let (seconds, message) = last.split_once("\x1b[K").unwrap();
    outcome.check(seconds.ends_with(" s") && message.starts_with(&format!("{CLEAR}Received disconnect ")), "it goes");
}

/// Its JSON comes when all is done; as text, each check has a line of its own.
#[test]
fn doctor_says_at_which_check_it_is() {
    let (host, home) = (host("running"), Home::new());
    let held = host.hold("/api");
    let process = on_a_terminal(&host, &home, "xterm", "doctor --json");
    process.wait_for_stdout("\r...   host-api\x1b[K");
    drop(held);
    let outcome = process.finish();
    outcome.exits(1).check(outcome.text().ends_with(CLEAR), "no line left behind");
    let report = home.json("out");
    assert_eq!(report["healthy"], false);
}

#[test]
fn a_terminal_that_can_not_move_gets_one_line_and_a_script_none() {
    let (host, home) = (host("running"), Home::new());
    for args in ["vps list --json", "vps connect trainer --dry-run", "ssh config", "vps stop trainer --yes"] {
        let words: Vec<&str> = args.split(' ').collect();
        host.change(|state| {
            state.vpses[0]["status"] = "running".into();
            state.requests.clear();
        });
        let held = host.hold("/api");
        let script = host.run(&home, &words).env("TERM", "xterm").start();
        // It has waited for longer than the other when that says so.
        host.was_asked_for("/api");
        let dumb = on_a_terminal(&host, &home, "dumb", "node list");
        let line = format!("kohakuriver: the Host at {} has not answered yet; waiting\r\n", host.base());
        dumb.wait_for_stdout(&line);
        drop(held);
        let outcome = script.finish();
        outcome.succeeds().check(!outcome.stderr.contains("has not answered yet"), "nothing of it");
        let outcome = dumb.finish();
        outcome.succeeds().prints(&line);
    }
}

/// The message about a request that the Host has not answered.
fn abandoned(verb: &str) -> String {
    format!(
        "kohakuriver: asked the Host to {verb} VPS {ID}; waiting\n\
         kohakuriver: interrupted before the Host answered\n  \
         caused by: the request to {verb} VPS {ID} was sent, so the Host may still do it\n  \
         hint: see its state with `kohakuriver vps status {ID}`\n"
    )
}

#[test]
fn ctrl_c_before_the_hosts_answer_says_what_is_known() {
    let (host, home) = (host("running"), Home::new());
    host.change(|state| state.hangs = true);
    for (verb, signal) in
        [("stop", Signal::INT), ("restart", Signal::INT), ("pause", Signal::TERM), ("resume", Signal::HUP)]
    {
        let yes = ["--yes"].into_iter().filter(|_| matches!(verb, "stop" | "restart"));
        let process = host.run(&home, &["vps", verb, "trainer"]).args(yes).start();
        process.stderr_line(&format!("kohakuriver: asked the Host to {verb} VPS {ID}; waiting"));
        process.signal(signal);
        process.finish().exits(130).prints_nothing().check_stderr(&abandoned(verb));
    }
    assert_eq!(host.changes().len(), 4);
}

#[test]
fn an_answer_that_never_comes_leaves_the_outcome_open() {
    let home = Home::new();
    for (verb, path) in [("stop", "vps/stop/ID"), ("restart", "vps/restart/ID"), ("pause", "command/ID/pause")] {
        for (status, body) in [(0, Value::Null), (504, json!("gateway time-out"))] {
            let host = host("running");
            let path: &'static str = format!("/api/{}", path.replace("ID", ID)).leak();
            host.change(|state| state.instead = Some((path, status, body)));
            let yes = ["--yes"].into_iter().filter(|_| verb != "pause");
            let outcome = host.run(&home, &["vps", verb, ID]).args(yes).output();
            let what = format!("cannot {verb} VPS {ID}");
            outcome.exits(1).prints_nothing().fails_with("kohakuriver", &what, &format!("kohakuriver vps status {ID}"));
            outcome.says(&["  caused by: it is unknown whether the Host still does it\n"]);
        }
    }
}

#[test]
fn ctrl_c_behind_the_hosts_answer_tells_what_it_has_made() {
    let (host, home) = (host("running"), Home::new());
    host.change(|state| state.vpses.clear());
    let held = host.hold("/api/status");
    let process = host.run(&home, &["vps", "create", "--gen-ssh-key"]).start();
    host.was_asked_for("/api/status");
    process.signal(Signal::INT);
    let outcome = process.finish();
    drop(held);
    let what = format!("interrupted while VPS {ID} starts");
    outcome.exits(130).fails_with("kohakuriver", &what, &format!("kohakuriver vps status {ID}"));
    outcome.says(&["caused by: the VPS was created and continues to start\n"]);
    let key = home.join(&format!(".ssh/id-kohakuriver-{ID}"));
    outcome.check(outcome.text().starts_with(&format!("Task ID  {ID}\n")), "its id");
    outcome.check(outcome.text().contains(&format!("with the key {}\n", key.display())) && key.is_file(), "its key");
}

/// Without a request in flight a signal just ends the program.
#[test]
fn ctrl_c_without_a_request_in_flight_ends_it() {
    let (host, home) = (host("running"), Home::new());
    host.run(&home, &["ssh", "config", "--write"]).output().succeeds();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        host.change(|state| {
            state.vpses.clear();
            state.requests.clear();
        });
        let held = host.hold("/api/vps/status");
        // The configuration of ssh follows, which has the Host asked for its list.
        let process = host.run(&home, &["vps", "create"]).start();
        host.was_asked_for("/api/vps/status");
        process.signal(signal);
        let outcome = process.finish();
        drop(held);
        outcome.check(outcome.status.signal() == Some(signal.as_raw()), "an end by the signal");
        outcome.check(outcome.text().contains(ID), "what was made");
    }
}

#[test]
fn what_nohup_has_it_ignore_is_ignored() {
    let (host, home) = (host("running"), Home::new());
    let held = host.hold("/api/vps/stop");
    let command = format!("trap '' HUP; exec {} vps stop {ID} --yes", sh_quote(CLI));
    let process = Run::new("/bin/sh", &home).on_host(host.peer.address.port()).args(["-c", &command]).start();
    process.stderr_line("kohakuriver: asked the Host to stop ");
    process.signal(Signal::HUP);
    drop(held);
    process.finish().succeeds().says(&["stop requested"]);
}

#[test]
fn an_sshd_that_says_nothing_is_waited_for_in_sight() {
    let home = Home::new();
    // The kernel accepts connections, and no program answers them.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = LifeHost::with(vps("running", "qemu", mute.local_addr().unwrap().port()));
    let gateway = Gateway::with_host_api(&host.base());
    let process = host.run(&home, &["vps", "restart", ID, "--wait"]).through(gateway.address.port()).start();
    process.stderr_line(&format!("kohakuriver: VPS {ID} runs, but its sshd does not answer yet; waiting"));
    process.signal(Signal::INT);
    process
        .finish()
        .exits(130)
        .says(&[&format!("kohakuriver: interrupted while VPS {ID} starts\n"), "kohakuriver vps stop"]);
}

#[test]
fn ctrl_c_while_a_login_without_a_key_is_tried_leaves_nothing_behind() {
    let home = Home::new();
    let sshd = Sshd::start();
    let host = LifeHost::with(vps("running", "docker", sshd.port));
    let gateway = Gateway::with_host_api(&host.base());
    home.script("bin/ssh", "#!/bin/sh\nexec sleep 600\n");
    fs::create_dir(home.join("tmp")).unwrap();
    let run = host.run(&home, &["vps", "restart", ID, "--yes"]).first_on_path(&home.join("bin"));
    let process = run.env("TMPDIR", home.join("tmp")).through(gateway.address.port()).start();
    process.stderr_line(&format!("kohakuriver: testing whether VPS {ID} allows logins without a key; waiting"));
    assert_eq!(fs::read_dir(home.join("tmp")).unwrap().count(), 1);
    process.signal(Signal::INT);
    let outcome = process.finish();
    let what = format!("it is unknown whether VPS {ID} allows logins without a key");
    outcome.exits(130).fails_with("kohakuriver", &what, &format!("kohakuriver vps connect {ID} -- -o "));
    assert_eq!(fs::read_dir(home.join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_token_that_may_have_been_made_is_mentioned() {
    let (host, home) = (host("running"), Home::new());
    host.change(|state| state.auth = true);
    let held = host.hold("/api/auth/tokens");
    let run = host.run(&home, &["auth", "login", "--user", "operator1", "--password-stdin"]);
    let process = run.stdin(format!("{PASSWORD}\n")).start();
    host.was_asked_for("/api/auth/tokens");
    process.signal(Signal::INT);
    let outcome = process.finish();
    drop(held);
    outcome.exits(130).fails_with("kohakuriver", "interrupted before the Host answered", "kohakuriver auth login");
    outcome.says(&["it is unknown whether the Host made a token; its name would be `kohakuriver on "]);
    assert!(!home.join(".kohakuriver").exists());
}
