//! Why no tunnel is opened: one vocabulary for the gateway that says it, in either protocol, and for the programs
//! that tell a user.
//!
//! The rows are those of the SSH proxy's contract. A gateway turns a [`Refusal`] into a status code, a `Proxy-Status`
//! error type (RFC 9209 §2.3) and a body; for the line protocol into the sentence that Hosts have always said. The
//! helper reads that sentence back with [`Refusal::from_line`], so an older Host's answer gets the same words.

use std::time::Duration;

use crate::status::VpsStatus;

/// How long a VPS may refuse connections after its start before that counts as a fault.
pub const BOOT_GRACE: Duration = Duration::from_secs(60);

/// What a client is told to wait, in seconds, when waiting may help (`Retry-After`, RFC 9110 §10.2.3).
pub const RETRY_AFTER_SECONDS: u64 = 2;

/// Why no tunnel is opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// What arrived is no request this proxy takes; the text says why.
    BadRequest(String),
    /// The Host wants a token and got none, or one it doesn't know.
    TokenNeeded,
    /// The Host knows the user, who may not see this VPS.
    NotAllowed,
    /// A port other than 22.
    PortNotOffered(u16),
    /// No task of this id, or none of this name.
    NotFound,
    /// More than one VPS has this name; the text lists them.
    Ambiguous(String),
    /// The task is a command, not a VPS.
    NotVps,
    /// The VPS doesn't run, and won't by waiting.
    Inactive(VpsStatus),
    /// The VPS has no SSH port: it was created for terminals only.
    NoSshPort,
    /// The VPS is on its way up.
    Starting(VpsStatus),
    /// No Runner is assigned to the VPS.
    NoRunner,
    /// The VPS's Runner is offline, or unknown to the Host. Holds its name when that is known.
    RunnerOffline(Option<String>),
    /// The VPS's port refused the connection.
    ConnectionRefused {
        /// The Runner.
        node: String,
        /// Within [`BOOT_GRACE`] of the VPS's start.
        booting: bool,
    },
    /// The VPS's port didn't answer in time.
    ConnectionTimeout,
    /// The Runner is registered with an address that is none. Holds its name.
    RunnerAddress(String),
    /// The Runner can't be reached at all (no route, no such name, an address that is not dialled); the text says why.
    Unreachable(String),
    /// The Host API is down or answers nonsense; the text says which.
    HostApi(String),
    /// A limit of the gateway is reached; the text says which.
    Limit(String),
}

impl Refusal {
    /// The status code of the answer to a CONNECT.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::TokenNeeded => 407,
            Self::NotAllowed | Self::PortNotOffered(_) => 403,
            Self::NotFound | Self::NotVps => 404,
            Self::Ambiguous(_) | Self::Inactive(_) | Self::NoSshPort => 409,
            Self::Starting(_) | Self::NoRunner | Self::RunnerOffline(_) | Self::Limit(_) => 503,
            Self::ConnectionRefused { booting: true, .. } => 503,
            Self::ConnectionRefused { .. } | Self::RunnerAddress(_) => 502,
            Self::Unreachable(_) | Self::HostApi(_) => 502,
            Self::ConnectionTimeout => 504,
        }
    }

    /// The error type in `Proxy-Status` (RFC 9209 §2.3).
    pub fn proxy_error(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "http_request_error",
            Self::TokenNeeded | Self::NotAllowed | Self::PortNotOffered(_) => "http_request_denied",
            Self::NotFound | Self::NotVps => "destination_not_found",
            Self::Ambiguous(_) | Self::Inactive(_) | Self::NoSshPort => "destination_unavailable",
            Self::Starting(_) | Self::NoRunner | Self::RunnerOffline(_) => "destination_unavailable",
            Self::ConnectionRefused { .. } => "connection_refused",
            Self::ConnectionTimeout => "connection_timeout",
            Self::RunnerAddress(_) | Self::Unreachable(_) => "destination_ip_unroutable",
            Self::HostApi(_) => "proxy_internal_response",
            Self::Limit(_) => "connection_limit_reached",
        }
    }

    /// Every [`Refusal::reason`], with the [`Refusal::proxy_error`] that goes with it.
    pub const REASONS: [(&'static str, &'static str); 18] = [
        ("bad-request", "http_request_error"),
        ("token-needed", "http_request_denied"),
        ("not-allowed", "http_request_denied"),
        ("port-not-offered", "http_request_denied"),
        ("not-found", "destination_not_found"),
        ("ambiguous", "destination_unavailable"),
        ("not-vps", "destination_not_found"),
        ("inactive", "destination_unavailable"),
        ("no-ssh-port", "destination_unavailable"),
        ("starting", "destination_unavailable"),
        ("no-runner", "destination_unavailable"),
        ("runner-offline", "destination_unavailable"),
        ("connection-refused", "connection_refused"),
        ("connection-timeout", "connection_timeout"),
        ("runner-address", "destination_ip_unroutable"),
        ("unreachable", "destination_ip_unroutable"),
        ("host-api", "proxy_internal_response"),
        ("limit", "connection_limit_reached"),
    ];

    /// The reason as one word, for metrics and audit lines.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad-request",
            Self::TokenNeeded => "token-needed",
            Self::NotAllowed => "not-allowed",
            Self::PortNotOffered(_) => "port-not-offered",
            Self::NotFound => "not-found",
            Self::Ambiguous(_) => "ambiguous",
            Self::NotVps => "not-vps",
            Self::Inactive(_) => "inactive",
            Self::NoSshPort => "no-ssh-port",
            Self::Starting(_) => "starting",
            Self::NoRunner => "no-runner",
            Self::RunnerOffline(_) => "runner-offline",
            Self::ConnectionRefused { .. } => "connection-refused",
            Self::ConnectionTimeout => "connection-timeout",
            Self::RunnerAddress(_) => "runner-address",
            Self::Unreachable(_) => "unreachable",
            Self::HostApi(_) => "host-api",
            Self::Limit(_) => "limit",
        }
    }

    /// Seconds for `Retry-After`, where the same request may succeed soon.
    pub fn retry_after(&self) -> Option<u64> {
        let soon = matches!(self, Self::Starting(_) | Self::Limit(_) | Self::ConnectionRefused { booting: true, .. });
        soon.then_some(RETRY_AFTER_SECONDS)
    }

    /// The VPS's state, when it is the reason.
    pub fn vps_status(&self) -> Option<&VpsStatus> {
        match self {
            Self::Inactive(status) | Self::Starting(status) => Some(status),
            _ => None,
        }
    }

    /// What is wrong, in one line; `vps` is the task id or the name that was asked for.
    pub fn title(&self, vps: &str) -> String {
        match self {
            Self::BadRequest(_) => "the request is not one that an SSH proxy takes".to_owned(),
            Self::TokenNeeded => format!("VPS {vps} needs a login"),
            Self::NotAllowed => format!("VPS {vps} is not yours to reach"),
            Self::PortNotOffered(port) => format!("VPS {vps} offers port 22 only, not port {port}"),
            Self::NotFound => format!("there is no VPS {vps}"),
            Self::Ambiguous(_) => format!("more than one VPS is called {vps}"),
            Self::NotVps => format!("task {vps} is a command task, not a VPS"),
            Self::Inactive(VpsStatus::KilledOom) => format!("VPS {vps} was killed for want of memory"),
            Self::Inactive(status) => format!("VPS {vps} {}", inactive_verb(status)),
            Self::NoSshPort => format!("VPS {vps} has no SSH: it was created for terminals only"),
            Self::Starting(VpsStatus::PendingApproval) => format!("VPS {vps} awaits approval"),
            Self::Starting(status) => format!("VPS {vps} is starting (status: {status})"),
            Self::RunnerOffline(_) => format!("the Runner of VPS {vps} is offline"),
            Self::NoRunner => format!("VPS {vps} has no Runner"),
            Self::ConnectionRefused { booting: true, .. } => {
                format!("VPS {vps} is starting: its sshd does not listen yet")
            }
            Self::ConnectionRefused { .. } => format!("VPS {vps} refuses SSH connections"),
            Self::ConnectionTimeout => format!("VPS {vps} does not answer on its SSH port"),
            Self::RunnerAddress(_) | Self::Unreachable(_) => format!("the Runner of VPS {vps} can't be reached"),
            Self::HostApi(_) => "the Host API gives no usable answer".to_owned(),
            Self::Limit(_) => "the gateway is at its limit".to_owned(),
        }
    }

    /// What else is known, in one line.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::BadRequest(why) | Self::Unreachable(why) | Self::HostApi(why) | Self::Limit(why) => Some(why.clone()),
            Self::Ambiguous(which) => Some(format!("they are: {which}")),
            Self::TokenNeeded => Some("the Host wants a token, and got none or one it does not know".to_owned()),
            Self::NotAllowed => Some("the Host shows a VPS to its owner, its assignees and operators only".to_owned()),
            Self::RunnerAddress(node) => Some(format!("Runner {node} is registered with an address that is no URL")),
            Self::RunnerOffline(Some(node)) => Some(format!("the Host has not heard from Runner {node} lately")),
            Self::ConnectionRefused { node, .. } => Some(format!("nothing listens on its SSH port on Runner {node}")),
            _ => None,
        }
    }

    /// One step that helps, and never one that a Host would refuse.
    pub fn hint(&self, vps: &str) -> Option<String> {
        let hint = match self {
            Self::BadRequest(_) | Self::Unreachable(_) => return None,
            Self::RunnerAddress(_) => "see the addresses of the Runners with `kohakuriver node list --json`".to_owned(),
            Self::TokenNeeded => "log in with `kohakuriver auth login`".to_owned(),
            Self::NotAllowed => {
                "ask its owner or an operator to assign it to you; `kohakuriver auth status` shows who \
                                 you are"
                    .to_owned()
            }
            Self::PortNotOffered(_) => "leave the port out; to reach another port of the VPS, forward it: \
                                        `kohakuriver vps connect VPS -- -L 8888:localhost:8888`"
                .replace("VPS --", &format!("{vps} --")),
            Self::NotFound => "see which there are with `kohakuriver vps list --all`".to_owned(),
            Self::Ambiguous(_) => "use the task id".to_owned(),
            Self::NotVps => "only a VPS takes SSH; see which there are with `kohakuriver vps list`".to_owned(),
            Self::Inactive(VpsStatus::Paused) => format!("resume it with `kohakuriver vps resume {vps}`"),
            Self::Inactive(VpsStatus::Failed) => format!("restart it with `kohakuriver vps restart {vps}`"),
            Self::Inactive(VpsStatus::Lost) => "its Runner went silent; it comes back with its Runner: see \
                                                `kohakuriver node list`"
                .to_owned(),
            Self::Inactive(_) => "a Host can't start it again; make a new one with `kohakuriver vps create`".to_owned(),
            Self::NoSshPort => "make a new one with a key: `kohakuriver vps create --gen-ssh-key`".to_owned(),
            Self::Starting(VpsStatus::PendingApproval) => "ask an operator to approve it".to_owned(),
            Self::Starting(_) | Self::ConnectionRefused { booting: true, .. } => {
                format!("try again in a moment; `kohakuriver vps status {vps}` shows how far it is")
            }
            Self::NoRunner | Self::RunnerOffline(_) => {
                "see which Runners are online with `kohakuriver node list`".to_owned()
            }
            Self::ConnectionRefused { .. } | Self::ConnectionTimeout => {
                format!("see how it is with `kohakuriver vps status {vps}`")
            }
            Self::HostApi(_) => "see whether the Host runs: `systemctl status kohakuriver-host` there".to_owned(),
            Self::Limit(_) => "try again in a moment".to_owned(),
        };
        Some(hint)
    }

    /// The sentence of the line protocol, without `ERROR ` and line feed, as Hosts have always said it. `task` is the
    /// task id with the digits that the client sent.
    pub fn line(&self, task: &str) -> String {
        match self {
            Self::BadRequest(_) => "Invalid request format.".to_owned(),
            Self::NotFound => format!("Task {task} not found."),
            Self::NotVps => format!("Task {task} is not a VPS task."),
            Self::Inactive(status) | Self::Starting(status) => {
                format!("VPS task {task} is not active (status: {status}).")
            }
            Self::NoSshPort => format!("VPS task {task} has no SSH port assigned."),
            Self::NoRunner => format!("VPS task {task} has no assigned node."),
            Self::RunnerOffline(_) => format!("Assigned node for VPS task {task} is not online."),
            Self::ConnectionRefused { node, .. } => {
                format!("Connection refused by VPS task {task} on node {node}.")
            }
            Self::RunnerAddress(node) => format!("Error parsing runner URL for node {node}."),
            Self::ConnectionTimeout => format!("Timeout connecting to Runner for task {task}."),
            Self::TokenNeeded | Self::NotAllowed => {
                format!("Task {task} needs a login: connect with kohakuriver-proxy.")
            }
            _ => "Internal server error.".to_owned(),
        }
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
            return Some(if status.is_starting() { Self::Starting(status) } else { Self::Inactive(status) });
        }
        if text.starts_with("Connection refused by VPS task ") {
            let node = text.split_once(" on node ").map_or("", |(_, node)| node.trim_end_matches('.'));
            return Some(Self::ConnectionRefused { node: node.to_owned(), booting: false });
        }
        Some(match text {
            t if t.starts_with("Task ") && t.ends_with(" not found.") => Self::NotFound,
            t if t.ends_with(" is not a VPS task.") => Self::NotVps,
            t if t.ends_with(" has no SSH port assigned.") => Self::NoSshPort,
            t if t.ends_with(" has no assigned node.") => Self::NoRunner,
            t if t.starts_with("Assigned node for ") && t.ends_with(" is not online.") => Self::RunnerOffline(None),
            t if t.starts_with("Timeout connecting to Runner ") => Self::ConnectionTimeout,
            t if t.starts_with("Failed to connect to Runner ") => Self::Unreachable(t.to_owned()),
            t if t.starts_with("Error parsing runner URL for node ") => {
                Self::RunnerAddress(t["Error parsing runner URL for node ".len()..].trim_end_matches('.').to_owned())
            }
            t if t.contains(" needs a login: ") => Self::TokenNeeded,
            _ => return None,
        })
    }
}

fn inactive_verb(status: &VpsStatus) -> String {
    match status {
        VpsStatus::Paused => "is paused".to_owned(),
        VpsStatus::Stopped => "is stopped".to_owned(),
        VpsStatus::Killed => "was killed".to_owned(),
        VpsStatus::Failed => "has failed".to_owned(),
        VpsStatus::Lost => "is lost".to_owned(),
        VpsStatus::Completed => "has ended".to_owned(),
        VpsStatus::Rejected => "was rejected".to_owned(),
        other => format!("does not run (status: {other})"),
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
            (R::TokenNeeded, 407, "http_request_denied", None),
            (R::NotAllowed, 403, "http_request_denied", None),
            (R::PortNotOffered(80), 403, "http_request_denied", None),
            (R::NotFound, 404, "destination_not_found", None),
            (R::NotVps, 404, "destination_not_found", None),
            (R::Ambiguous("a, b".into()), 409, "destination_unavailable", None),
            (R::Inactive(VpsStatus::Paused), 409, "destination_unavailable", None),
            (R::NoSshPort, 409, "destination_unavailable", None),
            (R::Starting(VpsStatus::Pending), 503, "destination_unavailable", retry),
            (R::NoRunner, 503, "destination_unavailable", None),
            (R::RunnerOffline(None), 503, "destination_unavailable", None),
            (R::ConnectionRefused { node: "n".into(), booting: false }, 502, "connection_refused", None),
            (R::ConnectionRefused { node: "n".into(), booting: true }, 503, "connection_refused", retry),
            (R::RunnerAddress("n".into()), 502, "destination_ip_unroutable", None),
            (R::Unreachable("no route".into()), 502, "destination_ip_unroutable", None),
            (R::ConnectionTimeout, 504, "connection_timeout", None),
            (R::HostApi("down".into()), 502, "proxy_internal_response", None),
            (R::Limit("full".into()), 503, "connection_limit_reached", retry),
        ] {
            assert_eq!(refusal.http_status(), status, "{refusal:?}");
            assert_eq!(refusal.proxy_error(), error, "{refusal:?}");
            assert_eq!(refusal.retry_after(), retry_after, "{refusal:?}");
            assert!(R::REASONS.contains(&(refusal.reason(), error)), "{refusal:?}");
        }
    }

    #[test]
    fn what_is_said_in_the_line_protocol_reads_back() {
        use Refusal as R;
        for refusal in [
            R::NotFound,
            R::NotVps,
            R::Inactive(VpsStatus::KilledOom),
            R::Starting(VpsStatus::Assigning),
            R::NoSshPort,
            R::NoRunner,
            R::RunnerOffline(None),
            R::ConnectionRefused { node: "node-1.lab".into(), booting: false },
            R::ConnectionTimeout,
            R::RunnerAddress("node-1".into()),
            R::TokenNeeded,
        ] {
            assert_eq!(R::from_line(&refusal.line("42")), Some(refusal.clone()), "{refusal:?}");
        }
        for text in ["Internal server error.", "Invalid request format.", "Error processing request.", ""] {
            assert_eq!(R::from_line(text), None, "{text}");
        }
    }

    #[test]
    fn no_hint_names_a_restart_that_a_host_refuses() {
        for status in [VpsStatus::Stopped, VpsStatus::Killed, VpsStatus::KilledOom, VpsStatus::Lost] {
            let hint = Refusal::Inactive(status).hint("42").unwrap();
            assert!(!hint.contains("vps restart"), "{hint}");
        }
    }
}
