//! `kohakuriver doctor` and questions on a terminal, for several clusters.

use std::fs;

use serde_json::{Value, json};

use crate::doctor::{of_check, with_verdict};
use crate::support::home::Home;
use crate::support::life_host::{LifeHost, MADE, OPERATOR, PASSWORD, vps};
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::terminal::Terminal;
use crate::support::tools::{CLI, HELPER, sh_quote, user};
use crate::support::two_clusters::{CONFIG, TwoClusters};

/// A run with an ssh on PATH that reads the configuration of this home, and no other.
fn with_own_ssh(two: &TwoClusters, run: Run) -> Run {
    if !two.home.join("bin/ssh").exists() {
        let config = sh_quote(&two.home.join(".ssh/config").display().to_string());
        two.home.ssh("", &format!("-F {config} -o BatchMode=yes"));
    }
    run.first_on_path(&two.home.join("bin"))
}

fn doctor(two: &TwoClusters, before: &[&str], vps: &str) -> Value {
    let run = two.run(before).args(["doctor", vps, "--json", "--all", "--user", user()]).deadline(120);
    let outcome = with_own_ssh(two, run).output();
    serde_json::from_slice(&outcome.stdout).unwrap_or_else(|error| panic!("{error}\n{outcome}"))
}

#[test]
fn doctor_checks_the_cluster_that_the_name_belongs_to() {
    let two = TwoClusters::logged_in();
    for (before, vps, site, host) in [
        (&[][..], "trainer", &two.work, "127.0.0.1"),
        (&[], "trainer.lab.kohakuriver", &two.lab, "localhost"),
        (&["--cluster", "lab"], "trainer", &two.lab, "localhost"),
        (&["--cluster", "lab"], ID, &two.lab, "localhost"),
        (&[], "trainer.default.kohakuriver", &two.work, "127.0.0.1"),
    ] {
        let connections = site.sshd.connections();
        let report = doctor(&two, before, vps);
        let found = |check: &str| {
            let finding = of_check(&report, check);
            assert_ne!(finding["verdict"], "wrong", "{vps}: {finding:#}");
            finding.to_string()
        };
        assert!(found("settings").contains(&format!("Host {host} ")), "{vps}: {report:#}");
        assert!(found("host-api").contains(&site.api_at(host)), "{vps}: {report:#}");
        for check in ["ssh-config", "tunnel", "host-key", "login", "own-ssh"] {
            found(check);
        }
        assert_eq!(report["healthy"], true, "{vps}: {report:#}");
        assert!(site.sshd.connections() > connections, "{vps}: no login there");
    }
}

#[test]
fn doctor_says_when_ssh_config_sends_a_cluster_elsewhere() {
    let two = TwoClusters::logged_in();
    let written = two.home.read(".ssh/config");
    let helper = sh_quote(HELPER);
    let (api, proxy) = (two.work.gateway.api(), two.work.gateway.address);
    let pipes = "    ProxyUseFdpass no\n";
    let leads = format!("the entry leads to {proxy}, and your settings to {}", two.lab.gateway.address);
    for (to_work, fault) in [
        // By hand, for all names.
        (
            format!("Host *.kohakuriver\n    ProxyCommand {helper} --proxy {proxy} --host-api {api} %h %p\n{pipes}\n"),
            &*leads,
        ),
        (
            format!(
                "Host *.lab.kohakuriver\n    ProxyCommand {helper} --proxy {proxy} --host-api {api} --cluster default %h \
                 %p\n{pipes}\n"
            ),
            &leads,
        ),
        (
            format!("Host *.lab.kohakuriver\n    ProxyCommand {helper} --cluster default %h %p\n{pipes}\n"),
            "the entry is for the cluster default, and not for lab",
        ),
        // Nothing that names a Host.
        (
            format!("Host *.lab.kohakuriver\n    ProxyCommand {helper} %h %p\n{pipes}\n"),
            "the entry names no cluster, so it leads to the default one, and not to lab",
        ),
    ] {
        two.home.write(".ssh/config", format!("{to_work}{written}"));
        let report = doctor(&two, &[], "trainer.lab.kohakuriver");
        assert_eq!(report["healthy"], false, "{to_work}: {report:#}");
        let wrong = with_verdict(&report, "wrong");
        assert_eq!(wrong.len(), 1, "{wrong:#?}");
        assert_eq!(wrong[0]["causes"][0], fault, "{:#}", wrong[0]);
        let although = format!("although `kohakuriver --cluster lab vps connect {ID}` works");
        assert!(wrong[0]["found"].as_str().unwrap().contains(&although), "{:#}", wrong[0]);
        assert_eq!(wrong[0]["command"], "kohakuriver --cluster lab ssh config --write");
    }
    // Without entries of its own, its names lead nowhere: the default cluster's wildcard leaves them out.
    two.home.write(".ssh/config", written);
    two.run(&["--cluster", "lab", "ssh", "config", "--remove"]).output().succeeds();
    let report = doctor(&two, &[], "trainer.lab.kohakuriver");
    let config = of_check(&report, "ssh-config");
    assert!(config.to_string().contains("is not set up"), "{config:#}");
}

/// The helper's log names the cluster, as its messages do.
#[test]
fn a_log_line_names_the_cluster() {
    let two = TwoClusters::logged_in();
    let log = two.home.join("log");
    for cluster in ["lab", "default"] {
        let host = if cluster == "lab" { "nobody.lab.kohakuriver" } else { "nobody.kohakuriver" };
        two.ssh(host).env("KOHAKURIVER_LOG_FILE", &log).output().exits(255);
        let text = fs::read_to_string(&log).unwrap();
        assert!(text.contains(&format!("cluster {cluster}: there is no VPS nobody")), "{text}");
    }
}

/// A key that is made for a VPS of one cluster is that cluster's.
#[test]
fn a_new_key_is_one_clusters() {
    let host = LifeHost::start(22022);
    let home = Home::new();
    let port = host.peer.address.port();
    home.write(
        CONFIG,
        json!({ "host": "gone.invalid", "clusters": { "lab": { "host": "127.0.0.1", "port": port } } }).to_string(),
    );
    let made =
        Run::new(CLI, &home).args(["--cluster", "lab", "vps", "create", "--name", "new", "--gen-ssh-key"]).output();
    made.succeeds().check(made.text().contains(&format!("/.ssh/id-kohakuriver-lab-{ID}\n")), "its key");
    made.check(made.text().contains("kohakuriver --cluster lab vps connect "), "a command of this cluster");
    assert!(home.join(&format!(".ssh/id-kohakuriver-lab-{ID}.pub")).exists());
    assert!(!home.join(&format!(".ssh/id-kohakuriver-{ID}")).exists());
}

#[test]
fn login_asks_what_nobody_has_said() {
    let host = LifeHost::with_users(vps("running", "docker", 22022));
    let home = Home::new();
    let port = host.peer.address.port();
    let mut typed = Terminal::with_status(&home, "dumb", &format!("login --port {port}"));
    typed.sees("Name or address of the Host: ");
    typed.types("127.0.0.1\r");
    typed.sees("User name (empty to enter a token): ");
    typed.types("operator1\r");
    typed.sees("Password: ");
    typed.types(&format!("{PASSWORD}\r"));
    typed.sees("the cluster default at 127.0.0.1 is stored in ");
    typed.sees("connect with `ssh NAME.kohakuriver`");
    typed.sees("status=0");
    let said = typed.finish();
    said.check(!said.text().contains(PASSWORD) && !said.text().contains(MADE), "no secret");
    assert_eq!(home.json(CONFIG), json!({ "host": "127.0.0.1", "port": port }));
    // Again, without the Host: only who I am is asked.
    let mut again = Terminal::with_status(&home, "dumb", "login");
    again.sees("User name (empty to enter a token): ");
    again.types("\r");
    again.sees("Token: ");
    again.types(&format!("{OPERATOR}\r"));
    again.sees("logged in to ");
    again.sees("status=0");
    again.finish();
}

#[test]
fn a_move_is_asked_about() {
    let host = LifeHost::with(vps("running", "docker", 22022));
    let home = Home::new();
    let port = host.peer.address.port();
    let before = json!({ "host": "old-head.invalid", "colour": "red" }).to_string();
    home.write(CONFIG, &before);
    let line = format!("login 127.0.0.1 --cluster default --port {port}");
    for answer in ["n\r", "\r"] {
        let mut typed = Terminal::with_status(&home, "dumb", &line);
        typed.sees("The Host of cluster default is old-head.invalid:8000. Has it moved to 127.0.0.1:");
        typed.types(answer);
        typed.sees("status=1");
        typed.finish();
        assert_eq!(fs::read_to_string(home.join(CONFIG)).unwrap(), before);
        assert!(host.change(|state| state.requests.is_empty()));
    }
    let mut typed = Terminal::with_status(&home, "dumb", &line);
    typed.sees("Has it moved to 127.0.0.1:");
    typed.types("y\r");
    typed.sees("status=0");
    typed.finish();
    assert_eq!(home.json(CONFIG), json!({ "host": "127.0.0.1", "port": port, "colour": "red" }));
}
