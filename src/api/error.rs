//! Why a call to the Host API failed.

use std::error::Error;
use std::io;
use std::time::Duration;

use crate::cluster::WHERE_SET;
use crate::dial::Interrupted;
use crate::failure::{Failure, UNRESOLVED, words};
use crate::refusal::Refusal;
use crate::route::{RouteError, Upstream};
use crate::settings::{self, Origin};
use crate::sys;
use crate::target::VpsRef;
use crate::tls::Fault;
use crate::tokens;

/// Why a call to the Host API failed. Text from the network is printable and short.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The Host refused, for a reason that a gateway can have as well.
    #[error("{}", without_vps(.0))]
    Refusal(Refusal),
    /// The text is not the address of a Host API.
    #[error("`{base}` is not the address of a Host API: {why}")]
    Base {
        /// The text.
        base: String,
        /// Why it is not an address.
        why: &'static str,
    },
    /// The connection failed or broke.
    #[error("the Host API at {base} can't be reached")]
    Unreachable {
        /// The API's address.
        base: String,
        /// The error of the system.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Nothing listens at the default address, and no setting names a Host.
    #[error("no Host is set: nothing answers at the default, {base}")]
    NoHost {
        /// The API's address.
        base: String,
        /// How the connection failed.
        why: String,
    },
    /// The answer was not complete in time.
    #[error("the Host API at {base} gave no answer within {} s", .limit.as_secs())]
    Timeout {
        /// The API's address.
        base: String,
        /// The time limit.
        limit: Duration,
    },
    /// The answer is no longer needed: ssh ended, or a signal arrived.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// An HTTP server without the paths of a Host.
    #[error("the server at {base} is not a KohakuRiver Host: it has neither /api{path} nor {path}")]
    NotAHost {
        /// The API's address.
        base: String,
        /// The path of the request, without `/api`.
        path: String,
    },
    /// The Host has no way to take a part of the request.
    #[error("the Host at {base} {}{what}", if *.older { "is too old for " } else { "has no field in its API for " })]
    Unsupported {
        /// The API's address.
        base: String,
        /// The Host is of the older generation.
        older: bool,
        /// The part.
        what: &'static str,
        /// A hint for the user.
        hint: &'static str,
    },
    /// An unexpected status.
    #[error("the Host API at {base} answered {status}{}", colon(.detail))]
    Status {
        /// The API's address.
        base: String,
        /// The status code.
        status: u16,
        /// The text of the answer, which may be empty.
        detail: String,
    },
    /// An answer that can't be used.
    #[error("the Host API at {base} gave an unusable answer: {why}")]
    Body {
        /// The API's address.
        base: String,
        /// The reason.
        why: String,
    },
}

impl ApiError {
    /// Whether the Host certainly did nothing: it refused, or there was no connection. After a connection that broke or an
    /// unusable answer, the Host may have acted on the call.
    pub fn had_no_effect(&self) -> bool {
        match self {
            Self::Refusal(_) | Self::Base { .. } | Self::NoHost { .. } => true,
            Self::NotAHost { .. } | Self::Unsupported { .. } => true,
            // A Host that fails (500) may have begun. A proxy on the way sends 502 to 504 with HTML or an empty body.
            Self::Status { status: 502 | 503, detail, .. } => !detail.is_empty() && !detail.starts_with('<'),
            Self::Status { status, .. } => *status < 500,
            Self::Unreachable { source, .. } => is_refused(source.as_ref()),
            Self::Timeout { .. } | Self::Interrupted(_) | Self::Body { .. } => false,
        }
    }

    /// The refusal that a gateway sends to its client.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Refusal(refusal) => refusal.clone(),
            // Not the Host's fault: the gateway itself has reached a limit.
            Self::Unreachable { source, .. } if chain(source.as_ref()).any(is_shortage) => {
                Refusal::Limit("it has no file descriptor left for a request to the Host".to_owned())
            }
            Self::Base { why, .. } => Refusal::HostApi(format!("its address is not usable: {why}")),
            // A client may see the cause (`connection refused`). The address of the API is for the admin alone.
            Self::Unreachable { source, .. } => match self.fault_of_tls() {
                Some(why) => Refusal::HostTls(why),
                None => Refusal::HostDown(innermost(source.as_ref())),
            },
            Self::Timeout { limit, .. } => Refusal::HostSilent(format!("it took longer than {} s", limit.as_secs())),
            Self::NotAHost { path, .. } => {
                Refusal::HostApi(format!("it is not a KohakuRiver Host: it has neither /api{path} nor {path}"))
            }
            Self::Status { status, detail, .. } => Refusal::HostApi(format!("it answered {status}{}", colon(detail))),
            Self::Body { why, .. } => Refusal::HostApi(format!("its answer is not usable: {why}")),
            _ => Refusal::HostApi(self.to_string()),
        }
    }

    /// Why there is no TLS with the Host, if that is so until somebody mends it: in words for a client, without paths of
    /// this machine.
    pub(crate) fn fault_of_tls(&self) -> Option<String> {
        let Self::Unreachable { source, .. } = self else { return None };
        let fault = match off_route(source.as_ref()).map(|off| &off.error) {
            Some(RouteError::Settings(_)) => return Some("its own settings of TLS are not usable".to_owned()),
            Some(RouteError::Handshake(error)) => Fault::of(error),
            _ => fault(source.as_ref()),
        };
        fault.filter(|fault| **fault != Fault::CutOff).map(ToString::to_string)
    }

    /// The failure of a command about `vps`.
    pub fn about(&self, vps: &VpsRef, base: &str) -> Failure {
        match self {
            Self::Refusal(refusal) => refused(refusal, &vps.to_string(), base),
            other => other.failure(format!("cannot look up VPS {vps}")),
        }
    }

    /// The failure of a command. `what` names the attempt and its value.
    pub fn failure(&self, what: impl Into<String>) -> Failure {
        let failure = Failure::new(what);
        let address = "`kohakuriver config show` shows where its address is set";
        let hint = match self {
            // The refusal's own text is about one VPS; this call was not.
            Self::Refusal(Refusal::NotAllowed) => {
                let failure = failure.cause("the Host does not allow this to your role");
                return failure.hint("`kohakuriver auth status` shows your user and role");
            }
            Self::Refusal(refusal) => return failure.cause(without_vps(refusal)).maybe_hint(hint_here(refusal, "VPS")),
            Self::NoHost { base, why } => return settings::no_host(base, why),
            Self::Interrupted(why) => return failure.because(why),
            Self::Unreachable { base, source } => {
                if let Some(off) = off_route(source.as_ref()) {
                    return off.error.failure(failure.cause(self.to_string()), &off.origin, off.upstream.as_ref());
                }
                let server = base.rsplit_once("//").map_or(base.as_str(), |(_, authority)| authority);
                if let Some(fault) = fault(source.as_ref()) {
                    return failure.cause(self.to_string()).cause(fault.to_string()).hint(fault.hint(server));
                }
                let why = innermost(source.as_ref());
                let hint = match why.starts_with(UNRESOLVED) {
                    true => "correct the Host's name: `kohakuriver config show` shows where it is set".to_owned(),
                    false => format!("check that the Host runs; {address}"),
                };
                return failure.cause(self.to_string()).cause(why).hint(hint);
            }
            Self::Timeout { .. } => {
                format!("check whether the Host is overloaded or a firewall drops its packets; {address}")
            }
            Self::Body { base, why } if why.ends_with(NOT_HTTP) && base.starts_with("http://") => {
                format!("if it speaks TLS, name it as {}{WHERE_SET}", base.replacen("http", "https", 1))
            }
            Self::NotAHost { .. } | Self::Body { .. } => format!("another server may listen there; {address}"),
            Self::Status { .. } => "read the log on the Host: `journalctl -u kohakuriver-host`".to_owned(),
            Self::Unsupported { hint, .. } => (*hint).to_owned(),
            Self::Base { .. } => "write it as http://HOST:PORT or https://HOST[:PORT]".to_owned(),
        };
        failure.cause(self.to_string()).hint(hint)
    }
}

/// The end of [`ApiError::Body`]'s reason if the server may speak another protocol.
pub(super) const NOT_HTTP: &str = "is not HTTP";

/// The failure for a refusal about `vps`, in the same words as a gateway, with the Host that refused.
pub fn refused(refusal: &Refusal, vps: &str, base: &str) -> Failure {
    let failure = Failure::new(refusal.title(vps));
    let failure = match (refusal.message(), refusal.detail()) {
        (Some(message), _) => failure.cause(format!("the Host at {base} says: {message}")),
        (None, Some(detail)) => failure.cause(detail).cause(format!("the Host at {base} says so")),
        (None, None) => failure.cause(format!("the Host at {base} says so")),
    };
    failure.maybe_hint(hint_here(refusal, vps))
}

/// The hint of `refusal` on the user's machine. A gateway can't know where the user's token comes from.
pub fn hint_here(refusal: &Refusal, vps: &str) -> Option<String> {
    if *refusal == Refusal::TokenNeeded { Some(tokens::how_to_log_in()) } else { refusal.hint(vps) }
}

/// The text of a refusal that is not about one VPS.
fn without_vps(refusal: &Refusal) -> String {
    refusal.detail().unwrap_or_else(|| refusal.title("of this id or name"))
}

fn colon(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {detail}") }
}

/// The last error of the chain, which is that of the system. The others repeat the text of [`ApiError`].
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    words(chain(error).last().unwrap_or(error))
}

/// Whether the connection was refused, so that no request was sent.
pub(super) fn is_refused(error: &(dyn Error + 'static)) -> bool {
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    chain(error).any(|error| error.downcast_ref().is_some_and(refused))
}

pub(super) fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// Why there is no connection to an origin, with what a message about it needs.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub(super) struct OffRoute {
    #[source]
    pub(super) error: RouteError,
    pub(super) origin: Origin,
    pub(super) upstream: Option<Upstream>,
}

/// The error of a connection with TLS, or through a proxy.
pub(super) fn off_route<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e OffRoute> {
    let is_own = |off: &&OffRoute| !matches!(off.error, RouteError::Dial(_) | RouteError::Interrupted(_));
    chain(error).find_map(|error| error.downcast_ref()).filter(is_own)
}

/// Why TLS broke after its handshake: there a server also says that it refuses the client's certificate (TLS 1.3).
fn fault<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Fault> {
    let fault = chain(error).find_map(|error| Fault::of(error.downcast_ref()?));
    // A mere cut says nothing.
    fault.filter(|fault| **fault != Fault::CutOff)
}

fn is_shortage(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref().is_some_and(sys::is_out_of_descriptors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::State;
    use crate::settings::Scheme;
    use crate::status::VpsStatus;

    #[test]
    fn each_error_names_the_address_and_a_fix() {
        let base = || "http://head:8000".to_owned();
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        for (error, part) in [
            (ApiError::Unreachable { base: base(), source: refused.into() }, "connection refused"),
            (ApiError::Timeout { base: base(), limit: Duration::from_secs(10) }, "no answer within 10 s"),
            (ApiError::NotAHost { base: base(), path: "/nodes".into() }, "neither /api/nodes nor /nodes"),
            (ApiError::Status { base: base(), status: 500, detail: String::new() }, "answered 500\n"),
            (ApiError::Status { base: base(), status: 500, detail: "boom".into() }, "answered 500: boom"),
            (ApiError::Body { base: base(), why: "not JSON".into() }, "unusable answer: not JSON"),
            (ApiError::Base { base: base(), why: "x" }, "http://HOST:PORT"),
        ] {
            let text = error.failure("cannot list the VPSes").render("p");
            assert!(text.starts_with("p: cannot list the VPSes\n  caused by: "), "{text}");
            assert!(text.contains("http://head:8000") && text.contains(part) && text.contains("  hint: "), "{text}");
            let refusal = error.refusal();
            assert!(refusal.is_fault() && !refusal.detail().unwrap().contains("head:8000"), "{refusal:?}");
        }
        for (base, why, part) in [
            ("http://head:8000", NOT_HTTP, "if it speaks TLS, name it as https://head:8000"),
            ("http://head:8000", "not JSON", "another server may listen there"),
            ("https://head:8000", NOT_HTTP, "another server may listen there"),
        ] {
            let failure = ApiError::Body { base: base.into(), why: why.into() }.failure("cannot list the VPSes");
            assert!(failure.advice().unwrap().starts_with(part), "{failure:?}");
        }
    }

    #[test]
    fn a_refusal_keeps_its_reason() {
        let error = ApiError::Refusal(Refusal::TokenNeeded);
        assert_eq!(error.refusal(), Refusal::TokenNeeded);
        let text = error.failure("cannot list the VPSes").render("p");
        assert!(
            text.contains("caused by: the Host wants a token") && text.contains("kohakuriver auth login"),
            "{text}"
        );
        let text = ApiError::Refusal(Refusal::NotFound).failure("cannot show VPS x").render("p");
        assert!(text.contains("caused by: there is no VPS of this id or name"), "{text}");
    }

    #[test]
    fn a_refusal_names_the_problem_the_host_and_a_fix() {
        let failure = refused(&Refusal::RunnerOffline(Some("n1".into())), "42", "http://gpu-head:8000");
        assert_eq!(
            failure.render("kohakuriver"),
            "kohakuriver: the Runner of VPS 42 is offline\n  \
             caused by: the Host has not heard from Runner n1 lately\n  \
             caused by: the Host at http://gpu-head:8000 says so\n  \
             hint: see which Runners are online with `kohakuriver node list`\n"
        );
    }

    /// As hyper reports it: the error of the system is the source of another one.
    #[derive(Debug, thiserror::Error)]
    #[error("client error")]
    struct ClientError(#[source] io::Error);

    fn unreachable(source: io::Error) -> ApiError {
        ApiError::Unreachable { base: "http://head:8000".into(), source: ClientError(source).into() }
    }

    #[test]
    fn only_a_refusal_or_a_missing_connection_means_that_the_host_did_nothing() {
        let base = || "http://head:8000".to_owned();
        let status = |status, detail: &str| ApiError::Status { base: base(), status, detail: detail.into() };
        for (error, expected) in [
            (ApiError::Refusal(Refusal::NotAllowed), true),
            (ApiError::Base { base: base(), why: "x" }, true),
            (ApiError::NotAHost { base: base(), path: "/nodes".into() }, true),
            (ApiError::Unsupported { base: base(), older: true, what: "x", hint: "y" }, true),
            (status(403, "no"), true),
            (status(499, ""), true),
            (status(500, "boom"), false),
            (status(502, "the Runner refused"), true),
            (status(503, "no Runner has room"), true),
            (status(502, ""), false),
            (status(503, "<html>"), false),
            (status(504, "timeout"), false),
            (unreachable(io::ErrorKind::ConnectionRefused.into()), true),
            (unreachable(io::ErrorKind::ConnectionReset.into()), false),
            (ApiError::Timeout { base: base(), limit: Duration::from_secs(1) }, false),
            (ApiError::Interrupted(Interrupted::SshGone), false),
            (ApiError::Body { base: base(), why: "x".into() }, false),
        ] {
            assert_eq!(error.had_no_effect(), expected, "{error:?}");
        }
    }

    #[test]
    fn a_gateway_without_free_descriptors_does_not_blame_the_host() {
        let shortage = unreachable(rustix::io::Errno::MFILE.into()).refusal();
        assert_eq!(shortage, Refusal::Limit("it has no file descriptor left for a request to the Host".into()));
        let refused = unreachable(io::ErrorKind::ConnectionRefused.into()).refusal();
        assert_eq!(refused, Refusal::HostDown("connection refused".into()));
    }

    #[test]
    fn the_title_is_what_happened() {
        let base = || "http://head:8000".to_owned();
        let title = |error: ApiError| error.refusal().title("42");
        let refused = io::ErrorKind::ConnectionRefused;
        assert_eq!(title(unreachable(refused.into())), "the Host API can't be reached");
        let limit = Duration::from_secs(10);
        assert_eq!(title(ApiError::Timeout { base: base(), limit }), "the Host API gave no answer in time");
        let nonsense = "the Host API gives no usable answer";
        assert_eq!(title(ApiError::Body { base: base(), why: "x".into() }), nonsense);
        assert_eq!(title(ApiError::NotAHost { base: base(), path: "/nodes".into() }), nonsense);
        let unset = ApiError::NoHost { base: base(), why: "refused".into() }.failure("cannot list the VPSes");
        assert_eq!(unset.what(), "no Host is set");
        let late = unreachable(io::Error::new(io::ErrorKind::TimedOut, "deadline has elapsed"));
        assert!(late.failure("x").render("p").contains("caused by: no answer in time\n"));
    }

    #[test]
    fn a_refusal_with_the_hosts_own_reason_quotes_it() {
        let state = State { message: Some("OOM".into()), ..VpsStatus::Failed.into() };
        let failure = super::refused(&Refusal::Inactive(state), "42", "http://head:8000");
        assert_eq!(failure.causes(), ["the Host at http://head:8000 says: OOM"]);
    }

    #[test]
    fn the_failure_of_a_command_about_a_vps_names_the_vps() {
        let vps = VpsRef::parse("trainer").unwrap();
        let text = ApiError::Refusal(Refusal::NotFound).about(&vps, "http://head:8000").render("p");
        assert!(text.contains("trainer\n") && text.contains("the Host at http://head:8000 says so"), "{text}");
        let text = unreachable(io::ErrorKind::ConnectionReset.into()).about(&vps, "http://head:8000").render("p");
        assert!(text.starts_with("p: cannot look up VPS trainer\n"), "{text}");
        let text = ApiError::Refusal(Refusal::NotAllowed).failure("cannot list the VPSes").render("p");
        assert!(text.contains("the Host does not allow this to your role"), "{text}");
    }

    /// A path of the gateway's machine is for the admin alone.
    #[test]
    fn a_gateway_without_tls_to_its_host_says_why() {
        let off = |error| {
            let origin = Origin { scheme: Scheme::Https, host: "head".into(), port: 443 };
            let source = OffRoute { error, origin, upstream: None }.into();
            ApiError::Unreachable { base: "https://head".into(), source }.refusal()
        };
        let handshake = |fault: Fault| off(RouteError::Handshake(fault.into_error()));
        assert_eq!(handshake(Fault::Revoked), Refusal::HostTls("its certificate is revoked".into()));
        assert!(matches!(handshake(Fault::CutOff), Refusal::HostDown(_)));
        let settings = off(RouteError::Settings(Failure::new("cannot use the file of CAs /etc/ca.pem")));
        assert_eq!(settings, Refusal::HostTls("its own settings of TLS are not usable".into()));
    }

    /// In TLS 1.3, the server's verdict on the client's certificate comes with its first answer.
    #[test]
    fn a_verdict_of_tls_has_the_hint_of_tls() {
        let failure = |fault: Fault| {
            let (base, source) = ("https://gpu:1".to_owned(), fault.into_error().into());
            ApiError::Unreachable { base, source }.failure("cannot ask").render("p")
        };
        let text = failure(Fault::CertificateNeeded);
        assert!(text.contains("config set client_cert FILE") && !text.contains("that the Host runs"), "{text}");
        assert!(failure(Fault::Other("bad".into())).contains("`openssl s_client -connect gpu:1`"));
        assert!(failure(Fault::CutOff).contains("check that the Host runs"));
    }
}
