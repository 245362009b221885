//! Tables on terminals, `--watch`, and what is left when stdout, stderr or the terminal is not what it could be.

use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::home::Home;
use crate::support::life_host::{LifeHost, vps};
use crate::support::run::{DEADLINE, Outcome, Run};
use crate::support::scene::ID;
use crate::support::tools::{CLI, sh_quote, tool};

/// A Host with a VPS of each kind of state, one of them with a long name.
fn host() -> LifeHost {
    let host = LifeHost::with(vps("running", "docker", 22022));
    for (id, name, status) in [
        ("7323718749301768193", "a-name-that-goes-on-and-on-and-on-and-on", "assigning"),
        ("7323718749301768194", "", "failed"),
    ] {
        let mut vps = vps(status, "qemu", 0);
        vps["task_id"] = id.into();
        vps["name"] = json!(name);
        host.change(|state| state.vpses.push(vps));
    }
    host
}

/// Runs `kohakuriver` on a terminal of this size.
fn on_a_terminal(host: &LifeHost, home: &Home, size: (u16, u16), terminal: &str, args: &str) -> Run {
    let command = format!("stty cols {} rows {}; exec {} {args}", size.0, size.1, sh_quote(CLI));
    Run::new(tool("script"), home)
        .env("KOHAKURIVER_HOST", "127.0.0.1")
        .env("KOHAKURIVER_PORT", host.peer.address.port().to_string())
        .env("TERM", terminal)
        .env("LC_ALL", "C.UTF-8")
        .args(["-q", "-e", "-c", &command, "/dev/null"])
}

fn lines(outcome: &Outcome) -> Vec<String> {
    outcome.succeeds().text().lines().map(|line| line.trim_end_matches('\r').to_owned()).collect()
}

#[test]
fn a_table_fits_the_terminal() {
    let (home, host) = (Home::new(), host());
    let list = |width| lines(&on_a_terminal(&host, &home, (width, 24), "dumb", "vps list --all").output());
    assert_eq!(
        list(120),
        [
            "TASK ID              NAME                      STATUS     NODE     SSH PORT  SUBMITTED      BACKEND  OWNER",
            "7323718749301768192  trainer                   running    node-up  22022     3 minutes ago  docker   operator1",
            "7323718749301768193  a-name-that-goes-on-and…  assigning  node-up  -         3 minutes ago  qemu     operator1",
            "7323718749301768194  -                         failed     node-up  -         3 minutes ago  qemu     operator1",
        ]
    );
    assert_eq!(
        list(40),
        [
            "TASK ID              NAME    STATUS …",
            "7323718749301768192  train…  running",
            "7323718749301768193  a-nam…  assigning",
            "7323718749301768194  -       failed",
        ]
    );
    for width in [1, 10, 20, 39, 60, 80, 100] {
        for line in
            list(width).iter().chain(&lines(&on_a_terminal(&host, &home, (width, 24), "dumb", "node list").output()))
        {
            assert!(line.chars().count() <= usize::from(width), "{width}: {line}");
        }
    }
    // Whole where there is no terminal.
    let outcome = host.run(&home, &["vps", "list", "--all"]).output();
    outcome
        .succeeds()
        .check(outcome.text().contains("a-name-that-goes-on-and-on-and-on-and-on  assigning"), "all of it");
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let (home, host) = (Home::new(), host());
    let shown = |terminal: &str| on_a_terminal(&host, &home, (120, 24), terminal, "vps list --all");
    let text = shown("xterm").output().succeeds().text();
    for (colour, state) in [(32, "running"), (33, "assigning"), (31, "failed")] {
        assert!(text.contains(&format!("\x1b[{colour}m{state}\x1b[0m")), "{text:?}");
    }
    for run in
        [shown("xterm").env("NO_COLOR", "1"), shown("dumb"), host.run(&home, &["vps", "list"]).env("TERM", "xterm")]
    {
        let text = run.output().succeeds().text();
        assert!(text.contains("running") && !text.contains('\x1b'), "{text:?}");
    }
    // Set to nothing it counts as not set.
    assert!(shown("xterm").env("NO_COLOR", "").output().text().contains("\x1b[32m"));
}

#[test]
fn status_says_times_as_people_do_and_json_as_the_host_does() {
    let (home, host) = (Home::new(), host());
    let outcome = host.run(&home, &["vps", "status", "trainer"]).output();
    outcome.succeeds().prints(&format!(
        "Task ID    {ID}\n\
         Name       trainer\n\
         Status     running\n\
         Node       node-up\n\
         SSH Port   22022\n\
         Backend    docker\n\
         Owner      operator1\n\
         Submitted  3 minutes ago (2026-11-23 12:05:53)\n\
         Started    2 minutes ago (2026-11-23 12:06:53)\n\
         Connect    kohakuriver vps connect {ID}\n\
         Manual     ssh -p 22022 root@node-up\n"
    ));
    let json: Value =
        serde_json::from_slice(&host.run(&home, &["vps", "status", ID, "--json"]).output().stdout).unwrap();
    assert_eq!(
        json,
        json!({
            "task_id": ID, "name": "trainer", "status": "running", "assigned_node": "node-up", "ssh_port": 22022,
            "vps_backend": "docker", "owner_username": "operator1", "submitted_at": "2026-11-23T12:05:53.532229",
            "started_at": "2026-11-23T12:06:53.532229", "error_message": null,
        })
    );
}

#[test]
fn watching_into_a_pipe_repeats_and_ends_with_ctrl_c() {
    let (home, host) = (Home::new(), host());
    let process = host.run(&home, &["vps", "list", "--watch", "0.2"]).start();
    process.wait_for("a table", DEADLINE, |seen| seen.stdout.ends_with(b"operator1\n").then_some(()));
    host.change(|state| state.vpses[0]["status"] = "paused".into());
    process.wait_for("the change", DEADLINE, |seen| {
        String::from_utf8_lossy(&seen.stdout).contains("paused").then_some(())
    });
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
    let process = on_a_terminal(&host, &home, (80, 24), "xterm", "vps list --watch 0.2").stdin_open().start();
    process.wait_for("a second time", DEADLINE, |seen| {
        String::from_utf8_lossy(&seen.stdout).contains("\x1b[4A\r\x1b[JTASK ID").then_some(())
    });
    // Ctrl-C, as the terminal gets it from a keyboard.
    let mut process = process;
    std::io::Write::write_all(process.stdin.as_mut().unwrap(), b"\x03").unwrap();
    let outcome = process.finish();
    outcome.succeeds().check(!outcome.text().contains("\n\r\n"), "no empty line");
    // No more lines than there are.
    host.change(|state| {
        let more: Vec<Value> = (0..30).map(|_| state.vpses[0].clone()).collect();
        state.vpses.extend(more);
    });
    let mut process = on_a_terminal(&host, &home, (80, 10), "xterm", "vps list --watch 0.2").stdin_open().start();
    process.wait_for("a second time", DEADLINE, |seen| {
        String::from_utf8_lossy(&seen.stdout).contains("more\r\n\x1b[9A\r\x1b[JTASK ID").then_some(())
    });
    std::io::Write::write_all(process.stdin.as_mut().unwrap(), b"\x03").unwrap();
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
    process.wait_for("a table again", DEADLINE, |seen| {
        String::from_utf8_lossy(&seen.stdout).contains("paused").then_some(())
    });
    process.signal(Signal::INT);
    process.finish().succeeds();
    // At first it is a failure.
    host.change(|state| state.instead = Some(("/api/vps/status", 500, json!({ "detail": "boom" }))));
    host.run(&home, &["vps", "list", "--watch"]).output().exits(1).prints_nothing();
}

/// Closed descriptors, a reader that has gone, and a terminal of 40 columns change nothing about what is done.
#[test]
fn every_command_stands_what_it_is_started_with() {
    let home = Home::new();
    let host = host();
    let cases = [
        ("vps list", 0),
        ("vps list --json", 0),
        ("vps status trainer", 0),
        ("node list", 0),
        ("vps pause trainer", 0),
        ("vps resume trainer", 0),
        ("vps restart trainer", 2),
        ("vps stop trainer", 2),
        ("vps stop nothing", 1),
        ("vps create", 0),
        ("auth status", 0),
        ("auth logout", 0),
        ("auth login", 0),
        ("config path", 0),
        ("completions bash", 0),
        ("man", 0),
        ("--help", 0),
        ("vps create --help", 0),
    ];
    for (args, code) in cases {
        let again = || {
            let state = if args == "vps resume trainer" { "paused" } else { "running" };
            host.change(|host| host.vpses[0]["status"] = state.into());
        };
        for ends in ["", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"] {
            again();
            let run = Run::new("/bin/sh", &home).env("KOHAKURIVER_PORT", host.peer.address.port().to_string());
            let command = format!("exec {} -H 127.0.0.1 {args} {ends}", sh_quote(CLI));
            run.env("KOHAKURIVER_SSH_PROXY_PORT", "1").args(["-c", &command]).output().exits(code);
        }
        again();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = Command::new(CLI)
            .env_clear()
            .env("HOME", home.path())
            .env("KOHAKURIVER_PORT", host.peer.address.port().to_string())
            .args(["-H", "127.0.0.1"])
            .args(args.split(' '))
            .stdin(Stdio::null())
            .stdout(OwnedFd::from(writer.try_clone().unwrap()))
            .stderr(OwnedFd::from(writer))
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(code), "{args}");
        again();
        let outcome = on_a_terminal(&host, &home, (40, 10), "xterm", args).output();
        // There it asks, and gets no answer.
        let asked = matches!(args, "vps stop trainer" | "vps restart trainer");
        outcome.exits(if asked { 1 } else { code });
    }
}
