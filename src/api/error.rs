//! Why a call to the Host API gave nothing.

use std::error::Error;
use std::io;
use std::time::Duration;

use crate::dial::Interrupted;
use crate::failure::Failure;
use crate::refusal::Refusal;
use crate::sys;
use crate::target::VpsRef;

/// Why a call to the Host API gave nothing. Text in it that came from the network is printable and short.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The Host's answer means one of the reasons that a gateway has as well.
    #[error("{}", said(.0))]
    Refusal(Refusal),
    /// The text that should be the API's address isn't one.
    #[error("`{base}` is no address of a Host API: {why}")]
    Base {
        /// As it was given.
        base: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No connection, or it broke.
    #[error("the Host API at {base} can't be reached")]
    Unreachable {
        /// The API's address.
        base: String,
        /// What the system said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// No complete answer in time.
    #[error("the Host API at {base} gave no answer within {} s", .limit.as_secs())]
    Timeout {
        /// The API's address.
        base: String,
        /// How long it had.
        limit: Duration,
    },
    /// Nobody waits for the answer any more.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// An HTTP server that knows none of the paths of a Host.
    #[error("the server at {base} is no KohakuRiver Host: it knows neither /api{path} nor {path}")]
    NotAHost {
        /// The API's address.
        base: String,
        /// The path that was asked for, without `/api`.
        path: String,
    },
    /// A part of what was asked for is nothing that this Host can be told.
    #[error("the Host at {base} {}{what}", if *.older { "is too old for " } else { "has no field in its API for " })]
    NotTaken {
        /// The API's address.
        base: String,
        /// It is of the older generation.
        older: bool,
        /// The part.
        what: &'static str,
        /// What to do instead.
        hint: &'static str,
    },
    /// A status that is no ordinary answer to this question.
    #[error("the Host API at {base} answered {status}{}", colon(.detail))]
    Status {
        /// The API's address.
        base: String,
        /// The status code.
        status: u16,
        /// What the answer said, perhaps nothing.
        detail: String,
    },
    /// An answer that can't be used.
    #[error("the Host API at {base} answered nonsense: {why}")]
    Body {
        /// The API's address.
        base: String,
        /// What is wrong with it.
        why: String,
    },
}

impl ApiError {
    /// Whether the Host surely did nothing: it said no, or there was no connection. A call that broke off, or that was
    /// answered with nonsense, may have been heard.
    pub fn was_not_heard(&self) -> bool {
        match self {
            Self::Refusal(_) | Self::Base { .. } | Self::NotAHost { .. } | Self::NotTaken { .. } => true,
            // A Host that breaks (500) has perhaps begun; a proxy on the way says 502 to 504 in HTML, or nothing.
            Self::Status { status: 502 | 503, detail, .. } => !detail.is_empty() && !detail.starts_with('<'),
            Self::Status { status, .. } => *status < 500,
            Self::Unreachable { source, .. } => {
                let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
                chain(source.as_ref()).any(|error| error.downcast_ref().is_some_and(refused))
            }
            Self::Timeout { .. } | Self::Interrupted(_) | Self::Body { .. } => false,
        }
    }

    /// What a gateway tells its client.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Refusal(refusal) => refusal.clone(),
            // Not the Host's fault: the gateway itself has no room.
            Self::Unreachable { source, .. } if chain(source.as_ref()).any(is_shortage) => {
                Refusal::Limit("it has no file descriptor left to ask the Host with".to_owned())
            }
            // The cause (`connection refused`) is what an operator wants to read; a client may see it too.
            Self::Unreachable { source, .. } => Refusal::HostApi(format!("{self}: {}", innermost(source.as_ref()))),
            _ => Refusal::HostApi(self.to_string()),
        }
    }

    /// What a user who asked for `vps` is told.
    pub fn about(&self, vps: &VpsRef, base: &str) -> Failure {
        match self {
            Self::Refusal(refusal) => refused(refusal, &vps.to_string(), base),
            other => other.failure(format!("cannot look up VPS {vps}")),
        }
    }

    /// What a user is told; `what` says what was attempted and with which value.
    pub fn failure(&self, what: impl Into<String>) -> Failure {
        let failure = Failure::new(what);
        let address = "`kohakuriver config show` tells where its address was set";
        match self {
            // Its own words are about one VPS, and this is about none.
            Self::Refusal(Refusal::NotAllowed) => failure
                .cause("the Host does not allow it to your role")
                .hint("`kohakuriver auth status` shows who you are to the Host"),
            Self::Refusal(refusal) => failure.cause(said(refusal)).maybe_hint(refusal.hint("VPS")),
            Self::Unreachable { source, .. } => failure
                .cause(self.to_string())
                .cause(innermost(source.as_ref()))
                .hint(format!("see whether the Host runs; {address}")),
            Self::Timeout { .. } => failure
                .cause(self.to_string())
                .hint(format!("see whether the Host is overloaded or a firewall drops packets to it; {address}")),
            Self::NotAHost { .. } | Self::Body { .. } => {
                failure.cause(self.to_string()).hint(format!("something else may listen there; {address}"))
            }
            Self::Status { .. } => {
                failure.cause(self.to_string()).hint("read the Host's log: `journalctl -u kohakuriver-host` there")
            }
            Self::NotTaken { hint, .. } => failure.cause(self.to_string()).hint(*hint),
            Self::Interrupted(why) => failure.because(why),
            Self::Base { .. } => failure.cause(self.to_string()).hint("write it as http://HOST:PORT"),
        }
    }
}

/// A refusal of `vps` in the words that a gateway has for it, and which Host said so.
pub fn refused(refusal: &Refusal, vps: &str, base: &str) -> Failure {
    let failure = Failure::new(refusal.title(vps));
    let failure = match refusal.detail() {
        Some(detail) => failure.cause(detail),
        None => failure,
    };
    failure.cause(format!("the Host at {base} says so")).maybe_hint(refusal.hint(vps))
}

/// A refusal where no one VPS is being talked about.
fn said(refusal: &Refusal) -> String {
    refusal.detail().unwrap_or_else(|| refusal.title("of this id or name"))
}

fn colon(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {detail}") }
}

/// The end of the chain: what the system said. The links before it repeat what [`ApiError`] says already.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    chain(error).last().unwrap_or(error).to_string()
}

fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn is_shortage(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref().is_some_and(sys::is_out_of_descriptors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_names_the_address_and_a_fix() {
        let base = || "http://head:8000".to_owned();
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        for (error, part) in [
            (ApiError::Unreachable { base: base(), source: refused.into() }, "connection refused"),
            (ApiError::Timeout { base: base(), limit: Duration::from_secs(10) }, "no answer within 10 s"),
            (ApiError::NotAHost { base: base(), path: "/nodes".into() }, "neither /api/nodes nor /nodes"),
            (ApiError::Status { base: base(), status: 500, detail: String::new() }, "answered 500\n"),
            (ApiError::Status { base: base(), status: 500, detail: "boom".into() }, "answered 500: boom"),
            (ApiError::Body { base: base(), why: "no JSON".into() }, "nonsense: no JSON"),
            (ApiError::Base { base: base(), why: "x" }, "http://HOST:PORT"),
        ] {
            let text = error.failure("cannot list the VPSes").render("p");
            assert!(text.starts_with("p: cannot list the VPSes\n  caused by: "), "{text}");
            assert!(text.contains("http://head:8000") && text.contains(part) && text.contains("  hint: "), "{text}");
            let Refusal::HostApi(detail) = error.refusal() else { panic!("{error:?}") };
            assert!(detail.contains("http://head:8000"), "{detail}");
        }
    }

    #[test]
    fn a_refusal_stays_one() {
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
    fn a_refusal_says_what_is_wrong_who_said_so_and_what_helps() {
        let failure = refused(&Refusal::RunnerOffline(Some("n1".into())), "42", "http://gpu-head:8000");
        assert_eq!(
            failure.render("kohakuriver"),
            "kohakuriver: the Runner of VPS 42 is offline\n  \
             caused by: the Host has not heard from Runner n1 lately\n  \
             caused by: the Host at http://gpu-head:8000 says so\n  \
             hint: see which Runners are online with `kohakuriver node list`\n"
        );
    }
}
