//! Each limit of the gateway by itself: its default, its flag, what happens to a client beyond it, and its metrics.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use rustix::process::{Resource, getrlimit};

use crate::support::gateway::{Gateway, inventory, running};
use crate::support::home::Home;
use crate::support::host_api::{ASSIGNED, OPERATOR, OWNER, host_api};
use crate::support::peers::{PEER_TIMEOUT, echo_server};
use crate::support::scene::ID;
use crate::support::tunnels::{asked_of, connect_from, echoes};
use crate::support::watched::{curl, metric};

/// A client: the last part of its address, and its token.
type Client = (u8, &'static str);

/// A limit.
struct Row {
    /// The name of the limit in the metrics.
    limit: &'static str,
    default: Default,
    /// Its flag, and how little of it is tried.
    flag: &'static str,
    set: u16,
    beyond: Beyond,
}

enum Default {
    Number(f64),
    /// A part of another limit.
    Part(&'static str, f64),
}

/// Three clients, the last of them beyond a limit of 2, and a client to which the limit doesn't apply.
type Clients = ([Client; 3], Option<Client>);

/// The gateway's reaction to a client beyond the limit.
enum Beyond {
    /// The client is refused with this text.
    Refused(Clients, &'static str),
    /// The oldest client is dropped.
    OldestDropped(Clients),
    /// The limit applies to each request by itself. This request is refused with this text.
    RequestRefused(fn() -> String, &'static str),
}

/// Different ones, of different addresses; of one address; of one user.
const ALL_DIFFER: Clients = ([(1, OWNER), (2, OPERATOR), (3, ASSIGNED)], None);
const OF_ONE_ADDRESS: Clients = ([(1, OWNER), (1, OPERATOR), (1, ASSIGNED)], Some((2, OWNER)));
const OF_ONE_USER: Clients = ([(1, OWNER), (2, OWNER), (3, OWNER)], Some((1, OPERATOR)));

const ROWS: [Row; 8] = [
    Row {
        limit: "tunnels",
        default: Default::Number(4096.0),
        flag: "--max-tunnels",
        set: 2,
        beyond: Beyond::Refused(ALL_DIFFER, "it carries no more than 2 tunnels in all at once"),
    },
    Row {
        limit: "tunnels-per-client",
        default: Default::Part("tunnels", 2.0),
        flag: "--max-tunnels-per-client",
        set: 2,
        beyond: Beyond::Refused(OF_ONE_ADDRESS, "it carries no more than 2 tunnels for your address at once"),
    },
    Row {
        limit: "tunnels-per-user",
        default: Default::Part("tunnels", 4.0),
        flag: "--max-tunnels-per-user",
        set: 2,
        beyond: Beyond::Refused(OF_ONE_USER, "it carries no more than 2 tunnels for you at once"),
    },
    Row {
        limit: "handshakes",
        default: Default::Number(1024.0),
        flag: "--max-handshakes",
        set: 2,
        beyond: Beyond::OldestDropped(ALL_DIFFER),
    },
    Row {
        limit: "handshakes-per-client",
        default: Default::Part("handshakes", 2.0),
        flag: "--max-handshakes-per-client",
        set: 2,
        beyond: Beyond::OldestDropped(OF_ONE_ADDRESS),
    },
    Row {
        limit: "head-seconds",
        default: Default::Number(10.0),
        flag: "--head-timeout",
        set: 1,
        beyond: Beyond::RequestRefused(|| "CONNECT 5:22 HTTP/1.1\r\n".to_owned(), "longer than 1 s"),
    },
    Row {
        limit: "head-bytes",
        default: Default::Number(16_384.0),
        flag: "--max-head-bytes",
        set: 1024,
        beyond: Beyond::RequestRefused(|| head(&format!("A: {}\r\n", "b".repeat(1024))), "longer than 1024 bytes"),
    },
    Row {
        limit: "head-fields",
        default: Default::Number(100.0),
        flag: "--max-head-fields",
        set: 10,
        beyond: Beyond::RequestRefused(|| head(&"A: b\r\n".repeat(11)), "more than 10 fields"),
    },
];

/// The limits of parked tunnels, and their defaults: `resume_limits` meets them.
const PARKED: [(&str, f64); 2] = [("parked-per-user", 32.0), ("replay-bytes", 268_435_456.0)];

/// A request with these fields.
fn head(fields: &str) -> String {
    format!("CONNECT 5:22 HTTP/1.1\r\n{fields}\r\n")
}

/// As many open files as the defaults take, and some more.
const ENOUGH_FILES: u64 = 16_384;

fn page(gateway: &Gateway) -> String {
    curl(&Home::new(), gateway.admin, "/metrics", &[]).text()
}

fn of(page: &str, name: &str, limit: &str) -> f64 {
    metric(page, &format!("{name}{{limit=\"{limit}\"}}"))
}

#[test]
fn each_limit_has_a_row_and_a_default() {
    let page = page(&Gateway::with_inventory(&inventory(&[])));
    let shown = page.lines().filter_map(|line| line.strip_prefix("kohakuriver_gateway_limit{limit=\""));
    let shown: Vec<_> = shown.filter_map(|rest| Some(rest.split_once('"')?.0)).collect();
    assert_eq!(shown, [&ROWS.map(|row| row.limit)[..], &PARKED.map(|(limit, _)| limit)].concat());
    for (limit, most) in PARKED {
        assert_eq!(of(&page, "limit", limit), most, "{limit}");
    }
    let enough = getrlimit(Resource::Nofile).maximum.is_none_or(|files| files >= ENOUGH_FILES);
    for Row { limit, default, .. } in ROWS {
        let most = of(&page, "limit", limit);
        match default {
            Default::Number(number) if enough => assert_eq!(most, number, "{limit}"),
            // Less where the system doesn't allow as many open files.
            Default::Number(number) => assert!((1.0..=number).contains(&most), "{limit}: {most}"),
            Default::Part(whole, part) => assert_eq!(most, (of(&page, "limit", whole) / part).floor(), "{limit}"),
        }
    }
}

#[test]
fn each_limit_is_set_kept_and_counted() {
    let echo = echo_server();
    let api = host_api(vec![running(ID, echo.address.port())]);
    for row in ROWS {
        let set = row.set.to_string();
        // The default would drop a silent client before this test gives up.
        let patient = ["--head-timeout", "300"].into_iter().filter(|_| row.flag != "--head-timeout");
        let options: Vec<_> = [row.flag, &set].into_iter().chain(patient).collect();
        let gateway = Gateway::with_host_api_and(&format!("http://{}", api.address), &options);
        match row.beyond {
            Beyond::Refused(clients, why) => {
                refuses(&gateway, &row, clients, why);
                is_told(&gateway, &row);
            }
            Beyond::OldestDropped(clients) => {
                drops_the_oldest(&gateway, &row, clients);
                is_told(&gateway, &row);
            }
            Beyond::RequestRefused(request, why) => {
                let answer = asked_of(gateway.address, &request());
                assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(why), "{}: {answer}", row.limit);
                met_once(&page(&gateway), &row);
            }
        }
    }
}

/// The admin hears which option it is, who fills it, and what helps.
fn is_told(gateway: &Gateway, row: &Row) {
    let (what, hint) = (format!("{} allows {}", row.flag, row.set), format!("raise {} above {}", row.flag, row.set));
    gateway.process.wait_for("a warning", PEER_TIMEOUT, |seen| {
        let log = String::from_utf8_lossy(&seen.stderr);
        let warning = log.lines().find(|line| line.contains(" WARN ") && line.contains(&what))?;
        (warning.contains(&hint) && (warning.contains("127.0.0.") || warning.contains("the user "))).then_some(())
    });
}

/// The limit was met once, and no other was.
fn met_once(page: &str, row: &Row) {
    assert_eq!(of(page, "limit", row.limit), f64::from(row.set), "{}", row.limit);
    for Row { limit, .. } in ROWS {
        let expected = if limit == row.limit { 1.0 } else { 0.0 };
        assert_eq!(of(page, "limit_met_total", limit), expected, "{limit} when {} is met", row.limit);
    }
}

/// All of it is used, and was met once.
fn is_used_up(gateway: &Gateway, row: &Row) {
    let page = page(gateway);
    assert_eq!(of(&page, "limit_used", row.limit), f64::from(row.set), "{}", row.limit);
    met_once(&page, row);
}

fn refuses(gateway: &Gateway, row: &Row, (clients, other): Clients, why: &str) {
    let ask = |client| asks(gateway.address, client);
    let [first, second, third] = clients.map(ask);
    let mut open = vec![first, second];
    assert!(third.1.starts_with("HTTP/1.1 503 ") && third.1.contains("\r\nRetry-After: "), "{}", third.1);
    assert!(third.1.contains(why), "{}", third.1);
    is_used_up(gateway, row);
    open.extend(other.map(ask));
    for (tunnel, answer) in &mut open {
        assert!(answer.starts_with("HTTP/1.1 200 "), "{}: {answer}", row.limit);
        echoes(tunnel).unwrap();
    }
}

/// Asks for a tunnel. Returns a refusal as a whole, and of an acceptance only the head.
fn asks(gateway: SocketAddr, (from, token): Client) -> (TcpStream, String) {
    let mut stream = connect_from([127, 0, 0, from], gateway);
    stream.set_read_timeout(Some(PEER_TIMEOUT)).unwrap();
    let request = format!("CONNECT {ID}:22 HTTP/1.1\r\nProxy-Authorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while !(answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"\r\n\r\n"))
        && stream.read(&mut byte).unwrap() > 0
    {
        answer.extend(byte);
    }
    (stream, String::from_utf8(answer).unwrap())
}

fn drops_the_oldest(gateway: &Gateway, row: &Row, (clients, other): Clients) {
    let silent = |(from, _): Client| connect_from([127, 0, 0, from], gateway.address);
    let mut counted = 0.0;
    let [mut first, second] = [clients[0], clients[1]].map(|client| {
        let stream = silent(client);
        // The order of the clients is known once the gateway has counted the first one.
        counted += 1.0;
        let start = Instant::now();
        while of(&page(gateway), "limit_used", row.limit) < counted {
            assert!(start.elapsed() < PEER_TIMEOUT, "{}: {counted} are not counted", row.limit);
        }
        stream
    });
    let third = silent(clients[2]);
    first.set_read_timeout(Some(PEER_TIMEOUT)).unwrap();
    // An end or a reset, although its time is not over.
    if let Err(error) = first.read_to_end(&mut Vec::new()) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{}: the oldest stays", row.limit);
    }
    is_used_up(gateway, row);
    let other = other.map(silent);
    let stay: Vec<_> = [second, third].into_iter().chain(other).collect();
    for mut stream in stay {
        stream.set_nonblocking(true).unwrap();
        let silence = stream.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(silence, Err(ErrorKind::WouldBlock), "{}: somebody else is dropped", row.limit);
    }
}
