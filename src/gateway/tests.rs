//! The gateway as a whole, over real sockets on ports of its own.

mod admission;
mod sessions;
mod stopping;

use super::*;
use crate::api::Client;
use crate::api::fake_host::FakeHost;
use crate::carrier::{Asynchronous, Tls};
use crate::tls::ClientConfig;
use carry::relay::Relays;
use decide::directory::{Directory, HostDirectory};
use decide::inventory::tests::Scene;
use decide::rules::{self, RuleBook};
use front::listen::{self, Listeners};
use front::terms::Terms;
use http::guard::Guard;
use life::orders::Order;
use life::service_manager::ServiceManager;
use limits::{Limits, Wanted};
use roster::previous::PreviousProcesses;
use serde_json::{Value, json};
use serve::{Parts, serve};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use watch::audit::tests::{audit, lines};
use watch::metrics;
use watch::notices::Notices;
use watch::notices::tests::Heard;
use watch::records::Records;

const ID: &str = "7323718749301768192";
/// Longer than anything takes in the gateway's tests; a test that meets it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Records with these notices, and no audit log.
fn records_to(heard: &Heard) -> Records {
    Records { notices: Notices::to(heard.clone()), ..Records::default() }
}

struct Running {
    tunnels: SocketAddr,
    /// If it has certificates.
    tls: Option<SocketAddr>,
    api: SocketAddr,
    orders: Sender<Order>,
    heard: Heard,
    records: Records,
    served: JoinHandle<io::Result<()>>,
}

impl Running {
    async fn start(directory: Directory, max_tunnels: u32) -> Self {
        let wanted = Wanted { tunnels: max_tunnels, ..Wanted::default() };
        let terms = Terms { limits: Arc::new(Limits::of(&wanted)), ..terms() };
        Self::on(directory, terms).await
    }

    async fn on(directory: Directory, terms: Terms) -> Self {
        let heard = Heard::default();
        let records = records_to(&heard);
        Self::with(directory, terms, heard, records).await
    }

    async fn with(directory: Directory, terms: Terms, heard: Heard, records: Records) -> Self {
        let bind = || listen::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let (listener, api) = (bind(), bind());
        let (tunnels, api_address) = (listener.local_addr().unwrap(), api.local_addr().unwrap());
        let secured: Vec<_> = terms.certificates.iter().map(|_| bind()).collect();
        let tls = secured.first().map(|listener| listener.local_addr().unwrap());
        let (orders, received) = channel(1);
        let parts = Parts {
            arriving: None,
            listeners: Listeners { tunnels: vec![listener], tls: secured, api: Some(api), admin: None },
            previous: PreviousProcesses::default(),
            directory,
            relays: Relays::start(1, None).unwrap(),
            terms,
            records: records.clone(),
            service_manager: ServiceManager::default(),
        };
        let served = tokio::spawn(serve(parts, received));
        Self { tunnels, tls, api: api_address, orders, heard, records, served }
    }

    async fn before(host: &FakeHost) -> Self {
        Self::start(directory_of(&host.base), 8).await
    }

    async fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.tunnels).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    async fn ask(&self, request: &str) -> String {
        rest(&mut self.send(request.as_bytes()).await).await
    }
}

fn terms() -> Terms {
    // The VPSes of these tests are on this machine.
    let sources = rules::Sources { allow_runner: vec!["127.0.0.0/8".parse().unwrap()], ..rules::Sources::default() };
    Terms {
        limits: Arc::new(Limits::of(&Wanted::default())),
        rules: Arc::new(RuleBook::open(sources).unwrap()),
        gateway_name: None,
        metrics_by_user: false,
        peers: Vec::new(),
        drain_timeout: Duration::ZERO,
        proxy_protocol: false,
        certificates: None,
        api_proxy: false,
        proxy_from: Vec::new(),
        host_ssh_proxy: [8012, 8002],
        guard: Guard::new(&[]),
    }
}

fn directory_of(base: &str) -> Directory {
    Directory::Host(Box::new(HostDirectory::new(Client::new(base, None).unwrap(), Duration::from_secs(60))))
}

/// The client's end of a connection with TLS to a server called `gpu.example`, after its handshake.
pub(crate) async fn shake_hands(socket: TcpStream, config: &ClientConfig) -> Asynchronous<Tls<std::net::TcpStream>> {
    let client = Tls::client(socket.into_std().unwrap(), config, "gpu.example").unwrap();
    let mut client = Asynchronous::new(client).unwrap();
    std::future::poll_fn(|context| client.poll(context, Tls::handshake, Tls::handshake_waits_for)).await.unwrap();
    client
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("no end comes").unwrap();
    String::from_utf8(bytes).unwrap()
}

async fn banner(tunnel: &mut TcpStream) {
    let mut start = [0; 22];
    timeout(PATIENCE, tunnel.read_exact(&mut start)).await.unwrap().unwrap();
    assert_eq!(start, *b"SUCCESS\nSSH-2.0-Fake\r\n");
}

fn connect(target: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")
}

/// An sshd of a sort: sends its banner, then echoes everything, to the end.
async fn vps() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                stream.write_all(b"SSH-2.0-Fake\r\n").await.unwrap();
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
    });
    port
}

/// A port that refuses connections. The socket keeps other tests from getting the port.
fn refusing_port() -> (u16, TcpSocket) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    (socket.local_addr().unwrap().port(), socket)
}

fn node(name: &str, url: &str, status: &str, heartbeat: &str) -> Value {
    json!({ "hostname": name, "url": url, "status": status, "last_heartbeat": heartbeat })
}

/// A Host on which [`ID`] runs on `port`, but for these changes.
async fn host(port: u16, changes: Value) -> FakeHost {
    let host = FakeHost::start().await;
    let mut task = json!({
        "task_id": ID, "task_type": "vps", "name": "trainer", "status": "running", "assigned_node": "node-up",
        "ssh_port": port, "started_at": "2026-11-23T12:00:00",
    });
    task.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let off = json!({ "detail": "Authentication is not enabled on this server" });
    host.on("/api/auth/me", 503, off)
        .on("/api/vps", 200, json!([&task]))
        .on(&format!("/api/status/{ID}"), 200, &task)
        .on(
            "/api/nodes",
            200,
            json!([
                node("node-up", "http://127.0.0.1:8001", "online", "2026-11-23T13:00:00"),
                node("node-fresh", "http://127.0.0.1:8001", "online", "2026-11-23T12:00:05"),
                node("node-down", "http://127.0.0.1:8001", "offline", "2026-11-23T13:00:00"),
                node("node-cloud", "http://169.254.169.254", "online", "2026-11-23T13:00:00"),
                node("node-bad", "127.0.0.1:8001", "online", "2026-11-23T13:00:00"),
            ]),
        );
    host
}

#[tokio::test]
async fn both_protocols_carry_bytes_that_came_with_the_request_too() {
    let host = host(vps().await, json!({})).await;
    let gateway = Running::before(&host).await;
    let established = "HTTP/1.1 200 Connection established\r\n\r\n";
    for (request, yes) in [
        (connect(&format!("{ID}:22")), established),
        (format!("CONNECT {ID}.kohakuriver:22 HTTP/1.0\n\n"), established),
        (connect("trainer:22"), established),
        (format!("REQUEST_TUNNEL {ID}\n"), "SUCCESS\n"),
        (format!("REQUEST_TUNNEL   00{ID} \r\n"), "SUCCESS\n"),
    ] {
        let mut client = gateway.send(format!("{request}SSH-2.0-early\r\n").as_bytes()).await;
        client.write_all(b"late").await.unwrap();
        client.shutdown().await.unwrap();
        let answer = rest(&mut client).await;
        assert_eq!(answer, format!("{yes}SSH-2.0-Fake\r\nSSH-2.0-early\r\nlate"), "{request:?}");
    }
}

#[tokio::test]
async fn every_row_of_the_status_table() {
    let (refusing, _socket) = refusing_port();
    let unavailable = "destination_unavailable";
    for (changes, status, error, line) in [
        (json!({ "task_type": "command" }), 404, "destination_not_found", "Task ID is not a VPS task."),
        (json!({ "status": "paused" }), 409, unavailable, "VPS task ID is not active (status: paused)."),
        (json!({ "status": "lost" }), 409, unavailable, "VPS task ID is not active (status: lost)."),
        (json!({ "status": "assigning" }), 503, unavailable, "VPS task ID is not active (status: assigning)."),
        (json!({ "assigned_node": null }), 503, unavailable, "VPS task ID has no assigned node."),
        (json!({ "ssh_port": 0 }), 409, unavailable, "VPS task ID has no SSH port assigned."),
        (json!({ "assigned_node": "node-down" }), 503, unavailable, "Assigned node for VPS task ID is not online."),
        (json!({ "assigned_node": "nowhere" }), 503, unavailable, "Assigned node for VPS task ID is not online."),
        (json!({}), 502, "connection_refused", "Connection refused by VPS task ID on node node-up."),
        (
            json!({ "assigned_node": "node-fresh" }),
            503,
            "connection_refused",
            "Connection refused by VPS task ID on node node-fresh.",
        ),
        (json!({ "assigned_node": "node-cloud" }), 502, "destination_ip_unroutable", "Internal server error."),
        (
            json!({ "assigned_node": "node-bad" }),
            502,
            "destination_ip_unroutable",
            "Error parsing runner URL for node node-bad.",
        ),
    ] {
        let host = host(refusing, changes.clone()).await;
        let gateway = Running::before(&host).await;
        let answer = gateway.ask(&connect(&format!("{ID}:22"))).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{changes}: {answer}");
        assert!(answer.contains(&format!("; error={error}\r\n")), "{changes}: {answer}");
        let soon = changes == json!({ "status": "assigning" }) || changes == json!({ "assigned_node": "node-fresh" });
        assert_eq!(answer.contains("\r\nRetry-After: "), soon, "{changes}: {answer}");
        let answer = gateway.ask(&format!("REQUEST_TUNNEL {ID}\n")).await;
        assert_eq!(answer, format!("ERROR {}\n", line.replace("ID", ID)), "{changes}");
    }
}

#[tokio::test]
async fn refusals_without_a_lookup_and_refusals_of_the_host() {
    let host = host(1, json!({})).await;
    host.on("/api/status/1", 404, json!({ "detail": "Task not found." }))
        .on("/api/status/2", 403, json!({ "detail": "Anonymous users cannot view task details" }))
        .on("/api/status/3", 500, "Internal Server Error")
        .on("/api/status/4", 200, "<html>");
    let gateway = Running::before(&host).await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("hello\r\n".to_owned(), "400"),
        (connect("127.0.0.1:22"), "400"),
        (connect("42:80"), "403"),
        (connect("1:22"), "404"),
        (connect("2:22"), "407"),
        (connect("3:22"), "502"),
        (connect("4:22"), "502"),
        (connect("nobody:22"), "404"),
    ] {
        let answer = gateway.ask(&request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
    }
    let with_users = FakeHost::start().await;
    with_users
        .on("/api/auth/me", 200, json!({ "username": "stranger1", "role": "user" }))
        .on("/api/status/2", 403, json!({ "detail": "Access denied to this task" }))
        .on("/api/vps/my", 200, "[]");
    let stranger = Running::before(&with_users).await;
    let answer = stranger.ask("CONNECT 2:22 HTTP/1.1\r\nProxy-Authorization: Bearer stranger\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(gateway.ask(&connect("42:80")).await.contains("VPS 42 offers port 22 only, not port 80"));
    let seen = host.seen();
    assert!(!seen.iter().any(|path| path.contains("42") || path.contains("127")), "{seen:?}");
    for (request, line) in [
        ("REQUEST_TUNNEL\n", "Invalid request format."),
        ("REQUEST_TUNNEL x\n", "Invalid task ID format."),
        ("REQUEST_TUNNEL 9223372036854775808\n", "Internal server error."),
        ("REQUEST_TUNNEL 001\n", "Task 001 not found."),
        ("REQUEST_TUNNEL 2\n", "Task 2 needs a login: connect with kohakuriver-proxy."),
        ("REQUEST_TUNNEL 3\n", "Internal server error."),
    ] {
        assert_eq!(gateway.ask(request).await, format!("ERROR {line}\n"), "{request:?}");
    }
}

#[tokio::test]
async fn a_refusal_arrives_although_the_client_still_sends() {
    let host = host(1, json!({})).await;
    let gateway = Running::before(&host).await;
    let mut client = gateway.send(format!("{}{}", connect("42:80"), "x".repeat(100_000)).as_bytes()).await;
    assert!(rest(&mut client).await.starts_with("HTTP/1.1 403 Forbidden\r\n"));
}

#[tokio::test]
async fn one_tunnel_too_many() {
    let host = host(vps().await, json!({})).await;
    let gateway = Running::start(directory_of(&host.base), 1).await;
    let mut first = gateway.send(format!("REQUEST_TUNNEL {ID}\n").as_bytes()).await;
    banner(&mut first).await;
    let answer = gateway.ask(&connect(&format!("{ID}:22"))).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("error=connection_limit_reached"), "{answer}");
    assert!(answer.contains("\r\nRetry-After: ") && answer.contains("no more than 1 tunnel in all"), "{answer}");
    drop(first);
    // The place is free once the VPS has ended too, and nothing outside shows when.
    let mut last = timeout(PATIENCE, async {
        loop {
            let mut client = gateway.send(format!("REQUEST_TUNNEL {ID}\n").as_bytes()).await;
            let mut start = [0; 8];
            client.read_exact(&mut start).await.unwrap();
            if &start == b"SUCCESS\n" {
                return client;
            }
        }
    })
    .await
    .expect("the place stays taken");
    last.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_host_that_is_down() {
    let (refusing, _socket) = refusing_port();
    let gateway = Running::start(directory_of(&format!("http://127.0.0.1:{refusing}")), 8).await;
    let answer = gateway.ask(&connect(&format!("{ID}:22"))).await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("error=proxy_internal_response"), "{answer}");
    assert!(answer.contains("can't be reached"), "{answer}");
}

#[tokio::test]
async fn an_inventory_serves_tunnels_and_the_api_that_our_own_client_reads() {
    let port = vps().await;
    let file = |status: &str| {
        json!({ "nodes": [{ "hostname": "n", "url": "http://localhost:8001", "status": "online" }],
                "vps": [{ "task_id": ID, "name": "trainer", "status": status, "assigned_node": "n",
                          "ssh_port": port }] })
    };
    let scene = Scene::new(file("running"));
    let gateway = Running::start(Directory::Inventory(Arc::clone(&scene.inventory)), 8).await;

    let client = Client::new(&format!("http://{}", gateway.api), None).unwrap();
    let name = crate::target::VpsRef::parse("trainer").unwrap();
    let found = client.vps(&name).await.unwrap();
    let node = client.runner_of(&found).await.unwrap();
    assert_eq!(crate::api::locate(&found, node.as_ref(), crate::api::Audience::OPERATOR).unwrap().port, port);
    assert_eq!(client.list(false).await.unwrap().entries.len(), 1);
    assert_eq!(client.caller().await.unwrap(), crate::api::Caller::Everyone { stand_alone: true });

    for target in [format!("{ID}:22"), "trainer:22".to_owned(), "Train:22".to_owned()] {
        let mut tunnel = gateway.send((connect(&target) + "SSH-2.0-Me").as_bytes()).await;
        tunnel.shutdown().await.unwrap();
        assert!(rest(&mut tunnel).await.ends_with("\r\n\r\nSSH-2.0-Fake\r\nSSH-2.0-Me"), "{target}");
    }
    assert!(gateway.ask(&connect("1:22")).await.starts_with("HTTP/1.1 404 "));

    scene.write(file("paused"));
    assert!(gateway.ask(&connect("trainer:22")).await.starts_with("HTTP/1.1 409 "));
    assert_eq!(client.vps(&name).await.unwrap().status, crate::status::VpsStatus::Paused);

    let mut http = TcpStream::connect(gateway.api).await.unwrap();
    http.write_all(b"POST /api/vps HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await.unwrap();
    let answer = rest(&mut http).await;
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: GET"), "{answer}");
    let mut page = TcpStream::connect(gateway.api).await.unwrap();
    page.write_all(b"GET /api/vps HTTP/1.1\r\nHost: evil.example\r\n\r\n").await.unwrap();
    let answer = rest(&mut page).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("`evil.example` is not a name"), "{answer}");
}

#[tokio::test]
async fn the_audit_log_tells_which_side_was_lost() {
    for (client_resets, expected) in [(true, "client-lost"), (false, "vps-lost")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = host(listener.local_addr().unwrap().port(), json!({})).await;
        let (audit, written) = audit();
        let records = Records { audit: audit.clone(), ..Records::default() };
        let gateway = Running::with(directory_of(&host.base), terms(), Heard::default(), records).await;
        let mut client = gateway.send(format!("REQUEST_TUNNEL {ID}\n").as_bytes()).await;
        let (vps, _) = timeout(PATIENCE, listener.accept()).await.expect("the VPS is not dialled").unwrap();
        timeout(PATIENCE, client.read_exact(&mut [0; 8])).await.unwrap().unwrap();
        let (lost, mut left) = if client_resets { (client, vps) } else { (vps, client) };
        rustix::net::sockopt::set_socket_linger(&lost, Some(Duration::ZERO)).unwrap();
        drop(lost);
        let end = timeout(PATIENCE, left.read(&mut [0])).await.expect("the other side does not see the end");
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset, "{expected}");
        let closed = async {
            loop {
                let lines = lines(&audit, &written);
                if lines.len() > 1 {
                    break lines;
                }
                tokio::task::yield_now().await;
            }
        };
        let lines = timeout(PATIENCE, closed).await.expect("the end is not audited");
        assert_eq!((&lines[1]["event"], &lines[1]["reason"]), (&json!("closed"), &json!(expected)), "{lines:?}");
    }
}

/// A Host API in front of `host` that answers nothing until it is released. Also tells when it is asked first.
async fn held(host: &FakeHost) -> (String, oneshot::Receiver<()>, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ((release, mut released), (ask, asked)) = (oneshot::channel::<()>(), oneshot::channel::<()>());
    let behind: SocketAddr = host.base.trim_start_matches("http://").parse().unwrap();
    tokio::spawn(async move {
        let (first, _) = listener.accept().await.unwrap();
        ask.send(()).unwrap();
        let mut waiting = vec![first];
        loop {
            tokio::select! {
                accepted = listener.accept() => waiting.push(accepted.unwrap().0),
                _ = &mut released => break,
            }
        }
        loop {
            for mut stream in waiting.drain(..) {
                tokio::spawn(async move {
                    let mut host = TcpStream::connect(behind).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut host).await;
                });
            }
            waiting.push(listener.accept().await.unwrap().0);
        }
    });
    (format!("http://{address}"), asked, release)
}

/// Waits until the page of metrics has this line.
async fn shows(gateway: &Running, line: &str) {
    let page = || metrics::tests::page(&gateway.records.metrics);
    let shown = async {
        while !page().lines().any(|shown| shown == line) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, shown).await.unwrap_or_else(|_| panic!("no {line} in {}", page()));
}

/// How a client leaves that has sent nothing behind its request.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Leaves {
    Closing,
    Resetting,
    HalfClosing,
}

#[tokio::test]
async fn a_client_that_leaves_during_the_lookup_is_noticed_and_no_vps_is_dialled() {
    for leaves in [Leaves::Closing, Leaves::Resetting, Leaves::HalfClosing] {
        let vps = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = host(vps.local_addr().unwrap().port(), json!({})).await;
        let (base, asked, release) = held(&host).await;
        let gateway = Running::start(directory_of(&base), 8).await;
        let mut client = gateway.send(connect(&format!("{ID}:22")).as_bytes()).await;
        timeout(PATIENCE, asked).await.expect("the Host is not asked").unwrap();
        match leaves {
            Leaves::Closing => {}
            Leaves::Resetting => rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap(),
            Leaves::HalfClosing => {
                client.shutdown().await.unwrap();
                let answer = rest(&mut client).await;
                assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("ended its stream"), "{answer}");
            }
        }
        drop(client);
        shows(&gateway, CLIENT_LEFT).await;
        shows(&gateway, "kohakuriver_gateway_handshakes 0").await;
        // The next client's look-up is answered after that of the one that left, and it alone reaches the VPS.
        let mut next = gateway.send(connect(&format!("{ID}:22")).as_bytes()).await;
        release.send(()).unwrap();
        let (first, _) = timeout(PATIENCE, vps.accept()).await.expect("the VPS is not dialled").unwrap();
        timeout(PATIENCE, next.read_exact(&mut [0; 12])).await.unwrap().unwrap();
        assert!(timeout(Duration::ZERO, vps.accept()).await.is_err(), "{leaves:?}: it is connected to the VPS");
        drop(first);
    }
}

/// The line in the page of metrics after one client has left.
const CLIENT_LEFT: &str =
    "kohakuriver_gateway_requests_refused_total{reason=\"client-left\",error=\"http_request_error\"} 1";

#[tokio::test]
async fn a_client_that_leaves_during_the_dial_is_noticed() {
    // A listener whose queue is full answers no connection.
    let vps = TcpSocket::new_v4().unwrap();
    vps.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let vps = vps.listen(0).unwrap();
    let _queued = TcpStream::connect(vps.local_addr().unwrap()).await.unwrap();
    let host = host(vps.local_addr().unwrap().port(), json!({})).await;
    let gateway = Running::before(&host).await;
    let client = gateway.send(connect(&format!("{ID}:22")).as_bytes()).await;
    // The dial follows in the same turn of the event loop.
    shows(&gateway, "kohakuriver_gateway_host_lookups_total{outcome=\"found\"} 1").await;
    drop(client);
    shows(&gateway, CLIENT_LEFT).await;
    shows(&gateway, "kohakuriver_gateway_handshakes 0").await;
}

#[tokio::test]
async fn a_half_closed_client_keeps_its_early_data_and_gets_its_tunnel() {
    let host = host(vps().await, json!({})).await;
    let (base, asked, release) = held(&host).await;
    let gateway = Running::start(directory_of(&base), 8).await;
    let request = connect(&format!("{ID}:22"));
    let mut client = gateway.send(format!("{request}SSH-2.0-early\r\n").as_bytes()).await;
    client.write_all(b"later").await.unwrap();
    client.shutdown().await.unwrap();
    timeout(PATIENCE, asked).await.expect("the Host is not asked").unwrap();
    // Each turn of the event loop would report the end of the client's stream.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    release.send(()).unwrap();
    let answer = rest(&mut client).await;
    assert!(answer.ends_with("\r\n\r\nSSH-2.0-Fake\r\nSSH-2.0-early\r\nlater"), "{answer}");
}
