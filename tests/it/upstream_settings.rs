//! Where the proxy on the way comes from, and where its password never goes.

use std::fs;

use serde_json::json;

use crate::support::certificates::NAME;
use crate::support::home::Home;
use crate::support::office::{IN_URL, Office, PASSWORD, THIS_MACHINE, url, url_without_password};
use crate::support::peers::RefusingPort;
use crate::support::run::{Outcome, Run};
use crate::support::scene::{ID, Mode};
use crate::support::tools::{tool, user};

/// `alice:sek@rit:1/2` in Base64, as HTTP has it.
const IN_HTTP: &str = "YWxpY2U6c2VrQHJpdDoxLzI=";

fn opens(run: Run) {
    run.arg("echo in").output().succeeds().prints("in\n").says_nothing();
}

/// The message of ssh names this place of the setting.
fn is_named(run: Run, place: &str) {
    let outcome = run.arg("echo in").output();
    outcome.exits(255).prints_nothing().says(&["cannot reach the upstream proxy at ", place]);
}

#[test]
fn the_variable_of_the_scheme_counts() {
    let office = Office::new();
    let squid = office.squid();
    let (proxy, dead) = (url("http", &squid), RefusingPort::new());
    let dead = format!("http://127.0.0.1:{}", dead.port);
    let plain = format!("http://{NAME}:{}", office.gateway.address.port());
    let home = office.home(NAME, &json!({}));
    let tls = || office.ssh(&home, Mode::Fdpass, &[]);
    let bare = || office.ssh(&home, Mode::Stdio, &["--proxy", &plain]);
    opens(tls().env("HTTPS_PROXY", &proxy).env("HTTP_PROXY", &dead).env("ALL_PROXY", &dead));
    opens(tls().env("https_proxy", &proxy).env("HTTPS_PROXY", &dead));
    opens(tls().env("ALL_PROXY", &proxy).env("http_proxy", &dead));
    opens(bare().env("HTTP_PROXY", &proxy).env("HTTPS_PROXY", &dead).env("ALL_PROXY", &dead));
    opens(bare().env("all_proxy", &proxy).env("HTTPS_PROXY", &dead));
    is_named(tls().env("HTTPS_PROXY", &dead).env("ALL_PROXY", &proxy), "set by HTTPS_PROXY\n");
    is_named(bare().env("http_proxy", &dead).env("ALL_PROXY", &proxy), "set by http_proxy\n");
    is_named(tls().env("ALL_PROXY", &dead), "set by ALL_PROXY\n");
}

#[test]
fn a_setting_is_above_the_environment_and_none_is_no_proxy() {
    let office = Office::new();
    let squid = office.squid();
    let (proxy, dead) = (url("http", &squid), RefusingPort::new());
    let dead = format!("http://127.0.0.1:{}", dead.port);
    let of_file = office.home(NAME, &json!({ "upstream_proxy": proxy }));
    opens(office.ssh(&of_file, Mode::Stdio, &[]).env("HTTPS_PROXY", &dead));
    // The flag names the proxy and its user; the password is that of the file, or of a variable.
    let named = url_without_password("http", &squid);
    opens(office.ssh(&of_file, Mode::Stdio, &["--upstream-proxy", &named]));
    let empty = office.home(NAME, &json!({}));
    opens(office.ssh(&empty, Mode::Stdio, &["--upstream-proxy", &named]).env("HTTPS_PROXY", &proxy));
    is_named(office.ssh(&of_file, Mode::Stdio, &["--upstream-proxy", &dead]), "set by `--upstream-proxy`\n");
    let of_dead = office.home(NAME, &json!({ "upstream_proxy": dead }));
    is_named(office.ssh(&of_dead, Mode::Stdio, &[]).env("HTTPS_PROXY", &proxy), "set by `upstream_proxy` in ");

    // Directly, to an address that the variables' rule about loopback doesn't concern.
    let home = office.home(THIS_MACHINE, &json!({}));
    is_named(office.ssh(&home, Mode::Stdio, &[]).env("HTTPS_PROXY", &dead), "set by HTTPS_PROXY\n");
    opens(office.ssh(&home, Mode::Stdio, &[]).env("HTTPS_PROXY", &dead).env("NO_PROXY", "example, 0.0.0.0/8"));
    opens(office.ssh(&home, Mode::Stdio, &["--upstream-proxy", "none"]).env("HTTPS_PROXY", &dead));
    let none = office.home(THIS_MACHINE, &json!({ "upstream_proxy": "none" }));
    opens(office.ssh(&none, Mode::Stdio, &[]).env("HTTPS_PROXY", &dead));
    let local = office.home("localhost", &json!({}));
    opens(office.ssh(&local, Mode::Stdio, &[]).env("HTTPS_PROXY", &dead));
}

#[test]
fn a_command_may_log_in() {
    let office = Office::new();
    let squid = office.squid();
    let upstream = format!("http://{}", squid.address);
    let home = office.home(NAME, &json!({}));
    let command = home.script("login", &format!("#!/bin/sh\necho 'Basic {IN_HTTP}'\n")).display().to_string();
    let home = office.home(NAME, &json!({ "upstream_proxy": upstream, "proxy_auth_command": command }));
    for mode in Mode::BOTH {
        opens(office.ssh(&home, mode, &[]));
    }
    for (command, what) in [
        ("echo Basic eDp5".to_owned(), format!("the upstream proxy at {} refused the login", squid.address)),
        ("exit 3".to_owned(), "`proxy_auth_command` gave no login for the upstream proxy".to_owned()),
    ] {
        let home = office.home(NAME, &json!({ "upstream_proxy": upstream, "proxy_auth_command": command }));
        office.ssh(&home, Mode::Stdio, &[]).output().ssh_fails_with(&what, "alone");
    }
}

/// The command lines of all processes of this machine.
fn command_lines() -> String {
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("cmdline"));
    processes.filter_map(|path| Some(String::from_utf8_lossy(&fs::read(path).ok()?).into_owned() + "\n")).collect()
}

fn has_password(text: &str) -> bool {
    [PASSWORD, IN_URL, IN_HTTP].iter().any(|form| text.contains(form))
}

fn keeps_the_password(outcome: &Outcome) -> &Outcome {
    outcome.check(!has_password(&outcome.text()) && !has_password(&outcome.stderr), "no password")
}

#[test]
fn the_password_is_in_no_command_line_no_log_and_no_message() {
    let office = Office::new();
    let squid = office.squid();
    let of_file = office.home(NAME, &json!({ "upstream_proxy": url("http", &squid) }));
    let of_variable = office.home(NAME, &json!({}));
    for home in [&of_file, &of_variable] {
        let log = home.join("helper.log");
        let words = ["-v", "--log-file", log.to_str().unwrap()];
        for mode in Mode::BOTH {
            let run = office.ssh(home, mode, &words).env("HTTPS_PROXY", url("http", &squid));
            let session = run.args(["-vvv", "echo in; cat"]).stdin_open().start();
            session.wait_for_all_of("in\n");
            let lines = command_lines();
            // microsocks gets its login from its command line, and has the same.
            let lines: String = lines.lines().filter(|line| !line.contains("microsocks")).collect();
            assert!(lines.contains("helper.log"), "the helper is not there: {lines}");
            assert!(!has_password(&lines), "{lines}");
            keeps_the_password(session.finish().succeeds());
        }
        let log = fs::read_to_string(log).unwrap();
        assert!(log.contains("the tunnel to VPS") && !has_password(&log), "{log}");
        let own = office.kohakuriver(home, &["config", "show"]).env("HTTPS_PROXY", url("http", &squid)).output();
        keeps_the_password(own.succeeds());
    }
    // A proxy that refuses it, one that is not there, and one that is none.
    drop(squid);
    let dead = RefusingPort::new();
    for proxy in [format!("127.0.0.1:{}", dead.port), office.tls.to_string(), format!("127.0.0.1:{}", office.sshd.port)]
    {
        let proxy = format!("http://alice:{IN_URL}@{proxy}");
        for (program, status) in [("helper", 255), ("list", 1), ("doctor", 1)] {
            let run = match program {
                "helper" => office.ssh(&of_variable, Mode::Stdio, &["-v"]),
                "list" => office.kohakuriver(&of_variable, &["vps", "list"]),
                _ => office.kohakuriver(&of_variable, &["doctor", ID, "--all"]),
            };
            keeps_the_password(run.env("HTTPS_PROXY", &proxy).output().exits(status));
        }
    }
}

/// The entries that `written` writes have no password, and this proxy.
fn entries_are(home: &Home, written: Run, carried: Option<&str>) {
    let own = "Host *\n  BatchMode yes\n  GlobalKnownHostsFile /dev/null\n  LogLevel ERROR\n";
    home.write(".ssh/config", own);
    written.output().succeeds();
    let ours = home.join(".ssh/kohakuriver.conf");
    let text = fs::read_to_string(&ours).unwrap();
    assert!(!has_password(&text), "{text}");
    match carried {
        Some(proxy) => assert!(text.contains(&format!("--upstream-proxy {proxy} ")), "{text}"),
        None => assert!(!text.contains("--upstream-proxy"), "{text}"),
    }
    fs::write(&ours, text.replace("User root", &format!("User {}", user()))).unwrap();
}

#[test]
fn entries_of_ssh_config_carry_the_proxy() {
    let office = Office::new();
    let squid = office.squid();
    let (proxy, named) = (url("http", &squid), url_without_password("http", &squid));
    let ssh = |home: &Home| {
        let run = Run::new(tool("ssh"), home).arg("-F").arg(home.join(".ssh/config"));
        run.arg(format!("{}.kohakuriver", crate::support::gateway::name_of(ID)))
    };
    let write = ["ssh", "config", "--write"];
    let home = office.home(NAME, &json!({ "upstream_proxy": proxy }));
    entries_are(&home, office.kohakuriver(&home, &write), Some(&named));
    opens(ssh(&home));
    // Of a flag.
    let home = office.home(NAME, &json!({}));
    let flagged = office.kohakuriver(&home, &[&["--upstream-proxy", &named], &write[..]].concat());
    entries_are(&home, flagged.env("HTTPS_PROXY", &proxy), Some(&named));
    opens(ssh(&home).env("HTTPS_PROXY", &proxy));
    // The variables count where ssh runs.
    let home = office.home(NAME, &json!({}));
    entries_are(&home, office.kohakuriver(&home, &write).env("ALL_PROXY", &proxy), None);
    opens(ssh(&home).env("HTTPS_PROXY", &proxy));
}

#[test]
fn the_other_commands_go_through_it_too() {
    let office = Office::new();
    let squid = office.squid();
    let home = office.home(NAME, &json!({ "upstream_proxy": url("http", &squid) }));
    office.kohakuriver(&home, &["vps", "list"]).output().succeeds().says_nothing();
    let connect = ["vps", "connect", ID, "--user", user(), "--", "echo", "in"];
    office.kohakuriver(&home, &connect).output().succeeds().prints("in\n");
    let doctor = office.kohakuriver(&home, &["doctor", ID, "--user", user()]).output();
    keeps_the_password(&doctor);
    let through = format!("through the upstream proxy at {}", squid.address);
    doctor.succeeds().check(doctor.text().contains(&through), "the proxy on the way");
}
