//! A gateway before Hosts that are not as they should be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, NODE, name_of, running};
use crate::support::home::Home;
use crate::support::host_api::{ASSIGNED, OPERATOR, answer};
use crate::support::peers::{Asked, Peer, echo_server, http_server};
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::tools::CLI;
use crate::support::tunnels::asked_of;

/// A VPS of which the Host says that its port is one that can't be.
const ODD: &str = "7000000000000000005";

/// Runners that anyone can register at a Host, the real ones among them.
fn with_nonsense(nodes: &Value) -> Value {
    let mut all = vec![
        json!({ "hostname": "evil", "url": "", "status": "online" }),
        json!({ "hostname": format!("{NODE}\u{200b}"), "url": "http://192.0.2.1:8001", "status": "online" }),
    ];
    all.extend(nodes.as_array().unwrap().iter().cloned());
    all.push(json!({ "hostname": "", "url": "http://192.0.2.1:8001", "status": "online" }));
    all.into()
}

/// A Host without authentication that serves these VPSes, and nonsense among them.
fn host(vpses: Vec<Value>) -> Peer {
    http_server(move |asked| {
        let everyone = Asked { path: asked.path.clone(), authorization: format!("Bearer {OPERATOR}") };
        let (status, mut body) = answer(&vpses, if asked.authorization.is_empty() { &everyone } else { asked });
        match asked.path.as_str() {
            "/api/nodes" => body = with_nonsense(&body),
            "/api/vps" | "/api/vps/status" | "/api/vps/my" if status == 200 => {
                body.as_array_mut().unwrap().push(json!({ "task_id": "many", "status": "running" }));
            }
            _ => {}
        }
        (status, "application/json", body.to_string())
    })
}

#[test]
fn a_runner_registered_with_nonsense_stops_nobody_else() {
    let echo = echo_server();
    let mut odd = running(ODD, 1);
    odd["ssh_port"] = json!(70_000);
    let host = host(vec![running(ID, echo.address.port()), odd]);
    let gateway = Gateway::with_host_api(&format!("http://{}", host.address));
    let connect = |target: &str, token: &str| {
        let head = format!("CONNECT {target}:22 HTTP/1.1\r\nProxy-Authorization: Bearer {token}\r\n\r\n");
        asked_of(gateway.address, &head)
    };
    for (target, token) in [(ID, OPERATOR), (&*name_of(ID), OPERATOR), (ID, ASSIGNED)] {
        let answer = connect(target, token);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{target}: {answer}");
    }
    for target in [ODD, &*name_of(ODD)] {
        let answer = connect(target, OPERATOR);
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        assert!(answer.contains(&format!("the SSH port of task {ODD} is 70000")), "{answer}");
    }

    let home = Home::new();
    let cli = |arguments: &[&str]| Run::new(CLI, &home).on_host(host.address.port()).args(arguments).output();
    for (arguments, there, left_out) in [
        (&["vps", "list"][..], [ID, ODD], "1 VPS"),
        (&["vps", "list", "--json"], [ID, ODD], "1 VPS"),
        (&["node", "list"], [NODE, "node-down"], "2 Runners"),
    ] {
        let outcome = cli(arguments);
        outcome.succeeds();
        outcome.check(there.iter().all(|entry| outcome.text().contains(entry)), "the others");
        let remark = format!("skipped {left_out}: the Host's description is not usable\n");
        outcome.check(outcome.stderr == remark, "one line about those");
    }
}

#[test]
fn a_list_of_nothing_but_nonsense_is_nonsense() {
    let host = http_server(|_| (200, "application/json", json!([{ "hostname": "n" }, {}]).to_string()));
    let home = Home::new();
    let outcome = Run::new(CLI, &home).on_host(host.address.port()).args(["node", "list"]).output();
    outcome.exits(1).says(&["gave an unusable answer: a node has no usable `url`"]);
}

/// Anyone can register a Runner at the Host's own address, and to its own machine a Host's API may answer more.
#[test]
fn the_hosts_own_api_is_no_runner() {
    let port = Arc::new(AtomicU16::new(0));
    let own = Arc::clone(&port);
    let host = http_server(move |asked| {
        let everyone = Asked { path: asked.path.clone(), authorization: format!("Bearer {OPERATOR}") };
        let (status, body) = answer(&[running(ID, own.load(Ordering::SeqCst))], &everyone);
        (status, "application/json", body.to_string())
    });
    port.store(host.address.port(), Ordering::SeqCst);
    for name in ["127.0.0.1", "localhost"] {
        let gateway = Gateway::with_host_api(&format!("http://{name}:{}", host.address.port()));
        let answer = asked_of(gateway.address, &format!("CONNECT {ID}:22 HTTP/1.1\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        assert!(answer.contains("127.0.0.1 is the Host's own API, which the gateway does not dial"), "{answer}");
    }
}

/// The tokens of all users go to the Host.
#[test]
fn the_host_of_the_settings_is_asked_without_a_proxy() {
    let (echo, home) = (echo_server(), Home::new());
    let host = host(vec![running(ID, echo.address.port())]);
    let settings = json!({ "host": "127.0.0.1", "port": host.address.port(), "upstream_proxy": "http://127.0.0.1:1" });
    home.write(".config/kohakuriver/config.json", settings.to_string());
    let gateway = Gateway::with_settings_of(&home);
    let answer = asked_of(gateway.address, &format!("CONNECT {ID}:22 HTTP/1.1\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
