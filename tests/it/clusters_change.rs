//! `cluster use`, `rename` and `remove`, and what of one cluster is written or removed beside the other: no key is asked for
//! or accepted anew, and nothing of the other one changes.

use std::fs;

use serde_json::json;

use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::tools::{CLI, tool};
use crate::support::two_clusters::{CONFIG, DOTTED, TwoClusters};

/// A key of nobody.
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Both, with the host keys of both stored.
fn known() -> TwoClusters {
    let two = TwoClusters::logged_in();
    two.leads_to("trainer.kohakuriver", &two.work);
    two.leads_to("trainer.lab.kohakuriver", &two.lab);
    assert_eq!(two.known_hosts().len(), 2);
    two
}

#[test]
fn another_default_turns_the_names_round() {
    let two = known();
    let hosts = two.known_hosts();
    let said = two.run(&["cluster", "use", "lab"]).output();
    said.succeeds().prints_nothing().says(&["lab is the default cluster now", "changed "]);
    for (host, site) in [
        ("trainer.kohakuriver", &two.lab),
        ("trainer.lab.kohakuriver", &two.lab),
        ("trainer.default.kohakuriver", &two.work),
        (&format!("{ID}.kohakuriver"), &two.lab),
        (&format!("{ID}.default.kohakuriver"), &two.work),
        ("trainer.lab.default.kohakuriver", &two.work),
    ] {
        two.leads_to(host, site);
    }
    two.connect(&[], "trainer").arg("echo $HOME").output().succeeds().prints(&two.lab.says());
    two.connect(&["--cluster", "default"], "trainer").arg("echo $HOME").output().succeeds().prints(&two.work.says());
    // The one more key is that of the VPS which nobody had logged in to.
    let more = two.known_hosts();
    assert_eq!((more.len(), hosts.iter().all(|name| more.contains(name))), (3, true), "{more:?}");
    two.run(&["cluster", "use", "lab"]).output().succeeds().says(&["lab is the default cluster already"]);
    // And back.
    let conf = two.home.read(".ssh/kohakuriver.conf");
    two.run(&["cluster", "use", "default"]).output().succeeds();
    two.leads_to("trainer.kohakuriver", &two.work);
    two.leads_to("trainer.lab.kohakuriver", &two.lab);
    two.run(&["cluster", "use", "lab"]).output().succeeds();
    assert_eq!(two.home.read(".ssh/kohakuriver.conf"), conf);
    assert_eq!(two.known_hosts(), more);
    two.run(&["cluster", "use", "nowhere"]).output().exits(2).says(&["there is no cluster `nowhere`"]);
}

/// A name that only the wildcard matches has no alias in ssh_config, and the file of host keys has the other cluster's key
/// under that very name.
#[test]
fn another_default_and_a_vps_without_a_key_of_its_own() {
    let two = TwoClusters::new();
    for name in [format!("id-kohakuriver-{ID}"), format!("id-kohakuriver-{DOTTED}"), format!("id-kohakuriver-lab-{ID}")]
    {
        fs::remove_file(two.home.join(".ssh").join(name)).unwrap();
    }
    two.log_in_to_work().output().succeeds();
    two.log_in_to_lab().output().succeeds();
    let host = format!("{ID}.kohakuriver");
    let by_id = |key: &std::path::Path| two.ssh(&host).arg("-i").arg(key).arg("echo $HOME").output();
    by_id(&two.work.sshd.key).succeeds().prints(&two.work.says());
    two.run(&["cluster", "use", "lab"]).output().succeeds();
    // Twice: stored first, then known.
    for _ in 0..2 {
        by_id(&two.lab.sshd.key).succeeds().prints(&two.lab.says()).says_nothing();
    }
    two.run(&["cluster", "use", "default"]).output().succeeds();
    by_id(&two.work.sshd.key).succeeds().prints(&two.work.says()).says_nothing();
    assert_eq!(two.known_hosts().len(), 2);
}

#[test]
fn a_renamed_cluster_keeps_its_keys() {
    let two = known();
    let said = two.run(&["cluster", "rename", "lab", "home"]).output();
    said.succeeds()
        .prints_nothing()
        .says(&["the cluster lab is called home now", &format!("id-kohakuriver-home-{ID}")]);
    two.leads_to("trainer.home.kohakuriver", &two.lab);
    two.leads_to("trainer.kohakuriver", &two.work);
    let names = |end: &str| format!("kohakuriver-{ID}{end},{ID}{end}.kohakuriver");
    assert_eq!(two.known_hosts(), [names(""), names(".home")]);
    assert!(two.section("lab").is_none() && two.section("home").is_some());
    // `trainer.lab` is no longer two.
    two.leads_to("trainer.lab.kohakuriver", &two.work);

    // The one without a name gets one. The Python CLI's key keeps its name as well.
    two.run(&["cluster", "rename", "default", "work"]).output().succeeds().says(&["is called work now"]);
    for host in ["trainer.kohakuriver", "trainer.work.kohakuriver", &format!("{ID}.kohakuriver")] {
        two.leads_to(host, &two.work);
    }
    two.leads_to("trainer.home.kohakuriver", &two.lab);
    assert!(two.home.join(&format!(".ssh/id-kohakuriver-{ID}")).exists());
    let known = two.known_hosts();
    assert!(known.contains(&names(".work")) && known.contains(&names(".home")) && known.len() == 3, "{known:?}");
    let list = two.json(&["cluster", "list", "--json"]);
    assert_eq!(
        (&list[0]["name"], &list[0]["default"], &list[1]["name"]),
        (&json!("work"), &json!(true), &json!("home"))
    );
    two.run(&["cluster", "use", "home"]).output().succeeds();
    two.leads_to("trainer.kohakuriver", &two.lab);
    two.leads_to("trainer.work.kohakuriver", &two.work);

    let before = (two.home.read(CONFIG), two.home.read(".ssh/kohakuriver.conf"), two.known_hosts());
    for (old, new, text) in [
        ("home", "work", "there is a cluster `work` already"),
        ("lab", "x", "there is no cluster `lab`"),
        ("home", "..", "a cluster's name has lower-case letters"),
        ("home", "a.b", "a cluster's name has lower-case letters"),
        ("home", "a b", "a cluster's name has lower-case letters"),
    ] {
        two.run(&["cluster", "rename", old, new]).output().exits(2).prints_nothing().says(&[text]);
    }
    assert_eq!((two.home.read(CONFIG), two.home.read(".ssh/kohakuriver.conf"), two.known_hosts()), before);
}

#[test]
fn a_removed_cluster_leaves_the_other_one_alone() {
    let two = known();
    let said = two.run(&["cluster", "remove", "default"]).output();
    said.exits(2).says(&["default is the default cluster\n", "`kohakuriver cluster use NAME`"]);
    two.run(&["cluster", "remove", "lab"]).output().succeeds().says(&["removed the cluster lab", "changed "]);
    assert!(two.section("lab").is_none());
    two.leads_to("trainer.kohakuriver", &two.work);
    // Its host keys stay, for when it comes back.
    two.log_in_to_lab().output().succeeds();
    two.leads_to("trainer.lab.kohakuriver", &two.lab);
    assert_eq!(two.known_hosts().len(), 2);
    two.run(&["cluster", "remove", "lab"]).output().succeeds();
    two.run(&["cluster", "remove", "default"]).output().succeeds();
    assert!(!two.home.join(".ssh/kohakuriver.conf").exists() && !two.home.join(".ssh/config").exists());
    assert_eq!(two.home.json(CONFIG), json!({ "clusters": {} }));
    two.run(&["cluster", "remove", "lab"]).output().exits(2).says(&["there is no cluster `lab`"]);
}

/// The default cluster's section, without the patterns that leave names to the cluster `lab`.
fn without_lab(section: &str) -> String {
    section.replace(" !*.lab.kohakuriver", "").replace(",!*.lab.kohakuriver", "")
}

#[test]
fn entries_are_written_and_removed_for_each_cluster_alone() {
    let two = TwoClusters::new();
    two.log_in_to_work().output().succeeds();
    // Somebody's own line, which a refresh of these entries would lose, and nothing else.
    let conf =
        two.home.read(".ssh/kohakuriver.conf").replacen("    User root\n", "    User root\n    Compression yes\n", 1);
    two.home.write(".ssh/kohakuriver.conf", &conf);
    let config = two.home.read(".ssh/config");
    two.log_in_to_lab().output().succeeds();
    assert_eq!(without_lab(&two.section("default").unwrap()).trim_end(), two_section(&conf).trim_end());
    let lab = two.section("lab").unwrap();
    assert!(!lab.contains("Compression"), "{lab}");
    two.run(&["--cluster", "lab", "ssh", "config", "--remove"]).output().succeeds().says(&["changed "]);
    // The names stay the other cluster's: anybody could give a VPS of the default one such a name.
    let left = two.home.read(".ssh/kohakuriver.conf");
    assert!(left.contains("\nHost *.kohakuriver !*.lab.kohakuriver\n"), "{left}");
    assert_eq!(without_lab(&left), conf);
    assert_eq!(two.home.read(".ssh/config"), config);
    two.run(&["--cluster", "lab", "ssh", "config", "--remove"])
        .output()
        .succeeds()
        .says(&["there are no entries of lab"]);
    // The other way round.
    two.run(&["--cluster", "lab", "ssh", "config", "--write"]).output().succeeds();
    let lab = two.section("lab").unwrap();
    two.run(&["ssh", "config", "--remove"]).output().succeeds();
    assert_eq!(two.section("lab").unwrap().trim_end(), lab.trim_end());
    assert!(two.section("default").is_none());
    two.leads_to("trainer.lab.kohakuriver", &two.lab);
    two.run(&["--cluster", "lab", "ssh", "config", "--remove"]).output().succeeds();
    assert!(!two.home.join(".ssh/kohakuriver.conf").exists() && !two.home.join(".ssh/config").exists());
}

/// The default cluster's section of a file that has no other one.
fn two_section(conf: &str) -> &str {
    &conf[conf.find("\n# Cluster: default\n").unwrap()..]
}

/// `--diff` shows what `--write` does, and `--sync` refreshes the one that it is for.
#[test]
fn a_refresh_is_for_one_cluster() {
    let two = TwoClusters::logged_in();
    two.run(&["ssh", "config", "--write"]).output().succeeds();
    let before = two.home.read(".ssh/kohakuriver.conf");
    for args in [&["ssh", "config", "--diff"][..], &["--cluster", "lab", "ssh", "config", "--diff"]] {
        let diff = two.run(args).output();
        diff.succeeds().prints_nothing().says(&["nothing would change"]);
    }
    let mut inventory = crate::support::gateway::inventory(&[crate::support::gateway::running(ID, two.lab.sshd.port)]);
    inventory["vps"][0]["name"] = "renamed".into();
    two.lab.gateway.write_inventory(&inventory.to_string());
    two.lab.gateway.process.signal(rustix::process::Signal::HUP);
    let listed = || two.json(&["--cluster", "lab", "vps", "list", "--json"])[0]["name"] == "renamed";
    let end = std::time::Instant::now() + crate::support::run::DEADLINE;
    while !listed() {
        assert!(std::time::Instant::now() < end, "the gateway does not read its inventory");
    }
    two.run(&["ssh", "config", "--sync"]).output().succeeds().says_nothing();
    assert_eq!(two.home.read(".ssh/kohakuriver.conf"), before);
    two.run(&["--cluster", "lab", "ssh", "config", "--sync"]).output().succeeds().prints_nothing().says_nothing();
    let lab = two.section("lab").unwrap();
    assert!(lab.contains("\nHost renamed.lab.kohakuriver\n"), "{lab}");
    assert!(two.section("default").unwrap().contains("\nHost trainer.kohakuriver\n"));
}

#[test]
fn a_forgotten_host_key_is_that_of_one_cluster() {
    for (before, vps, left) in [
        (&[][..], "trainer.lab.kohakuriver", ""),
        (&["--cluster", "lab"], "trainer", ""),
        (&["--cluster", "lab"], ID, ""),
        (&[], "trainer", ".lab"),
        (&[], ID, ".lab"),
        (&[], "trainer.default.kohakuriver", ".lab"),
    ] {
        let two = known();
        two.run(before).args(["ssh", "forget", vps]).output().succeeds().says(&["removed the host key of VPS"]);
        assert_eq!(two.known_hosts(), [format!("kohakuriver-{ID}{left},{ID}{left}.kohakuriver")], "{before:?} {vps}");
        two.run(before).args(["ssh", "forget", vps]).output().succeeds().says(&["there is no stored host key"]);
    }
}

/// A key that changed is refused for that cluster alone, and the command that helps is about it.
#[test]
fn a_changed_key_is_refused_for_its_own_cluster() {
    let two = known();
    let text = two.home.read(".ssh/.kohakuriver_known_hosts");
    let changed: String = text
        .lines()
        .map(|line| match line.strip_prefix(&format!("kohakuriver-{ID}.lab,{ID}.lab.kohakuriver ")) {
            Some(_) => format!("kohakuriver-{ID}.lab,{ID}.lab.kohakuriver {OTHER}\n"),
            None => format!("{line}\n"),
        })
        .collect();
    assert_ne!(text, changed);
    two.home.write(".ssh/.kohakuriver_known_hosts", &changed);
    let forget = format!("kohakuriver --cluster lab ssh forget {ID}`");
    for host in ["trainer.lab.kohakuriver", &format!("{ID}.lab.kohakuriver")] {
        let refused = two.ssh(host).arg("true").output();
        refused.exits(255).says(&[&format!("the host key of VPS {ID} has changed"), "cluster lab: ", &forget]);
    }
    two.connect(&["--cluster", "lab"], "trainer").arg("true").output().exits(255).says(&[" has changed\n", &forget]);
    two.leads_to("trainer.kohakuriver", &two.work);
    two.run(&["--cluster", "lab", "ssh", "forget", ID]).output().succeeds();
    two.leads_to("trainer.lab.kohakuriver", &two.lab);
}

/// The entries are of another Host than the command: it is said, and nothing is written.
#[test]
fn entries_of_another_host_are_never_replaced_silently() {
    let two = TwoClusters::new();
    two.log_in_to_work().output().succeeds();
    let (files, port) = (
        || {
            [".ssh/kohakuriver.conf", ".ssh/config", ".ssh/.kohakuriver-openssh-8.7.conf"]
                .map(|name| two.home.read(name))
        },
        two.lab.gateway.api().port().to_string(),
    );
    let before = files();
    for (args, env) in [
        (&["-H", "localhost", "-P", &port, "ssh", "config"][..], &[][..]),
        (&["ssh", "config"], &[("KOHAKURIVER_HOST", "localhost"), ("KOHAKURIVER_PORT", &port)]),
    ] {
        for form in ["--write", "--diff"] {
            let run = env.iter().fold(two.run(args), |run, (name, value)| run.env(name, value));
            let said = run.arg(form).output();
            said.check_fails().says(&[" is none of your clusters\n", "login localhost --cluster NAME"]);
        }
        let run = env.iter().fold(two.run(args), |run, (name, value)| run.env(name, value));
        run.arg("--sync").output().succeeds().prints_nothing().says_nothing();
        assert_eq!(files(), before);
    }
    // With the name of the cluster, and with a port that is another's.
    for args in [
        &["--cluster", "default", "-H", "localhost", "-P", &port][..],
        &["-P", &port],
        &["-H", "127.0.0.1", "-P", &port],
    ] {
        two.run(args).args(["ssh", "config", "--write"]).output().check_fails();
        assert_eq!(files(), before, "{args:?}");
    }
    // No cluster is set up: the entries alone tell.
    fs::remove_file(two.home.join(CONFIG)).unwrap();
    let said = two.run(&["-H", "localhost", "-P", &port, "ssh", "config", "--write"]).output();
    said.exits(1).says(&["the entries of cluster default are for the Host at 127.0.0.1:", "ssh config --remove"]);
    assert_eq!(files(), before);
    // Printed or written elsewhere, they disturb nobody.
    two.run(&["-H", "localhost", "-P", &port, "ssh", "config"]).output().succeeds();
    let end = ["-o", "elsewhere"];
    two.run(&["-H", "localhost", "-P", &port, "ssh", "config"]).args(end).output().succeeds();
    assert_eq!(files(), before);
    let text = Run::new(tool("ssh"), &two.home).args(["-G", "-F", "elsewhere", "x.kohakuriver"]).output();
    text.succeeds().check(text.text().contains(&format!("localhost:{port}")), "the other Host");
    // Once they are gone, they may be anybody's.
    Run::new(CLI, &two.home).args(["ssh", "config", "--remove"]).output().succeeds();
    two.run(&["-H", "localhost", "-P", &port, "ssh", "config", "--write"]).output().succeeds();
}
