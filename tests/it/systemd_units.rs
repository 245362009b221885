//! The units of `contrib/systemd`, as systemd's own tools judge them.

use std::fs;
use std::path::Path;

use crate::support::home::Home;
use crate::support::run::{Outcome, Run};
use crate::support::tools::{GATEWAY, tool};

const SERVICE: &str = "kohakuriver-gateway.service";
const SOCKET: &str = "kohakuriver-gateway.socket";
const ADMIN_SOCKET: &str = "kohakuriver-gateway-admin.socket";
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
    for socket in [SOCKET, ADMIN_SOCKET] {
        home.write(socket, unit(socket));
    }
    let run = Run::new(tool("systemd-analyze"), &home).args(words).arg(home.join(name));
    run.env("SYSTEMD_UNIT_PATH", format!("{}:", home.path().display())).output()
}

#[test]
fn the_units_are_sound() {
    assert!(unit(SERVICE).contains(&format!("ExecStart={INSTALLED} ")));
    for name in [SERVICE, SOCKET, ADMIN_SOCKET] {
        let outcome = analyze(&["verify", "--man=no"], &unit(SERVICE), name);
        outcome.succeeds().check(!outcome.stderr.contains("kohakuriver"), "no word about these units");
    }
    let broken = unit(SERVICE).replace("ExecStart=", "ExecStrat=");
    let outcome = analyze(&["verify", "--man=no"], &broken, SERVICE);
    outcome.check(!outcome.status.success(), "a broken unit to be told");
}

/// The gateway knows the socket by its name, and the documents by its path. Others may not use it.
#[test]
fn the_admins_socket_is_for_its_group() {
    let socket = unit(ADMIN_SOCKET);
    let lines =
        ["FileDescriptorName=admin", "SocketMode=0660", "Service=kohakuriver-gateway.service", "SocketGroup=root"];
    for line in lines {
        assert!(socket.lines().any(|other| other == line), "no {line} in {socket}");
    }
    let path = socket.lines().find_map(|line| line.strip_prefix("ListenStream=")).unwrap();
    for document in ["contrib/systemd/README.md", "contrib/gateway/README.md"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).unwrap();
        assert!(text.contains(&format!("unix:{path}")), "{document} does not name {path}");
    }
}

#[test]
fn the_service_is_exposed_little() {
    let words = ["security", "--offline=true", "--no-pager", MOST_EXPOSURE];
    analyze(&words, &unit(SERVICE), SERVICE).succeeds();
    let open = unit(SERVICE).replace("SystemCallFilter=", "#").replace("CapabilityBoundingSet=", "#");
    let outcome = analyze(&words, &open, SERVICE);
    outcome.check(!outcome.status.success(), "an exposed service to be told");
}
