//! From a proxy's address to an open tunnel: dial, handshake, and the line protocol when an older Host answers.

use std::io;
use std::time::{Duration, Instant};

use super::arguments::ProtocolChoice;
use super::farewell::Farewell;
use super::journal::Journal;
use crate::carrier::Carrier;
use crate::dial::{DialError, Interrupted, Watch};
use crate::handshake::connect::{self, Refused};
use crate::handshake::problem::{self, Explanation};
use crate::handshake::{Step, line};
use crate::route::{self, Route, RouteError, send_all, until_done};
use crate::secret::Token;
use crate::settings::Origin;
use crate::sys::{self, AsFd, EndSignals, PollFlags};
use crate::target::{Target, TaskId, VpsRef};

/// How long to wait for the rest of a refusal's body.
const BODY_LIMIT: Duration = Duration::from_secs(2);

/// Most bytes read at once.
const CHUNK: usize = 4096;

/// The tunnel to open, and the proxy for it.
pub(super) struct Order<'a> {
    /// The proxy.
    pub(super) proxy: &'a Origin,
    /// How it is connected to.
    pub(super) route: &'a Route,
    /// No setting names this proxy: it is the default.
    pub(super) is_default: bool,
    /// The target. A VPS is named by its task id.
    pub(super) target: Target,
    /// The token, for VPS targets only.
    pub(super) token: Option<&'a Token>,
    /// The protocol to speak.
    pub(super) protocol: ProtocolChoice,
    /// Caught as soon as the line protocol is spoken: such a tunnel needs a farewell.
    pub(super) signals: &'a EndSignals,
    /// Time limit for the VPS's first byte.
    pub(super) limit: Duration,
}

impl Order<'_> {
    /// The task id, when the target is a VPS. The line protocol can't name anything else.
    pub(super) fn task(&self) -> Option<TaskId> {
        if let Target::Vps(VpsRef::Id(id)) = self.target { Some(id) } else { None }
    }
}

/// An open tunnel.
pub(super) struct Tunnel {
    /// Its connection. In a bare socket, the first byte of the stream is still there.
    pub(super) carrier: Box<dyn Carrier>,
    /// The first bytes of the stream, if they can't be left in a socket.
    pub(super) early: Vec<u8>,
    /// Whether it was opened in the line protocol, so most likely goes through an older Host.
    pub(super) is_line: bool,
}

/// Why no tunnel was opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// The proxy can't be reached.
    #[error(transparent)]
    Dial(DialError),
    /// There is no connection to it for another reason.
    #[error(transparent)]
    Route(RouteError),
    /// The wait for an answer was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The connection broke before the answer was complete.
    #[error(transparent)]
    Broke(io::Error),
    /// The proxy closed before it said anything.
    #[error("it closed the connection without an answer")]
    ClosedEarly,
    /// The proxy closed in the middle of its answer.
    #[error("it closed the connection in the middle of its answer")]
    CutOff,
    /// The answer to a CONNECT is a status other than 2xx.
    #[error("it answered {}", .0.status_line())]
    Refused(Box<Refused>, Box<Explanation>),
    /// A Host refused in the line protocol.
    #[error("it answered `{0}`")]
    LineRefused(String),
    /// An older Host, and CONNECT was all that could be spoken with it.
    #[error("it answered `{0}`, as a Host does that knows only the line protocol")]
    OlderHost(String),
    /// The line protocol was asked for, and the target is something else.
    #[error("the line protocol can name a VPS only, by its task id or its name")]
    NoVps,
    /// An sshd listens there.
    #[error("an SSH server answered: `{0}`")]
    Ssh(String),
    /// The server there is no proxy of either kind.
    #[error("its answer is not HTTP{}", quoted(.0))]
    NotHttp(String),
    /// The server there wants TLS first.
    #[error("it speaks TLS, as an HTTPS server does")]
    Tls,
    /// The server there doesn't speak the line protocol.
    #[error("its answer is not that of a Host{}", quoted(.0))]
    NotLine(String),
    /// HTTP that can't be read.
    #[error("its answer can't be read: {0}")]
    Malformed(&'static str),
    /// The tunnel opened, but its sshd said nothing.
    #[error(transparent)]
    Mute(#[from] Mute),
}

impl From<RouteError> for OpenError {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::Dial(error) => Self::Dial(error),
            RouteError::Interrupted(error) => Self::Interrupted(error),
            error => Self::Route(error),
        }
    }
}

/// Why the first byte of an open tunnel did not come. An sshd speaks first.
#[derive(Debug, thiserror::Error)]
pub(super) enum Mute {
    /// The server closed the tunnel.
    #[error("it closed the tunnel")]
    Closed,
    /// The connection broke.
    #[error(transparent)]
    Broke(io::Error),
    /// The wait for it was interrupted; the deadline is one reason.
    #[error(transparent)]
    Interrupted(Interrupted),
}

/// Opens the tunnel.
///
/// # Errors
/// When no tunnel was opened. The connection is closed then, or kept for the `farewell`.
pub(super) fn open(
    order: &Order<'_>,
    watch: Watch<'_>,
    journal: &Journal,
    farewell: &mut Farewell,
) -> Result<Tunnel, OpenError> {
    if order.protocol != ProtocolChoice::RequestTunnel {
        match open_with_connect(order, watch, journal) {
            // Only this answer means an older Host. A timeout, a bare close or an HTTP error must not lead to a second
            // session on the VPS.
            Err(OpenError::OlderHost(_)) if order.protocol == ProtocolChoice::Auto && order.task().is_some() => {
                journal.step("an older Host answers: asking again in its line protocol");
            }
            result => return result,
        }
    }
    open_with_line(order, watch, journal, farewell)
}

/// Waits for the first byte of the tunnel, and leaves it in the socket: a proxy's yes is not sshd's.
///
/// # Errors
/// When the byte does not come.
pub(super) fn first_byte(tunnel: &mut Tunnel, watch: Watch<'_>) -> Result<(), Mute> {
    let Tunnel { carrier, early, .. } = tunnel;
    if !early.is_empty() {
        return Ok(());
    }
    let arrived = if let Some(socket) = carrier.bare_socket() {
        watch.wait_for(socket, PollFlags::IN).map_err(Mute::Interrupted)?;
        watch.until_done(socket, PollFlags::IN, || sys::peek(socket, &mut [0]))
    } else {
        early.resize(CHUNK, 0);
        let read = until_done(&mut **carrier, PollFlags::IN, watch, |carrier| carrier.receive(early));
        early.truncate(if let Ok(Ok(read)) = &read { *read } else { 0 });
        read
    };
    match arrived.map_err(Mute::Interrupted)? {
        Ok(0) => Err(Mute::Closed),
        Ok(_) => Ok(()),
        Err(error) => Err(Mute::Broke(error)),
    }
}

fn open_with_connect(order: &Order<'_>, watch: Watch<'_>, journal: &Journal) -> Result<Tunnel, OpenError> {
    let mut carrier = dial(order, watch, journal)?;
    let request = connect::request(&order.target.authority(), order.token);
    let (answer, early) = exchange(&mut *carrier, &request, connect::read, watch)?;
    match answer {
        connect::Answer::Established => Ok(Tunnel { carrier, early, is_line: false }),
        connect::Answer::Refused(refused) => {
            let body = read_body(&mut *carrier, early, &refused, watch);
            let explanation = problem::explain(&refused, &body);
            Err(OpenError::Refused(Box::new(refused), Box::new(explanation)))
        }
        connect::Answer::OlderHost(text) => Err(OpenError::OlderHost(text)),
        connect::Answer::Ssh(banner) => Err(OpenError::Ssh(banner)),
        connect::Answer::Tls => Err(OpenError::Tls),
        connect::Answer::NotHttp(text) => Err(OpenError::NotHttp(text)),
        connect::Answer::Malformed(why) => Err(OpenError::Malformed(why)),
    }
}

fn open_with_line(
    order: &Order<'_>,
    watch: Watch<'_>,
    journal: &Journal,
    farewell: &mut Farewell,
) -> Result<Tunnel, OpenError> {
    let Some(task) = order.task() else {
        return Err(OpenError::NoVps);
    };
    order.signals.catch().map_err(Interrupted::Wait)?;
    let watch = Watch { signal: order.signals.caught(), ..watch };
    let mut carrier = dial(order, watch, journal)?;
    let (answer, early) = match exchange(&mut *carrier, &line::request(task), line::read, watch) {
        Err(error @ OpenError::Interrupted(_)) => {
            // Its SUCCESS may be on the way.
            farewell.remember(carrier);
            return Err(error);
        }
        answer => answer?,
    };
    match answer {
        line::Answer::Success => Ok(Tunnel { carrier, early, is_line: true }),
        line::Answer::Error(text) => Err(OpenError::LineRefused(text)),
        line::Answer::Ssh(banner) => Err(OpenError::Ssh(banner)),
        line::Answer::Tls => Err(OpenError::Tls),
        line::Answer::Other(text) => Err(OpenError::NotLine(text)),
    }
}

/// Connects to the proxy. From then on the terminal is told that it has not answered yet.
fn dial(order: &Order<'_>, watch: Watch<'_>, journal: &Journal) -> Result<Box<dyn Carrier>, OpenError> {
    let proxy = order.proxy.authority();
    journal.waits_for(format!("connecting to the SSH proxy at {proxy}"));
    let carrier = route::connect(order.proxy, order.route, watch)?;
    if journal.is_verbose()
        && let Ok(peer) = sys::peer_address(carrier.as_fd())
    {
        journal.step(&format!("connected to {proxy} ({peer})"));
    }
    journal.waits_for(format!("the SSH proxy at {proxy} has not answered yet"));
    Ok(carrier)
}

/// Sends `request` and reads the answer. Gives back the answer and the bytes behind it that had to be read with it.
///
/// From a bare socket no such byte is read: it is peeked at, and only the answer is taken. So ssh can be given the
/// socket, with the whole stream in it.
fn exchange<T>(
    carrier: &mut dyn Carrier,
    request: &[u8],
    read: fn(&[u8]) -> Step<T>,
    watch: Watch<'_>,
) -> Result<(T, Vec<u8>), OpenError> {
    send_all(carrier, request, watch)?.map_err(OpenError::Broke)?;
    if let Some(socket) = carrier.bare_socket() {
        // Nothing has arrived yet, most likely, so a first try would be one call more.
        watch.wait_for(socket, PollFlags::IN)?;
    }
    let mut answer = Vec::new();
    loop {
        let seen = answer.len();
        answer.resize(seen + CHUNK, 0);
        let mut is_left = false;
        let arrived = until_done(carrier, PollFlags::IN, watch, |carrier| match carrier.bare_socket() {
            Some(socket) => {
                is_left = true;
                sys::peek(socket, &mut answer[seen..])
            }
            None => carrier.receive(&mut answer[seen..]),
        })?;
        let arrived = match arrived {
            Ok(0) if seen == 0 => return Err(OpenError::ClosedEarly),
            Ok(0) => return Err(OpenError::CutOff),
            Ok(arrived) => arrived,
            Err(error) => return Err(OpenError::Broke(error)),
        };
        answer.truncate(seen + arrived);
        let step = read(&answer);
        let end = if let Step::Done(_, end) = &step { *end } else { answer.len() };
        if is_left {
            take(carrier, end.saturating_sub(seen), watch)?;
            answer.truncate(end);
        }
        if let Step::Done(value, end) = step {
            return Ok((value, answer.split_off(end)));
        }
    }
}

/// Takes `count` bytes that a peek has seen.
fn take(carrier: &mut dyn Carrier, mut count: usize, watch: Watch<'_>) -> Result<(), OpenError> {
    let mut scratch = [0; CHUNK];
    while count > 0 {
        let most = count.min(CHUNK);
        match until_done(carrier, PollFlags::IN, watch, |carrier| carrier.receive(&mut scratch[..most]))? {
            Ok(0) => return Err(OpenError::CutOff),
            Ok(taken) => count -= taken,
            Err(error) => return Err(OpenError::Broke(error)),
        }
    }
    Ok(())
}

/// Foreign text to append to a message; nothing if there is none.
fn quoted(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": `{text}`") }
}

/// The body of a refusal that begins with `body`, as far as it comes soon. It only explains, so no error matters.
fn read_body(carrier: &mut dyn Carrier, mut body: Vec<u8>, refused: &Refused, watch: Watch<'_>) -> Vec<u8> {
    let watch = Watch { deadline: watch.deadline.min(Instant::now() + BODY_LIMIT), ..watch };
    let mut chunk = [0; CHUNK];
    while !problem::is_complete(refused, &body) {
        match until_done(carrier, PollFlags::IN, watch, |carrier| carrier.receive(&mut chunk)) {
            Ok(Ok(read @ 1..)) => body.extend_from_slice(&chunk[..read]),
            _ => break,
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::tests::{ReadAhead, connection};
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd;

    const STREAM: &[u8] = b"SSH-2.0-banner\r\n";

    /// A server that answers `request` with a head of 3,000 bytes, and with the stream in the same segment.
    fn answer() -> Vec<u8> {
        let field = format!("Field: {}\r\n", "x".repeat(100));
        let head = format!("HTTP/1.1 200 OK\r\n{}\r\n", field.repeat(30));
        [head.as_bytes(), STREAM].concat()
    }

    fn exchanged(carrier: &mut dyn Carrier, request: &[u8]) -> Vec<u8> {
        let (ssh, _ssh_end) = std::os::unix::net::UnixStream::pair().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let watch = Watch { ssh: Some(ssh.as_fd()), signal: None, deadline, beside: None };
        let (answer, early) = exchange(carrier, request, connect::read, watch).unwrap();
        assert!(matches!(answer, connect::Answer::Established));
        early
    }

    #[test]
    fn a_bare_socket_keeps_every_byte_behind_the_answer() {
        let (mut socket, mut server) = connection();
        server.write_all(&answer()).unwrap();
        assert_eq!(exchanged(&mut socket, b"a request"), b"");
        let mut heard = [0; 9];
        server.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"a request");
        let mut stream = [0; 100];
        assert_eq!(socket.receive(&mut stream).unwrap(), STREAM.len());
        assert_eq!(&stream[..STREAM.len()], STREAM);
    }

    #[test]
    fn bytes_behind_the_answer_are_returned_if_they_cannot_be_left() {
        let (socket, mut server) = connection();
        let mut carrier = ReadAhead::new(socket);
        server.write_all(&answer()).unwrap();
        // More than the carrier sends at once.
        let request = vec![b'r'; 3000];
        let early = exchanged(&mut carrier, &request);
        let mut heard = vec![0; request.len()];
        server.read_exact(&mut heard).unwrap();
        assert_eq!(heard, request);
        let mut stream = early.clone();
        let mut chunk = [0; 100];
        while let Ok(bytes) = carrier.receive(&mut chunk) {
            stream.extend_from_slice(&chunk[..bytes]);
        }
        assert!(!early.is_empty());
        assert_eq!(stream, STREAM);
    }
}
