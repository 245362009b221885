//! The helper's transport: one GET over one connection, in the calling thread.
//!
//! ssh starts the helper anew for each connection, and most runs send nothing to the Host. With `Pooled` in place of this
//! file, the helper would need a runtime and hyper: a release build with one GET is 564 kB with this transport and
//! 1,158 kB with that one. The whole helper is 811 kB.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::api::client::Api;
use crate::api::error::{ApiError, OffRoute};
use crate::api::transport::{
    Answer, CONNECT_LIMIT, MAX_BODY, REQUEST_LIMIT, Transport, USER_AGENT, cut_off, too_large, unreachable, unusable,
};
use crate::dial::{DialError, Interrupted, Watch};
use crate::failure::Failure;
use crate::handshake::http::{self, Framing};
use crate::handshake::{MAX_HEAD, head_end};
use crate::route::{self, Route, RouteError, send_all, until_done};
use crate::secret::Token;
use crate::settings::{Origin, Settings};
use crate::sys::{BorrowedFd, PollFlags};

/// Most bytes read by one call.
const CHUNK: usize = 64 * 1024;

/// Sends requests to one Host until the deadline of its watch. Its futures block: they are ready when they are polled
/// for the first time (see [`block_on`]).
pub struct Direct<'w> {
    host: Origin,
    route: Result<Route, Failure>,
    base: String,
    /// No setting names this Host: `base` is the default.
    is_default: bool,
    ssh: Option<BorrowedFd<'w>>,
    signal: Option<BorrowedFd<'w>>,
    deadline: Instant,
}

impl<'w> Api<Direct<'w>> {
    /// A client of the Host in the settings. Nothing is sent yet.
    pub fn direct(settings: &Settings, token: Option<Token>, watch: Watch<'w>) -> Self {
        let transport = Direct::new(settings.api(), watch);
        let (is_default, route) = (settings.names_no_host(), Route::of(settings, &settings.api()));
        Self::over(Direct { is_default, route, ..transport }, token)
    }
}

impl<'w> Direct<'w> {
    fn new(host: Origin, Watch { ssh, signal, deadline, .. }: Watch<'w>) -> Self {
        Self { base: host.to_string(), is_default: false, host, route: Ok(Route::default()), ssh, signal, deadline }
    }

    fn watch_until(&self, deadline: Instant) -> Watch<'w> {
        Watch { ssh: self.ssh, signal: self.signal, deadline: deadline.min(self.deadline), beside: None }
    }

    fn exchange(&self, path: &str, token: Option<&Token>) -> Result<Answer, ApiError> {
        let now = Instant::now();
        let limit = self.deadline.saturating_duration_since(now).min(REQUEST_LIMIT);
        let (watch, connecting) = (self.watch_until(now + limit), self.watch_until(now + limit.min(CONNECT_LIMIT)));
        let broke = |error: io::Error| unreachable(&self.base, error);
        let interrupted = |why| self.interrupted(why, limit);
        let route = self.route.as_ref().map_err(|failure| self.off_route(RouteError::Settings(failure.clone())))?;
        let mut carrier = route::connect(&self.host, route, connecting).map_err(|error| match error {
            RouteError::Interrupted(why) | RouteError::Dial(DialError::Interrupted(why, _)) => interrupted(why),
            RouteError::Dial(error @ DialError::Connect(_)) if self.is_default => {
                ApiError::NoHost { base: self.base.clone(), why: error.to_string() }
            }
            error => self.off_route(error),
        })?;
        let request = self.request(path, token);
        send_all(&mut *carrier, request.as_bytes(), watch).map_err(interrupted)?.map_err(broke)?;

        let mut reader = Reader::default();
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = until_done(&mut *carrier, PollFlags::IN, watch, |carrier| carrier.receive(&mut chunk));
            let read = read.map_err(interrupted)?.map_err(broke)?;
            if let Some(answer) = reader.take(&chunk[..read], &self.base)? {
                return Ok(answer);
            }
        }
    }

    fn off_route(&self, error: RouteError) -> ApiError {
        let upstream = self.route.as_ref().ok().and_then(|route| route.upstream.clone());
        unreachable(&self.base, OffRoute { error, origin: self.host.clone(), upstream })
    }

    fn interrupted(&self, why: Interrupted, limit: Duration) -> ApiError {
        match why {
            Interrupted::Deadline => ApiError::Timeout { base: self.base.clone(), limit },
            why => why.into(),
        }
    }

    fn request(&self, path: &str, token: Option<&Token>) -> String {
        let authority = self.host.authority();
        // Hosts accept only this spelling of the scheme.
        let token = token.map_or(String::new(), |token| format!("authorization: Bearer {}\r\n", token.expose()));
        format!(
            "GET {path} HTTP/1.1\r\nhost: {authority}\r\nuser-agent: {USER_AGENT}\r\naccept: application/json\r\n\
             connection: close\r\n{token}\r\n"
        )
    }
}

impl Transport for Direct<'_> {
    fn base(&self) -> &str {
        &self.base
    }

    async fn get(&self, path: &str, token: Option<&Token>) -> Result<Answer, ApiError> {
        self.exchange(path, token)
    }

    async fn pause(&self, time: Duration) -> Result<(), ApiError> {
        self.watch_until(self.deadline).pause(Instant::now() + time).map_err(|why| self.interrupted(why, time))
    }
}

/// The output of a future that waits for nothing but a [`Direct`].
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

/// The part of an answer that has arrived so far.
#[derive(Default)]
pub struct Reader {
    bytes: Vec<u8>,
    head: Option<Head>,
    /// Bytes of 1xx answers before it.
    interim: usize,
}

struct Head {
    status: u16,
    framing: Framing,
    /// The offset of its end.
    end: usize,
}

impl Reader {
    /// Takes the next bytes, which are empty at the end of the connection. Returns the answer once it is complete.
    ///
    /// # Errors
    /// When the bytes are not an HTTP answer, or the answer is cut off.
    pub fn take(&mut self, next: &[u8], base: &str) -> Result<Option<Answer>, ApiError> {
        self.bytes.extend_from_slice(next);
        while self.head.is_none() {
            let Some(end) = head_end(&self.bytes).filter(|&end| end <= MAX_HEAD) else { break };
            let head =
                http::parse(&self.bytes[..end], |status, head| Head { status, framing: http::framing(head), end });
            match head.ok_or_else(|| unusable(base, "its head is not HTTP"))? {
                Head { status: ..100, .. } => return Err(unusable(base, "its status is not an HTTP status")),
                Head { status: 100..=199, .. } => {
                    self.bytes.drain(..end);
                    self.interim += end;
                    // The limit is for all of them together, or a server could send them forever.
                    if self.interim > MAX_HEAD {
                        return Err(unusable(base, "its head has no end"));
                    }
                }
                head => self.head = Some(head),
            }
        }
        let Some(head) = &self.head else {
            return match next {
                [] => Err(cut_off(base)),
                _ if self.bytes.len() > MAX_HEAD => Err(unusable(base, "its head has no end")),
                _ => Ok(None),
            };
        };
        let body = &self.bytes[head.end..];
        if body.len() > MAX_BODY {
            return Err(too_large(base));
        }
        let is_complete = head.framing.is_complete(body) || next.is_empty() && head.framing == Framing::Close;
        match next {
            _ if is_complete => Ok(Some(Answer::new(head.status, &head.framing.data(body)))),
            [] => Err(cut_off(base)),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use proptest::prelude::*;

    use super::*;
    use crate::settings::{ConfigFile, Flags, Scheme};
    use crate::sys::AsFd as _;

    const BASE: &str = "http://head:8000";
    const LONG: Duration = Duration::from_secs(30);
    const SHORT: Duration = Duration::from_millis(200);

    /// Reads `bytes` in pieces of this length, and then the end of the connection.
    fn read(bytes: &[u8], piece: usize) -> Result<Answer, ApiError> {
        let mut reader = Reader::default();
        for piece in bytes.chunks(piece).chain([&[][..]]) {
            if let Some(answer) = reader.take(piece, BASE)? {
                return Ok(answer);
            }
        }
        panic!("the end of the connection is incomplete")
    }

    #[test]
    fn each_framing_in_pieces_of_each_length() {
        for (answer, status, json) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]behind", 200, "[]"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n1\r\n]\r\n0\r\n\r\n", 200, "[1]"),
            ("HTTP/1.0 404 Not Found\r\n\r\n{}", 404, "{}"),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\n\r\nHTTP/1.1 503 X\ncontent-length: 1\n\n7", 503, "7"),
        ] {
            for piece in 1..=answer.len() {
                let read = read(answer.as_bytes(), piece).unwrap();
                assert_eq!((read.status, read.json), (status, serde_json::from_str(json).ok()), "{answer}: {piece}");
            }
        }
    }

    #[test]
    fn an_answer_that_is_cut_off_is_an_error() {
        for answer in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n[]",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n[]\r\n",
        ] {
            let error = read(answer.as_bytes(), 64).err().map(|error| error.refusal());
            assert!(
                format!("{error:?}").contains("HostDown(\"the connection ended before the answer was complete"),
                "{answer}: {error:?}"
            );
        }
    }

    #[test]
    fn an_answer_that_is_not_http_or_too_large_is_an_error() {
        let endless = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(MAX_HEAD));
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(MAX_HEAD / 25 + 1);
        let large = format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(MAX_BODY + 1));
        for (answer, part) in [
            ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "its head is not HTTP"),
            ("HTTP/1.1 099 Low\r\n\r\n", "its status is not an HTTP status"),
            (&endless, "its head has no end"),
            (&interim, "its head has no end"),
            (&large, "its body is larger than 16 MiB"),
        ] {
            for piece in [CHUNK, 1000] {
                let Err(ApiError::Body { base, why }) = read(answer.as_bytes(), piece) else { panic!("{part}") };
                assert_eq!((base.as_str(), why.as_str()), (BASE, part));
            }
        }
        let largest = format!("HTTP/1.1 200 OK\r\n\r\n{}7", " ".repeat(MAX_BODY - 1));
        assert_eq!(read(largest.as_bytes(), CHUNK).unwrap().json, Some(7.into()));
    }

    proptest! {
        #[test]
        fn the_result_does_not_depend_on_where_the_answer_is_split(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1..50_usize) {
            let outcome = |answer: Result<Answer, ApiError>| {
                answer.map(|answer| (answer.status, answer.detail(), answer.json)).map_err(|error| format!("{error:?}"))
            };
            for head in ["", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"] {
                let bytes = [head.as_bytes(), &bytes].concat();
                prop_assert_eq!(outcome(read(&bytes, piece)), outcome(read(&bytes, usize::MAX)));
            }
        }
    }

    fn direct(port: u16, limit: Duration, ssh: &UnixStream) -> Direct<'_> {
        let watch = Watch { ssh: Some(ssh.as_fd()), signal: None, deadline: Instant::now() + limit, beside: None };
        Direct::new(Origin { scheme: Scheme::Http, host: "127.0.0.1".to_owned(), port }, watch)
    }

    fn get(port: u16, limit: Duration, ssh: &UnixStream) -> Result<Answer, ApiError> {
        block_on(direct(port, limit, ssh).get("/api/vps", Some(&Token::new("sekrit").unwrap())))
    }

    #[test]
    fn a_pause_ends_with_ssh() {
        let (ssh, ssh_end) = UnixStream::pair().unwrap();
        ssh_end.shutdown(std::net::Shutdown::Both).unwrap();
        let ended = block_on(direct(9, LONG, &ssh).pause(LONG));
        assert!(matches!(ended, Err(ApiError::Interrupted(Interrupted::SshGone))), "{ended:?}");
    }

    #[test]
    fn a_pause_takes_its_time() {
        let ((ssh, _ssh_end), begun) = (UnixStream::pair().unwrap(), Instant::now());
        block_on(direct(9, LONG, &ssh).pause(SHORT)).unwrap();
        assert!(begun.elapsed() >= SHORT);
    }

    #[test]
    fn a_host_that_takes_no_connection_is_given_its_time() {
        let (ssh, _ssh_end) = UnixStream::pair().unwrap();
        // Nobody accepts these connections. Once the queue is full, the packets of further ones get lost.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let address = listener.local_addr().unwrap();
        let waiting: Vec<_> = std::iter::from_fn(|| TcpStream::connect_timeout(&address, SHORT).ok()).collect();
        assert!(!waiting.is_empty());
        let begun = Instant::now();
        let answer = get(address.port(), SHORT, &ssh);
        assert!(matches!(answer, Err(ApiError::Timeout { .. })), "{:?}", answer.map(|answer| answer.status));
        assert!(begun.elapsed() >= SHORT);
    }

    #[test]
    fn a_request_over_a_connection_of_its_own() {
        let (ssh, _ssh_end) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let host = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]").unwrap();
            String::from_utf8(head).unwrap()
        });
        assert_eq!(get(port, LONG, &ssh).unwrap().json, Some(serde_json::json!([])));
        let head = host.join().unwrap();
        assert!(head.starts_with(&format!("GET /api/vps HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n")), "{head}");
        assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
        assert!(head.ends_with("\r\nauthorization: Bearer sekrit\r\n\r\n"), "{head}");
    }

    #[test]
    fn the_settings_name_the_host_and_the_proxy_on_the_way() {
        let (ssh, _ssh_end) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = format!("http://{}", listener.local_addr().unwrap());
        let proxied = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            std::io::BufReader::new(&stream).read_line(&mut line).unwrap();
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").unwrap();
            line
        });
        let watch = || Watch { ssh: Some(ssh.as_fd()), signal: None, deadline: Instant::now() + LONG, beside: None };
        let api = |host: Option<&str>| {
            let flags = Flags { host: host.map(str::to_owned), upstream_proxy: proxy.parse().ok(), ..Flags::default() };
            Api::direct(&Settings::resolve(flags, &|_| None, ConfigFile::default()).unwrap(), None, watch())
        };
        let named = api(Some("head"));
        assert_eq!([&named, &api(None)].map(|api| api.shared.transport.is_default), [false, true]);
        assert!(block_on(named.shared.transport.get("/api/vps", None)).is_err());
        assert_eq!(proxied.join().unwrap(), "CONNECT head:8000 HTTP/1.1\r\n");
    }

    #[test]
    fn a_deadline_the_end_of_ssh_and_a_closed_port_end_a_request() {
        let (ssh, ssh_end) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(matches!(get(port, Duration::from_millis(20), &ssh), Err(ApiError::Timeout { .. })));
        let silent = TcpStream::connect(("127.0.0.1", port)).unwrap();
        // A child that another test starts may hold copies of descriptors for a moment: closing them is not enough.
        ssh_end.shutdown(std::net::Shutdown::Both).unwrap();
        let error = get(port, LONG, &ssh).err().map(|error| error.refusal());
        assert!(format!("{error:?}").contains("ssh has gone"), "{error:?}");
        let (ssh, _ssh_end) = UnixStream::pair().unwrap();
        drop(silent);
        rustix::net::shutdown(&listener, rustix::net::Shutdown::Both).unwrap();
        let error = get(port, LONG, &ssh).err().map(|error| error.refusal());
        assert!(format!("{error:?}").contains("refused"), "{error:?}");
        // Without any setting, an address where nobody listens means that no Host is set.
        let unset = Direct { is_default: true, ..direct(port, LONG, &ssh) };
        assert_eq!(unset.base(), format!("http://127.0.0.1:{port}"));
        assert!(matches!(block_on(unset.get("/api/vps", None)), Err(ApiError::NoHost { .. })));
    }
}
