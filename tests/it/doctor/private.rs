//! A report must not show tokens, passwords or the path of the home directory, whatever its name.

use std::fs;

use serde_json::json;

use super::finding;
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

/// A user with a home that is hard to quote, and with a token in each place that may hold one.
fn cluster() -> Cluster {
    let cluster = Cluster::in_home(Home::named(r#"o'd d "q" é\ 100% $HOME"#));
    cluster.home.write(".kohakuriver/auth.json", json!({ "token": IN_FILE }).to_string());
    cluster.home.copy(CLI.as_ref(), "pro grams/kohakuriver");
    cluster.home.copy(HELPER.as_ref(), "pro grams/kohakuriver-proxy");
    cluster
}

fn doctor(cluster: &Cluster) -> Run {
    let run = cluster.run(cluster.home.join("pro grams/kohakuriver")).env("KOHAKURIVER_TOKEN", IN_ENV).deadline(120);
    run.args(["doctor", ID, "--all", "--user", user()])
}

/// Neither form of the report may show anything private. `check` must find a problem.
#[track_caller]
fn shows_nothing_private(cluster: &Cluster, check: &str, with: impl Fn(Run) -> Run) {
    let json = with(doctor(cluster).arg("--json")).output();
    json.exits(1);
    json.check(finding(&json, check)["verdict"] == "wrong", check);
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
    // The name of the directory above the home: no form of quoting changes it.
    let folder = cluster.home.path().parent().unwrap().file_name().unwrap().to_str().unwrap();
    outcome.check(!text.contains(folder), "no path of the home");
}

#[test]
fn without_problems() {
    let cluster = cluster();
    let outcome = doctor(&cluster).arg("--json").output();
    outcome.succeeds();
    is_clean(&cluster, &outcome);
    // Paths in the home are shown with `~`.
    for place in ["~/pro grams/kohakuriver-proxy", "~/.ssh/id-kohakuriver-"] {
        outcome.check(outcome.text().contains(place), place);
    }
}

#[test]
fn with_a_wrong_key() {
    let cluster = cluster();
    let own = cluster.home.join(&format!(".ssh/id-kohakuriver-{ID}"));
    set_mode(&own, 0o644);
    shows_nothing_private(&cluster, "keys", |run| run);
    let other = cluster.home.join("an other");
    ssh_keygen(&other);
    shows_nothing_private(&cluster, "login", |run| run.arg("--key").arg(&other));
    shows_nothing_private(&cluster, "keys", |run| run.arg("--key").arg(cluster.home.join("no such")));
}

#[test]
fn with_a_wrong_file() {
    let cluster = cluster();
    cluster.home.write(".config/kohakuriver/config.json", "{ broken");
    shows_nothing_private(&cluster, "settings", |run| run);
    fs::remove_dir_all(cluster.home.join(".config")).unwrap();
    fs::create_dir(cluster.home.join(".ssh/.kohakuriver_known_hosts")).unwrap();
    shows_nothing_private(&cluster, "ssh-folder", |run| run);
    cluster.home.script("pro grams/kohakuriver-proxy", "#!/bin/sh\necho \"$0\" >&2; exit 127\n");
    shows_nothing_private(&cluster, "helper", |run| run);
}

/// The home of the user database, which ssh uses, may differ from HOME.
#[test]
fn with_an_ssh_that_has_another_home() {
    let cluster = Cluster::new();
    cluster.home.script(
        "bin/ssh",
        "#!/bin/sh\ncase \" $* \" in\n*' -V '*) echo OpenSSH_9.9 >&2;;\n\
         *' -F none '*) echo userknownhostsfile /mnt/al/.ssh/known_hosts;;\n\
         *) echo /mnt/al/.ssh/config: line 1: Bad >&2; exit 255;;\nesac\n",
    );
    for form in [&["--json"][..], &[]] {
        let outcome = cluster.run(CLI).arg("doctor").args(form).output();
        outcome.exits(1).check(outcome.text().contains("~/.ssh/config: line 1: Bad"), "the message with `~`");
        outcome.check(!outcome.text().contains("/mnt/al"), "no path of the home");
    }
}

#[test]
fn with_a_secret_in_an_address() {
    let cluster = cluster();
    for address in
        [format!("http://al:{IN_URL}@127.0.0.1:1"), format!("{IN_URL}@127.0.0.1"), format!("http://h/?t={IN_URL}")]
    {
        shows_nothing_private(&cluster, "settings", |run| run.env("KOHAKURIVER_HOST", &address));
        shows_nothing_private(&cluster, "settings", |run| run.env("KOHAKURIVER_GATEWAY_ADMIN", &address));
        cluster.home.write(".config/kohakuriver/config.json", json!({ "proxy": address }).to_string());
        shows_nothing_private(&cluster, "settings", |run| run);
        fs::remove_dir_all(cluster.home.join(".config")).unwrap();
    }
    shows_nothing_private(&cluster, "settings", |run| run.env("KOHAKURIVER_HOST", format!("{IN_FILE} {IN_ENV}")));
}

#[test]
fn with_a_host_that_repeats_the_token() {
    let cluster = cluster();
    let host = |before: usize| {
        let before = "x".repeat(before);
        http_server(move |asked| match asked.path.as_str() {
            "/api/nodes" => (200, "application/json", "[]".to_owned()),
            _ => (400, "application/json", json!({ "detail": format!("{before}{}", asked.authorization) }).to_string()),
        })
    };
    // The second answer is so long that it is cut, in the middle of the token.
    for host in [host(0), host(279)] {
        let port = host.address.port().to_string();
        shows_nothing_private(&cluster, "token", |run| run.env("KOHAKURIVER_PORT", &port));
        let said = doctor(&cluster).env("KOHAKURIVER_PORT", &port).output();
        said.check(said.text().contains("Bearer …"), "the answer of the Host");
    }
}
