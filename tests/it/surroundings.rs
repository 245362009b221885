//! Each command does the same when stdin, stdout or stderr is closed, and on any terminal.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::commands::commands;
use crate::support::home::Home;
use crate::support::life_host::{LifeHost, vps};
use crate::support::peers::{Peer, http_server};
use crate::support::run::{Outcome, Run};
use crate::support::scene::ID;
use crate::support::terminal::on_a_terminal;
use crate::support::tools::CLI;

/// Commands, and their exit status in all surroundings.
const CASES: &[(&str, i32)] = &[
    ("kohakuriver vps list", 0),
    ("kohakuriver vps list --all", 0),
    ("kohakuriver vps list --json", 0),
    ("kohakuriver vps list -P 1", 1),
    ("kohakuriver vps status trainer", 0),
    ("kohakuriver vps status trainer --json", 0),
    ("kohakuriver vps status nothing", 1),
    ("kohakuriver vps sessions", 0),
    ("kohakuriver vps sessions --json", 0),
    ("kohakuriver vps sessions --admin 127.0.0.1:1", 1),
    ("kohakuriver vps connect trainer --dry-run", 0),
    ("kohakuriver vps connect nothing", 255),
    ("kohakuriver vps cp --dry-run file trainer:", 0),
    ("kohakuriver vps cp file nothing:", 255),
    ("kohakuriver vps forward --help", 0),
    ("kohakuriver vps forward nothing 18888", 1),
    ("kohakuriver vps create", 0),
    ("kohakuriver vps create --help", 0),
    ("kohakuriver vps stop trainer", 2),
    ("kohakuriver vps stop trainer --yes", 0),
    ("kohakuriver vps stop nothing", 1),
    ("kohakuriver vps restart trainer", 2),
    ("kohakuriver vps restart machine --yes", 0),
    ("kohakuriver vps pause trainer", 0),
    ("kohakuriver vps resume notebook", 0),
    ("kohakuriver node list", 0),
    ("kohakuriver node list --json", 0),
    ("kohakuriver ssh config", 0),
    ("kohakuriver ssh config --diff", 0),
    ("kohakuriver ssh config --write", 0),
    ("kohakuriver ssh config --remove", 0),
    ("kohakuriver ssh forget trainer", 0),
    ("kohakuriver login", 0),
    ("kohakuriver login -P 1", 1),
    ("kohakuriver cluster list", 0),
    ("kohakuriver cluster list --json", 0),
    ("kohakuriver cluster use default", 0),
    ("kohakuriver cluster use nowhere", 2),
    ("kohakuriver cluster rename --help", 0),
    ("kohakuriver cluster rename default work", 2),
    ("kohakuriver cluster remove default", 0),
    ("kohakuriver auth status", 0),
    ("kohakuriver auth logout", 0),
    ("kohakuriver auth login", 0),
    ("kohakuriver config path", 0),
    ("kohakuriver config show", 0),
    ("kohakuriver config set port 8001", 0),
    ("kohakuriver config set port x", 2),
    ("kohakuriver config unset port", 0),
    ("kohakuriver doctor -P 1", 1),
    ("kohakuriver doctor -P 1 --json", 1),
    ("kohakuriver completions bash", 0),
    ("kohakuriver man", 0),
    ("kohakuriver man vps list", 0),
    ("kohakuriver --help", 0),
    ("kohakuriver vps lst", 2),
    ("kohakuriver-proxy --help", 0),
    ("kohakuriver-proxy", 2),
    ("kohakuriver-proxy --proxy 127.0.0.1:1 42", 1),
    ("kohakuriver-gateway --help", 0),
    ("kohakuriver-gateway --no-such-flag", 2),
    ("kohakuriver-gateway --inventory /no/such/file", 2),
];

/// The commands whose lines fit the terminal.
const TABLES: [&str; 5] = [
    "kohakuriver vps list",
    "kohakuriver vps list --all",
    "kohakuriver vps sessions",
    "kohakuriver node list",
    "kohakuriver vps create --help",
];

/// A Host with a VPS of each kind, and a gateway that tells a session.
struct Stage {
    host: LifeHost,
    gateway: Peer,
    home: Home,
}

impl Stage {
    fn new() -> Self {
        let session = json!({
            "id": 7, "user": "alice", "client": "10.0.0.9:51234", "protocol": "connect", "task_id": ID, "node": "node1",
            "opened": "2026-11-23T12:05:53.532Z", "seconds": 61, "bytes_up": 3, "bytes_down": 5,
        });
        let gateway = http_server(move |_| (200, "application/json", json!([session]).to_string()));
        Self { host: LifeHost::start(22022), gateway, home: Home::new() }
    }

    /// Puts the Host in the state that each command finds.
    fn set(&self) {
        self.host.change(|state| {
            let others = [
                ("7323718749301768193", "notebook", "paused", "docker"),
                ("7323718749301768194", "machine", "running", "qemu"),
            ];
            state.vpses = vec![vps("running", "docker", 22022)];
            for (id, name, status, backend) in others {
                let mut vps = vps(status, backend, 22023);
                vps["task_id"] = id.into();
                vps["name"] = name.into();
                state.vpses.push(vps);
            }
        });
        for left in [".ssh", ".config", ".cache", ".kohakuriver"] {
            let _ = std::fs::remove_dir_all(self.home.join(left));
        }
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let programs = Path::new(CLI).parent().unwrap().display();
        vec![
            ("PATH", format!("{programs}:{}", std::env::var("PATH").unwrap())),
            ("KOHAKURIVER_HOST", "127.0.0.1".to_owned()),
            ("KOHAKURIVER_PORT", self.host.peer.address.port().to_string()),
            ("KOHAKURIVER_SSH_PROXY_PORT", "1".to_owned()),
            ("KOHAKURIVER_GATEWAY_ADMIN", self.gateway.address.to_string()),
        ]
    }

    /// The outcome of `script` in a shell.
    fn sh(&self, script: &str) -> Outcome {
        self.set();
        let run = Run::new("/bin/sh", &self.home);
        self.variables().into_iter().fold(run, |run, (name, value)| run.env(name, value)).args(["-c", script]).output()
    }
}

/// The text without digits: some of them say how long something took.
fn words(text: &str) -> String {
    text.split(|c: char| c.is_ascii_digit()).collect::<Vec<_>>().join("")
}

#[test]
fn every_command_is_among_the_cases() {
    for command in commands() {
        let command = format!("kohakuriver {command}");
        assert!(
            CASES.iter().any(|(case, code)| case.starts_with(&command) && *code == 0 || command.ends_with("doctor")),
            "{command}"
        );
    }
}

#[test]
fn closed_descriptors_change_neither_the_rest_nor_the_exit_status() {
    let stage = Stage::new();
    for (command, code) in CASES {
        let plain = stage.sh(&format!("exec {command}"));
        plain.exits(*code);
        for (ends, stdout, stderr) in
            [(">&-", false, true), ("2>&-", true, false), ("<&-", true, true), ("<&- >&- 2>&-", false, false)]
        {
            let closed = stage.sh(&format!("exec {command} {ends}"));
            closed.exits(*code);
            let same = |open: bool, now: &str, before: &str| now == if open { words(before) } else { String::new() };
            closed.check(same(stdout, &words(&closed.text()), &plain.text()), &format!("{:?} as before", plain.text()));
            closed.check(same(stderr, &words(&closed.stderr), &plain.stderr), &format!("{:?} as before", plain.stderr));
        }
    }
}

#[test]
fn a_reader_that_stops_early_changes_no_exit_status() {
    let stage = Stage::new();
    for (command, code) in CASES {
        let plain = stage.sh(&format!("exec {command}"));
        let head = stage.sh(&format!("{{ {command}; echo \"status=$?\" >&2; }} | head -n 1"));
        head.succeeds().check(
            words(&head.text()) == words(&plain.text().split_inclusive('\n').take(1).collect::<String>()),
            "the first line",
        );
        head.check(head.stderr.ends_with(&format!("status={code}\n")), &format!("status={code}"));
        let said = head.stderr.rsplit_once("status=").unwrap().0;
        head.check(words(said) == words(&plain.stderr), &format!("{:?} on stderr", plain.stderr));

        // stdout and stderr have no reader from the start.
        stage.set();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut words = command.split(' ');
        let program = Path::new(CLI).with_file_name(words.next().unwrap());
        let status = Command::new(program)
            .env_clear()
            .env("HOME", stage.home.path())
            .envs(stage.variables())
            .args(words)
            .stdin(Stdio::null())
            .stdout(OwnedFd::from(writer.try_clone().unwrap()))
            .stderr(OwnedFd::from(writer))
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(*code), "{command}");
    }
}

#[test]
fn a_terminal_of_40_columns_without_colours_shows_plain_lines() {
    let stage = Stage::new();
    for (command, code) in CASES {
        let Some(arguments) = command.strip_prefix("kohakuriver ") else { continue };
        // There it asks, and gets no answer.
        let asks = matches!(*command, "kohakuriver vps stop trainer" | "kohakuriver vps restart trainer");
        let code = if asks { 1 } else { *code };
        for (kind, no_colour) in [("dumb", ""), ("xterm", "1"), ("xterm", "")] {
            stage.set();
            let run = on_a_terminal(&stage.home, stage.host.peer.address.port(), (40, 10), kind, arguments);
            let run = stage.variables().into_iter().fold(run, |run, (name, value)| run.env(name, value));
            let shown = run.env("NO_COLOR", no_colour).output();
            shown.exits(code);
            let text = shown.text();
            let plain = kind == "dumb" || !no_colour.is_empty() && !text.contains("\x1b[K");
            shown.check(!plain || !text.contains('\x1b'), "no escape sequence");
            let no_colours = no_colour.is_empty() || !text.contains("\x1b[3") && !text.contains("\x1b[1m");
            shown.check(no_colours, "no colour");
            if TABLES.contains(command) {
                let fits = text.lines().all(|line| line.trim_end().chars().count() <= 40 || line.contains('\x1b'));
                shown.check(fits, "lines of 40 columns");
            }
        }
    }
}

/// A pipe has no width, and a command stays whole to be copied.
#[test]
fn a_failure_is_folded_on_a_terminal_only() {
    let host = LifeHost::with(vps("running", "docker", 22022));
    let home = Home::new();
    let port = host.peer.address.port();
    let folded = on_a_terminal(&home, port, (40, 10), "xterm", "vps stop nosuch --yes").output();
    let shown = folded.text().replace("\r\n", "\n");
    let expected = format!(
        "kohakuriver: there is no VPS nosuch\n  caused by: the Host at\n    http://127.0.0.1:{port} says so\n  hint: see \
         which there are with\n    `kohakuriver vps list --all`\n"
    );
    folded.exits(1).check(shown.ends_with(&expected), &expected);
    let whole = host.run(&home, &["vps", "stop", "nosuch", "--yes"]).output();
    whole.exits(1).says(&["  hint: see which there are with `kohakuriver vps list --all`\n"]);
}
