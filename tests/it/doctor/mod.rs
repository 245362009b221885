//! `kohakuriver doctor`: each test breaks one thing in a set-up of real programs, and the first problem must name it.
//!
//! | problem in KohakuRiver's guide | tests |
//! |---|---|
//! | connection refused | the VPS not running: `vps`, `tunnel`; a wrong task id: `vps`; a firewall: `network` |
//! | authentication failed | a wrong key, its permissions, root logins disabled: `keys` |
//! | timeout | the Host unreachable: `network`; its Runner offline, its container crashed: `vps` |
//!
//! Besides: who the user is to the Host (`token`), the user's own machine (`machine`) and ssh_config (`own_ssh`), an sshd
//! that hangs or has another host key (`tunnel`). What a problem means for later checks: `skips`.

mod diagnose;
mod healthy;
mod keys;
mod machine;
mod network;
mod own_ssh;
mod private;
mod readme;
mod skips;
mod token;
mod tunnel;
mod vps;

pub(crate) use machine::with_config;

use serde_json::Value;

use crate::support::cluster::Cluster;
use crate::support::run::{Outcome, Run};
use crate::support::scene::ID;
use crate::support::tools::{CLI, sh_quote, user};

/// `kohakuriver doctor` for the VPS, as JSON.
fn doctor(cluster: &Cluster) -> Run {
    cluster.run(CLI).args(["doctor", ID, "--json", "--user", user()]).deadline(120)
}

/// The report on stdout.
#[track_caller]
fn report(outcome: &Outcome) -> Value {
    outcome.says_nothing();
    serde_json::from_slice(&outcome.stdout).unwrap_or_else(|error| panic!("no JSON: {error}\n{outcome}"))
}

/// The finding of `check`.
#[track_caller]
fn finding(outcome: &Outcome, check: &str) -> Value {
    of_check(&report(outcome), check).clone()
}

#[track_caller]
pub(crate) fn findings(report: &Value) -> &[Value] {
    report["findings"].as_array().unwrap()
}

/// The finding of `check` in a report.
#[track_caller]
pub(crate) fn of_check<'r>(report: &'r Value, check: &str) -> &'r Value {
    let found = findings(report).iter().find(|finding| finding["check"] == check);
    found.unwrap_or_else(|| panic!("no {check}: {report:#}"))
}

/// The findings with this verdict.
#[track_caller]
pub(crate) fn with_verdict<'r>(report: &'r Value, verdict: &str) -> Vec<&'r Value> {
    findings(report).iter().filter(|finding| finding["verdict"] == verdict).collect()
}

/// There must be one problem, found by `check`, and no check after it. Its text must contain each of `texts`, and its
/// command `command`.
#[track_caller]
fn finds(outcome: &Outcome, check: &str, texts: &[&str], command: &str) {
    outcome.exits(1);
    let report = report(outcome);
    assert_eq!(report["healthy"], false, "{outcome}");
    let wrong = with_verdict(&report, "wrong");
    assert_eq!(wrong.len(), 1, "{outcome}");
    assert_eq!(wrong[0], findings(&report).last().unwrap(), "checks after the problem\n{outcome}");
    names(wrong[0], check, texts, command);
}

#[track_caller]
fn names(finding: &Value, check: &str, texts: &[&str], command: &str) {
    assert_eq!(finding["check"], check, "{finding:#}");
    for part in ["tried", "found", "fix", "command"] {
        assert!(finding[part].as_str().is_some_and(|text| !text.is_empty()), "no {part}: {finding:#}");
    }
    let causes: Vec<&str> = finding["causes"].as_array().unwrap().iter().map(|cause| cause.as_str().unwrap()).collect();
    assert!(!causes.is_empty(), "no cause: {finding:#}");
    let said = format!("{} {}", finding["found"].as_str().unwrap(), causes.join(" "));
    for text in texts {
        assert!(said.contains(text), "no {text:?}: {finding:#}");
    }
    assert!(finding["command"].as_str().unwrap().contains(command), "no {command:?}: {finding:#}");
}

/// Runs the command of the first problem, as a user who pastes it. Then no problem may be left.
#[track_caller]
fn is_solved_by_its_command(cluster: &Cluster, outcome: &Outcome) {
    let report = report(outcome);
    let command = with_verdict(&report, "wrong")[0]["command"]
        .as_str()
        .unwrap()
        .replace("kohakuriver ssh", &format!("{} ssh", sh_quote(CLI)));
    cluster.run("/bin/sh").args(["-c", &command]).output().succeeds();
    doctor(cluster).output().succeeds();
}
