//! `kohakuriver vps forward`, with the system's ssh and a real sshd.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use rustix::process::Signal;

use crate::support::cluster::Cluster;
use crate::support::gateway::{inventory, running};
use crate::support::peers::{echo_server, echoes};
use crate::support::processes;
use crate::support::run::{DEADLINE, Process};
use crate::support::scene::ID;
use crate::support::sshd::{Sshd, free_port};
use crate::support::tools::{CLI, user};

/// `vps forward` from a port that was free to `to`, and that port, once it listens.
fn forwarding(cluster: &Cluster, to: u16) -> (Process, u16) {
    forwarding_with(cluster, to, &[])
}

fn forwarding_with(cluster: &Cluster, to: u16, flags: &[&str]) -> (Process, u16) {
    for _ in 0..5 {
        let port = free_port();
        let run = cluster.run(CLI).args(["vps", "forward", ID, "--user", user(), &format!("{port}:{to}")]).args(flags);
        let process = run.start();
        let said = format!("kohakuriver: localhost:{port} is port {to} of {ID}; Ctrl-C ends it\n");
        match process.try_wait_for(DEADLINE, |seen| String::from_utf8_lossy(&seen.stderr).contains(&said).then_some(()))
        {
            Ok(()) => return (process, port),
            // Somebody else took the port meanwhile.
            Err(_) => drop(process.finish().says(&["in use"])),
        }
    }
    panic!("no free port after 5 tries");
}

#[test]
fn a_port_is_forwarded_until_ctrl_c_and_comes_back_after_a_loss() {
    let cluster = Cluster::new();
    let echo = echo_server();
    let (process, port) = forwarding(&cluster, echo.address.port());
    echoes(port);
    // Only this machine reaches it.
    let forward = format!("localhost:{port}:localhost:{}", echo.address.port());
    let ssh = |count: usize| {
        let found = processes::with_argument(Path::new(&forward));
        assert_eq!(found.len(), count, "{found:?}");
        found
    };
    processes::kill(ssh(1)[0]);
    process.wait_for("a second connection", DEADLINE, |seen| {
        let said = String::from_utf8_lossy(&seen.stderr).into_owned();
        let (_, after) = said.split_once(&format!("the connection to VPS {ID} is lost; trying again in 1 s\n"))?;
        after.contains("Ctrl-C ends it\n").then_some(())
    });
    echoes(port);
    process.signal(Signal::INT);
    process.finish().succeeds().prints_nothing();
    assert_eq!(processes::falls_to(0, DEADLINE, || processes::with_argument(Path::new(&forward)).len()), 0);
    echo.finish();
}

#[test]
fn a_vps_that_can_no_longer_be_reached_ends_it() {
    let cluster = Cluster::new();
    let echo = echo_server();
    let (process, port) = forwarding(&cluster, echo.address.port());
    let mut vps = running(ID, cluster.sshd.port);
    vps["status"] = "paused".into();
    cluster.gateway.write_inventory(&inventory(&[vps]).to_string());
    let forward = format!("localhost:{port}:");
    processes::kill(processes::with_argument(Path::new(&forward))[0]);
    process.finish().exits(1).says(&[&format!("kohakuriver: VPS {ID} is paused\n")]);
    drop(echo);
}

#[test]
fn with_wait_a_vps_that_starts_again_is_waited_for() {
    let cluster = Cluster::new();
    let echo = echo_server();
    let (process, port) = forwarding_with(&cluster, echo.address.port(), &["--wait", "60"]);
    let mut vps = running(ID, cluster.sshd.port);
    vps["status"] = "pending".into();
    cluster.gateway.write_inventory(&inventory(&[vps]).to_string());
    let forward = format!("localhost:{port}:");
    let first = processes::with_argument(Path::new(&forward))[0];
    processes::kill(first);
    // The helper of its second ssh waits.
    while processes::with_argument(Path::new(&forward)).iter().all(|pid| *pid == first) {
        std::thread::yield_now();
    }
    cluster.gateway.write_inventory(&inventory(&[running(ID, cluster.sshd.port)]).to_string());
    process.wait_for("a second connection", DEADLINE, |seen| {
        let said = String::from_utf8_lossy(&seen.stderr).into_owned();
        said.split_once("trying again in 1 s\n")?.1.contains("Ctrl-C ends it\n").then_some(())
    });
    echoes(port);
    process.signal(Signal::INT);
    process.finish().succeeds();
    echo.finish();
}

/// No other attempt would do better.
#[test]
fn a_vps_with_another_host_key_ends_it() {
    let cluster = Cluster::new();
    let echo = echo_server();
    let (process, port) = forwarding(&cluster, echo.address.port());
    let other = Sshd::start();
    cluster.gateway.write_inventory(&inventory(&[running(ID, other.port)]).to_string());
    processes::kill(processes::with_argument(Path::new(&format!("localhost:{port}:")))[0]);
    process.finish().exits(255).says(&["is lost; trying again", "ssh forget"]);
    drop(echo);
}

/// A forward of the user's own must not be in the way of this one.
#[test]
fn a_configuration_that_clears_forwardings_clears_none() {
    let cluster = Cluster::new();
    let echo = echo_server();
    let config = cluster.home.write("config", "Host *\n  ClearAllForwardings yes\n");
    cluster.home.ssh("", &format!("-F {} -o BatchMode=yes", config.display()));
    let (process, port) = forwarding(&cluster, echo.address.port());
    echoes(port);
    drop(process);
    echo.finish();
}

#[test]
fn what_cannot_be_forwarded_is_said() {
    let cluster = Cluster::new();
    let forward =
        |vps: &str, port: &str| cluster.run(CLI).args(["vps", "forward", vps, "--user", user(), port]).output();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    forward(ID, &format!("{port}:80")).exits(1).says(&[
        &format!("kohakuriver: cannot listen on port {port} of this machine\n"),
        &format!("  hint: take another one, for example `kohakuriver vps forward {ID} "),
    ]);
    let twice = cluster.run(CLI).args(["vps", "forward", ID, "41555:1", "41555:2"]).output();
    twice.exits(2).says(&["port 41555 of this machine is named twice"]);
    forward("nosuch", &free_port().to_string()).exits(1).says(&["there is no VPS nosuch"]);
    forward(ID, "0").exits(2).says(&["write it as 8888"]);
    // ssh says why.
    let run = cluster.run(CLI).args(["vps", "forward", ID, "--user", "kr-nobody-here", &free_port().to_string()]);
    run.output().exits(255).says(&["Permission denied"]);
}
