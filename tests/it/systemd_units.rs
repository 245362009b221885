//! The units of `contrib/systemd`, as systemd's own tools judge them.

use std::fs;
use std::path::Path;

use crate::support::home::Home;
use crate::support::run::{Outcome, Run};
use crate::support::tools::{GATEWAY, tool};

const SERVICE: &str = "kohakuriver-gateway.service";
const SOCKET: &str = "kohakuriver-gateway.socket";
/// Where the service looks for the program.
const INSTALLED: &str = "/usr/local/bin/kohakuriver-gateway";
/// The highest exposure allowed, in tenths.
const MOST_EXPOSURE: &str = "--threshold=20";

fn unit(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/systemd").join(name)).unwrap()
}

/// Writes the units with the program that is tested, and asks `systemd-analyze` about one of them.
fn analyze(words: &[&str], service: &str, name: &str) -> Outcome {
    let home = Home::new();
    home.write(SERVICE, service.replace(INSTALLED, GATEWAY));
    home.write(SOCKET, unit(SOCKET));
    let run = Run::new(tool("systemd-analyze"), &home).args(words).arg(home.join(name));
    run.env("SYSTEMD_UNIT_PATH", format!("{}:", home.path().display())).output()
}

#[test]
fn the_units_are_sound() {
    assert!(unit(SERVICE).contains(&format!("ExecStart={INSTALLED} ")));
    for name in [SERVICE, SOCKET] {
        let outcome = analyze(&["verify", "--man=no"], &unit(SERVICE), name);
        outcome.succeeds().check(!outcome.stderr.contains("kohakuriver"), "no word about these units");
    }
    let broken = unit(SERVICE).replace("ExecStart=", "ExecStrat=");
    let outcome = analyze(&["verify", "--man=no"], &broken, SERVICE);
    outcome.check(!outcome.status.success(), "a broken unit to be told");
}

#[test]
fn the_service_is_exposed_little() {
    let words = ["security", "--offline=true", "--no-pager", MOST_EXPOSURE];
    analyze(&words, &unit(SERVICE), SERVICE).succeeds();
    let open = unit(SERVICE).replace("SystemCallFilter=", "#").replace("CapabilityBoundingSet=", "#");
    let outcome = analyze(&words, &open, SERVICE);
    outcome.check(!outcome.status.success(), "an exposed service to be told");
}
