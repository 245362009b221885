//! A whole path: a VPS, what stands in front of it, and an ssh_config that leads through our helper.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use serde_json::Value;

use super::certificates::Authority;
use super::front::Place;
use super::gateway::{Gateway, NODE, inventory, running};
use super::home::Home;
use super::older_host::{OlderHost, task};
use super::run::Run;
use super::sshd::Sshd;
use super::tools::{HELPER, sh_quote, tool, user};

/// The VPS of a scene.
pub(crate) const ID: &str = "7323718749301768192";

/// How ssh and the helper share the connection.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Mode {
    Fdpass,
    Stdio,
}

impl Mode {
    pub(crate) const BOTH: [Self; 2] = [Self::Fdpass, Self::Stdio];
}

/// The server on the SSH proxy's port.
pub(crate) enum Front {
    Gateway(Gateway),
    /// The gateway's port with TLS, with a certificate of this CA.
    Tls {
        place: Place,
        _kept: Box<(Gateway, Authority)>,
    },
    OlderHost(OlderHost),
}

pub(crate) struct Scene {
    pub(crate) sshd: Sshd,
    pub(crate) front: Front,
    pub(crate) home: Home,
}

impl Scene {
    /// Our gateway before a VPS. Tests that run at the same time share it; the last one takes it down.
    pub(crate) fn connect() -> Arc<Self> {
        static SHARED: Mutex<Weak<Scene>> = Mutex::new(Weak::new());
        Self::shared(&SHARED, |sshd| Front::Gateway(Gateway::before(sshd.port)))
    }

    /// Our gateway with TLS before a VPS, shared as [`Scene::connect`] is.
    pub(crate) fn tls() -> Arc<Self> {
        static SHARED: Mutex<Weak<Scene>> = Mutex::new(Weak::new());
        Self::shared(&SHARED, |sshd| {
            let (gateway, place, authority) = tls_gateway(&inventory(&[running(ID, sshd.port)]));
            Front::Tls { place, _kept: Box::new((gateway, authority)) }
        })
    }

    /// A real older Host before a VPS, shared as [`Scene::connect`] is.
    pub(crate) fn line() -> Arc<Self> {
        static SHARED: Mutex<Weak<Scene>> = Mutex::new(Weak::new());
        Self::shared(&SHARED, |sshd| {
            Front::OlderHost(OlderHost::start(&[task(ID, "running", Some(NODE), Some(sshd.port))]))
        })
    }

    fn shared(slot: &Mutex<Weak<Self>>, front: impl FnOnce(&Sshd) -> Front) -> Arc<Self> {
        let mut slot = slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(scene) = slot.upgrade() {
            return scene;
        }
        let sshd = Sshd::start_with("");
        let front = front(&sshd);
        let scene = Arc::new(Self { sshd, front, home: Home::new() });
        *slot = Arc::downgrade(&scene);
        scene
    }

    pub(crate) fn proxy(&self) -> Place {
        match &self.front {
            Front::Gateway(gateway) => gateway.address.into(),
            Front::Tls { place, .. } => place.clone(),
            Front::OlderHost(host) => host.proxy.into(),
        }
    }

    /// The ssh_config for `mode`.
    pub(crate) fn config(&self, mode: Mode) -> PathBuf {
        let command = helper_command(HELPER, mode, self.proxy());
        self.sshd.write_ssh_config(&self.home, &format!("config-{mode:?}"), &command, mode)
    }

    /// The system's ssh with that configuration.
    pub(crate) fn ssh(&self, mode: Mode) -> Run {
        self.client("ssh", mode)
    }

    /// One of OpenSSH's programs with that configuration.
    pub(crate) fn client(&self, name: &str, mode: Mode) -> Run {
        Run::new(tool(name), &self.home).arg("-F").arg(self.config(mode))
    }

    /// `ssh -F …` as one text, for programs that take a remote shell as one.
    pub(crate) fn remote_shell(&self, mode: Mode) -> String {
        format!("{} -F {}", tool("ssh").display(), sh_quote(&self.config(mode).display().to_string()))
    }
}

/// A gateway with TLS on this inventory, its port with TLS, and the CA of its certificate.
pub(crate) fn tls_gateway(inventory: &Value) -> (Gateway, Place, Authority) {
    let authority = Authority::new();
    let file = authority.home.secret("gateway.pem", &authority.server(1).pem);
    let options = ["--tls-listen", "127.0.0.1:0", "--tls-cert", file.to_str().unwrap()];
    let gateway = Gateway::with_inventory_and(inventory, &options);
    let address = gateway.process.stderr_line("listening with TLS on ").parse().unwrap();
    (gateway, Place { address, ca: Some(authority.file.clone()) }, authority)
}

/// How ssh names the VPS.
pub(crate) fn destination() -> String {
    format!("{ID}.kohakuriver")
}

/// A ProxyCommand for our helper: ssh expands `%` in it, then a shell reads it.
pub(crate) fn helper_command(helper: impl AsRef<Path>, mode: Mode, proxy: impl Into<Place>) -> String {
    let helper = sh_quote(&helper.as_ref().display().to_string()).replace('%', "%%");
    let fdpass = if mode == Mode::Fdpass { "--fdpass " } else { "" };
    format!("{helper} {fdpass}{} %h %p", proxy.into().words().join(" "))
}

impl Gateway {
    /// Stand-alone, before the VPS [`ID`] at this port of this machine.
    pub(crate) fn before(port: u16) -> Self {
        Self::before_and(port, &[])
    }

    /// As [`Gateway::before`], with more options.
    pub(crate) fn before_and(port: u16, options: &[&str]) -> Self {
        Self::with_inventory_and(&inventory(&[running(ID, port)]), options)
    }
}

impl Sshd {
    /// The system's ssh with [`Sshd::write_ssh_config`].
    pub(crate) fn ssh(&self, home: &Home, proxy_command: &str, mode: Mode) -> Run {
        let config = self.write_ssh_config(home, &format!("config-{mode:?}"), proxy_command, mode);
        Run::new(tool("ssh"), home).arg("-F").arg(config)
    }

    /// An ssh_config that reaches this server as any `*.kohakuriver` through `proxy_command`, and as `direct`
    /// without one. Its key is known already: nothing is accepted on trust.
    pub(crate) fn write_ssh_config(&self, home: &Home, name: &str, proxy_command: &str, mode: Mode) -> PathBuf {
        let known = home.write(&format!("{name}.known_hosts"), self.known_as("vps"));
        let fdpass = if mode == Mode::Fdpass { "yes" } else { "no" };
        let text = format!(
            "Host direct\n  HostName 127.0.0.1\n  Port {port}\n\
             Host *.kohakuriver foreign\n  ProxyCommand {proxy_command}\n  ProxyUseFdpass {fdpass}\n\
             Host *\n  User {user}\n  IdentityFile \"{key}\"\n  IdentitiesOnly yes\n  BatchMode yes\n  \
             HostKeyAlias vps\n  UserKnownHostsFile \"{known}\"\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  \
             ServerAliveInterval 15\n  ConnectTimeout 50\n  LogLevel ERROR\n",
            port = self.port,
            user = user(),
            key = self.key.display(),
            known = known.display(),
        );
        home.write(name, text)
    }
}
