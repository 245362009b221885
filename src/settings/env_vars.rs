//! Every environment variable that the three programs read, each declared once.

/// The cluster, one of those in config.json.
pub const KOHAKURIVER_CLUSTER: &str = "KOHAKURIVER_CLUSTER";
/// The Host's name or address. KohakuRiver's Python CLI reads it too.
pub const KOHAKURIVER_HOST: &str = "KOHAKURIVER_HOST";
/// The TCP port of the Host's API. KohakuRiver's Python CLI reads it too.
pub const KOHAKURIVER_PORT: &str = "KOHAKURIVER_PORT";
/// The TCP port of the Host's SSH proxy. KohakuRiver's Python CLI reads it too.
pub const KOHAKURIVER_SSH_PROXY_PORT: &str = "KOHAKURIVER_SSH_PROXY_PORT";
/// The token for the Host that the environment or the command line names.
pub const KOHAKURIVER_TOKEN: &str = "KOHAKURIVER_TOKEN";
/// The gateway's admin address, which lists the open tunnels.
pub const KOHAKURIVER_GATEWAY_ADMIN: &str = "KOHAKURIVER_GATEWAY_ADMIN";
/// The token with which a gateway's tunnels are ended over TCP.
pub const KOHAKURIVER_GATEWAY_ADMIN_TOKEN: &str = "KOHAKURIVER_GATEWAY_ADMIN_TOKEN";
/// A file that the helper appends its messages to, since ssh hides a helper's stderr under ControlPersist.
pub const KOHAKURIVER_LOG_FILE: &str = "KOHAKURIVER_LOG_FILE";
/// The file with the host keys of VPSes.
pub const KOHAKURIVER_KNOWN_HOSTS: &str = "KOHAKURIVER_KNOWN_HOSTS";
/// A file that the helper creates once it has said why there is no tunnel. `vps connect` sets it, not users.
pub const KOHAKURIVER_EXPLAINED: &str = "KOHAKURIVER_EXPLAINED";
/// The programs called `kohakuriver` that have passed a command on already. The programs set it, not users.
pub const KOHAKURIVER_PASSED_ON: &str = "KOHAKURIVER_PASSED_ON";
/// The socket of the service manager, for the gateway's messages to it (sd_notify(3)).
pub const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// The names of the sockets that a service manager passes to the gateway (sd_listen_fds_with_names(3)); the `listenfd`
/// crate reads their number.
pub const LISTEN_FDNAMES: &str = "LISTEN_FDNAMES";
/// Says that stdin is a socket of the gateway that this one replaces, and holds the version of the hand-over and the id of
/// the last tunnel. Gateways set it for their successors; users don't.
pub const KOHAKURIVER_GATEWAY_HAND_OVER: &str = "KOHAKURIVER_GATEWAY_HAND_OVER";
/// The shell that asks for completions. The scripts of `kohakuriver completions` set it.
pub const KOHAKURIVER_COMPLETE: &str = "KOHAKURIVER_COMPLETE";
/// The width of the output where it is no terminal; set by shells and scripts.
pub const COLUMNS: &str = "COLUMNS";
/// The proxy on the way to https servers. Lower case wins, for this variable and for those below.
pub const HTTPS_PROXY: &str = "HTTPS_PROXY";
/// `HTTPS_PROXY` in lower case.
pub const LOWER_HTTPS_PROXY: &str = "https_proxy";
/// The proxy on the way to http servers.
pub const HTTP_PROXY: &str = "HTTP_PROXY";
/// `HTTP_PROXY` in lower case.
pub const LOWER_HTTP_PROXY: &str = "http_proxy";
/// The proxy on the way to all servers that have no other.
pub const ALL_PROXY: &str = "ALL_PROXY";
/// `ALL_PROXY` in lower case.
pub const LOWER_ALL_PROXY: &str = "all_proxy";
/// The servers that are reached without a proxy.
pub const NO_PROXY: &str = "NO_PROXY";
/// `NO_PROXY` in lower case.
pub const LOWER_NO_PROXY: &str = "no_proxy";
/// Set in a CGI program, where a client's header field `Proxy` becomes `HTTP_PROXY` (RFC 3875 §4.1.18).
pub const REQUEST_METHOD: &str = "REQUEST_METHOD";
