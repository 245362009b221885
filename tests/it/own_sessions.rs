//! Users and their own sessions: asked of the gateway's port for tunnels, by stock clients and by `vps sessions`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::certificates::{Authority, NAME};
use crate::support::gateway::{Gateway, NODE, name_of, running, successor};
use crate::support::home::Home;
use crate::support::host_api::{ADMIN, ASSIGNED, OPERATOR, OWNER, VIEWER, host_api, plain_host_api};
use crate::support::office::{Office, url};
use crate::support::older_host::OlderHost;
use crate::support::peers::{Peer, echo_server, http_server, read_head};
use crate::support::resumable::Session;
use crate::support::run::{Outcome, Run};
use crate::support::scene::{ID, Mode};
use crate::support::terminal::Terminal;
use crate::support::tools::{CLI, tool};
use crate::support::tunnels::{echoes, users_tunnel};
use crate::support::watched::{audit, curl, curl_as, metric};

/// A Host with users, a gateway before it, and a VPS that says back what it hears.
struct Scene {
    home: Home,
    host: Peer,
    gateway: Gateway,
    _vps: Peer,
}

impl Scene {
    fn new(options: &[&str]) -> Self {
        let vps = echo_server();
        let host = host_api(vec![owned(vps.address.port())]);
        let gateway = Gateway::with_host_api_and(&format!("http://{}", host.address), options);
        Self { home: Home::new(), host, gateway, _vps: vps }
    }

    /// An open tunnel of the user with this token.
    fn tunnel(&self, token: &str) -> TcpStream {
        users_tunnel(self.gateway.address, ID, token)
    }

    /// `curl` on the port for tunnels, as this user; prints the status behind the body.
    fn curl(&self, path: &str, token: Option<&str>, args: &[&str]) -> (u16, Value) {
        curl_as(token, &self.home, &format!("http://{}{path}", self.gateway.address), args)
    }

    /// `vps sessions` as this user.
    fn cli(&self, token: Option<&str>, args: &[&str]) -> Run {
        let run = Run::new(CLI, &self.home).args(["vps", "sessions"]).args(args);
        let run = run.on_host(self.host.address.port()).through(self.gateway.address.port());
        token.into_iter().fold(run, |run, token| run.env("KOHAKURIVER_TOKEN", token))
    }
}

fn owned(port: u16) -> Value {
    let mut vps = running(ID, port);
    vps["owner_username"] = json!("owner1");
    vps
}

fn ids(list: &Value) -> Vec<u64> {
    list.as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()).collect()
}

const DELETE: [&str; 2] = ["-X", "DELETE"];

#[test]
fn each_user_sees_and_ends_own_tunnels_and_an_admin_of_the_host_sees_all() {
    let scene = Scene::new(&[]);
    let mut owners = scene.tunnel(OWNER);
    let mut assigned = scene.tunnel(ASSIGNED);
    let (status, listed) = scene.curl("/sessions", Some(OWNER), &[]);
    assert_eq!((status, listed.as_array().unwrap().len()), (200, 1));
    let row = &listed[0];
    assert_eq!((&row["user"], &row["task_id"], &row["node"]), (&json!("owner1"), &json!(ID), &json!(NODE)));
    assert_eq!((&row["id"], &row["name"]), (&json!(1), &json!(name_of(ID))));
    assert_eq!(row["client"], owners.local_addr().unwrap().to_string());
    // The same row as the admin's.
    let admins: Value = serde_json::from_str(&curl(&scene.home, scene.gateway.admin, "/sessions", &[]).text()).unwrap();
    let keys = |row: &Value| row.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(row), keys(&admins[0]));
    assert_eq!(ids(&scene.curl("/sessions", Some(ASSIGNED), &[]).1), [2]);
    for nobody in [OPERATOR, VIEWER] {
        assert_eq!(scene.curl("/sessions", Some(nobody), &[]), (200, json!([])));
    }

    // Everybody's are an admin's.
    for other in [OWNER, OPERATOR, VIEWER] {
        let (status, refused) = scene.curl("/sessions?all", Some(other), &[]);
        assert_eq!((status, &refused["detail"]), (403, &json!("only an admin of the Host sees everybody's sessions")));
        assert_eq!(scene.curl("/sessions/1?all", Some(other), &DELETE).0, 403);
    }
    assert_eq!(ids(&scene.curl("/sessions?all", Some(ADMIN), &[]).1), [1, 2]);
    assert_eq!(scene.curl("/sessions", Some(ADMIN), &[]), (200, json!([])));

    // Another's, none, and what is no number have one answer.
    let answers: Vec<_> =
        ["2", "99", "x", "", "+1"].map(|id| scene.curl(&format!("/sessions/{id}"), Some(OWNER), &DELETE)).into();
    assert!(answers.iter().all(|answer| *answer == answers[0] && answer.0 == 404), "{answers:?}");
    echoes(&mut assigned).unwrap();
    assert_eq!(scene.curl("/sessions/1", Some(OWNER), &DELETE).0, 204);
    assert!(echoes(&mut owners).is_err());
    assert_eq!(audit(&scene.gateway, "closed", 1)[0]["reason"], "ended-by-user");
    assert_eq!(scene.curl("/sessions/2?all", Some(ADMIN), &DELETE).0, 204);
    assert!(echoes(&mut assigned).is_err());
    assert_eq!(audit(&scene.gateway, "closed", 2)[1]["reason"], "ended-by-admin");

    let page = curl(&scene.home, scene.gateway.admin, "/metrics", &[]).text();
    assert_eq!(metric(&page, "tunnels_closed_total{ending=\"ended-by-user\"}"), 1.0);
    assert_eq!(metric(&page, "session_requests_total{code=\"204\"}"), 2.0);
    assert_eq!(metric(&page, "session_requests_total{code=\"404\"}"), 5.0);
    // None of these was a request for a tunnel.
    assert!(audit(&scene.gateway, "refused", 0).is_empty());
}

#[test]
fn without_a_token_or_as_a_web_page_nobody_gets_anything() {
    let scene = Scene::new(&[]);
    let mut owners = scene.tunnel(OWNER);
    for token in [None, Some("0123456789abcdef-unknown")] {
        for (path, args) in [("/sessions", &[][..]), ("/sessions?all", &[]), ("/sessions/1", &DELETE)] {
            let (status, body) = scene.curl(path, token, args);
            assert_eq!(status, 401, "{path}: {body}");
        }
    }
    let head = |args: &[&str]| {
        let run = Run::new(tool("curl"), &scene.home).args(["-sSi", "--noproxy", "*"]).args(args);
        run.arg(format!("http://{}/sessions", scene.gateway.address)).output().text()
    };
    let wanted = head(&[]);
    assert!(wanted.contains("\r\nWWW-Authenticate: Bearer realm=\"kohakuriver\"\r\n"), "{wanted}");
    assert!(wanted.contains("\r\nConnection: close\r\n"), "{wanted}");
    // A browser's script gets no answer that it may read, and can't even ask with a token: its preflight is refused.
    for args in [&["-H", "Origin: http://evil.example"][..], &["-X", "OPTIONS", "-H", "Origin: http://evil.example"]] {
        let page = head(args);
        assert!(page.starts_with("HTTP/1.1 403 ") && !page.to_lowercase().contains("access-control"), "{page}");
    }
    assert!(head(&["-X", "POST", "-d", ""]).starts_with("HTTP/1.1 405 "));
    assert!(head(&["-X", "DELETE"]).contains("\r\nAllow: GET\r\n"));
    // A password is as good as Bearer for stock clients, and a token in the wrong field is none.
    let as_password = head(&["-u", &format!("x:{OWNER}")]);
    assert!(as_password.contains("\"owner1\""), "{as_password}");
    assert!(head(&["-H", &format!("Proxy-Authorization: Bearer {OWNER}")]).starts_with("HTTP/1.1 401 "));
    echoes(&mut owners).unwrap();
}

#[test]
fn without_users_no_session_is_anybodys_own() {
    let vps = echo_server();
    let host = plain_host_api(vec![running(ID, vps.address.port())]);
    let home = Home::new();
    let with_host = Gateway::with_host_api(&format!("http://{}", host.address));
    let stand_alone = Gateway::before(vps.address.port());
    for gateway in [with_host, stand_alone] {
        let _tunnel = users_tunnel(gateway.address, ID, OWNER);
        for (path, args) in [("/sessions", &[][..]), ("/sessions?all", &[]), ("/sessions/1", &DELETE)] {
            let (status, body) = curl_as(Some(OWNER), &home, &format!("http://{}{path}", gateway.address), args);
            assert_eq!(status, 403, "{path}: {body}");
            assert!(body["hint"].as_str().unwrap().contains("--admin address"), "{body}");
        }
        let run = Run::new(CLI, &home).args(["vps", "sessions"]).env("KOHAKURIVER_HOST", "127.0.0.1");
        let outcome = run.through(gateway.address.port()).output();
        outcome.exits(1).prints_nothing();
        outcome.fails_with("kohakuriver", "cannot list the sessions", "--admin localhost:8003");
        outcome.says(&["the Host has no users, so no session here is anybody's own"]);
    }
}

/// The name in a client's certificate is the user where the Host has none.
#[test]
fn over_tls_the_certificate_names_the_user() {
    let (vps, authority) = (echo_server(), Authority::new());
    let server = authority.home.secret("gateway.pem", &authority.server(1).pem);
    let tls = ["--tls-listen", "127.0.0.1:0", "--tls-cert", server.to_str().unwrap(), "--tls-client-ca"];
    let options = [&tls[..], &[authority.file.to_str().unwrap()]].concat();
    let gateway = Gateway::before_and(vps.address.port(), &options);
    let address: SocketAddr = gateway.process.stderr_line("listening with TLS on ").parse().unwrap();
    let of = |user: &str, serial| authority.issue(serial, user, &[]);
    let (alice, bob) = (of("alice", 2), of("bob", 3));
    let mut tunnel = authority.connect(address, Some(&alice)).unwrap();
    tunnel.write_all(format!("CONNECT {ID}:22 HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
    tunnel.hears(b"HTTP/1.1 200 Connection established\r\n\r\n");
    let asked = |own, request: &str| {
        let mut client = authority.connect(address, Some(own)).unwrap();
        client.write_all(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        String::from_utf8(client.rest().unwrap()).unwrap()
    };
    assert!(asked(&alice, "GET /sessions").contains("\"user\":\"alice\""));
    assert!(asked(&bob, "GET /sessions").ends_with("\r\n\r\n[]"));
    assert!(asked(&bob, "DELETE /sessions/1").starts_with("HTTP/1.1 404 "));
    assert!(asked(&alice, "DELETE /sessions/1").starts_with("HTTP/1.1 204 "));
    assert!(tunnel.read_to_end(&mut Vec::new()).map_or(true, |rest| rest == 0));
}

/// On a TLS port with `--api-proxy`, paths are the Host API's, but for this one.
#[test]
fn beside_the_host_api_on_one_port_the_path_is_the_gateways() {
    let (vps, authority) = (echo_server(), Authority::new());
    let host = host_api(vec![owned(vps.address.port())]);
    let server = authority.home.secret("gateway.pem", &authority.server(1).pem);
    let options = ["--tls-listen", "127.0.0.1:0", "--tls-cert", server.to_str().unwrap(), "--api-proxy"];
    let gateway = Gateway::with_host_api_and(&format!("http://{}", host.address), &options);
    let address: SocketAddr = gateway.process.stderr_line("listening with TLS on ").parse().unwrap();
    let home = Home::new();
    let url = |path: &str| format!("https://localhost:{}{path}", address.port());
    let ca = ["--cacert", authority.file.to_str().unwrap()];
    let _tunnel = users_tunnel(gateway.address, ID, OWNER);
    let (status, listed) = curl_as(Some(OWNER), &home, &url("/sessions"), &ca);
    assert_eq!((status, ids(&listed)), (200, vec![1]));
    let (status, me) = curl_as(Some(OWNER), &home, &url("/api/auth/me"), &ca);
    assert_eq!((status, &me["username"]), (200, &json!("owner1")));
    assert_eq!(curl_as(Some(OWNER), &home, &url("/sessionsx"), &ca).0, 404);

    // And so does our own command, whose cluster is an https:// one.
    let run = Run::new(CLI, &home).arg("--ca-file").arg(&authority.file).args(["vps", "sessions", "--json"]);
    let outcome = run.env("KOHAKURIVER_TOKEN", OWNER).env("KOHAKURIVER_HOST", url("")).output();
    outcome.succeeds();
    assert_eq!(ids(&serde_json::from_str(&outcome.text()).unwrap()), [1]);
}

#[test]
fn tunnels_of_the_process_before_are_listed_and_ended() {
    let scene = Scene::new(&[]);
    let (mut owners, mut assigned) = (scene.tunnel(OWNER), scene.tunnel(ASSIGNED));
    scene.gateway.process.signal(Signal::USR2);
    successor(&scene.gateway.process, 1);
    let mut newer = scene.tunnel(OWNER);
    let (_, listed) = scene.curl("/sessions", Some(OWNER), &[]);
    let listed_ids = ids(&listed);
    assert_eq!((listed_ids.len(), listed_ids[0]), (2, 1), "{listed}");
    assert_eq!(listed[0]["gateway"], listed[1]["gateway"]);
    assert_eq!(scene.curl("/sessions/1", Some(ASSIGNED), &DELETE).0, 404);
    assert_eq!(scene.curl("/sessions/1", Some(OWNER), &DELETE).0, 204);
    assert!(echoes(&mut owners).is_err());
    assert_eq!(audit(&scene.gateway, "closed", 1)[0]["reason"], "ended-by-user");
    for other in [&mut assigned, &mut newer] {
        echoes(other).unwrap();
    }
}

/// A helper is told who has ended its tunnel.
#[test]
fn a_resumable_tunnel_ends_with_the_reason() {
    let scene = Scene::new(&[]);
    let session = Session::open(scene.gateway.address, &format!("{ID}:22"), Some(OWNER));
    let mut stream = session.continued(1, 0);
    let (_, listed) = scene.curl("/sessions", Some(OWNER), &[]);
    assert_eq!(listed[0]["moves"], 1);
    assert_eq!(scene.curl("/sessions/1", Some(OWNER), &DELETE).0, 204);
    // The frame RESET with its reason.
    let mut end = Vec::new();
    stream.read_to_end(&mut end).unwrap();
    assert!(end.ends_with(&[4, 0, 0, 1, 9]), "{end:?}");
}

#[test]
fn a_client_that_is_not_served_hears_nothing_of_sessions() {
    let scene = Scene::new(&["--allow", "10.0.0.0/8"]);
    for (path, method) in [("/sessions", "GET"), ("/sessions?gateways&all", "GET"), ("/sessions/1", "DELETE")] {
        let (status, answer) = scene.curl(path, Some(ADMIN), &["-X", method]);
        assert_eq!(status, 403, "{method} {path}: {answer}");
    }
}

#[test]
fn the_command_lists_and_ends_ones_own() {
    let scene = Scene::new(&[]);
    scene.cli(Some(OWNER), &[]).output().succeeds().prints_nothing().check_stderr("no open sessions\n");
    let mut owners = scene.tunnel(OWNER);
    let _assigned = scene.tunnel(ASSIGNED);
    let shown = scene.cli(Some(OWNER), &[]).output();
    shown.succeeds().says_nothing();
    let words: Vec<Vec<String>> =
        shown.text().lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
    assert_eq!(words[0], ["ID", "USER", "VPS", "NAME", "SINCE", "UP", "DOWN", "NODE", "CLIENT"]);
    assert_eq!((words.len(), &words[1][..4]), (2, &["1", "owner1", ID, &name_of(ID)].map(str::to_owned)[..]));
    let json = scene.cli(Some(OWNER), &["--json"]).output();
    assert_eq!(ids(&serde_json::from_str(&json.text()).unwrap()), [1]);
    let all = scene.cli(Some(ADMIN), &["--all", "--json"]).output();
    assert_eq!(ids(&serde_json::from_str(&all.text()).unwrap()), [1, 2]);
    // By name: the Host is asked which VPS that is.
    scene.cli(Some(OWNER), &[&name_of(ID), "--json"]).output().succeeds();

    scene.cli(Some(OWNER), &["--end", "2", "--yes"]).output().exits(1).fails_with(
        "kohakuriver",
        "cannot end session 2",
        "vps sessions",
    );
    let unknown = scene.cli(Some(ADMIN), &["--all", "--end", "9", "--yes"]).output();
    unknown.exits(1).fails_with("kohakuriver", "cannot end session 9", "`kohakuriver vps sessions --all`");
    let unasked = scene.cli(Some(OWNER), &["--end", "1"]).output();
    unasked.exits(2).says(&["confirmation is required", "--yes"]);
    echoes(&mut owners).unwrap();
    // So is an admin on a terminal.
    let command = format!("{CLI} vps sessions --admin {} --end 1", scene.gateway.admin);
    let mut terminal = Terminal::start(on_script(&scene, &command));
    terminal.sees(&format!("End session 1 on VPS {} ({ID}), open for ", name_of(ID)));
    terminal.types("n\r");
    terminal.finish().exits(1);
    echoes(&mut owners).unwrap();
    for (answer, code) in [("n\r", 1), ("y\r", 0)] {
        let command = format!("{CLI} vps sessions --end 1");
        let mut terminal = Terminal::start(on_script(&scene, &command));
        terminal.sees(&format!("End session 1 on VPS {} ({ID}), open for ", name_of(ID)));
        terminal.types(answer);
        let outcome = terminal.finish();
        outcome.exits(code);
        outcome.check(
            outcome.text().contains(if code == 0 { "ended session 1" } else { "nothing was done" }),
            "what was done",
        );
    }
    assert!(echoes(&mut owners).is_err());
}

/// A terminal with this command, as the owner of the VPS.
fn on_script(scene: &Scene, command: &str) -> Run {
    let run = Run::new(tool("script"), &scene.home).args(["-qec", command, "/dev/null"]).stdin_open();
    run.on_host(scene.host.address.port()).through(scene.gateway.address.port()).env("KOHAKURIVER_TOKEN", OWNER)
}

#[test]
fn the_command_says_what_helps() {
    let scene = Scene::new(&[]);
    let fails = |outcome: &Outcome, cause: &str, hint: &str| {
        outcome.exits(1).prints_nothing().fails_with("kohakuriver", "cannot list the sessions", hint);
        outcome.says(&[cause]);
    };
    fails(&scene.cli(None, &[]).output(), "you are not logged in", "kohakuriver auth login");
    let unknown = scene.cli(Some("0123456789abcdef-unknown"), &[]).output();
    fails(&unknown, "the Host does not know your token", "correct KOHAKURIVER_TOKEN");
    let user = scene.cli(Some(OWNER), &["--all"]).output();
    fails(&user, "only an admin of the Host sees everybody's sessions", "leave `--all` out");

    let at = |address: SocketAddr| {
        let run = Run::new(CLI, &scene.home).args(["vps", "sessions"]).env("KOHAKURIVER_HOST", "127.0.0.1");
        run.through(address.port()).env("KOHAKURIVER_TOKEN", OWNER).output()
    };
    // The gateway before this version, a Host API, and a proxy that is no gateway.
    let refused =
        json!({ "title": "the request is not valid", "status": 400, "detail": "an SSH proxy takes CONNECT, not GET" });
    for (status, kind, body) in [
        (400, "application/problem+json", refused.to_string()),
        (404, "application/json", json!({ "detail": "Not Found" }).to_string()),
        (405, "text/html", "<html>".to_owned()),
        (200, "text/html", "<html>".to_owned()),
    ] {
        let server = http_server(move |_| (status, kind, body.clone()));
        fails(&at(server.address), "does not list sessions: it is no gateway, or of an older version", "--admin");
        server.finish();
    }
    let older = Peer::serve(|mut stream| {
        read_head(&mut stream)?;
        Ok(stream.write_all(b"ERROR Invalid request format.\n")?)
    });
    fails(&at(older.address), "it is no gateway, or of an older version", "--admin localhost:8003");
    older.finish();
}

/// A real Host of the older generation: its own proxy has no such list.
#[test]
fn an_older_host_has_no_list() {
    let host = OlderHost::start(&[]);
    let home = Home::new();
    let run = Run::new(CLI, &home).args(["vps", "sessions"]).env("KOHAKURIVER_HOST", "127.0.0.1");
    let outcome = run.through(host.proxy.port()).output();
    outcome.exits(1).prints_nothing().fails_with("kohakuriver", "cannot list the sessions", "--admin localhost:8003");
    outcome.says(&["it is no gateway, or of an older version"]);
}

/// The list of several clusters is one table, and one that can't be asked hides no other.
#[test]
fn the_sessions_of_all_clusters_are_one_list() {
    let (work, lab) = (Scene::new(&[]), Scene::new(&[]));
    let cluster = |scene: &Scene| json!({ "host": "127.0.0.1", "port": scene.host.address.port(), "ssh_proxy_port": scene.gateway.address.port() });
    let mut config = cluster(&work);
    config["clusters"] = json!({ "lab": cluster(&lab) });
    let tokens = json!({ "tokens": {
        format!("http://127.0.0.1:{}", work.host.address.port()): { "token": OWNER },
        format!("http://127.0.0.1:{}", lab.host.address.port()): { "token": ASSIGNED },
    } });
    let home = Home::new();
    home.write(".config/kohakuriver/config.json", config.to_string());
    home.secret(".kohakuriver/tokens.json", &tokens.to_string());
    let _tunnels = (work.tunnel(OWNER), work.tunnel(ASSIGNED), lab.tunnel(ASSIGNED));
    let sessions = |args: &[&str]| Run::new(CLI, &home).args(["vps", "sessions", "--all-clusters"]).args(args).output();
    let json = sessions(&["--json"]);
    json.succeeds().says_nothing();
    let rows: Value = serde_json::from_str(&json.text()).unwrap();
    let of = |at: usize| (rows[at]["cluster"].as_str().unwrap(), rows[at]["user"].as_str().unwrap());
    assert_eq!((rows.as_array().unwrap().len(), of(0), of(1)), (2, ("default", "owner1"), ("lab", "assigned1")));
    let table = sessions(&[]).text();
    assert!(table.starts_with("CLUSTER  ID ") && table.contains("\nlab  "), "{table}");

    config["clusters"]["lab"]["ssh_proxy_port"] = json!(1);
    home.write(".config/kohakuriver/config.json", config.to_string());
    let half = sessions(&["--json"]);
    half.exits(1).says(&["cannot list the sessions", "127.0.0.1:1"]);
    assert_eq!(serde_json::from_str::<Value>(&half.text()).unwrap()[0]["cluster"], "default");
}

/// A real ssh from an office to a gateway with TLS, and the list of sessions goes the same way: through a real squid that
/// wants a login.
#[test]
fn the_command_goes_through_the_proxy_of_an_office_as_ssh_does() {
    let mut host = None;
    let office = Office::with(|port, options| {
        let api = host.insert(host_api(vec![owned(port)]));
        Gateway::with_host_api_and(&format!("http://{}", api.address), options)
    });
    let squid = office.squid();
    let home = office.home(NAME, &json!({ "upstream_proxy": url("http", &squid) }));
    let server = office.named(NAME);
    let as_owner = |run: Run| run.env("KOHAKURIVER_HOST", &server).env("KOHAKURIVER_TOKEN", OWNER);
    let mut ssh = as_owner(office.ssh(&home, Mode::Stdio, &[]).arg("echo in; cat")).stdin_open().start();
    ssh.wait_for_all_of("in\n");
    let sessions = |args: &[&str]| as_owner(office.kohakuriver(&home, &[&["vps", "sessions"], args].concat())).output();
    let listed = sessions(&["--json"]);
    listed.succeeds().says_nothing();
    let listed: Value = serde_json::from_str(&listed.text()).unwrap();
    assert_eq!((ids(&listed), &listed[0]["user"], &listed[0]["transport"]), (vec![1], &json!("owner1"), &json!("tls")));
    sessions(&["--end", "1", "-y"]).succeeds().prints_nothing().check_stderr("ended session 1\n");
    ssh.stdin.take();
    let ended = ssh.finish();
    ended.exits(255).says(&["its user has ended the session"]);

    let closed = office.home(NAME, &json!({ "upstream_proxy": format!("http://{}", squid.address) }));
    let refused = as_owner(office.kohakuriver(&closed, &["vps", "sessions"])).output();
    let what = format!("the upstream proxy at {} wants a login", squid.address);
    refused.exits(1).prints_nothing().fails_with("kohakuriver", &what, "put user and password into");
}
