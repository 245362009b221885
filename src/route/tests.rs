//! Connections through proxies of every kind, and what is said of those that fail.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::StreamOwned;

use super::*;
use crate::handshake::connect;
use crate::settings::{Pins, Source, UpstreamProxy};
use crate::tls::tests::Authority;

const LIMIT: Duration = Duration::from_secs(20);
const OK: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
/// The answer of a test's origin to a request, with the first bytes of an sshd behind it.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\n\r\nSSH-2.0-x\r\n";

/// A server of one connection, which `serve` serves. Returns its port.
fn server<T: Send + 'static>(serve: impl FnOnce(TcpStream) -> T + Send + 'static) -> (u16, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        serve(stream)
    });
    (port, served)
}

/// A head of HTTP, read byte by byte: what follows belongs to somebody else.
fn head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Reads until the client is gone, so that nothing of the answer is lost to a reset.
fn until_gone(stream: &mut impl Read) {
    let _ = io::copy(stream, &mut io::sink());
}

/// A proxy that gives `answer` to a CONNECT. Returns the request.
fn proxy(answer: &[u8]) -> (u16, JoinHandle<String>) {
    let answer = answer.to_vec();
    server(move |mut stream| {
        let request = head(&mut stream);
        stream.write_all(&answer).unwrap();
        // The client may have gone already.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        until_gone(&mut stream);
        request
    })
}

fn upstream(url: &str) -> Upstream {
    let proxy: UpstreamProxy = url.parse().unwrap();
    Upstream { proxy, source: Source::Env("HTTPS_PROXY"), auth_command: None }
}

fn route(url: &str) -> Route {
    Route { upstream: Some(upstream(url)), ..Route::default() }
}

fn origin(scheme: Scheme, host: &str, port: u16) -> Origin {
    Origin { scheme, host: host.to_owned(), port }
}

fn connected(origin: &Origin, route: &Route) -> Box<dyn Carrier> {
    connect(origin, route, Watch::at_most(LIMIT)).unwrap_or_else(|error| panic!("{error}"))
}

/// The failure as a user reads it.
fn failed(origin: &Origin, route: &Route, limit: Duration) -> String {
    let error = connect(origin, route, Watch::at_most(limit)).err().expect("connected");
    error.upstream_failure(origin, route.upstream.as_ref()).unwrap_or_else(|| panic!("{error:?}")).render("p")
}

/// Asks the origin behind `carrier`, which answers [`ANSWER`].
fn ask(carrier: &mut dyn Carrier) {
    let request = connect::request("42:22", None, None);
    let (answer, early) = exchange(carrier, &request, connect::read, Watch::at_most(LIMIT)).unwrap();
    assert_eq!(answer, connect::Answer::Established(None));
    assert_eq!(early.is_empty(), carrier.bare_socket().is_some());
}

/// The origin: answers a CONNECT with [`ANSWER`], and returns the request.
fn answer(stream: &mut (impl Read + Write)) -> String {
    let request = head(stream);
    stream.write_all(ANSWER).unwrap();
    stream.flush().unwrap();
    until_gone(stream);
    request
}

#[test]
fn a_plain_chain_is_a_bare_socket_with_every_byte_of_the_origin() {
    let (port, served) = proxy(&[OK, b"early"].concat());
    let gateway = origin(Scheme::Http, "gpu.example", 8002);
    let mut carrier = connected(&gateway, &route(&format!("http://alice:open%20sesame@127.0.0.1:{port}")));
    assert!(carrier.bare_socket().is_some());
    let mut bytes = [0; 100];
    let watch = Watch::at_most(LIMIT);
    watch.wait_for(carrier.bare_socket().unwrap(), crate::sys::PollFlags::IN).unwrap();
    assert_eq!(carrier.receive(&mut bytes).unwrap(), 5);
    assert_eq!(&bytes[..5], b"early");
    drop(carrier);
    let request = served.join().unwrap();
    assert!(request.starts_with("CONNECT gpu.example:8002 HTTP/1.1\r\nHost: gpu.example:8002\r\n"), "{request}");
    assert!(request.ends_with("\r\nProxy-Authorization: Basic YWxpY2U6b3BlbiBzZXNhbWU=\r\n\r\n"), "{request}");
}

#[test]
fn tls_to_the_origin_goes_through_an_http_proxy() {
    let authority = Authority::new();
    let session = authority.server(&["gpu.example"]);
    let (port, served) = server(move |mut stream| {
        let outer = head(&mut stream);
        stream.write_all(OK).unwrap();
        (outer, answer(&mut StreamOwned::new(session, stream)))
    });
    let mut route = route(&format!("127.0.0.1:{port}"));
    route.trust.ca_file = Some(authority.file());
    let mut carrier = connected(&origin(Scheme::Https, "gpu.example", 443), &route);
    ask(&mut carrier);
    drop(carrier);
    let (outer, inner) = served.join().unwrap();
    assert!(outer.starts_with("CONNECT gpu.example:443 ") && !outer.contains("Authorization"), "{outer}");
    assert!(inner.starts_with("CONNECT 42:22 "), "{inner}");
}

#[test]
fn tls_to_the_origin_goes_through_tls_to_the_proxy() {
    let authority = Authority::new();
    let (of_proxy, of_origin) = (authority.server(&["localhost"]), authority.server(&["gpu.example"]));
    let (port, served) = server(move |stream| {
        let mut outer = StreamOwned::new(of_proxy, stream);
        let request = head(&mut outer);
        outer.write_all(OK).unwrap();
        (request, answer(&mut StreamOwned::new(of_origin, outer)))
    });
    let mut route = route(&format!("https://localhost:{port}"));
    route.trust.ca_file = Some(authority.file());
    let mut carrier = connected(&origin(Scheme::Https, "gpu.example", 443), &route);
    ask(&mut carrier);
    drop(carrier);
    let (outer, inner) = served.join().unwrap();
    assert!(outer.starts_with("CONNECT gpu.example:443 ") && inner.starts_with("CONNECT 42:22 "), "{outer}{inner}");
}

#[test]
fn the_pin_of_the_cluster_is_not_for_the_proxy() {
    let authority = Authority::new();
    let issued = authority.issue(&["gpu.example"], |_| {});
    let pin = Pins::of_hash(&crate::tls::hash_of_key(&issued.chain[0]).unwrap());
    let (of_proxy, of_origin) = (authority.server(&["localhost"]), crate::tls::tests::server(issued));
    let (port, served) = server(move |stream| {
        let mut outer = StreamOwned::new(of_proxy, stream);
        head(&mut outer);
        outer.write_all(OK).unwrap();
        answer(&mut StreamOwned::new(of_origin, outer));
    });
    let mut route = route(&format!("https://localhost:{port}"));
    route.trust = Trust { ca_file: Some(authority.file()), pins: Some(pin), ..Trust::default() };
    ask(&mut connected(&origin(Scheme::Https, "gpu.example", 443), &route));
    served.join().unwrap();
}

#[test]
fn a_command_logs_in() {
    let (port, served) = proxy(OK);
    let mut route = route(&format!("http://alice@127.0.0.1:{port}"));
    route.upstream.as_mut().unwrap().auth_command = Some("echo Negotiate YIIsekrit==".to_owned());
    let gateway = origin(Scheme::Http, "gpu.example", 443);
    drop(connected(&gateway, &route));
    assert!(served.join().unwrap().ends_with("\r\nProxy-Authorization: Negotiate YIIsekrit==\r\n\r\n"));

    route.upstream.as_mut().unwrap().auth_command = Some("echo sekrit >&2; exit 3".to_owned());
    let text = failed(&gateway, &route, LIMIT);
    assert!(text.contains("`proxy_auth_command` gave no login") && text.contains("exit status: 3"), "{text}");
    assert!(!text.contains("sekrit"), "{text}");
}

/// A SOCKS5 server that answers each message of the client, whose lengths are given. Returns the messages.
fn socks(dialogue: &[(usize, &[u8])]) -> (u16, JoinHandle<Vec<Vec<u8>>>) {
    let dialogue: Vec<(usize, Vec<u8>)> = dialogue.iter().map(|(length, answer)| (*length, answer.to_vec())).collect();
    server(move |mut stream| {
        let mut heard = Vec::new();
        for (length, answer) in dialogue {
            let mut message = vec![0; length];
            stream.read_exact(&mut message).unwrap();
            heard.push(message);
            stream.write_all(&answer).unwrap();
        }
        // The client may have gone already.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        until_gone(&mut stream);
        heard
    })
}

#[test]
fn socks_leaves_every_byte_of_the_origin_in_a_bare_socket() {
    let reply = b"\x05\0\0\x01\x0a\0\0\x01\xd9\x03early";
    let gateway = origin(Scheme::Http, "gpu.example", 443);
    let (port, served) = socks(&[(4, b"\x05\x02"), (15, b"\x01\0"), (18, reply)]);
    let mut carrier = connected(&gateway, &route(&format!("socks5h://alice:sekrit!@127.0.0.1:{port}")));
    let watch = Watch::at_most(LIMIT);
    watch.wait_for(carrier.bare_socket().unwrap(), crate::sys::PollFlags::IN).unwrap();
    let mut bytes = [0; 100];
    assert_eq!(carrier.receive(&mut bytes).unwrap(), 5);
    drop(carrier);
    let heard = served.join().unwrap();
    assert_eq!(heard[1], b"\x01\x05alice\x07sekrit!");
    assert_eq!(heard[2], b"\x05\x01\0\x03\x0bgpu.example\x01\xbb");

    // Addresses need nobody to resolve them, and socks5:// resolves names here.
    for (scheme, host, message) in [
        ("socks5h", "10.0.0.1", &b"\x05\x01\0\x01\x0a\0\0\x01\x01\xbb"[..]),
        ("socks5", "10.0.0.1", b"\x05\x01\0\x01\x0a\0\0\x01\x01\xbb"),
        ("socks5", "localhost", b"\x05\x01\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb"),
    ] {
        let (port, served) = socks(&[(3, b"\x05\0"), (message.len(), b"\x05\0\0\x01\0\0\0\0\0\0")]);
        drop(connected(&origin(Scheme::Http, host, 443), &route(&format!("{scheme}://127.0.0.1:{port}"))));
        assert_eq!(served.join().unwrap()[1], message);
    }
}

#[test]
fn each_answer_of_an_http_proxy_has_a_message_of_its_own() {
    let unauthorized = "HTTP/1.1 407 Proxy Authentication Required\r\n";
    let basic = format!("{unauthorized}Proxy-Authenticate: Basic realm=\"x\"\r\n\r\n");
    let negotiate = format!("{unauthorized}Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n");
    let ntlm = format!("{unauthorized}Proxy-Authenticate: NTLM\r\n\r\n");
    let page = b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\n\r\n<h1>Filtered by the office</h1>";
    for (user, port, answer, what, more) in [
        (
            "",
            443,
            basic.as_bytes(),
            "wants a login",
            &["it takes Basic", "put user and password into HTTPS_PROXY: http://USER:"][..],
        ),
        ("", 443, unauthorized.as_bytes(), "gave no complete answer", &["in the middle of its answer"]),
        (
            "",
            443,
            negotiate.as_bytes(),
            "wants a login",
            &["it takes Negotiate, NTLM", "config set proxy_auth_command COMMAND"],
        ),
        ("", 443, ntlm.as_bytes(), "wants a login", &["such as cntlm or px"]),
        (
            "alice:sekrit@",
            443,
            basic.as_bytes(),
            "refused the login",
            &["user `alice` and a password were sent", "check user and password in HTTPS_PROXY"],
        ),
        (
            "",
            8002,
            page,
            "refused to connect to gpu.example:8002",
            &["it says: Filtered by the office", "gpu.example:443", "`kohakuriver config set upstream_proxy none`"],
        ),
        ("", 443, page, "refused to connect to gpu.example:443", &["answered 403 Forbidden", "allow gpu.example;"]),
        ("", 443, b"HTTP/1.1 405 Method Not Allowed\r\n\r\n", "refused to connect", &["may be a web server"]),
        (
            "",
            443,
            b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
            "cannot reach gpu.example:443",
            &["answered 503", "`kohakuriver config show`"],
        ),
        // An answer of tinyproxy.
        ("", 443, b"HTTP/1.1 500 Unable to connect\r\n\r\n", "cannot reach gpu.example:443", &[]),
        ("a:b@", 443, b"HTTP/1.1 401 Unauthorized\r\n\r\n", "refused the login", &["answered 401 Unauthorized"]),
        ("", 443, b"<!DOCTYPE html>\r\n<p>x", "is not an HTTP proxy", &["it answered `<!DOCTYPE html>`"]),
        (
            "",
            443,
            b"SSH-2.0-OpenSSH_9.2\r\n",
            "is not an HTTP proxy",
            &["an SSH server answered: `SSH-2.0-OpenSSH_9.2`"],
        ),
        (
            "",
            443,
            b"\x15\x03\x03\0\x02\x02\x32",
            "is not an HTTP proxy",
            &["it speaks TLS", "name it as https://127.0.0.1:"],
        ),
        ("", 443, b"", "gave no complete answer", &["closed the connection without an answer"]),
        ("", 443, b"HTTP/1.1 ", "gave no complete answer", &["in the middle of its answer"]),
        ("", 443, b"HTTP/1.1 \x1b[2J\r\n\r\n", "is not an HTTP proxy", &["can't be read"]),
    ] {
        let (proxy_port, served) = proxy(answer);
        let route = route(&format!("http://{user}127.0.0.1:{proxy_port}"));
        let text = failed(&origin(Scheme::Https, "gpu.example", port), &route, LIMIT);
        served.join().unwrap();
        let first = text.lines().next().unwrap();
        assert!(first.contains(what) && first.contains(&format!("127.0.0.1:{proxy_port}")), "{text}");
        assert!(more.iter().all(|part| text.contains(part)), "{text}\n{more:?}");
        assert!(text.contains("set by HTTPS_PROXY") && text.contains("  hint: ") && !text.contains("sekrit"), "{text}");
    }
}

#[test]
fn each_answer_of_a_socks_proxy_has_a_message_of_its_own() {
    let method: (usize, &[u8]) = (3, b"\x05\0");
    for (dialogue, what, more) in [
        (&[(3, &b"\x05\x02"[..])][..], "wants a login", "it wants user and password"),
        (&[(3, b"\x05\xff")], "wants a login", "another login than was offered"),
        (&[method, (18, b"\x05\x02\0\x01")], "refused to connect to gpu.example:443", "not allowed by its rules (2)"),
        (&[method, (18, b"\x05\x04")], "cannot reach gpu.example:443", "host unreachable (4)"),
        (&[method, (18, b"\x05\x05")], "cannot reach gpu.example:443", "connection refused (5)"),
        (&[method, (18, b"\x05\x07")], "does not open tunnels", "(7)"),
        (&[method, (18, b"\x05\x63")], "cannot reach gpu.example:443", "error 99"),
        (&[(3, b"HTTP/1.1 400 Bad Request\r\n\r\n")], "is not a SOCKS5 proxy", "name it as http://127.0.0.1:"),
        (&[(3, b"\x15\x03\x03\0\x02\x02\x32")], "is not a SOCKS5 proxy", "it speaks TLS"),
        (&[(3, b"SSH-2.0-x\r\n")], "is not a SOCKS5 proxy", "an SSH server answered"),
        (&[(3, b"")], "gave no complete answer", "without an answer"),
        (&[method, (18, b"\x05\0\0")], "gave no complete answer", "in the middle"),
    ] {
        let (port, served) = socks(dialogue);
        let route = route(&format!("socks5h://127.0.0.1:{port}"));
        let text = failed(&origin(Scheme::Http, "gpu.example", 443), &route, LIMIT);
        served.join().unwrap();
        assert!(text.contains(what) && text.contains(more) && text.contains("set by HTTPS_PROXY"), "{text}");
    }
    let (port, served) = socks(&[(4, b"\x05\x02"), (15, b"\x01\x01")]);
    let route = route(&format!("socks5h://alice:sekrit!@127.0.0.1:{port}"));
    let text = failed(&origin(Scheme::Http, "gpu.example", 443), &route, LIMIT);
    served.join().unwrap();
    assert!(text.contains("refused the login") && text.contains("user `alice`") && !text.contains("sekrit"), "{text}");
}

#[test]
fn a_page_behind_a_200_is_blamed_on_the_proxy() {
    let page = b"<!DOCTYPE html>\r\n<p>Log in first\r\n";
    let (port, served) = proxy(&[OK, page].concat());
    let route_of = |port| route(&format!("127.0.0.1:{port}"));
    let text = failed(&origin(Scheme::Https, "gpu.example", 443), &route_of(port), LIMIT);
    served.join().unwrap();
    assert!(text.contains("cannot connect to gpu.example:443 by TLS") && text.contains("`<!DOCTYPE html>`"), "{text}");
    assert!(text.contains(&format!("the upstream proxy at 127.0.0.1:{port} (set by HTTPS_PROXY) may have")), "{text}");
    assert!(text.contains("may want a login on a web page"), "{text}");

    // Inside TLS the page can be read with the answer.
    let authority = Authority::new();
    let session = authority.server(&["localhost"]);
    let (port, served) = server(move |stream| {
        let mut outer = StreamOwned::new(session, stream);
        head(&mut outer);
        outer.write_all(&[OK, page].concat()).unwrap();
        until_gone(&mut outer);
    });
    let mut route = route(&format!("https://localhost:{port}"));
    route.trust.ca_file = Some(authority.file());
    let text = failed(&origin(Scheme::Http, "gpu.example", 443), &route, LIMIT);
    served.join().unwrap();
    assert!(text.contains("gave a strange answer") && text.contains("`<!DOCTYPE html>`"), "{text}");
}

#[test]
fn the_silent_hop_is_named() {
    let soon = Duration::from_millis(200);
    let gateway = origin(Scheme::Https, "gpu.example", 443);
    for scheme in ["http", "https", "socks5h"] {
        let (port, served) = server(|mut stream| until_gone(&mut stream));
        let text = failed(&gateway, &route(&format!("{scheme}://127.0.0.1:{port}")), soon);
        served.join().unwrap();
        let silent = format!("p: the upstream proxy at 127.0.0.1:{port} gave no answer in time");
        assert!(text.starts_with(&silent), "{text}");
    }
    let (port, served) = server(|mut stream| {
        head(&mut stream);
        stream.write_all(OK).unwrap();
        until_gone(&mut stream);
    });
    let text = failed(&gateway, &route(&format!("127.0.0.1:{port}")), Duration::from_secs(2));
    served.join().unwrap();
    assert!(text.starts_with("p: gpu.example:443 gave no answer in time"), "{text}");
    assert!(text.contains(&format!("the upstream proxy at 127.0.0.1:{port} opened the way to it")), "{text}");
}

#[test]
fn a_proxy_that_cannot_be_reached_or_trusted_is_named_with_its_source() {
    let gateway = origin(Scheme::Https, "gpu.example", 443);
    // Bound, and never listening.
    let (family, kind) = (rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM);
    let socket = rustix::net::socket_with(family, kind, rustix::net::SocketFlags::CLOEXEC, None).unwrap();
    rustix::net::bind(&socket, &std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address: std::net::SocketAddr = rustix::net::getsockname(&socket).unwrap().try_into().unwrap();
    let mut refusing = route(&address.to_string());
    for (source, place, hint) in [
        (Source::Env("ALL_PROXY"), "set by ALL_PROXY", "`kohakuriver config set upstream_proxy none`"),
        (Source::File, "set by `upstream_proxy` in config.json", "`kohakuriver config set upstream_proxy none`"),
        (Source::Flag, "set by `--upstream-proxy`", "`--upstream-proxy none`"),
    ] {
        refusing.upstream.as_mut().unwrap().source = source;
        let text = failed(&gateway, &refusing, LIMIT);
        assert!(text.contains(&format!("cannot reach the upstream proxy at {address}")), "{text}");
        assert!(text.contains("refused") && text.contains(place) && text.contains(hint), "{text}");
    }

    let (port, served) = server(|mut stream| {
        stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").unwrap();
        until_gone(&mut stream);
    });
    let text = failed(&gateway, &route(&format!("https://localhost:{port}")), LIMIT);
    served.join().unwrap();
    assert!(text.contains("it does not speak TLS") && text.contains(&format!("http://localhost:{port}")), "{text}");

    let (authority, other) = (Authority::new(), Authority::new());
    let session = authority.server(&["localhost"]);
    let (port, served) = server(move |stream| until_gone(&mut StreamOwned::new(session, stream)));
    let mut route = route(&format!("https://localhost:{port}"));
    route.trust.ca_file = Some(other.file());
    let text = failed(&gateway, &route, LIMIT);
    served.join().unwrap();
    assert!(text.contains("no CA that is trusted here") && text.contains("config set ca_file FILE"), "{text}");
}

#[test]
fn a_failure_without_a_proxy_is_none_of_a_proxy() {
    let error = RouteError::Interrupted(crate::dial::Interrupted::Deadline);
    assert!(error.upstream_failure(&origin(Scheme::Http, "gpu.example", 443), None).is_none());
    let gone = RouteError::Interrupted(crate::dial::Interrupted::SshGone);
    let upstream = upstream("proxy");
    assert!(gone.upstream_failure(&origin(Scheme::Http, "gpu.example", 443), Some(&upstream)).is_none());
}
