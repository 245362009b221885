//! CONNECT proxies of others.

use std::net::SocketAddr;

use rustix::process::Signal;

use super::home::{Home, set_mode};
use super::processes::listens;
use super::run::{DEADLINE, Process, Run};
use super::sshd::free_port;
use super::tools::{tool, user};

/// How often a proxy's start is tried: between finding a free port and taking it, somebody else may take it.
const TRIES: usize = 5;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
    pub(crate) home: Home,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Killed, squid would leave its shared memory behind.
        self.process.signal(Signal::TERM);
        let _ended = self.process.try_wait_for(DEADLINE, |_| None::<()>);
    }
}

/// Starts a proxy by `start`, which gets a folder and a port; it serves once `serves` says so.
pub(crate) fn start(serves: impl Fn(&Process, SocketAddr) -> bool, start: impl Fn(&Home, u16) -> Run) -> Proxy {
    let mut log = String::new();
    for _ in 0..TRIES {
        let (home, port) = (Home::new(), free_port());
        let (process, address) = (start(&home, port).deadline(600).start(), ([127, 0, 0, 1], port).into());
        if serves(&process, address) {
            return Proxy { address, process, home };
        }
        log = process.finish().to_string();
    }
    panic!("the proxy does not start: {log}");
}

/// Whether a program says `ready`.
pub(crate) fn says(ready: &str) -> impl Fn(&Process, SocketAddr) -> bool {
    move |process, _| {
        let printed = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(ready);
        process.try_wait_for(DEADLINE, |seen| (printed(&seen.stderr) || printed(&seen.stdout)).then_some(())).is_ok()
    }
}

/// Whether a program listens that has no word about it.
pub(crate) fn listening(process: &Process, address: SocketAddr) -> bool {
    listens(process, address.port())
}

/// tinyproxy, which lets CONNECT through to `allowed` alone.
pub(crate) fn tinyproxy(allowed: u16) -> Proxy {
    start(says("Accepting connections"), |home, port| tinyproxy_at(home, port, allowed, 50, "Info"))
}

/// The same on this port, for so many clients at once, with a log of this level.
pub(crate) fn tinyproxy_at(home: &Home, port: u16, allowed: u16, clients: usize, log_level: &str) -> Run {
    tinyproxy_with(home, port, allowed, (clients, log_level), 600, "")
}

/// The same with a limit for idle tunnels, in seconds, and with `more` settings.
pub(crate) fn tinyproxy_with(
    home: &Home,
    port: u16,
    allowed: u16,
    (clients, log_level): (usize, &str),
    idle: u32,
    more: &str,
) -> Run {
    let config = format!(
        "Port {port}\nListen 127.0.0.1\nTimeout {idle}\nMaxClients {clients}\nAllow 127.0.0.1\nConnectPort {allowed}\n\
         LogLevel {log_level}\n{more}"
    );
    Run::new(tool("tinyproxy"), home).args(["-d", "-c"]).arg(home.secret("tinyproxy.conf", &config))
}

/// squid, which lets CONNECT through to `allowed` alone.
pub(crate) fn squid(allowed: u16) -> Proxy {
    start(says("Accepting HTTP Socket connections"), |home, port| squid_at(home, port, allowed))
}

/// The same on this port.
pub(crate) fn squid_at(home: &Home, port: u16, allowed: u16) -> Run {
    squid_with(
        home,
        port,
        &format!("http_port 127.0.0.1:{port}\n{}http_access allow CONNECT ours\n", ports(&[allowed])),
    )
}

/// Rules of squid that allow these ports alone.
pub(crate) fn ports(allowed: &[u16]) -> String {
    let allowed: Vec<String> = allowed.iter().map(u16::to_string).collect();
    format!("acl ours port {}\nhttp_access deny !ours\n", allowed.join(" "))
}

/// squid with these settings, and with `port` in its name.
pub(crate) fn squid_with(home: &Home, port: u16, settings: &str) -> Run {
    let folder = home.path().display();
    // squid refuses to run as root, so it gets a user who can read its folder.
    let user = if rustix::process::geteuid().is_root() { "nobody" } else { user() };
    set_mode(home.path(), 0o755);
    let config = format!(
        "{settings}http_access deny all\ncache deny all\ncache_mem 8 MB\ncache_effective_user {user}\nicp_port 0\n\
         pid_filename none\naccess_log none\ncache_store_log none\ncoredump_dir {folder}\nvisible_hostname squid.example\n\
         pinger_enable off\nshutdown_lifetime 0 seconds\nworkers 1\nnetdb_filename none\n\
         cache_log /dev/null\n",
    );
    // -N: no daemon and no workers; -d 1: its log goes to stderr too; -n: a name of its own, which keeps it apart
    // from any other squid of this machine.
    let name = format!("kr{}p{port}", std::process::id());
    Run::new(tool("squid"), home).args(["-N", "-d", "1", "-n", &name, "-f"]).arg(home.write("squid.conf", config))
}
