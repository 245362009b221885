//! A name follows its owner: of two VPSes of one name, one's own is meant; somebody else's is taken only if it is the only
//! one, and said; a name that means another VPS than before is said before ssh starts.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::gateway::{inventory, running};
use crate::support::home::Home;
use crate::support::life_host::{LifeHost, OPERATOR, vps};
use crate::support::run::{DEADLINE, Run};
use crate::support::scene::ID;
use crate::support::tools::CLI;
use crate::support::two_clusters::{CONFIG, TwoClusters, WHERE};

/// Another VPS.
const OTHER: &str = "7323718749301760099";

/// A VPS called `trainer` of this user.
fn trainer(id: &str, owner: &str, status: &str) -> Value {
    let mut vps = vps(status, "docker", 22022);
    vps["task_id"] = id.into();
    vps["owner_username"] = owner.into();
    vps
}

/// A Host with users and these VPSes, and a home whose user is `operator1` there.
fn host(vpses: Vec<Value>) -> (LifeHost, Home) {
    let host = LifeHost::start(22022);
    host.change(|state| {
        state.auth = true;
        state.vpses = vpses;
    });
    let home = Home::new();
    let port = host.peer.address.port();
    home.write(CONFIG, json!({ "host": "127.0.0.1", "port": port, "ssh_proxy_port": port }).to_string());
    home.secret(".kohakuriver/auth.json", &json!({ "token": OPERATOR }).to_string());
    (host, home)
}

fn connect(home: &Home) -> Run {
    Run::new(CLI, home).args(["vps", "connect", "trainer", "--dry-run"])
}

#[test]
fn ones_own_comes_first_even_if_it_is_paused() {
    for (own, other) in [(ID, OTHER), (OTHER, ID)] {
        for status in ["paused", "running"] {
            let (host, home) = host(vec![trainer(other, "user1", "running"), trainer(own, "operator1", status)]);
            let said = connect(&home).output();
            if status == "running" {
                said.succeeds().says_nothing().check(said.text().contains(&format!("{own}.kohakuriver")), "one's own");
            } else {
                said.exits(255).prints_nothing().says(&[&format!("VPS {own} ")]);
                said.check(!said.stderr.contains(other), "nothing of the other one");
            }
            let shown = Run::new(CLI, &home).args(["vps", "status", "trainer", "--json"]).output();
            let shown: Value = serde_json::from_str(&shown.succeeds().text()).unwrap();
            assert_eq!(shown["task_id"], own);
            // Plain ssh asks for the same one.
            let tunnel = Run::new(crate::support::tools::HELPER, &home).args(["trainer.kohakuriver", "22"]).output();
            tunnel.exits(1).check(tunnel.stderr.contains(own) && !tunnel.stderr.contains(other), "one's own");
            drop(host);
        }
    }
}

#[test]
fn only_somebody_elses_is_taken_and_said() {
    let (host, home) = host(vec![trainer(ID, "user1", "running")]);
    let note = format!("note: trainer is VPS {ID} of user1; you have none of this name\n");
    let said = connect(&home).output();
    said.succeeds().check_stderr(&note).check(said.text().contains(ID), "the VPS");
    let copied = Run::new(CLI, &home).args(["vps", "cp", "--dry-run", "trainer:a", "."]).output();
    copied.succeeds().check_stderr(&note);
    // By its id, nobody can mean another one.
    let said = Run::new(CLI, &home).args(["vps", "connect", ID, "--dry-run"]).output();
    said.succeeds().says_nothing();
    // One that is assigned is one's own.
    host.change(|state| state.vpses[0]["assignees"] = json!([{ "id": 3, "username": "operator1" }]));
    connect(&home).output().succeeds().says_nothing();
    // Of several others, none is taken.
    host.change(|state| {
        state.vpses = vec![trainer(ID, "user1", "running"), trainer(OTHER, "user2", "running")];
    });
    let said = connect(&home).output();
    said.exits(255).prints_nothing().says(&["more than one VPS", ID, OTHER, "of user1", "of user2"]);
    // A Host without users has no owners to speak of.
    host.change(|state| {
        state.auth = false;
        state.vpses = vec![trainer(OTHER, "user2", "running")];
    });
    let said = connect(&home).output();
    said.succeeds().check(!said.stderr.contains("you have none"), "no owner");
}

/// The files in which names are noted.
fn noted(two: &TwoClusters) -> Vec<PathBuf> {
    let folder = two.home.join(".cache/kohakuriver/names");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "json")).collect()
}

/// Makes what is noted as old as if its user had been away for an hour.
fn an_hour_passes(two: &TwoClusters) {
    for path in noted(two) {
        let mut value: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        value["asked_at"] = (value["asked_at"].as_u64().unwrap() - 3600).into();
        fs::write(&path, value.to_string()).unwrap();
    }
}

/// The VPS `fresh`, which has no entry, is another one from now on.
fn fresh_is(two: &TwoClusters, id: &str) {
    let mut fresh = running(id, two.lab.sshd.port);
    fresh["name"] = "fresh".into();
    two.lab.sshd.copy_key_to(&two.home.join(&format!(".ssh/id-kohakuriver-lab-{id}")));
    two.lab.gateway.write_inventory(&inventory(&[fresh]).to_string());
    two.lab.gateway.process.signal(rustix::process::Signal::HUP);
    let end = std::time::Instant::now() + DEADLINE;
    while two.json(&["--cluster", "lab", "vps", "list", "--json"])[0]["task_id"] != id {
        assert!(std::time::Instant::now() < end, "the gateway does not read its inventory");
    }
}

#[test]
fn a_name_that_means_another_vps_is_said_before_ssh_starts() {
    let two = TwoClusters::logged_in();
    let log_in = || two.ssh("fresh.lab.kohakuriver").arg("-i").arg(&two.lab.sshd.key).arg(WHERE).output();
    let connect = || two.connect(&["--cluster", "lab"], "fresh").arg(WHERE).output();
    let note = |now: &str, before: &str| {
        format!("cluster lab: note: fresh is VPS {now} now; it was VPS {before} when you last used the name\n")
    };
    fresh_is(&two, "101");
    log_in().succeeds().prints(&two.lab.says()).says_nothing();
    log_in().succeeds().says_nothing();
    connect().succeeds().prints(&two.lab.says()).says_nothing();
    fresh_is(&two, "102");
    // Plain ssh, once what it noted is no longer new.
    an_hour_passes(&two);
    let said = log_in();
    said.succeeds()
        .prints(&two.lab.says())
        .says(&["note: fresh is VPS 102 now; it was VPS 101 when you last used the name"]);
    log_in().succeeds().says_nothing();
    connect().succeeds().says_nothing();
    // `vps connect` asks each time.
    fresh_is(&two, "103");
    let said = connect();
    said.succeeds().prints(&two.lab.says()).check_stderr(&note("103", "102"));
    connect().succeeds().says_nothing();
    an_hour_passes(&two);
    log_in().succeeds().says_nothing();
    // The other cluster's `fresh` is another name.
    assert!(noted(&two).len() == 1, "{:?}", noted(&two));
    let none = two.connect(&[], "fresh").output();
    none.exits(255).says(&["there is no VPS fresh"]);
    // A key that is stored for the one is none of the other's.
    assert_eq!(two.known_hosts().iter().filter(|name| name.contains(".lab")).count(), 3);
    assert!(!two.known_hosts().iter().any(|name| name.contains(ID)));
}
