//! From a proxy's address to an open tunnel: dial, handshake, and the older Hosts' protocol when that is what answers.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::arguments::ProtocolChoice;
use super::farewell::Farewell;
use super::journal::Journal;
use crate::dial::{DialError, Interrupted, Watch};
use crate::handshake::connect::{self, Refused};
use crate::handshake::problem::{self, Explanation};
use crate::handshake::{Step, line};
use crate::secret::Token;
use crate::sys::{self, AsFd, EndSignals, PollFlags};
use crate::target::{TaskId, authority};

/// How long the rest of a refusal's body is waited for.
const BODY_PATIENCE: Duration = Duration::from_secs(2);

/// Most bytes looked at in one go.
const CHUNK: usize = 4096;

/// What to open, and through whom.
pub(super) struct Order<'a> {
    /// The proxy's host.
    pub(super) proxy_host: &'a str,
    /// The proxy's TCP port.
    pub(super) proxy_port: u16,
    /// The target in authority-form.
    pub(super) authority: String,
    /// The task id, when the target is a VPS; the line protocol can't name anything else.
    pub(super) task: Option<TaskId>,
    /// The token, for VPS targets alone.
    pub(super) token: Option<&'a Token>,
    /// Which protocol to speak.
    pub(super) protocol: ProtocolChoice,
    /// Caught as soon as the line protocol is spoken: leaving it takes a farewell.
    pub(super) signals: &'a EndSignals,
}

/// An open tunnel: the next byte on the socket is the stream's first.
pub(super) struct Tunnel {
    /// In non-blocking mode, tuned.
    pub(super) socket: TcpStream,
    /// Whether it was opened in the line protocol, so most likely goes through an older Host.
    pub(super) is_line: bool,
}

/// Why no tunnel was opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// The proxy can't be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The wait for an answer was cut short.
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
    /// Something listens there that is no proxy of either kind.
    #[error("its answer is no HTTP{}", quoted(.0))]
    NotHttp(String),
    /// Something listens there that wants TLS first.
    #[error("it speaks TLS, as an HTTPS server does")]
    Tls,
    /// Something listens there that doesn't speak the line protocol.
    #[error("its answer is not that of a Host{}", quoted(.0))]
    NotLine(String),
    /// HTTP that can't be read.
    #[error("its answer can't be read: {0}")]
    Malformed(&'static str),
}

/// Opens the tunnel.
///
/// # Errors
/// When no tunnel was opened; the connection is closed then, or kept for the `farewell` that is owed.
pub(super) fn open(
    order: &Order<'_>,
    watch: Watch<'_>,
    journal: &Journal,
    farewell: &mut Farewell,
) -> Result<Tunnel, OpenError> {
    if order.protocol != ProtocolChoice::RequestTunnel {
        match open_with_connect(order, watch, journal) {
            // Only this answer means an older Host. A time-out, a bare close or an HTTP error must not bring a second
            // session on the VPS.
            Err(OpenError::OlderHost(_)) if order.protocol == ProtocolChoice::Auto && order.task.is_some() => {
                journal.step("an older Host answers: asking again in its line protocol");
            }
            result => return result,
        }
    }
    open_with_line(order, watch, journal, farewell)
}

fn open_with_connect(order: &Order<'_>, watch: Watch<'_>, journal: &Journal) -> Result<Tunnel, OpenError> {
    let socket = dial(order, watch, journal)?;
    let request = connect::request(&order.authority, order.token);
    match exchange(&socket, &request, connect::read, watch)? {
        connect::Answer::Established => Ok(Tunnel { socket, is_line: false }),
        connect::Answer::Refused(refused) => {
            let body = read_body(&socket, &refused, watch);
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
    let Some(task) = order.task else {
        return Err(OpenError::NoVps);
    };
    order.signals.catch().map_err(Interrupted::Wait)?;
    let watch = Watch { signal: order.signals.caught(), ..watch };
    let socket = dial(order, watch, journal)?;
    let answer = match exchange(&socket, &line::request(task), line::read, watch) {
        Err(error @ OpenError::Interrupted(_)) => {
            // Its SUCCESS may be on the way.
            farewell.remember(socket);
            return Err(error);
        }
        answer => answer?,
    };
    match answer {
        line::Answer::Success => Ok(Tunnel { socket, is_line: true }),
        line::Answer::Error(text) => Err(OpenError::LineRefused(text)),
        line::Answer::Ssh(banner) => Err(OpenError::Ssh(banner)),
        line::Answer::Tls => Err(OpenError::Tls),
        line::Answer::Other(text) => Err(OpenError::NotLine(text)),
    }
}

fn dial(order: &Order<'_>, watch: Watch<'_>, journal: &Journal) -> Result<TcpStream, OpenError> {
    let socket = crate::dial::connect(order.proxy_host, order.proxy_port, watch)?;
    if journal.is_verbose()
        && let Ok(peer) = socket.peer_addr()
    {
        journal.step(&format!("connected to {} ({peer})", authority(order.proxy_host, order.proxy_port)));
    }
    Ok(socket)
}

/// Sends `request` and reads the answer, taking not one byte behind it off the socket: what has arrived is peeked at,
/// and only what belongs to the answer is consumed.
fn exchange<T>(
    socket: &TcpStream,
    request: &[u8],
    read: fn(&[u8]) -> Step<T>,
    watch: Watch<'_>,
) -> Result<T, OpenError> {
    let from = socket.as_fd();
    watch.send(from, request)?.map_err(OpenError::Broke)?;
    let mut answer = Vec::new();
    loop {
        let taken = answer.len();
        answer.resize(taken + CHUNK, 0);
        // Nothing is there yet, most likely, so to ask first would be one call more.
        watch.wait_for(from, PollFlags::IN)?;
        let arrived = match watch.until_done(from, PollFlags::IN, || sys::peek(from, &mut answer[taken..]))? {
            Ok(0) if taken == 0 => return Err(OpenError::ClosedEarly),
            Ok(0) => return Err(OpenError::CutOff),
            Ok(arrived) => arrived,
            Err(error) => return Err(OpenError::Broke(error)),
        };
        answer.truncate(taken + arrived);
        match read(&answer) {
            Step::Incomplete => take(socket, arrived, watch)?,
            Step::Done(value, eaten) => {
                take(socket, eaten.saturating_sub(taken), watch)?;
                return Ok(value);
            }
        }
    }
}

/// Takes `count` bytes off the socket that were seen there before.
fn take(socket: &TcpStream, mut count: usize, watch: Watch<'_>) -> Result<(), OpenError> {
    let from = socket.as_fd();
    let mut scratch = [0; CHUNK];
    while count > 0 {
        let most = count.min(CHUNK);
        match watch.until_done(from, PollFlags::IN, || sys::receive(from, &mut scratch[..most]))? {
            Ok(0) => return Err(OpenError::CutOff),
            Ok(taken) => count -= taken,
            Err(error) => return Err(OpenError::Broke(error)),
        }
    }
    Ok(())
}

/// Foreign text behind what is said of it, unless nothing of it can be shown.
fn quoted(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": `{text}`") }
}

/// The body of a refusal as far as it comes soon; it only explains, so nothing about it is an error.
fn read_body(socket: &TcpStream, refused: &Refused, watch: Watch<'_>) -> Vec<u8> {
    let watch = Watch { deadline: watch.deadline.min(Instant::now() + BODY_PATIENCE), ..watch };
    let mut body = Vec::new();
    let mut chunk = [0; CHUNK];
    let from = socket.as_fd();
    while !problem::is_complete(refused, &body) {
        match watch.until_done(from, PollFlags::IN, || sys::receive(from, &mut chunk)) {
            Ok(Ok(read @ 1..)) => body.extend_from_slice(&chunk[..read]),
            _ => break,
        }
    }
    body
}
