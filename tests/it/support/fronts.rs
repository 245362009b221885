//! The programs in front of a gateway, with the files of contrib/gateway/front.

use std::net::SocketAddr;

use super::certificates::Authority;
use super::home::{Home, set_mode};
use super::proxies::{Proxy, listening, start};
use super::run::Run;
use super::tools::tool;

macro_rules! file {
    ($name:literal) => {
        include_str!(concat!("../../../contrib/gateway/front/", $name))
    };
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Front {
    HaproxySni,
    HaproxyTls,
    /// The same without TLS 1.3.
    HaproxyTls12,
    NginxSni,
    NginxTls,
    /// nginx as an HTTP server, in the way of a web site.
    NginxHttp,
    /// Caddy in the way of a web site.
    Caddy,
}

/// The server behind a front.
pub(crate) struct Behind<'a> {
    /// Of the certificates of the front and of the web server.
    pub(crate) authority: &'a Authority,
    pub(crate) gateway: SocketAddr,
    /// Its name, in place of the one in the files.
    pub(crate) name: &'static str,
}

/// A front that serves.
pub(crate) struct Running {
    pub(crate) proxy: Proxy,
    _web: Option<Proxy>,
}

/// Caddy as a web site at `port`.
fn caddy(home: &Home, port: u16, authority: &Authority, name: &str, serves: &str) -> Run {
    let issued = authority.issue(60, name, &[name]);
    let pem = home.secret("caddy.pem", &issued.pem);
    let key = home.secret("caddy.key", &issued.key);
    let config = format!(
        "{{\n\tadmin off\n\tauto_https disable_redirects\n\tservers {{\n\t\tprotocols h1\n\t}}\n}}\n\
         https://{name}:{port} {{\n\tbind 127.0.0.1\n\ttls {} {}\n\t{serves}\n}}\n",
        pem.display(),
        key.display()
    );
    let run = Run::new(tool("caddy"), home).args(["run", "--adapter", "caddyfile", "--config"]);
    run.arg(home.write("Caddyfile", config))
}

/// A text of ours in which each of these is replaced, and must be there.
fn replaced(text: &str, all: &[(&str, String)]) -> String {
    all.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "no {from:?} in\n{text}");
        text.replace(from, to)
    })
}

impl Behind<'_> {
    pub(crate) fn start(&self, front: Front) -> Running {
        let is_beside = matches!(front, Front::HaproxySni | Front::NginxSni);
        let web = is_beside.then(|| {
            let site = |home: &Home, port| caddy(home, port, self.authority, "web.example", "respond \"a web page\"");
            start(listening, site)
        });
        let beside = web.as_ref().map_or_else(String::new, |web| web.address.to_string());
        let proxy = start(listening, |home, port| self.front(front, home, port, &beside));
        Running { proxy, _web: web }
    }

    fn front(&self, front: Front, home: &Home, port: u16, web: &str) -> Run {
        let issued = self.authority.server(50);
        let (pem, key) = (home.secret("front.pem", &issued.pem), home.secret("front.key", &issued.key));
        let (pem, key) = (pem.display().to_string(), key.display().to_string());
        let name = || ("gpu.example.org", self.name.to_owned());
        let to = self.gateway.to_string();
        let at = format!("127.0.0.1:{port}");
        match front {
            Front::HaproxySni => haproxy(
                home,
                &replaced(
                    file!("haproxy-sni.cfg"),
                    &[(":::443 v4v6", at), ("127.0.0.1:8443", to), ("127.0.0.1:4443", web.to_owned()), name()],
                ),
            ),
            Front::HaproxyTls => haproxy(
                home,
                &replaced(
                    file!("haproxy-tls.cfg"),
                    &[(":::443 v4v6", at), ("127.0.0.1:8002", to), ("/etc/haproxy/gpu.example.org.pem", pem)],
                ),
            ),
            Front::HaproxyTls12 => {
                let newest = || ("alpn http/1.1", "alpn http/1.1 ssl-max-ver TLSv1.2".to_owned());
                haproxy(
                    home,
                    &replaced(
                        file!("haproxy-tls.cfg"),
                        &[
                            (":::443 v4v6", at),
                            ("127.0.0.1:8002", to),
                            ("/etc/haproxy/gpu.example.org.pem", pem),
                            newest(),
                        ],
                    ),
                )
            }
            Front::NginxSni => nginx(
                home,
                &replaced(
                    file!("nginx-sni.conf"),
                    &[
                        ("[::]:443 ipv6only=off", at),
                        ("127.0.0.1:8443", to),
                        ("127.0.0.1:4443", web.to_owned()),
                        name(),
                    ],
                ),
            ),
            Front::NginxTls => nginx(
                home,
                &replaced(
                    file!("nginx-tls.conf"),
                    &[
                        ("[::]:443 ipv6only=off", at),
                        ("127.0.0.1:8002", to),
                        ("/etc/nginx/gpu.example.org.pem", pem),
                        ("/etc/nginx/gpu.example.org.key", key),
                    ],
                ),
            ),
            Front::NginxHttp => {
                let folder = home.path().display();
                let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|kind| format!("    {kind}_temp_path {folder}/{kind};\n"))
                    .concat();
                nginx(
                    home,
                    &format!(
                        "http {{\n{temporary}    access_log off;\n    server {{\n        listen {at} ssl;\n        \
                     ssl_certificate {pem};\n        ssl_certificate_key {key};\n        \
                     location / {{ proxy_pass http://{to}; }}\n    }}\n}}\n"
                    ),
                )
            }
            Front::Caddy => caddy(home, port, self.authority, "localhost", &format!("reverse_proxy {to}")),
        }
    }
}

fn haproxy(home: &Home, config: &str) -> Run {
    Run::new(tool("haproxy"), home).args(["-db", "-f"]).arg(home.write("haproxy.cfg", config))
}

/// nginx whose main file includes this one, as Debian's loads the module of streams.
fn nginx(home: &Home, config: &str) -> Run {
    set_mode(home.path(), 0o755);
    let included = home.write("included.conf", config);
    let main = format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\npid {}/nginx.pid;\nerror_log stderr;\n\
         events {{ }}\ninclude {};\n",
        home.path().display(),
        included.display()
    );
    Run::new(tool("nginx"), home).args(["-e", "stderr", "-c"]).arg(home.write("nginx.conf", main))
}
