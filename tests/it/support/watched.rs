//! A gateway that is watched: its admin address and its audit log.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use serde_json::Value;

use super::gateway::Gateway;
use super::home::Home;
use super::peers::{PEER_TIMEOUT, Peer, echo_server};
use super::run::{DEADLINE, Outcome, Run};
use super::tools::{CLI, tool};

/// The answer that accepts a CONNECT.
pub(crate) const YES: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

/// The token of the admin of such a gateway.
pub(crate) const ADMIN_TOKEN: &str = "0123456789abcdef-admin";
/// The arguments of a `curl` with that token which ends a tunnel.
pub(crate) const DELETE: [&str; 4] = ["-X", "DELETE", "-H", "Authorization: Bearer 0123456789abcdef-admin"];

/// A gateway before a VPS that says back what it hears.
pub(crate) struct Watched {
    pub(crate) gateway: Gateway,
    pub(crate) home: Home,
    pub(crate) vps: Peer,
}

impl Watched {
    pub(crate) fn new(options: &[&str]) -> Self {
        Self::before(echo_server(), options)
    }

    /// The same before this VPS.
    pub(crate) fn before(vps: Peer, options: &[&str]) -> Self {
        let home = Home::new();
        let token = home.secret("admin-token", ADMIN_TOKEN);
        let options = [options, &["--admin-token-file", token.to_str().unwrap()]].concat();
        let gateway = Gateway::before_and(vps.address.port(), &options);
        Self { gateway, home, vps }
    }

    /// `curl` on the admin's address, with these arguments behind it.
    pub(crate) fn curl(&self, path: &str, args: &[&str]) -> Outcome {
        curl(&self.home, self.gateway.admin, path, args)
    }

    pub(crate) fn metric(&self, name: &str) -> f64 {
        metric(&self.curl("/metrics", &[]).text(), name)
    }

    /// Waits until the metric has this value: a tunnel ends a moment after its client has heard of it.
    pub(crate) fn awaits(&self, name: &str, value: f64) {
        let end = Instant::now() + DEADLINE;
        while self.metric(name) != value {
            assert!(Instant::now() < end, "{name} is {} and not {value}", self.metric(name));
        }
    }

    pub(crate) fn sessions(&self) -> Value {
        serde_json::from_str(&self.curl("/sessions", &[]).text()).unwrap()
    }

    pub(crate) fn cli(&self, args: &[&str]) -> Run {
        let run = Run::new(CLI, &self.home).args(["vps", "sessions"]).args(args);
        let run = run.env("KOHAKURIVER_GATEWAY_ADMIN", self.gateway.admin.to_string());
        run.env("KOHAKURIVER_GATEWAY_ADMIN_TOKEN", ADMIN_TOKEN)
    }

    /// The audit lines of this kind, once there are `count` of them.
    pub(crate) fn audit(&self, event: &str, count: usize) -> Vec<Value> {
        audit(&self.gateway, event, count)
    }
}

pub(crate) fn curl(home: &Home, admin: SocketAddr, path: &str, args: &[&str]) -> Outcome {
    let url = format!("http://{admin}{path}");
    let outcome = Run::new(tool("curl"), home).args(["-sS", "--noproxy", "*", &url]).args(args).output();
    outcome.succeeds();
    outcome
}

/// The status and the JSON that this user gets from `url`.
pub(crate) fn curl_as(token: Option<&str>, home: &Home, url: &str, args: &[&str]) -> (u16, Value) {
    let run = Run::new(tool("curl"), home).args(["-sS", "--noproxy", "*", "-w", "\n%{http_code}", url]).args(args);
    // Not as an argument, which every user of the machine can read.
    let run = match token {
        Some(token) => run.args(["-H", "@-"]).stdin(format!("Authorization: Bearer {token}\n")),
        None => run,
    };
    let outcome = run.output();
    outcome.succeeds();
    let text = outcome.text();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
}

pub(crate) fn metric(page: &str, name: &str) -> f64 {
    let name = format!("kohakuriver_gateway_{name} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("no {name} in\n{page}")).parse().unwrap()
}

pub(crate) fn audit(gateway: &Gateway, event: &str, count: usize) -> Vec<Value> {
    gateway.process.wait_for(&format!("{count} audit lines of {event}"), DEADLINE, |seen| {
        let text = String::from_utf8_lossy(&seen.stdout).into_owned();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
        let lines: Vec<_> = lines.filter(|line| line["event"] == event).collect();
        (lines.len() >= count).then_some(lines)
    })
}

/// A connection to a gateway, or to an address, that has sent `request`.
pub(crate) fn send(to: impl Into<SocketAddr>, request: impl AsRef<[u8]>) -> TcpStream {
    let mut stream = TcpStream::connect(to.into()).unwrap();
    stream.set_read_timeout(Some(PEER_TIMEOUT)).unwrap();
    stream.write_all(request.as_ref()).unwrap();
    stream
}

/// Sends `request`, and reads to the end.
pub(crate) fn ask(to: impl Into<SocketAddr>, request: impl AsRef<[u8]>) -> String {
    let mut answer = String::new();
    send(to, request).read_to_string(&mut answer).unwrap();
    answer
}

pub(crate) fn connect(target: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\n\r\n")
}

/// A tunnel that is open.
pub(crate) fn tunnel(gateway: &Gateway, request: &str, yes: &str) -> TcpStream {
    let mut stream = send(gateway, request);
    let mut answer = vec![0; yes.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), yes);
    stream
}
