//! The answers to clients that the gateway has no room for, in the client's own protocol.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::gateway::{Gateway, inventory, running};
use crate::support::home::Home;
use crate::support::inherited::CLOSE_FILES;
use crate::support::peers::{MutePort, PEER_TIMEOUT, echo_server};
use crate::support::run::{DEADLINE, Run};
use crate::support::scene::ID;
use crate::support::tools::GATEWAY;
use crate::support::tunnels::{asked_of, echo_tunnel};
use crate::support::watched::{audit, curl, metric, send};

/// A VPS on a Runner that is dead.
const DEAD: &str = "7000000000000000006";
/// How often a situation is tried that lasts for a second only: a machine under load may miss it.
const TRIES: usize = 20;

/// A request for an unknown VPS in each protocol, and the answer of a gateway at its limit.
const REQUESTS: [(&str, &str); 2] = [
    ("CONNECT 5:22 HTTP/1.1\r\n\r\n", "HTTP/1.1 503 Service Unavailable\r\n"),
    ("REQUEST_TUNNEL 5\n", "ERROR Too many connections. Try again in a moment.\n"),
];

/// The answers of a gateway that has room.
const NOT_FOUND: [&str; 2] = ["HTTP/1.1 404 Not Found\r\n", "ERROR Task 5 not found.\n"];

/// Sends `first`, and while that is being dialled `second`, to gateways with these options, until one has no room for
/// it; what it answered then.
fn beside(inventory: &Value, options: &[&str], first: &str, second: &str) -> (Gateway, String) {
    for _ in 0..TRIES {
        let gateway = Gateway::with_inventory_and(inventory, &[options, &["--log-level", "debug"]].concat());
        let _first = send(&gateway, first);
        gateway.process.wait_for_stderr("VPS located");
        let answer = asked_of(gateway.address, second);
        if !answer.contains("not found") && !answer.contains("there is no VPS") {
            return (gateway, answer);
        }
    }
    panic!("there was room in each of {TRIES} tries");
}

#[test]
fn beyond_the_handshakes_each_protocol_has_its_answer() {
    let mute = MutePort::new();
    let inventory = inventory(&[running(DEAD, mute.port)]);
    let first = format!("CONNECT {DEAD}:22 HTTP/1.1\r\n\r\n");
    for (second, expected) in REQUESTS {
        let (_, answer) = beside(&inventory, &["--max-handshakes", "1"], &first, second);
        assert!(answer.starts_with(expected), "{second}: {answer}");
    }
}

/// Behind a proxy a client's address, and so its share, is known once its request is: that is noted as well.
#[test]
fn beyond_its_share_behind_a_proxy_a_client_is_answered_and_audited() {
    // Version 2, TCP over IPv4, from 10.1.2.3 port 4439.
    const HEADER: &str = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\x01\x02\x03\x7f\0\0\x01\x11\x57\x1f\x42";
    let mute = MutePort::new();
    let inventory = inventory(&[running(DEAD, mute.port)]);
    let first = format!("{HEADER}CONNECT {DEAD}:22 HTTP/1.1\r\n\r\n");
    let options = ["--proxy-protocol", "--max-handshakes-per-client", "1"];
    for (second, expected) in REQUESTS {
        let (gateway, answer) = beside(&inventory, &options, &first, &format!("{HEADER}{second}"));
        assert!(answer.starts_with(expected), "{second}: {answer}");
        let line = audit(&gateway, "refused", 1).remove(0);
        assert_eq!((&line["reason"], &line["client"]), (&json!("limit"), &json!("10.1.2.3:4439")), "{line}");
        let protocol = if second.starts_with("CONNECT") { ("connect", "5:22") } else { ("line", "5") };
        assert_eq!((&line["protocol"], &line["target"]), (&json!(protocol.0), &json!(protocol.1)), "{line}");
    }
}

/// The limit in all comes before the limit per client. There, the header has not been read.
#[test]
fn a_proxys_header_does_not_hide_what_its_client_speaks() {
    const HEADER: &str = "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let mute = MutePort::new();
    let inventory = inventory(&[running(DEAD, mute.port)]);
    let first = format!("{HEADER}CONNECT {DEAD}:22 HTTP/1.1\r\n\r\n");
    for (second, expected) in REQUESTS {
        let options = ["--proxy-protocol", "--max-handshakes", "1"];
        let (_, answer) = beside(&inventory, &options, &first, &format!("{HEADER}{second}"));
        assert!(answer.starts_with(expected), "{second}: {answer}");
    }
}

#[test]
fn at_the_limit_of_open_files_each_protocol_has_its_answer() {
    let home = Home::new();
    let echo = echo_server();
    let inventory = home.write("inventory.json", inventory(&[running(ID, echo.address.port())]).to_string());
    let run =
        Run::new("bash", &home).args(["-c", &format!("{CLOSE_FILES}; ulimit -n 36; exec \"$0\" \"$@\""), GATEWAY]);
    let run = run.args(["--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0", "--admin", "off"]);
    let run = run.args(["--max-tunnels-per-client", "16"]);
    let process = run.arg("--inventory").arg(&inventory).start();
    let gateway: SocketAddr = process.stderr_line("listening on ").parse().unwrap();
    // Tunnels, and others that want nothing, take all there is.
    let (mut open, mut idle) = (Vec::new(), Vec::new());
    let mut refused = [false; 2];
    for _ in 0..100 {
        open.extend(echo_tunnel(gateway, ID));
        for (((request, refusal), not_found), refused) in REQUESTS.iter().zip(NOT_FOUND).zip(&mut refused) {
            idle.push(TcpStream::connect(gateway).unwrap());
            let mut stream = TcpStream::connect(gateway).unwrap();
            // It lies there before the gateway looks, or the connection is gone already.
            let _ = stream.write_all(request.as_bytes());
            let answer = answer(&mut stream);
            *refused |= answer.starts_with(refusal);
            assert!(answer.starts_with(refusal) || answer.starts_with(not_found), "{request:?}: {answer:?}");
        }
        if refused == [true; 2] {
            break;
        }
    }
    assert_eq!(refused, [true; 2], "{} tunnels are open", open.len());
    drop(open);
    process.signal(Signal::TERM);
    process.finish().succeeds();
}

/// The bytes before the end. A client that is turned away may get a reset.
fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.set_read_timeout(Some(PEER_TIMEOUT)).unwrap();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Each limit of a request's head has a flag, a reason of its own, and a metric.
#[test]
fn a_head_beyond_its_limits_is_refused_and_counted_by_each() {
    let options = ["--head-timeout", "1", "--max-head-bytes", "1024", "--max-head-fields", "10"];
    let gateway = Gateway::with_inventory_and(&inventory(&[]), &options);
    let fields = |count: usize| format!("CONNECT 5:22 HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count));
    let long = format!("CONNECT 5:22 HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(1024));
    let bad = "HTTP/1.1 400 Bad Request\r\n";
    for (request, answered, reason, detail) in [
        (fields(10), "HTTP/1.1 404 Not Found\r\n", "not-found", None),
        (fields(11), bad, "head-too-large", Some("its head has more than 10 fields")),
        (long, bad, "head-too-large", Some("its head is longer than 1024 bytes")),
        (format!("REQUEST_TUNNEL {}", "5".repeat(1024)), "ERROR ", "head-too-large", Some("longer than 1024 bytes")),
        ("CONNECT 5:22 HTTP/1.1\r\n".to_owned(), bad, "head-too-slow", Some("its head took longer than 1 s")),
        (
            "REQUEST_TUNNEL 5".to_owned(),
            "ERROR Timeout waiting for request.\n",
            "head-too-slow",
            Some("longer than 1 s"),
        ),
    ] {
        let answer = asked_of(gateway.address, &request);
        assert!(answer.starts_with(answered), "{request}: {answer}");
        let told_why = |detail: &str| answer.starts_with("ERROR ") || answer.contains(detail);
        assert!(detail.is_none_or(told_why), "{request}: {answer}");
        gateway.process.wait_for("its line", DEADLINE, |seen| {
            let said = String::from_utf8_lossy(&seen.stdout);
            let last = said.lines().last().filter(|_| said.ends_with('\n'))?;
            (last.contains(&format!("\"{reason}\"")) && last.contains(detail.unwrap_or_default())).then_some(())
        });
    }
    let page = curl(&Home::new(), gateway.admin, "/metrics", &[]).text();
    for (limit, most, met) in [("head-seconds", 1.0, 2.0), ("head-bytes", 1024.0, 2.0), ("head-fields", 10.0, 1.0)] {
        assert_eq!(metric(&page, &format!("limit{{limit=\"{limit}\"}}")), most, "{limit}");
        assert_eq!(metric(&page, &format!("limit_met_total{{limit=\"{limit}\"}}")), met, "{limit}");
    }
    for (reason, count) in [("head-too-slow", 2.0), ("head-too-large", 3.0), ("incomplete-request", 0.0)] {
        let name = format!("requests_refused_total{{reason=\"{reason}\",error=\"http_request_error\"}}");
        assert_eq!(metric(&page, &name), count, "{reason}");
    }
}

/// A client that reaches the gateway directly can claim any address in a header, so only a proxy's header is believed.
#[test]
fn only_headers_of_named_proxies_are_believed() {
    const HEADER: &str = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\x01\x02\x03\x7f\0\0\x01\x11\x57\x1f\x42";
    for (from, answers) in [
        (
            &["--proxy-from", "10.0.0.0/8"][..],
            ["HTTP/1.1 403 Forbidden", "ERROR This gateway does not serve 127.0.0.1."],
        ),
        (&["--proxy-from", "10.0.0.0/8", "--proxy-from", "127.0.0.1"], ["HTTP/1.1 404 Not Found", "ERROR Task 5 not"]),
        (&[], ["HTTP/1.1 404 Not Found", "ERROR Task 5 not"]),
    ] {
        let options = [&["--proxy-protocol"], from].concat();
        let gateway = Gateway::with_inventory_and(&inventory(&[]), &options);
        for ((request, _), expected) in REQUESTS.iter().zip(answers) {
            let answer = asked_of(gateway.address, &format!("{HEADER}{request}"));
            assert!(answer.starts_with(expected), "{from:?}: {answer}");
        }
    }
}

#[test]
fn a_gateway_that_believes_every_header_warns() {
    const WARNING: &str = "may claim to come from any address";
    let home = Home::new();
    let inventory = home.write("inventory.json", inventory(&[]).to_string());
    for (listen, from, warns) in
        [("0.0.0.0:0", &[][..], true), ("0.0.0.0:0", &["--proxy-from", "10.0.0.1"], false), ("127.0.0.1:0", &[], false)]
    {
        let run = Run::new(GATEWAY, &home).args(["--listen", listen, "--api-listen", "127.0.0.1:0", "--admin", "off"]);
        let process = run.args(["--proxy-protocol"]).args(from).arg("--inventory").arg(&inventory).start();
        process.stderr_line("listening on ");
        if warns {
            process.wait_for(WARNING, DEADLINE, |seen| {
                let said = String::from_utf8_lossy(&seen.stderr).into_owned();
                (said.contains(WARNING) && said.contains("--proxy-from")).then_some(())
            });
        }
        process.signal(Signal::TERM);
        let outcome = process.finish();
        outcome.check(outcome.stderr.contains(WARNING) == warns, "a warning, or none");
    }
}
