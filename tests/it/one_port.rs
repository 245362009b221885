//! One port with TLS is all that a cluster shows: the Host API and the tunnels, for a laptop that knows one URL.

use std::io::{Read, Write};
use std::net::SocketAddr;

use serde_json::json;

use crate::support::certificates::{Authority, Secured};
use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::life_host::{LifeHost, MADE, OPERATOR, PASSWORD, vps};
use crate::support::run::{Outcome, Run};
use crate::support::scene::ID;
use crate::support::sshd::Sshd;
use crate::support::tools::{CLI, tool, user};
use crate::support::tunnels::connect_request;
use crate::support::watched::ask;

/// Most connections of one client that the Host API has on this port.
const MOST_OF_CLIENT: usize = 32;

struct Cluster {
    sshd: Sshd,
    host: LifeHost,
    gateway: Gateway,
    authority: Authority,
    tls: SocketAddr,
    laptop: Home,
}

impl Cluster {
    /// The gateway looks by itself whether the Host is there. Nobody else has asked it.
    #[track_caller]
    fn is_asked_by_the_gateway_alone(&self) {
        let heads: Vec<_> = self.host.change(|state| state.requests.iter().map(|asked| asked.head.clone()).collect());
        assert!(heads.iter().all(|head: &String| head.starts_with("GET /api/nodes ")), "{heads:?}");
    }

    fn new() -> Self {
        let (sshd, authority, laptop) = (Sshd::start(), Authority::new(), Home::new());
        let host = LifeHost::with_users(vps("running", "docker", sshd.port));
        let file = authority.home.secret("gateway.pem", &authority.server(1).pem);
        let tls = ["--tls-listen", "127.0.0.1:0", "--tls-cert", file.to_str().unwrap(), "--api-proxy"];
        // Fewer than the Host API has places.
        let options = [&tls[..], &["--max-handshakes", "8"]].concat();
        let gateway = Gateway::with_host_api_and(&host.base(), &options);
        let tls = gateway.process.stderr_line("listening with TLS on ").parse().unwrap();
        sshd.copy_key_to(&laptop.join(&format!(".ssh/id-kohakuriver-{ID}")));
        Self { sshd, host, gateway, authority, tls, laptop }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.tls.port())
    }

    fn run(&self, args: &[&str]) -> Run {
        Run::new(CLI, &self.laptop).args(args)
    }

    fn log_in(&self) -> Outcome {
        let ca = self.authority.file.to_str().unwrap();
        let run = self.run(&["login", &self.url(), "--ca-file", ca, "--user", "operator1", "--password-stdin"]);
        run.stdin(format!("{PASSWORD}\n")).output()
    }

    fn ssh(&self, options: &[&str]) -> Outcome {
        let config = self.laptop.join(".ssh/config");
        let run = Run::new(tool("ssh"), &self.laptop).arg("-F").arg(config).args(["-o", "BatchMode=yes"]).args(options);
        run.args(["-l", user(), "trainer.kohakuriver", "echo in; exit 4"]).output()
    }

    /// The answer to a request over TLS.
    fn asks(&self, request: &str) -> String {
        let mut client = self.connect();
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }

    fn connect(&self) -> Secured {
        self.authority.connect(self.tls, None).unwrap()
    }
}

#[test]
fn one_url_is_all_that_a_laptop_knows() {
    let cluster = Cluster::new();
    cluster.log_in().succeeds().says(&[&format!("logged in to {} as operator1 (operator)", cluster.url())]);
    let config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(cluster.laptop.join(".config/kohakuriver/config.json")).unwrap())
            .unwrap();
    let ca = cluster.authority.file.display().to_string();
    assert_eq!(config, json!({ "host": cluster.url(), "ca_file": ca }));
    let list = cluster.run(&["vps", "list", "--json"]).output();
    assert!(list.succeeds().says_nothing().text().contains("trainer"), "{list}");
    for fdpass in ["yes", "no"] {
        cluster.ssh(&["-o", &format!("ProxyUseFdpass={fdpass}")]).exits(4).prints("in\n");
    }
    let connect =
        ["vps", "connect", "trainer", "--user", user(), "--", "-F", "none", "-o", "BatchMode=yes", "echo in; exit 4"];
    cluster.run(&connect).output().exits(4).prints("in\n");
    cluster.run(&["vps", "pause", "trainer"]).output().succeeds();
    // The Host has seen the token that it made, and the port of nobody but the gateway.
    let with_token = |head: &String| head.contains(&format!("Bearer {MADE}"));
    let heads: Vec<String> = cluster.host.change(|state| state.requests.iter().map(|r| r.head.clone()).collect());
    assert!(heads.iter().filter(|head| with_token(head)).count() > 3, "{heads:#?}");
    assert!(heads.iter().all(|head| !head.contains("REQUEST_TUNNEL")), "{heads:#?}");
    drop(cluster.sshd);
}

#[test]
fn what_no_user_of_a_vps_needs_never_reaches_the_host() {
    let cluster = Cluster::new();
    for (request, status) in [
        ("GET /api/admin/users", "404"),
        ("GET /docs", "404"),
        ("GET /", "404"),
        ("GET /api/../docs", "404"),
        ("GET /api/vps/../../docs", "404"),
        ("DELETE /api/vps", "405"),
    ] {
        let answer = cluster.asks(&format!(
            "{request} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {OPERATOR}\r\nConnection: close\r\n\r\n"
        ));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && !answer.contains(OPERATOR),
            "{request}: {answer}"
        );
    }
    cluster.is_asked_by_the_gateway_alone();
    // A tunnel beside them is a tunnel.
    let mut client = cluster.connect();
    client.write_all(connect_request("7").as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 40"), "{answer}");
}

/// A plain port of the same gateway has no Host API.
#[test]
fn the_host_api_is_on_the_tls_port_alone() {
    let cluster = Cluster::new();
    let answer = ask(&cluster.gateway, "GET /api/nodes HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    cluster.is_asked_by_the_gateway_alone();
}

#[test]
fn one_client_leaves_places_to_others_and_its_tunnels_need_none() {
    let cluster = Cluster::new();
    let request = b"GET /api/nodes HTTP/1.1\r\nHost: x\r\n\r\n";
    let held: Vec<Secured> = (0..MOST_OF_CLIENT)
        .map(|_| {
            let mut client = cluster.connect();
            client.write_all(request).unwrap();
            client.hears(b"HTTP/1.1 200 ");
            client
        })
        .collect();
    let mut next = cluster.connect();
    next.write_all(request).unwrap();
    next.hears(b"HTTP/1.1 503 ");
    let mut tunnel = cluster.connect();
    tunnel.write_all(connect_request("7").as_bytes()).unwrap();
    tunnel.hears(b"HTTP/1.1 4");
    drop(held);
    let end = std::time::Instant::now() + crate::support::run::DEADLINE;
    loop {
        let mut again = cluster.connect();
        again.write_all(request).unwrap();
        let mut status = [0; 12];
        again.read_exact(&mut status).unwrap();
        if &status == b"HTTP/1.1 200" {
            break;
        }
        assert!(std::time::Instant::now() < end, "the places are not free again");
    }
}
