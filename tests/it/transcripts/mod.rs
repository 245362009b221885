//! Every command as its user meets it: what is printed when all is well, and what when it isn't, word for word.
//!
//! A change of a text here is a change of what people read: it is to be looked at, not only taken over. What `--help`
//! says is in `tests/help.rs`.

mod accounts;
mod connect;
mod look;
mod orders;
mod programs;

use serde_json::json;

use crate::support::commands::commands;
use crate::support::life_host::{LifeHost, OPERATOR, USER, vps};
use crate::support::transcript::Shell;

/// The id of a VPS of [`host`], by its last digit.
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
    // A VPS that is on its way stays there.
    host.change(|state| state.course = ["assigning"].into());
    host
}

/// A shell of somebody who uses this Host.
fn shell(host: &LifeHost) -> Shell {
    let mut shell = Shell::new(host.peer.address.port());
    shell.variable("KOHAKURIVER_SSH_PROXY_PORT", "18002");
    shell.variable("OPERATOR", OPERATOR);
    shell.variable("USER_TOKEN", USER);
    shell
}

#[test]
fn every_command_is_shown_at_its_best_and_at_its_worst() {
    let sources = [
        include_str!("accounts.rs"),
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
        // On a way on which nothing is wrong, doctor says how long each step took: see `doctor/healthy.rs`.
        let ends: &[bool] = if command == "kohakuriver doctor" { &[false] } else { &[true, false] };
        for &succeeded in ends {
            let named = |line: &str| format!("{line} ").contains(&format!("{command} "));
            let found = shown.iter().any(|&(line, was)| was == succeeded && named(line));
            assert!(found, "no transcript shows `{command}` when it {}", if succeeded { "succeeds" } else { "fails" });
        }
    }
}
