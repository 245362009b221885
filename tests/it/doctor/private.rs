//! What a report must not tell: tokens, passwords, and where the user's home is, whatever that is called.

use std::fs;

use serde_json::json;

use super::report;
use crate::support::cluster::Cluster;
use crate::support::home::{Home, set_mode};
use crate::support::peers::http_server;
use crate::support::run::{Outcome, Run};
use crate::support::scene::ID;
use crate::support::sshd::ssh_keygen;
use crate::support::tools::{CLI, HELPER, user};

const IN_ENV: &str = "fedcba9876543210-in-the-environment";
const IN_FILE: &str = "fedcba9876543210-in-the-file";
const IN_URL: &str = "fedcba9876543210-in-a-url";

/// A cluster whose user has a home that is hard to quote, and tokens wherever one may lie.
fn cluster() -> Cluster {
    let cluster = Cluster::in_home(Home::named(r#"o'd d "q" é\ 100% $HOME"#));
    cluster.home.write(".kohakuriver/auth.json", json!({ "token": IN_FILE }).to_string());
    cluster.home.copy(CLI.as_ref(), "pro grams/kohakuriver");
    cluster.home.copy(HELPER.as_ref(), "pro grams/kohakuriver-proxy");
    cluster
}

fn doctor(cluster: &Cluster) -> Run {
    let run = cluster.run(cluster.home.join("pro grams/kohakuriver")).env("KOHAKURIVER_TOKEN", IN_ENV).deadline(120);
    run.args(["doctor", ID, "--all", "--user", &user()])
}

/// Nothing of it, in either form of the report, which must find something wrong with `check`.
#[track_caller]
fn tells_nothing(cluster: &Cluster, check: &str, with: impl Fn(Run) -> Run) {
    let json = with(doctor(cluster).arg("--json")).output();
    json.exits(1);
    let wrong =
        report(&json)["findings"].as_array().unwrap().iter().any(|f| f["check"] == check && f["verdict"] == "wrong");
    json.check(wrong, check);
    let text = with(doctor(cluster)).output();
    text.exits(1).says_nothing();
    for outcome in [&json, &text] {
        is_clean(cluster, outcome);
    }
}

#[track_caller]
fn is_clean(cluster: &Cluster, outcome: &Outcome) {
    let text = outcome.text() + &outcome.stderr;
    for token in [IN_ENV, IN_FILE, IN_URL, "fedcba98"] {
        outcome.check(!text.contains(token), "no token");
    }
    // The folder that the home is in: it stands in the home's path however that is quoted.
    let folder = cluster.home.path().parent().unwrap().file_name().unwrap().to_str().unwrap();
    outcome.check(!text.contains(folder), "no path of the home");
}

#[test]
fn where_nothing_is_wrong() {
    let cluster = cluster();
    let outcome = doctor(&cluster).arg("--json").output();
    outcome.succeeds();
    is_clean(&cluster, &outcome);
    // The programs and the key are told of all the same.
    for place in ["~/pro grams/kohakuriver-proxy", "~/.ssh/id-kohakuriver-"] {
        outcome.check(outcome.text().contains(place), place);
    }
}

#[test]
fn where_a_key_is_wrong() {
    let cluster = cluster();
    let own = cluster.home.join(&format!(".ssh/id-kohakuriver-{ID}"));
    set_mode(&own, 0o644);
    tells_nothing(&cluster, "keys", |run| run);
    let other = cluster.home.join("an other");
    ssh_keygen(&other);
    tells_nothing(&cluster, "login", |run| run.arg("--key").arg(&other));
    tells_nothing(&cluster, "keys", |run| run.arg("--key").arg(cluster.home.join("no such")));
}

#[test]
fn where_a_file_is_wrong() {
    let cluster = cluster();
    cluster.home.write(".config/kohakuriver/config.json", "{ broken");
    tells_nothing(&cluster, "settings", |run| run);
    fs::remove_dir_all(cluster.home.join(".config")).unwrap();
    fs::create_dir(cluster.home.join(".ssh/kohakuriver_known_hosts")).unwrap();
    tells_nothing(&cluster, "ssh-folder", |run| run);
    cluster.home.script("pro grams/kohakuriver-proxy", "#!/bin/sh\necho \"$0\" >&2; exit 127\n");
    tells_nothing(&cluster, "helper", |run| run);
}

#[test]
fn where_an_address_holds_a_secret() {
    let cluster = cluster();
    for address in
        [format!("http://al:{IN_URL}@127.0.0.1:1"), format!("{IN_URL}@127.0.0.1"), format!("http://h/?t={IN_URL}")]
    {
        tells_nothing(&cluster, "settings", |run| run.env("KOHAKURIVER_HOST", &address));
        tells_nothing(&cluster, "settings", |run| run.env("KOHAKURIVER_GATEWAY_ADMIN", &address));
        cluster.home.write(".config/kohakuriver/config.json", json!({ "proxy": address }).to_string());
        tells_nothing(&cluster, "settings", |run| run);
        fs::remove_dir_all(cluster.home.join(".config")).unwrap();
    }
    tells_nothing(&cluster, "settings", |run| run.env("KOHAKURIVER_HOST", format!("{IN_FILE} {IN_ENV}")));
}

#[test]
fn where_a_host_says_back_what_it_was_sent() {
    let cluster = cluster();
    let host = |before: usize| {
        let before = "x".repeat(before);
        http_server(move |asked| match asked.path.as_str() {
            "/api/nodes" => (200, "application/json", "[]".to_owned()),
            _ => (400, "application/json", json!({ "detail": format!("{before}{}", asked.authorization) }).to_string()),
        })
    };
    // The second says so much that it is cut, in the midst of the token.
    for host in [host(0), host(279)] {
        let port = host.address.port().to_string();
        tells_nothing(&cluster, "token", |run| run.env("KOHAKURIVER_PORT", &port));
        let said = doctor(&cluster).env("KOHAKURIVER_PORT", &port).output();
        said.check(said.text().contains("Bearer …"), "what the Host said");
    }
}
