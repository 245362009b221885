//! CONNECT proxies of others.

use std::net::SocketAddr;

use rustix::process::Signal;

use super::certificates::Authority;
use super::home::{Home, set_mode};
use super::processes::listens;
use super::run::{DEADLINE, Process, Run};
use super::sshd::free_port;
use super::tools::{clients, tool, user};

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
fn says(ready: &str) -> impl Fn(&Process, SocketAddr) -> bool {
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

/// The same for `user` with `password`; it ends a tunnel that is idle for so many seconds.
pub(crate) fn tinyproxy_of(user: &str, password: &str, allowed: u16, idle: u32) -> Proxy {
    start(says("Accepting connections"), |home, port| {
        let more = format!("BasicAuth {user} {password}\n");
        tinyproxy_with(home, port, allowed, (50, "Info"), idle, &more)
    })
}

/// The same on this port, for so many clients at once, with a log of this level.
pub(crate) fn tinyproxy_at(home: &Home, port: u16, allowed: u16, clients: usize, log_level: &str) -> Run {
    tinyproxy_with(home, port, allowed, (clients, log_level), 600, "")
}

fn tinyproxy_with(
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

fn ports(allowed: &[u16]) -> String {
    let allowed: Vec<String> = allowed.iter().map(u16::to_string).collect();
    format!("acl ours port {}\nhttp_access deny !ours\n", allowed.join(" "))
}

/// The proxy of an office: squid, for `user` with `password`, which lets CONNECT through to the ports in `allowed` alone,
/// and resolves the names in `hosts`, an /etc/hosts. With `more` settings.
pub(crate) fn squid_of(user: &str, password: &str, allowed: &[u16], hosts: &str, more: &str) -> Proxy {
    start(says("Accepting HTTP Socket connections"), |home, port| {
        let rules = login_rules(home, user, password, allowed, hosts);
        squid_with(home, port, &format!("http_port 127.0.0.1:{port}\n{rules}{more}"))
    })
}

/// The same with TLS, with a certificate of this CA.
pub(crate) fn squid_with_tls_of(user: &str, password: &str, allowed: &[u16], authority: &Authority) -> Proxy {
    start(says("Accepting HTTPS Socket connections"), |home, port| {
        let rules = login_rules(home, user, password, allowed, "");
        let issued = authority.server(90);
        let (pem, key) = (home.write("squid.pem", &issued.pem), home.write("squid.key", &issued.key));
        let listens = format!("tls-cert={} tls-key={}", pem.display(), key.display());
        squid_with(home, port, &format!("https_port 127.0.0.1:{port} {listens}\n{rules}"))
    })
}

fn login_rules(home: &Home, user: &str, password: &str, allowed: &[u16], hosts: &str) -> String {
    let hashed = Run::new(tool("openssl"), home).args(["passwd", "-apr1", "-stdin"]).stdin(format!("{password}\n"));
    let users = home.write("users", format!("{user}:{}", hashed.output().text()));
    let hosts = home.write("hosts", hosts);
    format!(
        "auth_param basic program /usr/lib/squid/basic_ncsa_auth {users}\nauth_param basic children 2 startup=1\n\
         auth_param basic realm office\nacl known proxy_auth REQUIRED\n{ports}http_access allow CONNECT known\n\
         hosts_file {hosts}\n",
        users = users.display(),
        hosts = hosts.display(),
        ports = ports(allowed),
    )
}

/// squid with these settings, and with `port` in its name.
fn squid_with(home: &Home, port: u16, settings: &str) -> Run {
    let folder = home.path().display();
    // squid refuses to run as root, so it gets a user who can read its folder.
    let user = if rustix::process::geteuid().is_root() { "nobody".to_owned() } else { user() };
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

/// A SOCKS5 proxy, for everybody or for one user with a password.
pub(crate) fn microsocks(login: Option<(&str, &str)>) -> Proxy {
    start(listening, |home, port| {
        let run = Run::new(tool("microsocks"), home).args(["-i", "127.0.0.1", "-p", &port.to_string()]);
        match login {
            Some((user, password)) => run.args(["-u", user, "-P", password]),
            None => run,
        }
    })
}

/// mitmproxy, which opens TLS with a CA of its own. The file of that CA is `conf/mitmproxy-ca-cert.pem` in its home.
pub(crate) fn mitmproxy(options: &[&str]) -> Proxy {
    start(listening, |home, port| {
        let folder = format!("confdir={}", home.join("conf").display());
        let run = Run::new(clients("mitmproxy/bin/mitmdump"), home).args(["--set", &folder, "--ssl-insecure"]);
        run.args(["--listen-host", "127.0.0.1", "--listen-port", &port.to_string()]).args(options)
    })
}

/// HAProxy with a certificate of this CA, in front of a proxy without TLS.
pub(crate) fn haproxy_with_tls(proxy: SocketAddr, authority: &Authority) -> Proxy {
    start(listening, |home, port| {
        let pem = home.secret("haproxy.pem", &authority.server(91).pem);
        let config = format!(
            "defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 10m\n    timeout server 10m\n\
             listen proxy\n    bind 127.0.0.1:{port} ssl crt {}\n    server proxy {proxy}\n",
            pem.display()
        );
        Run::new(tool("haproxy"), home).args(["-db", "-f"]).arg(home.write("haproxy.cfg", config))
    })
}
