//! A check that lacks the value of an earlier check is skipped, and its finding names the missing value.

use std::fs;

use serde_json::{Value, json};

use super::{report, with_verdict};
use crate::support::cluster::Cluster;
use crate::support::gateway::{NODE, NODE_DOWN};
use crate::support::home::Home;
use crate::support::run::{Outcome, Run};
use crate::support::scene::ID;
use crate::support::tools::CLI;

fn doctor(cluster: &Cluster, vps: &str) -> Run {
    cluster.run(CLI).args(["doctor", vps, "--all", "--json"]).deadline(120)
}

/// The problems must be those of `wrong`, and the skipped checks those of `skipped`, each with its reason.
#[track_caller]
fn finds(outcome: &Outcome, wrong: &[&str], skipped: &[(&str, &str)]) {
    outcome.exits(1);
    let report = report(outcome);
    let found: Vec<&Value> = with_verdict(&report, "wrong").into_iter().map(|finding| &finding["check"]).collect();
    assert_eq!(found, wrong, "{outcome}");
    let found: Vec<Value> =
        with_verdict(&report, "skip").into_iter().map(|f| json!([f["check"], f["found"]])).collect();
    let expected: Vec<Value> = skipped.iter().map(|(check, reason)| json!([check, reason])).collect();
    assert_eq!(found, expected, "{outcome}");
}

const NOT_VERIFIED: (&str, &str) = ("login", "the host key is not verified");
const NO_ROUND_TRIP: (&str, &str) = ("round-trip", "no login works");
const NO_THROUGHPUT: (&str, &str) = ("throughput", "no login works");
const NO_OWN_SSH: (&str, &str) = ("own-ssh", "no login works");
const NO_TUNNEL: (&str, &str) = ("ssh-server", "no tunnel is open");
const NO_SSHD: (&str, &str) = ("host-key", "no sshd has answered");

#[test]
fn without_settings() {
    let outcome = doctor(&Cluster::new(), ID).env("KOHAKURIVER_PORT", "x").output();
    let skipped = [
        ("helper", "there are no settings"),
        ("shell", "there is no helper"),
        ("host-name", "there are no settings"),
        ("host-api", "there are no settings"),
        ("token", "the Host API does not answer"),
        ("proxy-port", "there are no settings"),
        ("proxy", "there are no settings"),
        ("vps", "the Host API does not answer"),
        ("runner", "the Host does not describe the VPS"),
        ("tunnel", "no SSH proxy answers"),
        NO_TUNNEL,
        NO_SSHD,
        NOT_VERIFIED,
        NO_ROUND_TRIP,
        NO_THROUGHPUT,
        NO_OWN_SSH,
    ];
    finds(&outcome, &["settings"], &skipped);
}

/// Without ssh-keygen, doctor can't use the key either.
#[test]
fn without_ssh() {
    let cluster = Cluster::new();
    let empty = cluster.home.join("empty");
    fs::create_dir(&empty).unwrap();
    let outcome = doctor(&cluster, ID).env("PATH", &empty).output();
    let skipped = [
        ("ssh-config", "there is no ssh"),
        ("host-key", "there is no ssh"),
        NOT_VERIFIED,
        NO_ROUND_TRIP,
        NO_THROUGHPUT,
        NO_OWN_SSH,
    ];
    finds(&outcome, &["ssh", "keys"], &skipped);
}

#[test]
fn with_a_name_that_no_vps_has() {
    let outcome = doctor(&Cluster::new(), "no-such-vps").output();
    let skipped = [
        ("runner", "the Host does not describe the VPS"),
        ("tunnel", "the VPS has no known address"),
        NO_TUNNEL,
        NO_SSHD,
        ("keys", "the Host does not describe the VPS"),
        NOT_VERIFIED,
        NO_ROUND_TRIP,
        NO_THROUGHPUT,
        NO_OWN_SSH,
    ];
    finds(&outcome, &["vps"], &skipped);
}

/// A paused VPS stays paused when its Runner dies: the Runner is the problem then, and not the pause.
#[test]
fn with_a_vps_that_can_not_be_reached() {
    const NO_ADDRESS: (&str, &str) = ("tunnel", "the VPS has no known address");
    const OWN_STATE: (&str, &str) = ("runner", "the VPS itself can't be reached");
    for (status, node, wrong, first) in [
        ("paused", NODE, &["vps"][..], &[NO_ADDRESS][..]),
        ("paused", NODE_DOWN, &["runner"], &[NO_ADDRESS]),
        ("failed", NODE_DOWN, &["vps", "runner"], &[NO_ADDRESS]),
        ("stopped", NODE, &["vps"], &[OWN_STATE, NO_ADDRESS]),
    ] {
        let cluster = Cluster::with(Home::new(), |vps| {
            vps["status"] = status.into();
            vps["assigned_node"] = node.into();
        });
        let rest = [NO_TUNNEL, NO_SSHD, NOT_VERIFIED, NO_ROUND_TRIP, NO_THROUGHPUT, NO_OWN_SSH];
        finds(&doctor(&cluster, ID).output(), wrong, &[first, &rest[..]].concat());
    }
}

/// A key file that ssh would not use does not prevent the login with the other keys, but the login is not judged.
#[test]
fn without_a_usable_key() {
    let cluster = Cluster::new();
    let outcome = doctor(&cluster, ID).args(["--key", "no-such-key"]).output();
    let login = ("login", "there is no key that ssh can use");
    finds(&outcome, &["keys"], &[login, NO_ROUND_TRIP, NO_THROUGHPUT, NO_OWN_SSH]);
}
