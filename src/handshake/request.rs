//! What a client sent to the gateway: a CONNECT head, or a line of the older protocol, on the same port.
//!
//! ```text
//! CONNECT 42.kohakuriver:22 HTTP/1.0            REQUEST_TUNNEL 42\n
//! Proxy-Authorization: Basic dXNlcjp0b2tlbg==
//! <empty line>
//! ```
//! Stock clients are taken as they are: HTTP/1.0, no Host field, `Proxy-Connection`, Basic with the token as the
//! password. Bytes behind the request are the start of the stream.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::handshake::{Step, first_line, head_end};
use crate::refusal::Refusal;
use crate::secret::Token;
use crate::target::{SSH_PORT, Target, TaskId, VpsRef};
use crate::text::excerpt_bytes;

/// Longest request taken, in bytes.
pub const MAX_REQUEST: usize = 16 * 1024;
/// Most fields of a request head.
pub const MAX_FIELDS: usize = 100;

/// What a client wants.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// An HTTP CONNECT, or something that should be answered in HTTP.
    Connect(Connect),
    /// The older line protocol.
    Line(Line),
}

/// A CONNECT request.
#[derive(Clone, PartialEq, Debug)]
pub struct Connect {
    /// The VPS, or why there is none.
    pub target: Result<VpsRef, Refusal>,
    /// The target as it was sent, printable.
    pub as_sent: String,
    /// The token of `Proxy-Authorization`, when it has one.
    pub token: Option<Token>,
}

/// A request of the line protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// The task, or what a Host has always said about a line like this one.
    pub target: Result<TaskId, &'static str>,
    /// The digits as they were sent.
    pub digits: String,
}

/// What a Host says to a line that is no request.
pub const INVALID_FORMAT: &str = "Invalid request format.";
/// What a Host says to a task id that is no number.
pub const INVALID_ID: &str = "Invalid task ID format.";
/// What a Host says to anything it didn't foresee.
pub const INTERNAL_ERROR: &str = "Internal server error.";

/// How a request of the line protocol starts.
const VERB: &[u8] = b"REQUEST_TUNNEL";

/// Whether `bytes`, as far as they go, are the start of a request of the line protocol.
pub fn starts_as_line(bytes: &[u8]) -> bool {
    bytes.iter().zip(VERB).all(|(a, b)| a == b)
}

/// Reads the request in everything that has arrived so far.
pub fn read(bytes: &[u8]) -> Step<Request> {
    let starts = starts_as_line(bytes);
    if starts && bytes.len() < VERB.len() {
        return Step::Incomplete;
    }
    if starts { read_line(bytes, VERB.len()) } else { read_connect(bytes) }
}

fn read_line(bytes: &[u8], verb: usize) -> Step<Request> {
    let (line, eaten) = match first_line(bytes) {
        Some(found) => found,
        None if bytes.len() <= MAX_REQUEST => return Step::Incomplete,
        None => return Step::Done(line_request(Err(INTERNAL_ERROR), ""), bytes.len()),
    };
    let rest = String::from_utf8_lossy(&line[verb..]);
    let digits = rest.trim();
    let target = match digits.trim_start_matches('0') {
        _ if !rest.starts_with(' ') => Err(INVALID_FORMAT),
        _ if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) => Err(INVALID_ID),
        "" => Ok("0"),
        significant => Ok(significant),
    };
    let target = target.and_then(|digits| TaskId::parse(digits).ok_or(INTERNAL_ERROR));
    Step::Done(line_request(target, digits), eaten)
}

fn line_request(target: Result<TaskId, &'static str>, digits: &str) -> Request {
    Request::Line(Line { target, digits: digits.to_owned() })
}

fn read_connect(bytes: &[u8]) -> Step<Request> {
    let bad = |why: String, eaten| {
        let connect = Connect { target: Err(Refusal::BadRequest(why)), as_sent: String::new(), token: None };
        Step::Done(Request::Connect(connect), eaten)
    };
    if let Some((line, eaten)) = first_line(bytes) {
        // Whoever doesn't speak HTTP won't send an empty line either: an answer must not wait for one.
        if !line.windows(6).any(|window| window == b" HTTP/") {
            return bad(format!("`{}` is no HTTP request", excerpt_bytes(line)), eaten);
        }
    }
    match head_end(bytes) {
        Some(end) if end <= MAX_REQUEST => match parse_connect(&bytes[..end]) {
            Ok(connect) => Step::Done(Request::Connect(connect), end),
            Err(why) => bad(why, end),
        },
        None if bytes.len() <= MAX_REQUEST => Step::Incomplete,
        _ => bad(format!("its head is longer than {MAX_REQUEST} bytes"), bytes.len()),
    }
}

fn parse_connect(head: &[u8]) -> Result<Connect, String> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err("its head is cut off".to_owned()),
        Err(httparse::Error::TooManyHeaders) => return Err(format!("it has more than {MAX_FIELDS} fields")),
        Err(error) => return Err(format!("its head is not HTTP: {error}")),
    }
    let (method, path) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    if method != "CONNECT" {
        return Err(format!("an SSH proxy takes CONNECT, not {}", excerpt_bytes(method.as_bytes())));
    }
    let mut authorizations =
        request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("proxy-authorization"));
    let token = authorizations.next().and_then(|field| credentials(field.value));
    Ok(Connect { target: target(path), as_sent: excerpt_bytes(path.as_bytes()), token })
}

/// The VPS of an authority-form target (RFC 9112 §3.2.3).
fn target(authority: &str) -> Result<VpsRef, Refusal> {
    let bad = |why: &str| Refusal::BadRequest(format!("`{}` {why}", excerpt_bytes(authority.as_bytes())));
    let (host, port) = authority.rsplit_once(':').ok_or_else(|| bad("names no port: ask for VPS:22"))?;
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let port: u16 = port.parse().ok().filter(|_| digits).ok_or_else(|| bad("has no TCP port"))?;
    // Port 22 first: whether the host is a VPS's decides before its port does.
    match Target::parse(host, SSH_PORT) {
        Ok(Target::Vps(_)) if port != SSH_PORT => Err(Refusal::PortNotOffered(port)),
        Ok(Target::Vps(vps)) => Ok(vps),
        Ok(Target::Foreign { .. }) => Err(bad("is no VPS, and this gateway reaches nothing else")),
        Err(error) => Err(Refusal::BadRequest(excerpt_bytes(error.to_string().as_bytes()))),
    }
}

/// The token in `Bearer <token>` (RFC 6750) or `Basic <user:token>` (RFC 7617). What is neither counts as none.
fn credentials(value: &[u8]) -> Option<Token> {
    let value = std::str::from_utf8(value).ok()?.trim();
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Token::new(rest).ok();
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(rest.trim()).ok()?).ok()?;
    Token::new(decoded.split_once(':')?.1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn connect(head: &str) -> Connect {
        match read(head.as_bytes()) {
            Step::Done(Request::Connect(connect), eaten) => {
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
    fn only_a_vps_and_only_port_22() {
        for target in
            ["127.0.0.1:22", "[::1]:22", "example.org:22", "169.254.169.254:80", "42", "42:", "42:x", "42:+22"]
        {
            let refusal = connect(&format!("CONNECT {target} HTTP/1.1\r\n\r\n")).target.unwrap_err();
            assert!(matches!(refusal, Refusal::BadRequest(_)), "{target}: {refusal:?}");
        }
        let refusal = connect("CONNECT 42:80 HTTP/1.1\r\n\r\n").target.unwrap_err();
        assert_eq!(refusal, Refusal::PortNotOffered(80));
    }

    #[test]
    fn what_is_no_connect_is_answered_without_waiting() {
        for head in ["SSH-2.0-OpenSSH_9.2\r\n", "\r\n", "hello\n", "x\n"] {
            assert!(matches!(connect(head).target, Err(Refusal::BadRequest(_))), "{head:?}");
        }
        for head in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT 42:22 HTTP/1.1\r\nbad field\r\n\r\n"] {
            assert!(matches!(connect(head).target, Err(Refusal::BadRequest(_))), "{head:?}");
        }
    }

    #[test]
    fn limits_hold() {
        let fields = |n: usize| format!("CONNECT 42:22 HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(n));
        assert!(connect(&fields(MAX_FIELDS)).target.is_ok());
        assert!(connect(&fields(MAX_FIELDS + 1)).target.is_err());
        let endless = format!("CONNECT 42:22 HTTP/1.1\r\nA: {}", "x".repeat(MAX_REQUEST));
        assert!(connect(&endless).target.is_err());
        assert!(connect(&"x".repeat(MAX_REQUEST + 1)).target.is_err());
    }

    #[test]
    fn the_line_protocol_as_hosts_take_it() {
        let ok = |digits: &str| Ok(TaskId::parse(digits).unwrap());
        for (line, target, digits) in [
            ("REQUEST_TUNNEL 42\n", ok("42"), "42"),
            ("REQUEST_TUNNEL 42\r\n", ok("42"), "42"),
            ("REQUEST_TUNNEL  \t42  \n", ok("42"), "42"),
            ("REQUEST_TUNNEL 0000000000000000000000042\n", ok("42"), "0000000000000000000000042"),
            ("REQUEST_TUNNEL 0\n", ok("0"), "0"),
            ("REQUEST_TUNNEL \n", Err(INVALID_ID), ""),
            ("REQUEST_TUNNEL\n", Err(INVALID_FORMAT), ""),
            ("REQUEST_TUNNEL42\n", Err(INVALID_FORMAT), "42"),
            ("REQUEST_TUNNEL -1\n", Err(INVALID_ID), "-1"),
            ("REQUEST_TUNNEL 1 2\n", Err(INVALID_ID), "1 2"),
            ("REQUEST_TUNNEL ٤٢\n", Err(INVALID_ID), "٤٢"),
            ("REQUEST_TUNNEL 9223372036854775808\n", Err(INTERNAL_ERROR), "9223372036854775808"),
        ] {
            let bytes = [line.as_bytes(), b"SSH-2.0-x\r\n"].concat();
            let expected = Request::Line(Line { target, digits: digits.into() });
            assert_eq!(read(&bytes), Step::Done(expected, line.len()), "{line:?}");
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
