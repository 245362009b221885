//! The way to the Host: its name, its API's port, its SSH proxy's port, and what answers there.

use std::io::Read;

use super::{doctor, finds};
use crate::support::cluster::Cluster;
use crate::support::peers::{MutePort, Peer, RefusingPort, http_server};
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

/// The SSH proxy may be another machine, and then it is that one's name that is wrong.
#[test]
fn a_wrong_name_of_the_ssh_proxy() {
    let cluster = Cluster::new();
    cluster.home.write(".config/kohakuriver/config.json", r#"{"proxy":"kr-no-such-proxy.invalid"}"#);
    let texts = ["the name kr-no-such-proxy.invalid has no address", "set by: config.json"];
    finds(&doctor(&cluster).output(), "host-name", &texts, "kohakuriver config show");
}

#[test]
fn the_apis_port_is_closed() {
    let port = RefusingPort::new();
    let outcome = with("KOHAKURIVER_PORT", &port.port.to_string());
    let texts = [&format!("http://127.0.0.1:{}", port.port), "refused"];
    finds(&outcome, "host-api", &texts, "kohakuriver config show");
}

#[test]
fn the_apis_port_drops_what_comes() {
    let port = MutePort::new();
    let outcome = with("KOHAKURIVER_PORT", &port.port.to_string());
    outcome.within(40);
    finds(&outcome, "host-api", &[&format!("http://127.0.0.1:{}", port.port)], "kohakuriver config show");
}

#[test]
fn the_apis_port_is_some_web_server() {
    let web = http_server(|_| (404, "text/html", "<h1>Not here</h1>".to_owned()));
    let outcome = with("KOHAKURIVER_PORT", &web.address.port().to_string());
    finds(&outcome, "host-api", &["cannot ask the Host API"], "kohakuriver config show");
}

#[test]
fn the_ssh_proxys_port_is_closed() {
    let port = RefusingPort::new();
    let texts = [&format!("cannot reach the SSH proxy at 127.0.0.1:{}", port.port), "refused", "nothing listens there"];
    finds(&with_proxy_port(port.port), "proxy-port", &texts, "ss -ltnp");
}

#[test]
fn a_firewall_drops_what_is_sent_to_the_ssh_proxy() {
    let port = MutePort::new();
    let outcome = with_proxy_port(port.port);
    outcome.within(40);
    finds(&outcome, "proxy-port", &["no answer in time", "a firewall drops"], "ss -ltnp");
}

#[test]
fn the_ssh_proxys_port_is_a_web_server() {
    let web = http_server(|_| (405, "text/html", "<h1>Not Allowed</h1>".to_owned()));
    let outcome = with_proxy_port(web.address.port());
    finds(&outcome, "proxy", &["a web server", "405"], "kohakuriver config show");
}

#[test]
fn the_ssh_proxys_port_is_the_host_api() {
    let cluster = Cluster::new();
    let outcome = doctor(&cluster).env("KOHAKURIVER_SSH_PROXY_PORT", cluster.gateway.api().port().to_string()).output();
    finds(&outcome, "proxy", &["a web server"], "kohakuriver config show");
}

#[test]
fn the_ssh_proxys_port_is_an_sshd() {
    let cluster = Cluster::new();
    let outcome = doctor(&cluster).env("KOHAKURIVER_SSH_PROXY_PORT", cluster.sshd.port.to_string()).output();
    finds(&outcome, "proxy", &["an SSH server", "SSH-2.0-"], "kohakuriver config show");
}

#[test]
fn the_ssh_proxys_port_is_an_http_proxy() {
    let proxy = tinyproxy(22);
    let outcome = with_proxy_port(proxy.address.port());
    finds(&outcome, "proxy", &["an HTTP proxy", "tinyproxy"], "kohakuriver config show");
}

#[test]
fn the_ssh_proxys_port_accepts_and_says_nothing() {
    let mute = Peer::serve(|mut stream| {
        stream.read_to_end(&mut Vec::new())?;
        Ok(())
    });
    let outcome = with_proxy_port(mute.address.port());
    outcome.within(40);
    finds(&outcome, "proxy", &["is mute", "says nothing"], "kohakuriver config show");
}
