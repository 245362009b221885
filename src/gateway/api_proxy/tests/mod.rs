//! The proxy in front of a Host: what gets through, and what doesn't.

mod calls;
mod scene;

use std::sync::Arc;

use hyper::{Method, Uri};
use proptest::prelude::*;
use serde_json::{Value, json as object};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::connection::{HEAD_LIMIT, STUCK_LIMIT};
use super::routes::{self, ROUTES};
use crate::gateway::decide::directory::Directory;
use crate::gateway::decide::inventory::tests::Scene;
use crate::gateway::watch::metrics::tests::page;
use scene::{CLIENT, Host, Served, json, of, proxy};

/// Everything that the gateway answers itself.
#[tokio::test]
async fn other_requests_never_reach_the_host() {
    let host = Host::start(|_| json(200, &object!([]))).await;
    let served = Served::start(proxy(&host.base, "")).await;
    for target in [
        "/",
        "/api",
        "/api/",
        "/nodes",
        "/vps",
        "/status/42",
        "/submit",
        "/kill/42",
        "/docs",
        "/openapi.json",
        "/api/health",
        "/api/tasks",
        "/api/tasks/my",
        "/api/submit",
        "/api/kill/42",
        "/api/register",
        "/api/update",
        "/api/auth/users",
        "/api/auth/tokens",
        "/api/auth/status",
        "/api/auth/register",
        "/api/auth/logout",
        "/api/admin",
        "/api/ws/forward/42/22",
        "/api/vps/42/assign",
        "/api/nodes/",
        "/api//nodes",
        "//api/nodes",
        "/api/./nodes",
        "/api/x/../nodes",
        "/api/%6eodes",
        "/api%2fnodes",
        "/api/vps/..%2fnodes",
        "/api/nodes%00",
        "/api/nodes;x",
        "/API/nodes",
        "/api/nodes?x",
        "/api/nodes?",
        "/api/status/",
        "/api/status/abc",
        "/api/status/-1",
        "/api/status/+1",
        "/api/status/1_0",
        "/api/status/%31",
        "/api/status/{id}",
        "/api/status/42/",
        "/api/status/42/x",
        "/api/status/123456789012345678901",
        "http://x/api/nodes",
        "http://127.0.0.1:8000/api/nodes",
        "*",
        "/metrics",
        "/sessions",
        "/healthz",
    ] {
        let status = served.status("GET", target).await;
        // Some are no targets of HTTP at all.
        assert!(status == 404 || (status == 400 && target.contains(['{', '\\'])), "{target}: {status}");
    }
    for (method, target, status) in [
        ("POST", "/api/nodes", 405),
        ("GET", "/api/auth/login", 405),
        ("HEAD", "/api/nodes", 405),
        ("OPTIONS", "/api/nodes", 405),
        ("PUT", "/api/vps/create", 405),
        ("GET", "/api/vps/stop/42", 405),
        ("GET", "/api/auth/tokens/42", 405),
        ("POST", "/api/auth/tokens/42", 405),
        ("PUT", "/api/heartbeat/node1", 404),
        ("CONNECT", "42:22", 404),
    ] {
        assert_eq!(served.status(method, target).await, status, "{method} {target}");
    }
    let answer = served.raw("POST /api/nodes HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    assert!(answer.contains("\r\nallow: GET\r\n") && answer.contains("application/problem+json"), "{answer}");
    assert!(answer.contains(r#""detail":"Method Not Allowed""#), "{answer}");
    assert!(host.seen().is_empty());
}

proptest! {
    #[test]
    fn only_the_paths_of_the_table_get_through(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "api", "vps", "status", "nodes", "my", "auth", "me", "login", "tokens", "create", "stop", "42", "0", "/", "/",
                "/", ".", "..", "%2f", "%2e", "%61pi", "\\", ";", "?", "#", "@", ":", "//", "a", "{id}", "é", "\u{661}",
            ]),
            0..12,
        ),
        method in prop::sample::select(vec![Method::GET, Method::POST, Method::DELETE]),
    ) {
        let target = format!("/{}", parts.concat());
        if let Ok(uri) = target.parse::<Uri>() && let Ok(route) = routes::find(&method, &uri) {
            // A fragment is no part of the target that is passed on.
            let path = target.split('#').next().unwrap();
            prop_assert!(path.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'/'), "{target}");
            let digits = |part: &str| if part.bytes().all(|b| b.is_ascii_digit()) { "{id}".to_owned() } else { part.to_owned() };
            let written = path.split('/').map(|part| if part.is_empty() { String::new() } else { digits(part) });
            prop_assert_eq!(written.collect::<Vec<_>>().join("/"), route.path);
            prop_assert_eq!(uri.path(), path);
        }
    }
}

#[tokio::test]
async fn fields_are_chosen_in_both_directions() {
    let host = Host::start(|_| {
        let mut response = json(307, &object!({ "message": "ok" }));
        for (name, value) in [
            ("location", "http://10.0.0.1:8000/api/nodes/"),
            ("set-cookie", "kohakuriver_session=s3cret; HttpOnly"),
            ("set-cookie", "other=1"),
            ("retry-after", "3"),
            ("date", "Mon, 23 Nov 2026 12:00:00 GMT"),
            ("www-authenticate", "Bearer"),
            ("x-internal", "10.0.0.1"),
            ("access-control-allow-origin", "*"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "x"),
            ("upgrade", "h2c"),
            ("trailer", "x"),
        ] {
            response.headers_mut().append(name, value.parse().unwrap());
        }
        response
    })
    .await;
    let served = Served::start(proxy(&host.base, "")).await;
    let answer = served
        .raw(
            "POST /api/vps/create HTTP/1.1\r\nhost: gpu.example\r\nauthorization: Bearer t0ken\r\n\
             cookie: kohakuriver_session=a\r\naccept: application/json\r\ncontent-type: application/json\r\n\
             user-agent: u\r\nx-admin-token: admin\r\nx-forwarded-for: 10.9.9.9\r\nforwarded: for=10.9.9.9\r\n\
             x-real-ip: 10.9.9.9\r\nx-forwarded-proto: http\r\nx-forwarded-host: evil\r\nupgrade: websocket\r\n\
             proxy-authorization: Bearer p\r\nte: trailers\r\nkeep-alive: 5\r\nx-named: x\r\n\
             connection: close, x-named\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{\"a\"\r\n3\r\n:1}\r\n0\r\n\r\n",
        )
        .await;
    let [seen] = <[_; 1]>::try_from(host.seen()).unwrap();
    let mut names: Vec<_> = seen.fields.keys().map(hyper::header::HeaderName::as_str).collect();
    names.sort_unstable();
    let expected = [
        "accept",
        "authorization",
        "content-length",
        "content-type",
        "cookie",
        "host",
        "user-agent",
        "x-forwarded-for",
        "x-forwarded-proto",
    ];
    assert_eq!(names, expected);
    assert_eq!((&seen.body[..], seen.target.as_str()), (&b"{\"a\":1}"[..], "/api/vps/create"));
    for (name, value) in [
        ("authorization", "Bearer t0ken"),
        ("cookie", "kohakuriver_session=a"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "https"),
        ("host", host.base.trim_start_matches("http://")),
    ] {
        assert_eq!(seen.fields[name], value, "{name}");
    }
    for line in [
        "HTTP/1.1 307 Temporary Redirect",
        "location: http://10.0.0.1:8000/api/nodes/",
        "set-cookie: kohakuriver_session=s3cret; HttpOnly",
        "set-cookie: other=1",
        "retry-after: 3",
        "date: Mon, 23 Nov 2026 12:00:00 GMT",
        "www-authenticate: Bearer",
        "content-type: application/json",
    ] {
        assert!(answer.lines().any(|other| other == line), "{line}: {answer}");
    }
    for name in ["x-internal", "access-control", "keep-alive", "proxy-", "upgrade", "trailer"] {
        assert!(!answer.lines().any(|line| line.starts_with(name)), "{name}: {answer}");
    }
    assert!(answer.ends_with(r#"{"message":"ok"}"#), "{answer}");
}

#[tokio::test]
async fn several_requests_on_one_connection() {
    let host = Host::start(|seen| json(200, &object!(seen.target))).await;
    let served = Served::start(proxy(&host.base, "")).await;
    let answers = served
        .raw(
            "GET /api/nodes HTTP/1.1\r\n\r\nPOST /api/vps/stop/42 HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}\
             GET /api/x HTTP/1.1\r\n\r\nGET /api/vps HTTP/1.1\r\nconnection: close\r\n\r\n",
        )
        .await;
    let statuses: Vec<_> = answers.lines().filter(|line| line.contains("HTTP/1.1 ")).collect();
    assert_eq!(statuses.len(), 4, "{answers}");
    assert!(answers.contains(r#""/api/vps/stop/42""#) && answers.ends_with(r#""/api/vps""#), "{answers}");
    assert_eq!(host.seen().iter().map(|seen| seen.method.clone()).collect::<Vec<_>>(), ["GET", "POST", "GET"]);
}

#[tokio::test]
async fn bodies_have_a_limit() {
    let host = Host::start(|_| json(200, &object!({}))).await;
    let proxy = proxy(&host.base, "");
    let large = "x".repeat(70_000);
    let chunked = format!("transfer-encoding: chunked\r\n\r\n11170\r\n{large}\r\n0\r\n\r\n");
    for (request, status) in [
        (format!("POST /api/vps/create HTTP/1.1\r\ncontent-length: 70000\r\n\r\n{large}"), "413"),
        (format!("POST /api/vps/create HTTP/1.1\r\n{chunked}"), "413"),
        ("GET /api/nodes HTTP/1.1\r\ncontent-length: 1\r\n\r\nx".to_owned(), "413"),
        (format!("GET /api/nodes HTTP/1.1\r\n{chunked}"), "413"),
        (format!("GET /api/nodes HTTP/1.1\r\nx: {large}\r\n\r\n"), "431"),
        (format!("GET /api/nodes HTTP/1.1\r\n{}\r\n", "x: 1\r\n".repeat(200)), "431"),
        ("POST /api/vps/create HTTP/1.1\r\norigin: https://evil.example\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(), "403"),
    ] {
        // Without a socket: the end of a connection whose body is not read may be a reset, which overtakes the answer.
        let (mut client, server) = tokio::io::duplex(256 * 1024);
        client.write_all(request.as_bytes()).await.unwrap();
        proxy.serve(server, Vec::new(), CLIENT).await;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
    }
    assert!(host.seen().is_empty());
}

#[tokio::test]
async fn wrong_passwords_are_counted_and_right_ones_are_not() {
    let login = |seen: &scene::Seen| {
        let status = if &seen.body[..] == b"right" { 200 } else { 401 };
        json(status, &object!({ "detail": "x" }))
    };
    let host = Host::start(login).await;
    let proxy = proxy(&host.base, "");
    let served = Served::start(Arc::clone(&proxy)).await;
    let try_with = async |password: &str| {
        let length = password.len();
        let request =
            format!("POST /api/auth/login HTTP/1.1\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{password}");
        served.raw(&request).await
    };
    for _ in 0..3 * super::MOST_LOGINS {
        assert!(try_with("right").await.starts_with("HTTP/1.1 200"));
    }
    for _ in 0..super::MOST_LOGINS {
        assert!(try_with("wrong").await.starts_with("HTTP/1.1 401"));
    }
    host.seen();
    let refused = try_with("right").await;
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("\r\nretry-after: "), "{refused}");
    assert!(refused.contains("too many logins from your address have failed; try again in "), "{refused}");
    assert!(host.seen().is_empty());
    // Other requests of this client, and other clients, go on.
    assert_eq!(served.status("GET", "/api/nodes").await, 401);
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    client
        .write_all(b"POST /api/auth/login HTTP/1.1\r\nconnection: close\r\ncontent-length: 5\r\n\r\nright")
        .await
        .unwrap();
    proxy.serve(server, Vec::new(), "192.0.2.8".parse().unwrap()).await;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn strangers_create_few_tokens() {
    let host = Host::start(|_| json(200, &object!({}))).await;
    let served = Served::start(proxy(&host.base, "")).await;
    let create = async || served.status("POST", "/api/auth/tokens/create").await;
    for _ in 0..super::MOST_TOKENS {
        assert_eq!(create().await, 200);
    }
    assert_eq!((create().await, served.status("POST", "/api/auth/login").await), (429, 200));
    assert_eq!(host.seen().len(), super::MOST_TOKENS as usize + 1);
}

#[tokio::test]
async fn a_host_that_is_down_silent_or_talks_nonsense() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let served = Served::start(proxy(&closed, "")).await;
    let request = "GET /api/nodes HTTP/1.1\r\nauthorization: Bearer t0ken\r\nconnection: close\r\n\r\n";
    let answer = served.raw(request).await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("can't reach the Host API"), "{answer}");
    assert!(answer.contains("\r\nproxy-status: kohakuriver-gateway; error=destination_unavailable\r\n"), "{answer}");
    assert!(!answer.contains("t0ken") && !answer.contains("127.0.0.1"), "{answer}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let served = Served::start(proxy(&format!("http://{}", listener.local_addr().unwrap()), "")).await;
    let nonsense = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-x\r\n\r\n").await.unwrap();
        stream
    };
    let (answer, _stream) = tokio::join!(served.raw(request), nonsense);
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("unusable answer"), "{answer}");

    let silent = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        // The request is at the Host. Time passes as soon as everybody waits.
        tokio::time::pause();
        stream
    };
    let (answer, _stream) = tokio::join!(served.raw(request), silent);
    assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("within 10 s"), "{answer}");
}

#[tokio::test]
async fn an_answer_is_passed_on_as_it_comes_and_a_broken_one_breaks() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let served = Served::start(proxy(&format!("http://{}", listener.local_addr().unwrap()), "")).await;
    let mut client = TcpStream::connect(served.base.trim_start_matches("http://")).await.unwrap();
    client.write_all(b"GET /api/vps HTTP/1.1\r\n\r\n").await.unwrap();
    let (mut host, _) = listener.accept().await.unwrap();
    host.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"first") {
        assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0, "{}", String::from_utf8_lossy(&answer));
    }
    drop(host);
    // Neither an end that looks complete, nor more bytes.
    let length = answer.len();
    let _ = client.read_to_end(&mut answer).await;
    assert_eq!(answer.len(), length);
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_and_one_that_reads_nothing_are_closed() {
    let proxy = proxy("http://127.0.0.1:1", "");
    let begun = tokio::time::Instant::now();
    let (_silent, server) = tokio::io::duplex(1024);
    proxy.serve(server, b"GET /api/no".to_vec(), CLIENT).await;
    assert_eq!(begun.elapsed(), HEAD_LIMIT);
    let (mut kept, server) = tokio::io::duplex(1024);
    kept.write_all(b"GET /x HTTP/1.1\r\n\r\n").await.unwrap();
    proxy.serve(server, Vec::new(), CLIENT).await;
    assert_eq!(begun.elapsed(), 2 * HEAD_LIMIT);
    let (_stuck, server) = tokio::io::duplex(16);
    proxy.serve(server, b"GET /x HTTP/1.1\r\n\r\n".to_vec(), CLIENT).await;
    assert_eq!(begun.elapsed(), 2 * HEAD_LIMIT + STUCK_LIMIT);
}

#[tokio::test]
async fn clients_of_other_networks_are_refused() {
    let host = Host::start(|_| json(200, &object!([]))).await;
    for (allow, status) in [("10.0.0.0/8", 403), ("192.0.2.0/24", 200)] {
        let served = Served::start(proxy(&host.base, allow)).await;
        assert_eq!(served.status("GET", "/api/nodes").await, status, "{allow}");
    }
    assert_eq!(host.seen().len(), 1);
}

#[tokio::test]
async fn each_answer_is_counted() {
    let host = Host::start(|_| json(418, &object!([]))).await;
    let proxy = proxy(&host.base, "");
    let served = Served::start(Arc::clone(&proxy)).await;
    served.status("GET", "/api/nodes").await;
    served.status("GET", "/api/x").await;
    served.status("GET", "/api/y").await;
    let page = page(&proxy.records.metrics);
    for (code, count) in [("other", 1), ("404", 2), ("200", 0)] {
        let line = format!("kohakuriver_gateway_api_requests_total{{code=\"{code}\"}} {count}");
        assert!(page.lines().any(|other| other == line), "{line}: {page}");
    }
}

#[tokio::test]
async fn an_inventory_is_served_read_only() {
    let scene = Scene::new(object!({
        "nodes": [{ "hostname": "node1", "url": "http://10.0.0.1:8001", "status": "online" }],
        "vps": [{ "task_id": "42", "name": "trainer", "status": "running", "assigned_node": "node1", "ssh_port": 22 }],
    }));
    let served = Served::start(of(&Directory::Inventory(Arc::clone(&scene.inventory)), "")).await;
    // Under any name: TLS keeps the pages of others out.
    let answer = served.raw("GET /api/status/42 HTTP/1.1\r\nhost: gpu.example\r\nconnection: close\r\n\r\n").await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(serde_json::from_str::<Value>(body).unwrap()["name"], "trainer", "{answer}");
    for (method, target, status) in [
        ("GET", "/api/nodes", 200),
        ("GET", "/api/auth/me", 503),
        ("POST", "/api/vps/create", 405),
        ("GET", "/nodes", 404),
        ("GET", "http://x/api/nodes", 404),
    ] {
        assert_eq!(served.status(method, target).await, status, "{method} {target}");
    }
}
