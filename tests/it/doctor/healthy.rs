//! A connection without problems, and the form of the report.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;

use super::machine::PASSES_SOCKETS;
use super::{doctor, findings, names, of_check, report, with_config, with_verdict};
use crate::support::cluster::Cluster;
use crate::support::gateway::NODE;
use crate::support::home::{Home, mode};
use crate::support::older_host::{OlderHost, task};
use crate::support::peers::RefusingPort;
use crate::support::run::{DEADLINE, Outcome};
use crate::support::scene::ID;
use crate::support::sshd::Sshd;
use crate::support::tools::{CLI, sh_quote, tool, user};

/// Every check, in its order.
const CHECKS: [&str; 22] = [
    "settings",
    "ssh",
    "helper",
    "kohakuriver",
    "ssh-config",
    "shell",
    "ssh-folder",
    "host-name",
    "host-api",
    "token",
    "proxy-port",
    "proxy",
    "vps",
    "runner",
    "tunnel",
    "ssh-server",
    "host-key",
    "keys",
    "login",
    "round-trip",
    "throughput",
    "own-ssh",
];

fn checks(report: &Value) -> Vec<&str> {
    findings(report).iter().map(|finding| finding["check"].as_str().unwrap()).collect()
}

#[track_caller]
fn found<'r>(report: &'r Value, check: &str) -> &'r str {
    of_check(report, check)["found"].as_str().unwrap()
}

#[test]
fn a_connection_that_works() {
    let cluster = Cluster::new();
    let outcome = doctor(&cluster).output();
    outcome.succeeds();
    let report = report(&outcome);
    assert_eq!(checks(&report), CHECKS);
    let keys: Vec<&String> = report.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["findings", "healthy", "not_checked", "version", "vps"]);
    assert_eq!((&report["healthy"], &report["vps"]), (&Value::Bool(true), &Value::from(ID)));
    assert_eq!(report["not_checked"], Value::Array(Vec::new()));
    for finding in findings(&report) {
        let keys: Vec<&String> = finding.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["causes", "check", "command", "fix", "found", "milliseconds", "tried", "verdict"]);
        assert!(["ok", "note"].contains(&finding["verdict"].as_str().unwrap()), "{finding:#}");
        assert!(finding["milliseconds"].is_u64() && finding["fix"].is_null() && finding["command"].is_null());
    }
    assert_eq!(found(&report, "proxy"), concat!("kohakuriver-gateway ", env!("CARGO_PKG_VERSION")));
    assert!(found(&report, "ssh-server").starts_with("SSH-2.0-OpenSSH"));
    assert!(found(&report, "settings").contains("from KOHAKURIVER_HOST"));
    assert!(found(&report, "login").starts_with("logged in with ~/.ssh/id-kohakuriver-"));
    assert!(found(&report, "host-key").contains("no key is stored yet"));
    assert!(found(&report, "round-trip").contains("ms (from") && found(&report, "throughput").contains("MB/s"));
    outcome.check(!outcome.text().contains(&cluster.home.path().display().to_string()), "no path of the home");
    // A connection stores the key.
    cluster.connect().args(["--", "true"]).output().succeeds();
    assert!(found(&super::report(&doctor(&cluster).output()), "host-key").ends_with("is the stored one"));
}

#[test]
fn a_connection_through_an_older_host() {
    let cluster = Cluster::new();
    let host = OlderHost::start(&[task(ID, "running", Some(NODE), Some(cluster.sshd.port))]);
    let outcome = doctor(&cluster).on_host(host.api.port()).through(host.proxy.port()).output();
    outcome.succeeds();
    let report = report(&outcome);
    assert!(found(&report, "host-api").contains("older Host (hakuriver 0.3)"), "{outcome}");
    assert!(found(&report, "host-api").contains("HakuRiver Cluster Manager"), "{outcome}");
    assert!(found(&report, "proxy").contains("an older Host, with the line protocol"), "{outcome}");
    assert!(found(&report, "token").contains("no users"), "{outcome}");
    // A check is no error to it. Its log writes levels in colour.
    let log = host.log();
    assert!(log.contains("Invalid request format"), "{log}");
    assert!(!["ERROR\x1b", "CRITICAL\x1b"].iter().any(|error| log.contains(error)), "{log}");
}

#[test]
fn without_a_vps_the_checks_that_need_none_run() {
    let cluster = Cluster::new();
    let outcome = cluster.run(CLI).args(["doctor", "--json"]).output();
    outcome.succeeds();
    let report = report(&outcome);
    assert_eq!((&report["vps"], &report["healthy"]), (&Value::Null, &Value::Bool(true)));
    let not_checked: Vec<&str> =
        report["not_checked"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    assert_eq!([checks(&report), not_checked].concat(), CHECKS);
    assert_eq!(cluster.sshd.connections(), 0);
    let text = cluster.run(CLI).arg("doctor").output();
    text.succeeds().says_nothing();
    text.check(
        text.text().ends_with("To check the rest, name a VPS: `kohakuriver doctor VPS`\n"),
        "how to check the rest",
    );
}

#[test]
fn all_continues_after_a_problem() {
    let cluster = with_config(PASSES_SOCKETS);
    let port = RefusingPort::new();
    let outcome = doctor(&cluster).arg("--all").through(port.port).env("SHELL", "/no/such/shell").output();
    outcome.exits(1);
    let report = report(&outcome);
    assert_eq!(checks(&report), CHECKS);
    let wrong = with_verdict(&report, "wrong");
    assert_eq!(wrong.len(), 2, "{outcome}");
    names(wrong[0], "shell", &["/no/such/shell"], "export SHELL");
    names(wrong[1], "proxy-port", &["refused"], "ss -ltnp");
    let skipped = with_verdict(&report, "skip");
    assert!(skipped.iter().all(|finding| !finding["found"].as_str().unwrap().is_empty()));
    assert_eq!(
        skipped.iter().map(|f| f["check"].as_str().unwrap()).collect::<Vec<_>>(),
        ["proxy", "tunnel", "ssh-server", "host-key", "login", "round-trip", "throughput", "own-ssh"]
    );
}

/// Every check has run up to the login, which works although the remote command fails.
#[test]
fn a_login_with_a_forced_command_works() {
    let sshd = Sshd::start_with("ForceCommand exit 3");
    let cluster = Cluster::with(Home::new(), |vps| vps["ssh_port"] = sshd.port.into());
    sshd.copy_key_to(&cluster.home.join(&format!(".ssh/id-kohakuriver-{ID}")));
    let outcome = doctor(&cluster).output();
    outcome.succeeds();
    let report = report(&outcome);
    assert_eq!(report["healthy"], true);
    assert!(found(&report, "login").ends_with("but `true` exited with status 3 there"), "{outcome}");
    assert!(found(&report, "round-trip").starts_with("`cat` did not answer"), "{outcome}");
    assert!(found(&report, "throughput").starts_with("no byte came"), "{outcome}");
}

/// The files below a directory.
fn content(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.display().to_string();
        match path.is_dir() {
            true => found.extend(content(&path)),
            false => found.extend([(name, fs::read(&path).unwrap())]),
        }
    }
    found
}

#[test]
fn no_file_is_changed_or_left_behind() {
    let cluster = Cluster::new();
    let log = cluster.home.write("helper.log", "");
    let temporary = cluster.home.join("tmp");
    fs::create_dir(&temporary).unwrap();
    // Creates the files that every run has.
    drop(cluster.run(CLI));
    let before = content(cluster.home.path());
    let run = |vps: &str| cluster.run(CLI).args(["doctor", vps, "--user", user()]).env("TMPDIR", &temporary);
    for vps in [ID, "vps-8192", "no-such-vps"] {
        run(vps).env("KOHAKURIVER_LOG_FILE", &log).output().exits(i32::from(vps == "no-such-vps"));
    }
    assert!(before.len() > 2);
    assert_eq!(content(cluster.home.path()), before);
}

/// Removes what differs from run to run: times, ports.
fn comparable(outcome: &Outcome, cluster: &Cluster) -> String {
    let mut text = outcome.text();
    for (port, name) in
        [(cluster.gateway.api().port(), "8000"), (cluster.gateway.address.port(), "8002"), (cluster.sshd.port, "32768")]
    {
        text = text.replace(&port.to_string(), name);
    }
    text = text.replace(concat!("kohakuriver-gateway ", env!("CARGO_PKG_VERSION")), "kohakuriver-gateway 1.2.3");
    let mut comparable = String::new();
    for line in text.lines() {
        let timed = line.rsplit_once(" (").filter(|(_, end)| end.ends_with(" ms)") || end.ends_with(" s)"));
        comparable += timed.map_or(line, |(line, _)| line);
        comparable.push('\n');
    }
    comparable
}

/// The lines of `checks`, and those below them.
fn lines_of(text: &str, checks: &[&str]) -> String {
    let of_them = |line: &&str| {
        let mut words = line.split_whitespace();
        let is_finding = matches!(words.next(), Some("ok" | "note" | "skip" | "wrong")) && !line.starts_with(' ');
        !is_finding || words.next().is_some_and(|name| checks.contains(&name))
    };
    text.lines().filter(of_them).map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_text_without_problems() {
    let cluster = Cluster::new();
    let outcome = cluster.run(CLI).args(["doctor", ID, "--user", user()]).output();
    outcome.succeeds().says_nothing();
    let text = comparable(&outcome, &cluster);
    let same =
        ["settings", "ssh-folder", "host-name", "host-api", "token", "proxy-port", "proxy", "vps", "runner", "tunnel"];
    assert_eq!(lines_of(&text, &same), "\
ok    settings     flags and environment (no config.json): Host 127.0.0.1 (from KOHAKURIVER_HOST), API port 8000 \
(from KOHAKURIVER_PORT), SSH proxy port 8002 (from KOHAKURIVER_SSH_PROXY_PORT)
ok    ssh-folder   ~/.ssh and the host keys in it: readable and writable
ok    host-name    the addresses of 127.0.0.1: 127.0.0.1
ok    host-api     GET http://127.0.0.1:8000/api/nodes: a current Host with its API under /api; its clock agrees with this machine's
ok    token        no token for this Host, neither in KOHAKURIVER_TOKEN nor in ~/.kohakuriver: a stand-alone gateway has no \
users, so everybody may log in
ok    proxy-port   a connection to 127.0.0.1:8002: 127.0.0.1:8002 accepts
ok    proxy        a CONNECT without a target to 127.0.0.1:8002: kohakuriver-gateway 1.2.3
ok    vps          VPS 7323718749301768192 at http://127.0.0.1:8000: 7323718749301768192 is running, name vps-8192
ok    runner       Runner node-up at http://127.0.0.1:8000: node-up is online; the VPS's sshd is at 127.0.0.1:32768
ok    tunnel       the helper to VPS 7323718749301768192 through 127.0.0.1:8002: open; tunnels are not resumable: \
the gateway is in a private network, and ssh gets the socket itself, which is fastest
A login on VPS 7323718749301768192 works.
", "{outcome}");
}

#[test]
fn the_text_of_a_problem() {
    let port = RefusingPort::new();
    let cluster = Cluster::with(Home::new(), |vps| vps["ssh_port"] = port.port.into());
    let outcome = cluster.run(CLI).args(["doctor", ID, "--user", user()]).output();
    outcome.exits(1).says_nothing();
    let text = comparable(&outcome, &cluster);
    assert_eq!(
        lines_of(&text, &["tunnel"]),
        "\
wrong tunnel       the helper to VPS 7323718749301768192 through 127.0.0.1:8002: VPS 7323718749301768192 refuses SSH \
connections
      caused by: the gateway at 127.0.0.1:8002 answered 502 Bad Gateway
      caused by: nothing listens on its SSH port on Runner node-up
      fix: if it has just started, wait for it with `kohakuriver vps connect 7323718749301768192 --wait`; if not, its sshd may have ended
          kohakuriver vps connect 7323718749301768192 --wait
This is why you can't log in. 7 checks were skipped; `--all` runs them as well.
",
        "{outcome}"
    );
}

#[test]
fn one_skipped_check_is_counted() {
    let (port, cluster) = (RefusingPort::new(), Cluster::new());
    let outcome = cluster.run(CLI).arg("doctor").through(port.port).output();
    let close = "This is why you can't log in. 1 check was skipped; `--all` runs it as well.\n";
    outcome.exits(1).check(outcome.text().ends_with(close), close);
}

/// Every check has its line, in order, and a problem in the middle has its causes and its fix.
#[test]
fn the_text_of_all_problems() {
    let cluster = Cluster::new();
    let port = RefusingPort::new();
    let run = cluster.run(CLI).args(["doctor", ID, "--all", "--user", user()]).env("SHELL", "/no/such/shell");
    let outcome = run.through(port.port).output();
    outcome.exits(1).says_nothing();
    let text = comparable(&outcome, &cluster).replace(&port.port.to_string(), "8002");
    let text = text.replace(&format!(" as {},", user()), " as root,");
    let text = text.replace(&format!("--user {} ", user()), "--user root ");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
    let (close, findings) = lines.split_last().unwrap();
    let checks: Vec<&str> = findings.iter().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!((checks.as_slice(), *close), (CHECKS.as_slice(), "This is why you can't log in."), "{outcome}");
    let same = [
        "shell",
        "proxy-port",
        "proxy",
        "tunnel",
        "ssh-server",
        "host-key",
        "login",
        "round-trip",
        "throughput",
        "own-ssh",
    ];
    assert_eq!(
        lines_of(&text, &same),
        "\
note  shell        the helper, started by /no/such/shell (SHELL) as ssh does it: your shell, /no/such/shell, does not run \
the helper (No such file or directory (os error 2)); it does no harm to your logins
wrong proxy-port   a connection to 127.0.0.1:8002: cannot reach the SSH proxy at 127.0.0.1:8002
      caused by: 127.0.0.1:8002: Connection refused (os error 111)
      caused by: nothing listens there, so the SSH proxy is not running; or a firewall refuses the connection
      fix: start the SSH proxy on the Host; check there whether it listens:
          sudo ss -ltnp 'sport = :8002'
skip  proxy        a CONNECT without a target to 127.0.0.1:8002: its port does not accept connections
skip  tunnel       the helper to VPS 7323718749301768192 through 127.0.0.1:8002: no SSH proxy answers
skip  ssh-server   the first line from the sshd of VPS 7323718749301768192: no tunnel is open
skip  host-key     the host key of VPS 7323718749301768192, compared with ~/.ssh/.kohakuriver_known_hosts: no sshd \
has answered
skip  login        `ssh -v` to VPS 7323718749301768192 as root, without questions: the host key is not \
verified
skip  round-trip   one byte to `cat` on VPS 7323718749301768192 and back, 5 times: no login works
skip  throughput   `head -c 67108864 /dev/zero` on VPS 7323718749301768192, for at most 1 s: no login works
skip  own-ssh      `kohakuriver vps connect 7323718749301768192 --user root -- true`, with your own ssh_config: no login \
works
This is why you can't log in.
",
        "{outcome}"
    );
}

/// Runs doctor on a terminal of 40 columns.
fn on_a_terminal(cluster: &Cluster, name: &str, value: &str) -> String {
    let line = format!("stty cols 40; {} doctor {ID} --user {}", sh_quote(CLI), user());
    let run = cluster.run(tool("script")).args(["-q", "-e", "-c", &line, "/dev/null"]).env("TERM", "xterm");
    let outcome = run.env(name, value).output();
    outcome.succeeds();
    outcome.text()
}

#[test]
fn the_text_fits_the_terminal_and_has_colour() {
    let cluster = Cluster::new();
    let text = on_a_terminal(&cluster, "KR_NOTHING", "1");
    assert!(text.contains("\x1b[32mok") && text.contains("\x1b[K"), "{text:?}");
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let text = on_a_terminal(&cluster, name, value);
        assert!(!text.contains("\x1b[32m") && text.contains("ok    tunnel"), "{text:?}");
        if name == "TERM" {
            assert!(!text.contains('\x1b'), "{text:?}");
            let words = |line: &str| line.split_whitespace().count();
            assert!(text.lines().all(|line| line.chars().count() <= 40 || words(line) == 1), "{text}");
        }
    }
}

#[test]
fn a_closed_stdout_is_no_failure() {
    let cluster = Cluster::new();
    let line = format!("{} doctor --all | head -n 1", sh_quote(CLI));
    let outcome = cluster.run("/bin/sh").args(["-c", &line]).output();
    outcome.succeeds().says_nothing().check(outcome.text().starts_with("ok    settings"), "the first line");
    let closed = cluster.run("/bin/sh").args(["-c", &format!("{} doctor >&- 2>&-", sh_quote(CLI))]).output();
    closed.check(closed.status.code().is_some_and(|code| code < 2), "no crash");
}

#[test]
fn an_argument_that_is_no_vps_is_wrong_usage() {
    let cluster = Cluster::new();
    cluster.run(CLI).args(["doctor", "a\nb"]).output().exits(2).prints_nothing().says(&["`a b`"]);
    cluster.run(CLI).args(["doctor", ID, "--no-such-flag"]).output().exits(2).prints_nothing();
}

#[test]
fn a_signal_leaves_no_file_behind() {
    let cluster = Cluster::new();
    let temporary = cluster.home.join("tmp");
    fs::create_dir(&temporary).unwrap();
    // An ssh that hangs instead of a login.
    cluster.home.ssh("case \" $* \" in *' -v true '*) echo up >&2; exec sleep 30;; esac", "-F none");
    let process = doctor(&cluster).env("TMPDIR", &temporary).start();
    let end = Instant::now() + DEADLINE;
    while fs::read_dir(&temporary).unwrap().count() == 0 {
        assert!(Instant::now() < end, "no login was tried");
        thread::yield_now();
    }
    let folder = fs::read_dir(&temporary).unwrap().next().unwrap().unwrap();
    assert_eq!(mode(&folder.path()), 0o700, "a directory for this user only");
    process.signal(Signal::TERM);
    process.wait_for("the end of doctor", DEADLINE, |_| (fs::read_dir(&temporary).unwrap().count() == 0).then_some(()));
}
