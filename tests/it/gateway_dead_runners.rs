//! Runners that don't answer, and slow Hosts: what happens to the clients that wait for them, and to other clients.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::gateway::{Gateway, inventory, running};
use crate::support::home::Home;
use crate::support::peers::{MutePort, echo_server, http_server};
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::tools::HELPER;
use crate::support::tunnels::echo_tunnel;
use crate::support::watched::{audit, send};

/// A VPS on a Runner that is dead.
const DEAD: &str = "7000000000000000006";
/// How long another user may wait for a tunnel. A dial takes 15 s, so this user did not wait for one.
const SOON: Duration = Duration::from_secs(8);

#[test]
fn dead_runners_do_not_block_other_clients() {
    let (echo, mute) = (echo_server(), MutePort::new());
    let inventory = inventory(&[running(ID, echo.address.port()), running(DEAD, mute.port)]);
    // All there is, and what one address has of it.
    for share in ["4", "16"] {
        let options = ["--max-handshakes", "16", "--max-handshakes-per-client", share];
        let gateway = Gateway::with_inventory_and(&inventory, &options);
        let waiting: Vec<_> = (0..40)
            .map(|n| {
                let mut stream = TcpStream::connect(gateway.address).unwrap();
                let line = format!("REQUEST_TUNNEL {DEAD}\n");
                let connect = format!("CONNECT {DEAD}:22 HTTP/1.1\r\n\r\n");
                // The gateway may have closed the connection already, for lack of room.
                let _ = stream.write_all(if n % 2 == 0 { connect } else { line }.as_bytes());
                stream
            })
            .collect();
        let start = Instant::now();
        while let Err(error) = echo_tunnel(gateway.address, ID) {
            assert!(start.elapsed() < SOON, "{error}");
            sleep(Duration::from_millis(20));
        }
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        drop(waiting);
    }
}

/// A client that had to make room reads so in its own protocol, and the admin reads it in the audit log.
#[test]
fn a_client_that_makes_room_reads_why() {
    let mute = MutePort::new();
    let inventory = inventory(&[running(DEAD, mute.port)]);
    let why = "others wait, and neither the Host nor the VPS has answered";
    let connect = format!("CONNECT {DEAD}:22 HTTP/1.1\r\n\r\n");
    for request in [connect, format!("REQUEST_TUNNEL {DEAD}\n")] {
        let options = ["--max-handshakes", "1", "--log-level", "debug"];
        let gateway = Gateway::with_inventory_and(&inventory, &options);
        let mut waiting = send(&gateway, &request);
        gateway.process.wait_for_stderr("VPS located");
        let answer = std::thread::scope(|scope| {
            let answer = scope.spawn(|| {
                let mut answer = String::new();
                waiting.read_to_string(&mut answer).unwrap();
                answer
            });
            // The client makes room only once it has waited for a second.
            while !answer.is_finished() {
                let _ = TcpStream::connect(gateway.address).unwrap().write_all(b"CONN");
                sleep(Duration::from_millis(20));
            }
            answer.join().unwrap()
        });
        if request.starts_with("CONNECT") {
            assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains(why), "{answer}");
        } else {
            assert_eq!(answer, "ERROR Too many connections. Try again in a moment.\n");
        }
        gateway.process.wait_for_stdout(why);
        // The others were refused as well.
        let line = audit(&gateway, "refused", 1).into_iter().find(|line| line["detail"] == why).unwrap();
        assert_eq!((&line["reason"], &line["target"]), (&json!("limit"), &json!(request_target(&request))), "{line}");
    }
}

/// The target of a request, as the audit log names it.
fn request_target(request: &str) -> String {
    request.split_whitespace().nth(1).unwrap().to_owned()
}

/// The gateway's answer comes before its client gives up, however long each step takes.
#[test]
fn a_slow_host_and_a_dead_runner_still_bring_an_answer() {
    let mute = MutePort::new();
    let vps = running(DEAD, mute.port);
    let host = http_server(move |asked| {
        let (status, body) = match asked.path.as_str() {
            "/api/auth/me" => (503, json!({ "detail": "Authentication is not enabled on this server" })),
            "/api/nodes" => (200, inventory(&[])["nodes"].clone()),
            path if path == format!("/api/status/{DEAD}") => (200, vps.clone()),
            _ => (404, json!({ "detail": "Not Found" })),
        };
        if asked.path != "/api/nodes" {
            sleep(Duration::from_secs(6));
        }
        (status, "application/json", body.to_string())
    });
    let gateway = Gateway::with_host_api(&format!("http://{}", host.address));
    let home = Home::new();
    let helper = Run::new(HELPER, &home).args(["--connect-timeout", "25", "--proxy"]);
    let outcome = helper.arg(gateway.address.to_string()).args([DEAD, "22"]).output();
    outcome.exits(1).prints_nothing().within(25);
    outcome.says(&["does not answer on its SSH port", "answered 504 Gateway Timeout"]);
}
