//! The network up to the Host: its name, the port of its API, the port of its SSH proxy, and what answers there.

use std::io::{Read, Write};

use super::{doctor, finds};
use crate::support::cluster::Cluster;
use crate::support::peers::{MutePort, Peer, RefusingPort, http_server, silent};
use crate::support::proxies::tinyproxy;
use crate::support::run::Outcome;

fn with(name: &str, value: &str) -> Outcome {
    doctor(&Cluster::new()).env(name, value).output()
}

fn with_proxy_port(port: u16) -> Outcome {
    with("KOHAKURIVER_SSH_PROXY_PORT", &port.to_string())
}

#[test]
fn a_wrong_host_name() {
    let outcome = with("KOHAKURIVER_HOST", "kr-no-such-host.invalid");
    let texts = ["the name kr-no-such-host.invalid has no address", "KOHAKURIVER_HOST"];
    finds(&outcome, "host-name", &texts, "kohakuriver config show");
}

/// The SSH proxy may be another machine with a name of its own.
#[test]
fn a_wrong_name_of_the_ssh_proxy() {
    let cluster = Cluster::new();
    cluster.home.write(".config/kohakuriver/config.json", r#"{"proxy":"kr-no-such-proxy.invalid"}"#);
    let texts = ["the name kr-no-such-proxy.invalid has no address", "set by: config.json"];
    finds(&doctor(&cluster).output(), "host-name", &texts, "kohakuriver config show");
}

#[test]
fn the_port_of_the_api_is_closed() {
    let port = RefusingPort::new();
    let outcome = with("KOHAKURIVER_PORT", &port.port.to_string());
    let texts = [&format!("http://127.0.0.1:{}", port.port), "refused"];
    finds(&outcome, "host-api", &texts, "kohakuriver config show");
}

#[test]
fn the_port_of_the_api_does_not_answer() {
    let port = MutePort::new();
    let outcome = with("KOHAKURIVER_PORT", &port.port.to_string());
    finds(&outcome, "host-api", &[&format!("http://127.0.0.1:{}", port.port)], "kohakuriver config show");
}

#[test]
fn the_port_of_the_api_is_a_web_server() {
    let web = http_server(|_| (404, "text/html", "<h1>Not here</h1>".to_owned()));
    let outcome = with("KOHAKURIVER_PORT", &web.address.port().to_string());
    finds(&outcome, "host-api", &["cannot ask the Host API"], "kohakuriver config show");
}

#[test]
fn the_port_of_the_api_answers_with_an_error() {
    let web = http_server(|_| (500, "text/plain", "out of order".to_owned()));
    let outcome = with("KOHAKURIVER_PORT", &web.address.port().to_string());
    let texts = ["cannot ask the Host API", "500", "out of order"];
    finds(&outcome, "host-api", &texts, "kohakuriver config show");
    outcome.check(outcome.text().contains("another server may listen there"), "what it may be");
}

#[test]
fn the_port_of_the_ssh_proxy_is_closed() {
    let port = RefusingPort::new();
    let texts = [&format!("cannot reach the SSH proxy at 127.0.0.1:{}", port.port), "refused", "nothing listens there"];
    finds(&with_proxy_port(port.port), "proxy-port", &texts, "ss -ltnp");
}

#[test]
fn a_firewall_drops_what_is_sent_to_the_ssh_proxy() {
    let port = MutePort::new();
    let outcome = with_proxy_port(port.port);
    finds(&outcome, "proxy-port", &["no answer in time", "a firewall drops"], "ss -ltnp");
}

#[test]
fn the_port_of_the_ssh_proxy_is_a_web_server() {
    let web = http_server(|_| (405, "text/html", "<h1>Not Allowed</h1>".to_owned()));
    let outcome = with_proxy_port(web.address.port());
    finds(&outcome, "proxy", &["a web server", "405"], "kohakuriver config show");
}

#[test]
fn the_port_of_the_ssh_proxy_is_the_host_api() {
    let cluster = Cluster::new();
    let outcome = doctor(&cluster).through(cluster.gateway.api().port()).output();
    finds(&outcome, "proxy", &["a web server"], "kohakuriver config show");
}

#[test]
fn the_port_of_the_ssh_proxy_is_an_sshd() {
    let cluster = Cluster::new();
    let outcome = doctor(&cluster).through(cluster.sshd.port).output();
    finds(&outcome, "proxy", &["an SSH server", "SSH-2.0-"], "kohakuriver config show");
}

#[test]
fn the_port_of_the_ssh_proxy_is_an_http_proxy() {
    let proxy = tinyproxy(22);
    let outcome = with_proxy_port(proxy.address.port());
    finds(&outcome, "proxy", &["an HTTP proxy", "tinyproxy"], "kohakuriver config show");
}

#[test]
fn the_port_of_the_ssh_proxy_accepts_and_does_not_answer() {
    let mute = silent();
    let outcome = with_proxy_port(mute.address.port());
    finds(&outcome, "proxy", &["accepts connections, but does not answer", "no byte came"], "kohakuriver config show");
}

/// Accepts, and sends `answer` once the whole request has arrived.
fn answering(answer: &'static str) -> Outcome {
    let server = Peer::serve(move |mut stream| {
        let mut request = Vec::new();
        let mut piece = [0; 256];
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read(&mut piece)? {
                0 => break,
                read => request.extend_from_slice(&piece[..read]),
            }
        }
        stream.write_all(answer.as_bytes())?;
        Ok(())
    });
    with_proxy_port(server.address.port())
}

#[test]
fn the_port_of_the_ssh_proxy_closes_without_an_answer() {
    let texts = ["accepts connections, but does not answer", "it closed the connection without an answer"];
    finds(&answering(""), "proxy", &texts, "kohakuriver config show");
}

#[test]
fn the_port_of_the_ssh_proxy_closes_in_the_middle_of_an_answer() {
    let texts = ["an unknown server", "it answered `HTTP/1.1 400 Bad Request`"];
    let half = "HTTP/1.1 400 Bad Request\r\nProxy-Status: kohakuriver-gateway";
    finds(&answering(half), "proxy", &texts, "kohakuriver config show");
}
