//! A user who has set nothing yet, on a machine that is no Host; and a Host's own machine, where nothing has to be set.

use std::net::TcpStream;

use crate::support::gateway::{inventory, running};
use crate::support::home::Home;
use crate::support::network::Network;
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::tools::{CLI, GATEWAY, HELPER};

/// A machine on which nothing listens at the default ports. A system may keep normal users from making one; then this
/// machine must do.
fn machine() -> Option<Network> {
    let network = Network::new();
    for port in [8000, 8002] {
        let is_free = network.is_some() || TcpStream::connect(("localhost", port)).is_err();
        assert!(is_free, "port {port} is in use, and this user can't make a network");
    }
    network
}

fn run(network: Option<&Network>, home: &Home, program: &str, line: &str) -> Run {
    let run = network.map_or_else(|| Run::new(program, home), |network| network.run(program));
    run.args(line.split(' '))
}

#[test]
fn without_settings_the_programs_say_that_no_host_is_set() {
    let (network, home) = (machine(), Home::new());
    let by_name = "trainer.kohakuriver";
    for (program, line, address) in [
        (CLI, "vps list", "http://localhost:8000"),
        (CLI, "vps status trainer", "http://localhost:8000"),
        (CLI, "vps connect trainer", "http://localhost:8000"),
        (CLI, "vps create", "http://localhost:8000"),
        (CLI, "vps stop trainer --yes", "http://localhost:8000"),
        (CLI, "node list", "http://localhost:8000"),
        (CLI, "auth login", "http://localhost:8000"),
        (CLI, "auth status", "http://localhost:8000"),
        (CLI, "ssh config", "http://localhost:8000"),
        (HELPER, ID, "localhost:8002"),
        (HELPER, by_name, "http://localhost:8000"),
    ] {
        let outcome = run(network.as_ref(), &home, program, line).output();
        let name = if program == CLI { "kohakuriver" } else { "kohakuriver-proxy" };
        outcome.exits(if line.contains("connect") { 255 } else { 1 }).prints_nothing().says(&[
            &format!("{name}: no Host is set\n"),
            &format!("  caused by: nothing answers at the default, {address}: "),
            "  hint: name the Host with `kohakuriver login HOST`, or with `export KOHAKURIVER_HOST=HOST`\n",
        ]);
    }
    let outcome = run(network.as_ref(), &home, CLI, "doctor").output();
    outcome.exits(1).check(outcome.text().contains(": no Host is set ("), "no Host is set");
    outcome.check(outcome.text().contains("\n          kohakuriver login HOST\n"), "the command");

    // A user who names a Host reads about that Host, even if it is the default one.
    for (program, line, title) in [
        (CLI, "vps list", "kohakuriver: cannot list the VPSes\n"),
        (HELPER, ID, "kohakuriver-proxy: cannot reach the SSH proxy at localhost:8002\n"),
    ] {
        let outcome = run(network.as_ref(), &home, program, line).env("KOHAKURIVER_HOST", "localhost").output();
        outcome.exits(1).says(&[title, "onnection refused"]);
    }
}

#[test]
fn on_the_hosts_own_machine_nothing_has_to_be_set() {
    // Without a network of its own, this test would need the default ports of a machine that others use.
    let Some(network) = Network::for_test_of("the default ports") else { return };
    let home = Home::new();
    let inventory = home.write("inventory.json", inventory(&[running(ID, 22)]).to_string());
    let gateway = network.run(GATEWAY).args(["--listen", "127.0.0.1:8002"]).arg("--inventory").arg(inventory).start();
    gateway.stderr_line("listening on ");
    let outcome = run(Some(&network), &home, CLI, "vps list").output();
    outcome.succeeds().check(outcome.text().contains(ID), "the VPS");
}
