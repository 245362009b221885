//! The other gateways of the cluster, asked about their sessions: a request to the port for tunnels of each.
//!
//! All are asked side by side, once, and each has [`LIMIT`]. A user's own token goes along where it can't be read on the
//! way; elsewhere, and for an admin, a [`super::proof`] does.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::proof;
use super::scope::Scope;
use crate::api::{Answer, ApiError, Reader};
use crate::dial::{Watch, is_private, resolve};
use crate::failure::words;
use crate::gateway::decide::rules::RuleBook;
use crate::handshake::proxy_protocol;
use crate::handshake::session_ref::SessionRef;
use crate::route::{self, Route, send_all, until_done};
use crate::secret::Token;
use crate::settings::Origin;
use crate::sys::PollFlags;

/// How long a gateway has for its answer.
pub(crate) const LIMIT: Duration = Duration::from_secs(1);
/// Most gateways that are asked at once, for all callers. Each takes a thread.
const AT_ONCE: usize = 32;
/// Longest answer about one user's sessions, in bytes: some thousand.
const MOST_OF_A_USER: usize = 1024 * 1024;
/// Longest answer about everybody's sessions, in bytes: tens of thousands.
const MOST: usize = 16 * 1024 * 1024;
/// Most bytes read at once.
const CHUNK: usize = 64 * 1024;

/// The other gateways.
pub(crate) struct Others {
    origins: Vec<Origin>,
    /// Whether they expect a PROXY protocol header.
    proxied: bool,
    rules: Arc<RuleBook>,
    places: Arc<Semaphore>,
}

/// A question to all of them.
pub(super) struct Question<'a> {
    /// Method and target.
    line: String,
    scope: &'a Scope,
    token: Option<&'a Token>,
    /// The address of the caller.
    from: Option<SocketAddr>,
}

impl<'a> Question<'a> {
    pub(super) fn list(scope: &'a Scope, token: Option<&'a Token>, from: Option<SocketAddr>) -> Self {
        Self { line: format!("GET /sessions?here&gateways{}", all(scope)), scope, token, from }
    }

    pub(super) fn end(
        which: &SessionRef,
        scope: &'a Scope,
        token: Option<&'a Token>,
        from: Option<SocketAddr>,
    ) -> Self {
        Self { line: format!("DELETE /sessions/{which}?here{}", all(scope)), scope, token, from }
    }

    fn most(&self) -> usize {
        if *self.scope == Scope::All { MOST } else { MOST_OF_A_USER }
    }
}

fn all(scope: &Scope) -> &'static str {
    if *scope == Scope::All { "&all" } else { "" }
}

impl Others {
    /// The gateways at these addresses. `rules` have the token that proves that this one is a gateway, too.
    pub(crate) fn new(origins: Vec<Origin>, proxied: bool, rules: Arc<RuleBook>) -> Self {
        Self { origins, proxied, rules, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// The answer of each, or why there is none, in the order of `--peers`.
    pub(super) async fn ask(&self, question: &Question<'_>) -> Vec<(Origin, Result<Answer, String>)> {
        let mut asked = JoinSet::new();
        for (at, origin) in self.origins.iter().enumerate() {
            let (origin, most, places) = (origin.clone(), question.most(), Arc::clone(&self.places));
            let request = self.request(&origin, question);
            let reads_token = question.token.is_some();
            asked.spawn(async move {
                let answer = async {
                    let request = request?;
                    let place = timeout(LIMIT, places.acquire_owned()).await;
                    let _place = place.ok().and_then(Result::ok).ok_or("too many others are asked already")?;
                    let answer = spawn_blocking(move || exchange(&origin, reads_token, &request, most)).await;
                    answer.map_err(|_| "the question failed")?
                };
                (at, answer.await)
            });
        }
        let mut answers = asked.join_all().await;
        answers.sort_by_key(|(at, _)| *at);
        answers.into_iter().map(|(at, answer)| (self.origins[at].clone(), answer)).collect()
    }

    /// All bytes that are sent to one of them.
    fn request(&self, origin: &Origin, question: &Question<'_>) -> Result<Vec<u8>, String> {
        let Question { line, scope, token, from } = question;
        let authorization = match token {
            Some(token) => format!("Bearer {}", token.expose()),
            None => {
                let rules = self.rules.current();
                let key = rules.admin_token.as_ref();
                let key = key.ok_or(
                    "this gateway was started without --admin-token-file, and so can't prove to others \
                                     that it may ask them",
                )?;
                proof::prove(key, line, scope, SystemTime::now())
            }
        };
        let header = match from {
            Some(from) if self.proxied => proxy_protocol::header(*from),
            None if self.proxied => proxy_protocol::local_header(),
            _ => Vec::new(),
        };
        let head = format!(
            "{line} HTTP/1.1\r\nHost: {}\r\nAuthorization: {authorization}\r\nConnection: close\r\n\r\n",
            origin.authority()
        );
        Ok([header, head.into_bytes()].concat())
    }
}

/// Sends `request` to a gateway and reads its answer, in a thread of its own. If it `has_token`, everybody on the way
/// would read that without TLS.
fn exchange(origin: &Origin, has_token: bool, request: &[u8], most: usize) -> Result<Answer, String> {
    let watch = Watch::at_most(LIMIT);
    if has_token && !origin.scheme.has_tls() {
        check_is_near(origin, watch)?;
    }
    let late = |_| format!("it gave no answer within {} s", LIMIT.as_secs());
    let mut carrier = route::connect(origin, &Route::default(), watch).map_err(|error| words(&error))?;
    send_all(&mut *carrier, request, watch).map_err(late)?.map_err(|error| words(&error))?;
    let (mut reader, mut chunk, mut taken) = (Reader::default(), vec![0; CHUNK], 0);
    loop {
        let read = until_done(&mut *carrier, PollFlags::IN, watch, |carrier| carrier.receive(&mut chunk));
        let read = read.map_err(late)?.map_err(|error| words(&error))?;
        taken += read;
        if taken > most {
            return Err(format!("its answer is longer than {} MiB", most / 1024 / 1024));
        }
        let answer = reader.take(&chunk[..read], "").map_err(|error| match error {
            ApiError::Body { why, .. } => format!("its answer can't be used: {why}"),
            _ => "it ended the connection before its answer was complete".to_owned(),
        })?;
        if let Some(answer) = answer {
            return Ok(answer);
        }
    }
}

/// Whether packets to a gateway stay in a network of its admin's, as far as its address tells.
fn check_is_near(origin: &Origin, watch: Watch<'_>) -> Result<(), String> {
    let addresses = resolve(&origin.host, origin.port, watch).map_err(|error| words(&error))?;
    let is_public = |address: &IpAddr| !is_private(*address);
    match addresses.iter().map(SocketAddr::ip).find(is_public) {
        None => Ok(()),
        Some(address) => Err(format!(
            "its address {address} is one of the internet, and no token goes there without TLS: name it in --peers as \
             https://{}",
            origin.authority()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::decide::rules::Sources;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Instant;

    fn others(origins: Vec<Origin>, token: Option<&str>) -> Others {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let mut sources = Sources::default();
        if let Some(token) = token {
            std::fs::write(&path, token).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            sources.admin_token_file = Some(path);
        }
        Others::new(origins, false, Arc::new(RuleBook::open(sources).unwrap()))
    }

    /// A server that reads a head, says `answer` again and again up to `times`, and returns what it has read.
    fn server(answer: Vec<u8>, times: usize) -> (Origin, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            for _ in 0..times {
                if stream.write_all(&answer).is_err() {
                    break;
                }
            }
            String::from_utf8(head).unwrap()
        });
        (Origin::plain("127.0.0.1", port), thread)
    }

    async fn error(origin: Origin, token: Option<&Token>) -> String {
        let others = others(vec![origin], Some("admins"));
        let scope = Scope::User("alice".into());
        let mut answers = others.ask(&Question::list(&scope, token, None)).await;
        answers.remove(0).1.err().unwrap()
    }

    #[tokio::test]
    async fn a_token_goes_to_near_gateways_and_a_proof_stands_for_it_elsewhere() {
        let token = Token::new("sekrit").unwrap();
        let scope = Scope::User("alice".into());
        let ok = || b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec();
        let (near, heard) = server(ok(), 1);
        let others_of = |origin: &Origin, admin| others(vec![origin.clone()], admin);
        let mut answers = others_of(&near, None).ask(&Question::list(&scope, Some(&token), None)).await;
        assert_eq!(answers.remove(0).1.map(|answer| answer.status), Ok(200));
        let heard = heard.join().unwrap();
        assert!(heard.starts_with("GET /sessions?here&gateways HTTP/1.1\r\n"), "{heard}");
        assert!(heard.contains("\r\nAuthorization: Bearer sekrit\r\n"), "{heard}");

        let (near, heard) = server(ok(), 1);
        let mut answers = others_of(&near, Some("admins")).ask(&Question::list(&Scope::All, None, None)).await;
        assert_eq!(answers.remove(0).1.map(|answer| answer.status), Ok(200));
        let heard = heard.join().unwrap();
        assert!(
            heard.contains("?here&gateways&all HTTP/1.1") && heard.contains("KohakuRiver-Gateway time="),
            "{heard}"
        );
        assert!(!heard.contains("admins"), "{heard}");

        // TEST-NET-3 (RFC 5737) stands for an address of the internet. Nothing is sent there.
        let far = error(Origin::plain("203.0.113.9", 8002), Some(&token)).await;
        assert!(
            far.contains("no token goes there without TLS: name it in --peers as https://203.0.113.9:8002"),
            "{far}"
        );
        let mut answers = others_of(&near, None).ask(&Question::list(&scope, None, None)).await;
        let without = answers.remove(0).1.err().unwrap();
        assert!(without.contains("without --admin-token-file"), "{without}");
    }

    #[tokio::test]
    async fn whatever_one_says_the_caller_hears_of_it_within_a_second() {
        let begun = Instant::now();
        let token = Token::new("sekrit").unwrap();
        let long = vec![b' '; CHUNK];
        for (answer, times, why) in [
            (b"".to_vec(), 1, "ended the connection before"),
            (b"ERROR Invalid request format.\n".to_vec(), 1, "ended the connection before"),
            (b"SSH-2.0-x\r\n\r\n".to_vec(), 1, "can't be used: its head is not HTTP"),
            ([b"HTTP/1.1 200 OK\r\n\r\n", &long[..]].concat(), 1000, "longer than 1 MiB"),
        ] {
            let (origin, heard) = server(answer, times);
            let said = error(origin, Some(&token)).await;
            assert!(said.contains(why), "{said}");
            heard.join().unwrap();
        }
        // The system accepts, and nobody answers.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let said = error(Origin::plain("127.0.0.1", silent.local_addr().unwrap().port()), Some(&token)).await;
        assert!(said.contains("no answer within 1 s"), "{said}");
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
}
