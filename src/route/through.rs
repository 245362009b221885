//! Through the upstream proxy: CONNECT, or SOCKS5.

use std::net::IpAddr;

use super::auth_command;
use super::error::RouteError;
use super::exchange::{ExchangeError, exchange, read_body};
use super::fault::{Stranger, UpstreamFault};
use super::secure::secure;
use super::upstream::Upstream;
use crate::carrier::Carrier;
use crate::dial::{self, DialError, Interrupted, Watch};
use crate::handshake::Step;
use crate::handshake::connect::{self, Login, Refused};
use crate::handshake::problem::{self, Explanation};
use crate::handshake::socks5::{self, Address, Method, NotSocks};
use crate::secret::{Authorization, Password};
use crate::settings::{Origin, ProxyScheme, Trust, UpstreamProxy};
use crate::text::excerpt_bytes;
use crate::tls::ClientConfig;

/// The statuses of a proxy that wants a login. tinyproxy answers a wrong one with 401.
const LOGIN_NEEDED: [u16; 2] = [401, 407];
/// Longest name in SOCKS5, in bytes.
const MOST_OF_NAME: usize = 255;

/// Connects to `origin` through the proxy: a carrier on which nothing has been sent to the origin yet. It is a bare
/// socket, with every byte of the origin in it, unless the proxy has TLS.
pub(super) fn through(
    upstream: &Upstream,
    trust: &Trust,
    origin: &Origin,
    watch: Watch<'_>,
) -> Result<Box<dyn Carrier>, RouteError> {
    if upstream.proxy.scheme.is_http() {
        return through_http(upstream, trust, origin, watch);
    }
    let ips = match plain_address(&origin.host) {
        Some(ip) => vec![ip],
        None if upstream.resolves() => Vec::new(),
        None => dial::resolve(&origin.host, origin.port, watch)
            .map_err(|error| of_dial(error, UpstreamFault::Resolve))?
            .iter()
            .map(std::net::SocketAddr::ip)
            .collect(),
    };
    let Some((last, others)) = ips.split_last() else {
        if origin.host.len() > MOST_OF_NAME {
            return Err(UpstreamFault::LongName.into());
        }
        return through_socks(upstream, Address::Name(&origin.host), origin.port, watch);
    };
    for ip in others {
        match through_socks(upstream, Address::Ip(*ip), origin.port, watch) {
            Err(RouteError::Upstream(fault)) if matches!(*fault, UpstreamFault::Socks(code) if code.is_of_address()) => {
            }
            result => return result,
        }
    }
    through_socks(upstream, Address::Ip(*last), origin.port, watch)
}

/// The address that `host` is. A zone has no meaning at the proxy.
fn plain_address(host: &str) -> Option<IpAddr> {
    host.split_once('%').map_or(host, |(address, _zone)| address).parse().ok()
}

fn through_http(
    upstream: &Upstream,
    trust: &Trust,
    origin: &Origin,
    watch: Watch<'_>,
) -> Result<Box<dyn Carrier>, RouteError> {
    let credentials = credentials(upstream, watch)?;
    let mut carrier = to_proxy(upstream, trust, watch)?;
    let request = connect::request(&origin.authority(), credentials.login(), None);
    let (answer, early) = ask(&mut carrier, &request, connect::read, watch)?;
    match answer {
        connect::Answer::Established(_) if early.is_empty() => Ok(carrier),
        connect::Answer::Established(_) => Err(UpstreamFault::Spoke(first_line(&early)).into()),
        connect::Answer::Refused(refused) if LOGIN_NEEDED.contains(&refused.status) => {
            let answer = format!("it answered {}", refused.status_line());
            Err(UpstreamFault::Login { answer, schemes: refused.schemes, sent: upstream.sent() }.into())
        }
        connect::Answer::Refused(refused) => {
            let body = read_body(&mut carrier, early, &refused, watch);
            let said = said(&refused, &body);
            Err(UpstreamFault::Refused(Box::new(refused), said).into())
        }
        connect::Answer::Tls => Err(UpstreamFault::NoProxy(Stranger::Tls).into()),
        connect::Answer::Ssh(banner) => Err(UpstreamFault::NoProxy(Stranger::Ssh(banner)).into()),
        connect::Answer::OlderHost(text) | connect::Answer::NotHttp(text) => {
            Err(UpstreamFault::NoProxy(Stranger::Other(text)).into())
        }
        connect::Answer::Malformed(why) => Err(UpstreamFault::NoProxy(Stranger::Malformed(why)).into()),
    }
}

/// The credentials for an HTTP proxy.
pub enum Credentials {
    /// Nothing.
    Nothing,
    /// User and password.
    Basic(String, Option<Password>),
    /// The output of a command.
    Value(Authorization),
}

impl Credentials {
    /// As a request has them.
    pub fn login(&self) -> Option<Login<'_>> {
        match self {
            Self::Nothing => None,
            Self::Basic(user, password) => Some(Login::Basic(user, password.as_ref())),
            Self::Value(value) => Some(Login::Value(value)),
        }
    }
}

/// The credentials for `proxy`. This runs its command.
///
/// # Errors
/// When the command gives nothing that can be sent, or `watch` ends the wait.
pub fn credentials(proxy: &Upstream, watch: Watch<'_>) -> Result<Credentials, RouteError> {
    if let Some(line) = &proxy.auth_command {
        return auth_command::run(line, watch).map(Credentials::Value).map_err(|error| match error {
            auth_command::CommandError::Interrupted(why) => RouteError::Interrupted(why),
            error => UpstreamFault::Command(error).into(),
        });
    }
    let UpstreamProxy { user, password, .. } = &proxy.proxy;
    Ok(user.clone().map_or(Credentials::Nothing, |user| Credentials::Basic(user, password.clone())))
}

/// A connection to the proxy, with TLS for an https:// one.
fn to_proxy(upstream: &Upstream, trust: &Trust, watch: Watch<'_>) -> Result<Box<dyn Carrier>, RouteError> {
    let proxy = &upstream.proxy;
    let socket = dial::connect(&proxy.host, proxy.port, watch).map_err(|error| of_dial(error, UpstreamFault::Dial))?;
    if proxy.scheme != ProxyScheme::Https {
        return Ok(Box::new(socket));
    }
    // The pins and the client's certificate are for the servers of the cluster.
    let trust = Trust { ca_file: trust.ca_file.clone(), ..Trust::default() };
    let config = ClientConfig::load(&trust).map_err(RouteError::Settings)?;
    match secure(socket, &config, &proxy.host, watch) {
        Ok(carrier) => Ok(Box::new(carrier)),
        Err(RouteError::Handshake(error)) => Err(UpstreamFault::Tls(error).into()),
        Err(RouteError::Interrupted(Interrupted::Deadline)) => Err(UpstreamFault::Silent.into()),
        Err(error) => Err(error),
    }
}

fn through_socks(
    upstream: &Upstream,
    address: Address<'_>,
    port: u16,
    watch: Watch<'_>,
) -> Result<Box<dyn Carrier>, RouteError> {
    let proxy = &upstream.proxy;
    let mut carrier = to_proxy(upstream, &Trust::default(), watch)?;
    let refused = |answer: &str| {
        let answer = answer.to_owned();
        RouteError::from(UpstreamFault::Login { answer, schemes: Vec::new(), sent: upstream.sent() })
    };
    match socks(&mut carrier, &socks5::greeting(proxy.user.is_some()), socks5::read_method, watch)? {
        Method::Nothing => {}
        Method::Password => {
            let user = proxy.user.as_deref().ok_or_else(|| refused("it wants user and password"))?;
            let password = proxy.password.as_ref().map(Password::expose).unwrap_or_default();
            if !socks(&mut carrier, &socks5::login(user, password), socks5::read_login, watch)? {
                return Err(refused("it refused user and password"));
            }
        }
        Method::Unacceptable => return Err(refused("it wants another login than was offered")),
    }
    match socks(&mut carrier, &socks5::connect(address, port), socks5::read_reply, watch)? {
        Ok(()) => Ok(carrier),
        Err(code) => Err(UpstreamFault::Socks(code).into()),
    }
}

/// One message of SOCKS5 and its answer.
fn socks<T>(
    carrier: &mut Box<dyn Carrier>,
    request: &[u8],
    read: fn(&[u8]) -> Step<Result<T, NotSocks>>,
    watch: Watch<'_>,
) -> Result<T, RouteError> {
    // A bare socket keeps what is behind the answer.
    let (answer, _) = ask(carrier, request, read, watch)?;
    answer.map_err(|stranger| {
        let stranger = match stranger {
            NotSocks::Tls => Stranger::Tls,
            NotSocks::Other(text) if text.starts_with("SSH-") => Stranger::Ssh(text),
            NotSocks::Other(text) => Stranger::Other(text),
        };
        UpstreamFault::NoProxy(stranger).into()
    })
}

fn ask<T>(
    carrier: &mut Box<dyn Carrier>,
    request: &[u8],
    read: fn(&[u8]) -> Step<T>,
    watch: Watch<'_>,
) -> Result<(T, Vec<u8>), RouteError> {
    exchange(carrier, request, read, watch).map_err(|error| match error {
        ExchangeError::Interrupted(Interrupted::Deadline) => UpstreamFault::Silent.into(),
        ExchangeError::Interrupted(why) => RouteError::Interrupted(why),
        error => UpstreamFault::Ended(error).into(),
    })
}

/// An end by ssh or by a signal is no fault of the proxy.
fn of_dial(error: DialError, fault: fn(DialError) -> UpstreamFault) -> RouteError {
    match error {
        DialError::Interrupted(Interrupted::SshGone | Interrupted::Signal, _) => RouteError::Dial(error),
        error => fault(error).into(),
    }
}

fn first_line(bytes: &[u8]) -> String {
    excerpt_bytes(bytes.split(|&byte| byte == b'\n').next().unwrap_or_default())
}

/// The words of a refusal, unless they only repeat its status.
fn said(refused: &Refused, body: &[u8]) -> Option<String> {
    let line = match problem::explain(refused, body) {
        Explanation::Problem { title, .. } => title,
        Explanation::Text(line) => line,
        Explanation::Nothing => return None,
    };
    (line != refused.status_line()).then_some(line)
}
