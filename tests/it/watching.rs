//! `--watch`.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::home::Home;
use crate::support::life_host::{LifeHost, vps};
use crate::support::run::{DEADLINE, Run};
use crate::support::scene::ID;
use crate::support::terminal::on_a_terminal;
use crate::support::tools::{CLI, sh_quote};

fn host() -> LifeHost {
    let host = LifeHost::with(vps("running", "docker", 22022));
    for (id, status) in [("7323718749301768193", "assigning"), ("7323718749301768194", "failed")] {
        let mut vps = vps(status, "qemu", 0);
        vps["task_id"] = id.into();
        vps["name"] = json!(null);
        host.change(|state| state.vpses.push(vps));
    }
    host
}

#[test]
fn watching_into_a_pipe_repeats_and_ends_with_ctrl_c() {
    let (home, host) = (Home::new(), host());
    let process = host.run(&home, &["vps", "list", "--watch", "0.2"]).start();
    process.wait_for("a table", DEADLINE, |seen| seen.stdout.ends_with(b"operator1\n").then_some(()));
    host.change(|state| state.vpses[0]["status"] = "paused".into());
    process.wait_for_stdout("paused");
    process.signal(Signal::INT);
    let outcome = process.finish();
    outcome.succeeds().says_nothing();
    let text = outcome.text();
    let tables: Vec<&str> = text.split("\n\n").collect();
    assert!(tables.len() >= 2 && tables.iter().all(|table| table.starts_with("TASK ID ")), "{text}");

    let process = host.run(&home, &["vps", "status", "--watch=0.2", "--json", "trainer"]).start();
    process.wait_for("three lines", DEADLINE, |seen| {
        (seen.stdout.iter().filter(|&&b| b == b'\n').count() >= 3).then_some(())
    });
    process.signal(Signal::TERM);
    let outcome = process.finish();
    for line in outcome.succeeds().says_nothing().text().lines() {
        assert_eq!(serde_json::from_str::<Value>(line).unwrap()["task_id"], ID);
    }
}

#[test]
fn watching_ends_when_nobody_reads() {
    let (home, host) = (Home::new(), host());
    for args in ["vps list --watch 0.1", "vps status trainer --watch 0.1 --json"] {
        let run = Run::new("/bin/sh", &home).env("KOHAKURIVER_PORT", host.peer.address.port().to_string());
        let pipe = format!("{{ {} -H 127.0.0.1 {args}; echo status=$? >&2; }} | head -n 1", sh_quote(CLI));
        run.args(["-c", &pipe]).output().succeeds().check_stderr("status=0\n");
    }
}

#[test]
fn watching_on_a_terminal_redraws_in_place() {
    let (home, host) = (Home::new(), host());
    let mut process =
        on_a_terminal(&home, host.peer.address.port(), (80, 24), "xterm", "vps list --watch 0.2").stdin_open().start();
    process.wait_for_stdout("\x1b[4A\r\x1b[JTASK ID");
    // Ctrl-C, as the terminal gets it from a keyboard.
    process.types("\x03");
    let outcome = process.finish();
    outcome.succeeds().check(!outcome.text().contains("\n\r\n"), "no empty line");
    // No more lines than there are.
    host.change(|state| {
        let more: Vec<Value> = (0..30).map(|_| state.vpses[0].clone()).collect();
        state.vpses.extend(more);
    });
    let mut process =
        on_a_terminal(&home, host.peer.address.port(), (80, 10), "xterm", "vps list --watch 0.2").stdin_open().start();
    process.wait_for_stdout("more\r\n\x1b[9A\r\x1b[JTASK ID");
    process.types("\x03");
    process.finish().succeeds();
}

#[test]
fn a_host_that_fails_once_is_said_and_asked_again() {
    let (home, host) = (Home::new(), host());
    let process = host.run(&home, &["vps", "list", "--watch", "0.2"]).start();
    process.wait_for("a table", DEADLINE, |seen| (!seen.stdout.is_empty()).then_some(()));
    host.change(|state| state.instead = Some(("/api/vps/status", 500, json!({ "detail": "boom" }))));
    process.stderr_line("kohakuriver: cannot list the VPSes");
    host.change(|state| {
        state.instead = None;
        state.vpses[0]["status"] = "paused".into();
    });
    process.wait_for_stdout("paused");
    process.signal(Signal::INT);
    process.finish().succeeds();
    // At first it is a failure.
    host.change(|state| state.instead = Some(("/api/vps/status", 500, json!({ "detail": "boom" }))));
    host.run(&home, &["vps", "list", "--watch"]).output().exits(1).prints_nothing();
}
