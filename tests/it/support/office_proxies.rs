//! Proxies of others as offices have them: with a login, with TLS, or in SOCKS5.

use std::net::SocketAddr;

use super::certificates::Authority;
use super::home::Home;
use super::proxies::{Proxy, listening, ports, says, squid_with, start, tinyproxy_with};
use super::run::Run;
use super::tools::{clients, tool};

/// tinyproxy for `user` with `password`, which lets CONNECT through to `allowed` alone, and ends a tunnel that is idle for
/// so many seconds.
pub(crate) fn tinyproxy_of(user: &str, password: &str, allowed: u16, idle: u32) -> Proxy {
    start(says("Accepting connections"), |home, port| {
        let more = format!("BasicAuth {user} {password}\n");
        tinyproxy_with(home, port, allowed, (50, "Info"), idle, &more)
    })
}

/// The proxy of an office: squid, for `user` with `password`, which lets CONNECT through to the ports in `allowed` alone,
/// and resolves the names in `hosts`, an /etc/hosts. With `more` settings.
pub(crate) fn squid_of(user: &str, password: &str, allowed: &[u16], hosts: &str, more: &str) -> Proxy {
    start(says("Accepting HTTP Socket connections"), |home, port| {
        let rules = login_rules(home, user, password, allowed, hosts);
        squid_with(home, port, &format!("http_port 127.0.0.1:{port}\n{rules}{more}"))
    })
}

/// Such a squid with TLS, with a certificate of this CA.
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
