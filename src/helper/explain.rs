//! What a user is told when there is no tunnel, or when one broke.

use std::error::Error;
use std::io;
use std::time::Duration;

use super::arguments::ProtocolChoice;
use super::open::{OpenError, Order};
use crate::dial::{DialError, Interrupted};
use crate::failure::Failure;
use crate::handshake::connect::Refused;
use crate::handshake::problem::Explanation;
use crate::refusal::Refusal;
use crate::target::Target;

/// Where a failure happened: what was to be reached, and through what.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    /// The target.
    pub(super) target: Target,
    /// `host:port` of the proxy.
    pub(super) proxy: String,
    /// How long the VPS's first byte is waited for.
    pub(super) limit: Duration,
}

impl Scene {
    /// Why no tunnel was opened.
    pub(super) fn not_opened(&self, error: &OpenError, order: &Order<'_>) -> Failure {
        let Self { target, proxy, .. } = self;
        let cannot_reach = || Failure::new(format!("cannot reach the SSH proxy at {proxy}"));
        let no_proxy = || Failure::new(format!("what answers at {proxy} is no SSH proxy"));
        let is_it_right = "is this the Host's SSH proxy port? `kohakuriver config show` names it and where it is set";
        match error {
            OpenError::Interrupted(Interrupted::Deadline) => {
                Failure::new(format!("the SSH proxy at {proxy} gave no answer within {}", seconds(self.limit)))
                    .cause("it took the connection, and then said nothing that is an answer")
                    .hint("try again; a longer limit is set with `--connect-timeout SECONDS`")
            }
            OpenError::Dial(DialError::Interrupted(Interrupted::SshGone | Interrupted::Signal, _))
            | OpenError::Interrupted(_) => gave_up(&target.to_string(), error),
            OpenError::Dial(DialError::Resolve(why)) => cannot_reach()
                .cause(format!("the name {} can't be resolved: {why}", order.proxy_host))
                .hint("check the Host's name; `kohakuriver config show` names it and where it is set"),
            OpenError::Dial(_) => cannot_reach()
                .because(error)
                .hint("see whether it runs there and no firewall closes its port; `kohakuriver config show` names it"),
            OpenError::ClosedEarly | OpenError::CutOff | OpenError::Broke(_) => {
                Failure::new(format!("the SSH proxy at {proxy} gave no complete answer"))
                    .because(error)
                    .hint("try again; if it stays so, its log says why")
            }
            OpenError::Refused(refused, explanation) => self.refused(refused, explanation),
            OpenError::LineRefused(text) => self.line_refused(text),
            OpenError::OlderHost(_) if order.protocol == ProtocolChoice::Connect => {
                no_connect(proxy, error).hint("leave `--protocol` out: the older protocol is then used by itself")
            }
            OpenError::OlderHost(_) => {
                no_connect(proxy, error).hint(format!("{target} takes a real CONNECT proxy: name it with `--proxy`"))
            }
            OpenError::NoVps => {
                Failure::usage(format!("cannot open a tunnel to {target} with `--protocol request-tunnel`"))
                    .because(error)
                    .hint("leave `--protocol` out: HTTP CONNECT takes any target")
            }
            OpenError::Tls => no_proxy()
                .because(error)
                .hint("name a port that takes plain HTTP, as in `--proxy HOST:PORT`: TLS is not supported yet"),
            OpenError::Ssh(_) | OpenError::NotHttp(_) | OpenError::NotLine(_) | OpenError::Malformed(_) => {
                no_proxy().because(error).hint(is_it_right)
            }
        }
    }

    fn refused(&self, refused: &Refused, explanation: &Explanation) -> Failure {
        let answered = |who: &str| format!("the {who} at {} answered {}", self.proxy, refused.status_line());
        let login = "log in with `kohakuriver auth login`";
        match explanation {
            Explanation::Problem { title, detail, hint, .. } => {
                let mut failure = Failure::new(title).cause(answered("gateway"));
                if let Some(detail) = detail {
                    failure = failure.cause(detail);
                }
                failure.maybe_hint(hint.as_deref().or((refused.status == 407).then_some(login)))
            }
            Explanation::Text(_) | Explanation::Nothing => {
                let mut failure =
                    Failure::new(format!("cannot open a tunnel to {}", self.target)).cause(answered("proxy"));
                // Many proxies only repeat their status as the page's title.
                if let Explanation::Text(line) = explanation
                    && *line != refused.status_line()
                {
                    failure = failure.cause(line);
                }
                failure.maybe_hint(match (&self.target, refused.status) {
                    (Target::Vps(_), 407) => Some(login),
                    (Target::Foreign { .. }, 407) => {
                        Some("this proxy wants a login of its own, which is not supported")
                    }
                    (Target::Vps(_), _) => Some("is it the Host's SSH proxy? `kohakuriver config show` names it"),
                    (Target::Foreign { .. }, _) => None,
                })
            }
        }
    }

    fn line_refused(&self, text: &str) -> Failure {
        let answered = format!("the Host at {} answered `{text}`", self.proxy);
        let vps = match &self.target {
            Target::Vps(vps) => vps.to_string(),
            foreign @ Target::Foreign { .. } => foreign.authority(),
        };
        match Refusal::from_line(text) {
            Some(refusal) => Failure::new(refusal.title(&vps)).cause(answered).maybe_hint(refusal.hint(&vps)),
            None => Failure::new(format!("cannot open a tunnel to {}", self.target))
                .cause(answered)
                .hint(format!("see how it is with `kohakuriver vps status {vps}`")),
        }
    }

    /// The tunnel is open, but no byte came.
    pub(super) fn mute(&self) -> Failure {
        Failure::new(format!("{} accepted the connection, but its sshd says nothing", self.target))
            .cause(format!("no byte came through {} within {}", self.proxy, seconds(self.limit)))
            .maybe_hint(self.look_at_it("it may be paused, still booting, or have no sshd in its image"))
    }

    /// The tunnel opened and closed, and no byte came.
    pub(super) fn closed_mute(&self) -> Failure {
        Failure::new(format!("{} closed the connection before its sshd said anything", self.target))
            .cause(format!("the tunnel through {} opened and ended without a byte", self.proxy))
            .maybe_hint(self.look_at_it("its sshd may not be up yet, or refuse more connections"))
    }

    fn look_at_it(&self, why: &str) -> Option<String> {
        match &self.target {
            Target::Vps(vps) => Some(format!("{why}: see `kohakuriver vps status {vps}`")),
            Target::Foreign { .. } => None,
        }
    }

    /// The connection broke in the middle of the stream.
    pub(super) fn broke(&self, error: &io::Error) -> Failure {
        Failure::new(format!("the connection to {} broke", self.target))
            .cause(format!("{}: {error}", self.proxy))
            .hint("connect again")
    }

    /// What is to be sent can't be read.
    pub(super) fn unreadable(&self, error: &io::Error) -> Failure {
        Failure::new(format!("cannot read stdin to send it to {}", self.target))
            .because(error)
            .hint("see what stdin is redirected from; with `</dev/null` there is nothing to send")
    }

    /// What has come can't be written.
    pub(super) fn unwritable(&self, error: &io::Error) -> Failure {
        Failure::new(format!("cannot write to stdout what comes from {}", self.target))
            .because(error)
            .hint("if it is a file, see with `df -h` whether its disk is full")
    }

    /// ssh can't be given the socket.
    pub(super) fn not_passed(&self, error: &io::Error) -> Failure {
        Failure::new(format!("cannot hand the connection to {} over to ssh", self.target))
            .because(error)
            .hint("leave `--fdpass` and `ProxyUseFdpass` out: bytes are piped then")
    }
}

/// Whoever wanted the tunnel wants it no more.
pub(super) fn gave_up(target: &str, why: &(dyn Error + 'static)) -> Failure {
    Failure::new(format!("gave up on {target} before the tunnel was open")).because(why)
}

fn no_connect(proxy: &str, error: &OpenError) -> Failure {
    Failure::new(format!("the Host at {proxy} does not speak HTTP CONNECT")).because(error)
}

fn seconds(limit: Duration) -> String {
    // What is left of a longer time has more digits than anybody reads.
    format!("{} s", (limit.as_secs_f64() * 100.0).round() / 100.0)
}
