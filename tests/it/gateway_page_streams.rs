//! The gateway's page without a browser: its answers, who gets them, and what many readers of its events do to others.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::host_api::host_api;
use crate::support::run::DEADLINE;
use crate::support::scene::ID;
use crate::support::tunnels::{echo_tunnel, echoes};
use crate::support::watched::{ADMIN_TOKEN, Watched, ask, connect, curl, send};

/// Most streams of events at once.
const STREAMS: usize = 32;
/// Longer than an answer takes that waits for nobody.
const AT_ONCE: Duration = Duration::from_secs(4);

/// A connection that has asked for `path`.
fn asks(admin: SocketAddr, path: &str) -> TcpStream {
    send(admin, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

fn status_line(stream: TcpStream) -> (String, BufReader<TcpStream>) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    (line, reader)
}

/// The next event of this name.
fn event(stream: &mut impl BufRead, name: &str) -> Value {
    let end = Instant::now() + DEADLINE;
    let mut line = String::new();
    loop {
        assert!(Instant::now() < end, "no event `{name}`");
        line.clear();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0, "the stream has ended");
        if line.trim_end() == format!("event: {name}") {
            line.clear();
            stream.read_line(&mut line).unwrap();
            return serde_json::from_str(line.strip_prefix("data: ").unwrap()).unwrap();
        }
    }
}

#[test]
fn two_hundred_readers_of_events_delay_nobody() {
    let scene = Watched::new(&[]);
    let admin = scene.gateway.admin;
    // None of them reads.
    let opened: Vec<_> = (0..200).map(|_| asks(admin, "/events")).collect();
    for path in ["/metrics", "/healthz", "/status", "/"] {
        let asked = Instant::now();
        let (line, _) = status_line(asks(admin, path));
        assert!(line.starts_with("HTTP/1.1 200 ") && asked.elapsed() < AT_ONCE, "{path}: {line} {:?}", asked.elapsed());
    }
    let asked = Instant::now();
    let mut tunnel = echo_tunnel(scene.gateway.address, ID).unwrap();
    assert!(asked.elapsed() < AT_ONCE);
    let (mut streams, mut refused) = (Vec::new(), 0);
    for stream in opened {
        let (line, mut reader) = status_line(stream);
        if line.starts_with("HTTP/1.1 200 ") {
            streams.push(reader);
            continue;
        }
        // One that made room for others before it was answered has no line at all.
        let mut answer = String::new();
        drop(reader.read_to_string(&mut answer));
        assert!(
            line.is_empty() || line.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nretry-after: 30\r\n"),
            "{line}{answer}"
        );
        refused += 1;
    }
    assert_eq!((streams.len(), refused), (STREAMS, 200 - STREAMS));
    // Each of those that it serves goes on, and hears of the tunnel.
    for stream in &mut streams {
        let mut change = event(stream, "change");
        while change["changed"].as_array().unwrap().is_empty() {
            change = event(stream, "change");
        }
        assert_eq!((&change["changed"][0]["task_id"], &change["gone"]), (&json!(ID), &json!([])));
    }
    echoes(&mut tunnel).unwrap();
    // Streams that leave make room for others.
    drop(streams);
    let end = Instant::now() + DEADLINE;
    while !status_line(asks(admin, "/events")).0.starts_with("HTTP/1.1 200 ") {
        assert!(Instant::now() < end, "no stream has ended");
    }
}

#[test]
fn events_say_what_changes_and_the_status_says_all() {
    let vps = crate::support::peers::echo_server();
    let api = host_api(vec![crate::support::gateway::running(ID, vps.address.port())]);
    let gateway = Gateway::with_host_api(&format!("http://{}", api.address));
    let (line, mut events) = status_line(asks(gateway.admin, "/events"));
    assert!(line.starts_with("HTTP/1.1 200 "));
    let whole = event(&mut events, "status");
    assert_eq!((&whole["sessions"], &whole["ending_takes"]), (&json!([]), &Value::Null));
    let token = crate::support::host_api::OWNER;
    let request = format!("CONNECT {ID}:22 HTTP/1.1\r\nProxy-Authorization: Bearer {token}\r\n\r\n");
    let mut tunnel = crate::support::watched::tunnel(&gateway, &request, crate::support::watched::YES);
    let mut change = event(&mut events, "change");
    while change["changed"] == json!([]) {
        change = event(&mut events, "change");
    }
    let row = change["changed"][0].as_object().unwrap().clone();
    assert_eq!(
        (&row["user"], &row["name"], &row["bytes_up_per_second"]),
        (&json!("owner1"), &json!("vps-8192"), &json!(0))
    );
    // Only what is new.
    tunnel.write_all(&[b'x'; 5000]).unwrap();
    tunnel.read_exact(&mut [0; 5000]).unwrap();
    let rows = loop {
        let change = event(&mut events, "change");
        if change["changed"] != json!([]) {
            break change["changed"].clone();
        }
    };
    assert_eq!((&rows[0]["id"], &rows[0]["bytes_up"], rows[0].get("user")), (&json!(1), &json!(5000), None));
    let rate = rows[0]["bytes_up_per_second"].as_u64().unwrap();
    assert!((500..=5000).contains(&rate), "{rate} bytes per second");
    assert!(ask(&gateway, connect(&format!("{ID}:22"))).starts_with("HTTP/1.1 407 "));

    let home = Home::new();
    let status: Value = serde_json::from_str(&curl(&home, gateway.admin, "/status", &[]).text()).unwrap();
    assert_eq!((&status["version"], &status["tunnels"]["open"]), (&json!(env!("CARGO_PKG_VERSION")), &json!(1)));
    assert_eq!((&status["host_api"]["source"], &status["host_api"]["reachable"]), (&json!("host"), &json!(true)));
    assert_eq!(status["sessions"][0]["bytes_down"], 5000);
    assert_eq!((&status["hour"]["opened"], &status["hour"]["bytes_up"]), (&json!(1), &json!(5000)));
    let refusal = loop {
        // A state counts for a second.
        let status: Value = serde_json::from_str(&curl(&home, gateway.admin, "/status", &[]).text()).unwrap();
        if let Some(refusal) = status["refusals"].get(0) {
            break refusal.clone();
        }
    };
    assert_eq!(
        (&refusal["reason"], &refusal["client"], &refusal["count"]),
        (&json!("token-needed"), &json!("127.0.0.1"), &json!(1))
    );
    let limit = status["limits"].as_array().unwrap().iter().find(|limit| limit["limit"] == "page-streams").unwrap();
    assert_eq!((&limit["used"], &limit["most"]), (&json!(1), &json!(STREAMS)));
    let all = curl(&home, gateway.admin, "/status", &[]).text() + &curl(&home, gateway.admin, "/", &[]).text();
    assert!(!all.contains(token), "a token is shown");

    drop(tunnel);
    let gone = loop {
        let change = event(&mut events, "change");
        if change["gone"] != json!([]) {
            break change["gone"].clone();
        }
    };
    assert_eq!((&gone[0]["id"], gone[0]["gateway"].is_string()), (&json!(1), true));
    // The Host goes, and the page says why.
    api.finish();
    let end = Instant::now() + DEADLINE;
    loop {
        let state = event(&mut events, "change")["parts"]["state"].as_str().map(str::to_owned);
        if state.is_some_and(|state| state.contains("not reachable") && state.contains("Connection refused")) {
            break;
        }
        assert!(Instant::now() < end, "the page still says that the Host answers");
    }
}

/// The page's own requests are answered, and those of pages of others are not.
#[test]
fn the_page_is_for_itself_alone() {
    let scene = Watched::new(&[]);
    let admin = scene.gateway.admin;
    let field = |name: &str, value: &str| ["-H".to_owned(), format!("{name}: {value}")];
    let code = |path: &str, method: &str, fields: &[[String; 2]]| {
        let fields = fields.iter().flatten().map(String::as_str);
        let args: Vec<_> = ["-o", "/dev/null", "-w", "%{http_code}", "-X", method].into_iter().chain(fields).collect();
        scene.curl(path, &args).text()
    };
    let own = field("Origin", &format!("http://{admin}"));
    let other = field("Origin", "http://127.0.0.1:9");
    let bearer = field("Authorization", &format!("Bearer {ADMIN_TOKEN}"));
    let from = |site: &str, mode: &str, destination: &str| {
        [field("Sec-Fetch-Site", site), field("Sec-Fetch-Mode", mode), field("Sec-Fetch-Dest", destination)]
    };
    let _tunnel = echo_tunnel(scene.gateway.address, ID).unwrap();
    assert_eq!(code("/sessions/1", "DELETE", &[bearer.clone(), other]), "403");
    assert_eq!(
        code("/sessions/1", "DELETE", &[bearer.clone(), own.clone(), field("Sec-Fetch-Site", "cross-site")]),
        "403"
    );
    assert_eq!(code("/sessions/1", "DELETE", std::slice::from_ref(&own)), "401");
    assert_eq!(code("/sessions/1", "DELETE", &[bearer, own, field("Sec-Fetch-Site", "same-origin")]), "204");
    for path in ["/", "/status", "/page.json", "/page.js", "/page.css", "/sessions", "/metrics"] {
        assert_eq!(code(path, "GET", &from("same-origin", "cors", "empty")), "200", "{path}");
        assert_eq!(code(path, "GET", &from("cross-site", "no-cors", "script")), "403", "{path}");
        assert_eq!(code(path, "GET", &from("cross-site", "navigate", "document")), "200", "{path}");
        assert_eq!(code(path, "GET", &from("cross-site", "navigate", "iframe")), "403", "{path}");
        assert_eq!(code(path, "POST", &[]), "405", "{path}");
    }
    assert_eq!(code("/events", "GET", &from("cross-site", "no-cors", "empty")), "403");

    let head = scene.curl("/", &["-I"]).text().to_lowercase();
    let length = scene.curl("/", &[]).text().len();
    assert!(head.starts_with("http/1.1 200 ") && head.contains("content-type: text/html; charset=utf-8\r\n"), "{head}");
    assert!(head.contains("content-length: ") && length > 5000, "{head}");
    for path in ["/", "/status", "/nothing"] {
        let fields = scene.curl(path, &["-i"]).text().to_lowercase();
        for field in [
            "content-security-policy: default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
             img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'\r\n",
            "x-content-type-options: nosniff\r\n",
            "x-frame-options: deny\r\n",
            "referrer-policy: no-referrer\r\n",
            "cross-origin-resource-policy: same-origin\r\n",
            "cache-control: no-store\r\n",
        ] {
            assert!(fields.contains(field), "{field} in {fields}");
        }
    }
    let nothing = scene.curl("/nothing", &["-i"]).text();
    assert!(nothing.starts_with("HTTP/1.1 404 ") && nothing.contains("there are /, /status, "), "{nothing}");
}
