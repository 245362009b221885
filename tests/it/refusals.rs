//! Every reason why the gateway opens no tunnel: what goes over the wire, and what a user of ssh gets to read.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::{Value, json};

use crate::support::curl::curl;
use crate::support::gateway::{Gateway, NODE, NODE_DOWN, inventory};
use crate::support::home::Home;
use crate::support::host_api::{OWNER, STRANGER, VIEWER, host_api, host_of};
use crate::support::peers::{MutePort, PEER_TIMEOUT, RefusingPort, echo_server, http_server};
use crate::support::run::Run;
use crate::support::scene::{Mode, helper_command};
use crate::support::sshd::Sshd;
use crate::support::tools::HELPER;
use crate::support::watched::{ask, send};

/// A row of the contract's table, as an answer of the gateway.
struct Row {
    status: &'static str,
    error: &'static str,
    retry: bool,
    title: String,
    hint: &'static str,
    vps_status: Option<&'static str>,
    /// A part of `detail`; empty if there is no `detail`.
    detail: &'static str,
}

/// A row without what few have.
fn row(status: &'static str, error: &'static str, retry: bool, title: &str, hint: &'static str) -> Row {
    Row { status, error, retry, title: title.to_owned(), hint, vps_status: None, detail: "" }
}

/// An answer, taken apart.
struct Answer {
    whole: String,
    head: String,
    body: Value,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

fn refusal(gateway: SocketAddr, request: &str) -> Answer {
    let whole = ask(gateway, request);
    let (head, body) = whole.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {whole:?}"));
    let body = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {whole}"));
    Answer { head: head.to_owned(), body, whole: whole.clone() }
}

fn connect_head(target: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")
}

/// Checks the answer on the wire against its row of the table.
#[track_caller]
fn on_the_wire(gateway: SocketAddr, target: &str, row: &Row) {
    let answer = refusal(gateway, &connect_head(target));
    let whole = &answer.whole;
    assert!(answer.head.starts_with(&format!("HTTP/1.1 {}\r\n", row.status)), "{whole}");
    let proxy_status = answer.field("proxy-status").unwrap_or_default();
    assert!(proxy_status.split(';').any(|part| part.trim() == format!("error={}", row.error)), "{whole}");
    assert_eq!(answer.field("retry-after").is_some_and(|value| value.parse::<u32>().is_ok()), row.retry, "{whole}");
    assert_eq!(answer.field("content-type"), Some("application/problem+json"), "{whole}");
    let length = answer.field("content-length").and_then(|value| value.parse().ok());
    assert_eq!(length, Some(whole.len() - answer.head.len() - 4), "{whole}");
    assert_eq!(answer.body["title"], row.title, "{whole}");
    assert_eq!(answer.body["status"].to_string(), row.status[..3], "{whole}");
    assert_eq!(answer.body["vps_status"].as_str(), row.vps_status, "{whole}");
    // A client names a VPS by id or by name. Only an id appears as `task_id`.
    let id = target.split(':').next().filter(|host| host.parse::<i64>().is_ok());
    assert_eq!(answer.body["task_id"].as_str(), id, "{whole}");
    let detail = answer.body["detail"].as_str();
    assert!(detail.is_some_and(|detail| detail.contains(row.detail)) || row.detail.is_empty(), "{whole}");
    assert_eq!(detail.is_none(), row.detail.is_empty(), "{whole}");
    assert!(answer.body["hint"].as_str().unwrap_or_default().contains(row.hint), "{whole}");
}

/// Checks the same answer as curl understands it.
#[track_caller]
fn through_curl(gateway: SocketAddr, target: &str, authorization: Option<&str>, row: &Row) {
    let answer = curl(gateway, target, authorization);
    let head = &answer.head;
    assert_eq!(answer.status.to_string(), row.status[..3], "{head}");
    let proxy_status = answer.field("proxy-status").unwrap_or_default();
    assert!(proxy_status.ends_with(&format!("; error={}", row.error)), "{head}");
    assert_eq!(answer.field("retry-after").is_some(), row.retry, "{head}");
}

/// Checks what ssh's user reads: three lines of ours (with one more cause where there is a detail), nothing on stdout.
#[track_caller]
fn through_ssh(sshd: &Sshd, gateway: SocketAddr, id: &str, row: &Row) {
    through_ssh_with(None, sshd, gateway, id, row);
}

/// The same for a user who has this token.
#[track_caller]
fn through_ssh_with(token: Option<&str>, sshd: &Sshd, gateway: SocketAddr, id: &str, row: &Row) {
    let home = Home::new();
    let started = Mode::BOTH.map(|mode| {
        let ssh = sshd.ssh(&home, &helper_command(HELPER, mode, gateway), mode);
        let ssh = ssh.arg(format!("{id}.kohakuriver")).arg("echo in");
        let ssh = if let Some(token) = token { ssh.env("KOHAKURIVER_TOKEN", token) } else { ssh };
        ssh.start()
    });
    for ssh in started {
        let outcome = ssh.finish();
        outcome.ssh_fails_with(&row.title, row.hint).within(30);
        outcome.says(&[&format!("\n  caused by: the gateway at {gateway} answered {}\n", row.status)]);
        let ours = outcome.stderr.lines().skip(1).take_while(|line| line.starts_with("  "));
        outcome.check((2..=3).contains(&ours.count()), "three lines of ours, and first");
    }
}

/// The VPSes that can't be reached, each with its row and the answer of the line protocol.
fn table(refusing: u16) -> Vec<(Value, Row, String)> {
    let mut rows = Vec::new();
    let mut add = |change: Value, row: Row, line: &str| {
        let id = format!("{}", 7_000_000_000_000_000_001_u64 + rows.len() as u64);
        let mut vps = json!({ "task_id": id, "status": "running", "assigned_node": NODE, "ssh_port": refusing });
        vps.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let row = Row { title: row.title.replace("ID", &id), ..row };
        rows.push((vps, row, line.replace("ID", &id)));
    };
    let unavailable = "destination_unavailable";
    for (status, title, hint) in [
        ("paused", "VPS ID is paused", "kohakuriver vps resume"),
        ("stopped", "VPS ID is stopped", "kohakuriver vps create"),
        ("failed", "VPS ID has failed", "kohakuriver vps restart"),
        ("killed", "VPS ID was killed", "kohakuriver vps create"),
        ("killed_oom", "VPS ID ran out of memory and was killed", "kohakuriver vps create"),
        ("lost", "VPS ID is lost", "kohakuriver node list"),
        ("rejected", "VPS ID was rejected", "kohakuriver vps create"),
        ("pending_approval", "VPS ID awaits approval", "operator"),
        ("completed", "VPS ID has ended", "kohakuriver vps create"),
    ] {
        // An older Host opens a tunnel to a paused VPS, and the user waits for a banner that never comes.
        let row = Row { vps_status: Some(status), ..row("409 Conflict", unavailable, false, title, hint) };
        let line = format!("VPS task ID is not active (status: {status}).");
        // A lost VPS is one whose Runner went silent.
        let node = if status == "lost" { NODE_DOWN } else { NODE };
        add(json!({ "status": status, "assigned_node": node }), row, &line);
    }
    for (status, title, hint) in [
        ("pending", "VPS ID is starting (status: pending)", "--wait"),
        ("assigning", "VPS ID is starting (status: assigning)", "--wait"),
    ] {
        let row = Row { vps_status: Some(status), ..row("503 Service Unavailable", unavailable, true, title, hint) };
        let line = format!("VPS task ID is not active (status: {status}).");
        add(json!({ "status": status }), row, &line);
    }
    let not_found = "destination_not_found";
    let title = "task ID is a command task, not a VPS";
    let command = row("404 Not Found", not_found, false, title, "kohakuriver vps list");
    add(json!({ "task_type": "command" }), command, "Task ID is not a VPS task.");
    for port in [json!(null), json!(0)] {
        let title = "VPS ID has no SSH: it was created for terminals only";
        let row = row("409 Conflict", unavailable, false, title, "kohakuriver vps create --gen-ssh-key");
        add(json!({ "ssh_port": port }), row, "VPS task ID has no SSH port assigned.");
    }
    let offline = || {
        let title = "the Runner of VPS ID is offline";
        let row = row("503 Service Unavailable", unavailable, false, title, "kohakuriver node list");
        Row { detail: "the Host has not heard from Runner node-", ..row }
    };
    let line = "Assigned node for VPS task ID is not online.";
    add(json!({ "assigned_node": NODE_DOWN }), offline(), line);
    // The line protocol has one sentence for both.
    let unknown =
        row("503 Service Unavailable", unavailable, false, "the Host does not know the Runner of VPS ID", "node list");
    let unknown = Row { detail: "no Runner of the name node-unknown is registered", ..unknown };
    add(json!({ "assigned_node": "node-unknown" }), unknown, line);
    // The Runner comes first: without it, nobody can resume a VPS or wait for it.
    for status in ["paused", "pending", "assigning"] {
        add(json!({ "status": status, "assigned_node": NODE_DOWN }), offline(), line);
    }
    let no_runner = row("503 Service Unavailable", unavailable, false, "VPS ID has no Runner", "kohakuriver node list");
    add(json!({ "assigned_node": null }), no_runner, "VPS task ID has no assigned node.");
    let refuses = row("502 Bad Gateway", "connection_refused", false, "VPS ID refuses SSH connections", "");
    let refuses = Row { detail: "nothing listens on its SSH port on Runner node-up", ..refuses };
    add(json!({}), refuses, &format!("Connection refused by VPS task ID on node {NODE}."));
    let title = "VPS ID is starting: its sshd does not listen yet";
    let booting = row("503 Service Unavailable", "connection_refused", true, title, "--wait");
    let booting = Row { detail: "nothing listens on its SSH port on Runner node-booted", ..booting };
    let change = json!({ "assigned_node": BOOTED, "started_at": "2026-02-01T12:00:00" });
    add(change, booting, &format!("Connection refused by VPS task ID on node {BOOTED}."));
    rows
}

/// A Runner that was heard from twenty seconds after the VPS of its row had started.
const BOOTED: &str = "node-booted";

fn inventory_of(vps: impl IntoIterator<Item = Value>) -> Value {
    let mut inventory = inventory(&vps.into_iter().collect::<Vec<_>>());
    inventory["nodes"].as_array_mut().unwrap().push(json!({
        "hostname": BOOTED, "url": "http://127.0.0.1:8001", "status": "online",
        "last_heartbeat": "2026-02-01T12:00:20.500000",
    }));
    inventory
}

fn gateway_with(vps: impl IntoIterator<Item = Value>) -> Gateway {
    Gateway::with_inventory(&inventory_of(vps))
}

#[test]
fn every_row_of_the_table() {
    let (refusing, sshd) = (RefusingPort::new(), Sshd::start());
    let table = table(refusing.port);
    assert!(table.len() >= 19, "{}", table.len());
    let host = host_of(inventory_of(table.iter().map(|(vps, ..)| vps.clone())));
    let gateway = Gateway::with_host_api(&format!("http://{}", host.address));
    for (vps, row, line) in &table {
        let id = vps["task_id"].as_str().unwrap();
        on_the_wire(gateway.address, &format!("{id}:22"), row);
        through_curl(gateway.address, &format!("{id}.kohakuriver:22"), None, row);
        assert_eq!(ask(gateway.address, format!("REQUEST_TUNNEL {id}\n")), format!("ERROR {line}\n"));
        through_ssh(&sshd, gateway.address, id, row);
    }
}

/// The reason is text of the network: without control characters, and cut. ssh prints 400 bytes.
#[test]
fn the_hosts_own_reason_reaches_the_user_of_ssh() {
    let sshd = Sshd::start();
    let long = format!("OOM: the Runner has 3 GiB left\u{1b}[2J\n{}", "and so on ".repeat(100));
    for (change, title, reason) in [
        (
            json!({ "status": "failed", "error_message": long }),
            "has failed",
            "OOM: the Runner has 3 GiB left[2J and so on ",
        ),
        (json!({ "status": "rejected", "rejection_reason": "no GPUs left" }), "was rejected", "no GPUs left\n"),
        (
            json!({ "status": "assigning", "error_message": "Provisioning VM..." }),
            "is starting (status: assigning)",
            "Provisioning VM...\n",
        ),
        (json!({ "status": "failed", "error_message": "" }), "has failed", ""),
    ] {
        let id = "7323718749301768192";
        let mut vps = json!({ "task_id": id, "assigned_node": NODE, "ssh_port": 1 });
        vps.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let host = host_of(inventory_of([vps]));
        let gateway = Gateway::with_host_api(&format!("http://{}", host.address));
        let detail = refusal(gateway.address, &connect_head(&format!("{id}:22"))).body["detail"].clone();
        let said = format!("the Host says: {reason}");
        let detail = detail.as_str().map(|detail| detail.to_owned() + "\n");
        assert_eq!(detail.as_ref().is_some_and(|detail| detail.starts_with(&said)), !reason.is_empty(), "{detail:?}");
        assert!(detail.is_none_or(|detail| detail.chars().count() < 330));
        let home = Home::new();
        for mode in Mode::BOTH {
            let ssh = sshd.ssh(&home, &helper_command(HELPER, mode, gateway.address), mode);
            let outcome = ssh.arg(format!("{id}.kohakuriver")).arg("echo in").output();
            outcome.ssh_fails_with(&format!("VPS {id} {title}"), "kohakuriver vps");
            let shown = outcome.stderr.contains(&said[..said.len().min(60)]);
            outcome.check(shown != reason.is_empty(), "the reason, if there is one");
            outcome.check(!outcome.stderr.contains('\u{1b}'), "no control characters");
        }
    }
}

#[test]
fn an_unknown_vps() {
    let (gateway, sshd) = (gateway_with([]), Sshd::start());
    for name in ["7323718749301768192", "0", "no-such-name"] {
        let title = format!("there is no VPS {name}");
        let row = row("404 Not Found", "destination_not_found", false, &title, "kohakuriver vps list --all");
        on_the_wire(gateway.address, &format!("{name}:22"), &row);
        through_curl(gateway.address, &format!("{name}.kohakuriver:22"), None, &row);
        // For a name the helper asks the Host's API, so the Host refuses and not the gateway.
        if !name.starts_with("no-") {
            through_ssh(&sshd, gateway.address, name, &row);
        }
    }
    assert_eq!(ask(gateway.address, "REQUEST_TUNNEL 0042\n"), "ERROR Task 0042 not found.\n");
}

#[test]
fn a_port_that_never_answers() {
    let (mute, sshd) = (MutePort::new(), Sshd::start());
    let id = "7323718749301768192";
    let vps = json!({ "task_id": id, "status": "running", "assigned_node": NODE, "ssh_port": mute.port });
    let gateway = gateway_with([vps]);
    let title = format!("VPS {id} does not answer on its SSH port");
    let row = row("504 Gateway Timeout", "connection_timeout", false, &title, "");
    std::thread::scope(|scope| {
        scope.spawn(|| on_the_wire(gateway.address, &format!("{id}:22"), &row));
        scope.spawn(|| through_curl(gateway.address, &format!("{id}.kohakuriver:22"), None, &row));
        scope.spawn(|| {
            let answer = ask(gateway.address, format!("REQUEST_TUNNEL {id}\n"));
            assert_eq!(answer, format!("ERROR Timeout connecting to Runner for task {id}.\n"));
        });
        scope.spawn(|| through_ssh(&sshd, gateway.address, id, &row));
    });
}

#[test]
fn a_port_other_than_22() {
    let (gateway, sshd) = (gateway_with([]), Sshd::start());
    let row = row("403 Forbidden", "http_request_denied", false, "VPS 42 offers port 22 only, not port 80", "");
    // Before it is known whether there is such a VPS.
    on_the_wire(gateway.address, "42:80", &row);
    through_curl(gateway.address, "42.kohakuriver:80", None, &row);
    // The helper need not ask.
    let home = Home::new();
    let ssh = sshd.ssh(&home, &helper_command(HELPER, Mode::Stdio, gateway.address), Mode::Stdio);
    ssh.args(["-p", "80", "42.kohakuriver", "echo in"])
        .output()
        .exits(255)
        .prints_nothing()
        .says(&["offers port 22 only, not port 80\n", "  hint: "]);
}

/// The helper serves any proxy, and so sends other hosts as they stand; our gateway reaches none of them.
#[test]
fn a_target_that_is_no_vps() {
    let (gateway, sshd) = (gateway_with([]), Sshd::start());
    let why = "`foreign.example.org:22` is not a VPS, and this gateway reaches nothing else";
    let title = "the request is not one that an SSH proxy takes";
    let row = Row { detail: why, ..row("400 Bad Request", "http_request_error", false, title, "") };
    let target = "foreign.example.org:22";
    on_the_wire(gateway.address, target, &row);
    through_curl(gateway.address, target, None, &row);
    let home = Home::new();
    for mode in Mode::BOTH {
        let ssh = sshd.ssh(&home, &helper_command(HELPER, mode, gateway.address), mode);
        let outcome = ssh.args(["-o", "HostName=foreign.example.org", "foreign", "echo in"]).output();
        let what = format!(":11: {}\n", row.title);
        let answered = format!("answered {}\n", row.status);
        outcome.exits(255).prints_nothing().says(&[&what, &answered, why]);
    }
}

#[test]
fn what_is_no_request_for_a_vps() {
    let echo = echo_server();
    let port = echo.address.port();
    let gateway = gateway_with([]);
    let long = format!("CONNECT 42:22 HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024));
    let many = format!("CONNECT 42:22 HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(2000));
    let requests = [
        "hello\r\n".to_owned(),
        "\n".to_owned(),
        "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "\x16\x03\x01\x02\n".to_owned(),
        connect_head(&format!("127.0.0.1:{port}")),
        connect_head(&format!("[::1]:{port}")),
        connect_head(&format!("localhost.localdomain:{port}")),
        connect_head("169.254.169.254:80"),
        connect_head("42"),
        connect_head("42:"),
        connect_head("42:x"),
        connect_head("42:99999"),
        connect_head("99999999999999999999:22"),
        long,
        many,
    ];
    for request in requests {
        let shown = &request[..request.len().min(80)];
        let mut stream = TcpStream::connect(gateway.address).unwrap();
        stream.set_read_timeout(Some(PEER_TIMEOUT)).unwrap();
        // An overlong head may be answered before it is all sent.
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{shown:?}: {read:?} {answer:?}");
        assert!(answer.contains("; error=http_request_error"), "{shown:?}: {answer:?}");
    }
    for request in ["REQUEST_TUNNEL\n", "REQUEST_TUNNEL42\n"] {
        assert_eq!(ask(gateway.address, request), "ERROR Invalid request format.\n", "{request:?}");
    }
    for request in ["REQUEST_TUNNEL \n", "REQUEST_TUNNEL -1\n", "REQUEST_TUNNEL 1 2\n", "REQUEST_TUNNEL 127.0.0.1\n"] {
        assert_eq!(ask(gateway.address, request), "ERROR Invalid task ID format.\n", "{request:?}");
    }
    assert_eq!(echo.accepted(), 0, "the gateway dialled what a client chose");
}

#[test]
fn a_host_api_that_is_down_or_answers_nonsense() {
    let (refusing, sshd) = (RefusingPort::new(), Sshd::start());
    let id = "7323718749301768192";
    let nonsense = http_server(|_| (200, "text/html", "<html>It works!</html>".to_owned()));
    let wrong = http_server(|_| (200, "application/json", json!({ "task_id": 7, "status": [] }).to_string()));
    let broken = http_server(|_| (500, "text/plain", "Internal Server Error".to_owned()));
    let down = format!("127.0.0.1:{}", refusing.port);
    let useless = "the Host API gives no usable answer";
    // The address of the API is for the admin alone.
    for (base, title, detail) in [
        (down, "the Host API can't be reached", "Connection refused"),
        (nonsense.address.to_string(), useless, "its answer is not usable: its body is not JSON"),
        (wrong.address.to_string(), useless, "its answer is not usable: "),
        (broken.address.to_string(), useless, "it answered 500: Internal Server Error"),
    ] {
        let gateway = Gateway::with_host_api(&format!("http://{base}"));
        let row = Row { detail, ..row("502 Bad Gateway", "proxy_internal_response", false, title, "") };
        on_the_wire(gateway.address, &format!("{id}:22"), &row);
        through_curl(gateway.address, &format!("{id}.kohakuriver:22"), None, &row);
        assert_eq!(ask(gateway.address, format!("REQUEST_TUNNEL {id}\n")), "ERROR Internal server error.\n");
        through_ssh(&sshd, gateway.address, id, &row);
    }
}

#[test]
fn a_login_that_is_needed_names_how() {
    let api = host_api(vec![json!({ "task_id": "42", "status": "running" })]);
    let gateway = Gateway::with_host_api(&format!("http://{}", api.address));
    let row = |status, title: &str, hint| row(status, "http_request_denied", false, title, hint);
    let login = row("407 Proxy Authentication Required", "VPS 42 needs a login", "kohakuriver auth login");
    let login = Row { detail: "the Host wants a token, and got none or one it does not know", ..login };
    on_the_wire(gateway.address, "42:22", &login);
    for authorization in [None, Some("Bearer unknown"), Some("Basic dTp1bmtub3du"), Some("Digest x")] {
        through_curl(gateway.address, "42.kohakuriver:22", authorization, &login);
    }
    let sshd = Sshd::start();
    for token in [None, Some("unknown")] {
        through_ssh_with(token, &sshd, gateway.address, "42", &login);
    }
    let not_yours = row("403 Forbidden", "VPS 42 is not yours to reach", "");
    for token in [STRANGER, VIEWER] {
        through_curl(gateway.address, "42.kohakuriver:22", Some(&format!("Bearer {token}")), &not_yours);
        through_ssh_with(Some(token), &sshd, gateway.address, "42", &not_yours);
    }
    // A malformed request is refused as such for every user.
    let malformed = Row { error: "http_request_error", ..row("400 Bad Request", "", "") };
    through_curl(gateway.address, "127.0.0.1:22", None, &malformed);
    let answer = refusal(gateway.address, &connect_head("42:22"));
    assert!(answer.head.contains("\r\nProxy-Authenticate: Bearer realm=\"kohakuriver\""), "{}", answer.head);
    // The line protocol has no token: the answer says how to get in.
    let home = Home::new();
    let run =
        Run::new(HELPER, &home).args(["--proxy", &gateway.address.to_string(), "--protocol", "request-tunnel", "42"]);
    let outcome = run.env("KOHAKURIVER_TOKEN", OWNER).output();
    outcome.exits(1).fails_with("kohakuriver-proxy", "VPS 42 needs a login", "leave `--protocol` out");
    let line = ask(gateway.address, "REQUEST_TUNNEL 42\n");
    assert!(line.starts_with("ERROR ") && line.contains("login"), "{line:?}");
}

#[test]
fn a_gateway_at_its_limit() {
    let (echo, sshd) = (echo_server(), Sshd::start());
    let id = "7323718749301768192";
    let inventory = inventory(&[json!({
        "task_id": id, "status": "running", "assigned_node": NODE, "ssh_port": echo.address.port(),
    })]);
    let gateway = Gateway::with_inventory_and(&inventory, &["--max-tunnels", "1"]);
    let mut only = send(&gateway, format!("REQUEST_TUNNEL {id}\n"));
    only.read_exact(&mut [0; "SUCCESS\n".len()]).unwrap();
    let row = row("503 Service Unavailable", "connection_limit_reached", true, "the gateway is at its limit", "");
    let row = Row { detail: "it carries no more than 1 tunnel", ..row };
    on_the_wire(gateway.address, &format!("{id}:22"), &row);
    through_curl(gateway.address, &format!("{id}.kohakuriver:22"), None, &row);
    through_ssh(&sshd, gateway.address, id, &row);
    let line = ask(gateway.address, format!("REQUEST_TUNNEL {id}\n"));
    assert_eq!(line, "ERROR Too many connections. Try again in a moment.\n");
    // An open tunnel stays open.
    only.write_all(b"still").unwrap();
    only.read_exact(&mut [0; 5]).unwrap();
}
