//! The SSH proxy: whether its port accepts, and what answers there.
//!
//! doctor sends a CONNECT without a target. A gateway looks up nothing for it, an older Host answers with its error
//! line, and no tunnel is opened that doctor would have to leave. Both checks use one connection: a connection that
//! ends without a request is an error in the log of an older Host.

use std::cell::RefCell;
use std::time::Duration;

use crate::carrier::Carrier;
use crate::cli::doctor::check::{Check, Examined, Given};
use crate::cli::doctor::finding::{SHOW, Verdict};
use crate::dial::{DialError, Interrupted, Watch};
use crate::failure::Failure;
use crate::handshake::identify::{self, Server};
use crate::handshake::{Step, connect};
use crate::route::{self, Route, RouteError, Upstream, send_all, until_done};
use crate::settings::Settings;
use crate::sys::{self, AsFd as _, PollFlags};
use crate::tls::Fault;

/// How long the port may take to accept.
const DIAL_LIMIT: Duration = Duration::from_secs(5);
/// How long the server may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// `host:port` of the SSH proxy in force, after `https://` if it has TLS.
pub(super) fn address(settings: &Settings) -> String {
    settings.ssh_proxy().as_typed()
}

/// A connection to the SSH proxy on which nothing has been sent.
pub(super) struct Connected(RefCell<Box<dyn Carrier>>);

fn shown(settings: &Given<Settings>) -> String {
    settings.as_ref().map_or_else(|_| "the SSH proxy".to_owned(), address)
}

/// Whether the port accepts connections.
pub(super) struct Port<'a> {
    pub(super) settings: &'a Given<Settings>,
}

impl Check for Port<'_> {
    const NAME: &'static str = "proxy-port";
    type Gives = Connected;

    fn tried(&self) -> String {
        format!("a connection to {}", shown(self.settings))
    }

    fn examine(&self) -> Result<Examined<Connected>, Verdict> {
        let settings = self.settings.as_ref()?;
        let (carrier, upstream) = connect(settings).map_err(|failure| Verdict::wrong(&failure, SHOW))?;
        let accepts = match upstream {
            Some(upstream) => format!("{} accepts through {}", settings.ssh_proxy().authority(), upstream.named()),
            None => {
                let peer = sys::peer_address(carrier.as_fd());
                format!("{} accepts", peer.map_or_else(|_| address(settings), |peer| peer.to_string()))
            }
        };
        let secured = if settings.ssh_proxy().scheme.has_tls() { ", and its certificate is trusted" } else { "" };
        Ok(Examined::giving(Verdict::Fine(format!("{accepts}{secured}")), Connected(RefCell::new(carrier))))
    }
}

/// A connection, and the upstream proxy that it goes through.
fn connect(settings: &Settings) -> Result<(Box<dyn Carrier>, Option<Upstream>), Failure> {
    let failure = Failure::new(format!("cannot reach the SSH proxy at {}", address(settings)));
    let proxy = settings.ssh_proxy();
    let port = proxy.port;
    let listens = format!("check there whether it listens: `sudo ss -ltnp 'sport = :{port}'`");
    let route = Route::of(settings, &proxy)?;
    let connected = route::connect(&proxy, &route, Watch::at_most(DIAL_LIMIT)).map_err(|error| {
        let RouteError::Dial(error) = error else {
            return error.failure(failure, &proxy, route.upstream.as_ref());
        };
        let failure = failure.because(&error);
        match error {
            DialError::Interrupted(..) => failure
                .cause("nothing comes back, not even a refusal: a firewall drops the packets, or the Host is down")
                .hint(format!("open port {port} in the firewall of the Host; {listens}")),
            _ => failure
                .cause("nothing listens there, so the SSH proxy is not running; or a firewall refuses the connection")
                .hint(format!("start the SSH proxy on the Host; {listens}")),
        }
    })?;
    Ok((connected, route.upstream))
}

/// Whether the server on the port is an SSH proxy.
pub(super) struct Protocol<'a> {
    pub(super) settings: &'a Given<Settings>,
    /// The connection to its port.
    pub(super) socket: &'a Given<Connected>,
}

impl Check for Protocol<'_> {
    const NAME: &'static str = "proxy";
    type Gives = ();

    fn tried(&self) -> String {
        format!("a CONNECT without a target to {}", shown(self.settings))
    }

    fn examine(&self) -> Result<Examined<()>, Verdict> {
        let (settings, socket) = (self.settings.as_ref()?, self.socket.as_ref()?);
        let authority = settings.ssh_proxy().authority();
        let server = ask(&mut **socket.0.borrow_mut(), &authority, Watch::at_most(ANSWER_LIMIT));
        let proxy = address(settings);
        let not = |kind: &str| format!("{proxy} is {kind}, not the SSH proxy of a Host");
        let (what, cause) = match server {
            Ok(Server::Gateway(version)) => {
                let version = version.map(|version| format!(" {version}")).unwrap_or_default();
                return Ok(Examined::giving(Verdict::Fine(format!("kohakuriver-gateway{version}")), ()));
            }
            Ok(Server::OlderHost) => {
                let text = "the SSH proxy of an older Host, with the line protocol";
                return Ok(Examined::giving(Verdict::Fine(text.to_owned()), ()));
            }
            Ok(Server::Http { is_proxy, status, name }) => {
                let name = name.map(|name| format!(", and its name is `{name}`")).unwrap_or_default();
                (not(if is_proxy { "an HTTP proxy" } else { "a web server" }), format!("it answered `{status}`{name}"))
            }
            Ok(Server::Ssh(banner)) => (not("an SSH server"), format!("it answered `{banner}`")),
            Ok(Server::Tls) => {
                let failure = Failure::new(not("a TLS server")).cause("it answered in TLS");
                let hint = format!("name it as https://{proxy}; to see each setting and its source: `{SHOW}`");
                return Err(Verdict::wrong(&failure.hint(hint), SHOW));
            }
            Ok(Server::Unknown(line)) => (not("an unknown server"), format!("it answered `{line}`")),
            Err(NoAnswer { why, hint: Some(hint) }) => {
                let failure = Failure::new(format!("{proxy} refuses the connection")).cause(why).hint(hint);
                return Err(Verdict::wrong(&failure, SHOW));
            }
            Err(NoAnswer { why, hint: None }) => (format!("{proxy} accepts connections, but does not answer"), why),
        };
        let failure = Failure::new(what)
            .cause(cause)
            .hint(format!("set the address of the Host's SSH proxy; to see each setting and its source: `{SHOW}`"));
        Err(Verdict::wrong(&failure, SHOW))
    }
}

/// Why there is no answer.
struct NoAnswer {
    why: String,
    /// The step that helps, if TLS is the reason.
    hint: Option<String>,
}

/// Sends a CONNECT without a target to the server at `authority`, and reads until the answer shows which server it is.
fn ask(carrier: &mut dyn Carrier, authority: &str, watch: Watch<'_>) -> Result<Server, NoAnswer> {
    // A server may answer and close before it has read all of the request: its answer counts.
    let sent = send_all(carrier, &connect::request(":", None, None), watch);
    let mut answer = Vec::new();
    let mut piece = [0; 2048];
    loop {
        let why = match until_done(carrier, PollFlags::IN, watch, |carrier| carrier.receive(&mut piece)) {
            Ok(Ok(read @ 1..)) => {
                answer.extend_from_slice(&piece[..read]);
                match identify::read(&answer) {
                    Step::Done(server, _) => return Ok(server),
                    Step::Incomplete => continue,
                }
            }
            _ if !answer.is_empty() => return Ok(Server::unknown(&answer)),
            Ok(Ok(_)) => "it closed the connection without an answer".to_owned(),
            Ok(Err(error)) => match Fault::of(&error) {
                Some(fault) => return Err(NoAnswer { why: fault.to_string(), hint: Some(fault.hint(authority)) }),
                None => error.to_string(),
            },
            Err(Interrupted::Deadline) => format!("no byte came within {} s", ANSWER_LIMIT.as_secs()),
            Err(error) => error.to_string(),
        };
        let why = match sent {
            Ok(Err(error)) => error.to_string(),
            _ => why,
        };
        return Err(NoAnswer { why, hint: None });
    }
}
