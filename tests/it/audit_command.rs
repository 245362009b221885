//! `kohakuriver-gateway audit`, on the log of a gateway that real ssh sessions have gone through.

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::gateway::{Gateway, NODE, name_of};
use crate::support::home::Home;
use crate::support::processes::falls_to;
use crate::support::run::{DEADLINE, Outcome, Run};
use crate::support::scene::{ID, Mode, destination, helper_command};
use crate::support::sshd::Sshd;
use crate::support::tools::{GATEWAY, HELPER};
use crate::support::watched::{ask, connect};

fn report(home: &Home, log: &Path, options: &[&str]) -> Outcome {
    Run::new(GATEWAY, home).arg("audit").args(options).arg(log).output()
}

fn rows(home: &Home, log: &Path, options: &[&str]) -> Vec<Value> {
    let outcome = report(home, log, &[options, &["--json"]].concat());
    outcome.succeeds().says_nothing();
    serde_json::from_str(&outcome.text()).unwrap()
}

/// Three sessions that have ended, one that hangs, and two requests that were refused.
#[test]
fn sessions_of_ssh_are_listed_and_summed() {
    let (home, sshd) = (Home::new(), Sshd::start());
    let log = home.join("audit.log");
    let gateway = Gateway::before_and(sshd.port, &["--audit-log", log.to_str().unwrap()]);
    let command = helper_command(HELPER, Mode::Stdio, gateway.address);
    let ssh = |remote: &str| sshd.ssh(&home, &command, Mode::Stdio).arg(destination()).arg(remote);
    for status in [0, 7, 0] {
        ssh(&format!("head -c 100000 /dev/zero; exit {status}")).output().exits(status);
    }
    let mut hanging = ssh("echo here; cat").stdin_open().start();
    hanging.wait_for_all_of("here\n");
    for target in ["1:22", "trainer.kohakuriver:22"] {
        ask(&gateway, connect(target));
    }
    let has = |text: &str| std::fs::read_to_string(&log).unwrap().matches(text).count();
    let missing = || 9 - has("\"opened\"").min(4) - has("\"closed\"").min(3) - has("\"refused\"").min(2);
    assert_eq!(falls_to(0, DEADLINE, missing), 0);

    let all = rows(&home, &log, &[]);
    let ended: Vec<_> = all.iter().filter(|row| row["closed"].is_string()).collect();
    assert_eq!((all.len(), ended.len(), &all[3]["event"]), (4, 3, &json!("opened")));
    for row in &ended {
        assert_eq!((&row["task_id"], &row["name"], &row["node"]), (&json!(ID), &json!(name_of(ID)), &json!(NODE)));
        assert!(row["bytes_down"].as_u64().unwrap() > 100_000 && row["bytes_up"].as_u64().unwrap() > 1000, "{row}");
        assert!(row["client"].as_str().unwrap().starts_with("127.0.0.1:") && row["reason"] == "complete", "{row}");
    }
    let sums = rows(&home, &log, &["--by", "client", "--since", "1h"]);
    assert_eq!((sums.len(), &sums[0]["client"]), (1, &json!("127.0.0.1")));
    assert_eq!((&sums[0]["sessions"], &sums[0]["open"], &sums[0]["refused"]), (&json!(4), &json!(1), &json!(2)));
    let bytes: u64 = ended.iter().map(|row| row["bytes_down"].as_u64().unwrap()).sum();
    assert_eq!(sums[0]["bytes_down"], json!(bytes));
    assert_eq!(rows(&home, &log, &["--vps", &name_of(ID)]).len(), 4);
    assert_eq!(rows(&home, &log, &["--until", "1h"]).len(), 0);
    assert_eq!(rows(&home, &log, &["--event", "refused", "--vps", "trainer"]).len(), 1);

    // As from a journal, with the lines of the log in between.
    drop(hanging.stdin.take());
    hanging.finish().succeeds();
    gateway.process.signal(Signal::TERM);
    let journal = gateway.process.finish().stderr + &std::fs::read_to_string(&log).unwrap();
    let outcome = Run::new(GATEWAY, &home).args(["audit", "--by", "vps", "--csv"]).stdin(journal).output();
    let lines = outcome.text();
    let start =
        format!("vps,name,sessions,open,refused,seconds,longest,bytes_up,bytes_down\r\n{ID},{},4,0,0,", name_of(ID));
    outcome.succeeds().check(lines.starts_with(&start), &start);
    outcome.says(&["5 lines were left out; the first one is line 1 of stdin: it is not JSON"]);
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let home = Home::new();
    let log = home.write("a day.log", "{}\n");
    let status = Command::new("gzip").arg(&log).status().unwrap();
    assert!(status.success());
    let packed = home.join("a day.log.gz");
    report(&home, &packed, &[]).exits(1).prints_nothing().fails_with(
        "kohakuriver-gateway",
        &format!("cannot read {}", packed.display()),
        &format!("`zcat '{}' | kohakuriver-gateway audit`", packed.display()),
    );
    let from_stdin = Run::new(GATEWAY, &home).arg("audit").stdin_file(&packed).output();
    let hint = "`zcat FILE | kohakuriver-gateway audit`";
    from_stdin.exits(1).prints_nothing().fails_with("kohakuriver-gateway", "cannot read stdin", hint);
    let missing = home.join("missing.log");
    let what = format!("cannot read {}", missing.display());
    report(&home, &missing, &[]).exits(1).prints_nothing().fails_with(
        "kohakuriver-gateway",
        &what,
        "name the file of the gateway's --audit-log",
    );
    report(&home, home.path(), &[]).exits(1).prints_nothing().says(&["Is a directory"]);
    for (options, why) in [
        (&["--since", "yesterday"][..], "2h"),
        (&["--client", "lab"], "`lab` is not a network"),
        (&["--by", "day"], "possible values: user, vps, client, node, reason"),
        (&["--json", "--csv"], "cannot be used with"),
    ] {
        report(&home, &missing, options).exits(2).prints_nothing().says(&[why, "kohakuriver-gateway audit --help"]);
    }
    let never = report(&home, &missing, &["--since", "2h", "--until", "3h"]);
    never.exits(2).prints_nothing().fails_with(
        "kohakuriver-gateway",
        "--since is later than --until",
        "--until a later",
    );
}

/// `| head`, with far more than a pipe holds.
#[test]
fn a_reader_that_goes_early_is_no_error() {
    let home = Home::new();
    let line = json!({
        "time": "2026-11-23T12:00:00.000Z", "event": "closed", "process": 1, "session": 1, "user": "alice",
        "client": "10.0.0.9:1", "transport": "tcp", "protocol": "connect", "task_id": "1", "name": null, "node": "n",
        "bytes_up": 1, "bytes_down": 1, "seconds": 1.0, "reason": "complete",
    });
    let log = home.write("audit.log", format!("{line}\n").repeat(20_000));
    for options in [&[][..], &["--json"], &["--csv"]] {
        let mut process = Command::new(GATEWAY)
            .arg("audit")
            .args(options)
            .arg(&log)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(process.stdout.take());
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
    // A full disk is an error.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Command::new(GATEWAY).arg("audit").arg(&log).stdout(full).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("cannot write the report\n  caused by: "), "{said}");
}
