//! With one thing broken at a time, each program that people start prints the cause and a command that helps: ssh, scp,
//! Ansible, and ssh as an IDE calls it. The user has the entries that `kohakuriver ssh config --write` makes.

use std::any::Any;
use std::fs;

use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::gateway::{Gateway, NODE_DOWN, inventory, name_of, running};
use crate::support::host_api::{OWNER, STRANGER, host_api, host_of};
use crate::support::peers::{Peer, RefusingPort};
use crate::support::run::{Outcome, Run};
use crate::support::scene::ID;
use crate::support::sshd::{free_port, ssh_keygen};
use crate::support::tools::{CLI, clients, sh_quote, tool, user};

/// One thing that is broken, and what each program must print.
struct Cause {
    cluster: Cluster,
    said: String,
    /// In the command that helps. The VPS itself refuses a wrong key, when the helper has done its work: then there is none,
    /// and `vps connect` names one.
    hint: Option<&'static str>,
    /// The host that the user types.
    host: String,
    _kept: Vec<Box<dyn Any>>,
}

impl Cause {
    fn new(cluster: Cluster, said: &str, hint: &'static str) -> Self {
        cluster.home.write(".ssh/config", "");
        cluster.run(CLI).args(["ssh", "config", "--write"]).output().succeeds();
        Self {
            cluster,
            said: said.replace("ID", ID),
            hint: Some(hint),
            host: format!("{ID}.kohakuriver"),
            _kept: Vec::new(),
        }
    }

    /// A VPS with these fields.
    fn of_vps(change: Value, said: &str, hint: &'static str) -> Self {
        Self::new(Cluster::on_a_host(&change), said, hint)
    }

    /// A Host that answers as `host` does, which knows the port of the VPS's sshd.
    fn of_host(host: impl FnOnce(u16) -> Peer, token: &str, said: &str, hint: &'static str) -> Self {
        let mut cluster = Cluster::on_a_host(&json!({}));
        let host = host(cluster.sshd.port);
        cluster.gateway = Gateway::with_host_api(&format!("http://{}", host.address));
        let api = host.address;
        let home = cluster.home.path().to_owned();
        let store = |token: &str| {
            let file = json!({ "token": token }).to_string();
            fs::write(home.join(".kohakuriver/auth.json"), file).unwrap();
        };
        cluster.home.secret(".kohakuriver/auth.json", "");
        // A Host shows its VPSes to users only.
        store(OWNER);
        let mut cause = Self::with_api(cluster, api, said, hint);
        store(token);
        cause._kept.push(Box::new(host));
        cause
    }

    /// The entries are made with the help of the Host at `api`.
    fn with_api(mut cluster: Cluster, api: std::net::SocketAddr, said: &str, hint: &'static str) -> Self {
        cluster.gateway.api = Some(api);
        Self::new(cluster, said, hint)
    }

    fn client(&self, name: &str) -> Run {
        let run = self.cluster.run(tool(name)).arg("-F").arg(self.cluster.home.join(".ssh/config"));
        run.args(["-o", "BatchMode=yes", "-o"]).arg(format!("User={}", user()))
    }

    fn ansible(&self) -> Outcome {
        let home = &self.cluster.home;
        let config = sh_quote(&home.join(".ssh/config").display().to_string());
        let options = format!("-F {config} -o User={} -o ControlMaster=auto -o ControlPersist=60s", user());
        let hosts = home.write("hosts", format!("{}\n", self.host));
        let run = self.cluster.run(clients("python/bin/ansible")).arg("all").arg("-i").arg(hosts);
        let run = run.args(["-m", "ping", "--ssh-common-args", &options]).env("ANSIBLE_NOCOLOR", "1");
        run.env("LC_ALL", "C.UTF-8").deadline(120).output()
    }

    fn is_printed_by_each(&self) {
        let vps = &self.host;
        let file = self.cluster.home.write("file", "content");
        let port = free_port().to_string();
        let ide = ["-T", "-D", &port, "-o", "ConnectTimeout=15", vps, "sh"];
        // Ansible prints each message twice.
        for (outcome, status, times) in [
            (self.client("ssh").args([vps, "true"]).output(), 255, 1),
            (self.client("scp").arg(file).arg(format!("{vps}:file")).output(), 255, 1),
            (self.client("ssh").args(ide).stdin("exit\n").output(), 255, 1),
            (self.ansible(), 4, 2),
        ] {
            outcome.exits(status);
            let printed = outcome.text() + &outcome.stderr;
            outcome.check(printed.matches(&self.said).count() == times, &format!("{:?}, {times} times", self.said));
            if let Some(hint) = self.hint {
                let hint = hint.replace("ID", ID);
                outcome.check(printed.matches(&hint).count() == times, &format!("{hint:?}, {times} times"));
            }
        }
    }
}

/// The VPS as the host that has an entry of its own.
fn named() -> String {
    format!("{}.kohakuriver", name_of(ID))
}

/// A Host whose Runner was heard from twenty seconds after the VPS had started.
fn booting(port: u16) -> Peer {
    let mut vps = running(ID, port);
    vps["started_at"] = "2026-02-01T12:00:00".into();
    let mut inventory = inventory(&[vps]);
    inventory["nodes"][0]["last_heartbeat"] = "2026-02-01T12:00:20".into();
    host_of(inventory)
}

fn with_users(port: u16) -> Peer {
    host_api(vec![running(ID, port)])
}

fn vps_and_runner() -> Vec<Cause> {
    vec![
        Cause::of_vps(json!({ "status": "paused" }), "VPS ID is paused", "`kohakuriver vps resume ID`"),
        Cause::of_vps(json!({ "status": "stopped" }), "VPS ID is stopped", "`kohakuriver vps create --gen-ssh-key`"),
        Cause::of_vps(
            json!({ "status": "failed", "error_message": "OOM: 3 GiB asked" }),
            "the Host says: OOM: 3 GiB asked",
            "`kohakuriver vps restart ID`",
        ),
        Cause::of_vps(json!({ "status": "assigning" }), "VPS ID is starting", "`kohakuriver vps connect ID --wait`"),
        Cause::of_vps(
            json!({ "assigned_node": NODE_DOWN }),
            "the Runner of VPS ID is offline",
            "`kohakuriver node list`",
        ),
        Cause::of_vps(json!({ "task_id": "42" }), "there is no VPS ID", "`kohakuriver vps list --all`"),
        {
            let port = RefusingPort::new();
            let host = booting(port.port);
            let mut cause =
                Cause::of_host(|_| host, OWNER, "its sshd does not listen yet", "`kohakuriver vps connect ID --wait`");
            cause._kept.push(Box::new(port));
            cause
        },
    ]
}

fn accounts_and_machines() -> Vec<Cause> {
    vec![
        Cause::of_host(with_users, STRANGER, "VPS ID is not yours to reach", "`kohakuriver auth status`"),
        Cause::of_host(with_users, "0123456789abcdef-revoked", "VPS ID needs a login", "`kohakuriver auth login`"),
        {
            let (port, mut cluster) = (RefusingPort::new(), Cluster::on_a_host(&json!({})));
            let api = cluster.gateway.api();
            cluster.gateway = Gateway::with_host_api(&format!("http://127.0.0.1:{}", port.port));
            let hint = "`systemctl status kohakuriver-host`";
            let mut cause = Cause::with_api(cluster, api, "the Host API can't be reached", hint);
            cause._kept.push(Box::new(port));
            cause
        },
        {
            let (port, mut cluster) = (RefusingPort::new(), Cluster::on_a_host(&json!({})));
            cluster.gateway.address.set_port(port.port);
            let mut cause = Cause::new(cluster, "cannot reach the SSH proxy", "`kohakuriver config show`");
            cause._kept.push(Box::new(port));
            cause
        },
        {
            let cluster = Cluster::on_a_host(&json!({}));
            let key = cluster.home.join(format!(".ssh/id-kohakuriver-{ID}").as_str());
            fs::remove_file(&key).unwrap();
            ssh_keygen(&key);
            Cause { hint: None, host: named(), ..Cause::new(cluster, "Permission denied (publickey", "") }
        },
        {
            let cause = Cause::of_vps(json!({}), "the host key of VPS ID has changed", "`kohakuriver ssh forget ID`");
            let cause = Cause { host: named(), ..cause };
            cause.client("ssh").args([&cause.host, "true"]).output().succeeds();
            let (home, other) = (&cause.cluster.home, cause.cluster.home.join("other"));
            ssh_keygen(&other);
            let key = fs::read_to_string(other.with_extension("pub")).unwrap();
            let known = cause.cluster.known_hosts();
            let of_vps = known.split(' ').nth(2).unwrap().trim();
            home.write(".ssh/.kohakuriver_known_hosts", known.replace(of_vps, key.split(' ').nth(1).unwrap()));
            cause
        },
    ]
}

#[test]
fn of_a_vps_or_its_runner() {
    vps_and_runner().iter().for_each(Cause::is_printed_by_each);
}

#[test]
fn of_an_account_a_machine_or_a_key() {
    accounts_and_machines().iter().for_each(Cause::is_printed_by_each);
}
