//! Entries and keys of VPSes when another cluster becomes the default one, and hints about clusters.

use std::fs;

use crate::support::run::{Outcome, Run};
use crate::support::scene::ID;
use crate::support::terminal::Terminal;
use crate::support::tools::CLI;
use crate::support::two_clusters::{CONFIG, Site, TwoClusters};

/// Entries that were written for a Host that no configuration file names.
fn entries_of_work(two: &TwoClusters) {
    let (api, proxy) = (two.work.gateway.api().port().to_string(), two.work.gateway.address.to_string());
    two.run(&["--host", "127.0.0.1", "--port", &api, "--proxy", &proxy, "ssh", "config", "--write"])
        .output()
        .succeeds();
}

fn log_in_to_lab_as(two: &TwoClusters, cluster: &[&str]) -> Outcome {
    let (api, proxy) = (two.lab.gateway.api().port().to_string(), two.lab.gateway.address.to_string());
    two.run(&["login", "localhost", "--port", &api, "--proxy", &proxy]).args(cluster).output()
}

fn api_of(site: &Site, host: &str) -> String {
    format!("{host}:{}", site.gateway.api().port())
}

#[test]
fn a_login_says_that_entries_were_for_another_host() {
    let two = TwoClusters::new();
    entries_of_work(&two);
    let (work, lab) = (api_of(&two.work, "127.0.0.1"), api_of(&two.lab, "localhost"));
    let moved = format!("the entries of cluster default were for the Host at {work}; from now on they are for {lab}");
    log_in_to_lab_as(&two, &[]).succeeds().says(&[&moved]);
    log_in_to_lab_as(&two, &[]).succeeds().check(true, "an end");
}

#[test]
fn the_names_without_a_cluster_are_of_one_section_only() {
    let two = TwoClusters::new();
    entries_of_work(&two);
    let command = format!("`kohakuriver login 127.0.0.1 --port {} --cluster default`", two.work.gateway.api().port());
    let said = log_in_to_lab_as(&two, &["--cluster", "lab"]);
    said.succeeds().says(&["removed the entries of cluster default, for the Host at 127.0.0.1:", &command]);
    assert_eq!(two.section("default"), None);
    let api = format!("--host-api {}", api_of(&two.lab, "localhost"));
    for host in ["trainer.kohakuriver", "other.kohakuriver", "trainer.lab.kohakuriver"] {
        let options = two.options(host);
        assert!(options.contains(&api) && !options.contains(".ssh/id-kohakuriver-7"), "{host}\n{options}");
    }
    // The two of them beside each other.
    two.log_in_to_work().args(["--cluster", "default"]).output().succeeds();
    two.leads_to("trainer.default.kohakuriver", &two.work);
    two.leads_to("trainer.lab.kohakuriver", &two.lab);
}

#[test]
fn keys_of_the_first_cluster_are_offered_to_no_other_default_one() {
    let two = TwoClusters::logged_in();
    // The id that both clusters have.
    fs::remove_file(two.home.join(&format!(".ssh/id-kohakuriver-lab-{ID}"))).unwrap();
    two.run(&["cluster", "use", "lab"]).output().succeeds();
    let key = format!("id-kohakuriver-{ID}");
    for host in ["trainer.kohakuriver", &format!("{ID}.kohakuriver"), "trainer.lab.kohakuriver"] {
        assert!(!two.options(host).contains(&key), "{host}");
    }
    assert!(two.options("trainer.default.kohakuriver").contains(&key));
    let dry = two.run(&["vps", "connect", "--dry-run", "trainer"]).output();
    dry.succeeds().check(!dry.text().contains(&key), "another key");
    // Without a cluster of the old name, they are the default one's.
    two.run(&["cluster", "remove", "default"]).output().succeeds();
    let dry = two.run(&["vps", "connect", "--dry-run", "trainer"]).output();
    dry.succeeds().check(dry.text().contains(&key), "the key");
}

#[test]
fn hints_about_clusters() {
    let two = TwoClusters::logged_in();
    two.run(&["vps", "status", "other.lab"])
        .output()
        .exits(1)
        .says(&["there is no VPS other.lab", "name a VPS of another cluster in this way: `other.lab.kohakuriver`"]);
    // Nothing is wrong with the file.
    for doctor in [
        two.run(&["doctor", "--cluster", "nowhere"]),
        Run::new(CLI, &two.home).args(["doctor"]).env("KOHAKURIVER_CLUSTER", "nowhere"),
    ] {
        let said = doctor.output();
        said.exits(1).check(said.text().contains("`nowhere`") && !said.text().contains(".broken"), "no `mv`");
        said.check(said.text().contains("\n          kohakuriver cluster list\n"), "a command");
    }
}

#[test]
fn a_question_about_a_vps_names_its_cluster() {
    let two = TwoClusters::logged_in();
    let mut stop = Terminal::with_status(&two.home, "dumb", "--cluster lab vps stop trainer");
    stop.sees(&format!("cluster lab: Stop VPS {ID} (trainer)? A stopped VPS can't be started again. [y/N] "));
    stop.types("n\r");
    stop.sees("nothing was done");
    stop.sees("status=1");
    stop.finish();
    let mut list = Terminal::with_status(&two.home, "xterm", "--cluster lab vps connect");
    list.sees("cluster lab: Connect to which VPS?");
    list.sees("\x1b[?25h");
    list.types("\x1b");
    list.sees("status=");
    list.finish();
}

#[test]
fn a_rename_says_what_it_does() {
    let two = TwoClusters::logged_in();
    let key = |word: &str| two.home.join(&format!(".ssh/id-kohakuriver-{word}{ID}")).display().to_string();
    let said = two.run(&["cluster", "rename", "default", "work"]).output();
    said.succeeds().says(&[&format!("{} is called {}, too", key(""), key("work-"))]);
    said.check(!said.stderr.contains("removed the entries"), "its entries have a new name");
    two.run(&["cluster", "rename", "lab", "home"]).output().succeeds().says(&[&format!(
        "{} is called {} now",
        key("lab-"),
        key("home-")
    )]);
}

#[test]
fn a_refresh_does_not_make_another_cluster_the_default_one_of_ssh() {
    let two = TwoClusters::logged_in();
    // As of a command that began before `cluster use`, or of an editor.
    let config = two.home.read(CONFIG);
    two.run(&["cluster", "use", "lab"]).output().succeeds();
    two.home.write(CONFIG, config);
    let conf = two.home.read(".ssh/kohakuriver.conf");
    two.run(&["ssh", "config", "--sync", "--all-clusters"]).output().succeeds();
    assert_eq!(two.home.read(".ssh/kohakuriver.conf"), conf);
    two.leads_to("trainer.kohakuriver", &two.lab);
    // A user's command does.
    two.run(&["ssh", "config", "--write"]).output().succeeds().says(&["removed the entries of cluster lab"]);
    two.leads_to("trainer.kohakuriver", &two.work);
    two.run(&["ssh", "config", "--write", "--all-clusters"]).output().succeeds();
}

#[test]
fn the_only_entries_may_be_those_of_another_cluster_than_the_default_one() {
    let two = TwoClusters::logged_in();
    let unread = "ssh does not read our entries";
    let said = two.run(&["ssh", "config", "--remove"]).output();
    said.succeeds().check(!said.stderr.contains(unread), "it reads those of lab");
    two.leads_to("trainer.lab.kohakuriver", &two.lab);
    // The user's own way to include them is enough.
    let own = format!("Include {}/.ssh/*.conf\n", two.home.path().display());
    two.home.write(".ssh/config", &own);
    let said = two.run(&["--cluster", "lab", "ssh", "config", "--write"]).output();
    said.succeeds().check(!said.stderr.contains(unread), "it reads them");
    assert_eq!(two.home.read(".ssh/config"), own);
}
