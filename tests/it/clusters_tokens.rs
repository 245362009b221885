//! A token leaves for the Host that it was stored for, and for nothing else. A second Host, which records whatever comes,
//! never sees the first one's: by no command, named in no way, and through no redirect.

use std::fs;
use std::io::{BufRead, BufReader, Write};

use serde_json::json;

use crate::support::commands::commands;
use crate::support::home::Home;
use crate::support::life_host::{LifeHost, OPERATOR, USER, vps};
use crate::support::peers::Peer;
use crate::support::run::{Outcome, Run};
use crate::support::scene::ID;
use crate::support::tools::{CLI, HELPER};
use crate::support::two_clusters::CONFIG;

const AUTH: &str = ".kohakuriver/auth.json";
const OURS: &str = ".kohakuriver/tokens.json";

/// The words of `command` that make it talk to its Host as much as it can.
fn lines(command: &str) -> Vec<Vec<String>> {
    let ssh = ["--", "-F", "none", "-o", "BatchMode=yes", "true"];
    let line =
        |args: &[&str]| -> Vec<String> { command.split(' ').chain(args.iter().copied()).map(str::to_owned).collect() };
    match command {
        "vps list" => vec![line(&[]), line(&["--all", "--mine", "--json"]), line(&["-q"])],
        "vps connect" => {
            vec![line(&[&["trainer"], &ssh[..]].concat()), line(&[&[ID, "--diagnose"], &ssh[..]].concat())]
        }
        "vps cp" => vec![line(&["trainer:nothing", "."])],
        "vps forward" => vec![line(&["trainer", "0"]), line(&["trainer", "18099:22"])],
        "vps create" => vec![line(&["--name", "new", "--no-ssh-key"]), line(&["--gen-ssh-key", "--json"])],
        "vps status" => vec![line(&["trainer"]), line(&[ID, "--json"])],
        "vps sessions" => vec![line(&[]), line(&["trainer", "--json"]), line(&["--end", "7"])],
        "vps stop" | "vps restart" | "vps pause" | "vps resume" => {
            let yes: &[&str] = if command == "vps pause" || command == "vps resume" { &[] } else { &["--yes"] };
            vec![line(&[&["trainer"], yes].concat()), line(&[&[ID], yes].concat())]
        }
        "node list" => vec![line(&[]), line(&["--json"])],
        "ssh config" => {
            let forms: [&[&str]; 6] = [&[], &["--diff"], &["--write"], &["--sync"], &["--output", "o"], &["--remove"]];
            forms.map(line).into()
        }
        "ssh forget" => vec![line(&["trainer"]), line(&[ID])],
        "auth login" => vec![line(&["--token-stdin"]), line(&["--user", "operator1", "--password-stdin"])],
        "auth status" => vec![line(&[]), line(&["--json"])],
        "auth logout" => vec![line(&[]), line(&["--revoke"])],
        "login" => vec![line(&["--token-stdin"]), line(&["--token-stdin", "--yes"])],
        "doctor" => vec![line(&[]), line(&["trainer", "--all"]), line(&[ID, "--json", "--all"])],
        "cluster list" => vec![line(&[]), line(&["--json"])],
        "cluster use" | "cluster remove" => vec![line(&["lab"])],
        "cluster rename" => vec![line(&["lab", "home"])],
        "config show" | "config path" => vec![line(&[])],
        "config set" => vec![line(&["proxy", "127.0.0.1:1"])],
        "config unset" => vec![line(&["proxy"])],
        "completions" => vec![line(&["bash"])],
        "man" => vec![line(&[])],
        new => panic!("a new command: which of its command lines talk to a Host? {new}"),
    }
}

/// Every command line of `kohakuriver`, also of the command that only ssh runs.
fn all_lines(home: &Home) -> Vec<Vec<String>> {
    let mut all: Vec<_> = commands().iter().flat_map(|command| lines(command)).collect();
    let known_hosts = home.join(".ssh/.kohakuriver_known_hosts").display().to_string();
    for scope in [&["--scope", "lab"][..], &[]] {
        for host in ["trainer.kohakuriver", "trainer.lab.kohakuriver"] {
            let words = [&["ssh", "host-key"][..], scope, &["--file", &known_hosts, host, "ssh-ed25519", "AAAA", host]];
            all.push(words.concat().into_iter().map(str::to_owned).collect());
        }
    }
    all
}

/// Where the first one's token is.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Stored {
    /// A login has put it there.
    ByLogin,
    /// The Python CLI has, and no Host has accepted it yet.
    ByPythonCli,
    /// In the environment, which names the first Host as well.
    InEnvironment,
}

/// Two Hosts with users. The first knows the token.
struct Hosts {
    work: LifeHost,
    lab: LifeHost,
}

impl Hosts {
    fn new() -> Self {
        let work = LifeHost::with(vps("running", "docker", 22022));
        let lab = LifeHost::with(vps("running", "docker", 22022));
        work.change(|state| state.auth = true);
        Self { work, lab }
    }

    fn port(host: &LifeHost) -> u16 {
        host.peer.address.port()
    }

    /// Both in config.json. Each is its own gateway.
    fn config(&self) -> String {
        let (work, lab) = (Self::port(&self.work), Self::port(&self.lab));
        json!({
            "host": "127.0.0.1", "port": work, "ssh_proxy_port": work, "gateway_admin": format!("127.0.0.1:{work}"),
            "clusters": { "lab": {
                "host": "127.0.0.1", "port": lab, "ssh_proxy_port": lab, "gateway_admin": format!("127.0.0.1:{lab}"),
            } },
        })
        .to_string()
    }

    /// A home whose user is logged in to the first one.
    fn home(&self, stored: Stored) -> Home {
        let home = Home::new();
        home.write(CONFIG, self.config());
        match stored {
            Stored::ByLogin => {
                let login = Run::new(CLI, &home).args(["auth", "login", "--token-stdin"]).stdin(OPERATOR).output();
                login.succeeds();
                assert!(home.join(AUTH).exists() && home.join(OURS).exists());
            }
            Stored::ByPythonCli => drop(home.secret(AUTH, &json!({ "token": OPERATOR }).to_string())),
            Stored::InEnvironment => {}
        }
        home
    }

    /// A command as its user runs it.
    fn run(&self, program: &str, home: &Home, stored: Stored) -> Run {
        let run = Run::new(program, home).stdin("somebody's token or password\n");
        match stored {
            Stored::InEnvironment => {
                run.env("KOHAKURIVER_TOKEN", OPERATOR).on_host(Self::port(&self.work)).through(Self::port(&self.work))
            }
            _ => run,
        }
    }
}

/// How often a Host was asked. None of it may have the token in it.
#[track_caller]
fn never_saw(host: &LifeHost, token: &str, why: &str) -> usize {
    host.change(|state| {
        for request in &state.requests {
            let text = format!("{}{}", request.head, request.body);
            assert!(!text.contains(token), "{why}: the token has reached another Host: {text}");
        }
        std::mem::take(&mut state.requests).len()
    })
}

/// How often a Host has seen the token.
fn saw(host: &LifeHost, token: &str) -> usize {
    host.change(|state| {
        let bearing = state.requests.iter().filter(|request| request.head.contains(token)).count();
        state.requests.clear();
        bearing
    })
}

/// Runs each command line with these words before it, in a home of its own.
fn every_command(hosts: &Hosts, stored: Stored, before: &[&str], env: &[(&str, String)]) {
    let pattern = hosts.home(stored);
    hosts.work.change(|state| state.requests.clear());
    let mut asked = 0;
    for line in all_lines(&pattern) {
        let home = Home::new();
        for name in [CONFIG, AUTH, OURS] {
            if let Ok(text) = fs::read_to_string(pattern.join(name)) {
                home.secret(name, &text);
            }
        }
        let run = hosts.run(CLI, &home, stored);
        let run = env.iter().fold(run, |run, (name, value)| run.env(name, value));
        let outcome: Outcome = run.args(before).args(&line).output();
        outcome.check(!outcome.stderr.contains(OPERATOR) && !outcome.text().contains(OPERATOR), "no token printed");
        asked += never_saw(&hosts.lab, OPERATOR, &format!("{stored:?} {before:?} {env:?} {line:?}\n{outcome}"));
    }
    assert!(asked > 50, "the second Host was asked only {asked} times");
}

const ALL: [Stored; 3] = [Stored::ByLogin, Stored::ByPythonCli, Stored::InEnvironment];

#[test]
fn a_host_that_flags_name_never_gets_anothers_token() {
    let hosts = Hosts::new();
    let port = Hosts::port(&hosts.lab).to_string();
    for stored in ALL {
        every_command(&hosts, stored, &["-H", "127.0.0.1", "-P", &port, "--ssh-proxy-port", &port], &[]);
    }
}

#[test]
fn a_cluster_that_is_named_never_gets_anothers_token() {
    let hosts = Hosts::new();
    for stored in ALL {
        every_command(&hosts, stored, &["--cluster", "lab"], &[]);
    }
}

#[test]
fn a_host_that_the_environment_names_never_gets_anothers_token() {
    let hosts = Hosts::new();
    let port = Hosts::port(&hosts.lab).to_string();
    for stored in [Stored::ByLogin, Stored::ByPythonCli] {
        let of_host = [
            ("KOHAKURIVER_HOST", "127.0.0.1".to_owned()),
            ("KOHAKURIVER_PORT", port.clone()),
            ("KOHAKURIVER_SSH_PROXY_PORT", port.clone()),
        ];
        every_command(&hosts, stored, &[], &of_host);
        every_command(&hosts, stored, &[], &[("KOHAKURIVER_CLUSTER", "lab".to_owned())]);
    }
}

/// Commands about all clusters.
#[test]
fn commands_about_all_clusters_send_each_host_its_own_token() {
    let hosts = Hosts::new();
    for stored in [Stored::ByLogin, Stored::ByPythonCli] {
        let home = hosts.home(stored);
        let login = Run::new(CLI, &home).args(["--cluster", "lab", "auth", "login", "--token-stdin"]).stdin(USER);
        hosts.lab.change(|state| state.auth = true);
        login.output().succeeds();
        for args in [
            &["vps", "list", "--all-clusters"][..],
            &["vps", "sessions", "--all", "--all-clusters"],
            &["ssh", "config", "--write"],
            &["--cluster", "lab", "ssh", "config", "--write"],
            &["cluster", "list"],
            &["cluster", "use", "lab"],
            &["vps", "list", "--all-clusters"],
            &["cluster", "use", "default"],
            &["cluster", "rename", "lab", "home"],
            &["doctor"],
            &["cluster", "remove", "home"],
        ] {
            Run::new(CLI, &home).args(args).output().check(true, "an end");
            never_saw(&hosts.lab, OPERATOR, &format!("{args:?}"));
            never_saw(&hosts.work, USER, &format!("{args:?}"));
        }
    }
    // It is seen, where it belongs.
    let home = hosts.home(Stored::ByPythonCli);
    hosts.work.change(|state| state.requests.clear());
    Run::new(CLI, &home).args(["vps", "list", "--all-clusters"]).output();
    assert!(saw(&hosts.work, OPERATOR) > 0);
}

/// The arguments and the environment of a helper.
type Form<'f> = (&'f [&'f str], &'f [(&'f str, String)]);

/// Every form of the helper's command: as our entries in ssh_config have it, and as people write it by hand.
#[test]
fn the_helper_sends_no_host_anothers_token() {
    let hosts = Hosts::new();
    let (work, lab) = (Hosts::port(&hosts.work), Hosts::port(&hosts.lab));
    let (at_work, at_lab) = (format!("127.0.0.1:{work}"), format!("127.0.0.1:{lab}"));
    let lab_env = [
        ("KOHAKURIVER_HOST", "127.0.0.1".to_owned()),
        ("KOHAKURIVER_PORT", lab.to_string()),
        ("KOHAKURIVER_SSH_PROXY_PORT", lab.to_string()),
    ];
    let forms: [Form<'_>; 9] = [
        (&["--proxy", &at_lab, "--host-api", &at_lab, "--cluster", "lab"], &[]),
        (&["--proxy", &at_lab, "--host-api", &at_lab, "--cluster", "nowhere"], &[]),
        // As an earlier version wrote it.
        (&["--proxy", &at_lab, "--host-api", &at_lab], &[]),
        (&["--proxy", &at_lab, "--host-api", &at_lab, "--wait=1"], &[]),
        (&["--cluster", "lab"], &[]),
        (&["--proxy", &at_lab], &[]),
        (&["--host-api", &at_lab, "--proxy", &at_lab, "--protocol", "connect"], &[]),
        (&[], &lab_env),
        (&[], &[("KOHAKURIVER_CLUSTER", "lab".to_owned())]),
    ];
    for stored in ALL {
        let home = hosts.home(stored);
        for (form, env) in forms {
            if stored == Stored::InEnvironment && !env.is_empty() {
                // The token is for the Host that the same environment names.
                continue;
            }
            let mut asked = 0;
            for target in ["trainer.kohakuriver", ID, &format!("{ID}.kohakuriver"), "trainer.lab.kohakuriver"] {
                let run = env.iter().fold(hosts.run(HELPER, &home, stored), |run, (name, value)| run.env(name, value));
                let run = run.args(form).args(["--connect-timeout", "5", target, "22"]);
                let outcome = run.output();
                outcome.check(!outcome.stderr.contains(OPERATOR), "no token printed");
                asked += never_saw(&hosts.lab, OPERATOR, &format!("{stored:?} {form:?} {env:?} {target}\n{outcome}"));
            }
            assert!(asked > 0, "{form:?} asks nobody");
        }
        // The same home's token reaches its own Host.
        hosts.work.change(|state| state.requests.clear());
        for form in
            [&["--proxy", &at_work, "--host-api", &at_work, "--cluster", "default"][..], &["--cluster", "default"], &[]]
        {
            hosts.run(HELPER, &home, stored).args(form).args(["trainer.kohakuriver", "22"]).output().exits(1);
            assert!(saw(&hosts.work, OPERATOR) > 0, "{stored:?} {form:?}");
        }
    }
}

/// A proxy alone tells whose it is, if it is a cluster's: names are looked up there, with that cluster's token.
#[test]
fn a_proxy_alone_is_its_clusters() {
    let hosts = Hosts::new();
    hosts.lab.change(|state| state.auth = true);
    let at_lab = format!("127.0.0.1:{}", Hosts::port(&hosts.lab));
    for stored in ALL {
        let home = hosts.home(stored);
        let login = Run::new(CLI, &home).args(["--cluster", "lab", "auth", "login", "--token-stdin"]).stdin(USER);
        login.output().succeeds();
        for host in [&hosts.work, &hosts.lab] {
            host.change(|state| state.requests.clear());
        }
        for target in ["trainer.kohakuriver", ID] {
            let run = hosts.run(HELPER, &home, stored).args(["--proxy", &at_lab, target, "22"]);
            run.output().exits(1);
            never_saw(&hosts.work, USER, &format!("{stored:?} {target}"));
            hosts.lab.change(|state| {
                let heads: String = state.requests.iter().map(|request| request.head.clone()).collect();
                assert!(heads.contains(USER) && !heads.contains(OPERATOR), "{stored:?} {target}: {heads}");
                assert_eq!(heads.contains("/api/"), target != ID, "{stored:?} {target}: {heads}");
                state.requests.clear();
            });
        }
    }
}

/// A token alone in the environment is for a Host that a person names, or the default one. What ssh_config has for another
/// cluster names no Host for it.
#[test]
fn a_token_without_a_host_is_for_the_default_cluster_and_for_a_host_that_is_typed() {
    let hosts = Hosts::new();
    let home = hosts.home(Stored::InEnvironment);
    let (work, lab) = (Hosts::port(&hosts.work), Hosts::port(&hosts.lab));
    let run =
        |program: &str, args: &[&str]| Run::new(program, &home).env("KOHAKURIVER_TOKEN", OPERATOR).args(args).output();
    let at = |port: u16| format!("127.0.0.1:{port}");
    let entry = |port: u16, cluster: &str| {
        let at = at(port);
        for target in [ID, "trainer.kohakuriver"] {
            run(HELPER, &["--proxy", &at, "--host-api", &at, "--cluster", cluster, target, "22"]).exits(1);
        }
        let file = home.join("keys").display().to_string();
        let key =
            ["ssh", "host-key", "--scope", cluster, "--file", &file, "trainer.kohakuriver", "ssh-ed25519", "AAAA"];
        run(CLI, &[&["--host", "127.0.0.1", "--port", &port.to_string()], &key[..]].concat());
    };
    entry(lab, "lab");
    assert!(never_saw(&hosts.lab, OPERATOR, "an entry of lab") > 0);
    entry(work, "default");
    assert!(saw(&hosts.work, OPERATOR) > 0);
    run(CLI, &["vps", "list"]).succeeds();
    assert!(saw(&hosts.work, OPERATOR) > 0);
    // A person names it.
    for args in [&["--cluster", "lab", "vps", "list"][..], &["-H", "127.0.0.1", "-P", &lab.to_string(), "vps", "list"]]
    {
        run(CLI, args).succeeds();
        assert!(saw(&hosts.lab, OPERATOR) > 0, "{args:?}");
    }
    // The tunnel of a typed command gets it, as the look-up does.
    for cluster in [&["--cluster", "lab"][..], &["-H", "127.0.0.1", "-P", &lab.to_string(), "--proxy", &at(lab)]] {
        let connect = ["vps", "connect", ID, "--", "-F", "none", "-o", "BatchMode=yes", "true"];
        run(CLI, &[cluster, &connect].concat()).exits(255);
        let is_connect = |head: &str| head.starts_with("CONNECT ") && head.contains(OPERATOR);
        let bearing = hosts.lab.change(|state| {
            std::mem::take(&mut state.requests).iter().filter(|request| is_connect(&request.head)).count()
        });
        assert_eq!(bearing, 1, "{cluster:?}");
    }
    // With a Host beside it, no: neither a look-up nor a tunnel.
    for command in [&["vps", "list"][..], &["vps", "connect", ID, "--", "-F", "none", "-o", "BatchMode=yes", "true"]] {
        let other = Run::new(CLI, &home).env("KOHAKURIVER_TOKEN", OPERATOR).env("KOHAKURIVER_CLUSTER", "default");
        other.args(["--cluster", "lab"]).args(command).output();
        assert!(never_saw(&hosts.lab, OPERATOR, &format!("the environment names another cluster: {command:?}")) > 0);
    }
}

/// A Host that redirects to another one.
fn redirecting(to: &LifeHost) -> Peer {
    let base = to.base();
    Peer::serve(move |mut stream| {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        for line in lines {
            if line?.is_empty() {
                break;
            }
        }
        let path = first.split(' ').nth(1).unwrap_or("/");
        let path = if path.starts_with('/') { path } else { "/" };
        let status = if first.starts_with("GET") { 302 } else { 307 };
        let head = format!(
            "HTTP/1.1 {status} Elsewhere\r\nLocation: {base}{path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let _ = stream.write_all(head.as_bytes());
        Ok(())
    })
}

#[test]
fn a_redirect_takes_no_token_along() {
    let lab = LifeHost::with(vps("running", "docker", 22022));
    let work = redirecting(&lab);
    let port = work.address.port();
    let config = json!({
        "host": "127.0.0.1", "port": port, "ssh_proxy_port": port, "gateway_admin": work.address.to_string(),
        "clusters": { "lab": { "host": "localhost", "port": 1 } },
    });
    let known_hosts = Home::new();
    for line in all_lines(&known_hosts) {
        for in_environment in [false, true] {
            let home = Home::new();
            home.write(CONFIG, config.to_string());
            let run = Run::new(CLI, &home).args(&line).stdin(format!("{OPERATOR}\n"));
            let run = if in_environment {
                run.env("KOHAKURIVER_TOKEN", OPERATOR)
            } else {
                home.secret(AUTH, &json!({ "token": OPERATOR, "token_id": 7 }).to_string());
                run
            };
            let outcome = run.output();
            never_saw(&lab, OPERATOR, &format!("{line:?}\n{outcome}"));
        }
    }
    let home = Home::new();
    home.write(CONFIG, config.to_string());
    home.secret(AUTH, &json!({ "token": OPERATOR }).to_string());
    for target in [ID, "trainer.kohakuriver"] {
        Run::new(HELPER, &home).args([target, "22"]).output().exits(1);
        never_saw(&lab, OPERATOR, target);
    }
    assert!(work.accepted() > 50, "{}", work.accepted());
}

/// A token in an environment that names no Host, and a command about all clusters, which names none either.
#[test]
fn a_command_about_all_clusters_sends_the_environments_token_to_the_default_one_alone() {
    let hosts = Hosts::new();
    let home = hosts.home(Stored::InEnvironment);
    let run = |args: &[&str]| Run::new(CLI, &home).env("KOHAKURIVER_TOKEN", OPERATOR).args(args).output();
    run(&["ssh", "config", "--write"]).succeeds();
    run(&["--cluster", "lab", "ssh", "config", "--write"]).succeeds();
    hosts.work.change(|state| state.requests.clear());
    hosts.lab.change(|state| state.requests.clear());
    for args in [&["vps", "list", "--all-clusters"][..], &["ssh", "config", "--write", "--all-clusters"]] {
        run(args).succeeds();
        assert!(saw(&hosts.work, OPERATOR) > 0, "{args:?}");
        assert!(never_saw(&hosts.lab, OPERATOR, &format!("{args:?}")) > 0);
    }
    run(&["cluster", "rename", "lab", "home"]).succeeds();
    assert!(never_saw(&hosts.lab, OPERATOR, "rename") > 0);
    // From now on it is for the other one.
    run(&["cluster", "use", "home"]).succeeds();
    hosts.work.change(|state| state.requests.clear());
    run(&["vps", "list", "--all-clusters"]).check(true, "an end");
    assert!(never_saw(&hosts.work, OPERATOR, "use") > 0);
}

#[test]
fn a_new_token_takes_the_place_of_the_old_one_whichever_cluster_is_the_default_one() {
    let hosts = Hosts::new();
    let home = hosts.home(Stored::ByLogin);
    let run = |args: &[&str]| Run::new(CLI, &home).args(args).stdin(USER).output();
    run(&["cluster", "use", "lab"]).succeeds();
    run(&["--cluster", "default", "auth", "login", "--token-stdin"]).succeeds();
    hosts.work.change(|state| state.requests.clear());
    run(&["--cluster", "default", "vps", "list"]).succeeds();
    assert!(saw(&hosts.work, USER) > 0, "the new one is sent");
    run(&["--cluster", "default", "auth", "logout"]).succeeds().says(&["logged out of"]);
    for file in [AUTH, OURS] {
        let text = home.read(file);
        assert!(!text.contains(OPERATOR) && !text.contains(USER), "{file}: {text}");
    }
}

/// The Python CLI's token, which no Host has accepted yet.
#[test]
fn a_token_without_a_host_does_not_follow_the_default_cluster() {
    let hosts = Hosts::new();
    let port = Hosts::port(&hosts.lab).to_string();
    let moves = ["login", "127.0.0.1", "--port", &port, "--ssh-proxy-port", &port, "--cluster", "default", "--yes"];
    for args in [&["cluster", "use", "lab"][..], &moves] {
        let home = hosts.home(Stored::ByPythonCli);
        for args in [args, &["vps", "list"]] {
            Run::new(CLI, &home).args(args).output().succeeds();
            assert!(never_saw(&hosts.lab, OPERATOR, &format!("{args:?}")) > 0 || args[0] == "cluster");
        }
    }
    // It is still the first one's.
    let home = hosts.home(Stored::ByPythonCli);
    Run::new(CLI, &home).args(["cluster", "use", "lab"]).output().succeeds();
    hosts.work.change(|state| state.requests.clear());
    Run::new(CLI, &home).args(["--cluster", "default", "vps", "list"]).output().succeeds();
    assert!(saw(&hosts.work, OPERATOR) > 0);
}
