//! The tunnel, the sshd at its end, and its host key.

use std::io::{Read, Write};
use std::sync::Arc;

use serde_json::json;

use super::{doctor, finding, findings, finds};
use crate::support::cluster::Cluster;
use crate::support::gateway::{Gateway, NODE, inventory, running};
use crate::support::home::Home;
use crate::support::older_host::{OlderHost, task};
use crate::support::peers::{MutePort, Peer, RefusingPort, silent};
use crate::support::run::Outcome;
use crate::support::scene::ID;
use crate::support::sshd::Sshd;

/// Runs doctor for a VPS whose sshd should be at `port` of its Runner.
fn at_port(port: u16) -> Outcome {
    doctor(&Cluster::with(Home::new(), |vps| vps["ssh_port"] = port.into())).output()
}

/// The same through a real older Host.
fn through_an_older_host(port: u16) -> (Outcome, OlderHost) {
    let host = OlderHost::start(&[task(ID, "running", Some(NODE), Some(port))]);
    let cluster = Cluster::new();
    let outcome = doctor(&cluster).on_host(host.api.port()).through(host.proxy.port()).output();
    (outcome, host)
}

#[test]
fn its_sshd_is_not_running() {
    let port = RefusingPort::new();
    let texts = [&format!("VPS {ID} refuses SSH connections"), "502 Bad Gateway", "nothing listens on its SSH port"];
    finds(&at_port(port.port), "tunnel", &texts, "kohakuriver vps connect 7323718749301768192 --wait");
}

#[test]
fn its_sshd_is_not_running_behind_an_older_host() {
    let port = RefusingPort::new();
    let (outcome, _host) = through_an_older_host(port.port);
    let texts = [&format!("VPS {ID} refuses SSH connections"), "Connection refused by VPS task"];
    finds(&outcome, "tunnel", &texts, "kohakuriver vps connect 7323718749301768192 --wait");
}

#[test]
fn its_port_does_not_answer() {
    let port = MutePort::new();
    let texts = [&format!("VPS {ID} does not answer on its SSH port"), "504"];
    finds(&at_port(port.port), "tunnel", &texts, "kohakuriver node list");
}

#[test]
fn whether_tunnels_survive_their_connection() {
    let mut cluster = Cluster::new();
    let inventory = inventory(&[running(ID, cluster.sshd.port)]);
    for (window, setting, says) in [
        ("900", "off", "open; tunnels are not resumable: the setting `resume` is off"),
        ("900", "on", "open; tunnels survive 900 s without a connection"),
        ("0", "on", "open; tunnels end with their connection, since this proxy can't resume them"),
    ] {
        cluster.gateway = Gateway::with_inventory_and(&inventory, &["--resume-window", window]);
        cluster.home.write(".config/kohakuriver/config.json", format!("{{\"resume\": \"{setting}\"}}"));
        let outcome = doctor(&cluster).output();
        assert_eq!(finding(outcome.succeeds(), "tunnel")["found"], says, "{outcome}");
    }
}

#[test]
fn its_sshd_hangs_before_its_banner() {
    let peer = silent();
    let outcome = at_port(peer.address.port());
    finds(
        &outcome,
        "ssh-server",
        &["its sshd sends nothing", "within 8 s"],
        "kohakuriver vps connect 7323718749301768192 --wait",
    );
}

/// The helper says goodbye to the hanging sshd, since an older Host would keep the connection.
#[test]
fn an_sshd_that_hangs_behind_an_older_host() {
    let farewells = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&farewells);
    let peer = Peer::serve(move |mut stream| {
        let mut bytes = [0; 34];
        stream.read_exact(&mut bytes)?;
        seen.lock().unwrap().push(bytes);
        Ok(())
    });
    let (outcome, _host) = through_an_older_host(peer.address.port());
    finds(&outcome, "ssh-server", &["its sshd sends nothing"], "kohakuriver vps connect 7323718749301768192 --wait");
    peer.finish();
    let farewells = farewells.lock().unwrap();
    assert!(farewells.len() == 1 && farewells[0].starts_with(&[0xff; 32]), "{farewells:?}");
}

#[test]
fn its_sshd_hangs_up_before_its_banner() {
    let peer = Peer::serve(|_| Ok(()));
    let outcome = at_port(peer.address.port());
    finds(&outcome, "ssh-server", &["closed the connection before its sshd said anything"], "--wait");
}

#[test]
fn its_sshd_hangs_behind_its_banner() {
    let peer = Peer::serve(|mut stream| {
        stream.write_all(b"SSH-2.0-Half\r\n")?;
        // Reads until ssh has sent its banner and its key exchange, then closes.
        let mut bytes = [0; 2048];
        while stream.read(&mut bytes)? > 0 {
            if bytes.windows(3).any(|window| window == b"kex") {
                break;
            }
        }
        Ok(())
    });
    let outcome = at_port(peer.address.port());
    finds(&outcome, "host-key", &["ssh got no host key from VPS"], "vps connect");
}

/// A VPS whose host key is not the stored one.
fn with_another_key(started_at: &str, stored_at: u64) -> Outcome {
    let cluster = Cluster::new();
    let mut all = inventory(&[running(ID, cluster.sshd.port)]);
    all["vps"][0]["started_at"] = json!(started_at);
    all["nodes"][0]["last_heartbeat"] = json!("2026-11-23T13:00:00");
    let gateway = crate::support::gateway::Gateway::with_inventory(&all);
    let before = Sshd::start().known_as(&format!("kohakuriver-{ID},{ID}.kohakuriver"));
    let words: Vec<&str> = before.split(' ').take(3).collect();
    let known = format!("{} stored-at-{stored_at}\n", words.join(" "));
    cluster.home.write(".ssh/.kohakuriver_known_hosts", &known);
    let outcome = doctor(&cluster).on_host(gateway.api().port()).through(gateway.address.port()).output();
    outcome.check(cluster.known_hosts() == known, "unchanged known keys");
    outcome
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn its_host_key_changed_after_a_restart() {
    let outcome = with_another_key("2026-11-23T12:59:00", 1_000_000_000);
    let texts = ["the host key of VPS", "was started after that", "a re-created VPS has a new key"];
    finds(&outcome, "host-key", &texts, &format!("kohakuriver ssh forget {ID}"));
}

#[test]
fn its_host_key_changed_without_a_restart() {
    let outcome = with_another_key("2026-11-22T12:00:00", now());
    let texts = ["the host key of VPS", "has not been restarted since", "another machine may be impersonating it"];
    finds(&outcome, "host-key", &texts, "sed -n 1p ~/.ssh/.kohakuriver_known_hosts | ssh-keygen -lf -");
    outcome.check(!outcome.text().contains("ssh forget"), "no advice to forget the key");
}

/// An older Host does not say when a VPS was started.
#[test]
fn its_host_key_changed_for_an_unknown_reason() {
    let sshd = Sshd::start();
    let (host, cluster) = (OlderHost::start(&[task(ID, "running", Some(NODE), Some(sshd.port))]), Cluster::new());
    cluster.home.write(".ssh/.kohakuriver_known_hosts", cluster.sshd.known_as(&format!("kohakuriver-{ID}")));
    let outcome = doctor(&cluster).on_host(host.api.port()).through(host.proxy.port()).output();
    super::names(findings(&super::report(&outcome)).last().unwrap(), "host-key", &["the host key of VPS"], "");
    outcome.exits(1);
}
