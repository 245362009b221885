//! The messages about the upstream proxy, for every program, and the step that helps.

use super::error::RouteError;
use super::fault::{Stranger, UpstreamFault};
use super::upstream::{Sent, Upstream};
use crate::cluster::WHERE_SET;
use crate::dial::{DialError, Interrupted};
use crate::failure::{Failure, words};
use crate::handshake::connect::Refused;
use crate::handshake::socks5::Code;
use crate::settings::{Origin, ProxyScheme, Source};
use crate::target::authority;
use crate::tls::Fault;

/// The port that most proxies allow.
const HTTPS_PORT: u16 = 443;

/// The statuses of a proxy that can't reach the server. tinyproxy says 500, and so does Squid of a name.
const CANNOT_REACH: [u16; 4] = [500, 502, 503, 504];

impl RouteError {
    /// The failure of a program that wanted a connection to `origin` through `upstream`, if there is one.
    /// `failure` says for what.
    pub fn failure(&self, failure: Failure, origin: &Origin, upstream: Option<&Upstream>) -> Failure {
        if let Some(failure) = self.upstream_failure(origin, upstream) {
            return failure;
        }
        match self {
            Self::Settings(own) => own.clone(),
            Self::Handshake(error) => match Fault::of(error) {
                Some(fault) => failure.cause(fault.to_string()).hint(fault.hint(&origin.authority())),
                None => failure
                    .cause(format!("the connection ended during the TLS handshake: {}", words(error)))
                    .hint(format!("check that this port speaks TLS{WHERE_SET}")),
            },
            error => failure.because(error),
        }
    }

    /// The failure of a program that wanted to reach `origin` through `upstream`, if the proxy is its cause, or may be.
    /// `None` where another message fits: what this machine's settings say, an end by ssh or by a signal, and any
    /// failure without a proxy on the way.
    pub(super) fn upstream_failure(&self, origin: &Origin, upstream: Option<&Upstream>) -> Option<Failure> {
        let upstream = upstream?;
        match self {
            Self::Upstream(fault) => Some(of_fault(fault, origin, upstream)),
            Self::Handshake(error) => Some(of_tls(error, origin, upstream)),
            Self::Interrupted(Interrupted::Deadline) => Some(
                Failure::new(format!("{} gave no answer in time", origin.authority()))
                    .cause(format!("{} opened the way to it ({})", upstream.named(), upstream.place()))
                    .hint(format!("try again; to connect without the proxy, {}", upstream.without(&origin.host))),
            ),
            Self::Settings(_) | Self::Dial(_) | Self::Interrupted(_) => None,
        }
    }
}

/// A row for each fault.
fn of_fault(fault: &UpstreamFault, origin: &Origin, upstream: &Upstream) -> Failure {
    let (named, server) = (upstream.named(), origin.authority());
    let because = |what: String| Failure::new(what).because(fault).cause(upstream.place());
    let without = upstream.without(&origin.host);
    match fault {
        UpstreamFault::Dial(error) => {
            let is_unknown = matches!(error, DialError::Resolve(_));
            let check = if is_unknown { "check its name" } else { "check its address and its port" };
            because(format!("cannot reach {named}")).hint(format!("{check}; to connect without it, {without}"))
        }
        UpstreamFault::Tls(error) => {
            because(format!("cannot connect to {named} by TLS")).hint(hint_of_proxys_tls(error, origin, upstream))
        }
        UpstreamFault::Silent => because(format!("{named} gave no answer in time"))
            .hint(format!("check that it is a proxy; to connect without it, {without}")),
        UpstreamFault::Ended(_) => because(format!("{named} gave no complete answer"))
            .hint(format!("check that it is {}; to connect without it, {without}", kind(upstream))),
        UpstreamFault::NoProxy(stranger) => {
            because(format!("what answers at {} is not {}", upstream.proxy.authority(), kind(upstream)))
                .hint(hint_of_stranger(stranger, origin, upstream))
        }
        UpstreamFault::Login { schemes, sent, .. } => of_login(fault, schemes, sent, upstream),
        UpstreamFault::Refused(refused, said) => {
            let what = match refused.status {
                status if CANNOT_REACH.contains(&status) => format!("{named} cannot reach {server}"),
                _ => format!("{named} refused to connect to {server}"),
            };
            let said = said.as_ref().map(|said| format!("it says: {said}"));
            Failure::new(what)
                .because(fault)
                .maybe_cause(said)
                .cause(upstream.place())
                .hint(hint_of_refusal(refused, origin, upstream))
        }
        UpstreamFault::Socks(Code::NOT_ALLOWED) => {
            because(format!("{named} refused to connect to {server}")).hint(hint_of_closed(origin, upstream))
        }
        UpstreamFault::Socks(Code::COMMAND_NOT_SUPPORTED) => because(format!("{named} does not open tunnels"))
            .hint(format!("ask its admin; to connect without it, {without}")),
        UpstreamFault::Socks(Code::ADDRESS_NOT_SUPPORTED) if !upstream.resolves() => {
            because(format!("{named} cannot reach {server}"))
                .hint(format!("let it resolve the name: name it as {}", named_as(ProxyScheme::Socks5h, upstream)))
        }
        UpstreamFault::Socks(_) => {
            because(format!("{named} cannot reach {server}")).hint(hint_of_unreachable(origin, upstream))
        }
        UpstreamFault::Resolve(_) => because(format!("cannot resolve the name {}", origin.host))
            .hint(format!("let the proxy resolve it: name it as {}", named_as(ProxyScheme::Socks5h, upstream))),
        UpstreamFault::LongName => because(format!("cannot name {server} to {named}"))
            .hint("check the Host's name; `kohakuriver config show` shows it and where it is set"),
        UpstreamFault::Command(_) => Failure::new("`proxy_auth_command` gave no login for the upstream proxy")
            .because(fault)
            .cause(format!("{named} is {}", upstream.place()))
            .hint(
                "run the command alone: its first line must be the value of Proxy-Authorization, such as `Negotiate \
                 YII…`; `kohakuriver config show` shows it",
            ),
        UpstreamFault::Spoke(_) => because(format!("{named} gave a strange answer")).hint(format!(
            "it may want a login on a web page: open one in a browser; to connect without it, {without}"
        )),
    }
}

/// The kind of proxy that the settings say it is.
fn kind(upstream: &Upstream) -> &'static str {
    match upstream.proxy.scheme {
        ProxyScheme::Http => "an HTTP proxy",
        ProxyScheme::Https => "an HTTP proxy with TLS",
        ProxyScheme::Socks5 | ProxyScheme::Socks5h => "a SOCKS5 proxy",
    }
}

/// The proxy's URL with another scheme.
fn named_as(scheme: ProxyScheme, upstream: &Upstream) -> String {
    format!("{scheme}://{}", upstream.proxy.authority())
}

fn hint_of_stranger(stranger: &Stranger, origin: &Origin, upstream: &Upstream) -> String {
    match stranger {
        Stranger::Tls => format!("name it as {}", named_as(ProxyScheme::Https, upstream)),
        Stranger::Other(line) if line.starts_with("HTTP/") => {
            format!("name it as {}", named_as(ProxyScheme::Http, upstream))
        }
        Stranger::Ssh(_) | Stranger::Other(_) | Stranger::Malformed(_) => {
            format!("check its address and its port; to connect without it, {}", upstream.without(&origin.host))
        }
    }
}

fn hint_of_proxys_tls(error: &std::io::Error, origin: &Origin, upstream: &Upstream) -> String {
    let shown = upstream.proxy.authority();
    match Fault::of(error) {
        Some(Fault::NotTls(_)) => format!("name it as {}", named_as(ProxyScheme::Http, upstream)),
        Some(Fault::UnknownCa(_) | Fault::SelfSigned(_)) => {
            "ask its admin for the file of its CA, and name it: `kohakuriver config set ca_file FILE`; the CA of the \
             cluster has to be in the same file then"
                .to_owned()
        }
        Some(Fault::WrongName(_)) => "name the proxy as its certificate does".to_owned(),
        Some(fault @ (Fault::Expired(_) | Fault::NotYetValid(_))) => fault.hint(&shown),
        Some(Fault::CertificateNeeded | Fault::CertificateRefused(_)) => {
            format!(
                "a certificate for a proxy is not supported; to connect without it, {}",
                upstream.without(&origin.host)
            )
        }
        _ => format!("`openssl s_client -connect {shown}` shows more"),
    }
}

fn of_login(fault: &UpstreamFault, schemes: &[String], sent: &Sent, upstream: &Upstream) -> Failure {
    let what = match sent {
        Sent::Nothing => format!("{} wants a login", upstream.named()),
        Sent::Password(_) | Sent::Command => format!("{} refused the login", upstream.named()),
    };
    let tried = match sent {
        Sent::Nothing => None,
        Sent::Password(user) => Some(format!("user `{user}` and a password were sent")),
        Sent::Command => Some("the output of `proxy_auth_command` was sent".to_owned()),
    };
    let offered = (!schemes.is_empty()).then(|| format!("it takes {}", schemes.join(", ")));
    let offers = |name: &str| schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case(name));
    let command = "name a command that prints the value of Proxy-Authorization: `kohakuriver config set \
                   proxy_auth_command COMMAND`";
    let hint = match sent {
        Sent::Command => "run `proxy_auth_command` alone and check what it prints".to_owned(),
        _ if schemes.is_empty() || offers("Basic") => hint_of_password(sent, upstream),
        _ if offers("Negotiate") => command.to_owned(),
        // Its login is for a connection, and takes several requests.
        _ if offers("NTLM") => "NTLM takes a helper on this machine that logs in, such as cntlm or px: name that as \
                                `upstream_proxy`"
            .to_owned(),
        _ => command.to_owned(),
    };
    Failure::new(what).because(fault).maybe_cause(offered).maybe_cause(tried).cause(upstream.place()).hint(hint)
}

fn hint_of_password(sent: &Sent, upstream: &Upstream) -> String {
    let proxy = &upstream.proxy;
    let url = format!("{}://USER:PASSWORD@{}", proxy.scheme, proxy.authority());
    let is_new = *sent == Sent::Nothing;
    let verb = if is_new { "put user and password into" } else { "check user and password in" };
    let form = if is_new { format!(": {url}") } else { String::new() };
    match upstream.source {
        Source::Env(name) => format!("{verb} {name}{form}"),
        _ => {
            format!("{verb} `upstream_proxy` in config.json{form}; `kohakuriver config path` shows where that file is")
        }
    }
}

fn hint_of_refusal(refused: &Refused, origin: &Origin, upstream: &Upstream) -> String {
    match refused.status {
        status if CANNOT_REACH.contains(&status) => hint_of_unreachable(origin, upstream),
        // Answers of web servers to a CONNECT.
        300..=399 | 400 | 404 | 405 | 501 => format!(
            "it may be a web server: check the proxy's address and port; to connect without it, {}",
            upstream.without(&origin.host)
        ),
        _ => hint_of_closed(origin, upstream),
    }
}

fn hint_of_closed(origin: &Origin, upstream: &Upstream) -> String {
    let without = upstream.without(&origin.host);
    if origin.port == HTTPS_PORT {
        return format!("ask the proxy's admin to allow {}; to connect without it, {without}", origin.host);
    }
    format!(
        "proxies often allow port {HTTPS_PORT} alone: ask the cluster's admin for {}; to connect without the proxy, \
         {without}",
        authority(&origin.host, HTTPS_PORT)
    )
}

fn hint_of_unreachable(origin: &Origin, upstream: &Upstream) -> String {
    format!(
        "check the Host's name and port with `kohakuriver config show`; if this machine can reach it without the \
         proxy, {}",
        upstream.without(&origin.host)
    )
}

/// TLS with the server failed, behind the proxy.
fn of_tls(error: &std::io::Error, origin: &Origin, upstream: &Upstream) -> Failure {
    let failure = Failure::new(format!("cannot connect to {} by TLS", origin.authority()));
    let through = format!("the connection goes through {} ({})", upstream.named(), upstream.place());
    let without = upstream.without(&origin.host);
    match Fault::of(error) {
        None => failure
            .because(error)
            .cause(through)
            .hint(format!("the proxy may have cut it off; to connect without the proxy, {without}")),
        Some(fault @ Fault::NotTls(line)) => {
            // Pages of a proxy: a login, or an error that has no status.
            let is_page = ["<", "HTTP/"].iter().any(|start| line.starts_with(start));
            let hint = match is_page {
                true => format!("the proxy may want a login on a web page; to connect without it, {without}"),
                false => fault.hint(&origin.authority()),
            };
            failure.because(fault).cause(upstream.suspicion()).hint(hint)
        }
        Some(fault @ (Fault::UnknownCa(_) | Fault::SelfSigned(_) | Fault::OtherKey(_))) => {
            let fault_hint = fault.hint(&origin.authority());
            failure.because(fault).cause(format!("{through}, which may open TLS with a CA of its own")).hint(fault_hint)
        }
        Some(fault) => failure.because(fault).cause(through).hint(fault.hint(&origin.authority())),
    }
}
