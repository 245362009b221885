//! `kohakuriver`, the built program, with a minimal Host and a script as `ssh`: its requests, the programs that it runs,
//! its output and its exit status.
#![cfg(feature = "cli")]
// clippy's `allow-unwrap-in-tests` doesn't reach the functions that tests share.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use kohakuriver_proxy::ssh::quote::proxy_command_word;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpSocket;

const KOHAKURIVER: &str = env!("CARGO_BIN_EXE_kohakuriver");
const PROXY: &str = env!("CARGO_BIN_EXE_kohakuriver-proxy");
const VPS: &str = "7323718749301768192";

/// Prints its arguments, one per line, and ends with an unusual exit status.
const PRINT_ARGUMENTS: &str = r#"printf '%s\n' "$@"; exit 42"#;

/// A Host API with a few paths. Any other path is `404 Task not found.`
struct Host {
    port: u16,
    /// The heads of all requests so far.
    heads: Arc<Mutex<Vec<String>>>,
}

impl Host {
    fn with(answers: impl IntoIterator<Item = (&'static str, u16, Value)>) -> Self {
        let answers: HashMap<&str, (u16, Value)> =
            answers.into_iter().map(|(path, status, body)| (path, (status, body))).collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        // The thread ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &answers, &seen);
            }
        });
        Self { port, heads }
    }

    /// One VPS on one Runner, with `changes` to it.
    fn with_vps(changes: Value) -> Self {
        let mut vps = json!({
            "task_id": VPS, "task_type": "vps", "name": "trainer", "status": "running", "assigned_node": "node1",
            "ssh_port": 32768, "vps_backend": "docker", "owner_username": "alice", "error_message": null,
            "submitted_at": "2026-11-23T12:05:53.532229", "started_at": "2026-11-23T12:06:53.532229",
        });
        vps.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let nodes = json!([
            { "hostname": "node1", "url": "http://127.0.0.1:8001", "status": "online", "last_heartbeat": "2026-11-23T13:00:00" },
            { "hostname": "node2", "url": "http://127.0.0.2:8001", "status": "offline", "last_heartbeat": null },
        ]);
        let list = json!([vps.clone()]);
        Self::with([
            ("/api/status/7323718749301768192", 200, vps),
            ("/api/vps", 200, list.clone()),
            ("/api/vps/status", 200, list),
            ("/api/nodes", 200, nodes),
        ])
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn answer(mut stream: TcpStream, answers: &HashMap<&str, (u16, Value)>, seen: &Mutex<Vec<String>>) {
    let mut head = String::new();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    seen.lock().unwrap().push(head);
    let unknown = (404, json!({ "detail": "Task not found." }));
    let (status, body) = answers.get(path.as_str()).unwrap_or(&unknown);
    let body = body.to_string();
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n");
    let _ = write!(stream, "{head}connection: close\r\n\r\n{body}");
}

/// A home directory and a folder of programs, removed at the end of the test.
struct Scene(TempDir);

impl Scene {
    fn new() -> Self {
        let scene = Self(tempfile::tempdir().unwrap());
        fs::create_dir(scene.path("home")).unwrap();
        fs::create_dir(scene.path("bin")).unwrap();
        scene.script("bin/ssh", PRINT_ARGUMENTS);
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A shell script. Another process writes it: a child of a parallel test could inherit our open descriptor, and a
    /// script that is open for writing can't be executed.
    fn script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let status = Command::new("sh")
            .args(["-c", r#"printf '#!/bin/sh\n%s\n' "$2" >"$1" && chmod 700 "$1""#, "sh"])
            .args([path.as_os_str(), body.as_ref()])
            .status();
        assert!(status.unwrap().success());
        path
    }

    fn command(&self, host: &Host) -> Command {
        let mut command = Command::new(KOHAKURIVER);
        command
            .env_clear()
            .env("HOME", self.path("home"))
            .env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()))
            .env("KOHAKURIVER_HOST", "127.0.0.1")
            .env("KOHAKURIVER_PORT", host.port.to_string())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, host: &Host, args: &[&str]) -> Said {
        Said::by(self.command(host).args(args).output().unwrap())
    }
}

#[derive(PartialEq, Debug)]
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Said {
    fn by(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }
}

fn ssh_words(scene: &Scene, host: &Host, user: &str, rest: &[&str]) -> Vec<String> {
    let known_hosts = scene.path("home/.ssh/.kohakuriver_known_hosts");
    let proxy = proxy_command_word(PROXY.as_ref()).into_string().unwrap();
    let mut words: Vec<String> = [
        format!(
            "ProxyCommand={proxy} --fdpass --proxy 127.0.0.1:8002 --host-api 127.0.0.1:{} --cluster default %h %p",
            host.port
        ),
        "ProxyUseFdpass=yes".into(),
        format!("UserKnownHostsFile={}", known_hosts.display()),
        "CheckHostIP=no".into(),
        "HashKnownHosts=no".into(),
        format!("HostName={VPS}.kohakuriver"),
        format!("HostKeyAlias=kohakuriver-{VPS}"),
        "Port=22".into(),
        "CanonicalizeHostname=no".into(),
        "HostKeyAlgorithms=+ssh-ed25519".into(),
        "PermitLocalCommand=no".into(),
        "ServerAliveInterval=30".into(),
        "ServerAliveCountMax=3".into(),
    ]
    .into_iter()
    .flat_map(|option| ["-o".to_owned(), option])
    .collect();
    words.extend(["-l".to_owned(), user.to_owned(), format!("{VPS}.kohakuriver")]);
    words.extend(rest.iter().map(|&word| word.to_owned()));
    words
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn connect_becomes_ssh_and_keeps_its_exit_status() {
    let (scene, host) = (Scene::new(), Host::with_vps(json!({})));
    let said = scene.run(&host, &["vps", "connect", VPS, "--", "-L", "8888:localhost:8888", "-t", "htop -d 5"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(42), ""));
    assert_eq!(said.lines(), ssh_words(&scene, &host, "root", &["-L", "8888:localhost:8888", "-t", "htop -d 5"]));
    assert_eq!(mode(&scene.path("home/.ssh")), 0o700);
    assert_eq!(mode(&scene.path("home/.ssh/.kohakuriver_known_hosts")), 0o600);
}

#[test]
fn a_name_is_resolved_to_the_id() {
    let (scene, host) = (Scene::new(), Host::with_vps(json!({})));
    let said = scene.run(&host, &["vps", "connect", "trainer", "-u", "kohaku"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(42), ""));
    assert_eq!(said.lines(), ssh_words(&scene, &host, "kohaku", &[]));
}

#[test]
fn a_generated_key_is_the_only_key_that_ssh_offers() {
    let (scene, host) = (Scene::new(), Host::with_vps(json!({})));
    let key = scene.path(&format!("home/.ssh/id-kohakuriver-{VPS}"));
    fs::create_dir(scene.path("home/.ssh")).unwrap();
    fs::write(&key, "key").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let said = scene.run(&host, &["vps", "connect", VPS]);
    assert_eq!(said.code, Some(42), "{said:?}");
    let option = format!("IdentityFile={}", key.display());
    assert!(said.lines().contains(&option.as_str()) && said.lines().contains(&"IdentitiesOnly=yes"), "{said:?}");

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let said = scene.run(&host, &["vps", "connect", VPS]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(255), ""));
    let hint = format!("hint: make it private with `chmod 600 {}`", key.display());
    assert!(said.stderr.contains(&hint), "{}", said.stderr);
}

#[test]
fn a_dry_run_prints_a_shell_command_and_changes_nothing() {
    let (scene, host) = (Scene::new(), Host::with_vps(json!({})));
    let said = scene.run(&host, &["vps", "connect", VPS, "--dry-run", "--", "echo", "it's $HOME", "*"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    assert_eq!(fs::read_dir(scene.path("home")).unwrap().count(), 0);
    let pasted = Said::by(Command::new("sh").args(["-c", &said.stdout]).output().unwrap());
    assert_eq!(pasted.code, Some(42), "{said:?}");
    assert_eq!(pasted.lines(), ssh_words(&scene, &host, "root", &["echo", "it's $HOME", "*"]));
}

#[test]
fn a_token_is_sent_to_the_host_and_is_on_no_command_line() {
    let (scene, host) = (Scene::new(), Host::with_vps(json!({})));
    let output = scene.command(&host).args(["vps", "connect", VPS]).env("KOHAKURIVER_TOKEN", "5ekr1t").output();
    let said = Said::by(output.unwrap());
    assert_eq!(said.code, Some(42), "{said:?}");
    assert!(!format!("{said:?}").contains("5ekr1t"), "{said:?}");
    let heads = host.heads.lock().unwrap();
    assert!(!heads.is_empty());
    assert!(heads.iter().all(|head| head.contains("Bearer 5ekr1t")), "{heads:?}");
}

#[test]
fn an_unreachable_vps_is_reported_before_ssh_starts() {
    for (changes, what, hint) in [
        (json!({ "task_type": "command" }), "is a command task, not a VPS", "vps list"),
        (json!({ "status": "stopped" }), "is stopped", "vps create"),
        (json!({ "status": "paused" }), "is paused", "vps resume"),
        (json!({ "status": "assigning" }), "is starting", "--wait"),
        (json!({ "ssh_port": 0 }), "has no SSH: it was created for terminals only", "--gen-ssh-key"),
        (json!({ "ssh_port": null }), "has no SSH: it was created for terminals only", "--gen-ssh-key"),
        (json!({ "assigned_node": "node2" }), "is offline", "node list"),
        (json!({ "assigned_node": "node3" }), "the Host does not know the Runner", "node list"),
        (json!({ "assigned_node": null }), "has no Runner", "node list"),
    ] {
        let (scene, host) = (Scene::new(), Host::with_vps(changes));
        let said = scene.run(&host, &["vps", "connect", VPS]);
        assert_eq!((said.code, said.stdout.as_str()), (Some(255), ""), "{said:?}");
        let lines: Vec<&str> = said.stderr.lines().collect();
        assert!(lines[0].starts_with("kohakuriver: ") && lines[0].contains(what), "{}", said.stderr);
        assert!(lines.iter().any(|line| line.starts_with("  caused by: ") && line.contains(&host.url())), "{lines:?}");
        assert!(lines.last().unwrap().starts_with("  hint: ") && said.stderr.contains(hint), "{}", said.stderr);
        assert_eq!(fs::read_dir(scene.path("home")).unwrap().count(), 0);
    }
}

#[test]
fn a_command_task_has_no_vps_status() {
    let (scene, host) = (Scene::new(), Host::with_vps(json!({ "task_type": "command" })));
    let said = scene.run(&host, &["vps", "status", VPS]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""), "{said:?}");
    assert!(said.stderr.contains("is a command task, not a VPS"), "{}", said.stderr);
}

#[test]
fn a_refusal_of_the_host_is_reported() {
    let path = "/api/status/7323718749301768192";
    for (status, detail, what, hint) in [
        (404, "Task not found.", "there is no VPS 7323718749301768192", "vps list --all"),
        (401, "Not authenticated", "needs a login", "auth login"),
        (403, "Anonymous users cannot view task details", "needs a login", "auth login"),
    ] {
        let (scene, host) = (Scene::new(), Host::with([(path, status, json!({ "detail": detail }))]));
        let said = scene.run(&host, &["vps", "connect", VPS]);
        assert_eq!((said.code, said.stdout.as_str()), (Some(255), ""), "{said:?}");
        assert!(said.stderr.contains(what) && said.stderr.contains(hint), "{}", said.stderr);
        assert!(said.stderr.contains(&host.url()), "{}", said.stderr);
    }
}

#[test]
fn an_unreachable_host_is_named() {
    let scene = Scene::new();
    // A port without a listener. The socket keeps other tests from getting it.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    let host = Host { port, heads: Arc::default() };
    for args in [&["vps", "connect", VPS][..], &["vps", "list"], &["vps", "status", VPS], &["node", "list"]] {
        let said = scene.run(&host, args);
        let status = if args.contains(&"connect") { 255 } else { 1 };
        assert_eq!((said.code, said.stdout.as_str()), (Some(status), ""), "{args:?}: {said:?}");
        assert!(said.stderr.contains(&format!("127.0.0.1:{port}")), "{args:?}: {}", said.stderr);
        assert!(said.stderr.contains("\n  hint: "), "{args:?}: {}", said.stderr);
    }
}

#[test]
fn tables_and_json() {
    let (scene, host) = (Scene::new(), Host::with_vps(json!({ "name": "t\u{1b}[2J" })));
    let said = scene.run(&host, &["vps", "list"]);
    assert_eq!(
        (said.code, said.stderr.as_str(), said.stdout.as_str()),
        (
            Some(0),
            "",
            "TASK ID              NAME        STATUS   NODE   SSH PORT  SUBMITTED       BACKEND  OWNER\n\
             7323718749301768192  t\\u{1b}[2J  running  node1  32768     54 minutes ago  docker   alice\n"
        )
    );
    let said = scene.run(&host, &["node", "list", "--status", "online"]);
    assert_eq!(
        said.stdout,
        "HOSTNAME  STATUS  URL                    LAST HEARTBEAT\n\
         node1     online  http://127.0.0.1:8001  just now\n"
    );
    let said = scene.run(&host, &["vps", "status", VPS]);
    assert!(said.stdout.contains("\nNode       node1\nSSH Port   32768\n"), "{said:?}");
    assert!(said.stdout.ends_with("\nManual     ssh -p 32768 root@node1\n"), "{said:?}");

    for (args, pointer) in [(&["vps", "list", "--json"][..], "/0"), (&["vps", "status", VPS, "--json"], "")] {
        let said = scene.run(&host, args);
        let value: Value = serde_json::from_str(&said.stdout).unwrap();
        let vps = value.pointer(pointer).unwrap();
        assert_eq!((&vps["task_id"], &vps["ssh_port"]), (&json!(VPS), &json!(32768)), "{said:?}");
    }
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let (scene, host) = (Scene::new(), Host::with_vps(json!({})));
    for args in [&["vps", "list"][..], &["node", "list", "--json"], &["config", "show"], &["--help"]] {
        let mut child = scene.command(&host).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let said = Said::by(child.wait_with_output().unwrap());
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{args:?}");
    }
    let closed = format!("exec '{KOHAKURIVER}' vps list >&-");
    let mut command = scene.command(&host);
    let environment: Vec<_> = command.get_envs().map(|(k, v)| (k.to_owned(), v.unwrap().to_owned())).collect();
    command = Command::new("sh");
    let said = Said::by(command.env_clear().envs(environment).args(["-c", &closed]).output().unwrap());
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
}

#[test]
fn wrong_usage_has_exit_status_2_or_that_of_ssh() {
    let (scene, host) = (Scene::new(), Host::with_vps(json!({})));
    for (args, status) in [
        (&["vps", "connect"][..], 255),
        (&["vps", "connect", "99999999999999999999"], 255),
        (&["vps", "connect", "a\nb"], 255),
        (&["vps", "connect", VPS, "--colour"], 255),
        (&["-P", "x", "vps", "list"], 2),
        (&["vps", "lst"], 2),
        (&["docker", "ps"], 2),
    ] {
        let said = scene.run(&host, args);
        assert_eq!((said.code, said.stdout.as_str()), (Some(status), ""), "{args:?}: {said:?}");
        assert!(!said.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn flags_and_commands_of_the_python_cli_are_answered_with_ours() {
    let (scene, host) = (Scene::new(), Host::with_vps(json!({})));
    for (args, hint) in [
        (&["-f", "json", "vps", "list"][..], "`--json` behind the command"),
        (&["vps", "list", "--format=json"], "`--json` behind the command"),
        (&["forward", "trainer", "8888"], "use `kohakuriver vps forward trainer 8888`"),
        (&["ssh", "connect", "trainer"], "use `kohakuriver vps connect trainer`"),
        (&["vps", "create", "--vm-memory", "8192"], "add the unit, for example 8192M or 8G"),
        (&["auth", "login", "--token", "0123456789abcdef"], "--token-stdin"),
    ] {
        let said = scene.run(&host, args);
        assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{args:?}: {said:?}");
        assert!(said.stderr.contains(hint) && !said.stderr.contains("0123456789"), "{args:?}: {}", said.stderr);
    }
}

#[test]
fn unknown_commands_run_the_next_kohakuriver_unchanged() {
    let (scene, host) = (Scene::new(), Host::with_vps(json!({})));
    let next = scene.path("next");
    scene.script("next/kohakuriver", PRINT_ARGUMENTS);
    // This program comes first on PATH, as a link and as a copy. Both are skipped.
    std::os::unix::fs::symlink(KOHAKURIVER, scene.path("bin/kohakuriver")).unwrap();
    fs::create_dir(scene.path("copy")).unwrap();
    let copied = Command::new("cp").arg(KOHAKURIVER).arg(scene.path("copy")).status().unwrap();
    assert!(copied.success());
    let search_path =
        format!("{}:{}:{}:/usr/bin:/bin", scene.path("bin").display(), scene.path("copy").display(), next.display());
    for args in [
        &["vps", "assign", "--gpus", "1", "--", "x y"][..],
        &["-H", "gpu-head", "docker", "ps", "--help"],
        &["-f", "json", "vps", "list"],
        &["vps", "snapshot"],
    ] {
        let output = scene.command(&host).args(args).env("PATH", &search_path).output().unwrap();
        let said = Said::by(output);
        assert_eq!((said.code, said.stderr.as_str()), (Some(42), ""), "{args:?}");
        assert_eq!(said.lines(), args);
    }
}

#[test]
fn a_wrapper_around_this_program_causes_no_endless_loop() {
    let (scene, host) = (Scene::new(), Host::with_vps(json!({})));
    for start in ["exec ", ""] {
        scene.script("bin/kohakuriver", &format!("{start}'{KOHAKURIVER}' \"$@\""));
        let said = scene.run(&host, &["docker", "ps"]);
        assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{said:?}");
        assert!(said.stderr.contains("there is no other `kohakuriver` on PATH"), "{}", said.stderr);
    }
}
