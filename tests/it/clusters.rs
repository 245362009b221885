//! Two clusters at once: each name leads to its own VPS, though the other cluster has one of the same name and the same id.

use std::fs;
use std::thread;

use serde_json::{Value, json};

use crate::support::run::Outcome;
use crate::support::scene::ID;
use crate::support::tools::user;
use crate::support::two_clusters::{DOTTED, Site, TwoClusters, WHERE, json_of};

/// The names of both VPSes, where `work` is the default cluster under its own name.
#[track_caller]
fn each_name_leads_to_its_own(two: &TwoClusters) {
    let TwoClusters { work, lab, .. } = two;
    for (host, site) in [
        ("trainer.kohakuriver", work),
        ("trainer.lab.kohakuriver", lab),
        ("trainer.default.kohakuriver", work),
        (&format!("{ID}.kohakuriver"), work),
        (&format!("{ID}.lab.kohakuriver"), lab),
        (&format!("{ID}.default.kohakuriver"), work),
        ("TRAINER.Lab.KohakuRiver", lab),
        ("trai.lab.kohakuriver", lab),
    ] {
        two.leads_to(host, site);
    }
}

#[test]
fn from_nothing_to_ssh_in_either_order() {
    for lab_first in [false, true] {
        let two = TwoClusters::new();
        let (work, lab) = (|| two.log_in_to_work().output(), || two.log_in_to_lab().output());
        let [work_said, lab_said] = if lab_first {
            let said = lab();
            // The first one is the default one, whatever its name.
            two.leads_to("trainer.kohakuriver", &two.lab);
            two.run(&["cluster", "list"]).output().succeeds();
            let port = two.work.gateway.api().port().to_string();
            let proxy = two.work.gateway.address.to_string();
            // Another Host needs a name.
            let at = ["login", "127.0.0.1", "--port", &port, "--proxy", &proxy];
            two.run(&at)
                .output()
                .exits(2)
                .prints_nothing()
                .says(&["127.0.0.1 is none of your clusters", "--cluster NAME"]);
            let work = two.run(&at).args(["--cluster", "default"]).output();
            work.succeeds();
            two.run(&["cluster", "use", "default"]).output().succeeds().says(&["default is the default cluster now"]);
            [work, said]
        } else {
            [work(), lab()]
        };
        for said in [&work_said, &lab_said] {
            said.succeeds().prints_nothing().says(&["has no users, so no login is needed\n", " is stored in "]);
            said.check(!said.stderr.contains('?'), "no question");
        }
        if !lab_first {
            work_said.says(&["connect with `ssh NAME.kohakuriver`"]);
        }
        each_name_leads_to_its_own(&two);
        let one = |end: &str| format!("kohakuriver-{ID}{end},{ID}{end}.kohakuriver");
        assert_eq!(two.known_hosts(), [one(""), one(".lab")]);
        // The section of the one that came first does not know the other one yet.
        two.run(&["ssh", "config", "--write"]).output().succeeds();
        each_name_leads_to_its_own(&two);
        // The list for IDEs has all.
        let conf = two.home.read(".ssh/kohakuriver.conf");
        for host in ["trainer.kohakuriver", "trainer.lab.kohakuriver"] {
            assert!(conf.lines().any(|line| line == format!("Host {host}")), "{host}\n{conf}");
        }
        // Written again, in either order, it is the same.
        for args in [&["--cluster", "lab", "ssh", "config", "--write"][..], &["ssh", "config", "--write"]] {
            two.run(args).output().succeeds().says(&["nothing to change"]);
        }
        assert_eq!(two.home.read(".ssh/kohakuriver.conf"), conf);
    }
}

#[test]
fn a_cluster_is_where_a_command_says() {
    let two = TwoClusters::logged_in();
    let site = |site: &Site, host| (site.api_at(host), site.gateway.address.port());
    let ((work_api, work_port), (lab_api, lab_port)) = (site(&two.work, "127.0.0.1"), site(&two.lab, "localhost"));
    assert_eq!(
        two.json(&["cluster", "list", "--json"]),
        json!([
            { "name": "default", "default": true, "host_api": work_api, "ssh_proxy": format!("127.0.0.1:{work_port}"),
              "logged_in": false, "username": null },
            { "name": "lab", "default": false, "host_api": lab_api, "ssh_proxy": format!("127.0.0.1:{lab_port}"),
              "logged_in": false, "username": null },
        ])
    );
    let list = two.run(&["cluster", "list"]).output();
    list.succeeds().check(list.text().lines().count() == 3, "a head and two clusters");

    // Which Host a list is of.
    let names = |args: &[&str]| -> Vec<String> {
        let listed = two.json(args);
        listed.as_array().unwrap().iter().map(|vps| vps["name"].as_str().unwrap().to_owned()).collect()
    };
    let (work, lab) = (vec!["trainer".to_owned(), "trainer.lab".to_owned()], vec!["trainer".to_owned()]);
    let sorted = |args: &[&str]| {
        let mut names = names(args);
        names.sort();
        names
    };
    assert_eq!(sorted(&["vps", "list", "--json"]), work);
    assert_eq!(sorted(&["vps", "list", "--cluster", "lab", "--json"]), lab);
    let by_variable = |name: &str, value: &str| json_of(&two.run(&["vps", "list", "--json"]).env(name, value).output());
    assert_eq!(by_variable("KOHAKURIVER_CLUSTER", "lab").as_array().unwrap().len(), 1);
    assert_eq!(by_variable("KOHAKURIVER_CLUSTER", "default").as_array().unwrap().len(), 2);
    // A Host that is one of them brings its ports.
    assert_eq!(by_variable("KOHAKURIVER_HOST", "localhost").as_array().unwrap().len(), 1);
    assert_eq!(sorted(&["-H", "localhost", "vps", "list", "--json"]), lab);
    let all = two.json(&["vps", "list", "--all-clusters", "--json"]);
    let mut of: Vec<(&str, &str)> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|vps| (vps["cluster"].as_str().unwrap(), vps["name"].as_str().unwrap()))
        .collect();
    of.sort_unstable();
    assert_eq!(of, [("default", "trainer"), ("default", "trainer.lab"), ("lab", "trainer")]);
    let table = two.run(&["vps", "list", "--all-clusters"]).output();
    table.succeeds().check(table.text().lines().filter(|line| line.starts_with("lab ")).count() == 1, "one of lab");
    two.run(&["vps", "list", "--all-clusters", "--cluster", "lab"]).output().exits(2);
    // Without `--all-clusters`, the JSON is what it was.
    let own = two.json(&["vps", "list", "--json"]);
    assert!(own.as_array().unwrap().iter().all(|vps| vps.get("cluster").is_none()), "{own}");
}

#[test]
fn each_form_of_connect_reaches_its_own_cluster() {
    let two = TwoClusters::logged_in();
    let TwoClusters { work, lab, .. } = &two;
    for (before, vps, site) in [
        (&[][..], "trainer", work),
        (&[], "trainer.kohakuriver", work),
        (&[], ID, work),
        (&[], "trainer.lab.kohakuriver", lab),
        (&[], "TRAINER.lab.kohakuriver", lab),
        (&[], &format!("{ID}.lab.kohakuriver"), lab),
        (&["--cluster", "lab"], "trainer", lab),
        (&["--cluster", "lab"], "trainer.lab.kohakuriver", lab),
        (&["--cluster", "lab"], ID, lab),
        (&["--cluster", "default"], "trainer", work),
        (&["-H", "localhost"], "trainer", lab),
        (&[], "trainer.lab", work),
        (&[], "trainer.lab.default.kohakuriver", work),
        (&[], DOTTED, work),
    ] {
        two.connect(before, vps).arg(WHERE).output().succeeds().prints(&site.says()).says_nothing();
    }
    let by_variable = two.connect(&[], "trainer").arg(WHERE).env("KOHAKURIVER_CLUSTER", "lab").output();
    by_variable.succeeds().prints(&lab.says());
    // Host keys of both, and no name of the one for the other's.
    assert_eq!(
        two.known_hosts(),
        [
            format!("kohakuriver-{DOTTED},{DOTTED}.kohakuriver"),
            format!("kohakuriver-{ID},{ID}.kohakuriver"),
            format!("kohakuriver-{ID}.lab,{ID}.lab.kohakuriver"),
        ]
    );
    let none = two.connect(&[], "trainer.elsewhere.kohakuriver").output();
    none.exits(255).says(&["there is no VPS trainer.elsewhere"]);
    none.says(&["kohakuriver: cluster default: "]);
    let none = two.connect(&["--cluster", "lab"], "trainer.lab").output();
    none.exits(255)
        .says(&["kohakuriver: cluster lab: there is no VPS trainer.lab", "kohakuriver --cluster lab vps list"]);
    // Of two clusters at a time.
    let mixed = two.run(&["vps", "cp", "trainer.lab.kohakuriver:a", "trainer.default.kohakuriver:b"]).output();
    mixed.check_cluster_mix();
}

impl Outcome {
    #[track_caller]
    fn check_cluster_mix(&self) {
        self.check(matches!(self.status.code(), Some(2 | 255)), "a usage error").prints_nothing();
        self.says(&["several clusters"]);
    }
}

/// `trainer` of the cluster `lab` has the shorter name; the VPS `trainer.lab` of the default one stays reachable.
#[test]
fn a_name_that_ends_like_a_cluster_stays_reachable() {
    let two = TwoClusters::logged_in();
    for host in
        ["trainer.lab.default.kohakuriver", &format!("{DOTTED}.kohakuriver"), &format!("{DOTTED}.default.kohakuriver")]
    {
        two.leads_to(host, &two.work);
    }
    two.leads_to("trainer.lab.kohakuriver", &two.lab);
    let written = two.run(&["ssh", "config"]).output();
    written.succeeds().says(&[&format!(
        "VPS {DOTTED} is listed as {DOTTED}.kohakuriver: `trainer.lab` ends like the name of a cluster"
    )]);
}

/// Names that look like something else.
#[test]
fn a_cluster_may_be_called_like_a_vps_or_a_domain() {
    let two = TwoClusters::new();
    two.log_in_to_work().output().succeeds();
    let (api, proxy) = (two.lab.gateway.api().port().to_string(), two.lab.gateway.address.to_string());
    let lab_key = two.home.join(&format!(".ssh/id-kohakuriver-lab-{ID}"));
    for name in ["42", "kohakuriver", "vps", "trainer", &"x".repeat(63)] {
        fs::copy(&lab_key, two.home.join(&format!(".ssh/id-kohakuriver-{name}-{ID}"))).unwrap();
        let login = ["login", "localhost", "--cluster", name, "--port", &api, "--proxy", &proxy];
        two.run(&login).output().succeeds();
        for host in [format!("trainer.{name}.kohakuriver"), format!("{ID}.{name}.kohakuriver")] {
            two.leads_to(&host, &two.lab);
            two.connect(&[], &host).arg(WHERE).output().succeeds().prints(&two.lab.says());
        }
        two.leads_to("trainer.kohakuriver", &two.work);
        two.leads_to(&format!("{ID}.kohakuriver"), &two.work);
        two.leads_to("trainer.default.kohakuriver", &two.work);
    }
    // In another case, too: ssh writes host names in lower case.
    two.leads_to("Trainer.Trainer.KohakuRiver", &two.lab);
    let names = two.known_hosts();
    assert_eq!(names.len(), 6, "{names:?}");
    for name in ["kohakuriver", "vps", "42", "trainer"] {
        two.run(&["cluster", "remove", name]).output().succeeds();
        two.leads_to("trainer.kohakuriver", &two.work);
    }
}

/// A key of the one cluster is never offered to the other one's VPSes.
#[test]
fn each_cluster_gets_its_own_keys_only() {
    let two = TwoClusters::logged_in();
    two.run(&["ssh", "config", "--write"]).output().succeeds();
    let key = |name: &str| two.home.join(&format!(".ssh/id-kohakuriver-{name}")).display().to_string();
    let (work, dotted, lab) = (key(ID), key(DOTTED), key(&format!("lab-{ID}")));
    for (host, own) in [
        ("trainer.kohakuriver", vec![&work]),
        ("trainer.default.kohakuriver", vec![&work, &dotted]),
        ("trainer.lab.kohakuriver", vec![&lab]),
        ("TRAINER.lab.kohakuriver", vec![&lab]),
        ("trai.lab.kohakuriver", vec![&lab]),
        (&format!("{ID}.lab.kohakuriver"), vec![&lab]),
        (&format!("kohakuriver-{ID}.lab.kohakuriver"), vec![&lab]),
        (&format!("{ID}.kohakuriver"), vec![&work]),
        (&format!("{DOTTED}.kohakuriver"), vec![&dotted]),
        ("other.lab.kohakuriver", vec![]),
        (&format!("{DOTTED}.lab.kohakuriver"), vec![]),
    ] {
        let options = two.options(host);
        let mut offered: Vec<&str> = options.lines().filter_map(|line| line.strip_prefix("identityfile ")).collect();
        offered.retain(|key| key.contains("id-kohakuriver-"));
        assert!(own.iter().all(|key| offered.contains(&key.as_str())), "{host}: {offered:?}");
        assert!(offered.iter().all(|key| own.iter().any(|own| own == key)), "{host}: {offered:?}");
        let alias = options.lines().find_map(|line| line.strip_prefix("hostkeyalias ")).unwrap_or_default();
        assert!(alias.is_empty() || alias.ends_with(".lab") == host.contains(".lab."), "{host}: {alias}");
    }
}

#[test]
fn scp_to_both_at_once() {
    let two = TwoClusters::logged_in();
    let path = |name: &str| two.home.join(name).display().to_string();
    for name in ["work", "lab"] {
        two.home.write(&format!("from/{name}"), name);
    }
    fs::create_dir(two.home.join("to")).unwrap();
    // In parallel, many times: whoever stores a key first disturbs nobody.
    thread::scope(|scope| {
        for number in 0..3 {
            for (name, host) in [("work", "trainer.kohakuriver"), ("lab", "trainer.lab.kohakuriver")] {
                let run = two
                    .client("scp")
                    .arg(path(&format!("from/{name}")))
                    .arg(format!("{host}:{}", path(&format!("to/{name}-{number}"))));
                scope.spawn(move || {
                    run.output().succeeds().says_nothing();
                });
            }
        }
    });
    for number in 0..3 {
        for name in ["work", "lab"] {
            assert_eq!(two.home.read(&format!("to/{name}-{number}")), name);
        }
    }
    assert_eq!((two.work.sshd.connections() >= 3, two.lab.sshd.connections() >= 3), (true, true));
    assert_eq!((two.work.sshd.connections(), two.lab.sshd.connections()), (3, 3));
    // From the one to the other.
    let both = two.client("scp").arg("-3").arg(format!("trainer.kohakuriver:{}", path("from/work")));
    both.arg(format!("trainer.lab.kohakuriver:{}", path("to/across"))).output().succeeds();
    assert_eq!(two.home.read("to/across"), "work");
    // By our own command.
    let to = |host: &str, name: &str| format!("{host}:{}", path(name));
    for (before, host, site) in [
        (&[][..], "trainer.lab.kohakuriver", &two.lab),
        (&["--cluster", "lab"], "trainer", &two.lab),
        (&[], "trainer", &two.work),
    ] {
        let before_it = site.sshd.connections();
        let run = two.run(before).args(["vps", "cp", "--user", user(), &path("from/lab"), &to(host, "to/copied")]);
        run.output().succeeds();
        assert_eq!(site.sshd.connections(), before_it + 1, "{host}");
    }
}

/// Another command for each group: what is shown is of the cluster that was named, and a failure names it.
#[test]
fn other_commands_are_about_the_cluster_that_is_named() {
    let two = TwoClusters::logged_in();
    let id = |args: &[&str]| two.json(args)["task_id"].clone();
    assert_eq!(id(&["vps", "status", "trainer.lab.kohakuriver", "--json"]), ID);
    assert_eq!(id(&["vps", "status", "trainer.lab", "--json"]), DOTTED);
    two.run(&["--cluster", "lab", "vps", "status", DOTTED]).output().exits(1).says(&["cluster lab: there is no VPS"]);
    two.run(&["vps", "status", "nobody"])
        .output()
        .exits(1)
        .says(&["kohakuriver: cluster default: there is no VPS nobody"]);
    two.run(&["--cluster", "lab", "node", "list"]).output().succeeds();
    let shown = |args: &[&str]| -> Value { two.json(args)["host"]["value"].clone() };
    assert_eq!(shown(&["config", "show", "--json"]), "127.0.0.1");
    assert_eq!(shown(&["--cluster", "lab", "config", "show", "--json"]), "localhost");
    let status = two.run(&["--cluster", "lab", "auth", "status"]).output();
    status.succeeds().check(status.text().contains(&two.lab.api_at("localhost")), "its Host");
    two.run(&["--cluster", "nowhere", "vps", "list"]).output().exits(2).says(&[
        "there is no cluster `nowhere`\n  caused by: config.json has: default, lab\n",
        "hint: `kohakuriver login HOST --cluster nowhere` adds it\n",
    ]);
    // The one is gone: the other is still listed, and that is said.
    let TwoClusters { home, work, lab } = two;
    drop(lab);
    let two = TwoClusters { home, lab: Site::with(&[]), work };
    let all = two.run(&["vps", "list", "--all-clusters"]).output();
    all.exits(1).says(&["kohakuriver: cluster lab: cannot list the VPSes\n"]);
    all.check(all.text().contains(DOTTED), "the default one's VPSes");
}

/// Plain ssh to one of several clusters: the helper names the cluster in its messages.
#[test]
fn the_helper_names_the_cluster_that_it_fails_for() {
    let two = TwoClusters::logged_in();
    for (host, cluster) in [("nobody.lab.kohakuriver", "lab"), ("nobody.kohakuriver", "default")] {
        let outcome = two.ssh(host).output();
        outcome.exits(255).says(&[&format!("cluster {cluster}: there is no VPS nobody")]);
    }
}
