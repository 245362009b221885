//! Logins to several clusters: each Host gets its own token, a logout is one cluster's, and the Python CLI's file is for the
//! default cluster's Host alone.

use std::fs;
use std::thread;

use serde_json::json;

use crate::support::home::{Home, mode, set_mode};
use crate::support::life_host::{LifeHost, MADE, OPERATOR, PASSWORD, USER, vps};
use crate::support::run::{Outcome, Run};
use crate::support::tools::CLI;
use crate::support::two_clusters::{CONFIG, json_of};

const AUTH: &str = ".kohakuriver/auth.json";
const OURS: &str = ".kohakuriver/tokens.json";

/// Two Hosts with users, and somebody who knows none of them yet.
struct Two {
    home: Home,
    work: LifeHost,
    lab: LifeHost,
}

impl Two {
    fn new() -> Self {
        let host = || LifeHost::with_users(vps("running", "docker", 22022));
        Self { home: Home::new(), work: host(), lab: host() }
    }

    fn run(&self, args: &[&str]) -> Run {
        Run::new(CLI, &self.home).args(args)
    }

    /// `kohakuriver login` to the first or the second one.
    fn login(&self, is_lab: bool, args: &[&str], stdin: &str) -> Outcome {
        let (host, port) = if is_lab { ("localhost", port(&self.lab)) } else { ("127.0.0.1", port(&self.work)) };
        let cluster: &[&str] = if is_lab { &["--cluster", "lab"] } else { &[] };
        self.run(&["login", host, "--port", &port]).args(cluster).args(args).stdin(format!("{stdin}\n")).output()
    }

    fn logged_in(self) -> Self {
        self.login(false, &["--token-stdin"], OPERATOR).succeeds();
        self.login(true, &["--token-stdin"], USER).succeeds();
        self.forget_requests();
        self
    }

    fn forget_requests(&self) {
        for host in [&self.work, &self.lab] {
            host.change(|state| state.requests.clear());
        }
    }

    /// The content of both files of tokens, of the configuration and of the entries.
    fn files(&self) -> [String; 5] {
        [AUTH, OURS, CONFIG, ".ssh/config", ".ssh/kohakuriver.conf"].map(|name| self.home.read(name))
    }
}

fn port(host: &LifeHost) -> String {
    host.peer.address.port().to_string()
}

/// The tokens that have come to a Host since the last time.
fn tokens(host: &LifeHost) -> Vec<String> {
    let mut found: Vec<String> = host.change(|state| {
        let requests = std::mem::take(&mut state.requests);
        let lines = requests.iter().flat_map(|request| request.head.lines()).map(str::to_owned).collect::<Vec<_>>();
        lines.iter().filter_map(|line| line.split_once("Bearer ").map(|(_, token)| token.trim().to_owned())).collect()
    });
    found.sort();
    found.dedup();
    found
}

#[test]
fn each_host_gets_its_own_token() {
    let two = Two::new();
    let said = two.login(false, &["--token-stdin"], OPERATOR);
    said.succeeds().prints_nothing().says(&["logged in to ", " as operator1 (operator); the token is in ", AUTH]);
    // As the Python CLI writes it.
    assert_eq!(two.home.json(AUTH), json!({ "token": OPERATOR, "username": "operator1", "role": "operator" }));
    let said = two.login(true, &["--token-stdin"], USER);
    said.succeeds().says(&[" as user1 (user); the token is in ", OURS]);
    for name in [AUTH, OURS] {
        assert_eq!(mode(&two.home.join(name)), 0o600, "{name}");
    }
    assert!(!two.home.read(OURS).contains(OPERATOR) && !two.home.read(AUTH).contains(USER));
    two.forget_requests();
    for (args, host, token) in [
        (&["vps", "list"][..], &two.work, OPERATOR),
        (&["--cluster", "lab", "vps", "list"], &two.lab, USER),
        (&["vps", "status", "trainer"], &two.work, OPERATOR),
        (&["--cluster", "lab", "auth", "status"], &two.lab, USER),
        (&["-H", "localhost", "vps", "list"], &two.lab, USER),
        (&["-H", "127.0.0.1", "vps", "list"], &two.work, OPERATOR),
    ] {
        two.run(args).output().succeeds();
        assert_eq!(tokens(host), [token], "{args:?}");
    }
    for host in [&two.work, &two.lab] {
        assert!(tokens(host).is_empty());
    }
    let listed = json_of(&two.run(&["cluster", "list", "--json"]).output());
    assert_eq!((&listed[0]["username"], &listed[0]["logged_in"]), (&json!("operator1"), &json!(true)));
    assert_eq!((&listed[1]["username"], &listed[1]["logged_in"]), (&json!("user1"), &json!(true)));
    // The list asks nobody.
    assert!(two.work.change(|state| state.requests.is_empty()) && two.lab.change(|state| state.requests.is_empty()));
    // The other one becomes the default one: each keeps its token.
    two.run(&["cluster", "use", "lab"]).output().succeeds();
    two.forget_requests();
    two.run(&["vps", "list"]).output().succeeds();
    two.run(&["--cluster", "default", "vps", "list"]).output().succeeds();
    assert_eq!((tokens(&two.lab), tokens(&two.work)), (vec![USER.to_owned()], vec![OPERATOR.to_owned()]));
    // A login to the new default one takes the Python CLI along, and loses nothing.
    two.login(true, &["--token-stdin"], USER).succeeds();
    assert_eq!(two.home.json(AUTH)["token"], USER);
    two.forget_requests();
    two.run(&["vps", "list", "--all-clusters"]).output().succeeds();
    assert_eq!((tokens(&two.lab), tokens(&two.work)), (vec![USER.to_owned()], vec![OPERATOR.to_owned()]));
}

#[test]
fn a_logout_is_one_clusters() {
    let two = Two::new().logged_in();
    let auth = two.home.read(AUTH);
    let said = two.run(&["--cluster", "lab", "auth", "logout"]).output();
    said.succeeds().says(&["logged out of the Host at http://localhost:", OURS]);
    assert_eq!(two.home.read(AUTH), auth);
    assert!(!two.home.read(OURS).contains(USER));
    two.run(&["auth", "status"]).output().succeeds();
    two.run(&["--cluster", "lab", "auth", "status"]).output().exits(1).says(&["you are not logged in"]);
    two.run(&["--cluster", "lab", "auth", "logout"]).output().succeeds().says(&["not logged in"]);
    assert_eq!(two.home.read(AUTH), auth);

    let two = Two::new().logged_in();
    two.run(&["auth", "logout"]).output().succeeds().says(&["logged out of the Host at http://127.0.0.1:", AUTH]);
    assert!(!two.home.join(AUTH).exists());
    two.run(&["--cluster", "lab", "auth", "status"]).output().succeeds();
    two.run(&["auth", "status"]).output().exits(1);
    // A Host of none of the clusters.
    let port = port(&two.lab);
    let ours = two.home.read(OURS);
    two.run(&["-H", "127.0.0.2", "-P", &port, "auth", "logout"]).output().succeeds().says(&["not logged in"]);
    assert_eq!(two.home.read(OURS), ours);
}

#[test]
fn a_token_is_revoked_where_it_was_made() {
    let two = Two::new();
    two.login(false, &["--token-stdin"], OPERATOR).succeeds();
    two.login(true, &["--user", "operator1", "--password-stdin"], PASSWORD).succeeds();
    two.run(&["--cluster", "lab", "auth", "logout", "--revoke"]).output().succeeds();
    let revoked = |host: &LifeHost| host.change(|state| state.revoked.clone());
    assert_eq!((revoked(&two.work), revoked(&two.lab)), (vec![], vec![MADE.to_owned()]));
    assert!(two.home.read(AUTH).contains(OPERATOR));

    let two = Two::new();
    two.login(false, &["--user", "operator1", "--password-stdin"], PASSWORD).succeeds();
    two.login(true, &["--user", "operator1", "--password-stdin"], PASSWORD).succeeds();
    two.run(&["cluster", "remove", "lab"]).output().succeeds().says(&["logged out of the Host at http://localhost:"]);
    assert_eq!((revoked(&two.work), revoked(&two.lab)), (vec![], vec![MADE.to_owned()]));
    two.run(&["auth", "status"]).output().succeeds();
}

/// Nothing is stored of a login that fails.
#[test]
fn a_login_that_fails_changes_nothing() {
    let two = Two::new();
    let empty = two.files();
    two.login(false, &["--token-stdin"], "wrong-token").exits(1).says(&["the Host does not know this token"]);
    two.login(false, &[], "").exits(2).says(&["there is no terminal to ask on"]);
    two.login(false, &["--user", "operator1", "--password-stdin"], "wrong").exits(1);
    two.run(&["login", "127.0.0.1", "--port", "1"]).output().exits(1).says(&["cannot log in"]);
    two.run(&["login"]).output().exits(2).says(&["no Host was named"]);
    two.run(&["login", "127.0.0.1", "-H", "localhost"]).output().exits(2).says(&["two Hosts were named"]);
    assert_eq!(two.files(), empty);
    let two = two.logged_in();
    let before = two.files();
    for is_lab in [false, true] {
        two.login(is_lab, &["--token-stdin"], "wrong-token").exits(1).prints_nothing();
        two.login(is_lab, &[], "").exits(2);
    }
    assert_eq!(two.files(), before);
}

/// All shapes of the Python CLI's auth.json, also as somebody may have edited it.
const SHAPES: [&str; 7] = [
    r#"{"token": "TOKEN"}"#,
    r#"{"token": "TOKEN", "username": "operator1", "role": "operator"}"#,
    "{\n  \"token\": \"TOKEN\",\n  \"token_id\": 7,\n  \"token_name\": \"laptop\"\n}\n",
    r#"{"host": "localhost", "token": "TOKEN", "base_url": "http://localhost:1"}"#,
    r#"{"token": " TOKEN\n", "username": null}"#,
    "\n{\"user\":{\"name\":\"operator1\"},\"token\":\"TOKEN\",\"expires_at\":\"2030-01-01T00:00:00\"}",
    r#"{"token":"TOKEN","tokens":{"http://localhost:1":"x"}}"#,
];

/// Shapes without a usable token.
const OTHERS: [&str; 8] =
    ["{}", r#"{"token": null}"#, r#"{"token": ""}"#, "", "[]", "{ broken", r#"{"token": 7}"#, r#"{"token":"a b"}"#];

fn configured(two: &Two) -> String {
    json!({
        "host": "127.0.0.1", "port": two.work.peer.address.port(),
        "clusters": { "lab": { "host": "localhost", "port": two.lab.peer.address.port() } },
    })
    .to_string()
}

#[test]
fn the_python_clis_token_is_for_the_default_clusters_host_alone() {
    let two = Two::new();
    let lab = port(&two.lab);
    for (number, shape) in SHAPES.iter().enumerate() {
        two.home.write(CONFIG, configured(&two));
        let _ = fs::remove_file(two.home.join(OURS));
        two.home.secret(AUTH, &shape.replace("TOKEN", OPERATOR));
        set_mode(&two.home.join(AUTH), if number % 2 == 0 { 0o600 } else { 0o400 });
        let auth = two.home.read(AUTH);
        two.forget_requests();
        // First to the other one: nobody has accepted it yet.
        for args in [&["--cluster", "lab", "vps", "list"][..], &["-H", "localhost", "-P", &lab, "vps", "list"]] {
            two.run(args).output().exits(1);
        }
        assert!(tokens(&two.lab).is_empty(), "{shape}");
        assert!(!two.home.join(OURS).exists(), "{shape}");
        two.run(&["vps", "list"]).output().succeeds();
        assert_eq!(tokens(&two.work), [OPERATOR], "{shape}");
        let bound = two.home.json(OURS)["auth_json"].clone();
        assert_eq!(bound["host_api"], format!("http://127.0.0.1:{}", port(&two.work)), "{shape}");
        assert_eq!(bound["sha256"].as_str().unwrap().len(), 64);
        assert!(!two.home.read(OURS).contains(OPERATOR));
        // The default cluster moves: the token stays with the Host that has accepted it.
        two.run(&["config", "set", "host", "localhost"]).output().succeeds();
        two.run(&["config", "set", "port", &lab]).output().succeeds();
        two.run(&["vps", "list"]).output().exits(1);
        assert!(tokens(&two.lab).is_empty(), "{shape}");
        two.run(&["-H", "127.0.0.1", "-P", &port(&two.work), "vps", "list"]).output().succeeds();
        assert_eq!((two.home.read(AUTH), tokens(&two.work)), (auth, vec![OPERATOR.to_owned()]), "{shape}");
    }
}

#[test]
fn a_python_file_without_a_usable_token_disturbs_no_other_cluster() {
    for shape in OTHERS {
        let two = Two::new();
        two.home.write(CONFIG, configured(&two));
        two.login(true, &["--token-stdin"], USER).succeeds();
        two.home.secret(AUTH, shape);
        two.forget_requests();
        two.run(&["--cluster", "lab", "vps", "list"]).output().succeeds();
        assert_eq!(tokens(&two.lab), [USER], "{shape}");
        let of_default = two.run(&["vps", "list"]).output();
        of_default.check(matches!(of_default.status.code(), Some(1 | 2)), "a failure").says(&["  hint: "]);
        assert!(tokens(&two.work).is_empty());
        let ours = two.home.read(OURS);
        two.home.secret(OURS, "{ broken");
        let said = two.run(&["--cluster", "lab", "vps", "list"]).output();
        said.exits(2).says(&["cannot use the stored token", "`kohakuriver --cluster lab auth login`"]);
        two.home.secret(OURS, &ours);
        two.run(&["--cluster", "lab", "auth", "logout"]).output().succeeds();
        assert_eq!(two.home.read(AUTH), shape);
        // A login puts it right.
        two.run(&["auth", "login", "--token-stdin"]).stdin(OPERATOR).output().succeeds();
        two.run(&["vps", "list"]).output().succeeds();
    }
}

/// A Host that does not know the token binds nothing, and neither does one without users.
#[test]
fn only_a_host_that_knows_the_token_binds_it() {
    let two = Two::new();
    two.home.write(CONFIG, configured(&two));
    two.home.secret(AUTH, &json!({ "token": "unknown-token" }).to_string());
    two.run(&["vps", "list"]).output().exits(1);
    two.run(&["node", "list"]).output().succeeds();
    assert!(!two.home.join(OURS).exists());
    two.home.secret(AUTH, &json!({ "token": OPERATOR }).to_string());
    two.work.change(|state| state.auth = false);
    two.run(&["vps", "list"]).output().succeeds();
    assert!(!two.home.join(OURS).exists());
    // One that the Python CLI has made anew is nobody's yet.
    two.work.change(|state| state.auth = true);
    two.run(&["vps", "list"]).output().succeeds();
    let bound = two.home.json(OURS)["auth_json"].clone();
    two.home.secret(AUTH, &json!({ "token": USER }).to_string());
    two.forget_requests();
    two.run(&["vps", "list"]).output().succeeds();
    assert_eq!(tokens(&two.work), [USER]);
    assert_ne!(two.home.json(OURS)["auth_json"], bound);
}

/// Nobody has accepted it yet, and the default cluster changes, or moves: the token is not for the new one.
#[test]
fn a_token_that_nobody_has_accepted_does_not_follow_the_default() {
    let unbound = || {
        let two = Two::new();
        two.home.write(CONFIG, configured(&two));
        two.home.secret(AUTH, &json!({ "token": OPERATOR }).to_string());
        two
    };
    let two = unbound();
    two.lab.change(|state| state.auth = false);
    two.run(&["--cluster", "lab", "ssh", "config", "--write"]).output().succeeds();
    two.run(&["cluster", "use", "lab"]).output().succeeds();
    two.run(&["vps", "list"]).output().succeeds();
    assert!(tokens(&two.lab).is_empty());
    two.run(&["--cluster", "default", "vps", "list"]).output().succeeds();
    assert_eq!(tokens(&two.work), [OPERATOR]);

    let two = unbound();
    two.lab.change(|state| state.auth = false);
    let lab = port(&two.lab);
    two.run(&["login", "localhost", "--cluster", "default", "--port", &lab, "--yes"]).output().succeeds();
    two.run(&["vps", "list"]).output().succeeds();
    assert!(tokens(&two.lab).is_empty());
    two.run(&["-H", "127.0.0.1", "-P", &port(&two.work), "vps", "list"]).output().succeeds();
    assert_eq!(tokens(&two.work), [OPERATOR]);
}

/// Without a cluster, the token is for the Host that environment or config.json names, and no flag changes that.
#[test]
fn without_a_cluster_the_environment_names_the_python_clis_host() {
    let two = Two::new();
    two.home.secret(AUTH, &json!({ "token": OPERATOR }).to_string());
    let (work, lab) = (port(&two.work), port(&two.lab));
    let of_work = |args: &[&str]| two.run(args).env("KOHAKURIVER_HOST", "127.0.0.1").env("KOHAKURIVER_PORT", &work);
    of_work(&["-H", "localhost", "-P", &lab, "vps", "list"]).output().exits(1);
    of_work(&["-P", &lab, "vps", "list"]).output().exits(1);
    of_work(&["-H", "127.0.0.1", "-P", &lab, "vps", "list"]).output().exits(1);
    two.run(&["-H", "localhost", "-P", &lab, "vps", "list"]).output().exits(1);
    assert!(tokens(&two.lab).is_empty());
    of_work(&["vps", "list"]).output().succeeds();
    assert_eq!(tokens(&two.work), [OPERATOR]);
    // Now it is known whose it is.
    let of_lab = two.run(&["vps", "list"]).env("KOHAKURIVER_HOST", "localhost").env("KOHAKURIVER_PORT", &lab).output();
    of_lab.exits(1);
    assert!(tokens(&two.lab).is_empty());
}

#[test]
fn a_moved_host_gets_no_token_until_its_user_says_so() {
    let two = Two::new().logged_in();
    let moved = LifeHost::with_users(vps("running", "docker", 22022));
    let to = port(&moved);
    let before = two.files();
    let (of_work, of_lab) = (format!("127.0.0.1:{}", port(&two.work)), format!("localhost:{}", port(&two.lab)));
    // Without a terminal nobody can be asked.
    for (args, cluster, at) in [
        (&["login", "127.0.0.1", "--cluster", "lab", "--port", &to, "--token-stdin"][..], "lab", &of_lab),
        (&["login", "localhost", "--cluster", "default", "--port", &to, "--token-stdin"], "default", &of_work),
        // The same machine, and what listens there may be anybody's.
        (&["login", "localhost", "--cluster", "lab", "--port", &to, "--token-stdin"], "lab", &of_lab),
    ] {
        let said = two.run(args).stdin(USER).output();
        said.check_fails().says(&[&format!("the Host of cluster {cluster} is {at}\n"), "--yes"]);
        assert_eq!(two.files(), before);
        assert!(moved.change(|state| state.requests.is_empty()), "it was asked");
    }
    // Or by an editor.
    let config = two.home.json(CONFIG);
    let mut edited = config.clone();
    edited["clusters"]["lab"] = json!({ "host": "127.0.0.1", "port": moved.peer.address.port() });
    two.home.write(CONFIG, edited.to_string());
    two.run(&["--cluster", "lab", "vps", "list"]).output().exits(1).says(&["auth login"]);
    assert!(tokens(&moved).is_empty());
    two.home.write(CONFIG, config.to_string());
    let yes =
        two.run(&["login", "127.0.0.1", "--cluster", "lab", "--port", &to, "--token-stdin", "--yes"]).stdin(OPERATOR);
    yes.output().succeeds();
    assert_eq!(tokens(&moved), [OPERATOR]);
    two.run(&["--cluster", "lab", "vps", "list"]).output().succeeds();
    assert_eq!(tokens(&moved), [OPERATOR]);
}

#[test]
fn several_logins_at_once_all_count() {
    let two = Two::new();
    two.home.write(CONFIG, r#"{"colour":"red"}"#);
    let (work, lab) = (port(&two.work), port(&two.lab));
    thread::scope(|scope| {
        for number in 0..8 {
            let (host, port) = if number % 2 == 0 { ("127.0.0.1", &work) } else { ("localhost", &lab) };
            let cluster = format!("c{number}");
            let login = ["login", host, "--cluster", &cluster, "--port", port, "--token-stdin"];
            let run = two.run(&login).stdin(OPERATOR);
            scope.spawn(move || {
                run.output().succeeds();
            });
        }
    });
    let config = two.home.json(CONFIG);
    assert_eq!(config["colour"], "red");
    let listed = json_of(&two.run(&["cluster", "list", "--json"]).output());
    let mut names: Vec<_> =
        listed.as_array().unwrap().iter().map(|cluster| cluster["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names.len(), 8, "{config}");
    assert!(listed.as_array().unwrap().iter().all(|cluster| cluster["logged_in"] == true), "{listed}");
    assert_eq!(listed.as_array().unwrap().iter().filter(|cluster| cluster["default"] == true).count(), 1);
    let conf = two.home.read(".ssh/kohakuriver.conf");
    assert_eq!(conf.matches("\n# Cluster: ").count(), 8, "{conf}");
}
