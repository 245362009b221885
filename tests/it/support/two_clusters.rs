//! Two clusters of one user: a stand-alone gateway each, and VPSes of the same name and of the same id, each with an sshd of
//! its own.

use serde_json::Value;

use super::gateway::{Gateway, inventory, running};
use super::home::Home;
use super::run::{Outcome, Run};
use super::scene::ID;
use super::sshd::Sshd;
use super::tools::{CLI, tool, user};

/// The id of the VPS `trainer.lab` in the default cluster.
pub(crate) const DOTTED: &str = "7323718749301760042";

/// A gateway, and the sshd of its VPSes.
pub(crate) struct Site {
    pub(crate) sshd: Sshd,
    pub(crate) gateway: Gateway,
}

impl Site {
    /// With these VPSes: ids and names.
    pub(crate) fn with(vpses: &[(&str, &str)]) -> Self {
        let sshd = Sshd::start();
        let vps = |(id, name): &(&str, &str)| {
            let mut vps = running(id, sshd.port);
            vps["name"] = Value::from(*name);
            vps
        };
        let vpses: Vec<Value> = vpses.iter().map(vps).collect();
        Self { gateway: Gateway::with_inventory(&inventory(&vpses)), sshd }
    }

    /// The output of [`WHERE`] in a login to the site's sshd.
    pub(crate) fn says(&self) -> String {
        format!("{}\n", self.sshd.host_key_file().parent().unwrap().display())
    }

    /// The Host API, as `http://host:port`.
    pub(crate) fn api_at(&self, host: &str) -> String {
        format!("http://{host}:{}", self.gateway.api().port())
    }
}

/// A remote command that tells the sshds apart.
pub(crate) const WHERE: &str = "echo $HOME";

/// The two of them. Their Hosts are one machine, so they are told apart by its names.
pub(crate) struct TwoClusters {
    pub(crate) home: Home,
    pub(crate) work: Site,
    pub(crate) lab: Site,
}

impl TwoClusters {
    /// Nobody has logged in yet. Keys for the VPSes lie where generated ones do.
    pub(crate) fn new() -> Self {
        let work = Site::with(&[(ID, "trainer"), (DOTTED, "trainer.lab")]);
        let lab = Site::with(&[(ID, "trainer")]);
        let home = Home::new();
        for id in [ID, DOTTED] {
            work.sshd.copy_key_to(&home.join(&format!(".ssh/id-kohakuriver-{id}")));
        }
        lab.sshd.copy_key_to(&home.join(&format!(".ssh/id-kohakuriver-lab-{ID}")));
        Self { home, work, lab }
    }

    /// Logged in to both: the default one first.
    pub(crate) fn logged_in() -> Self {
        let this = Self::new();
        this.log_in_to_work().output().succeeds().prints_nothing();
        this.log_in_to_lab().output().succeeds().prints_nothing();
        this
    }

    pub(crate) fn log_in_to_work(&self) -> Run {
        let (api, proxy) = (self.work.gateway.api().port().to_string(), self.work.gateway.address.port().to_string());
        self.run(&["login", "127.0.0.1", "--port", &api, "--ssh-proxy-port", &proxy])
    }

    pub(crate) fn log_in_to_lab(&self) -> Run {
        let (api, proxy) = (self.lab.gateway.api().port().to_string(), self.lab.gateway.address.to_string());
        self.run(&["login", "localhost", "--cluster", "lab", "--port", &api, "--proxy", &proxy])
    }

    /// `kohakuriver`, with nothing of the clusters in its environment.
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        Run::new(CLI, &self.home).args(args)
    }

    /// `kohakuriver vps connect`, with these words before the command and a VPS behind it.
    pub(crate) fn connect(&self, before: &[&str], vps: &str) -> Run {
        let login = ["vps", "connect", vps, "--user", user(), "--", "-F", "none", "-o", "BatchMode=yes"];
        self.run(before).args(login)
    }

    /// The system's ssh on the user's configuration, with none of our settings in its environment.
    pub(crate) fn ssh(&self, host: &str) -> Run {
        self.client("ssh").arg(host)
    }

    /// One of OpenSSH's clients on the user's configuration. The login of the entries would be root's.
    pub(crate) fn client(&self, name: &str) -> Run {
        let own = ["-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", &format!("User={}", user())];
        Run::new(tool(name), &self.home).arg("-F").arg(self.home.join(".ssh/config")).args(own)
    }

    /// The output of `ssh -G` for a host.
    pub(crate) fn options(&self, host: &str) -> String {
        let outcome =
            Run::new(tool("ssh"), &self.home).args(["-G", "-F"]).arg(self.home.join(".ssh/config")).arg(host).output();
        outcome.succeeds().text()
    }

    /// Logs in by plain ssh and fails unless it is this site's sshd that answers, without a word.
    #[track_caller]
    pub(crate) fn leads_to(&self, host: &str, site: &Site) {
        self.ssh(host).arg(WHERE).output().succeeds().prints(&site.says()).says_nothing();
    }

    /// The stored host keys, by the names that they are stored under.
    pub(crate) fn known_hosts(&self) -> Vec<String> {
        let text = self.home.read(".ssh/.kohakuriver_known_hosts");
        let mut names: Vec<String> =
            text.lines().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect();
        names.sort();
        names
    }

    /// The section of a cluster in the file of entries.
    pub(crate) fn section(&self, cluster: &str) -> Option<String> {
        let text = self.home.read(".ssh/kohakuriver.conf");
        let start = text.find(&format!("\n# Cluster: {cluster}\n"))?;
        let end = text[start + 1..].find("\n# Cluster: ").map_or(text.len(), |at| start + 1 + at);
        Some(text[start..end].to_owned())
    }

    /// The output of a command that succeeds, as JSON.
    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        json_of(&self.run(args).output())
    }
}

/// The JSON that a command printed.
#[track_caller]
pub(crate) fn json_of(outcome: &Outcome) -> Value {
    outcome.succeeds();
    serde_json::from_slice(&outcome.stdout).unwrap_or_else(|error| panic!("{error}\n{outcome}"))
}

/// The configuration file in a home directory.
pub(crate) const CONFIG: &str = ".config/kohakuriver/config.json";
