//! Clusters that can't be: names, files and Hosts that are wrong, and disks that are full. Each is a clear error, and the
//! files are as they were.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::support::gateway::running;
use crate::support::home::Home;
use crate::support::host_api::plain_host_api;
use crate::support::life_host::{LifeHost, OPERATOR, vps};
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::tools::{CLI, HELPER, sh_quote, tool};
use crate::support::two_clusters::{CONFIG, TwoClusters, WHERE};

/// The content of each file of a home.
fn files(home: &Home) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![home.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            // Names of VPSes for completion.
            if entry.file_name() == ".cache" {
                continue;
            }
            match entry.metadata().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => drop(found.insert(entry.path(), String::from_utf8(fs::read(entry.path()).unwrap()).unwrap())),
            }
        }
    }
    found
}

/// Commands that read the configuration, and those that change it.
const COMMANDS: [&[&str]; 12] = [
    &["vps", "list"],
    &["cluster", "list"],
    &["vps", "list", "--all-clusters"],
    &["--cluster", "lab", "vps", "list"],
    &["vps", "connect", "trainer"],
    &["ssh", "config", "--write"],
    &["auth", "status"],
    &["cluster", "use", "lab"],
    &["cluster", "rename", "lab", "home"],
    &["cluster", "remove", "lab"],
    &["login", "127.0.0.1", "--cluster", "new"],
    &["--cluster", "lab", "config", "show"],
];

#[test]
fn a_configuration_that_can_not_be_meant_is_an_error() {
    for (text, said) in [
        (r#"{"host":"a","clusters":{"lab":{"host":"b"},"lab":{"host":"c"}}}"#, "two clusters are called `lab`"),
        (r#"{"default_cluster":"lab","host":"a","clusters":{"lab":{"host":"b"}}}"#, "the cluster `lab` is there twice"),
        (r#"{"host":"a","clusters":{"default":{"host":"b"}}}"#, "the cluster `default` is there twice"),
        (r#"{"clusters":{"..":{"host":"b"}}}"#, "`..` can't be a cluster's name"),
        (r#"{"clusters":{"a.b":{"host":"b"}}}"#, "`a.b` can't be a cluster's name"),
        (r#"{"clusters":{"a b":{"host":"b"}}}"#, "`a b` can't be a cluster's name"),
        (r#"{"clusters":{"":{"host":"b"}}}"#, "`` can't be a cluster's name"),
        (r#"{"clusters":{"Lab":{"host":"b"}}}"#, "`Lab` can't be a cluster's name"),
        (r#"{"clusters":{"../../x":{"host":"b"}}}"#, "`../../x` can't be a cluster's name"),
        (
            r#"{"default_cluster":"gone","clusters":{"lab":{"host":"b"}}}"#,
            "`default_cluster` is `gone`, but there is no such",
        ),
        (r#"{"default_cluster":"..","host":"b"}"#, "`..` can't be a cluster's name"),
        (r#"{"default_cluster":7}"#, "`default_cluster` must be a string"),
        (r#"{"clusters":[]}"#, "`clusters` must be an object"),
        (r#"{"clusters":{"lab":"b"}}"#, "`clusters.lab` must be an object"),
        (r#"{"clusters":{"lab":{}}}"#, "`clusters.lab.host` must be there"),
        (r#"{"clusters":{"lab":{"host":"b","port":0}}}"#, "`clusters.lab.port` must be a TCP port"),
    ] {
        let home = Home::new();
        let path = home.write(CONFIG, text);
        let before = files(&home);
        for args in COMMANDS {
            let outcome = Run::new(CLI, &home).args(args).output();
            let status = if args[1] == "connect" { 255 } else { 2 };
            outcome.exits(status).prints_nothing().within(10);
            outcome.says(&[&path.display().to_string(), said, "  hint: "]);
            assert_eq!(files(&home), before, "{text} {args:?}");
        }
        // A command that changes one setting loses nothing that it does not understand.
        let set = Run::new(CLI, &home).args(["config", "set", "log_file", "/tmp/log"]).output();
        set.check_fails().says(&[said]);
        assert_eq!(files(&home), before, "{text}");
        let helper = Run::new(HELPER, &home).args(["trainer.kohakuriver", "22"]).output();
        helper.check_fails().says(&[said]);
        // Completion is silent.
        Run::new(CLI, &home).completing(&["--cluster", ""]).output().succeeds().says_nothing();
    }
}

/// Names that can't be one, wherever they are given.
#[test]
fn an_impossible_name_is_refused_everywhere() {
    let home = Home::new();
    home.write(CONFIG, r#"{"host":"127.0.0.1","clusters":{"lab":{"host":"b"}}}"#);
    let before = files(&home);
    let long = "x".repeat(64);
    for name in ["..", ".", "a.b", "a b", "", " ", "Lab", "-a", "a-", "a/b", "../x", "ä", "a\nb", &long] {
        for args in [
            vec!["login", "127.0.0.1", "--yes"],
            vec!["vps", "list"],
            vec!["ssh", "config", "--write"],
            vec!["config", "set", "host", "x"],
        ] {
            let flag = format!("--cluster={name}");
            let outcome = Run::new(CLI, &home).arg(&flag).args(&args).output();
            outcome.exits(2).prints_nothing().says(&["  hint: "]);
            if !name.is_empty() && !name.contains('\n') {
                outcome.says(&["a cluster's name has lower-case letters, digits and `-` only"]);
            }
        }
        for args in [["cluster", "use", name], ["cluster", "remove", name]] {
            Run::new(CLI, &home).args(["cluster", args[1], "--", name]).output().exits(2).prints_nothing();
        }
        Run::new(CLI, &home).args(["cluster", "rename", "--", "lab", name]).output().exits(2).prints_nothing();
        if !name.is_empty() {
            let of_env = Run::new(CLI, &home).args(["vps", "list"]).env("KOHAKURIVER_CLUSTER", name).output();
            of_env.exits(2).prints_nothing().says(&["KOHAKURIVER_CLUSTER is `", "unset KOHAKURIVER_CLUSTER"]);
            let helper = Run::new(HELPER, &home).arg(format!("--cluster={name}")).args([ID, "22"]).output();
            helper.exits(2).prints_nothing();
        }
        assert_eq!(files(&home), before, "{name:?}");
    }
}

#[test]
fn no_default_among_several_is_said_with_the_way_out() {
    let two = TwoClusters::logged_in();
    let mut config = two.home.json(CONFIG);
    let at = config["host"].clone();
    for key in ["host", "port", "ssh_proxy_port"] {
        config.as_object_mut().unwrap().remove(key);
    }
    config["clusters"]["work"] = json!({ "host": at, "port": two.work.gateway.api().port() });
    two.home.write(CONFIG, config.to_string());
    let said = two.run(&["vps", "list"]).output();
    said.exits(2).says(&["none of your clusters is the default one", "config.json has: lab, work", "cluster use NAME"]);
    two.run(&["--cluster", "lab", "vps", "list"]).output().succeeds();
    two.run(&["vps", "list", "--all-clusters"]).output().succeeds();
    two.run(&["cluster", "list"]).output().succeeds();
    // The entries in ssh_config are complete, so ssh needs no default cluster.
    two.leads_to("trainer.lab.kohakuriver", &two.lab);
    two.run(&["cluster", "use", "lab"]).output().succeeds();
    two.run(&["vps", "list"]).output().succeeds();
}

/// The configuration is read again when it is written: what somebody has changed meanwhile stays.
#[test]
fn what_an_editor_writes_during_a_login_stays() {
    let host = LifeHost::with_users(vps("running", "docker", 22022));
    let port = host.peer.address.port().to_string();
    for (edited, is_usable) in [
        (r#"{"host":"127.0.0.1","log_file":"/tmp/new.log","clusters":{"other":{"host":"c"}}}"#, true),
        (r#"{"host":"127.0.0.1","clusters":{"other":{"host":"c"},"other":{"host":"d"}}}"#, false),
        ("{ half of it", false),
    ] {
        let home = Home::new();
        home.write(CONFIG, r#"{"host":"127.0.0.1"}"#);
        host.change(|state| state.requests.clear());
        let held = host.hold("/api/auth/me");
        let login = ["login", "localhost", "--cluster", "lab", "--port", &port, "--token-stdin"];
        let process = Run::new(CLI, &home).args(login).stdin(OPERATOR).start();
        host.was_asked_for("/api/auth/me");
        home.write(CONFIG, edited);
        drop(held);
        let outcome = process.finish();
        if !is_usable {
            outcome.check_fails().says(&["  hint: "]);
            assert_eq!(fs::read_to_string(home.join(CONFIG)).unwrap(), edited);
            assert!(!home.join(".ssh").exists() && !home.join(".kohakuriver/auth.json").exists());
            let tokens = home.read(".kohakuriver/tokens.json");
            assert!(!tokens.contains(OPERATOR), "{tokens}");
            continue;
        }
        outcome.succeeds();
        let after = home.json(CONFIG);
        assert_eq!(
            (&after["log_file"], &after["clusters"]["other"]),
            (&json!("/tmp/new.log"), &json!({ "host": "c" }))
        );
        assert_eq!(after["clusters"]["lab"]["host"], "localhost");
    }
}

/// A file that can't grow fails a write in its middle, as a full disk does.
fn on_a_full_disk(home: &Home, args: &[&str]) -> Run {
    let words: Vec<String> = args.iter().map(|word| sh_quote(word)).collect();
    let script = format!("trap '' XFSZ; ulimit -f 1; exec {} {}", sh_quote(CLI), words.join(" "));
    Run::new(tool("sh"), home).arg("-c").arg(script)
}

#[test]
fn a_full_disk_leaves_all_files_as_they_were() {
    let host = LifeHost::with_users(vps("running", "docker", 22022));
    let port = host.peer.address.port();
    let long = "x".repeat(4096);
    let login = ["login", "localhost", "--cluster", "new", "--port", &port.to_string(), "--token-stdin"];
    let config = json!({
        "host": "127.0.0.1", "port": port, "unknown": long,
        "clusters": { "lab": { "host": "localhost", "port": 1 } },
    });
    let tokens = json!({ "unknown": long, "tokens": { "http://localhost:1": { "token": "lab-token" } } });
    for args in [
        &["config", "set", "log_file", "/tmp/log"][..],
        &["--cluster", "lab", "config", "set", "proxy", "door"],
        &["cluster", "use", "lab"],
        &["cluster", "rename", "lab", "home"],
        &["cluster", "rename", "default", "home"],
        &login,
    ] {
        let home = Home::new();
        home.secret(CONFIG, &config.to_string());
        let before = files(&home);
        let outcome = on_a_full_disk(&home, args).stdin(OPERATOR).output();
        outcome.exits(1).prints_nothing().says(&["cannot change ", CONFIG]);
        let mut after = files(&home);
        // A token is of no use without its cluster.
        if let Some(tokens) = after.remove(&home.join(".kohakuriver/tokens.json")) {
            assert_eq!(tokens, "{\n  \"tokens\": {}\n}\n");
        }
        assert!(after == before, "{args:?}\n{outcome}");
    }
    // The tokens.
    for args in [&login[..], &["--cluster", "lab", "auth", "logout"], &["auth", "login", "--token-stdin"]] {
        let home = Home::new();
        let small = json!({
            "host": "127.0.0.1", "port": port, "clusters": { "lab": { "host": "localhost", "port": 1 } },
        });
        home.secret(CONFIG, &small.to_string());
        home.secret(".kohakuriver/tokens.json", &tokens.to_string());
        let before = files(&home);
        let outcome = on_a_full_disk(&home, args).stdin(OPERATOR).output();
        outcome.exits(1).prints_nothing().says(&["tokens.json"]);
        let what =
            if args.ends_with(&["logout"]) { "cannot remove the token from " } else { "cannot store the token in " };
        outcome.says(&[what]);
        outcome.check(!outcome.stderr.contains(OPERATOR), "no token");
        assert!(files(&home) == before, "{args:?}\n{outcome}");
    }
}

/// ssh's entries have all that a login needs, so neither a broken file nor an unreadable one stops it.
#[test]
fn an_unusable_configuration_stops_no_login_by_an_entry() {
    let two = TwoClusters::logged_in();
    two.home.secret(".kohakuriver/auth.json", r#"{"token":"of-nobody-yet"}"#);
    for broken in ["{ broken", r#"{"default_cluster":"gone","clusters":{"lab":{"host":"x"}}}"#, ""] {
        two.home.write(CONFIG, broken);
        for (host, site) in [
            ("trainer.kohakuriver", &two.work),
            ("trainer.lab.kohakuriver", &two.lab),
            ("TRAINER.lab.kohakuriver", &two.lab),
            (&format!("{ID}.kohakuriver"), &two.work),
            (&format!("{ID}.lab.kohakuriver"), &two.lab),
        ] {
            two.leads_to(host, site);
        }
        // By a name that has to be looked up.
        for (host, site) in [("trai.lab.kohakuriver", &two.lab), ("trainer.l.kohakuriver", &two.work)] {
            let run = two.ssh(host).arg("-i").arg(&site.sshd.key).arg(WHERE).output();
            if host == "trai.lab.kohakuriver" {
                run.succeeds().prints(&site.says()).says_nothing();
            } else {
                run.succeeds().prints(&site.says());
            }
        }
        assert_eq!(two.home.read(CONFIG), broken);
    }
    // A folder in its place, which nobody can read as a file.
    fs::remove_file(two.home.join(CONFIG)).unwrap();
    fs::create_dir(two.home.join(CONFIG)).unwrap();
    two.leads_to("trainer.kohakuriver", &two.work);
    two.leads_to("trainer.lab.kohakuriver", &two.lab);
    two.run(&["vps", "list"]).output().exits(2).says(&["cannot use the configuration file"]);
}

/// The file of tokens, broken in every way, and the file of entries in somebody else's hands.
#[test]
fn broken_files_of_ours_are_said_and_kept() {
    for text in ["", "{", "[]", "7", r#"{"tokens":"#] {
        let host = LifeHost::with_users(vps("running", "docker", 22022));
        let home = Home::new();
        let port = host.peer.address.port();
        home.write(CONFIG, json!({ "host": "127.0.0.1", "port": port }).to_string());
        home.secret(".kohakuriver/tokens.json", text);
        let before = files(&home);
        for args in [
            &["vps", "list"][..],
            &["auth", "login", "--token-stdin"],
            &["auth", "logout"],
            &["login", "localhost", "--cluster", "lab", "--port", &port.to_string(), "--token-stdin"],
        ] {
            let outcome = Run::new(CLI, &home).args(args).stdin(OPERATOR).output();
            outcome.check_fails().says(&["tokens.json", "it is not one JSON object", "  hint: "]);
            assert_eq!(files(&home), before, "{text} {args:?}");
        }
    }
    // Members of other kinds are no tokens, and no crash.
    for text in [r#"{"tokens":7}"#, r#"{"tokens":{"http://127.0.0.1:1":"x"}}"#, r#"{"auth_json":[],"tokens":null}"#] {
        let api = plain_host_api(vec![running(ID, 22)]);
        let home = Home::new();
        home.write(CONFIG, json!({ "host": "127.0.0.1", "port": api.address.port() }).to_string());
        home.secret(".kohakuriver/tokens.json", text);
        home.secret(".kohakuriver/auth.json", r#"{"token":"x"}"#);
        Run::new(CLI, &home).args(["vps", "list"]).output().succeeds();
        Run::new(CLI, &home).args(["cluster", "list"]).output().succeeds();
    }
    let two = TwoClusters::new();
    two.home.write(".ssh/kohakuriver.conf", "Host mine\n");
    let said = two.log_in_to_work().output();
    said.succeeds().says(&["warning: no ssh_config entries", "will not overwrite", "vps connect NAME"]);
    assert_eq!(two.home.read(".ssh/kohakuriver.conf"), "Host mine\n");
    assert_eq!(two.home.json(CONFIG)["host"], "127.0.0.1");
}
