//! The complete output of every command, for success and for failure.
//!
//! These texts are what people read: review a changed text here, don't only copy it. `--help` is in `tests/help.rs`.

mod accounts;
mod clusters;
mod connect;
mod failures;
mod look;
mod orders;
mod programs;

use serde_json::json;

use crate::support::commands::commands;
use crate::support::life_host::{LifeHost, OPERATOR, USER, vps};
use crate::support::transcript::Shell;

/// The id of a VPS of [`host`] with this last digit.
fn id(digit: u8) -> String {
    format!("732371874930176819{digit}")
}

/// A Host without users, with a VPS of each kind.
fn host() -> LifeHost {
    let host = LifeHost::start(22022);
    for (digit, name, status, backend) in [
        (2, "trainer", "running", "docker"),
        (3, "notebook", "paused", "docker"),
        (4, "machine", "running", "qemu"),
        (5, "newcomer", "assigning", "docker"),
        (6, "broken", "failed", "docker"),
        (7, "gone", "stopped", "docker"),
        (8, "console", "running", "docker"),
    ] {
        let port = if name == "console" { 0 } else { 22022 };
        let mut vps = vps(status, backend, port);
        vps["task_id"] = id(digit).into();
        vps["name"] = json!(name);
        if status == "failed" {
            vps["error_message"] = "the image \"ubuntu\" is not there".into();
        }
        host.change(|state| state.vpses.push(vps));
    }
    // A starting VPS never becomes ready.
    host.change(|state| state.course = ["assigning"].into());
    host
}

/// A shell with the settings for this Host.
fn shell(host: &LifeHost) -> Shell {
    let mut shell = Shell::new(host.peer.address.port());
    shell.variable("KOHAKURIVER_SSH_PROXY_PORT", "18002");
    shell.variable("OPERATOR", OPERATOR);
    shell.variable("USER_TOKEN", USER);
    shell
}

#[test]
fn every_command_has_a_transcript_of_success_and_of_failure() {
    let sources = [
        include_str!("accounts.rs"),
        include_str!("clusters.rs"),
        include_str!("connect.rs"),
        include_str!("look.rs"),
        include_str!("orders.rs"),
        include_str!("programs.rs"),
    ];
    // Each command line, and whether it succeeded.
    let mut shown: Vec<(&str, bool)> = Vec::new();
    for line in sources.iter().flat_map(|source| source.lines()) {
        if let Some(command) = line.strip_prefix("$ ") {
            shown.push((command, true));
        } else if let (true, Some((_, succeeded))) = (line.starts_with("[exit status "), shown.last_mut()) {
            *succeeded = false;
        }
    }
    let programs = ["kohakuriver-proxy", "kohakuriver-gateway"].map(str::to_owned);
    let ours = commands().into_iter().map(|words| format!("kohakuriver {words}"));
    for command in ours.chain(programs) {
        // A successful doctor prints the time of each step: see `doctor/healthy.rs`.
        let ends: &[bool] = if command == "kohakuriver doctor" { &[false] } else { &[true, false] };
        for &succeeded in ends {
            let named = |line: &str| format!("{line} ").contains(&format!("{command} "));
            let found = shown.iter().any(|&(line, was)| was == succeeded && named(line));
            assert!(found, "no transcript shows `{command}` when it {}", if succeeded { "succeeds" } else { "fails" });
        }
    }
}
