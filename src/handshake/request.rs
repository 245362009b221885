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
mod tests;
