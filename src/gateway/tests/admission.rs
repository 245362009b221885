//! The clients that are let in, the answers to those that are not, and the addresses that are dialled for the others.

use super::*;
use crate::handshake::proxy_protocol::tests::header;
use decide::networks::network;
use front::certificates::tests::Scene as Certified;

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
    let said = gateway.heard.messages();
    assert_eq!(
        said.matches("has too many connections that ask for a tunnel: its oldest makes room").count(),
        1,
        "{said}"
    );
}

#[tokio::test]
async fn a_request_that_takes_long_makes_room_and_its_client_is_told_so() {
    let sessions = "GET /sessions HTTP/1.1\r\nAuthorization: Bearer me\r\n\r\n";
    for (request, why) in [
        (&*connect(&format!("{ID}:22")), "others wait, and neither the Host nor the VPS has answered"),
        (sessions, "others wait, and the answer takes time"),
    ] {
        let host = host(1, json!({})).await;
        let (base, asked, _release) = held(&host).await;
        let wanted = Wanted { handshakes: 1, ..Wanted::default() };
        let terms = Terms { limits: Arc::new(Limits::of(&wanted)), ..terms() };
        let gateway = Running::on(directory_of(&base), terms).await;
        let mut waiting = gateway.send(request.as_bytes()).await;
        timeout(PATIENCE, asked).await.expect("the Host is not asked").unwrap();
        tokio::time::pause();
        tokio::time::advance(Duration::from_millis(1001)).await;
        tokio::time::resume();
        assert_eq!(gateway.ask("REQUEST_TUNNEL x\n").await, "ERROR Invalid task ID format.\n");
        let answer = rest(&mut waiting).await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains(why), "{answer}");
        assert!(answer.contains("\r\nRetry-After: 2\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_or_too_slow_counts_against_its_limit() {
    let host = host(1, json!({})).await;
    let wanted = Wanted { head_bytes: 1024, head_fields: 10, ..Wanted::default() };
    for (wanted, rest, name) in [
        (wanted, format!("X: {}", "x".repeat(1024)), "head-bytes"),
        (wanted, "X: y\r\n".repeat(11) + "\r\n", "head-fields"),
        (Wanted { head_seconds: 0, ..wanted }, String::new(), "head-seconds"),
    ] {
        let limits = Arc::new(Limits::of(&wanted));
        let terms = Terms { limits: Arc::clone(&limits), ..terms() };
        let gateway = Running::on(directory_of(&host.base), terms).await;
        let answer = gateway.ask(&format!("CONNECT 42:22 HTTP/1.1\r\n{rest}")).await;
        let met: Vec<_> = limits.all().map(|limit| (limit.name, limit.met)).filter(|(_, met)| *met > 0).collect();
        assert_eq!(met, [(name, 1)], "{answer}");
    }
}

#[tokio::test]
async fn the_tls_port_serves_the_host_api_where_that_is_asked_for() {
    let (host, scene) = (host(1, json!({})).await, Certified::new());
    for api_proxy in [true, false] {
        let terms = Terms { certificates: Some(scene.open(false)), api_proxy, ..terms() };
        let gateway = Running::on(directory_of(&host.base), terms).await;
        let socket = TcpStream::connect(gateway.tls.unwrap()).await.unwrap();
        let mut client = shake_hands(socket, &scene.authority.client()).await;
        client.write_all(b"GET /api/nodes HTTP/1.1\r\nHost: gpu.example\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, client.read_to_string(&mut answer)).await.expect("no end comes").unwrap();
        assert!(answer.starts_with(if api_proxy { "HTTP/1.1 200 " } else { "HTTP/1.1 400 " }), "{answer}");
        assert_eq!(answer.contains("node-up"), api_proxy, "{answer}");
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
