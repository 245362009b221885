//! The table of refusals: for each situation everything that is said about it.

use super::state::Rights;

/// One situation. In its texts `{vps}` stands for the VPS as it was named, and `{}` for the value that the refusal
/// holds.
pub(super) struct Row {
    /// One word, for metrics and audit lines.
    pub(super) reason: &'static str,
    /// The status code of the answer to a CONNECT.
    pub(super) status: u16,
    /// The error type in `Proxy-Status` (RFC 9209 §2.3).
    pub(super) error: &'static str,
    /// The same request may succeed soon.
    pub(super) retry: bool,
    /// The problem.
    pub(super) title: &'static str,
    /// Further details. Left out when it is empty, or when it needs a value that the refusal does not hold.
    pub(super) detail: &'static str,
    /// One step that helps, if there is one; never one that a Host would refuse.
    pub(super) hint: Hint,
    /// The sentence of the line protocol.
    pub(super) line: &'static str,
}

/// A step that helps.
pub(super) struct Hint {
    /// The step of a reader with the rights that it needs.
    pub(super) step: &'static str,
    /// The rights that the step takes.
    pub(super) needs: Rights,
    /// The step of any other reader.
    pub(super) ask: &'static str,
}

/// The step for a VPS of a stand-alone gateway.
pub const ASK_THE_GATEWAYS_ADMIN: &str =
    "ask the gateway's admin: it is stand-alone, and no command changes its inventory file";

const NOTHING: Hint = anyone("");

/// A step that is open to every reader.
const fn anyone(step: &'static str) -> Hint {
    Hint { step, needs: Rights::Nothing, ask: "" }
}

/// A step of operators.
const fn operator(step: &'static str, ask: &'static str) -> Hint {
    Hint { step, needs: Rights::All, ask }
}

/// One row for each [`Row::reason`].
pub(super) const ROWS: [&Row; 24] = [
    &BAD_REQUEST,
    &TOKEN_NEEDED,
    &NOT_ALLOWED,
    &ROLE_TOO_LOW,
    &ADDRESS_NOT_SERVED,
    &LINE_NOT_SERVED,
    &PORT_NOT_OFFERED,
    &NOT_FOUND,
    &AMBIGUOUS,
    &NOT_VPS,
    &INACTIVE,
    &NO_SSH_PORT,
    &STARTING,
    &NO_RUNNER,
    &RUNNER_OFFLINE,
    &RUNNER_UNKNOWN,
    &CONNECTION_REFUSED,
    &CONNECTION_TIMEOUT,
    &RUNNER_ADDRESS,
    &UNREACHABLE,
    &HOST_API,
    &LIMIT,
    &SESSION_OVER,
    &SESSION_MISMATCH,
];

/// The other rows. Each shares its reason with one of [`ROWS`].
pub(super) const VARIANTS: [&Row; 24] = [
    &TLS_NEEDED,
    &AMBIGUOUS_START,
    &PAUSED,
    &FAILED,
    &FAILED_WITHOUT_RUNNER,
    &FAILED_SOMEHOW,
    &FAILED_FOR_GOOD,
    &LOST,
    &LOST_BY_RUNNER,
    &LOST_FOR_GOOD,
    &STOPPED,
    &KILLED,
    &KILLED_OOM,
    &COMPLETED,
    &REJECTED,
    &PENDING_APPROVAL,
    &UNKNOWN_STATE,
    &RUNNER_NOT_ONLINE,
    &BOOTING,
    &PERHAPS_BOOTING,
    &HOST_DOWN,
    &HOST_SILENT,
    &HOST_TLS,
    &OWN_LIMIT,
];

/// The values of a row that doesn't set its own.
const PLAIN: Row = Row {
    reason: "",
    status: 0,
    error: "",
    retry: false,
    title: "",
    detail: "",
    hint: NOTHING,
    line: "Internal server error.",
};
/// The client may not have what it asks for.
const DENIED: Row = Row { status: 403, error: "http_request_denied", ..PLAIN };
/// There is no such VPS.
const NOT_THERE: Row = Row { status: 404, error: "destination_not_found", ..PLAIN };
/// The VPS takes no login as it is.
const CONFLICT: Row = Row { status: 409, error: "destination_unavailable", ..PLAIN };
/// The VPS, or its Runner, is not up.
const UNAVAILABLE: Row = Row { status: 503, ..CONFLICT };

const NEEDS_A_LOGIN: &str = "Task {vps} needs a login: connect with kohakuriver-proxy.";
const SEE_THE_RUNNERS: Hint = anyone("see which Runners are online with `kohakuriver node list`");
const WAIT: Hint = Hint {
    step: "wait for it with `kohakuriver vps connect {vps} --wait`",
    needs: Rights::LogIn,
    ask: "your role may log in to no VPS: ask an admin to make you a user",
};
/// A key is what an older Host needs to make a VPS.
const MAKE_ANOTHER: Hint = operator(
    "a Host can't start it again; make a new one with `kohakuriver vps create --gen-ssh-key`",
    "ask an operator for a new one",
);

pub(super) const BAD_REQUEST: Row = Row {
    reason: "bad-request",
    status: 400,
    error: "http_request_error",
    title: "the request is not one that an SSH proxy takes",
    detail: "{}",
    line: "Invalid request format.",
    ..PLAIN
};

pub(super) const TLS_NEEDED: Row = Row {
    title: "this port speaks TLS, and the request came without",
    detail: "",
    hint: anyone("name the gateway as https://HOST:PORT, or take its port for plain HTTP"),
    line: "This port speaks TLS: name it as https://HOST:PORT.",
    ..BAD_REQUEST
};

pub(super) const TOKEN_NEEDED: Row = Row {
    reason: "token-needed",
    status: 407,
    title: "VPS {vps} needs a login",
    detail: "the Host wants a token, and got none or one it does not know",
    hint: anyone("log in with `kohakuriver auth login`"),
    line: NEEDS_A_LOGIN,
    ..DENIED
};

pub(super) const NOT_ALLOWED: Row = Row {
    reason: "not-allowed",
    title: "VPS {vps} is not yours to reach",
    detail: "the Host shows a VPS to its owner, its assignees and operators only",
    hint: anyone("ask an operator to assign it to you; `kohakuriver auth status` shows who you are"),
    line: NEEDS_A_LOGIN,
    ..DENIED
};

pub(super) const ROLE_TOO_LOW: Row = Row {
    reason: "role-too-low",
    detail: "the role `{}` may look at VPSes, but log in to none",
    hint: anyone("ask an admin to make you a user; `kohakuriver auth status` shows who you are"),
    ..NOT_ALLOWED
};

pub(super) const ADDRESS_NOT_SERVED: Row = Row {
    reason: "address-not-served",
    title: "the gateway does not serve your address",
    detail: "{} is outside the networks it is meant for",
    hint: anyone("connect from inside its networks, or ask its admin to allow yours"),
    line: "This gateway does not serve {}.",
    ..DENIED
};

pub(super) const LINE_NOT_SERVED: Row = Row {
    reason: "line-not-served",
    title: "the gateway does not take the older line protocol",
    detail: "a line that asks for a tunnel carries no token",
    hint: anyone("leave `--protocol` out: then HTTP CONNECT is used, with your token"),
    line: "This gateway takes no REQUEST_TUNNEL: connect with kohakuriver-proxy.",
    ..DENIED
};

pub(super) const PORT_NOT_OFFERED: Row = Row {
    reason: "port-not-offered",
    title: "VPS {vps} offers port 22 only, not port {}",
    hint: anyone(
        "leave the port out; to reach another port of the VPS, forward it: `kohakuriver vps forward {vps} 8888`",
    ),
    ..DENIED
};

pub(super) const NOT_FOUND: Row = Row {
    reason: "not-found",
    title: "there is no VPS {vps}",
    hint: anyone("see which there are with `kohakuriver vps list --all`"),
    line: "Task {vps} not found.",
    ..NOT_THERE
};

pub(super) const AMBIGUOUS: Row = Row {
    reason: "ambiguous",
    title: "more than one VPS is called {vps}",
    detail: "they are: {}",
    hint: anyone("use the task id"),
    ..CONFLICT
};

pub(super) const AMBIGUOUS_START: Row = Row { title: "more than one VPS's name begins with `{vps}`", ..AMBIGUOUS };

pub(super) const NOT_VPS: Row = Row {
    reason: "not-vps",
    title: "task {vps} is a command task, not a VPS",
    hint: anyone("only a VPS takes SSH; see which there are with `kohakuriver vps list`"),
    line: "Task {vps} is not a VPS task.",
    ..NOT_THERE
};

/// A state that has no words of its own.
pub(super) const INACTIVE: Row = Row {
    reason: "inactive",
    title: "VPS {vps} does not run (status: {})",
    hint: MAKE_ANOTHER,
    line: "VPS task {vps} is not active (status: {}).",
    ..CONFLICT
};

pub(super) const PAUSED: Row = Row {
    title: "VPS {vps} is paused",
    hint: Hint {
        step: "resume it with `kohakuriver vps resume {vps}`",
        needs: Rights::Own,
        ask: "ask its owner or an operator to resume it",
    },
    ..INACTIVE
};
pub(super) const FAILED: Row = Row {
    title: "VPS {vps} has failed",
    hint: operator("restart it with `kohakuriver vps restart {vps}`", "ask an operator to restart it"),
    ..INACTIVE
};
pub(super) const FAILED_WITHOUT_RUNNER: Row =
    Row { hint: anyone("a restart needs its Runner, which is not online: see `kohakuriver node list`"), ..FAILED };
/// Only today's Hosts can restart it, and the line protocol tells neither the Host's age nor its reason.
pub(super) const FAILED_SOMEHOW: Row = Row { hint: anyone("see why with `kohakuriver vps status {vps}`"), ..FAILED };
pub(super) const FAILED_FOR_GOOD: Row = Row { hint: MAKE_ANOTHER, ..FAILED };
pub(super) const LOST: Row = Row {
    title: "VPS {vps} is lost",
    hint: anyone("its Runner went silent; it comes back with its Runner: see `kohakuriver node list`"),
    ..INACTIVE
};
pub(super) const LOST_BY_RUNNER: Row = Row {
    hint: operator(
        "its Runner is online again; if it does not come back soon, make a new one with `kohakuriver vps create \
         --gen-ssh-key`",
        "ask an operator for a new one, if it does not come back soon",
    ),
    ..LOST
};
pub(super) const LOST_FOR_GOOD: Row = Row { hint: MAKE_ANOTHER, ..LOST };
pub(super) const STOPPED: Row = Row { title: "VPS {vps} is stopped", ..INACTIVE };
pub(super) const KILLED: Row = Row { title: "VPS {vps} was killed", ..INACTIVE };
pub(super) const KILLED_OOM: Row = Row { title: "VPS {vps} ran out of memory and was killed", ..INACTIVE };
pub(super) const COMPLETED: Row = Row { title: "VPS {vps} has ended", ..INACTIVE };
pub(super) const REJECTED: Row = Row { title: "VPS {vps} was rejected", ..INACTIVE };
pub(super) const PENDING_APPROVAL: Row = Row {
    title: "VPS {vps} awaits approval",
    hint: anyone("an operator can approve it, on the Host's web page"),
    ..INACTIVE
};
pub(super) const UNKNOWN_STATE: Row = Row {
    title: "VPS {vps} is in an unknown state: {}",
    hint: anyone("the Host may be newer than this program: ask its admin what this state means"),
    ..INACTIVE
};

pub(super) const NO_SSH_PORT: Row = Row {
    reason: "no-ssh-port",
    title: "VPS {vps} has no SSH: it was created for terminals only",
    hint: operator(
        "make a new one with a key: `kohakuriver vps create --gen-ssh-key`",
        "ask an operator for a new one with SSH",
    ),
    line: "VPS task {vps} has no SSH port assigned.",
    ..CONFLICT
};

pub(super) const STARTING: Row = Row {
    reason: "starting",
    retry: true,
    title: "VPS {vps} is starting (status: {})",
    hint: WAIT,
    line: INACTIVE.line,
    ..UNAVAILABLE
};

pub(super) const NO_RUNNER: Row = Row {
    reason: "no-runner",
    title: "VPS {vps} has no Runner",
    hint: SEE_THE_RUNNERS,
    line: "VPS task {vps} has no assigned node.",
    ..UNAVAILABLE
};

pub(super) const RUNNER_OFFLINE: Row = Row {
    reason: "runner-offline",
    title: "the Runner of VPS {vps} is offline",
    detail: "the Host has not heard from Runner {} lately",
    hint: SEE_THE_RUNNERS,
    line: "Assigned node for VPS task {vps} is not online.",
    ..UNAVAILABLE
};

/// The sentence of the line protocol does not tell an offline Runner from one that the Host doesn't know.
pub(super) const RUNNER_NOT_ONLINE: Row = Row { title: "the Runner of VPS {vps} is not online", ..RUNNER_OFFLINE };

pub(super) const RUNNER_UNKNOWN: Row = Row {
    reason: "runner-unknown",
    title: "the Host does not know the Runner of VPS {vps}",
    detail: "no Runner of the name {} is registered",
    hint: anyone("see which Runners there are with `kohakuriver node list`"),
    ..RUNNER_OFFLINE
};

pub(super) const CONNECTION_REFUSED: Row = Row {
    reason: "connection-refused",
    status: 502,
    error: "connection_refused",
    title: "VPS {vps} refuses SSH connections",
    detail: "nothing listens on its SSH port on Runner {}",
    hint: anyone("its sshd may have ended: start it in the VPS's terminal, on the Host's web page"),
    line: "Connection refused by VPS task {vps} on node {}.",
    ..PLAIN
};

pub(super) const BOOTING: Row = Row {
    status: 503,
    retry: true,
    title: "VPS {vps} is starting: its sshd does not listen yet",
    hint: WAIT,
    ..CONNECTION_REFUSED
};

/// The time of the start is unknown: an older Host does not tell, and an inventory need not.
pub(super) const PERHAPS_BOOTING: Row = Row {
    hint: anyone(
        "if it has just started, wait for it with `kohakuriver vps connect {vps} --wait`; if not, its sshd may have ended",
    ),
    ..CONNECTION_REFUSED
};

pub(super) const CONNECTION_TIMEOUT: Row = Row {
    reason: "connection-timeout",
    status: 504,
    error: "connection_timeout",
    title: "VPS {vps} does not answer on its SSH port",
    hint: anyone("its Runner may have just gone: see when it was last heard from with `kohakuriver node list`"),
    line: "Timeout connecting to Runner for task {vps}.",
    ..PLAIN
};

pub(super) const RUNNER_ADDRESS: Row = Row {
    reason: "runner-address",
    status: 502,
    error: "destination_ip_unroutable",
    title: "the Runner of VPS {vps} can't be reached",
    detail: "Runner {} is registered with an address that is not a URL",
    hint: anyone("see the addresses of the Runners with `kohakuriver node list --json`"),
    line: "Error parsing runner URL for node {}.",
    ..PLAIN
};

pub(super) const UNREACHABLE: Row =
    Row { reason: "unreachable", detail: "{}", hint: NOTHING, line: PLAIN.line, ..RUNNER_ADDRESS };

pub(super) const HOST_API: Row = Row {
    reason: "host-api",
    status: 502,
    error: "proxy_internal_response",
    title: "the Host API gives no usable answer",
    detail: "{}",
    hint: anyone("see whether the Host runs: `systemctl status kohakuriver-host` there"),
    ..PLAIN
};

pub(super) const HOST_DOWN: Row = Row { title: "the Host API can't be reached", ..HOST_API };
pub(super) const HOST_SILENT: Row = Row { title: "the Host API gave no answer in time", ..HOST_API };
pub(super) const HOST_TLS: Row = Row {
    title: "the gateway can't connect to the Host API by TLS",
    hint: anyone("tell the gateway's admin: the gateway's log says what helps"),
    ..HOST_API
};

pub(super) const SESSION_OVER: Row = Row {
    reason: "session-over",
    status: 410,
    title: "the gateway has no such session with {vps} any more",
    detail: "{}",
    hint: anyone("connect again: the VPS may still have what ran in tmux or screen"),
    ..CONFLICT
};

pub(super) const SESSION_MISMATCH: Row = Row {
    reason: "session-mismatch",
    title: "the session with {vps} can't be continued",
    detail: "{}",
    hint: anyone("connect again: the VPS may still have what ran in tmux or screen"),
    ..CONFLICT
};

pub(super) const LIMIT: Row = Row {
    reason: "limit",
    status: 503,
    error: "connection_limit_reached",
    retry: true,
    title: "the gateway is at its limit",
    detail: "{}",
    hint: anyone("try again in a moment"),
    line: "Too many connections. Try again in a moment.",
};
pub(super) const OWN_LIMIT: Row =
    Row { hint: anyone("end a session that you don't need: `kohakuriver vps sessions` lists them"), ..LIMIT };
