//! The gateway behind the fronts of contrib/gateway/front, with the real programs and exactly those files, in which only
//! addresses, paths and the name are replaced.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};

use serde_json::json;

use crate::support::certificates::{Authority, NAME, Secured};
use crate::support::fronts::{Behind, Front};
use crate::support::gateway::Gateway;
use crate::support::heavy;
use crate::support::home::Home;
use crate::support::load::{a_hundred_at_once, bulk_both_ways};
use crate::support::peers::Peer;
use crate::support::run::{DEADLINE, Run};
use crate::support::scene::{ID, Mode, destination};
use crate::support::sshd::Sshd;
use crate::support::tools::{HELPER, sh_quote, tool};
use crate::support::tunnels::connect_request;
use crate::support::watched::audit;

const YES: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// The config files, each with whether TLS ends there, and whether it tells the gateway the client's address.
const FRONTS: [(Front, bool, bool); 4] = [
    (Front::HaproxySni, false, true),
    (Front::HaproxyTls, true, true),
    (Front::NginxSni, false, false),
    (Front::NginxTls, true, false),
];

/// A gateway behind `front`, with a VPS on this port.
fn gateway(authority: &Authority, port: u16, ends_tls: bool, tells: bool) -> (Gateway, SocketAddr) {
    let file = authority.home.secret("gateway.pem", &authority.server(1).pem);
    let tls = ["--tls-listen", "127.0.0.1:0", "--tls-cert", file.to_str().unwrap()];
    let proxied = ["--proxy-protocol", "--proxy-from", "127.0.0.1"];
    let options = [&tls[..], if tells { &proxied } else { &[] }].concat();
    let gateway = Gateway::before_and(port, &options);
    let tls: SocketAddr = gateway.process.stderr_line("listening with TLS on ").parse().unwrap();
    let address = if ends_tls { gateway.address } else { tls };
    (gateway, address)
}

/// An ssh through the helper and the front on this port.
fn ssh(authority: &Authority, sshd: &Sshd, home: &Home, port: u16, mode: Mode) -> Run {
    let fdpass = if mode == Mode::Fdpass { " --fdpass" } else { "" };
    let ca = sh_quote(authority.file.to_str().unwrap());
    let command = format!("{}{fdpass} --ca-file {ca} --proxy https://localhost:{port} %h %p", sh_quote(HELPER));
    sshd.ssh(home, &command, mode).arg(destination())
}

#[test]
fn ssh_goes_through_each_front() {
    let (authority, sshd) = (Authority::new(), Sshd::start());
    let before_tls_1_3 = (Front::HaproxyTls12, true, true);
    for (front, ends_tls, tells) in FRONTS.into_iter().chain([before_tls_1_3]) {
        let (gateway, behind) = gateway(&authority, sshd.port, ends_tls, tells);
        let running = Behind { authority: &authority, gateway: behind, name: "localhost" }.start(front);
        let home = Home::new();
        let port = running.proxy.address.port();
        for mode in Mode::BOTH {
            let data = "through a front\n".repeat(300_000);
            let run = ssh(&authority, &sshd, &home, port, mode).arg("cat; exit 23").stdin(data.clone());
            let outcome = run.output();
            outcome.exits(23).says_nothing().check(outcome.text() == data, "all that was sent, back");
        }
        if front == Front::HaproxyTls12 {
            let run = Run::new(tool("openssl"), &home).args(["s_client", "-connect", &format!("localhost:{port}")]);
            let outcome = run.output();
            outcome.check(outcome.text().contains("New, TLSv1.2, "), "TLS 1.2");
        }
        for opened in audit(&gateway, "opened", 2) {
            assert_eq!(opened["transport"], if ends_tls { "tcp" } else { "tls" }, "{front:?}");
        }
    }
}

#[test]
fn bulk_goes_both_ways_through_each_front() {
    let _place = heavy();
    let (authority, sshd) = (Authority::new(), Sshd::start());
    let home = Home::new();
    for (number, (front, ends_tls, tells)) in FRONTS.into_iter().enumerate() {
        let (_gateway, behind) = gateway(&authority, sshd.port, ends_tls, tells);
        let running = Behind { authority: &authority, gateway: behind, name: "localhost" }.start(front);
        let port = running.proxy.address.port();
        bulk_both_ways(&home, &format!("{front:?}"), || ssh(&authority, &sshd, &home, port, Mode::BOTH[number % 2]));
    }
}

#[test]
fn a_hundred_sessions_go_through_a_front_at_once() {
    let _place = heavy();
    let (authority, sshd) = (Authority::new(), Sshd::start());
    let (front, ends_tls, tells) = FRONTS[0];
    let (gateway, behind) = gateway(&authority, sshd.port, ends_tls, tells);
    let running = Behind { authority: &authority, gateway: behind, name: "localhost" }.start(front);
    let home = Home::new();
    let port = running.proxy.address.port();
    a_hundred_at_once(&gateway, |mode| ssh(&authority, &sshd, &home, port, mode));
}

/// A front that knows how tells the gateway the address of the client.
#[test]
fn audit_lines_have_the_address_of_the_client_where_a_front_tells_it() {
    let authority = Authority::new();
    let vps = crate::support::peers::echo_server();
    for (front, ends_tls, tells) in FRONTS {
        let (gateway, behind) = gateway(&authority, vps.address.port(), ends_tls, tells);
        let running = Behind { authority: &authority, gateway: behind, name: NAME }.start(front);
        let client = tunnel(&authority, running.proxy.address);
        let opened = audit(&gateway, "opened", 1).remove(0);
        let own = client.socket.local_addr().unwrap().to_string();
        assert_eq!(opened["client"] == json!(own), tells, "{front:?}: {opened}");
        client.close();
    }
    vps.finish();
}

fn tunnel(authority: &Authority, address: SocketAddr) -> Secured {
    let mut client = authority.connect(address, None).unwrap();
    client.write_all(connect_request(ID).as_bytes()).unwrap();
    client.hears(YES);
    client
}

const MUCH: usize = 3_000_000;

/// A front's treatment of the end of one side while the other side still sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// The end arrives as an end, and later bytes of the other direction arrive as well.
    Passed,
    /// Every byte before the end arrives, but the end looks like a cut.
    Cut,
    /// The whole tunnel ends with that side.
    EndsAll,
}

/// The end of a client that waits for an answer.
fn end_of_client(authority: &Authority, front: Front, ends_tls: bool, tells: bool) -> End {
    let (heard, hears) = std::sync::mpsc::channel();
    let vps = Peer::serve(move |mut stream| {
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        heard.send((bytes.len(), read.is_ok()))?;
        // The tunnel may be gone.
        let _ = stream.write_all(b"all of it");
        Ok(())
    });
    let (_gateway, behind) = gateway(authority, vps.address.port(), ends_tls, tells);
    let running = Behind { authority, gateway: behind, name: NAME }.start(front);
    let mut client = tunnel(authority, running.proxy.address);
    client.write_all(&vec![b'x'; MUCH]).unwrap();
    client.end_writing();
    let answer = client.rest();
    let (length, is_end) = hears.recv_timeout(DEADLINE).unwrap();
    vps.finish();
    assert_eq!(length, MUCH, "{front:?}: what a client sends before its end");
    match answer {
        Ok(answer) if answer == b"all of it" && is_end => End::Passed,
        _ if !is_end => End::Cut,
        _ => End::EndsAll,
    }
}

/// The end of a VPS whose client still sends.
fn end_of_vps(authority: &Authority, front: Front, ends_tls: bool, tells: bool) -> End {
    let (heard, hears) = std::sync::mpsc::channel();
    let vps = Peer::serve(move |mut stream| {
        stream.write_all(&vec![b'y'; MUCH])?;
        stream.shutdown(Shutdown::Write)?;
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes).is_ok();
        heard.send((bytes.len(), read))?;
        Ok(())
    });
    let (_gateway, behind) = gateway(authority, vps.address.port(), ends_tls, tells);
    let running = Behind { authority, gateway: behind, name: NAME }.start(front);
    let mut client = tunnel(authority, running.proxy.address);
    let mut bytes = Vec::new();
    let is_end = client.read_to_end(&mut bytes).is_ok();
    assert_eq!(bytes.len(), MUCH, "{front:?}: what a VPS sends before its end");
    // Where the end of one stream ends all, the rest fails sooner or later.
    let _ = client.write_all(&vec![b'x'; MUCH]);
    client.session.send_close_notify();
    while client.session.wants_write() && client.session.write_tls(&mut client.socket).is_ok() {}
    drop(client);
    let heard = hears.recv_timeout(DEADLINE).unwrap();
    vps.finish();
    match (is_end, heard == (MUCH, true)) {
        (true, true) => End::Passed,
        (false, _) => End::Cut,
        (true, false) => End::EndsAll,
    }
}

/// As contrib/gateway/front/README.md says.
#[test]
fn ends_are_passed_on() {
    let authority = Authority::new();
    let passed = |(front, ends_tls, tells): (Front, bool, bool)| {
        let client = end_of_client(&authority, front, ends_tls, tells);
        (front, client, end_of_vps(&authority, front, ends_tls, tells))
    };
    assert_eq!(
        FRONTS.map(passed),
        [
            (Front::HaproxySni, End::Passed, End::Passed),
            (Front::HaproxyTls, End::Passed, End::Passed),
            (Front::NginxSni, End::Passed, End::Passed),
            (Front::NginxTls, End::EndsAll, End::EndsAll),
        ]
    );
}

/// The port's other names go to the web server that it had before: a real one, with TLS of its own.
#[test]
fn the_web_server_keeps_its_names() {
    let (authority, sshd) = (Authority::new(), Sshd::start());
    for (front, ends_tls, tells) in FRONTS.into_iter().filter(|(_, ends_tls, _)| !ends_tls) {
        let (_gateway, behind) = gateway(&authority, sshd.port, ends_tls, tells);
        let running = Behind { authority: &authority, gateway: behind, name: NAME }.start(front);
        let port = running.proxy.address.port();
        let home = Home::new();
        let run = Run::new(tool("curl"), &home).args(["-sS", "-m", "30", "--noproxy", "*", "--cacert"]);
        let run = run.arg(&authority.file).arg("--resolve").arg(format!("web.example:{port}:127.0.0.1"));
        run.arg(format!("https://web.example:{port}/")).output().succeeds().prints("a web page");
    }
}

/// Why the helper gets no tunnel through an HTTP server in front of the plain gateway.
fn http_front(front: Front, texts: &[&str]) {
    let (authority, sshd) = (Authority::new(), Sshd::start());
    let (_gateway, behind) = gateway(&authority, sshd.port, true, false);
    let running = Behind { authority: &authority, gateway: behind, name: "localhost" }.start(front);
    let home = Home::new();
    let run = Run::new(HELPER, &home).args(["--no-disconnect", "--connect-timeout", "20", "--ca-file"]);
    let proxy = format!("https://localhost:{}", running.proxy.address.port());
    run.arg(&authority.file).args(["--proxy", &proxy, ID]).output().exits(1).says(texts);
}

#[test]
fn http_servers_carry_no_connect() {
    http_front(Front::NginxHttp, &["answered 400 Bad Request\n", "check that it is the Host's SSH proxy"]);
    // Says yes to whatever is not for one of its names.
    http_front(Front::Caddy, &["closed the connection before its sshd said anything"]);
}
