//! The request of a client to the gateway, on one port: a CONNECT head, a line of the older protocol, or the head of a
//! request about [`super::sessions`].
//!
//! ```text
//! CONNECT 42.kohakuriver:22 HTTP/1.0            REQUEST_TUNNEL 42\n
//! Proxy-Authorization: Basic dXNlcjp0b2tlbg==
//! <empty line>
//! ```
//! Stock clients are accepted as they are: HTTP/1.0, no Host field, `Proxy-Connection`, Basic with the token as the
//! password. Bytes behind the request are the start of the stream.
//!
//! Quotes of a request go into logs. A token in a wrong place must not: `without_user` and `first_word` remove what may
//! be one.

use crate::handshake::fields::{credentials, values};
use crate::handshake::host_field::is_host_of;
use crate::handshake::resume;
use crate::handshake::sessions;
use crate::handshake::{Step, first_line, head_end};
use crate::refusal::Refusal;
use crate::secret::Token;
use crate::target::{SSH_PORT, Target, TaskId, VpsRef};
use crate::text::{MAX_EXCERPT, escaped, excerpt, excerpt_bytes};

/// How large a request may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MaxSize {
    /// The longest one, in bytes.
    pub bytes: usize,
    /// The most fields that a head may have.
    pub fields: usize,
}

impl MaxSize {
    /// The limits when no flag sets others.
    pub const DEFAULT: Self = Self { bytes: 16 * 1024, fields: 100 };
}

/// A request is larger than this.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TooLarge {
    /// Bytes.
    #[error("its head is longer than {0} bytes")]
    Bytes(usize),
    /// Fields.
    #[error("its head has more than {0} fields")]
    Fields(usize),
}

/// The request of a client.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// An HTTP CONNECT, or something that should be answered in HTTP.
    Connect(Connect),
    /// The older line protocol.
    Line(Line),
    /// About sessions.
    Sessions(sessions::Asked),
}

/// A CONNECT request.
#[derive(Clone, PartialEq, Debug)]
pub struct Connect {
    /// The VPS, or why there is none.
    pub target: Result<VpsRef, Refusal>,
    /// The target as it was sent, with escapes, without a user before it.
    pub as_sent: String,
    /// The token of `Proxy-Authorization`, when it has one.
    pub token: Option<Token>,
    /// The part about a resumable tunnel.
    pub resume: Option<resume::Asked>,
}

/// A request of the line protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// The task, or what a Host has always said about a line like this one.
    pub target: Result<TaskId, &'static str>,
    /// The digits as they were sent; of what is none, no more than their first word.
    pub digits: String,
}

/// The answer of a Host to a line that is no request.
pub const INVALID_FORMAT: &str = "Invalid request format.";
/// The answer of a Host to a task id that is not a number.
pub const INVALID_ID: &str = "Invalid task ID format.";
/// The answer of a Host to anything unforeseen.
pub const INTERNAL_ERROR: &str = "Internal server error.";

/// Longest word of a wrong request that is quoted whole, in characters. A Host's tokens have 64.
const LONGEST_WORD: usize = 24;

/// The start of a request of the line protocol.
const VERB: &[u8] = b"REQUEST_TUNNEL";

/// Whether `bytes`, as far as they go, are the start of a request of the line protocol.
pub fn starts_as_line(bytes: &[u8]) -> bool {
    bytes.iter().zip(VERB).all(|(a, b)| a == b)
}

/// The length of an empty line at the start of `bytes`. One is skipped before an HTTP request (RFC 9112 §2.2).
pub fn empty_line(bytes: &[u8]) -> usize {
    [&b"\r\n"[..], b"\n"].into_iter().find(|end| bytes.starts_with(end)).map_or(0, <[u8]>::len)
}

/// Whether a request begins as one for a path does (RFC 9112 §3.2.1), such as `GET /api/vps`, and the path is not the one
/// of [`super::sessions`]: no other request here has a target that starts so.
pub fn starts_with_path(bytes: &[u8]) -> bool {
    let method = bytes.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    let target = bytes[method..].strip_prefix(b" ").filter(|target| target.starts_with(b"/"));
    method > 0 && target.is_some_and(|target| !sessions::may_be_path(target))
}

/// Reads the request from all bytes that have arrived so far. `own` are the names of the gateway's machine.
pub fn read(bytes: &[u8], most: MaxSize, own: &[String]) -> Step<Result<Request, TooLarge>> {
    let skipped = empty_line(bytes);
    if skipped > 0 {
        return read_connect(&bytes[skipped..], most, own).after(skipped);
    }
    if starts_as_line(bytes) { read_line(bytes, most) } else { read_connect(bytes, most, own) }
}

fn read_line(bytes: &[u8], most: MaxSize) -> Step<Result<Request, TooLarge>> {
    let (line, eaten) = match first_line(bytes) {
        Some((line, eaten)) if eaten <= most.bytes => (line, eaten),
        None if bytes.len() <= most.bytes => return Step::Incomplete,
        _ => return Step::Done(Err(TooLarge::Bytes(most.bytes)), bytes.len()),
    };
    // Bytes that start as this line have no line feed inside the verb.
    let rest = String::from_utf8_lossy(&line[VERB.len()..]);
    let digits = rest.trim();
    let target = match digits.trim_start_matches('0') {
        _ if !rest.starts_with(' ') => Err(INVALID_FORMAT),
        _ if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) => Err(INVALID_ID),
        "" => Ok("0"),
        significant => Ok(significant),
    };
    let target = target.and_then(|digits| TaskId::parse(digits).ok_or(INTERNAL_ERROR));
    let are_digits = !matches!(target, Err(INVALID_ID | INVALID_FORMAT));
    let digits = if are_digits { digits.to_owned() } else { first_word(digits) };
    Step::Done(Ok(Request::Line(Line { target, digits })), eaten)
}

fn read_connect(bytes: &[u8], most: MaxSize, own: &[String]) -> Step<Result<Request, TooLarge>> {
    let bad = |why: String, eaten| {
        let target = Err(Refusal::BadRequest(why));
        let connect = Connect { target, as_sent: String::new(), token: None, resume: None };
        Step::Done(Ok(Request::Connect(connect)), eaten)
    };
    if let Some((line, eaten)) = first_line(bytes) {
        // A client that doesn't speak HTTP sends no empty line either: the answer must not wait for one.
        if !line.windows(6).any(|window| window == b" HTTP/") {
            return bad(format!("`{}` is not an HTTP request", first_word(&String::from_utf8_lossy(line))), eaten);
        }
    }
    match head_end(bytes) {
        Some(end) if end <= most.bytes => match parse_head(&bytes[..end], most.fields, own) {
            Ok(request) => Step::Done(Ok(request), end),
            Err(Unusable::TooLarge(too_large)) => Step::Done(Err(too_large), end),
            Err(Unusable::Bad(why)) => bad(why, end),
        },
        None if bytes.len() <= most.bytes => Step::Incomplete,
        _ => Step::Done(Err(TooLarge::Bytes(most.bytes)), bytes.len()),
    }
}

/// Why a whole head is no request.
enum Unusable {
    TooLarge(TooLarge),
    Bad(String),
}

fn parse_head(head: &[u8], most_fields: usize, own: &[String]) -> Result<Request, Unusable> {
    let bad = |why: String| Err(Unusable::Bad(why));
    // Each field has a line of its own.
    let lines = head.iter().filter(|&&byte| byte == b'\n').count();
    let mut fields = vec![httparse::EMPTY_HEADER; lines.min(most_fields)];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return bad("its head is cut off".to_owned()),
        Err(httparse::Error::TooManyHeaders) => return Err(Unusable::TooLarge(TooLarge::Fields(most_fields))),
        Err(error) => return bad(format!("its head is not HTTP: {error}")),
    }
    let (method, path) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    if method != "CONNECT" {
        let other = || Unusable::Bad(format!("an SSH proxy takes CONNECT, not {}", first_word(method)));
        return sessions::read(&request).map(Request::Sessions).ok_or_else(other);
    }
    if !values(&request, "content-length").is_empty() || !values(&request, "transfer-encoding").is_empty() {
        return bad("a CONNECT has no content: it takes no Content-Length and no Transfer-Encoding".to_owned());
    }
    let target = target(path);
    match (&values(&request, "host")[..], &target) {
        // Clients of HTTP/1.0 send none, and nor do some of HTTP/1.1. Another target has an error of its own.
        ([], _) | ([_], Err(_)) => {}
        ([host], Ok(vps)) if is_host_of(host, vps, own) => {}
        ([_], Ok(_)) => {
            return bad("its Host field names neither the VPS of its first line nor this gateway".to_owned());
        }
        _ => return bad("it has more than one Host field".to_owned()),
    }
    let token = match values(&request, "proxy-authorization")[..] {
        [] => None,
        [value] => credentials(value),
        _ => return bad("it has more than one Proxy-Authorization field".to_owned()),
    };
    let resume = match values(&request, resume::FIELD)[..] {
        [] => None,
        [value] => resume::Asked::read(value),
        _ => Some(resume::Asked::Unreadable),
    };
    if resume == Some(resume::Asked::Unreadable) {
        return bad(format!("its field {} can't be read", resume::FIELD));
    }
    Ok(Request::Connect(Connect { target, as_sent: shown(path), token, resume }))
}

/// The VPS of an authority-form target (RFC 9112 §3.2.3).
fn target(authority: &str) -> Result<VpsRef, Refusal> {
    let bad = |why: &str| Refusal::BadRequest(format!("`{}` {why}", excerpt(&without_user(authority))));
    if authority.contains('@') {
        return Err(bad("has a user before it: a token belongs into Proxy-Authorization"));
    }
    let (host, port) = authority.rsplit_once(':').ok_or_else(|| bad("names no port: ask for VPS:22"))?;
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let port: u16 = port.parse().ok().filter(|_| digits).ok_or_else(|| bad("has no TCP port"))?;
    // Parsed with port 22, so that the host is judged before the port.
    match Target::parse(host, SSH_PORT) {
        Ok(Target::Vps(_)) if port != SSH_PORT => Err(Refusal::PortNotOffered(port)),
        Ok(Target::Vps(vps)) => Ok(vps),
        Ok(Target::Foreign { .. }) => Err(bad("is not a VPS, and this gateway reaches nothing else")),
        Err(error) => Err(Refusal::BadRequest(excerpt_bytes(error.to_string().as_bytes()))),
    }
}

/// An authority without the `user:password@` that may stand before it (RFC 3986 §3.2.1).
fn without_user(authority: &str) -> String {
    authority.rsplit_once('@').map_or_else(|| authority.to_owned(), |(_, rest)| format!("…@{rest}"))
}

/// A target for logs: without a user, with escapes, and cut where it is longer than any VPS's name.
fn shown(authority: &str) -> String {
    let authority = without_user(authority);
    match authority.char_indices().nth(MAX_EXCERPT) {
        Some((cut, _)) => escaped(&authority[..cut]) + "…",
        None => escaped(&authority),
    }
}

/// The first word of a text, printable; cut if it is long enough to be a token.
fn first_word(text: &str) -> String {
    let text = excerpt(&without_user(text));
    let (word, rest) = text.split_once(' ').map_or((text.as_str(), ""), |(word, rest)| (word, rest));
    let is_short = word.chars().count() <= LONGEST_WORD;
    let shown: String = word.chars().take(if is_short { LONGEST_WORD } else { LONGEST_WORD / 4 }).collect();
    if !is_short {
        shown + "…"
    } else if rest.is_empty() {
        shown
    } else {
        shown + " …"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: MaxSize = MaxSize::DEFAULT;

    fn read(bytes: &[u8]) -> Step<Result<Request, TooLarge>> {
        super::read(bytes, MOST, &["localhost".to_owned(), "gpu-head".to_owned()])
    }

    fn connect(head: &str) -> Connect {
        match read(head.as_bytes()) {
            Step::Done(Ok(Request::Connect(connect)), eaten) => {
                assert_eq!(eaten, head.len(), "{head:?}");
                connect
            }
            other => panic!("{head:?}: {other:?}"),
        }
    }

    fn id(digits: &str) -> VpsRef {
        VpsRef::Id(TaskId::parse(digits).unwrap())
    }

    #[test]
    fn a_request_for_a_path_is_told_by_its_start() {
        for (bytes, has_path) in [
            (&b"GET /api/vps HTTP/1.1\r\n"[..], true),
            (b"DELETE /a", true),
            (b"GET /sessionsx", true),
            // It may still be one about sessions.
            (b"DELETE /", false),
            (b"GET /sess", false),
            (b"GET /sessions HTTP/1.1\r\n", false),
            (b"DELETE /sessions/7", false),
            (b"GET ", false),
            (b"GET", false),
            (b"", false),
            (b" /", false),
            (b" /api/vps", false),
            (b"CONNECT 42:22 HTTP/1.1\r\n", false),
            (b"REQUEST_TUNNEL 42\n", false),
            (b"GET http://x/ HTTP/1.1\r\n", false),
            (b"get /api HTTP/1.1\r\n", false),
        ] {
            assert_eq!(starts_with_path(bytes), has_path, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_stock_clients_send() {
        for (head, target) in [
            ("CONNECT 42:22 HTTP/1.1\r\nHost: 42:22\r\n\r\n", id("42")),
            ("CONNECT 42:22 HTTP/1.0\r\n\r\n", id("42")),
            ("CONNECT 42.kohakuriver:22 HTTP/1.1\r\nProxy-Connection: keep-alive\r\n\r\n", id("42")),
            ("CONNECT kohakuriver-vps-42:22 HTTP/1.0\n\n", id("42")),
            ("CONNECT trainer:22 HTTP/1.1\r\n\r\n", VpsRef::Name("trainer".into())),
        ] {
            assert_eq!(connect(head).target, Ok(target), "{head:?}");
        }
    }

    #[test]
    fn tokens_as_bearer_and_as_a_password() {
        for (value, token) in [
            ("Bearer sekrit", Some("sekrit")),
            ("bearer sekrit", Some("sekrit")),
            ("Basic dXNlcjpzZWtyaXQ=", Some("sekrit")),
            ("Basic !!!", None),
            ("Digest x", None),
            ("Bearer ", None),
        ] {
            let head = format!("CONNECT 42:22 HTTP/1.1\r\nProxy-Authorization: {value}\r\n\r\n");
            assert_eq!(connect(&head).token.as_ref().map(Token::expose), token, "{value}");
        }
    }

    #[test]
    fn a_token_in_a_wrong_place_is_not_quoted() {
        let token = "0123456789abcdef".repeat(4);
        for (request, quoted) in [
            (format!("CONNECT me:{token}@42:22 HTTP/1.1\r\n\r\n"), "`…@42:22` has a user"),
            (format!("CONNECT {token}@42:22 HTTP/1.1\r\n\r\n"), "`…@42:22` has a user"),
            (format!("CONNECT a@{token}@42 HTTP/1.1\r\n\r\n"), "`…@42` has a user"),
            (format!("Bearer {token}\r\n"), "`Bearer …` is not an HTTP request"),
            (format!("Proxy-Authorization: Bearer {token}\r\n"), "`Proxy-Authorization: …` is not an HTTP request"),
            (format!("{token}\r\n"), "`012345…` is not an HTTP request"),
            (format!("me:{token}@h 42\r\n"), "`…@h …` is not an HTTP request"),
            (format!("{token} / HTTP/1.1\r\n\r\n"), "CONNECT, not 012345…"),
            (format!("REQUEST_TUNNEL 42 {token}\n"), "42 …"),
            (format!("REQUEST_TUNNEL {token}\n"), "012345…"),
            (format!("REQUEST_TUNNEL\t{token}\n"), "012345…"),
            (format!("REQUEST_TUNNEL{token}\n"), "012345…"),
        ] {
            let Step::Done(Ok(read), _) = read(request.as_bytes()) else { panic!("{request}") };
            let text = format!("{read:?}");
            assert!(text.contains(quoted) && !text.contains(&token[..16]), "{request}: {text}");
        }
    }

    #[test]
    fn one_empty_line_before_a_connect_is_skipped() {
        for start in ["\r\n", "\n"] {
            assert_eq!(connect(&format!("{start}CONNECT 42:22 HTTP/1.1\r\n\r\n")).target, Ok(id("42")), "{start:?}");
            let line = format!("{start}REQUEST_TUNNEL 42\n");
            assert!(matches!(connect(&line).target, Err(Refusal::BadRequest(_))), "a Host takes none either");
        }
        for part in ["\r", "\r\n", "\n", "\r\nCONNECT 42:22 HTTP/1.1\r\n"] {
            assert!(matches!(read(part.as_bytes()), Step::Incomplete), "{part:?}");
        }
    }

    #[test]
    fn fields_that_a_connect_may_not_have() {
        for (fields, why) in [
            ("Host: 42.kohakuriver:22\r\nhost: 42.kohakuriver:22", "more than one Host field"),
            ("Content-Length: 0", "has no content"),
            ("content-length: 5\r\nContent-Length: 6", "has no content"),
            ("Transfer-Encoding: chunked", "has no content"),
            ("Proxy-Authorization: Bearer a\r\nproxy-authorization: Bearer b", "more than one Proxy-Auth"),
        ] {
            let target = connect(&format!("CONNECT 42.kohakuriver:22 HTTP/1.1\r\n{fields}\r\n\r\n")).target;
            let is_why = |refusal: &Refusal| matches!(refusal, Refusal::BadRequest(text) if text.contains(why));
            assert!(target.as_ref().is_err_and(is_why), "{fields}: {target:?}");
        }
    }

    #[test]
    fn a_host_field_names_the_vps_or_the_proxy() {
        let long = format!("{}.example", "x".repeat(250));
        let fits = |target: &str, host: &str| {
            let target = connect(&format!("CONNECT {target}:22 HTTP/1.1\r\nHost: {host}\r\n\r\n")).target;
            let error = target.as_ref().err().map(|refusal| refusal.detail().unwrap_or_default());
            assert!(error.as_ref().is_none_or(|why| why.contains("its Host field names neither")), "{host}: {error:?}");
            error.is_none()
        };
        for host in [
            // The VPS, in each way to write it.
            "42",
            "42:22",
            "42:",
            "0042:22",
            "42.",
            "42.:22",
            "42.kohakuriver",
            " 42.KohakuRiver:22 ",
            "42.kohakuriver.:22",
            "kohakuriver-vps-42:22",
            // The proxy: what proxytunnel sends is its `-p` without the port.
            "",
            "127.0.0.1",
            "127.0.0.1:8002",
            "[::1]:8002",
            "::1",
            "fe80::1%eth0",
            "localhost",
            "GPU-head:8002",
            "gpu-head.",
            "gpu.lab.example:8002",
            "gpu.lab.example.",
            "42.kohakuriver.example.org:22",
        ] {
            assert!(fits("42.kohakuriver", host), "{host}");
        }
        for host in [
            "43",
            "43:22",
            "43.:22",
            "43..:22",
            "43.kohakuriver:22",
            "43.kohakuriver.:22",
            "kohakuriver-43",
            "42:23",
            "42.kohakuriver:8002",
            "42:22:22",
            "42:65558",
            "42:+22",
            "42:x",
            "42 43",
            "42,43",
            "me@42:22",
            "trainer",
            "trainer.KOHAKURIVER",
            "gpu-head2",
            ".",
            "..",
            ".42",
            "42..kohakuriver",
            "1.42",
            "gpu..example",
            ":22",
            "[42]",
            "[::1",
            "-x.example",
            "\u{ff14}\u{ff12}",
            "43:22:a.b",
            "43.kohakuriver:22:x.y",
            "43.kohakuriver%x.y",
            "[43.x]:22",
            "43,.x",
            "*.*",
            "(43).x",
            "a.b;c",
            "43|.x",
            "http://42:22",
            &long,
        ] {
            assert!(!fits("42.kohakuriver", host), "{host}");
        }
        assert!(fits("trainer", "Trainer.kohakuriver:22") && fits("größe", "größe"));
        assert!(!fits("trainer", "trainer2") && !fits("trainer", "42"));
        // The address that curl makes of `42` is no VPS, and that is the error.
        let target = connect("CONNECT 0.0.0.42:22 HTTP/1.1\r\nHost: 0.0.0.42:22\r\n\r\n").target;
        assert!(matches!(&target, Err(Refusal::BadRequest(why)) if why.contains("is not a VPS")), "{target:?}");
        let latin1 = [&b"CONNECT 42:22 HTTP/1.1\r\nHost: 42\xe4\r\n\r\n"[..]].concat();
        let Step::Done(Ok(Request::Connect(request)), _) = read(&latin1) else { panic!("no CONNECT") };
        assert!(matches!(request.target, Err(Refusal::BadRequest(_))));
    }

    #[test]
    fn targets_that_look_the_same_stay_different_in_logs() {
        for (target, shown) in [
            ("trainer:22", "trainer:22".to_owned()),
            ("trai\u{202e}ner:22", r"trai\u{202e}ner:22".to_owned()),
            (&"x".repeat(400), format!("{}…", "x".repeat(MAX_EXCERPT))),
        ] {
            assert_eq!(connect(&format!("CONNECT {target} HTTP/1.1\r\n\r\n")).as_sent, shown);
        }
    }

    #[test]
    fn only_a_vps_and_only_port_22() {
        for target in
            ["127.0.0.1:22", "[::1]:22", "example.org:22", "169.254.169.254:80", "42", "42:", "42:x", "42:+22"]
        {
            let refusal = connect(&format!("CONNECT {target} HTTP/1.1\r\n\r\n")).target.unwrap_err();
            assert!(matches!(refusal, Refusal::BadRequest(_)), "{target}: {refusal:?}");
        }
        let refusal = connect("CONNECT 00007323718749301768192:22 HTTP/1.1\r\n\r\n").target.unwrap_err();
        assert!(matches!(&refusal, Refusal::BadRequest(why) if why.contains("at most 19 digits")), "{refusal:?}");
        let refusal = connect("CONNECT 42:80 HTTP/1.1\r\n\r\n").target.unwrap_err();
        assert_eq!(refusal, Refusal::PortNotOffered(80));
    }

    #[test]
    fn a_request_that_is_no_connect_is_answered_at_once() {
        for head in ["SSH-2.0-OpenSSH_9.2\r\n", "\r\n\r\n", "\n\n", "\r\nhello\n", "hello\n", "x\n"] {
            assert!(matches!(connect(head).target, Err(Refusal::BadRequest(_))), "{head:?}");
        }
        for head in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT 42:22 HTTP/1.1\r\nbad field\r\n\r\n"] {
            assert!(matches!(connect(head).target, Err(Refusal::BadRequest(_))), "{head:?}");
        }
    }

    #[test]
    fn limits_hold() {
        let fields = |n: usize| format!("CONNECT 42:22 HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(n));
        assert!(connect(&fields(MOST.fields)).target.is_ok());
        let too_large = |text: &str, most| match super::read(text.as_bytes(), most, &[]) {
            Step::Done(Err(too_large), eaten) => {
                assert_eq!(eaten, text.len());
                Some(too_large)
            }
            _ => None,
        };
        assert_eq!(too_large(&fields(MOST.fields + 1), MOST), Some(TooLarge::Fields(100)));
        let bytes = Some(TooLarge::Bytes(16 * 1024));
        assert_eq!(too_large(&format!("CONNECT 42:22 HTTP/1.1\r\nA: {}", "x".repeat(MOST.bytes)), MOST), bytes);
        let whole = format!("CONNECT 42:22 HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(MOST.bytes));
        assert_eq!(too_large(&whole, MOST), bytes);
        for start in ["", "REQUEST_TUNNEL "] {
            assert_eq!(too_large(&(start.to_owned() + &"x".repeat(MOST.bytes + 1)), MOST), bytes);
        }
        let line = format!("REQUEST_TUNNEL {}42\n", "0".repeat(MOST.bytes));
        assert_eq!(too_large(&line, MOST), bytes);
        // And what else they are set to.
        let most = MaxSize { bytes: 200, fields: 2 };
        assert_eq!((too_large(&fields(2), most), too_large(&fields(3), most)), (None, Some(TooLarge::Fields(2))));
        assert_eq!(too_large(&"x".repeat(201), most), Some(TooLarge::Bytes(200)));
        assert_eq!(super::read(&[b'x'; 200], most, &[]), Step::Incomplete);
    }

    #[test]
    fn the_line_protocol_as_hosts_take_it() {
        let ok = |digits: &str| Ok(TaskId::parse(digits).unwrap());
        for (line, target, digits) in [
            ("REQUEST_TUNNEL 42\n", ok("42"), "42"),
            ("REQUEST_TUNNEL 42\r\n", ok("42"), "42"),
            ("REQUEST_TUNNEL  \t42  \n", ok("42"), "42"),
            // Hosts accept leading zeros here, and here alone: 23 digits and more are one id.
            ("REQUEST_TUNNEL 00007323718749301768192\n", ok("7323718749301768192"), "00007323718749301768192"),
            ("REQUEST_TUNNEL 0000000000000000000000042\n", ok("42"), "0000000000000000000000042"),
            ("REQUEST_TUNNEL 0\n", ok("0"), "0"),
            ("REQUEST_TUNNEL \n", Err(INVALID_ID), ""),
            ("REQUEST_TUNNEL\n", Err(INVALID_FORMAT), ""),
            ("REQUEST_TUNNEL42\n", Err(INVALID_FORMAT), "42"),
            ("REQUEST_TUNNEL -1\n", Err(INVALID_ID), "-1"),
            ("REQUEST_TUNNEL 1 2\n", Err(INVALID_ID), "1 …"),
            ("REQUEST_TUNNEL ٤٢\n", Err(INVALID_ID), "٤٢"),
            ("REQUEST_TUNNEL 9223372036854775808\n", Err(INTERNAL_ERROR), "9223372036854775808"),
        ] {
            let bytes = [line.as_bytes(), b"SSH-2.0-x\r\n"].concat();
            let expected = Request::Line(Line { target, digits: digits.into() });
            assert_eq!(read(&bytes), Step::Done(Ok(expected), line.len()), "{line:?}");
            for cut in 0..line.len() {
                assert_eq!(read(&bytes[..cut]), Step::Incomplete, "{line:?} cut at {cut}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_split_changes_nothing(fields in 0usize..100, lf in any::<bool>()) {
            let end = if lf { "\n" } else { "\r\n" };
            let mut head = format!("CONNECT 42:22 HTTP/1.1{end}");
            for n in 0..fields {
                head += &format!("X-Field-{n}: value{end}");
            }
            head += end;
            let whole = read(head.as_bytes());
            prop_assert!(matches!(&whole, Step::Done(_, eaten) if *eaten == head.len()));
            for cut in 0..head.len() {
                prop_assert_eq!(read(&head.as_bytes()[..cut]), Step::Incomplete);
            }
        }

        #[test]
        fn no_bytes_make_it_panic_or_eat_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for start in [&b""[..], b"CONNECT ", b"REQUEST_TUNNEL ", b"CONNECT 42:22 HTTP/1.1\r\n"] {
                let bytes = [start, bytes.as_slice()].concat();
                if let Step::Done(_, eaten) = read(&bytes) {
                    prop_assert!(eaten <= bytes.len());
                }
            }
        }
    }
}
