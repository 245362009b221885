//! The messages for a tunnel that was not opened, or that broke.

use std::io;
use std::time::Duration;

use super::arguments::ProtocolChoice;
use super::child::WITHOUT_FDPASS;
use super::open::{Mute, OpenError, Order};
use crate::carrier::Reason;
use crate::cluster::WHERE_SET;
use crate::dial::{DialError, Interrupted};
use crate::failure::{Failure, resolvers_words, words};
use crate::handshake::connect::Refused;
use crate::handshake::problem::Explanation;
use crate::refusal::Refusal;
use crate::resume::SessionOver;
use crate::route::{ExchangeError, Upstream};
use crate::settings;
use crate::sys;
use crate::target::Target;
use crate::tls::Fault;
use crate::tokens;

/// The possible causes of a reset tunnel.
const RESETS: &str = "a gateway resets a tunnel when it stops, when an admin ends the session, when nothing moved for its \
                      idle timeout, and when it has lost the VPS";

impl Order<'_> {
    /// Why no tunnel was opened.
    pub(super) fn not_opened(&self, error: &OpenError) -> Failure {
        let (target, proxy) = (&self.target, self.proxy.authority());
        let cannot_reach = || Failure::new(format!("cannot reach the SSH proxy at {proxy}"));
        let upstream = self.route.upstream.as_ref();
        let no_proxy = || Failure::new(format!("what answers at {proxy} is not an SSH proxy"));
        let is_it_right =
            "check the port of the Host's SSH proxy: `kohakuriver config show` shows it and where it is set";
        match error {
            OpenError::Interrupted(Interrupted::Deadline) => {
                Failure::new(format!("the SSH proxy at {proxy} gave no answer within {}", seconds(self.limit)))
                    .cause("it accepted the connection, but sent no answer")
                    .hint("try again; a longer limit is set with `--connect-timeout SECONDS`")
            }
            OpenError::Dial(DialError::Interrupted(why @ (Interrupted::SshGone | Interrupted::Signal), _))
            | OpenError::Interrupted(why) => gave_up(&target.to_string(), "the tunnel was open", why),
            OpenError::Dial(DialError::Resolve(why)) => cannot_reach()
                .cause(format!(
                    "the name {} can't be resolved: {}",
                    self.proxy.host,
                    resolvers_words(why).unwrap_or(why)
                ))
                .hint("check the Host's name; `kohakuriver config show` shows it and where it is set"),
            OpenError::Dial(DialError::Connect(_)) if self.is_default => settings::no_host(&proxy, &error.to_string()),
            OpenError::Dial(_) => cannot_reach().because(error).hint(
                "check that it runs there and that no firewall blocks its port; `kohakuriver config show` shows the \
                 address",
            ),
            OpenError::Route(error) => error.failure(cannot_reach(), self.proxy, upstream),
            OpenError::Exchange(ExchangeError::Broke(error)) if refusal(error).is_some() => self.broke(error),
            OpenError::Exchange(_) => Failure::new(format!("the SSH proxy at {proxy} gave no complete answer"))
                .because(error)
                .hint("try again; if that doesn't help, see its log"),
            OpenError::Refused(refused, explanation) => self.refused(refused, explanation),
            OpenError::LineRefused(text) => self.line_refused(text),
            OpenError::OlderHost(_) if self.protocol == ProtocolChoice::Connect => {
                no_connect(&proxy, error).hint("leave `--protocol` out: the older protocol is then used automatically")
            }
            OpenError::OlderHost(_) => {
                no_connect(&proxy, error).hint(format!("{target} takes a real CONNECT proxy: name it with `--proxy`"))
            }
            OpenError::NoVps => {
                Failure::usage(format!("cannot open a tunnel to {target} with `--protocol request-tunnel`"))
                    .because(error)
                    .hint("leave `--protocol` out: HTTP CONNECT takes any target")
            }
            OpenError::Tls if !self.proxy.scheme.has_tls() => {
                no_proxy().because(error).hint(format!("this port speaks TLS: name it as https://{proxy}{}", WHERE_SET))
            }
            OpenError::Mute(mute) => self.mute_because(mute),
            OpenError::Tls
            | OpenError::Ssh(_)
            | OpenError::NotHttp(_)
            | OpenError::NotLine(_)
            | OpenError::Malformed(_) => {
                no_proxy().because(error).maybe_cause(upstream.map(Upstream::suspicion)).hint(is_it_right)
            }
        }
    }

    fn refused(&self, refused: &Refused, explanation: &Explanation) -> Failure {
        let answered =
            |who: &str| format!("the {who} at {} answered {}", self.proxy.authority(), refused.status_line());
        // A gateway can't know where the user's token comes from.
        let login = || tokens::how_to_log_in();
        match explanation {
            Explanation::Problem { title, detail, hint, .. } => {
                let failure = if Refusal::is_known_title(title, &self.named()) {
                    detail.iter().fold(Failure::new(title).cause(answered("gateway")), Failure::cause)
                } else {
                    // The title isn't ours: it may come from any server.
                    let failure = Failure::new(format!("cannot open a tunnel to {}", self.target));
                    let said = [Some(title), detail.as_ref()].into_iter().flatten();
                    said.fold(failure.cause(answered("server")), |failure, text| {
                        failure.cause(format!("it says: {text}"))
                    })
                };
                match (&self.target, refused.status) {
                    (Target::Vps(_), 407) => failure.hint(login()),
                    _ => failure.maybe_hint(hint.as_ref().map(|hint| self.attributed(hint))),
                }
            }
            Explanation::Text(_) | Explanation::Nothing => {
                let mut failure =
                    Failure::new(format!("cannot open a tunnel to {}", self.target)).cause(answered("proxy"));
                // Many proxies only repeat the status as the title of the page.
                if let Explanation::Text(line) = explanation
                    && *line != refused.status_line()
                {
                    failure = failure.cause(line);
                }
                // A proxy that opens TLS may answer in the place of the gateway, whose answers have a problem's form.
                let suspicion = self.route.upstream.as_ref().map(Upstream::suspicion);
                failure.maybe_cause(suspicion).maybe_hint(match (&self.target, refused.status) {
                    (Target::Vps(_), 407) => Some(login()),
                    (Target::Foreign { .. }, 407) => Some(self.login_of_proxy()),
                    (Target::Vps(_), _) => {
                        let show = "`kohakuriver config show` shows its address";
                        Some(format!("check that it is the Host's SSH proxy: {show}"))
                    }
                    (Target::Foreign { .. }, _) => None,
                })
            }
        }
    }

    /// How to log in to a proxy that is no gateway. Its password can't stand on a command line.
    fn login_of_proxy(&self) -> String {
        let proxy = self.proxy.authority();
        match &self.route.own_login {
            Some(own) if own.proxy.user.is_some() => format!("check user and password of {proxy} in {}", own.source),
            _ => format!(
                "put its login into HTTPS_PROXY, or into config.json: `kohakuriver config set upstream_proxy -`, and then \
                 {}://USER:PASSWORD@{proxy}",
                self.proxy.scheme
            ),
        }
    }

    /// The hint of an answer. One that this version doesn't have is not ours: it may come from any server.
    fn attributed(&self, hint: &str) -> String {
        match Refusal::is_known_hint(hint, &self.named()) {
            true => hint.to_owned(),
            false => format!("the server at {} says: {hint}", self.proxy.authority()),
        }
    }

    /// The target as it was named to the proxy.
    fn named(&self) -> String {
        match &self.target {
            Target::Vps(vps) => vps.to_string(),
            foreign @ Target::Foreign { .. } => foreign.authority(),
        }
    }

    fn line_refused(&self, text: &str) -> Failure {
        let answered = format!("the Host at {} answered `{text}`", self.proxy.authority());
        let vps = self.named();
        match Refusal::from_line(text) {
            Some(refusal) => {
                // A token is of no use in this protocol.
                let by = if refusal == Refusal::TokenNeeded { &Refusal::LineNotServed } else { &refusal };
                Failure::new(refusal.title(&vps)).cause(answered).maybe_hint(by.hint(&vps))
            }
            None => Failure::new(format!("cannot open a tunnel to {}", self.target))
                .cause(answered)
                .hint("the Host's log has the cause: `journalctl -u kohakuriver-host`, on its machine"),
        }
    }

    /// The tunnel opened, but its first byte did not come. `mute` tells why.
    pub(super) fn mute_because(&self, mute: &Mute) -> Failure {
        match mute {
            Mute::Closed => self.closed_mute(),
            Mute::Broke(error) | Mute::Interrupted(Interrupted::Wait(error)) => self.broke(error),
            Mute::Interrupted(Interrupted::Deadline) => self.mute(),
            Mute::Interrupted(interrupted @ (Interrupted::SshGone | Interrupted::Signal)) => {
                gave_up(&self.target.to_string(), "its sshd said anything", interrupted)
            }
        }
    }

    /// The tunnel is open, but no byte arrived in time.
    pub(super) fn mute(&self) -> Failure {
        Failure::new(format!("{} accepted the connection, but its sshd says nothing", self.target))
            .cause(format!("no byte came through {} within {}", self.proxy.authority(), seconds(self.limit)))
            .maybe_hint(
                self.hint_to_wait("the VPS may be paused or still starting", "tells, and waits while it starts"),
            )
    }

    /// The tunnel opened and closed without a byte.
    pub(super) fn closed_mute(&self) -> Failure {
        Failure::new(format!("{} closed the connection before its sshd said anything", self.target))
            .cause(format!("the tunnel through {} opened and ended without a byte", self.proxy.authority()))
            .maybe_hint(self.hint_to_wait("the VPS may still be starting", "waits for it"))
    }

    /// A hint that names `--wait`. That command also says why, if waiting doesn't help.
    fn hint_to_wait(&self, why: &str, does: &str) -> Option<String> {
        match &self.target {
            Target::Vps(vps) => Some(format!("{why}: `kohakuriver vps connect {vps} --wait` {does}")),
            Target::Foreign { .. } => None,
        }
    }

    /// The connection broke in the middle of the stream.
    pub(super) fn broke(&self, error: &io::Error) -> Failure {
        let proxy = self.proxy.authority();
        if let Some(fault) = refusal(error) {
            let failure = Failure::new(format!("the SSH proxy at {proxy} refused the connection"));
            return failure.cause(fault.to_string()).hint(fault.hint(&proxy));
        }
        if let Some(over) = SessionOver::of(error)
            && over.reason() != Reason::Lost
        {
            let last = self.away.failure().filter(|_| over.reason() == Reason::Expired);
            let last = last.map(|failure| format!("; the last try: {failure}")).unwrap_or_default();
            let failure = Failure::new(format!("the session with {} is over", self.target));
            return failure.cause(format!("{proxy}: {over}{last}")).hint("connect again");
        }
        // A plain tunnel has no way to tell more.
        let is_reset = error.kind() == io::ErrorKind::ConnectionReset && matches!(self.target, Target::Vps(_));
        Failure::new(format!("the connection to {} broke", self.target))
            .cause(format!("{proxy}: {}", words(error)))
            .maybe_cause(is_reset.then_some(RESETS))
            .hint("connect again")
    }

    /// stdin can't be read.
    pub(super) fn unreadable(&self, error: &io::Error) -> Failure {
        Failure::new(format!("cannot read stdin to send it to {}", self.target))
            .because(error)
            .hint("check what stdin is redirected from; `</dev/null` sends nothing")
    }

    /// stdout can't be written.
    pub(super) fn unwritable(&self, error: &io::Error) -> Failure {
        Failure::new(format!("cannot write data from {} to stdout", self.target))
            .because(error)
            .hint(format!("if stdout is a file, check with `{}` whether its disk is full", sys::show_disks()))
    }

    /// The socket can't be passed to ssh.
    pub(super) fn not_passed(&self, error: &io::Error) -> Failure {
        not_passed(&self.target, error)
    }
}

/// The socket can't be passed to ssh.
pub(super) fn not_passed(target: &Target, error: &io::Error) -> Failure {
    Failure::new(format!("cannot hand the connection to {target} over to ssh")).because(error).hint(WITHOUT_FDPASS)
}

/// Why the server has refused this connection. With TLS 1.3, it says so after the handshake.
fn refusal(error: &io::Error) -> Option<&Fault> {
    Fault::of(error).filter(|fault| **fault != Fault::CutOff)
}

/// ssh has ended, or a signal asked for the end.
pub(super) fn gave_up(target: &str, before: &str, why: &Interrupted) -> Failure {
    let failure = Failure::new(format!("gave up on {target} before {before}")).because(why);
    match why {
        Interrupted::SshGone => failure
            .hint("if ssh said `mm_receive_fd`, a start-up file of your shell prints: `kohakuriver doctor` shows what"),
        _ => failure,
    }
}

fn no_connect(proxy: &str, error: &OpenError) -> Failure {
    Failure::new(format!("the Host at {proxy} does not speak HTTP CONNECT")).because(error)
}

fn seconds(limit: Duration) -> String {
    // The rest of a longer time has too many digits.
    format!("{} s", (limit.as_secs_f64() * 100.0).round() / 100.0)
}
