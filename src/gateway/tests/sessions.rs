//! Requests about sessions, and clients that come again for a tunnel.

use super::*;
use crate::handshake::connect::request as to_connect;
use crate::handshake::resume::{Answered, Asked, FIELD};
use crate::resume::{Exchange, MAC, SessionId};
use crate::settings::ProxyAddress;
use decide::networks::network;

/// A Host with these users, whose names are their tokens.
async fn host_of_users(port: u16) -> FakeHost {
    let host = host(port, json!({})).await;
    let me = |name: &str, role: &str| json!({ "id": -1, "username": name, "role": role });
    host.on("/api/auth/me", 200, me("_anonymous", "anony"));
    for (name, role) in [("alice", "user"), ("bob", "user"), ("root", "admin")] {
        host.on_with(name, "/api/auth/me", 200, me(name, role));
    }
    host
}

/// The head of an answer.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, stream.read_u8()).await.expect("no answer comes").unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn a_user_sees_and_ends_own_sessions_and_an_admin_sees_all() {
    let host = host_of_users(vps().await).await;
    let gateway = Running::before(&host).await;
    let mut tunnels = Vec::new();
    for user in ["alice", "bob"] {
        let fields = format!("Proxy-Authorization: Bearer {user}\r\n");
        let mut tunnel = gateway
            .send(connect(&format!("{ID}:22")).replace("\r\n\r\n", &format!("\r\n{fields}\r\n")).as_bytes())
            .await;
        assert!(head(&mut tunnel).await.starts_with("HTTP/1.1 200 "), "{user}");
        tunnels.push(tunnel);
    }
    let (of_nobody, of_strangers) = ("there is no such session, or it is not yours", "the Host does not know you");
    for (line, token, status, says) in [
        ("GET /sessions", "alice", 200, "\"user\":\"alice\""),
        ("GET /sessions?all", "alice", 403, "only an admin of the Host sees everybody's sessions"),
        ("GET /sessions?all", "root", 200, "\"user\":\"bob\""),
        ("GET /sessions", "root", 200, "\r\n\r\n[]"),
        ("GET /sessions", "wrong", 401, of_strangers),
        ("GET /sessions?all", "wrong", 401, of_strangers),
        ("POST /sessions", "alice", 405, "Allow: GET\r\n"),
        ("DELETE /sessions/x", "alice", 404, of_nobody),
        ("DELETE /sessions/2", "alice", 404, of_nobody),
        ("DELETE /sessions/1", "alice", 204, ""),
    ] {
        let answer = gateway.ask(&format!("{line} HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(says), "{line}: {answer}");
        assert_eq!(answer.contains("\"bob\""), says.contains("bob"), "{line}: {answer}");
    }
    shows(&gateway, "kohakuriver_gateway_session_requests_total{code=\"204\"} 1").await;
    let [of_alice, of_bob] = &mut tunnels[..] else { panic!("{tunnels:?}") };
    // An end of stream or a reset.
    let _ = timeout(PATIENCE, of_alice.read_to_end(&mut Vec::new())).await.expect("the tunnel stays open");
    of_bob.shutdown().await.unwrap();
    assert_eq!(rest(of_bob).await, "SSH-2.0-Fake\r\n");
}

/// A request that continues a session that nobody has.
fn continues_nothing(passed: bool) -> String {
    let asked = Asked::Continue { id: SessionId([7; 16]), delivered: 0, n: 1, mac: [9; MAC], passed };
    String::from_utf8(to_connect(&format!("{ID}:22"), None, Some(asked))).unwrap()
}

/// The other gateways have judged their own clients.
#[tokio::test]
async fn the_networks_that_are_served_hold_for_all_but_the_gateways_of_the_cluster() {
    let (port, _socket) = refusing_port();
    let other: ProxyAddress = format!("127.0.0.1:{port}").parse().unwrap();
    let host = host(1, json!({})).await;
    for (has_other, is_others, is_served) in
        [(false, false, false), (false, true, false), (true, false, false), (true, true, true)]
    {
        let sources = rules::Sources { allow: vec![network("10.0.0.0/8").unwrap()], ..rules::Sources::default() };
        let rules = Arc::new(RuleBook::open(sources).unwrap());
        let peers = has_other.then(|| other.clone()).into_iter().collect();
        let gateway = Running::on(directory_of(&host.base), Terms { rules, peers, ..terms() }).await;
        let list = format!("GET /sessions{} HTTP/1.1\r\n\r\n", if is_others { "?here" } else { "" });
        for (request, beyond) in [
            (list, "the Host has no users, so no session here is anybody's own"),
            (continues_nothing(is_others), "HTTP/1.1 410 "),
        ] {
            let answer = gateway.ask(&request).await;
            let says = if is_served { beyond } else { "127.0.0.1 is outside the networks it is meant for" };
            assert!(answer.contains(says), "{has_other} {is_others}: {answer}");
        }
    }
}

/// A resumable tunnel, up to the gateway's answer: its connection, and the request that continues it for the `n`th time.
async fn resumable(gateway: &Running) -> (TcpStream, impl Fn(u64) -> Vec<u8>) {
    let (target, exchange) = (format!("{ID}:22"), Exchange::new().unwrap());
    let mut client = gateway.send(&to_connect(&target, None, Some(Asked::New(exchange.public())))).await;
    let head = head(&mut client).await;
    let value = head.lines().find_map(|line| line.strip_prefix(FIELD)?.strip_prefix(": ")).unwrap();
    let Some(Answered::New { id, key, .. }) = Answered::read(value.as_bytes()) else { panic!("{head}") };
    let key = exchange.with_gateway(&key, id).unwrap();
    (client, move |n| to_connect(&target, None, Some(Asked::to_continue(id, &key, n, 0))))
}

#[tokio::test]
async fn a_client_that_comes_again_gets_its_tunnel_also_at_another_gateway() {
    let host = host(vps().await, json!({})).await;
    let gateway = Running::before(&host).await;
    let peers = vec![gateway.tunnels.to_string().parse().unwrap()];
    let other = Running::on(directory_of(&host.base), Terms { peers, ..terms() }).await;
    let (mut client, again) = resumable(&gateway).await;
    for (n, at) in (1..).zip([&gateway, &other, &gateway]) {
        // Its connection breaks off.
        drop(client);
        client = at.send(&again(n)).await;
        let head = head(&mut client).await;
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains(&format!("\r\n{FIELD}: v1; recv=0\r\n")), "{head}");
        // Bytes that it has not acknowledged come again, in frames.
        let (mut said, expected) = (Vec::new(), b"SSH-2.0-Fake\r\n");
        while !said.windows(expected.len()).any(|window| window == expected) {
            timeout(PATIENCE, client.read_buf(&mut said)).await.expect("nothing comes").unwrap();
        }
    }
    // Nobody has another session. A gateway that is alone asks nobody, and neither does one that is asked.
    for (at, passed, asks) in [(&gateway, false, false), (&other, false, true), (&other, true, false)] {
        let answer = at.ask(&continues_nothing(passed)).await;
        assert!(answer.starts_with("HTTP/1.1 410 "), "{answer}");
        assert_eq!(answer.contains("no gateway of this cluster has it"), asks, "{answer}");
    }
}
