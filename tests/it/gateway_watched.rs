//! What the gateway tells of its tunnels: metrics, sessions, audit lines, its log, and `kohakuriver vps sessions`.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use kohakuriver_proxy::refusal::Refusal;
use serde_json::{Value, json};

use crate::support::gateway::{Gateway, NODE, NODE_DOWN, inventory, name_of, running};
use crate::support::home::Home;
use crate::support::host_api::{OWNER, STRANGER, host_api};
use crate::support::peers::{MutePort, PEER_TIMEOUT, Peer, RefusingPort, echo_server, http_server};
use crate::support::run::{DEADLINE, Outcome, Run};
use crate::support::scene::ID;
use crate::support::spawned::{Ends, Spawned};
use crate::support::tools::{CLI, GATEWAY, HELPER, tool};

/// The yes to a CONNECT.
const YES: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

/// A gateway before a VPS that says back what it hears.
struct Scene {
    gateway: Gateway,
    home: Home,
    _vps: Peer,
}

impl Scene {
    fn new(options: &[&str]) -> Self {
        let vps = echo_server();
        let gateway = Gateway::with_inventory_and(&inventory(&[running(ID, vps.address.port())]), options);
        Self { gateway, home: Home::new(), _vps: vps }
    }

    /// `curl` on the admin's address, with these arguments behind it.
    fn curl(&self, path: &str, args: &[&str]) -> Outcome {
        curl(&self.home, self.gateway.admin, path, args)
    }

    fn metric(&self, name: &str) -> f64 {
        metric(&self.curl("/metrics", &[]).text(), name)
    }

    /// Waits until the metric has this value: a tunnel ends a moment after its client has heard of it.
    fn awaits(&self, name: &str, value: f64) {
        let end = std::time::Instant::now() + DEADLINE;
        while self.metric(name) != value {
            assert!(std::time::Instant::now() < end, "{name} is {} and not {value}", self.metric(name));
        }
    }

    fn sessions(&self) -> Value {
        serde_json::from_str(&self.curl("/sessions", &[]).text()).unwrap()
    }

    fn cli(&self, args: &[&str]) -> Run {
        let run = Run::new(CLI, &self.home).args(["vps", "sessions"]).args(args);
        run.env("KOHAKURIVER_GATEWAY_ADMIN", self.gateway.admin.to_string())
    }

    /// The audit lines of this kind, once there are `count` of them.
    fn audit(&self, event: &str, count: usize) -> Vec<Value> {
        audit(&self.gateway, event, count)
    }
}

fn curl(home: &Home, admin: SocketAddr, path: &str, args: &[&str]) -> Outcome {
    let url = format!("http://{admin}{path}");
    let outcome = Run::new(tool("curl"), home).args(["-sS", "--noproxy", "*", &url]).args(args).output();
    outcome.succeeds();
    outcome
}

fn metric(page: &str, name: &str) -> f64 {
    let name = format!("kohakuriver_gateway_{name} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("no {name} in\n{page}")).parse().unwrap()
}

fn audit(gateway: &Gateway, event: &str, count: usize) -> Vec<Value> {
    gateway.process.wait_for(&format!("{count} audit lines of {event}"), DEADLINE, |seen| {
        let text = String::from_utf8_lossy(&seen.stdout).into_owned();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
        let lines: Vec<_> = lines.filter(|line| line["event"] == event).collect();
        (lines.len() >= count).then_some(lines)
    })
}

fn send(gateway: &Gateway, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address).unwrap();
    stream.set_read_timeout(Some(PEER_TIMEOUT)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// Sends `request`, and reads to the end.
fn ask(gateway: &Gateway, request: &str) -> String {
    let mut answer = String::new();
    send(gateway, request).read_to_string(&mut answer).unwrap();
    answer
}

fn connect(target: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\n\r\n")
}

/// A tunnel that is open.
fn tunnel(gateway: &Gateway, request: &str, yes: &str) -> TcpStream {
    let mut stream = send(gateway, request);
    let mut answer = vec![0; yes.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), yes);
    stream
}

#[test]
fn metrics_before_and_after_real_tunnels() {
    let scene = Scene::new(&[]);
    let page = scene.curl("/metrics", &["-i"]).text();
    assert!(page.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{page}");
    for name in [
        "connections_accepted_total",
        "tunnels",
        "tunnels_opened_total{protocol=\"connect\"}",
        "tunnels_opened_total{protocol=\"line\"}",
        "tunnels_closed_total{ending=\"complete\"}",
        "tunnel_bytes_total{direction=\"up\"}",
        "setup_seconds_count",
        "tunnel_seconds_count",
        "handshakes",
    ] {
        assert_eq!(metric(&page, name), 0.0, "{name}");
    }
    assert_eq!(metric(&page, &format!("build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1.0);
    assert!(metric(&page, "limit{limit=\"tunnels\"}") > 0.0);

    // A stock client, our helper, and one of the older protocol.
    let nc = Run::new(tool("nc"), &scene.home).args(["-N", "-X", "connect", "-x", &scene.gateway.address.to_string()]);
    nc.args([ID, "22"]).stdin("hello").output().succeeds().prints("hello");
    let mut helper = Spawned::start(Ends::Pipes, &scene.home, scene.gateway.address, &[ID]);
    helper.stdin.as_mut().unwrap().write_all(b"hello helper").unwrap();
    drop(helper.stdin.take());
    assert_eq!(helper.read_all(), b"hello helper");
    helper.ends_with(0, "");
    scene.awaits("tunnels", 0.0);
    let mut line = tunnel(&scene.gateway, &format!("REQUEST_TUNNEL {ID}\n"), "SUCCESS\n");
    assert_eq!((scene.metric("tunnels"), scene.metric("limit_used{limit=\"tunnels\"}")), (1.0, 1.0));
    line.write_all(b"line").unwrap();
    line.shutdown(Shutdown::Write).unwrap();
    line.read_to_end(&mut Vec::new()).unwrap();
    scene.awaits("tunnels", 0.0);

    // One that asks for nothing, and is not there yet when it is counted.
    let waiting = send(&scene.gateway, "CONNECT ");
    scene.awaits("handshakes", 1.0);
    drop(waiting);
    scene.awaits("handshakes", 0.0);
    assert!(ask(&scene.gateway, &connect("1:22")).starts_with("HTTP/1.1 404 "));

    let page = scene.curl("/metrics", &[]).text();
    for (name, expected) in [
        ("connections_accepted_total", 5.0),
        ("tunnels_opened_total{protocol=\"connect\"}", 2.0),
        ("tunnels_opened_total{protocol=\"line\"}", 1.0),
        ("tunnels_closed_total{ending=\"complete\"}", 3.0),
        ("tunnel_bytes_total{direction=\"up\"}", 21.0),
        ("tunnel_bytes_total{direction=\"down\"}", 21.0),
        ("setup_seconds_count", 3.0),
        ("setup_seconds_bucket{le=\"+Inf\"}", 3.0),
        ("tunnel_seconds_count", 3.0),
        ("requests_refused_total{reason=\"not-found\",error=\"destination_not_found\"}", 1.0),
        ("requests_refused_total{reason=\"incomplete-request\",error=\"http_request_error\"}", 1.0),
        ("log_lines_lost_total{log=\"audit\"}", 0.0),
    ] {
        assert_eq!(metric(&page, name), expected, "{name}");
    }
    assert!(metric(&page, "setup_seconds_sum") > 0.0);
}

#[test]
fn a_session_is_shown_while_it_is_open_and_ends_when_the_admin_says_so() {
    let scene = Scene::new(&[]);
    assert_eq!(scene.sessions(), json!([]));
    let mut first = tunnel(&scene.gateway, &connect(&format!("{ID}:22")), YES);
    let second = tunnel(&scene.gateway, &format!("REQUEST_TUNNEL {ID}\n"), "SUCCESS\n");
    first.write_all(b"hello").unwrap();
    first.read_exact(&mut [0; 5]).unwrap();
    let listed = scene.sessions();
    let session = &listed[0];
    assert_eq!(
        (&session["id"], &session["user"], &session["protocol"], &session["task_id"], &session["node"]),
        (&json!(1), &Value::Null, &json!("connect"), &json!(ID), &json!(NODE))
    );
    assert_eq!(session["client"], first.local_addr().unwrap().to_string());
    assert_eq!((&session["bytes_up"], &session["bytes_down"]), (&json!(5), &json!(5)));
    assert!(session["opened"].as_str().unwrap().ends_with('Z') && session["seconds"].is_u64(), "{listed}");
    assert_eq!((&listed[1]["protocol"], listed.as_array().unwrap().len()), (&json!("line"), 2));

    let status = ["-o", "/dev/null", "-w", "%{http_code}", "-X", "DELETE"];
    for (path, expected) in [
        ("/sessions/99", "404"),
        ("/sessions/x", "404"),
        ("/sessions/+1", "404"),
        ("/sessions/", "404"),
        ("/sessions", "405"),
        ("/metrics", "405"),
    ] {
        scene.curl(path, &status).prints(expected);
    }
    let page = [&status[..], &["-H", "Origin: http://evil.example"]].concat();
    scene.curl("/sessions/1", &page).prints("403");
    assert_eq!(scene.sessions().as_array().unwrap().len(), 2);

    scene.curl("/sessions/1", &status).prints("204");
    let mut rest = Vec::new();
    // An end or a reset, but no silence.
    if let Err(error) = first.read_to_end(&mut rest) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    scene.awaits("tunnels_closed_total{ending=\"ended-by-admin\"}", 1.0);
    scene.curl("/sessions/1", &status).prints("404");
    let left = scene.sessions();
    assert_eq!((&left[0]["id"], left.as_array().unwrap().len()), (&json!(2), 1));
    drop(second);
    assert_eq!(scene.audit("closed", 1)[0]["reason"], "ended-by-admin");
}

#[test]
fn web_pages_get_nothing() {
    let scene = Scene::new(&[]);
    let evil = scene.curl("/sessions", &["-i", "-H", "Host: evil.example"]).text();
    assert!(evil.starts_with("HTTP/1.1 403 ") && evil.contains("`evil.example` is no name of this gateway"), "{evil}");
    for host in ["localhost:1", "127.0.0.1", "[::1]:8003"] {
        scene.curl("/sessions", &["-H", &format!("Host: {host}")]).prints("[]");
    }
    scene.curl("/healthz", &["--http1.0", "-H", "Host:"]).prints("ok\n");
    assert!(scene.curl("/", &["-i"]).text().starts_with("HTTP/1.1 404 "));
}

#[test]
fn health_is_asked_of_the_host_only_when_readiness_is() {
    let api = host_api(vec![]);
    let home = Home::new();
    let gateway = Gateway::with_host_api(&format!("http://{}", api.address));
    for path in ["/healthz", "/healthz?ready"] {
        curl(&home, gateway.admin, path, &[]).prints("ok\n");
    }
    assert_eq!(api.accepted(), 1);
    api.finish();
    curl(&home, gateway.admin, "/healthz", &[]).prints("ok\n");
    let down = curl(&home, gateway.admin, "/healthz?ready", &["-i"]).text();
    assert!(down.starts_with("HTTP/1.1 503 ") && down.contains("can't be reached: Connection refused"), "{down}");
    let scene = Scene::new(&[]);
    scene.curl("/healthz?ready", &[]).prints("ok\n");
}

#[test]
fn an_audit_line_at_either_end_of_a_tunnel() {
    let scene = Scene::new(&[]);
    for (request, yes, protocol) in
        [(connect(&format!("{ID}:22")), YES, "connect"), (format!("REQUEST_TUNNEL {ID}\n"), "SUCCESS\n", "line")]
    {
        let mut client = tunnel(&scene.gateway, &request, yes);
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        client.read_to_end(&mut Vec::new()).unwrap();
        let at = usize::from(protocol == "line");
        let opened = scene.audit("opened", at + 1).remove(at);
        let closed = scene.audit("closed", at + 1).remove(at);
        for line in [&opened, &closed] {
            assert_eq!(
                (&line["session"], &line["user"], &line["client"]),
                (&json!(at + 1), &Value::Null, &json!(client.local_addr().unwrap().to_string())),
                "{line}"
            );
            assert_eq!(
                (&line["protocol"], &line["task_id"], &line["node"]),
                (&json!(protocol), &json!(ID), &json!(NODE)),
                "{line}"
            );
            assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
        }
        assert_eq!((&closed["bytes_up"], &closed["bytes_down"]), (&json!(5), &json!(5)), "{closed}");
        assert_eq!(closed["reason"], "complete");
        assert!(closed["seconds"].is_number() && opened.get("seconds").is_none(), "{closed}");
    }
}

#[test]
fn an_audit_line_for_each_reason_to_refuse() {
    let mut seen = BTreeSet::new();
    let mut note = |line: &Value, protocol: &str| {
        assert_eq!(line["protocol"], protocol, "{line}");
        assert!(line["client"].as_str().unwrap().starts_with("127.0.0.1:") && line["seconds"].is_number(), "{line}");
        seen.insert(line["reason"].as_str().unwrap().to_owned());
    };
    let vps = |id: &str, changes: Value| {
        let mut vps = running(id, 1);
        vps.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        vps
    };
    let (mute, refusing, open) = (MutePort::new(), RefusingPort::new(), echo_server());
    let mut inventory = inventory(&[
        vps("1001", json!({ "task_type": "command" })),
        vps("1002", json!({ "status": "paused" })),
        vps("1003", json!({ "ssh_port": 0 })),
        vps("1004", json!({ "status": "assigning" })),
        vps("1005", json!({ "assigned_node": null })),
        vps("1006", json!({ "assigned_node": NODE_DOWN })),
        vps("1007", json!({ "ssh_port": refusing.port })),
        vps("1008", json!({ "ssh_port": mute.port })),
        vps("1010", json!({ "assigned_node": "cloud" })),
        vps("1011", json!({ "name": "twin" })),
        vps("1012", json!({ "name": "twin" })),
        vps("1013", json!({ "ssh_port": open.address.port() })),
    ]);
    let nodes = inventory["nodes"].as_array_mut().unwrap();
    nodes.push(json!({ "hostname": "cloud", "url": "http://169.254.169.254", "status": "online" }));
    let gateway = Gateway::with_inventory_and(&inventory, &["--max-tunnels", "1"]);
    let mut count = 0;
    let mut refused = |request: &str| {
        ask(&gateway, request);
        count += 1;
        audit(&gateway, "refused", count).pop().unwrap()
    };
    // The slow one goes first, and alone: it takes as long as a dial may.
    for (target, reason) in [
        ("1008:22", "connection-timeout"),
        ("9999:22", "not-found"),
        ("1001:22", "not-vps"),
        ("1002:22", "inactive"),
        ("1003:22", "no-ssh-port"),
        ("1004:22", "starting"),
        ("1005:22", "no-runner"),
        ("1006:22", "runner-offline"),
        ("1007:22", "connection-refused"),
        ("1010:22", "unreachable"),
        ("twin:22", "ambiguous"),
        ("1013:23", "port-not-offered"),
        ("example.com:22", "bad-request"),
    ] {
        let line = refused(&connect(target));
        assert_eq!((&line["reason"], &line["target"]), (&json!(reason), &json!(target)), "{line}");
        note(&line, "connect");
    }
    let line = refused("REQUEST_TUNNEL x\n");
    assert_eq!((&line["reason"], &line["detail"]), (&json!("bad-request"), &json!("Invalid task ID format.")));
    note(&line, "line");
    let line = refused("REQUEST_TUNNEL 1002\n");
    assert_eq!((&line["reason"], &line["target"]), (&json!("inactive"), &json!("1002")));
    let open_tunnel = tunnel(&gateway, &connect("1013:22"), YES);
    note(&refused(&connect("1013:22")), "connect");
    drop(open_tunnel);
    drop(send(&gateway, "CONNECT 1013"));
    let line = audit(&gateway, "refused", 17).pop().unwrap();
    assert_eq!((&line["reason"], &line["protocol"]), (&json!("incomplete-request"), &Value::Null));

    let api = host_api(vec![running(ID, open.address.port())]);
    let gateway = Gateway::with_host_api(&format!("http://{}", api.address));
    let with = |token: &str| format!("CONNECT {ID}:22 HTTP/1.1\r\nProxy-Authorization: Bearer {token}\r\n\r\n");
    ask(&gateway, &connect(&format!("{ID}:22")));
    ask(&gateway, &with(STRANGER));
    api.finish();
    ask(&gateway, &with(STRANGER));
    let lines = audit(&gateway, "refused", 3);
    let reasons: Vec<_> = lines.iter().map(|line| line["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["token-needed", "not-allowed", "host-api"]);
    lines.iter().for_each(|line| note(line, "connect"));
    let page = curl(&Home::new(), gateway.admin, "/metrics", &[]).text();
    for outcome in [("refused", 2.0), ("failed", 1.0), ("found", 0.0)] {
        assert_eq!(metric(&page, &format!("host_lookups_total{{outcome=\"{}\"}}", outcome.0)), outcome.1);
    }

    // An inventory with such an address is not taken in the first place.
    let api = http_server(|asked| {
        let nodes = json!([{ "hostname": NODE, "url": "no-url", "status": "online" }]);
        let body = if asked.path == "/api/nodes" { nodes } else { running(ID, 1) };
        (200, "application/json", body.to_string())
    });
    let gateway = Gateway::with_host_api(&format!("http://{}", api.address));
    ask(&gateway, &connect(&format!("{ID}:22")));
    note(&audit(&gateway, "refused", 1)[0], "connect");

    let all: BTreeSet<_> = Refusal::REASONS.iter().map(|(reason, _)| (*reason).to_owned()).collect();
    assert_eq!(seen, all);
}

#[test]
fn an_audit_file_belongs_to_the_gateway_alone() {
    let home = Home::new();
    let path = home.join("audit.log");
    let scene = Scene::new(&["--audit-log", path.to_str().unwrap()]);
    ask(&scene.gateway, &connect("1:22"));
    scene.awaits("requests_refused_total{reason=\"not-found\",error=\"destination_not_found\"}", 1.0);
    scene.gateway.process.signal(rustix::process::Signal::TERM);
    let Scene { gateway, .. } = scene;
    let outcome = gateway.process.finish();
    outcome.succeeds().prints_nothing();
    // What was waiting to be written is written by then.
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"reason\":\"not-found\"") && text.ends_with("}\n"), "{text}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let bad = Run::new(GATEWAY, &home).args(["--listen", "127.0.0.1:0", "--audit-log", "/no/such/folder/x"]).output();
    bad.exits(1).fails_with("kohakuriver-gateway", "cannot write the audit log to /no/such/folder/x", "--audit-log");
}

#[test]
fn an_audit_log_that_nobody_reads_holds_nothing_up() {
    let (home, vps) = (Home::new(), echo_server());
    let path = home.write("inventory.json", inventory(&[running(ID, vps.address.port())]).to_string());
    let mut command = Command::new(GATEWAY);
    command.env_clear().env("HOME", home.path()).current_dir(home.path());
    command.args(["--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--inventory"]);
    // The read end is kept, and never read.
    let (unread, full) = std::io::pipe().unwrap();
    let gateway = Spawned::start_with_stdio({
        command.arg(path).stdin(Stdio::null()).stdout(full);
        command
    });
    let address = |prefix: &str| -> SocketAddr {
        let line = gateway.stderr_line();
        line.strip_prefix(prefix).unwrap_or_else(|| panic!("{line}")).trim().parse().unwrap()
    };
    address("serving the Host API on ");
    let (admin, tunnels) = (address("admin on "), address("listening on "));
    let lost = || metric(&curl(&home, admin, "/metrics", &[]).text(), "log_lines_lost_total{log=\"audit\"}");
    // Each of these makes a line of some 700 bytes.
    let request = connect(&format!("{}.example.com:22", "x".repeat(200)));
    let mut asked = 0;
    while lost() == 0.0 {
        for _ in 0..500 {
            let mut stream = TcpStream::connect(tunnels).unwrap();
            stream.set_read_timeout(Some(PEER_TIMEOUT)).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
        }
        asked += 500;
        assert!(asked < 20_000, "no line is lost of {asked}");
    }
    let mut stream = TcpStream::connect(tunnels).unwrap();
    stream.set_read_timeout(Some(PEER_TIMEOUT)).unwrap();
    stream.write_all(format!("{}hello", connect(&format!("{ID}:22"))).as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, format!("{YES}hello"));
    let complaint = gateway.stderr_line();
    assert!(
        complaint.contains(" WARN audit lines to stdout are lost cause=\"it takes them too slowly\""),
        "{complaint}"
    );
    // It ends in time, too, whatever is left to be written.
    gateway.signal(rustix::process::Signal::TERM);
    let (status, said) = gateway.wait();
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
    drop(unread);
}

#[test]
fn the_log_tells_each_step_and_never_a_token() {
    let (home, vps) = (Home::new(), echo_server());
    let api = host_api(vec![running(ID, vps.address.port())]);
    for format in ["text", "json"] {
        let base = format!("http://{}", api.address);
        let gateway = Gateway::with_host_api_and(&base, &["--log-level", "trace", "--log-format", format]);
        let address = gateway.address.to_string();
        let run = Run::new(HELPER, &home).args(["--proxy", &address, ID]).env("KOHAKURIVER_TOKEN", OWNER);
        run.stdin("hello").output().succeeds().prints("hello");
        // As the password of Basic, and in a request that is refused.
        let basic = Run::new(tool("curl"), &home).args(["-sS", "-p", "-x", &address, "-U", &format!("u:{STRANGER}")]);
        basic.args(["--max-time", "20", &format!("http://{ID}:22/")]).output();
        ask(&gateway, &format!("CONNECT 1:80 HTTP/1.1\r\nProxy-Authorization: Bearer {OWNER}\r\n\r\n"));
        audit(&gateway, "closed", 1);
        audit(&gateway, "refused", 2);
        let told =
            [curl(&home, gateway.admin, "/metrics", &[]).text(), curl(&home, gateway.admin, "/sessions", &[]).text()];
        gateway.process.signal(rustix::process::Signal::TERM);
        let outcome = gateway.process.finish();
        outcome.succeeds();
        for step in ["connection accepted", "request read", "VPS located", "tunnel opened", "tunnel closed", "refused"]
        {
            outcome.says(&[step]);
        }
        let everything = format!("{}{}{}", outcome.stderr, outcome.text(), told.concat());
        let encoded = "MDEyMzQ1Njc4OWFiY2RlZi";
        for secret in [OWNER, STRANGER, "0123456789abcdef", encoded] {
            assert!(!everything.contains(secret), "{secret} in {everything}");
        }
        let log: Vec<_> = outcome.stderr.lines().filter(|line| !line.contains(" on 127.0.0.1:")).collect();
        assert!(
            log.len() > 5 && log.iter().all(|line| (serde_json::from_str::<Value>(line).is_ok()) == (format == "json"))
        );
    }
    // By default it says nothing of its clients.
    let scene = Scene::new(&[]);
    drop(tunnel(&scene.gateway, &connect(&format!("{ID}:22")), YES));
    ask(&scene.gateway, "nonsense\r\n");
    scene.audit("closed", 1);
    scene.gateway.process.signal(rustix::process::Signal::TERM);
    let Scene { gateway, .. } = scene;
    let outcome = gateway.process.finish();
    outcome.check(outcome.stderr.lines().count() == 3, "three lines that say where it listens");
}

#[test]
fn who_is_connected_for_people_and_for_scripts() {
    let scene = Scene::new(&[]);
    scene.cli(&[]).output().succeeds().prints_nothing().check_stderr("nobody is connected\n");
    scene.cli(&["--json"]).output().succeeds().prints("[]\n").says_nothing();
    let mut client = tunnel(&scene.gateway, &connect(&format!("{ID}:22")), YES);
    client.write_all(b"hello").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    let table = scene.cli(&[]).output();
    table.succeeds().says_nothing();
    let table = table.text();
    let words: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["ID", "USER", "VPS", "SINCE", "UP", "DOWN", "NODE", "CLIENT"]);
    let address = client.local_addr().unwrap().to_string();
    assert_eq!((words[1][..3].to_vec(), words[1].len()), (vec!["1", "-", ID], 10), "{table}");
    assert_eq!(words[1][4..], ["5", "B", "5", "B", NODE, &address]);
    let listed: Value = serde_json::from_str(&scene.cli(&["--json"]).output().text()).unwrap();
    let mut direct = scene.sessions();
    direct[0]["seconds"] = listed[0]["seconds"].clone();
    assert_eq!(listed, direct);

    // Of one VPS: by its id, with no Host to ask, and by its name.
    scene.cli(&["42"]).output().succeeds().prints_nothing().check_stderr("nobody is connected to VPS 42\n");
    let api = scene.gateway.api();
    let by_name = scene.cli(&["--json", &name_of(ID), "-H", "127.0.0.1", "-P", &api.port().to_string()]).output();
    assert_eq!(serde_json::from_str::<Value>(&by_name.text()).unwrap()[0]["id"], 1, "{by_name}");

    // Watched into a reader that has had enough: it ends by itself.
    let watched = format!("{CLI} vps sessions --watch 1 | head -n 7");
    let run = Run::new("sh", &scene.home).args(["-c", &watched]);
    let watched = run.env("KOHAKURIVER_GATEWAY_ADMIN", scene.gateway.admin.to_string()).output();
    watched.succeeds().within(30).says_nothing();
    assert!(watched.text().contains("UP/S") && watched.text().contains("B/s"), "{watched}");
    assert!(!watched.text().contains('\x1b'), "{watched}");

    scene.cli(&["--end", "9"]).output().exits(1).fails_with("kohakuriver", "cannot end session 9", "vps sessions");
    scene.cli(&["--end", "1"]).output().succeeds().prints_nothing().check_stderr("session 1 is ended\n");
    scene.awaits("tunnels_closed_total{ending=\"ended-by-admin\"}", 1.0);
}

#[test]
fn a_gateway_that_tells_nothing_from_here() {
    let (home, refusing) = (Home::new(), RefusingPort::new());
    let admin = format!("127.0.0.1:{}", refusing.port);
    let sessions = |args: &[&str]| Run::new(CLI, &home).args(["vps", "sessions"]).args(args).output();
    let outcome = sessions(&["-H", "gpu-head", "--admin", &admin]);
    let hint = "`ssh -NL 8003:localhost:8003 gpu-head`, then add `--admin localhost:8003`";
    outcome.exits(1).prints_nothing().fails_with("kohakuriver", "cannot list the sessions", hint);
    outcome.says(&[&format!("no gateway tells its sessions at http://{admin}: Connection refused")]);
    sessions(&["--admin", &admin]).exits(1).says(&["systemctl status kohakuriver-gateway"]);
    sessions(&["--admin", "ftp://x"]).exits(2);
    for body in ["<html>", "{}", "[{}]", r#"[{"id":1}]"#] {
        let server = http_server(move |_| (200, "application/json", body.to_owned()));
        let outcome = sessions(&["--admin", &server.address.to_string()]);
        outcome.exits(1).says(&["answered nonsense: it is no list of sessions", "--admin"]);
        server.finish();
    }
}

#[test]
fn an_admin_address_of_ones_own_choice() {
    let scene = Scene::new(&[]);
    let home = Home::new();
    let inventory = home.write("inventory.json", inventory(&[]).to_string());
    let gateway = |admin: &str| {
        let run = Run::new(GATEWAY, &home).args(["--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"]);
        run.args(["--inventory", inventory.to_str().unwrap(), "--admin", admin]).deadline(20)
    };
    let taken = scene.gateway.admin.to_string();
    let outcome = gateway(&taken).output();
    outcome.exits(1).within(10);
    outcome.fails_with("kohakuriver-gateway", &format!("cannot listen on {taken}"), "--admin off");

    let stops = |run: Run| {
        let process = run.start();
        process.stderr_line("listening on ");
        process.signal(rustix::process::Signal::TERM);
        process.finish()
    };
    let off = stops(gateway("off"));
    off.succeeds().check(!off.stderr.contains("admin"), "nothing about an admin address");
    let open = stops(gateway("0.0.0.0:0"));
    open.succeeds().says(&["admin on 0.0.0.0:", " WARN whoever reaches 0.0.0.0:", "may see every tunnel and end it"]);
    let closed = stops(gateway("127.0.0.1:0"));
    closed.succeeds().check(!closed.stderr.contains("WARN"), "no warning");
}
