//! A laptop in an office: a VPS behind a gateway with TLS, and an ssh that reaches it through the office's proxy.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::certificates::{Authority, NAME};
use super::gateway::Gateway;
use super::home::Home;
use super::office_proxies::squid_of;
use super::proxies::Proxy;
use super::run::Run;
use super::scene::{ID, Mode, destination};
use super::sshd::Sshd;
use super::tools::{CLI, HELPER, sh_quote};

/// The user of the proxies.
pub(crate) const USER: &str = "alice";
/// The password of that user, which can't stand in a URL as it is.
pub(crate) const PASSWORD: &str = "sek@rit:1/2";
/// The same in a URL.
pub(crate) const IN_URL: &str = "sek%40rit:1%2F2";

/// The address that stands for this machine, and that isn't left out by the variables' rules about loopback.
pub(crate) const THIS_MACHINE: &str = "0.0.0.0";

/// The VPS and its gateway.
pub(crate) struct Office {
    pub(crate) authority: Authority,
    pub(crate) sshd: Sshd,
    pub(crate) gateway: Gateway,
    /// Where the gateway takes TLS.
    pub(crate) tls: SocketAddr,
}

impl Office {
    pub(crate) fn new() -> Self {
        Self::with(Gateway::before_and)
    }

    /// With a gateway that gets the port of the VPS, and these options.
    pub(crate) fn with(gateway: impl FnOnce(u16, &[&str]) -> Gateway) -> Self {
        let (authority, sshd) = (Authority::new(), Sshd::start());
        let issued = authority.issue(1, NAME, &[NAME, "localhost", "127.0.0.1", THIS_MACHINE]);
        let file = authority.home.write("gateway.pem", issued.certificate());
        let key = authority.home.secret("gateway.key", &issued.key);
        let files = ["--tls-cert", file.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
        let gateway = gateway(sshd.port, &[&["--tls-listen", "127.0.0.1:0", "--api-proxy"], &files[..]].concat());
        let tls = gateway.process.stderr_line("listening with TLS on ").parse().unwrap();
        Self { authority, sshd, gateway, tls }
    }

    /// The office's proxy: squid with a login. It alone knows where the gateway's name leads, and allows no other ports
    /// than the gateway's.
    pub(crate) fn squid(&self) -> Proxy {
        self.squid_with("")
    }

    /// The same with more settings.
    pub(crate) fn squid_with(&self, settings: &str) -> Proxy {
        let ports = [self.tls.port(), self.gateway.address.port()];
        squid_of(USER, PASSWORD, &ports, &format!("127.0.0.1 {NAME}\n"), settings)
    }

    /// The gateway's TLS port by one of its names.
    pub(crate) fn named(&self, name: &str) -> String {
        format!("https://{name}:{}", self.tls.port())
    }

    /// A home whose config.json leads to the gateway's TLS port by this name, with `more` settings.
    pub(crate) fn home(&self, name: &str, more: &Value) -> Home {
        let home = Home::new();
        self.sshd.copy_key_to(&home.join(&format!(".ssh/id-kohakuriver-{ID}")));
        let mut config = json!({ "host": self.named(name), "ca_file": self.authority.file });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        home.secret(".config/kohakuriver/config.json", &config.to_string());
        home
    }

    /// An ssh with the helper, which has these words besides.
    pub(crate) fn ssh(&self, home: &Home, mode: Mode, words: &[&str]) -> Run {
        let fdpass = if mode == Mode::Fdpass { " --fdpass" } else { "" };
        let words: String = words.iter().map(|word| format!(" {}", sh_quote(word).replace('%', "%%"))).collect();
        let command = format!("{}{fdpass}{words} %h %p", sh_quote(HELPER));
        self.sshd.ssh(home, &command, mode).arg(destination())
    }

    /// `kohakuriver`, which finds an ssh without settings of the user who runs the tests.
    pub(crate) fn kohakuriver(&self, home: &Home, args: &[&str]) -> Run {
        if !home.join("bin/ssh").exists() {
            home.ssh("", "-F none -o BatchMode=yes");
        }
        Run::new(CLI, home).args(args).first_on_path(&home.join("bin"))
    }
}

/// The URL of a proxy, with the login.
pub(crate) fn url(scheme: &str, proxy: &Proxy) -> String {
    format!("{scheme}://{USER}:{IN_URL}@{}", proxy.address)
}

/// The same without the password.
pub(crate) fn url_without_password(scheme: &str, proxy: &Proxy) -> String {
    format!("{scheme}://{USER}@{}", proxy.address)
}
