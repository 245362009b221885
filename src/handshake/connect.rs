//! The client's side of HTTP CONNECT (RFC 9110 §9.3.6).
//!
//! ```text
//! CONNECT 7323718749301768192:22 HTTP/1.1          HTTP/1.1 200 Connection established
//! Host: 7323718749301768192:22                     <empty line>
//! User-Agent: kohakuriver-proxy/0.1.0              SSH-2.0-OpenSSH_9.2p1 …
//! Proxy-Authorization: Bearer <token>
//! <empty line>
//! ```
//! [`read`] accepts what proxies really send: any 2xx, no reason phrase, HTTP/1.0, 1xx before the answer, bare LF, a
//! hundred fields. It distinguishes answers that are no HTTP, since each has a cause of its own: an older Host, an sshd
//! on this port, another server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::handshake::http::{self, Framing};
use crate::handshake::resume;
use crate::handshake::{MAX_HEAD, Step, first_line, head_end, is_tls};
use crate::secret::{Authorization, Password, Token};
use crate::text::{excerpt, excerpt_bytes};

/// The answer of a proxy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// A 2xx: the tunnel is open, and the next byte is its first. Holds what it says of a resumable tunnel.
    Established(Option<resume::Answered>),
    /// Another status. A body may follow.
    Refused(Refused),
    /// The error line of an older Host, which knows only the line protocol. Holds its text.
    OlderHost(String),
    /// An SSH server's banner: this port is an sshd, not a proxy.
    Ssh(String),
    /// TLS, as an HTTPS server speaks it.
    Tls,
    /// Another answer that is not HTTP. Holds its first line, as far as it arrived.
    NotHttp(String),
    /// HTTP that can't be parsed, or a head longer than [`MAX_HEAD`]. Holds the reason.
    Malformed(&'static str),
}

/// A status other than 2xx, with the parts of its head that matter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Refused {
    /// The status code.
    pub status: u16,
    /// Its reason phrase, printable, perhaps empty.
    pub reason: String,
    /// `Content-Type`, in lower case, without parameters.
    pub content_type: String,
    /// How the body ends.
    pub body: Framing,
    /// `Retry-After`, when it is a number of seconds.
    pub retry_after: Option<u64>,
    /// The error type of `Proxy-Status` (RFC 9209 §2.3), or nothing.
    pub proxy_error: String,
    /// The part about a resumable tunnel.
    pub resume: Option<resume::Answered>,
    /// The authentication schemes that `Proxy-Authenticate` offers, such as `Basic`. Only the first few.
    pub schemes: Vec<String>,
}

impl Refused {
    /// `409 Conflict`, or `409` without a reason phrase.
    pub fn status_line(&self) -> String {
        format!("{} {}", self.status, self.reason).trim_end().to_owned()
    }
}

/// The credentials in a request, as `Proxy-Authorization`.
#[derive(Clone, Copy, Debug)]
pub enum Login<'a> {
    /// The token of a gateway (RFC 6750).
    Bearer(&'a Token),
    /// A user and a password (RFC 7617).
    Basic(&'a str, Option<&'a Password>),
    /// The whole value of the field.
    Value(&'a Authorization),
}

impl Login<'_> {
    /// The value of the field.
    fn value(self) -> String {
        match self {
            Self::Bearer(token) => format!("Bearer {}", token.expose()),
            Self::Basic(user, password) => {
                let password = password.map(Password::expose).unwrap_or_default();
                format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
            }
            Self::Value(value) => value.expose().to_owned(),
        }
    }
}

/// The request, to be sent in one write: an older Host may reset a connection when the request arrives in pieces, and
/// its error line would be lost.
pub fn request(authority: &str, login: Option<Login<'_>>, resume: Option<resume::Asked>) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let mut head =
        format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: kohakuriver-proxy/{version}\r\n");
    if let Some(login) = login {
        head += &format!("Proxy-Authorization: {}\r\n", login.value());
    }
    if let Some(resume) = resume {
        head += &format!("{}: {}\r\n", resume::FIELD, resume.value());
    }
    head += "\r\n";
    head.into_bytes()
}

/// Reads the answer from all bytes that have arrived so far.
pub fn read(bytes: &[u8]) -> Step<Answer> {
    let mut eaten = 0;
    loop {
        match read_head(&bytes[eaten..]) {
            Step::Done(Answer::Refused(Refused { status: 100..=199, .. }), n) => eaten += n,
            _ if eaten > MAX_HEAD => return Step::Done(Answer::Malformed("its head has no end"), eaten),
            step => return step.after(eaten),
        }
    }
}

fn read_head(bytes: &[u8]) -> Step<Answer> {
    const HTTP: &[u8] = b"HTTP/";
    let starts = |prefix: &[u8]| bytes.iter().zip(prefix).all(|(a, b)| a == b);
    if is_tls(bytes) {
        return Step::Done(Answer::Tls, bytes.len());
    }
    if !starts(HTTP) {
        return read_other(bytes, starts(b"ERROR ") || starts(b"b'ERROR '"), starts(b"SSH-"));
    }
    match head_end(bytes) {
        Some(end) if end <= MAX_HEAD => Step::Done(parse_head(&bytes[..end]), end),
        Some(end) => Step::Done(Answer::Malformed("its head is too long"), end),
        None if bytes.len() > MAX_HEAD => Step::Done(Answer::Malformed("its head has no end"), bytes.len()),
        None => Step::Incomplete,
    }
}

/// An answer that is not HTTP. The known kinds are read to the end of their line.
fn read_other(bytes: &[u8], older_host: bool, ssh: bool) -> Step<Answer> {
    let (line, eaten) = match first_line(bytes) {
        Some(found) => found,
        None if (older_host || ssh) && bytes.len() <= MAX_HEAD => return Step::Incomplete,
        None => (bytes, bytes.len()),
    };
    let answer = match () {
        () if older_host => Answer::OlderHost(super::line::error_text(line)),
        () if ssh => Answer::Ssh(excerpt_bytes(line)),
        () => Answer::NotHttp(excerpt_bytes(line)),
    };
    Step::Done(answer, eaten)
}

fn parse_head(head: &[u8]) -> Answer {
    let answer = http::parse(head, |status, response| match status {
        200..=299 => Answer::Established(resumes(response)),
        100..=199 | 300..=999 => Answer::Refused(refused(status, response)),
        _ => Answer::Malformed("its status is not one of HTTP"),
    });
    answer.unwrap_or(Answer::Malformed("its head is not HTTP"))
}

fn refused(status: u16, response: &httparse::Response<'_, '_>) -> Refused {
    let content_type = http::field(response, "content-type").unwrap_or_default();
    Refused {
        status,
        reason: excerpt(response.reason.unwrap_or_default()),
        content_type: content_type.split(';').next().unwrap_or_default().trim().to_owned(),
        body: http::framing(response),
        retry_after: http::field(response, "retry-after").and_then(|seconds| seconds.parse().ok()),
        proxy_error: proxy_error(&http::field(response, "proxy-status").unwrap_or_default()),
        resume: resumes(response),
        schemes: schemes(response),
    }
}

fn resumes(response: &httparse::Response<'_, '_>) -> Option<resume::Answered> {
    resume::Answered::read(http::field(response, resume::FIELD)?.as_bytes())
}

/// Most authentication schemes that are kept, and the longest name of one.
const MOST_SCHEMES: usize = 8;
const LONGEST_SCHEME: usize = 32;

/// The names of the schemes in all `Proxy-Authenticate` fields (RFC 9110 §11.6.1).
fn schemes(response: &httparse::Response<'_, '_>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for field in response.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("proxy-authenticate")) {
        let mut is_quoted = false;
        // A comma also separates the parameters of a scheme, and a quoted text may have one.
        let parts = field.value.split(|&byte| {
            is_quoted ^= byte == b'"';
            byte == b',' && !is_quoted
        });
        for part in parts {
            let word = part.trim_ascii().split(|&byte| byte == b' ').next().unwrap_or_default();
            let is_scheme = word.first().is_some_and(u8::is_ascii_alphabetic)
                && word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._+".contains(byte));
            let name = String::from_utf8_lossy(word);
            let is_known = found.iter().any(|other| other.eq_ignore_ascii_case(&name));
            if is_scheme && !is_known && word.len() <= LONGEST_SCHEME && found.len() < MOST_SCHEMES {
                found.push(name.into_owned());
            }
        }
    }
    found
}

/// The error type in a `Proxy-Status` field. Of several proxies, the first is the one nearest to the VPS.
fn proxy_error(field: &str) -> String {
    let first = field.split(',').next().unwrap_or_default();
    let error = first.split(';').find_map(|parameter| parameter.trim().strip_prefix("error="));
    error.map(excerpt).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BANNER: &[u8] = b"SSH-2.0-OpenSSH_9.2p1\r\n";

    fn established(head: &[u8]) {
        let bytes = [head, BANNER].concat();
        assert_eq!(read(&bytes), Step::Done(Answer::Established(None), head.len()), "{}", head.escape_ascii());
    }

    #[test]
    fn request_is_one_head() {
        let token = Token::new("sekrit").unwrap();
        let head = String::from_utf8(request("42:22", Some(Login::Bearer(&token)), None)).unwrap();
        assert_eq!(
            head,
            format!(
                "CONNECT 42:22 HTTP/1.1\r\nHost: 42:22\r\nUser-Agent: kohakuriver-proxy/{}\r\n\
                 Proxy-Authorization: Bearer sekrit\r\n\r\n",
                env!("CARGO_PKG_VERSION")
            )
        );
        assert!(!String::from_utf8(request("42:22", None, None)).unwrap().contains("Authorization"));
    }

    #[test]
    fn a_login_is_one_field() {
        let field = |login: Login<'_>| {
            let head = String::from_utf8(request("gpu.example:443", Some(login), None)).unwrap();
            let (_, rest) = head.split_once("\r\nProxy-Authorization: ").unwrap();
            rest.strip_suffix("\r\n\r\n").unwrap().to_owned()
        };
        // The examples of RFC 7617 §2 and §2.1.
        for (user, password, expected) in [
            ("Aladdin", Some("open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ("test", Some("123\u{a3}"), "Basic dGVzdDoxMjPCow=="),
            ("alice", None, "Basic YWxpY2U6"),
        ] {
            let password = password.map(|text: &str| Password::new(text.to_owned()));
            assert_eq!(field(Login::Basic(user, password.as_ref())), expected);
        }
        let value = Authorization::new("Negotiate YIIsekrit==").unwrap();
        assert_eq!(field(Login::Value(&value)), "Negotiate YIIsekrit==");
        let (token, password) = (Token::new("sekrit").unwrap(), Password::new("sekrit".to_owned()));
        for login in [Login::Bearer(&token), Login::Basic("alice", Some(&password)), Login::Value(&value)] {
            assert!(!format!("{login:?}").contains("sekrit"));
        }
    }

    #[test]
    fn the_schemes_that_a_proxy_offers() {
        for (fields, expected) in [
            ("", &[][..]),
            ("Proxy-Authenticate: Basic realm=\"an office\"\r\n", &["Basic"]),
            ("proxy-authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n", &["Negotiate", "NTLM"]),
            (
                "Proxy-Authenticate: Digest realm=\"a, Evil x\", nonce=\"b\", qop=\"auth\", Basic realm=c, Negotiate\r\n",
                &["Digest", "Basic", "Negotiate"],
            ),
            ("Proxy-Authenticate: Basic realm=x\r\nProxy-Authenticate: basic realm=y\r\n", &["Basic"]),
            ("Proxy-Authenticate: , ,=, \x1b[2J, \u{e4}, 7up\r\n", &[]),
        ] {
            let head = format!("HTTP/1.1 407 Proxy Authentication Required\r\n{fields}\r\n");
            let Step::Done(Answer::Refused(refused), _) = read(head.as_bytes()) else { panic!("{fields}") };
            assert_eq!(refused.schemes, expected, "{fields}");
        }
        let many: String = (0..50).map(|n| format!("Proxy-Authenticate: S{n}\r\n")).collect();
        let head = format!("HTTP/1.1 407 x\r\n{many}Proxy-Authenticate: {}\r\n\r\n", "x".repeat(100));
        let Step::Done(Answer::Refused(refused), _) = read(head.as_bytes()) else { panic!("{head}") };
        assert_eq!(refused.schemes.len(), MOST_SCHEMES);
    }

    #[test]
    fn every_form_of_acceptance() {
        established(b"HTTP/1.1 200 Connection established\r\n\r\n");
        established(b"HTTP/1.0 200 OK\r\n\r\n");
        established(b"HTTP/1.1 201 Created\r\n\r\n");
        established(b"HTTP/1.1 200\r\n\r\n");
        established(b"HTTP/1.1 200 \r\n\r\n");
        established(b"HTTP/1.1 200 OK\n\n");
        established(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n");
        established(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
        established(b"HTTP/1.1 200 OK\r\nbroken field\r\nB: c\r\n\r\n");
        established(&[b"HTTP/1.1 200 OK\r\n".as_slice(), &b"X-A: b\r\n".repeat(110), b"\r\n"].concat());
        established(&[b"HTTP/1.1 200 OK\r\n".as_slice(), &b"X:\r\n".repeat(10_000), b"\r\n"].concat());
        established(&[b"HTTP/1.1 200 OK\r\nX-A: ".as_slice(), &[b'x'; 6 * 1024], b"\r\n\r\n"].concat());
    }

    #[test]
    fn a_refusal_keeps_the_fields_that_explain_it() {
        let head = b"HTTP/1.1 409 Conflict\r\nContent-Type: Application/Problem+JSON; charset=utf-8\r\n\
                     Content-Length: 17\r\nRetry-After: 3\r\n\
                     Proxy-Status: gw; error=connection_refused; details=\"x\", b; error=y\r\n\r\n";
        let expected = Refused {
            status: 409,
            reason: "Conflict".into(),
            content_type: "application/problem+json".into(),
            body: Framing::Length(17),
            retry_after: Some(3),
            proxy_error: "connection_refused".into(),
            resume: None,
            schemes: Vec::new(),
        };
        assert_eq!(expected.status_line(), "409 Conflict");
        assert_eq!(read(head), Step::Done(Answer::Refused(expected), head.len()));

        let Step::Done(Answer::Refused(refused), _) = read(b"HTTP/1.1 502\r\n\r\n") else { panic!("no refusal") };
        assert_eq!(refused.status_line(), "502");
    }

    #[test]
    fn a_body_ends_as_rfc_9112_says() {
        for (fields, expected) in [
            ("", Framing::Close),
            ("Content-Length: 7\r\n", Framing::Length(7)),
            ("Content-Length: seven\r\n", Framing::Close),
            ("Transfer-Encoding: gzip, Chunked\r\n", Framing::Chunked),
            ("Content-Length: 7\r\nTransfer-Encoding: chunked\r\n", Framing::Chunked),
            ("Content-Length: 7\r\nTransfer-Encoding: gzip\r\n", Framing::Close),
        ] {
            let head = format!("HTTP/1.1 502 Bad\r\n{fields}\r\n");
            let Step::Done(Answer::Refused(refused), _) = read(head.as_bytes()) else { panic!("{fields}") };
            assert_eq!(refused.body, expected, "{fields}");
        }
    }

    #[test]
    fn answers_that_are_no_http_are_distinguished() {
        for (bytes, expected) in [
            (&b"ERROR Invalid request format.\n"[..], Answer::OlderHost("Invalid request format.".into())),
            (b"b'ERROR 'Invalid request format.\n", Answer::OlderHost("Invalid request format.".into())),
            (b"SSH-2.0-OpenSSH_9.2p1\r\n", Answer::Ssh("SSH-2.0-OpenSSH_9.2p1".into())),
            (b"220 mail.example ESMTP\r\n", Answer::NotHttp("220 mail.example ESMTP".into())),
            (b"\x15\x03\x01\0\x02\x02\n", Answer::Tls),
            (b"\x16\x03\x01", Answer::Tls),
            (b"\x01\x02", Answer::NotHttp(String::new())),
            (b"SUCCESS\n", Answer::NotHttp("SUCCESS".into())),
        ] {
            assert_eq!(read(bytes), Step::Done(expected, bytes.len()), "{}", bytes.escape_ascii());
        }
        for bytes in [&b""[..], b"H", b"HTTP", b"ERROR Inv", b"b'ERR", b"SSH-2.0-Op", b"HTTP/1.1 200 OK\r\n\r"] {
            assert_eq!(read(bytes), Step::Incomplete, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn heads_without_an_end_are_cut_off() {
        let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
        while head.len() <= MAX_HEAD {
            head.extend_from_slice(b"X-Filler: xxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n");
        }
        assert!(matches!(read(&head), Step::Done(Answer::Malformed(_), _)));
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(3_000);
        assert!(matches!(read(&interim), Step::Done(Answer::Malformed(_), _)));
    }

    /// Both limits, and what stands one byte beyond them.
    #[test]
    fn a_head_of_just_64_kib_is_accepted() {
        const LIMIT: usize = 65_536;
        let head = |status: &str, size: usize| {
            let start = format!("HTTP/1.1 {status}\r\nX: ");
            let filler = "x".repeat(size - start.len() - "\r\n\r\n".len());
            (start + &filler + "\r\n\r\n").into_bytes()
        };
        established(&head("200 OK", LIMIT));
        assert_eq!(read(&head("200 OK", LIMIT)[..LIMIT - 1]), Step::Incomplete);
        let malformed = |bytes: &[u8]| matches!(read(bytes), Step::Done(Answer::Malformed(_), _));
        assert!(malformed(&head("200 OK", LIMIT + 1)));
        assert_eq!(read(&head("200 OK", LIMIT + 4)[..LIMIT]), Step::Incomplete);
        assert!(malformed(&head("200 OK", LIMIT + 4)[..LIMIT + 1]));
        // All interim heads together.
        established(&[head("100 Continue", LIMIT), b"HTTP/1.1 200 OK\r\n\r\n".to_vec()].concat());
        let interim = [head("100 Continue", LIMIT - 30), head("103 Early", 31)].concat();
        assert!(malformed(&[&interim[..], b"HTTP/1.1 200 OK\r\n\r\n"].concat()));
        // And a line of another protocol.
        let line = [b"SSH-", &[b'x'; LIMIT][..]].concat();
        assert_eq!(read(&line[..LIMIT]), Step::Incomplete);
        assert!(matches!(read(&line[..LIMIT + 1]), Step::Done(Answer::Ssh(_), n) if n == LIMIT + 1));
    }

    #[test]
    fn malformed_heads() {
        for head in [&b"HTTP/9.9 200 OK\r\n\r\n"[..], b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 099 Low\r\n\r\n"] {
            assert!(matches!(read(head), Step::Done(Answer::Malformed(_), _)), "{}", head.escape_ascii());
        }
    }

    proptest! {
        /// However an answer is cut, every cut before its end is "incomplete" and the end is the same.
        #[test]
        fn a_split_changes_nothing(
            interim in 0usize..3, status in 200u16..600, fields in 0usize..120, lf in any::<bool>(),
        ) {
            let end = if lf { "\n" } else { "\r\n" };
            let mut head = format!("HTTP/1.1 100 Continue{end}{end}").repeat(interim);
            head += &format!("HTTP/1.1 {status} Some reason{end}");
            for n in 0..fields {
                head += &format!("X-Field-{n}: value {n}{end}");
            }
            head += end;
            let whole = read(head.as_bytes());
            prop_assert!(matches!(&whole, Step::Done(_, eaten) if *eaten == head.len()));
            for cut in 0..head.len() {
                prop_assert_eq!(read(&head.as_bytes()[..cut]), Step::Incomplete);
            }
            let with_banner = [head.as_bytes(), BANNER].concat();
            prop_assert_eq!(read(&with_banner), whole);
        }

        #[test]
        fn no_bytes_make_it_panic_or_eat_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for start in [&b""[..], b"HTTP/1.1 ", b"ERROR ", b"HTTP/1.1 407 x\r\n"] {
                let bytes = [start, bytes.as_slice()].concat();
                if let Step::Done(_, eaten) = read(&bytes) {
                    prop_assert!(eaten <= bytes.len());
                }
            }
        }
    }
}
