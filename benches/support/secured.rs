//! The common parts of the rows with TLS: a certificate, and servers of others with that certificate.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::certificates::Authority;
use super::gateway::{Gateway, inventory};
use super::proxies::{Proxy, listening, start};
use super::run::Run;
use super::tools::tool;

/// A CA, and a file with a certificate of it and its key (P-256).
pub(crate) struct Certified {
    pub(crate) ca: PathBuf,
    pub(crate) certificate: PathBuf,
    _authority: Authority,
}

impl Certified {
    pub(crate) fn new() -> Self {
        let authority = Authority::new();
        let certificate = authority.home.secret("server.pem", &authority.server(1).pem);
        Self { ca: authority.file.clone(), certificate, _authority: authority }
    }

    /// Our gateway with a TLS port, and that port.
    pub(crate) fn gateway(&self, vps: &[serde_json::Value], options: &[&str]) -> (Gateway, SocketAddr) {
        let certificate = self.certificate.to_str().expect("a path of ours");
        let options = [&["--tls-listen", "127.0.0.1:0", "--tls-cert", certificate], options].concat();
        let gateway = Gateway::with_inventory_and(&inventory(vps), &options);
        let tls = gateway.process.stderr_line("listening with TLS on ").parse().expect("an address");
        (gateway, tls)
    }

    /// HAProxy with TLS before `behind`, for so many connections.
    pub(crate) fn haproxy(&self, behind: SocketAddr, connections: usize) -> Proxy {
        let certificate = self.certificate.display();
        start(listening, |home, port| {
            let config = format!(
                "global\n maxconn {connections}\ndefaults\n mode tcp\n maxconn {connections}\n timeout connect 10s\n \
                 timeout client 1h\n timeout server 1h\nlisten tls\n \
                 bind 127.0.0.1:{port} ssl crt {certificate} ssl-min-ver TLSv1.3\n server behind {behind}\n"
            );
            Run::new(tool("haproxy"), home).args(["-q", "-db", "-f"]).arg(home.write("haproxy.cfg", config))
        })
    }

    /// stunnel as a server, with TLS before `behind`.
    pub(crate) fn stunnel_server(&self, behind: SocketAddr) -> Proxy {
        stunnel(behind, format!("cert = {}", self.certificate.display()))
    }

    /// stunnel as a client of the server at `behind`.
    pub(crate) fn stunnel_client(&self, behind: SocketAddr) -> Proxy {
        stunnel(
            behind,
            format!("client = yes\nCAfile = {}\nverifyChain = yes\ncheckHost = localhost", self.ca.display()),
        )
    }

    /// socat as a server, with TLS before `behind`.
    pub(crate) fn socat_server(&self, behind: SocketAddr) -> Proxy {
        let certificate = self.certificate.display();
        start(listening, |home, port| {
            Run::new(tool("socat"), home)
                .arg(format!(
                    "OPENSSL-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,backlog=128,cert={certificate},verify=0,\
                     openssl-min-proto-version=TLS1.3"
                ))
                .arg(format!("TCP:{behind}"))
        })
    }
}

fn stunnel(behind: SocketAddr, role: String) -> Proxy {
    start(listening, |home, port| {
        let config = format!(
            "foreground = yes\npid =\ndebug = err\nsslVersionMin = TLSv1.3\nsocket = l:TCP_NODELAY=1\n\
             socket = r:TCP_NODELAY=1\n[tls]\naccept = 127.0.0.1:{port}\nconnect = {behind}\n{role}\n"
        );
        Run::new(tool("stunnel"), home).arg(home.write("stunnel.conf", config))
    })
}
