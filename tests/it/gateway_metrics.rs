//! The gateway's admin address: metrics, sessions, health, and the requests that get nothing.

use std::io::{Read, Write};
use std::net::Shutdown;

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, NODE, inventory};
use crate::support::home::Home;
use crate::support::host_api::host_api;
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::spawned::{Ends, Spawned};
use crate::support::tools::{GATEWAY, tool};
use crate::support::watched::{DELETE, Watched, YES, ask, connect, curl, metric, send, tunnel};

#[test]
fn metrics_before_and_after_real_tunnels() {
    let scene = Watched::new(&[]);
    let page = scene.curl("/metrics", &["-i"]).text();
    assert!(page.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{page}");
    for name in [
        "connections_accepted_total{transport=\"tcp\"}",
        "tunnels",
        "tunnels_opened_total{protocol=\"connect\",transport=\"tcp\"}",
        "tunnels_opened_total{protocol=\"line\",transport=\"tcp\"}",
        "tunnels_closed_total{ending=\"complete\"}",
        "tunnel_bytes_total{direction=\"up\"}",
        "setup_seconds_count",
        "tunnel_seconds_count",
        "handshakes",
        "limit_used{limit=\"handshakes\"}",
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
    assert!(ask(&scene.gateway, connect("1:22")).starts_with("HTTP/1.1 404 "));

    let page = scene.curl("/metrics", &[]).text();
    for (name, expected) in [
        ("connections_accepted_total{transport=\"tcp\"}", 5.0),
        ("tunnels_opened_total{protocol=\"connect\",transport=\"tcp\"}", 2.0),
        ("tunnels_opened_total{protocol=\"line\",transport=\"tcp\"}", 1.0),
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
    let scene = Watched::new(&[]);
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

    let status = [&["-o", "/dev/null", "-w", "%{http_code}"], &DELETE[..]].concat();
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
    let scene = Watched::new(&[]);
    let evil = scene.curl("/sessions", &["-i", "-H", "Host: evil.example"]).text();
    assert!(
        evil.starts_with("HTTP/1.1 403 ") && evil.contains("`evil.example` is not a name of this gateway"),
        "{evil}"
    );
    for host in ["localhost:1", "127.0.0.1", "[::1]:8003"] {
        scene.curl("/sessions", &["-H", &format!("Host: {host}")]).prints("[]");
    }
    scene.curl("/healthz", &["--http1.0", "-H", "Host:"]).prints("ok\n");
    let evil = scene.curl("/", &["-i", "-H", "Host: evil.example"]).text();
    assert!(evil.starts_with("HTTP/1.1 403 "), "{evil}");
}

#[test]
fn readiness_is_that_of_the_host_and_health_is_not() {
    let api = host_api(vec![]);
    let home = Home::new();
    let gateway = Gateway::with_host_api(&format!("http://{}", api.address));
    for path in ["/healthz", "/healthz?ready"] {
        curl(&home, gateway.admin, path, &[]).prints("ok\n");
    }
    api.finish();
    curl(&home, gateway.admin, "/healthz", &[]).prints("ok\n");
    let down = curl(&home, gateway.admin, "/healthz?ready", &["-i"]).text();
    assert!(down.starts_with("HTTP/1.1 503 ") && down.contains("can't be used: Connection refused"), "{down}");
    let scene = Watched::new(&[]);
    scene.curl("/healthz?ready", &[]).prints("ok\n");
}

#[test]
fn an_admin_address_of_ones_own_choice() {
    let scene = Watched::new(&[]);
    let home = Home::new();
    let inventory = home.write("inventory.json", inventory(&[]).to_string());
    let gateway = |admin: &str| {
        let run = Run::new(GATEWAY, &home).args(["--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"]);
        run.args(["--inventory", inventory.to_str().unwrap(), "--admin", admin]).deadline(20)
    };
    let taken = scene.gateway.admin.to_string();
    let outcome = gateway(&taken).output();
    outcome.exits(1).within(10);
    outcome.logs_failure(&format!("cannot listen on {taken}"), "--admin off");

    let stops = |run: Run| {
        let process = run.start();
        process.stderr_line("listening on ");
        process.signal(rustix::process::Signal::TERM);
        process.finish()
    };
    let off = stops(gateway("off"));
    off.succeeds().check(!off.stderr.contains("admin"), "nothing about an admin address");
    let open = stops(gateway("0.0.0.0:0"));
    open.succeeds().says(&[
        "admin on 0.0.0.0:",
        " WARN anyone who reaches 0.0.0.0:",
        "can list all tunnels and their users",
    ]);
    let closed = stops(gateway("127.0.0.1:0"));
    closed.succeeds().check(!closed.stderr.contains("WARN"), "no warning");
}
