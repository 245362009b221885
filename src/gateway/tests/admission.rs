//! The clients that are let in, the answers to those that are not, and the addresses that are dialled for the others.

use super::*;
use crate::handshake::proxy_protocol::tests::header;
use decide::networks::network;

impl Running {
    async fn with_handshakes(host: &FakeHost, handshakes: u32) -> Self {
        let wanted = Wanted { handshakes, ..Wanted::default() };
        Self::on(directory_of(&host.base), Terms { limits: Arc::new(Limits::of(&wanted)), ..terms() }).await
    }

    async fn behind_proxies(host: &FakeHost, from: &[&str]) -> Self {
        let proxy_from = from.iter().map(|text| network(text).unwrap()).collect();
        Self::on(directory_of(&host.base), Terms { proxy_protocol: true, proxy_from, ..terms() }).await
    }
}

/// A header of the PROXY protocol that names 192.0.2.7:40000 as the client.
fn proxied(request: &str) -> Vec<u8> {
    [&header(0x21, 0x11, &[192, 0, 2, 7, 198, 51, 100, 1, 0x9c, 0x40, 0x1f, 0x42])[..], request.as_bytes()].concat()
}

#[tokio::test]
async fn a_silent_client_that_makes_room_is_told_so_in_its_protocol() {
    let host = host(1, json!({})).await;
    let gateway = Running::with_handshakes(&host, 1).await;
    let limit = "kohakuriver_gateway_requests_refused_total{reason=\"limit\",error=\"connection_limit_reached\"}";
    for (turned_away, (start, expected)) in (1..).zip([
        ("", "HTTP/1.1 503 Service Unavailable\r\n"),
        ("CONNECT 42:22 HTTP/1.1\r\n", "HTTP/1.1 503 Service Unavailable\r\n"),
        ("REQUEST_TUNNEL 4", "ERROR Too many connections. Try again in a moment.\n"),
    ]) {
        let mut silent = gateway.send(start.as_bytes()).await;
        shows(&gateway, "kohakuriver_gateway_handshakes 1").await;
        let answer = gateway.ask("REQUEST_TUNNEL x\n").await;
        assert_eq!(answer, "ERROR Invalid task ID format.\n");
        let answer = rest(&mut silent).await;
        assert!(answer.starts_with(expected), "{start:?}: {answer}");
        shows(&gateway, &format!("{limit} {turned_away}")).await;
        shows(&gateway, "kohakuriver_gateway_handshakes 0").await;
    }
}

#[tokio::test]
async fn only_trusted_proxies_may_name_a_client() {
    let host = host(1, json!({})).await;
    for (from, trusted) in [(&[][..], true), (&["192.0.2.0/24", "127.0.0.0/8"], true), (&["192.0.2.0/24"], false)] {
        let gateway = Running::behind_proxies(&host, from).await;
        for (request, served, refused) in [
            (connect("42:80"), "HTTP/1.1 403 Forbidden\r\n", "outside the networks it is meant for"),
            ("REQUEST_TUNNEL x\n".to_owned(), "ERROR Invalid task", "ERROR This gateway does not serve 127.0.0.1.\n"),
        ] {
            let mut client = gateway.send(&proxied(&request)).await;
            client.shutdown().await.unwrap();
            let answer = rest(&mut client).await;
            assert!(answer.contains(if trusted { served } else { refused }), "{from:?}: {answer}");
            assert_eq!(answer.contains("outside"), !trusted && request.starts_with("CONNECT"), "{from:?}: {answer}");
        }
    }
}

/// All of its clients have its address.
#[tokio::test]
async fn a_proxy_has_no_share_of_its_own_among_the_handshakes() {
    let host = host(1, json!({})).await;
    let wanted = Wanted { handshakes_per_client: Some(1), ..Wanted::default() };
    let terms = Terms { limits: Arc::new(Limits::of(&wanted)), proxy_protocol: true, ..terms() };
    let gateway = Running::on(directory_of(&host.base), terms).await;
    let [first, request] = ["REQUEST_", "TUNNEL x\n"];
    let mut slow = gateway.send(&proxied(first)).await;
    shows(&gateway, "kohakuriver_gateway_handshakes 1").await;
    let mut quick = gateway.send(&proxied(&format!("{first}{request}"))).await;
    assert_eq!(rest(&mut quick).await, "ERROR Invalid task ID format.\n");
    slow.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(rest(&mut slow).await, "ERROR Invalid task ID format.\n");
}

#[tokio::test]
async fn a_refusal_is_audited_with_the_client_that_a_proxy_names() {
    let host = host(1, json!({})).await;
    let (audit, written) = audit();
    let records = Records { audit: audit.clone(), ..Records::default() };
    let terms = Terms { proxy_protocol: true, ..terms() };
    let gateway = Running::with(directory_of(&host.base), terms, Heard::default(), records).await;
    for (request, protocol, target, reason) in [
        (connect("42:80"), json!("connect"), json!("42:80"), "port-not-offered"),
        ("REQUEST_TUNNEL 42 x\n".to_owned(), json!("line"), json!("42 …"), "bad-request"),
        ("REQUEST".to_owned(), json!(null), json!(null), "incomplete-request"),
    ] {
        let mut client = gateway.send(&proxied(&request)).await;
        client.shutdown().await.unwrap();
        rest(&mut client).await;
        let line = lines(&audit, &written).pop().unwrap();
        assert_eq!((&line["event"], &line["reason"]), (&json!("refused"), &json!(reason)), "{line}");
        assert_eq!((&line["protocol"], &line["target"]), (&protocol, &target), "{line}");
        assert_eq!(line["client"], "192.0.2.7:40000", "{line}");
    }
}

#[tokio::test]
async fn a_vps_that_was_restarted_is_dialled_at_its_new_port() {
    let (refusing, _socket) = refusing_port();
    let host = host(refusing, json!({})).await;
    let gateway = Running::before(&host).await;
    let request = format!("REQUEST_TUNNEL {ID}\nearly");
    assert!(gateway.ask(&request).await.starts_with("ERROR Connection refused "));
    let mut task = json!({ "task_id": ID, "task_type": "vps", "status": "running", "assigned_node": "node-up" });
    task["ssh_port"] = vps().await.into();
    host.on(&format!("/api/status/{ID}"), 200, task);
    for _ in 0..2 {
        host.seen();
        let mut tunnel = gateway.send(request.as_bytes()).await;
        tunnel.shutdown().await.unwrap();
        assert_eq!(rest(&mut tunnel).await, "SUCCESS\nSSH-2.0-Fake\r\nearly");
    }
    assert!(host.seen().is_empty(), "a connection that succeeds leads to no question");
}

/// The VPS refuses the connection, and the Host is asked again, since the VPS may have another port by now.
#[tokio::test]
async fn a_host_that_fails_then_hides_no_refused_connection_and_its_news_comes_first() {
    let (refusing, _socket) = refusing_port();
    let task = json!({
        "task_id": ID, "task_type": "vps", "status": "paused", "assigned_node": "node-up", "ssh_port": refusing,
    });
    for (status, body, expected) in [
        (500, json!("Internal Server Error"), "ERROR Connection refused "),
        (200, task, &format!("ERROR VPS task {ID} is not active (status: paused).\n")),
    ] {
        let host = host(refusing, json!({})).await;
        // No old answer stands in for one of a Host that fails.
        let directory = HostDirectory::new(Client::new(&host.base, None).unwrap(), Duration::ZERO);
        let gateway = Running::start(Directory::Host(Box::new(directory)), 8).await;
        let request = format!("REQUEST_TUNNEL {ID}\n");
        assert!(gateway.ask(&request).await.starts_with("ERROR Connection refused "));
        host.on(&format!("/api/status/{ID}"), status, body);
        host.seen();
        let answer = gateway.ask(&request).await;
        assert!(answer.starts_with(expected), "{status}: {answer}");
        assert!(!host.seen().is_empty(), "the Host is not asked");
    }
}

#[tokio::test]
async fn neither_the_gateway_nor_the_host_is_dialled() {
    let host = host(1, json!({})).await;
    let (ssh_proxy, _socket) = refusing_port();
    let gateway = Running::on(directory_of(&host.base), Terms { host_ssh_proxy: [ssh_proxy, 8002], ..terms() }).await;
    let api: SocketAddr = host.base.trim_start_matches("http://").parse().unwrap();
    for (id, port, expected) in [
        ("11", gateway.tunnels.port(), "127.0.0.1 is the gateway itself"),
        ("12", gateway.api.port(), "127.0.0.1 is the gateway itself"),
        ("13", api.port(), "127.0.0.1 is the Host's own API"),
        ("14", ssh_proxy, "127.0.0.1 is the Host's own SSH proxy"),
    ] {
        let task = json!({
            "task_id": id, "task_type": "vps", "status": "running", "assigned_node": "node-up", "ssh_port": port,
        });
        host.on(&format!("/api/status/{id}"), 200, task);
        let answer = gateway.ask(&connect(&format!("{id}:22"))).await;
        assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains(expected), "{answer}");
    }
}

#[tokio::test]
async fn a_gateway_that_anyone_can_use_is_warned_about() {
    let directory = Directory::Inventory(Scene::new(json!({ "nodes": [], "vps": [] })).inventory);
    let everyone = "anyone who can connect to this gateway reaches every VPS";
    let claims = "anyone who can connect to this gateway may claim to come from any address";
    let allow = || vec![network("10.0.0.0/8").unwrap()];
    for (listening, sources, proxy_protocol, proxy_from, expected) in [
        ("[::]:8002", rules::Sources::default(), false, vec![], vec![everyone]),
        ("127.0.0.1:8002", rules::Sources::default(), false, vec![], vec![]),
        ("[::]:8002", rules::Sources { allow: allow(), ..Default::default() }, false, vec![], vec![]),
        ("[::]:8002", rules::Sources { allow: allow(), ..Default::default() }, true, vec![], vec![claims]),
        ("[::]:8002", rules::Sources { allow: allow(), ..Default::default() }, true, allow(), vec![]),
        ("127.0.0.1:8002", rules::Sources::default(), true, vec![], vec![]),
        ("[::]:8002", rules::Sources::default(), true, vec![], vec![claims, everyone]),
    ] {
        let heard = Heard::default();
        let rules = Arc::new(RuleBook::open(sources).unwrap());
        let terms = Terms { rules, proxy_protocol, proxy_from, ..terms() };
        front::exposure::warn(&[listening.parse().unwrap()], &directory, &terms, &records_to(&heard)).await;
        let text = heard.text();
        for warning in [everyone, claims] {
            assert_eq!(text.contains(warning), expected.contains(&warning), "{listening} {proxy_protocol}: {text}");
        }
    }
}
