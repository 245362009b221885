//! The keys that ssh would offer, and what the VPS makes of them.

use std::fs;
use std::path::{Path, PathBuf};

use super::{doctor, finds, is_mended_by_its_command};
use crate::support::cluster::Cluster;
use crate::support::home::{Home, set_mode};
use crate::support::run::{DEADLINE, Process, Run};
use crate::support::scene::ID;
use crate::support::sshd::{Sshd, ssh_keygen};
use crate::support::tools::{CLI, tool, user};

/// The key that `vps connect` finds by itself.
fn own_key(cluster: &Cluster) -> PathBuf {
    cluster.home.join(&format!(".ssh/id-kohakuriver-{ID}"))
}

/// An agent of the test's own.
struct Agent {
    socket: PathBuf,
    _process: Process,
}

impl Agent {
    fn start(home: &Home) -> Self {
        let socket = home.join("agent");
        let process = Run::new(tool("ssh-agent"), home).arg("-D").arg("-a").arg(&socket).deadline(600).start();
        // It says where it listens once it does.
        process.wait_for("the agent", DEADLINE, |seen| String::from_utf8_lossy(&seen.stdout).find("SSH_AUTH_SOCK"));
        Self { socket, _process: process }
    }

    fn add(&self, home: &Home, key: &Path) {
        let run = Run::new(tool("ssh-add"), home).arg("-q").arg(key).env("SSH_AUTH_SOCK", &self.socket);
        run.output().succeeds();
    }
}

#[test]
fn a_key_file_that_is_missing() {
    let outcome = doctor(&Cluster::new()).args(["--key", "no-such-key"]).output();
    finds(&outcome, "keys", &["cannot use the key ~/no-such-key", "there is no such file"], "ls -l ~/.ssh");
}

#[test]
fn a_key_file_that_others_may_read() {
    let cluster = Cluster::new();
    set_mode(&own_key(&cluster), 0o644);
    let outcome = doctor(&cluster).output();
    finds(&outcome, "keys", &["cannot use the key ~/.ssh/id-kohakuriver", "its mode is 0644"], "chmod 600 ~/.ssh/");
    is_mended_by_its_command(&cluster, &outcome);
}

#[test]
fn the_public_half_of_a_key() {
    let cluster = Cluster::new();
    let outcome = doctor(&cluster).arg("--key").arg(cluster.sshd.key.with_extension("pub")).output();
    finds(&outcome, "keys", &["it is the public half of a key"], "ls -l ~/.ssh");
}

#[test]
fn a_key_that_is_not_the_vpss() {
    let cluster = Cluster::new();
    let other = cluster.home.join("other");
    ssh_keygen(&other);
    let outcome = doctor(&cluster).arg("--key").arg(&other).output();
    let what = format!("VPS {ID} does not take your key as {}", user());
    finds(&outcome, "login", &[&what, "Permission denied", "offered was ~/other ED25519"], "kohakuriver vps connect");
}

#[test]
fn an_encrypted_key_and_no_agent() {
    let cluster = Cluster::new();
    let encrypted = encrypt(&cluster);
    let outcome = doctor(&cluster).output();
    let texts = ["id-kohakuriver-", "is encrypted", "no agent runs"];
    finds(&outcome, "keys", &texts, "ssh-add ~/.ssh/id-kohakuriver");
    assert_eq!(fs::read(own_key(&cluster)).unwrap(), encrypted, "the key is as it was");
}

#[test]
fn an_encrypted_key_that_the_agent_does_not_have() {
    let cluster = Cluster::new();
    let plain = cluster.home.join("plain");
    fs::copy(own_key(&cluster), &plain).unwrap();
    encrypt(&cluster);
    let agent = Agent::start(&cluster.home);
    let with_agent = || doctor(&cluster).env("SSH_AUTH_SOCK", &agent.socket).output();
    finds(&with_agent(), "keys", &["is encrypted", "the agent does not have it"], "ssh-add ~/.ssh/id-kohakuriver");
    agent.add(&cluster.home, &plain);
    with_agent().succeeds();
}

/// Puts a passphrase on the VPS's key.
fn encrypt(cluster: &Cluster) -> Vec<u8> {
    let run = Run::new(tool("ssh-keygen"), &cluster.home).args(["-q", "-p", "-N", "a passphrase", "-f"]);
    run.arg(own_key(cluster)).output().succeeds();
    fs::read(own_key(cluster)).unwrap()
}

#[test]
fn twenty_keys_in_the_agent() {
    let cluster = Cluster::new();
    fs::remove_file(own_key(&cluster)).unwrap();
    let agent = Agent::start(&cluster.home);
    for number in 0..20 {
        let key = cluster.home.join(&format!("agent-{number}"));
        ssh_keygen(&key);
        agent.add(&cluster.home, &key);
    }
    let outcome = doctor(&cluster).env("SSH_AUTH_SOCK", &agent.socket).output();
    let texts = ["too many keys", "Too many authentication failures", "6 keys were offered"];
    finds(&outcome, "login", &texts, "kohakuriver vps connect");
    // With the right one named, the others stay where they are.
    let named = doctor(&cluster).env("SSH_AUTH_SOCK", &agent.socket).arg("--key").arg(&cluster.sshd.key).output();
    named.succeeds();
}

#[test]
fn no_key_at_all() {
    let cluster = Cluster::new();
    fs::remove_file(own_key(&cluster)).unwrap();
    // ssh finds the user's own by the user database, so they are taken out of its sight.
    let script = format!("#!/bin/sh\nexec {} -F none -o IdentityFile=none \"$@\"\n", tool("ssh").display());
    cluster.home.script("bin/ssh", &script);
    let outcome = doctor(&cluster).output();
    finds(&outcome, "login", &["wants a key, and there was none to offer"], "kohakuriver vps connect");
}

/// An sshd that lets nobody be root says so only by what it does. Only root's can be asked to, so for others an sshd's
/// words are repeated, as ssh logged them.
#[test]
fn root_logins_are_disabled() {
    let sshd = Sshd::start_with("PermitRootLogin no");
    let cluster = Cluster::with(Home::new(), |vps| vps["ssh_port"] = sshd.port.into());
    sshd.copy_key_to(&own_key(&cluster));
    if !rustix::process::geteuid().is_root() {
        let log = include_str!("../fixtures/root_login_disabled.log");
        let log = cluster.home.write("log", log);
        let script = format!(
            "#!/bin/sh\ncase \" $* \" in *' -v true '*) cat {} >&2; exit 255;; esac\nexec {} -F none \"$@\"\n",
            log.display(),
            tool("ssh").display()
        );
        cluster.home.script("bin/ssh", &script);
    }
    let outcome = cluster.run(CLI).args(["doctor", ID, "--json"]).deadline(120).output();
    let texts = ["knows your key and still lets root not in", "PermitRootLogin no"];
    finds(&outcome, "login", &texts, "--user kohaku");
}

/// Without a key of the VPS's own, ssh's defaults are as good.
#[test]
fn a_key_that_ssh_offers_everyone() {
    let cluster = Cluster::new();
    fs::remove_file(own_key(&cluster)).unwrap();
    let default = cluster.home.join(".ssh/id_ed25519");
    cluster.sshd.copy_key_to(&default);
    let script =
        format!("#!/bin/sh\nexec {} -F none -o IdentityFile={} \"$@\"\n", tool("ssh").display(), default.display());
    cluster.home.script("bin/ssh", &script);
    let outcome = doctor(&cluster).output();
    outcome.succeeds();
    let report = super::report(&outcome);
    let keys = report["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "keys").unwrap();
    assert_eq!(keys["found"], "~/.ssh/id_ed25519", "{outcome}");
}
