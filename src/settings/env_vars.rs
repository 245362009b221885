//! Every environment variable that the three programs read, each declared once.

/// The Host's name or address. KohakuRiver's Python CLI reads it too.
pub const KOHAKURIVER_HOST: &str = "KOHAKURIVER_HOST";
/// The TCP port of the Host's API. KohakuRiver's Python CLI reads it too.
pub const KOHAKURIVER_PORT: &str = "KOHAKURIVER_PORT";
/// The TCP port of the Host's SSH proxy. KohakuRiver's Python CLI reads it too.
pub const KOHAKURIVER_SSH_PROXY_PORT: &str = "KOHAKURIVER_SSH_PROXY_PORT";
/// The token for the Host; without it, `~/.kohakuriver/auth.json` is read.
pub const KOHAKURIVER_TOKEN: &str = "KOHAKURIVER_TOKEN";
/// Where the gateway tells its admin which tunnels are open.
pub const KOHAKURIVER_GATEWAY_ADMIN: &str = "KOHAKURIVER_GATEWAY_ADMIN";
/// A file that the helper appends its messages to, since ssh hides a helper's stderr under ControlPersist.
pub const KOHAKURIVER_LOG_FILE: &str = "KOHAKURIVER_LOG_FILE";
/// Which programs called `kohakuriver` have passed a command on already. They set it for each other; users don't.
pub const KOHAKURIVER_PASSED_ON: &str = "KOHAKURIVER_PASSED_ON";
/// Where a service manager listens for what the gateway tells it (sd_notify(3)).
pub const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// The names of the sockets that a service manager passes to the gateway (sd_listen_fds_with_names(3)); the `listenfd`
/// crate reads how many they are.
pub const LISTEN_FDNAMES: &str = "LISTEN_FDNAMES";
/// That the gateway's stdin is a socket from the gateway whose place it takes, and the number of its last tunnel.
/// Gateways set it for each other; users don't.
pub const KOHAKURIVER_GATEWAY_HEIR: &str = "KOHAKURIVER_GATEWAY_HEIR";
/// The shell that asks what could stand at a place of the command line. The scripts of `kohakuriver completions` set
/// it.
pub const KOHAKURIVER_COMPLETE: &str = "KOHAKURIVER_COMPLETE";
