//! The sessions of several gateways: each of them, behind a real HAProxy, tells the same about all, to users and to admins;
//! and what a gateway in their midst can spoil that is down, slow or lies.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::certificates::{Authority, Secured};
use crate::support::gateway::{Gateway, running};
use crate::support::haproxy::Haproxy;
use crate::support::home::Home;
use crate::support::host_api::{ADMIN, ASSIGNED, OWNER, host_api};
use crate::support::peers::{Peer, Served, echo_server, read_head};
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::sshd::free_port;
use crate::support::tools::CLI;
use crate::support::tunnels::{echoes, opens, users_request, users_tunnel};
use crate::support::watched::{ADMIN_TOKEN, curl, curl_as};

/// A second, and what a loaded machine takes beyond it.
const SOON: Duration = Duration::from_secs(4);

/// A Host, and a user's home.
struct Site {
    home: Home,
    host: Peer,
    token: PathBuf,
    _vps: Peer,
}

impl Site {
    fn new() -> Self {
        let (home, vps) = (Home::new(), echo_server());
        let mut owned = running(ID, vps.address.port());
        owned["owner_username"] = json!("owner1");
        let token = home.secret("admin-token", ADMIN_TOKEN);
        Self { host: host_api(vec![owned]), home, token, _vps: vps }
    }

    /// A gateway of this name on this port, which knows these others.
    fn gateway(&self, name: &str, port: u16, peers: &[SocketAddr], options: &[&str]) -> Gateway {
        let (listen, peers) = (format!("127.0.0.1:{port}"), peers.iter().map(ToString::to_string).collect::<Vec<_>>());
        let peers = peers.join(",");
        let known = ["--listen", &listen, "--gateway-name", name, "--peers", &peers];
        Gateway::with_host_api_and(&format!("http://{}", self.host.address), &[&known[..], options].concat())
    }

    /// Two gateways that know each other, called gw1 and gw2.
    fn two(&self, options: &[&str]) -> [Gateway; 2] {
        let ports = [free_port(), free_port()];
        let at = |at: usize| SocketAddr::from(([127, 0, 0, 1], ports[at]));
        [self.gateway("gw1", ports[0], &[at(1)], options), self.gateway("gw2", ports[1], &[at(0)], options)]
    }

    /// A gateway with this admin's token, beside one that `lies`.
    fn beside(&self, lies: &Peer) -> Gateway {
        self.gateway("gw1", free_port(), &[lies.address], &["--admin-token-file", self.token.to_str().unwrap()])
    }

    fn ask(&self, address: SocketAddr, path: &str, token: &str, args: &[&str]) -> (u16, Value) {
        curl_as(Some(token), &self.home, &format!("http://{address}{path}"), args)
    }

    /// `vps sessions` of this user at this port for tunnels.
    fn cli(&self, address: SocketAddr, token: &str, args: &[&str]) -> Run {
        let run = Run::new(CLI, &self.home).args(["vps", "sessions"]).args(args);
        run.on_host(self.host.address.port()).through(address.port()).env("KOHAKURIVER_TOKEN", token)
    }
}

/// The rows as `--end` names them, in order.
fn named(list: &Value) -> Vec<String> {
    let name = |row: &Value| format!("{}/{}", row["gateway"].as_str().unwrap(), row["id"]);
    let mut names: Vec<_> = list.as_array().unwrap().iter().map(name).collect();
    names.sort();
    names
}

fn admins(site: &Site, gateway: &Gateway, path: &str) -> Value {
    serde_json::from_str(&curl(&site.home, gateway.admin, path, &[]).text()).unwrap()
}

#[test]
fn every_gateway_behind_haproxy_tells_a_user_the_same_and_ends_any_own_session() {
    let site = Site::new();
    let token = ["--admin-token-file", site.token.to_str().unwrap()];
    for (options, server_options) in
        [(token.to_vec(), ""), ([&token[..], &["--proxy-protocol"]].concat(), "send-proxy-v2"), (vec![], "")]
    {
        let gateways = site.two(&options);
        let haproxy = Haproxy::before(&gateways, server_options);
        // By turns: two for each gateway.
        let mut tunnels = [OWNER, OWNER, ASSIGNED, ASSIGNED].map(|token| users_tunnel(haproxy.address, ID, token));
        for _ in 0..4 {
            let (status, listed) = site.ask(haproxy.address, "/sessions", OWNER, &[]);
            assert_eq!((status, named(&listed)), (200, vec!["gw1/1".to_owned(), "gw2/1".to_owned()]), "{listed}");
            assert!(listed.as_array().unwrap().iter().all(|row| row["user"] == "owner1"), "{listed}");
            let (_, all) = site.ask(haproxy.address, "/sessions?all&gateways", ADMIN, &[]);
            assert_eq!(named(&all["sessions"]), ["gw1/1", "gw1/2", "gw2/1", "gw2/2"], "{all}");
            let told: Vec<_> = all["gateways"].as_array().unwrap().iter().map(|told| told.get("error")).collect();
            assert_eq!(told, [None, None]);
        }
        // A gateway that another one asks tells about itself.
        let (_, here) = site.ask(haproxy.address, "/sessions?here", OWNER, &[]);
        assert_eq!(here.as_array().unwrap().len(), 1);
        // The command names them, wants the gateway where the number is not enough, and ends the right one.
        let command = |args: &[&str]| site.cli(haproxy.address, OWNER, args).output();
        let table = command(&[]).text();
        assert!(table.contains("\ngw1/1  owner1") && table.contains("\ngw2/1  owner1"), "{table}");
        let ambiguous = command(&["--end", "1", "--yes"]);
        ambiguous.exits(1).says(&["several gateways have one of this number: gw", "--end gw"]);
        for id in ["gw1/2", "gw2/2", "gw3/1", "gw1/99"] {
            assert_eq!(site.ask(haproxy.address, &format!("/sessions/{id}"), OWNER, &["-X", "DELETE"]).0, 404, "{id}");
        }
        for id in ["gw1/1", "gw2/1"] {
            // Whichever gateway HAProxy chooses for each of its two requests.
            command(&["--end", id, "--yes"]).succeeds().check_stderr(&format!("ended session {id}\n"));
        }
        let alive = tunnels.iter_mut().map(|tunnel| echoes(tunnel).is_ok()).collect::<Vec<_>>();
        assert_eq!(alive, [false, false, true, true]);
        command(&[]).succeeds().check_stderr("no open sessions\n");
    }
}

#[test]
fn an_admin_sees_and_ends_the_sessions_of_all_gateways_with_one_token_for_them() {
    let site = Site::new();
    for proxied in [&[][..], &["--proxy-protocol"]] {
        let gateways = site.two(&[&["--admin-token-file", site.token.to_str().unwrap()], proxied].concat());
        let [first, second] = &gateways;
        let header = |stream: &mut TcpStream| {
            if !proxied.is_empty() {
                stream.write_all(&crate::support::tunnels::proxy_header([127, 0, 0, 9])).unwrap();
            }
        };
        let tunnel = |gateway: &Gateway, token: &str| {
            let mut stream = TcpStream::connect(gateway.address).unwrap();
            header(&mut stream);
            stream.write_all(users_request(ID, token).as_bytes()).unwrap();
            opens(stream).unwrap()
        };
        let mut tunnels = [tunnel(first, OWNER), tunnel(second, ASSIGNED)];
        for gateway in &gateways {
            assert_eq!(named(&admins(&site, gateway, "/sessions")), ["gw1/1", "gw2/1"]);
        }
        let run = Run::new(CLI, &site.home).args(["vps", "sessions", "--admin", &first.admin.to_string()]);
        let table = run.output().succeeds().text();
        assert!(table.contains("\ngw1/1  owner1") && table.contains("\ngw2/1  assigned1"), "{table}");
        let end = |id: &str| {
            let run = Run::new(CLI, &site.home).args(["vps", "sessions", "--admin", &first.admin.to_string()]);
            run.args(["--end", id, "--admin-token-file"]).arg(&site.token).output()
        };
        end("gw2/2").exits(1).says(&["the gateway has no such session"]);
        end("gw2/1").succeeds().check_stderr("ended session gw2/1\n");
        assert!(echoes(&mut tunnels[1]).is_err());
        echoes(&mut tunnels[0]).unwrap();
        // Without a gateway's name, it is one of the gateway that is asked.
        end("1").succeeds();
        assert!(echoes(&mut tunnels[0]).is_err());
    }
}

/// Each has a token of its own, or none.
#[test]
fn without_one_admin_token_a_gateway_lists_its_own_sessions_and_says_so() {
    let site = Site::new();
    let other = site.home.secret("another-token", "0123456789abcdef-another");
    let token = |path: &PathBuf| ["--admin-token-file".to_owned(), path.to_str().unwrap().to_owned()];
    for (tokens, why) in [
        ([vec![], vec![]], "this gateway was started without --admin-token-file"),
        ([token(&site.token).to_vec(), vec![]], "this gateway has no --admin-token-file"),
        ([token(&site.token).to_vec(), token(&other).to_vec()], "have different tokens in their --admin-token-file"),
    ] {
        let ports = [free_port(), free_port()];
        let at = |at: usize| SocketAddr::from(([127, 0, 0, 1], ports[at]));
        let options =
            tokens.map(|options| options.iter().map(|option| option.clone().leak() as &str).collect::<Vec<_>>());
        let first = site.gateway("gw1", ports[0], &[at(1)], &options[0]);
        let second = site.gateway("gw2", ports[1], &[at(0)], &options[1]);
        let _tunnels = (users_tunnel(first.address, ID, OWNER), users_tunnel(second.address, ID, OWNER));
        assert_eq!(named(&admins(&site, &first, "/sessions")), ["gw1/1"]);
        let told = admins(&site, &first, "/sessions?gateways");
        assert_eq!(told["gateways"][0], json!({ "name": "gw1", "sessions": 1 }));
        assert!(told["gateways"][1]["error"].as_str().unwrap().contains(why), "{why}: {told}");
        let run = Run::new(CLI, &site.home).args(["vps", "sessions", "--admin", &first.admin.to_string()]);
        run.output().succeeds().says(&["sessions of a gateway are missing: 127.0.0.1:", why]);
        // Users have their own tokens.
        assert_eq!(named(&site.ask(first.address, "/sessions", OWNER, &[]).1), ["gw1/1", "gw2/1"]);
    }
}

/// The second gateway has no certificate of the user's, and learns from the first one who that is.
#[test]
fn the_user_of_a_certificate_sees_the_sessions_of_all_gateways() {
    let (vps, authority) = (echo_server(), Authority::new());
    let home = Home::new();
    let token = home.secret("admin-token", ADMIN_TOKEN);
    let server = authority.home.secret("gateway.pem", &authority.server(1).pem);
    let alice = authority.issue(2, "alice", &[]);
    let ports = [free_port(), free_port()];
    let gateways = [0, 1].map(|at| {
        let (own, other) = (format!("127.0.0.1:{}", ports[at]), format!("127.0.0.1:{}", ports[1 - at]));
        let options = ["--listen", &own, "--peers", &other, "--admin-token-file", token.to_str().unwrap()];
        let tls = ["--tls-listen", "127.0.0.1:0", "--tls-cert", server.to_str().unwrap(), "--tls-client-ca"];
        let options = [&options[..], &tls, &[authority.file.to_str().unwrap()]].concat();
        let gateway = Gateway::before_and(vps.address.port(), &options);
        let tls: SocketAddr = gateway.process.stderr_line("listening with TLS on ").parse().unwrap();
        (gateway, tls)
    });
    let connect = |address, request: &str| {
        let mut client: Secured = authority.connect(address, Some(&alice)).unwrap();
        client.write_all(format!("{request} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
        client
    };
    let tunnels = gateways.each_ref().map(|(_, tls)| {
        let mut tunnel = connect(*tls, &format!("CONNECT {ID}:22"));
        tunnel.hears(b"HTTP/1.1 200 Connection established\r\n\r\n");
        tunnel
    });
    let _nobodys = users_tunnel(gateways[0].0.address, ID, OWNER);
    for (_, tls) in &gateways {
        let answer = String::from_utf8(connect(*tls, "GET /sessions").rest().unwrap()).unwrap();
        let listed: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert!(listed.as_array().unwrap().iter().all(|row| row["user"] == "alice"), "{listed}");
        let mut names: Vec<_> = listed.as_array().unwrap().iter().map(|row| row["gateway"].clone()).collect();
        names.dedup();
        // Two gateways of one machine are told apart by their ports.
        assert_eq!(names.len(), 2, "{listed}");
    }
    tunnels.into_iter().for_each(Secured::close);
}

/// A row of a gateway that lies.
fn row(changes: &Value) -> Value {
    let mut row = json!({
        "id": 7, "gateway": "gw1", "user": "owner1", "client": "10.0.0.9:51234", "transport": "tls",
        "protocol": "connect", "task_id": ID, "name": "x", "node": "node1", "opened": "2026-11-23T12:05:53.532Z",
        "seconds": 61, "bytes_up": 3, "bytes_down": 5,
    });
    row.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    row
}

fn list(name: &str, rows: &[Value]) -> Vec<u8> {
    let body = json!({ "gateways": [{ "name": name, "sessions": 1 }], "sessions": rows }).to_string();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn liar(answer: impl Fn(&mut TcpStream) -> Served + Send + Sync + 'static) -> Peer {
    Peer::serve(move |mut stream| {
        read_head(&mut stream)?;
        answer(&mut stream)
    })
}

fn says(answer: Vec<u8>) -> Peer {
    // It is cut off in the midst of a long one.
    liar(move |stream| stream.write_all(&answer).or(Ok(())))
}

/// A peer that is down, slow or lies costs its own rows. The others' come within about a second.
#[test]
fn a_gateway_that_lies_hides_no_other_and_shows_nothing_of_others() {
    let site = Site::new();
    let endless = [&b"HTTP/1.1 200 OK\r\n\r\n{\"sessions\":["[..], &vec![b' '; 100 << 20]].concat();
    let silent = liar(|stream| {
        std::io::copy(stream, &mut std::io::sink())?;
        Ok(())
    });
    let drip = liar(|stream| {
        // One byte a time, for as long as anybody listens: each wait is far below the limit.
        stream.set_read_timeout(Some(Duration::from_millis(50)))?;
        while stream.write_all(b"H").is_ok() {
            let _ = stream.read(&mut [0]);
        }
        Ok(())
    });
    for (peer, error, rows) in [
        (silent, "it gave no answer within 1 s", 0),
        (drip, "it gave no answer within 1 s", 0),
        (says(Vec::new()), "ended the connection", 0),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()), "its head is not HTTP", 0),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec()), "it is no list of sessions", 0),
        (says(endless), "its answer is longer than", 0),
        (says(list("gw2", &[row(&json!({ "user": "assigned1" }))])), "1 of its 1 sessions can't be used", 0),
        (says(list("gw2", &[row(&json!({ "client": "\u{1b}[2J" }))])), "1 of its 1 sessions can't be used", 0),
        (says(list("gw2", &[json!(7), row(&json!({})), row(&json!({}))])), "2 of its 3 sessions can't be used", 1),
        (says(list("gw1", &[row(&json!({}))])), "another gateway is called gw1, too", 1),
        (says(list("\u{1b}]0;x", &[row(&json!({}))])), "it is no list of sessions", 0),
    ] {
        let gateway = site.beside(&peer);
        let mut own = users_tunnel(gateway.address, ID, OWNER);
        let begun = Instant::now();
        let (status, listed) = site.ask(gateway.address, "/sessions?gateways", OWNER, &[]);
        assert!(begun.elapsed() < SOON, "{error}: after {:?}", begun.elapsed());
        assert_eq!(status, 200);
        let told = &listed["gateways"][1];
        assert!(told["error"].as_str().is_some_and(|said| said.contains(error)), "{error}: {listed}");
        assert_eq!((&told["sessions"], listed["sessions"].as_array().unwrap().len()), (&json!(rows), 1 + rows));
        let own_rows = listed["sessions"].as_array().unwrap().iter().filter(|row| row["gateway"] == "gw1").count();
        assert_eq!(own_rows, 1, "a row passes for another gateway's: {listed}");
        // The command shows the same, and no escape sequence.
        let shown = site.cli(gateway.address, OWNER, &[]).output();
        shown.succeeds().says(&["sessions of a gateway are missing: ", error]);
        assert!(!format!("{}{}", shown.text(), shown.stderr).contains('\x1b'), "{shown}");
        // Nor does the admin wait for it, and no lie ends a session of this gateway.
        assert!(admins(&site, &gateway, "/sessions?gateways")["gateways"][0]["sessions"] == 1);
        echoes(&mut own).unwrap();
        drop((own, gateway));
        peer.finish();
    }
}

#[test]
fn a_gateway_that_is_down_is_named_and_its_sessions_can_not_be_ended() {
    let site = Site::new();
    let down = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = down.local_addr().unwrap();
    drop(down);
    let options = ["--admin-token-file", site.token.to_str().unwrap()];
    let gateway = site.gateway("gw1", free_port(), &[address], &options);
    let _own = users_tunnel(gateway.address, ID, OWNER);
    let (_, listed) = site.ask(gateway.address, "/sessions?gateways", OWNER, &[]);
    assert_eq!(listed["gateways"][1]["name"], address.to_string());
    assert_eq!(named(&listed["sessions"]), ["gw1/1"]);
    let (status, body) = site.ask(gateway.address, "/sessions/gw2/1", OWNER, &["-X", "DELETE"]);
    let detail = body["detail"].as_str().unwrap();
    assert!(status == 502 && detail.contains("gave no answer") && detail.contains(&address.to_string()), "{body}");
    let ended = site.cli(gateway.address, OWNER, &["--end", "gw2/1", "--yes"]).output();
    ended.exits(1).says(&["cannot end session gw2/1", &address.to_string()]);
}

/// Somebody on the way between two gateways, or in the place of one, learns no admin's token.
#[test]
fn another_gateway_gets_a_proof_and_no_admin_token() {
    let site = Site::new();
    let (sender, heard) = std::sync::mpsc::channel();
    let peer = Peer::serve(move |mut stream| {
        sender.send(read_head(&mut stream)?)?;
        Ok(stream.write_all(&list("gw2", &[]))?)
    });
    let gateway = site.beside(&peer);
    admins(&site, &gateway, "/sessions");
    let first = heard.recv().unwrap();
    assert!(first.starts_with("GET /sessions?here&gateways&all HTTP/1.1\r\n"), "{first}");
    assert!(first.contains("\r\nAuthorization: KohakuRiver-Gateway time="), "{first}");
    assert!(!first.contains(ADMIN_TOKEN) && !first.contains("Bearer"), "{first}");
    // The proof that was heard ends no session at a gateway: it is good for a list only.
    let proof = first.lines().find_map(|line| line.strip_prefix("Authorization: ")).unwrap();
    let mut own = users_tunnel(gateway.address, ID, OWNER);
    let asked = |line: &str, authorization: &str| {
        let request = format!("{line} HTTP/1.1\r\nAuthorization: {authorization}\r\n\r\n");
        crate::support::tunnels::asked_of(gateway.address, &request)
    };
    assert!(asked("GET /sessions?here&gateways&all", proof).starts_with("HTTP/1.1 200 "));
    for line in ["DELETE /sessions/1", "DELETE /sessions/gw1/1?here&all", "GET /sessions?all"] {
        let answer = asked(line, proof);
        assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("have different tokens"), "{line}: {answer}");
    }
    // The admin's token itself is none on this port, where it would cross the network as it is.
    assert!(asked("GET /sessions?all", &format!("Bearer {ADMIN_TOKEN}")).starts_with("HTTP/1.1 401 "));
    echoes(&mut own).unwrap();
    peer.finish();
}
