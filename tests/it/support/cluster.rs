//! A user, their settings, and a VPS that these lead to.

use serde_json::Value;

use super::gateway::{Gateway, inventory, running};
use super::home::Home;
use super::host_api::plain_host_api;
use super::peers::Peer;
use super::run::Run;
use super::scene::ID;
use super::sshd::Sshd;
use super::tools::{CLI, user};

/// A VPS behind our gateway, and a user whose key for it lies where a generated one does.
pub(crate) struct Cluster {
    pub(crate) sshd: Sshd,
    pub(crate) gateway: Gateway,
    pub(crate) home: Home,
    /// The Host; without one, the gateway is stand-alone.
    _host: Option<Peer>,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        Self::in_home(Home::new())
    }

    pub(crate) fn in_home(home: Home) -> Self {
        Self::with(home, |_| {})
    }

    /// A cluster whose VPS is not as it should be.
    pub(crate) fn with(home: Home, change: impl FnOnce(&mut Value)) -> Self {
        let sshd = Sshd::start();
        sshd.copy_key_to(&home.join(&format!(".ssh/id-kohakuriver-{ID}")));
        let mut vps = running(ID, sshd.port);
        change(&mut vps);
        let gateway = Gateway::with_inventory(&inventory(&[vps]));
        Self { sshd, gateway, home, _host: None }
    }

    /// A cluster with a Host, whose VPS is not as it should be.
    pub(crate) fn on_a_host(change: &Value) -> Self {
        let (home, sshd) = (Home::new(), Sshd::start());
        sshd.copy_key_to(&home.join(&format!(".ssh/id-kohakuriver-{ID}")));
        let mut vps = running(ID, sshd.port);
        vps.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let host = plain_host_api(vec![vps]);
        let mut gateway = Gateway::with_host_api(&format!("http://{}", host.address));
        gateway.api = Some(host.address);
        Self { sshd, gateway, home, _host: Some(host) }
    }

    pub(crate) fn run(&self, program: impl AsRef<std::ffi::OsStr>) -> Run {
        let folder = self.home.join("bin");
        if !folder.exists() {
            // The system's ssh, kept from the settings of the user who runs the tests.
            self.home.ssh("", "-F none -o BatchMode=yes");
        }
        Run::new(program, &self.home)
            .first_on_path(&folder)
            .on_host(self.gateway.api().port())
            .through(self.gateway.address.port())
    }

    /// `kohakuriver vps connect` for the VPS. The VPS's login is that of the user who runs the tests, which by default
    /// would be root.
    pub(crate) fn connect(&self) -> Run {
        let run = self.run(CLI).args(["vps", "connect", ID]);
        if user() == "root" { run } else { run.args(["--user", user()]) }
    }

    pub(crate) fn known_hosts(&self) -> String {
        self.home.read(".ssh/.kohakuriver_known_hosts")
    }
}
