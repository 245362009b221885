//! From a proxy's address to an open tunnel: dial, handshake, and the line protocol when an older Host answers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::arguments::ProtocolChoice;
use super::away::Away;
use super::farewell::Farewell;
use super::journal::Journal;
use super::redial::{Redial, Session};
use crate::carrier::Carrier;
use crate::dial::{DialError, Interrupted, Watch};
use crate::handshake::connect::{self, Refused};
use crate::handshake::line;
use crate::handshake::problem::{self, Explanation};
use crate::handshake::resume;
use crate::relay::End;
use crate::resume::{Exchange, Public, Resumable, Role, SessionId};
use crate::route::{self, Credentials, ExchangeError, Route, RouteError, exchange, read_body, until_done};
use crate::secret::Token;
use crate::settings::Origin;
use crate::sys::{self, AsFd, EndSignals, PollFlags};
use crate::target::{Target, TaskId, VpsRef};

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
    /// The tunnel is to survive its connection, if the gateway can do that.
    pub(super) resumable: bool,
    /// The words about that for the terminal and the log file.
    pub(super) away: &'a Arc<Away>,
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
    /// No connection to the gateway, for another reason.
    #[error(transparent)]
    Route(RouteError),
    /// The wait for an answer was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// No whole answer came.
    #[error(transparent)]
    Exchange(ExchangeError),
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

impl From<ExchangeError> for OpenError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Interrupted(why) => Self::Interrupted(why),
            error => Self::Exchange(error),
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

/// Takes the first bytes of the tunnel that its carrier has read already, together with the answer: its descriptor
/// reports them no more. Returns how the tunnel has ended, if that has come with the answer, too.
pub(super) fn take_held(tunnel: &mut Tunnel) -> Option<End> {
    let Tunnel { carrier, early, .. } = tunnel;
    if !early.is_empty() || carrier.bare_socket().is_some() {
        return None;
    }
    early.resize(CHUNK, 0);
    let read = loop {
        match carrier.receive(early) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read,
        }
    };
    early.truncate(*read.as_ref().unwrap_or(&0));
    match read {
        Ok(0) => Some(End::ServerClosedMute),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Some(End::BrokenMute(error)),
        _ => None,
    }
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
    let arrived = if carrier.bare_socket().is_some() {
        watch.wait_for(carrier.as_fd(), PollFlags::IN).map_err(Mute::Interrupted)?;
        until_done(&mut **carrier, PollFlags::IN, watch, |carrier| sys::peek(carrier.as_fd(), &mut [0]))
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
    // A gateway has users of its own.
    let own_login = order.route.own_login.as_ref().filter(|_| matches!(order.target, Target::Foreign { .. }));
    let credentials = own_login.map(|proxy| route::credentials(proxy, watch)).transpose()?;
    let login = order.token.map(connect::Login::Bearer);
    let mut carrier = dial(order, watch, journal)?;
    let login = login.or(credentials.as_ref().and_then(Credentials::login));
    // Without random bytes the tunnel is not resumable.
    let exchange_of_keys = order.resumable.then(Exchange::new).and_then(Result::ok);
    let asked = exchange_of_keys.as_ref().map(|exchange| resume::Asked::New(exchange.public()));
    let request = connect::request(&order.target.authority(), login, asked);
    let (answer, early) = exchange(&mut *carrier, &request, connect::read, watch)?;
    match answer {
        connect::Answer::Established(granted) => {
            let tunnel = Tunnel { carrier, early, is_line: false };
            match (exchange_of_keys, granted) {
                (Some(exchange), Some(resume::Answered::New { id, key, keep, .. })) => {
                    resumable(order, tunnel, exchange, (id, &key), Duration::from_secs(keep), journal)
                }
                _ => Ok(tunnel),
            }
        }
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

/// The tunnel as one that survives its connection.
fn resumable(
    order: &Order<'_>,
    tunnel: Tunnel,
    exchange: Exchange,
    (id, gateway): (SessionId, &Public),
    keep: Duration,
    journal: &Journal,
) -> Result<Tunnel, OpenError> {
    let Some(key) = exchange.with_gateway(gateway, id) else {
        return Err(OpenError::Malformed("its key for a resumable tunnel is none"));
    };
    // A signal must not end this process before the gateway knows: it would keep the session.
    order.signals.catch().map_err(Interrupted::Wait)?;
    journal.step(&format!("the tunnel survives {} s without a connection", keep.as_secs()));
    let session = Session {
        proxy: order.proxy.clone(),
        route: order.route.clone(),
        target: order.target.clone(),
        token: order.token.cloned(),
        id,
        key,
    };
    let redial = Redial::new(session, Arc::clone(order.away)).map_err(Interrupted::Wait)?;
    let Tunnel { carrier, early, is_line } = tunnel;
    let carrier = Box::new(Resumable::new(Role::Client, carrier, early, Vec::new(), keep, redial));
    Ok(Tunnel { carrier, early: Vec::new(), is_line })
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
        Err(ExchangeError::Interrupted(why)) => {
            // Its SUCCESS may be on the way.
            farewell.remember(carrier);
            return Err(why.into());
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

/// Foreign text to append to a message; nothing if there is none.
fn quoted(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": `{text}`") }
}
