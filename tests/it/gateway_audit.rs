//! The gateway's records: an audit line for each tunnel, and its log.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::process::{Command, Stdio};

use kohakuriver_proxy::handshake::connect::Answer;
use kohakuriver_proxy::refusal::Refusal;
use kohakuriver_proxy::resume::Key;
use serde_json::{Value, json};

use crate::support::gateway::{Gateway, NODE, NODE_DOWN, inventory, running};
use crate::support::home::{Home, mode};
use crate::support::host_api::{OWNER, STRANGER, VIEWER, host_api};
use crate::support::peers::{MutePort, RefusingPort, echo_server, http_server};
use crate::support::processes::falls_to;
use crate::support::resumable::Session;
use crate::support::run::{DEADLINE, Run, message};
use crate::support::scene::ID;
use crate::support::spawned::Spawned;
use crate::support::tools::{GATEWAY, HELPER, tool};
use crate::support::watched::{Watched, YES, ask, audit, connect, curl, metric, send, tunnel};

#[test]
fn an_audit_line_at_either_end_of_a_tunnel() {
    let scene = Watched::new(&[]);
    let process = scene.gateway.process.id().as_raw_pid();
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
                (&line["process"], &line["session"], &line["user"], &line["client"]),
                (&json!(process), &json!(at + 1), &Value::Null, &json!(client.local_addr().unwrap().to_string())),
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
fn behind_a_proxy_the_clients_own_address_is_noted() {
    let scene = Watched::new(&["--proxy-protocol"]);
    // Version 2, TCP over IPv4, from 10.1.2.3 port 4567.
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\x01\x02\x03\x7f\0\0\x01\x11\xd7\x1f\x42";
    let mut stream = send(&scene.gateway, [header, connect(&format!("{ID}:22")).as_bytes()].concat());
    stream.read_exact(&mut [0; YES.len()]).unwrap();
    assert_eq!(scene.sessions()[0]["client"], "10.1.2.3:4567");
    drop(stream);
    for event in ["opened", "closed"] {
        assert_eq!(scene.audit(event, 1)[0]["client"], "10.1.2.3:4567", "{event}");
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
        vps("1009", json!({ "assigned_node": "nowhere" })),
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
        ("1009:22", "runner-unknown"),
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
    let line = audit(&gateway, "refused", 18).pop().unwrap();
    assert_eq!((&line["reason"], &line["protocol"]), (&json!("incomplete-request"), &Value::Null));

    let api = host_api(vec![running(ID, open.address.port())]);
    let gateway = Gateway::with_host_api(&format!("http://{}", api.address));
    let with = |token: &str| format!("CONNECT {ID}:22 HTTP/1.1\r\nProxy-Authorization: Bearer {token}\r\n\r\n");
    ask(&gateway, connect(&format!("{ID}:22")));
    ask(&gateway, with(STRANGER));
    ask(&gateway, with(VIEWER));
    api.finish();
    ask(&gateway, with(STRANGER));
    let lines = audit(&gateway, "refused", 4);
    let reasons: Vec<_> = lines.iter().map(|line| line["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["token-needed", "not-allowed", "role-too-low", "host-api"]);
    lines.iter().for_each(|line| note(line, "connect"));
    let users: Vec<_> = lines.iter().map(|line| line["user"].as_str()).collect();
    assert_eq!(users, [None, Some("stranger1"), Some("viewer1"), Some("stranger1")]);
    let page = curl(&Home::new(), gateway.admin, "/metrics", &[]).text();
    // The Host was asked for three users, and for one of them twice about a VPS.
    for outcome in [("refused", 1.0), ("failed", 1.0), ("found", 3.0)] {
        assert_eq!(metric(&page, &format!("host_lookups_total{{outcome=\"{}\"}}", outcome.0)), outcome.1);
    }

    // An inventory with such an address is not taken in the first place.
    let api = http_server(|asked| {
        if asked.path == "/api/auth/me" {
            let off = json!({ "detail": "Authentication is not enabled on this server" });
            return (503, "application/json", off.to_string());
        }
        let nodes = json!([{ "hostname": NODE, "url": "no-url", "status": "online" }]);
        let body = if asked.path == "/api/nodes" { nodes } else { running(ID, 1) };
        (200, "application/json", body.to_string())
    });
    let gateway = Gateway::with_host_api(&format!("http://{}", api.address));
    ask(&gateway, connect(&format!("{ID}:22")));
    note(&audit(&gateway, "refused", 1)[0], "connect");

    let gateway = Gateway::with_inventory_and(&inventory, &["--allow", "10.0.0.0/8", "--line-protocol", "off"]);
    ask(&gateway, connect("1:22"));
    ask(&gateway, "REQUEST_TUNNEL 1\n");
    let lines = audit(&gateway, "refused", 2);
    note(&lines[0], "connect");
    note(&lines[1], "line");

    let gateway = Gateway::with_inventory(&inventory);
    let session = Session::open(gateway.address, "1013:22", None);
    for (n, reason) in [(1, None), (1, Some("session-mismatch"))] {
        let (answer, _) = session.resume(n, 0);
        assert_eq!(matches!(answer, Answer::Established(_)), reason.is_none(), "{answer:?}");
    }
    let stranger = Session { key: Key::from_bytes([0; 32]), ..session };
    assert!(matches!(stranger.resume(2, 0).0, Answer::Refused(_)));
    audit(&gateway, "refused", 2).iter().for_each(|line| note(line, "connect"));

    let all: BTreeSet<_> = Refusal::reasons().iter().map(|(reason, _)| (*reason).to_owned()).collect();
    assert_eq!(seen, all);
}

#[test]
fn an_audit_file_belongs_to_the_gateway_alone() {
    let home = Home::new();
    let path = home.join("audit.log");
    let scene = Watched::new(&["--audit-log", path.to_str().unwrap()]);
    ask(&scene.gateway, connect("1:22"));
    let lines = || std::fs::read_to_string(&path).map_or(0, |text| text.lines().count());
    assert_eq!(falls_to(0, DEADLINE, || usize::from(lines() == 0)), 0, "no line");
    // As logrotate does it.
    let rotated = home.join("audit.log.1");
    std::fs::rename(&path, &rotated).unwrap();
    scene.gateway.process.signal(rustix::process::Signal::HUP);
    assert_eq!(falls_to(0, DEADLINE, || usize::from(!path.exists())), 0, "no new file");
    ask(&scene.gateway, connect("2:22"));
    scene.gateway.process.signal(rustix::process::Signal::TERM);
    let Watched { gateway, .. } = scene;
    let outcome = gateway.process.finish();
    outcome.succeeds().prints_nothing();
    // All lines are written by then.
    for (path, target) in [(&rotated, "1:22"), (&path, "2:22")] {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(&format!("\"target\":\"{target}\",\"reason\":\"not-found\"")), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    assert_eq!(mode(&path), 0o600);

    let bad = Run::new(GATEWAY, &home).args(["--listen", "127.0.0.1:0", "--audit-log", "/no/such/folder/x"]).output();
    bad.exits(1).logs_failure("cannot write the audit log to /no/such/folder/x", "--audit-log");
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
        let line = message(line);
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
            ask(tunnels, &request);
        }
        asked += 500;
        assert!(asked < 20_000, "no line is lost of {asked}");
    }
    let mut stream = send(tunnels, format!("{}hello", connect(&format!("{ID}:22"))));
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, format!("{YES}hello"));
    let complaint = gateway.stderr_line();
    assert!(complaint.contains(" WARN audit lines to stdout are lost cause=\"the reader is too slow\""), "{complaint}");
    // It ends in time, too, whatever is left to be written.
    gateway.signal(rustix::process::Signal::TERM);
    let (status, said) = gateway.wait();
    assert!(status.success() && said.ends_with("stopped, with 0 tunnels still open\n"), "{status}: {said}");
    assert!(!said.contains("WARN"), "{said}");
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
        ask(&gateway, format!("CONNECT 1:80 HTTP/1.1\r\nProxy-Authorization: Bearer {OWNER}\r\n\r\n"));
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
        // The start of what Basic makes of `u:` and the token.
        let encoded = "dTowMTIzNDU2Nzg5YWJjZGVm";
        for secret in [OWNER, STRANGER, "0123456789abcdef", encoded] {
            assert!(!everything.contains(secret), "{secret} in {everything}");
        }
        let log: Vec<_> = outcome.stderr.lines().collect();
        assert!(
            log.len() > 5 && log.iter().all(|line| (serde_json::from_str::<Value>(line).is_ok()) == (format == "json"))
        );
    }
    // By default it says nothing of its clients.
    let scene = Watched::new(&[]);
    drop(tunnel(&scene.gateway, &connect(&format!("{ID}:22")), YES));
    ask(&scene.gateway, "nonsense\r\n");
    scene.audit("closed", 1);
    scene.gateway.process.signal(rustix::process::Signal::TERM);
    let Watched { gateway, .. } = scene;
    let outcome = gateway.process.finish();
    outcome.check(outcome.stderr.lines().count() == 5, "where it listens, that it stops and that it has stopped");
}

/// It would let libraries speak, of tokens for one.
#[test]
fn rust_log_is_not_read() {
    let home = Home::new();
    let inventory = home.write("inventory.json", inventory(&[]).to_string());
    let run = Run::new(GATEWAY, &home).env("RUST_LOG", "trace").arg("--inventory").arg(inventory);
    let gateway = run.args(["--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0", "--admin", "off"]).start();
    let address: SocketAddr = gateway.stderr_line("listening on ").parse().unwrap();
    ask(address, connect("1:22"));
    gateway.signal(rustix::process::Signal::TERM);
    let outcome = gateway.finish();
    outcome
        .succeeds()
        .check(outcome.stderr.lines().count() == 4, "where it listens, and that it stops and has stopped");
}
