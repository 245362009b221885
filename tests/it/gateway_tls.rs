//! TLS in the gateway: stock clients, the ends of a tunnel, certificates that change, and clients' certificates.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::certificates::{Authority, Issued, NAME, Secured};
use crate::support::gateway::{Gateway, inventory};
use crate::support::home::Home;
use crate::support::office::Office;
use crate::support::pattern::pattern;
use crate::support::peers::{GREETING, PEER_TIMEOUT, Peer, echo_server, greeter};
use crate::support::run::{Outcome, Run};
use crate::support::scene::{ID, Mode};
use crate::support::tools::{GATEWAY, HELPER, tool};
use crate::support::tunnels::{UNWATCHED, asked_of, connect_request, proxy_header};
use crate::support::watched::{audit, curl, metric};

const YES: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// A gateway with a plain port and a TLS port, and its VPS.
struct Scene {
    authority: Authority,
    /// The file with the gateway's certificate and key.
    file: PathBuf,
    gateway: Gateway,
    tls: SocketAddr,
    vps: Peer,
}

impl Scene {
    fn new() -> Self {
        Self::with(echo_server(), |_| Vec::new())
    }

    /// With this VPS, and with options that may name files of the CA.
    fn with(vps: Peer, options: impl FnOnce(&Authority) -> Vec<String>) -> Self {
        let authority = Authority::new();
        let file = authority.home.secret("gateway.pem", &authority.server(1).pem);
        let listening = ["--tls-listen", "127.0.0.1:0", "--tls-cert", file.to_str().unwrap()].map(str::to_owned);
        let options = [listening.to_vec(), options(&authority)].concat();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let gateway = Gateway::before_and(vps.address.port(), &options);
        let tls = gateway.process.stderr_line("listening with TLS on ").parse().unwrap();
        Self { authority, file, gateway, tls, vps }
    }

    fn connect(&self) -> Secured {
        self.authority.connect(self.tls, None).unwrap()
    }

    /// A tunnel that is open, with `early` bytes behind its request.
    fn tunnel(&self, early: &[u8]) -> Secured {
        let mut client = self.connect();
        client.write_all(&[connect_request(ID).as_bytes(), early].concat()).unwrap();
        client.hears(YES);
        client
    }

    fn page(&self, path: &str) -> String {
        curl(&self.authority.home, self.gateway.admin, path, &["-f"]).succeeds().text()
    }

    fn metric(&self, name: &str) -> f64 {
        metric(&self.page("/metrics"), name)
    }

    fn awaits(&self, name: &str, value: f64) {
        until(&format!("{name} is {value}"), || self.metric(name) == value);
    }

    fn refused(&self, reason: &str) -> f64 {
        self.metric(&format!("requests_refused_total{{reason=\"{reason}\",error=\"http_request_error\"}}"))
    }

    fn sessions(&self) -> Value {
        serde_json::from_str(&self.page("/sessions")).unwrap()
    }

    /// How often its stderr has `text`.
    fn said(&self, text: &str) -> usize {
        let count = |stderr: &[u8]| String::from_utf8_lossy(stderr).matches(text).count();
        self.gateway.process.wait_for("its stderr", PEER_TIMEOUT, |seen| Some(count(&seen.stderr)))
    }

    /// Waits until its stderr has `text`.
    fn says(&self, text: &str) {
        let has = |stderr: &[u8]| String::from_utf8_lossy(stderr).contains(text).then_some(());
        self.gateway.process.wait_for(text, PEER_TIMEOUT, |seen| has(&seen.stderr));
    }

    fn openssl(&self, args: &[&str], stdin: &[u8]) -> Outcome {
        self.s_client(&[&["-quiet"], args].concat(), stdin)
    }

    /// With what it says about the connection.
    fn s_client(&self, args: &[&str], stdin: &[u8]) -> Outcome {
        let run = Run::new(tool("openssl"), &self.authority.home).args(["s_client", "-verify_return_error"]);
        let run = run.args(["-connect", &self.tls.to_string(), "-servername", NAME]).arg("-CAfile");
        run.arg(&self.authority.file).args(args).stdin(stdin).output()
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PEER_TIMEOUT;
    while !is_so() {
        assert!(Instant::now() < deadline, "it never comes that {what}");
    }
}

#[test]
fn stock_clients_get_a_tunnel_and_its_banner() {
    let scene = Scene::with(greeter(), |_| Vec::new());
    let answer = format!("{}{GREETING}", String::from_utf8_lossy(YES));
    for version in ["-tls1_2", "-tls1_3"] {
        let outcome = scene.openssl(&[version, "-alpn", "http/1.1"], connect_request(ID).as_bytes());
        outcome.prints(&answer);
    }
    let run = Run::new(tool("curl"), &scene.authority.home).args(["-sS", "--http0.9", "-m", "30", "-p", "-o", "body"]);
    let run =
        run.args(["-w", "%{http_connect} %{proxy_ssl_verify_result}", "-x"]).arg(format!("https://{}", scene.tls));
    run.arg("--proxy-cacert").arg(&scene.authority.file).arg(format!("http://{ID}:22/")).output().prints("200 0");
    assert_eq!(std::fs::read_to_string(scene.authority.home.join("body")).unwrap(), GREETING);
    scene.awaits("tunnels", 0.0);
    assert_eq!(scene.metric("tunnels_opened_total{protocol=\"connect\",transport=\"tls\"}"), 3.0);
    assert_eq!(scene.metric("connections_accepted_total{transport=\"tcp\"}"), 0.0);
    assert_eq!(scene.metric("tunnels_closed_total{ending=\"complete\"}"), 3.0);
    let lines = audit(&scene.gateway, "closed", 3);
    assert!(lines.iter().all(|line| line["transport"] == "tls" && line["reason"] == "complete"), "{lines:?}");
    scene.vps.finish();
}

#[test]
fn the_order_of_the_server_counts() {
    let scene = Scene::new();
    for (version, option, first, second) in [
        ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        ("-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"),
    ] {
        for offer in [format!("{first}:{second}"), format!("{second}:{first}")] {
            let outcome = scene.s_client(&[version, option, &offer], b"");
            let chosen = outcome.text().contains(&format!("Cipher is {first}\n"));
            outcome.succeeds().check(chosen, &format!("{first} of {offer}"));
        }
        // It takes the other one alone.
        let outcome = scene.s_client(&[version, option, second], b"");
        outcome.succeeds().check(outcome.text().contains(&format!("Cipher is {second}\n")), second);
    }
}

#[test]
fn a_session_is_resumed() {
    let scene = Scene::new();
    let session = scene.authority.home.join("session");
    let session = session.to_str().unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        // The answer comes behind the ticket.
        let first = scene.openssl(&[version, "-sess_out", session], b"GET / HTTP/1.1\r\n\r\n");
        first.check(first.text().starts_with("HTTP/1.1 "), "an answer");
        let second = scene.s_client(&[version, "-sess_in", session], b"");
        second.succeeds().check(second.text().contains("Reused, TLSv1."), version);
    }
    let outcome = scene.s_client(&["-tls1_2", "-reconnect"], b"");
    outcome.succeeds().check(outcome.text().matches("Reused, TLSv1.2, ").count() == 5, "each of five");
}

#[test]
fn twenty_megabytes_go_both_ways_and_an_end_is_passed_on() {
    let scene = Scene::new();
    let data = pattern(20_000_000);
    let sent = [connect_request(ID).as_bytes(), &data].concat();
    let to = format!("OPENSSL:{},cafile={},commonname={NAME}", scene.tls, scene.authority.file.display());
    let run = Run::new(tool("socat"), &scene.authority.home).args(["-t", "60", "-b", "65536", "-", &to]);
    let outcome = run.stdin(sent).output();
    outcome.succeeds();
    assert!(outcome.stdout == [YES, &data].concat(), "{} bytes came back", outcome.stdout.len());
    scene.awaits("tunnels", 0.0);
    assert_eq!(scene.metric("tunnel_bytes_total{direction=\"up\"}"), 20_000_000.0);
    scene.vps.finish();
}

#[test]
fn early_bytes_and_each_end_are_passed_on() {
    let scene = Scene::new();
    let mut client = scene.tunnel(b"early ");
    client.hears(b"early ");
    let listed = scene.sessions();
    assert_eq!((&listed[0]["transport"], &listed[0]["user"]), (&json!("tls"), &Value::Null));
    client.write_all(b"late").unwrap();
    client.end_writing();
    assert_eq!(client.rest().unwrap(), b"late");
    // A half-close behind the early bytes, before the tunnel is open.
    let mut client = scene.connect();
    client.write_all(&[connect_request(ID).as_bytes(), b"all of it"].concat()).unwrap();
    client.end_writing();
    assert_eq!(client.rest().unwrap(), [YES, b"all of it"].concat());
    // The line protocol.
    let mut client = scene.connect();
    client.write_all(format!("REQUEST_TUNNEL {ID}\nping").as_bytes()).unwrap();
    client.hears(b"SUCCESS\nping");
    client.close();
    scene.awaits("tunnels", 0.0);
    scene.vps.finish();
}

/// A request in two records, cut in each place, and one with a record for each byte. What is behind it isn't lost.
#[test]
fn a_request_may_be_split_anywhere() {
    let scene = Scene::new();
    let connect = format!("CONNECT {ID}.kohakuriver:22 HTTP/1.1\r\nHost: {ID}.kohakuriver:22\r\nUser-Agent: x\r\n\r\n");
    for (request, yes) in [(connect, YES), (format!("REQUEST_TUNNEL {ID}\n"), b"SUCCESS\n")] {
        let sent = [request.as_bytes(), b"early"].concat();
        let opens = |records: &mut dyn Iterator<Item = &[u8]>| {
            let mut client = scene.connect();
            client.socket.set_nodelay(true).unwrap();
            records.for_each(|record| client.write_all(record).unwrap());
            client.hears(&[yes, b"early"].concat());
            client.close();
        };
        for cut in 1..sent.len() {
            opens(&mut [&sent[..cut], &sent[cut..]].into_iter());
        }
        opens(&mut sent.chunks(1));
    }
    scene.vps.finish();
}

#[test]
fn a_cut_and_a_reset_are_no_orderly_end() {
    for is_reset in [false, true] {
        let (ends, ended) = std::sync::mpsc::channel();
        let vps = Peer::serve(move |mut stream| {
            ends.send(stream.read_to_end(&mut Vec::new()).map_err(|error| error.kind())).unwrap();
            Ok(())
        });
        let scene = Scene::with(vps, |_| Vec::new());
        let client = scene.tunnel(b"");
        if is_reset {
            set_socket_linger(&client.socket, Some(Duration::ZERO)).unwrap();
            drop(client);
        } else {
            client.socket.shutdown(Shutdown::Write).unwrap();
        }
        assert_eq!(ended.recv_timeout(PEER_TIMEOUT).unwrap(), Err(io::ErrorKind::ConnectionReset), "{is_reset}");
        assert_eq!(audit(&scene.gateway, "closed", 1)[0]["reason"], "client-lost");
        scene.vps.finish();
    }
}

#[test]
fn a_client_without_tls_is_told_so_in_its_own_protocol() {
    let scene = Scene::new();
    let answer = asked_of(scene.tls, &connect_request(ID));
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("application/problem+json"), "{answer}");
    assert!(answer.contains("this port speaks TLS") && answer.contains("https://HOST:PORT"), "{answer}");
    let answer = asked_of(scene.tls, &format!("REQUEST_TUNNEL {ID}\n"));
    assert_eq!(answer, "ERROR This port speaks TLS: name it as https://HOST:PORT.\n");
    scene.awaits("handshakes", 0.0);
    assert_eq!(scene.refused("plain-on-tls-port"), 2.0);
    // One that says nothing gets nothing, and is no fault.
    let mut silent = TcpStream::connect(scene.tls).unwrap();
    silent.shutdown(Shutdown::Write).unwrap();
    assert_eq!(silent.read_to_end(&mut Vec::new()).unwrap(), 0);
}

#[test]
fn a_failed_handshake_reaches_the_client_and_the_debug_log_but_not_the_audit_log() {
    let scene = Scene::with(echo_server(), |_| ["--log-level", "debug"].map(str::to_owned).to_vec());
    let outcome = scene.openssl(&["-alpn", "h2"], b"");
    outcome.check_fails().says(&["alert number 120"]);
    scene.awaits("handshakes", 0.0);
    assert_eq!(scene.refused("tls-handshake"), 1.0);
    scene.says("reason=\"tls-handshake\"");
    // A request that is refused over TLS is audited as ever.
    let mut client = scene.connect();
    client.write_all(b"CONNECT 9999:22 HTTP/1.1\r\n\r\n").unwrap();
    assert!(client.rest().unwrap().starts_with(b"HTTP/1.1 404 "));
    let lines = audit(&scene.gateway, "refused", 1);
    assert_eq!((&lines[0]["reason"], &lines[0]["transport"]), (&json!("not-found"), &json!("tls")));
}

#[test]
fn a_client_that_breaks_off_its_handshake_counts_as_too_slow() {
    let scene = Scene::with(echo_server(), |_| ["--head-timeout", "1"].map(str::to_owned).to_vec());
    let mut client = TcpStream::connect(scene.tls).unwrap();
    client.write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert!(!rest.starts_with(b"HTTP"), "{}", rest.escape_ascii());
    assert_eq!(audit(&scene.gateway, "refused", 1)[0]["reason"], "head-too-slow");
}

fn replace_link(link: &Path, to: &Path) {
    let new = link.with_extension("new");
    symlink(to, &new).unwrap();
    std::fs::rename(new, link).unwrap();
}

#[test]
fn certificates_are_read_again_on_sighup_and_when_a_link_changes() {
    let authority = Authority::new();
    let [first, second, third] = [1, 2, 3].map(|serial| authority.server(serial));
    let home = &authority.home;
    let written = |name: &str, issued: &Issued| home.secret(name, &issued.pem);
    let paths = [written("1.pem", &first), written("2.pem", &second)];
    let link = home.join("live.pem");
    replace_link(&link, &paths[0]);
    let vps = echo_server();
    let options = ["--tls-listen", "127.0.0.1:0", "--tls-cert", link.to_str().unwrap(), "--audit-log", "off"];
    let gateway = Gateway::before_and(vps.address.port(), &options);
    let tls = gateway.process.stderr_line("listening with TLS on ").parse().unwrap();
    let served = || authority.connect(tls, None).unwrap().certificate().clone();
    assert_eq!(served(), first.der);

    replace_link(&link, &paths[1]);
    until("the new certificate is served", || served() == second.der);

    written("2.pem", &third);
    gateway.process.signal(Signal::HUP);
    until("the third one is served", || served() == third.der);
    vps.finish();
}

#[test]
fn garbage_is_reported_once_and_the_old_certificate_stays() {
    let scene = Scene::new();
    let before = scene.connect().certificate().clone();
    let mut open = scene.tunnel(b"");
    std::fs::write(&scene.file, "garbage").unwrap();
    let notice = "cannot use the certificate ";
    until("it is noticed", || {
        assert_eq!(scene.connect().certificate(), &before);
        scene.said(notice) > 0
    });
    // It looks once a second.
    let end = Instant::now() + Duration::from_millis(2500);
    while Instant::now() < end {
        assert_eq!(scene.connect().certificate(), &before);
    }
    assert_eq!(scene.said(notice), 1);
    assert_eq!(scene.said("the certificates in force stay"), 1);
    scene.gateway.process.signal(Signal::HUP);
    until("it is reported again when asked", || scene.said(notice) == 2);
    open.write_all(b"ping").unwrap();
    open.hears(b"ping");
    open.close();
    scene.vps.finish();
}

#[test]
fn files_that_cannot_be_used_are_named_at_the_start() {
    let authority = Authority::new();
    let (own, other) = (authority.server(1), authority.server(2));
    let home = &authority.home;
    let good = home.secret("good.pem", &own.pem);
    let damaged = home.secret("damaged.pem", &own.pem.replace("MII", "!!!"));
    let other_key = home.secret("other.key", &other.key);
    let open_key = home.write("open.key", &own.key);
    let list = home.write("list.pem", authority.revoke(&[1]));
    let users = home.write("users", "alice\n");
    let [good, damaged, other_key, open_key, list, users, ca] =
        [&good, &damaged, &other_key, &open_key, &list, &users, &authority.file].map(|path| path.to_str().unwrap());
    for (options, what, why) in [
        (&["--tls-cert", "/nonexistent"][..], "certificate /nonexistent", "it can't be read"),
        (&["--tls-cert", users], "users", "it has no certificate"),
        (&["--tls-cert", damaged], "damaged.pem", "block 1 in it can't be read"),
        (&["--tls-cert", ca], "private key", "it has no private key"),
        (&["--tls-cert", good, "--tls-key", other_key], "other.key", "name the key that belongs to"),
        (&["--tls-cert", good, "--tls-key", open_key], "open.key", "everybody may read it"),
        (&["--tls-cert", good, "--tls-client-ca", list], "file of the clients' CAs", "it has no certificate"),
        (&["--tls-cert", good, "--tls-client-ca", ca, "--tls-user-map", users], "--tls-user-map", "line 1: `alice`"),
    ] {
        let run = Run::new(GATEWAY, home).args(["--tls-listen", "127.0.0.1:0"]).args(UNWATCHED).args(options);
        run.output().exits(2).says(&[what, why, "hint=\""]);
    }
    let run = Run::new(GATEWAY, home).args(["--tls-cert", good]).args(UNWATCHED).output();
    run.exits(2).says(&["there is no port for the certificate of --tls-cert", "--tls-listen"]);
}

#[test]
fn only_clients_with_a_certificate_of_the_ca_are_served_as_the_user_in_it() {
    let scene = Scene::with(echo_server(), |authority| {
        let ca = authority.home.write("clients.pem", &authority.pem);
        let users = authority.home.write("users", "alice.laptop alice\n");
        let ca = ["--tls-client-ca", ca.to_str().unwrap(), "--tls-user-map", users.to_str().unwrap()];
        [&ca[..], &["--max-tunnels-per-user", "1"]].concat().into_iter().map(str::to_owned).collect()
    });
    let [alice, bob] = [(7, "alice.laptop"), (8, "bob")].map(|(serial, name)| scene.authority.issue(serial, name, &[]));
    let refused = scene.openssl(&[], connect_request(ID).as_bytes());
    refused.check_fails().says(&["alert number 116"]);
    let (home, ca) = (Home::new(), scene.authority.file.to_str().unwrap());
    let proxy = format!("https://localhost:{}", scene.tls.port());
    let helper =
        Run::new(HELPER, &home).args(["--no-disconnect", "--proxy", &proxy, "--ca-file", ca, ID, "22"]).output();
    helper.check_fails().says(&["it wants a certificate of the client", "`--client-cert FILE`"]);
    let open = |own: &Issued| -> io::Result<Secured> {
        let mut client = scene.authority.connect(scene.tls, Some(own))?;
        client.write_all(connect_request(ID).as_bytes())?;
        Ok(client)
    };
    let mut first = open(&alice).unwrap();
    first.hears(YES);
    assert!(open(&alice).unwrap().rest().unwrap().starts_with(b"HTTP/1.1 503 "));
    // No user, so no share of one.
    let mut strangers = [open(&bob).unwrap(), open(&bob).unwrap()];
    strangers.iter_mut().for_each(|client| client.hears(YES));
    let users: Vec<_> = scene.sessions().as_array().unwrap().iter().map(|session| session["user"].clone()).collect();
    assert_eq!(users, [json!("alice"), Value::Null, Value::Null]);
    let opened = audit(&scene.gateway, "opened", 3);
    assert_eq!((&opened[0]["user"], &opened[1]["user"]), (&json!("alice"), &Value::Null));

    let revoked = scene.authority.pem.clone() + &scene.authority.revoke(&[alice.serial]);
    scene.authority.home.write("clients.pem", revoked);
    scene.authority.home.write("users", "alice.laptop alice\nbob robert\n");
    scene.gateway.process.signal(Signal::HUP);
    scene.says("the new certificates are in force");
    let mut refused = open(&alice).unwrap();
    assert!(refused.rest().unwrap_err().to_string().contains("CertificateRevoked"));
    // A tunnel that is open stays open.
    first.write_all(b"ping").unwrap();
    first.hears(b"ping");
    let mut robert = open(&bob).unwrap();
    robert.hears(YES);
    assert_eq!(audit(&scene.gateway, "opened", 4)[3]["user"], "robert");
    strangers.into_iter().chain([first, robert]).for_each(Secured::close);
    scene.awaits("tunnels", 0.0);
    scene.vps.finish();
}

/// The settings `client_cert` and `client_key`, and the flags.
#[test]
fn the_helper_and_the_command_log_in_with_a_certificate() {
    let clients = Authority::new();
    let office = Office::with(|port, options| {
        let options = [options, &["--tls-client-ca", clients.file.to_str().unwrap()]].concat();
        Gateway::before_and(port, &options)
    });
    let alice = clients.issue(7, "alice", &[]);
    let certificate = clients.home.write("alice.pem", alice.certificate());
    let key = clients.home.secret("alice.key", &alice.key);
    let home = office.home("localhost", &json!({ "client_cert": certificate, "client_key": key }));
    let nothing = office.home("localhost", &json!({}));
    let flags = ["--client-cert", certificate.to_str().unwrap(), "--client-key", key.to_str().unwrap()];
    for mode in Mode::BOTH {
        for (home, words) in [(&home, &[][..]), (&nothing, &flags)] {
            let run = office.ssh(home, mode, words).arg("cat; exit 23").stdin("in");
            run.output().exits(23).prints("in").says_nothing();
        }
        office.ssh(&nothing, mode, &[]).output().exits(255).says(&["`kohakuriver config set client_cert FILE`"]);
    }
    let opened = audit(&office.gateway, "opened", 4);
    assert!(opened.iter().all(|line| line["user"] == "alice" && line["transport"] == "tls"), "{opened:?}");
    let listed = office.kohakuriver(&home, &["vps", "list"]).output();
    listed.succeeds().says_nothing().check(listed.text().contains(ID), "the VPS");
    office.kohakuriver(&nothing, &["vps", "list"]).output().exits(1).says(&["it wants a certificate of the client"]);
}

#[test]
fn without_a_map_the_name_is_the_user() {
    let scene = Scene::with(echo_server(), |authority| {
        ["--tls-client-ca", authority.file.to_str().unwrap()].map(str::to_owned).to_vec()
    });
    let carol = scene.authority.issue(9, "Carol of the lab", &[]);
    let mut client = scene.authority.connect(scene.tls, Some(&carol)).unwrap();
    client.write_all(connect_request(ID).as_bytes()).unwrap();
    client.hears(YES);
    assert_eq!(scene.sessions()[0]["user"], "Carol of the lab");
    // No ticket stands for a certificate.
    client.write_all(b"ping").unwrap();
    client.hears(b"ping");
    assert_eq!(client.session.tls13_tickets_received(), 0);
    client.close();
    scene.vps.finish();
}

#[test]
fn the_header_of_a_proxy_comes_before_tls() {
    let scene = Scene::with(echo_server(), |_| vec!["--proxy-protocol".to_owned()]);
    let mut socket = TcpStream::connect(scene.tls).unwrap();
    socket.write_all(&proxy_header([10, 0, 0, 9])).unwrap();
    let mut client = scene.authority.connect_on(socket, None).unwrap();
    client.write_all(connect_request(ID).as_bytes()).unwrap();
    client.hears(YES);
    assert_eq!(scene.sessions()[0]["client"], "10.0.0.9:40000");
    assert_eq!(client.session.tls13_tickets_received(), 1);
    client.close();
    // Without the header there is no handshake.
    assert!(scene.authority.connect(scene.tls, None).is_err());
    scene.awaits("handshakes", 0.0);
    assert_eq!(scene.refused("proxy-header"), 1.0);
    scene.vps.finish();
}

#[test]
fn a_hand_over_keeps_tunnels_and_a_stop_waits_for_them() {
    let scene = Scene::with(echo_server(), |_| ["--drain-timeout", "3600"].map(str::to_owned).to_vec());
    let mut old = scene.tunnel(b"");
    scene.gateway.process.signal(Signal::USR2);
    scene.says("handed over to process ");
    let mut new = scene.tunnel(b"");
    for tunnel in [&mut old, &mut new] {
        tunnel.write_all(b"ping").unwrap();
        tunnel.hears(b"ping");
    }
    until("both are listed", || scene.sessions().as_array().unwrap().len() == 2);
    assert!(scene.sessions().as_array().unwrap().iter().all(|session| session["transport"] == "tls"));
    old.close();
    new.close();
    scene.awaits("tunnels", 0.0);
    scene.vps.finish();

    let scene = Scene::with(echo_server(), |_| ["--drain-timeout", "3600"].map(str::to_owned).to_vec());
    let mut tunnel = scene.tunnel(b"");
    scene.gateway.process.signal(Signal::TERM);
    scene.says("waiting up to 3600 s for 1 tunnel");
    assert!(TcpStream::connect(scene.tls).is_err(), "it still listens");
    tunnel.write_all(b"ping").unwrap();
    tunnel.hears(b"ping");
    // A second order cuts it off: the client must not take that for an end that the VPS has made.
    scene.gateway.process.signal(Signal::TERM);
    assert!(tunnel.rest().is_err());
    scene.gateway.process.finish().succeeds();
}

#[test]
fn a_socket_that_is_passed_as_tls_speaks_tls() {
    let authority = Authority::new();
    let file = authority.home.secret("gateway.pem", &authority.server(1).pem);
    let inventory = authority.home.write("inventory.json", inventory(&[]).to_string());
    let run = |options: &[&str]| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let launch = format!("export LISTEN_FDNAMES=tls; {}", crate::support::tunnels::LAUNCH);
        let run = Run::new("sh", &authority.home).args(["-c", &launch, "sh", GATEWAY]).args(UNWATCHED);
        let run = run.args(["--api-listen", "127.0.0.1:0", "--inventory"]).arg(&inventory).args(options);
        (run.stdin_from(listener).start(), address)
    };
    let (gateway, address) = run(&["--tls-cert", file.to_str().unwrap()]);
    assert_eq!(gateway.stderr_line("listening with TLS on "), address.to_string());
    authority.connect(address, None).unwrap();
    gateway.signal(Signal::TERM);
    gateway.finish().succeeds();
    let (gateway, _) = run(&[]);
    gateway.finish().exits(2).says(&["cannot use the sockets named `tls`", "--tls-cert"]);
}

#[test]
fn a_client_without_a_place_gets_an_alert() {
    let options = |_: &Authority| ["--max-handshakes", "1"].map(str::to_owned).to_vec();
    let scene = Scene::with(echo_server(), options);
    let mut first = TcpStream::connect(scene.tls).unwrap();
    first.set_read_timeout(Some(PEER_TIMEOUT)).unwrap();
    until("the first has its place", || scene.metric("handshakes") == 1.0);
    // The first has sent nothing, so it makes room.
    let second = scene.tunnel(b"");
    let mut alert = Vec::new();
    first.read_to_end(&mut alert).unwrap();
    assert_eq!(alert, [0x15, 3, 3, 0, 2, 2, 80]);
    second.close();
    scene.vps.finish();
}
