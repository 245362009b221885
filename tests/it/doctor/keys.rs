//! The keys that ssh would offer, and whether the VPS accepts them.

use std::fs;
use std::path::{Path, PathBuf};

use super::{doctor, finding, finds, is_solved_by_its_command};
use crate::support::cluster::Cluster;
use crate::support::home::{Home, set_mode};
use crate::support::run::{Process, Run};
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
        process.wait_for_stdout("SSH_AUTH_SOCK");
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
    is_solved_by_its_command(&cluster, &outcome);
}

#[test]
fn the_public_half_of_a_key() {
    let cluster = Cluster::new();
    let outcome = doctor(&cluster).arg("--key").arg(cluster.sshd.key.with_extension("pub")).output();
    finds(&outcome, "keys", &["it is the public half of a key"], "ls -l ~/.ssh");
}

#[test]
fn a_key_that_the_vps_does_not_know() {
    let cluster = Cluster::new();
    let other = cluster.home.join("other");
    ssh_keygen(&other);
    let outcome = doctor(&cluster).arg("--key").arg(&other).output();
    let what = format!("VPS {ID} does not accept your key as {}", user());
    finds(&outcome, "login", &[&what, "Permission denied", "ssh offered ~/other ED25519"], "kohakuriver vps connect");
}

#[test]
fn an_encrypted_key_and_no_agent() {
    let cluster = Cluster::new();
    let encrypted = encrypt(&cluster, &own_key(&cluster));
    let outcome = doctor(&cluster).output();
    let texts = ["id-kohakuriver-", "is encrypted", "no agent is running"];
    finds(&outcome, "keys", &texts, "ssh-add ~/.ssh/id-kohakuriver");
    assert_eq!(fs::read(own_key(&cluster)).unwrap(), encrypted, "the key is as it was");
}

#[test]
fn an_encrypted_key_that_the_agent_does_not_have() {
    let cluster = Cluster::new();
    let plain = cluster.home.join("plain");
    fs::copy(own_key(&cluster), &plain).unwrap();
    encrypt(&cluster, &own_key(&cluster));
    let agent = Agent::start(&cluster.home);
    let with_agent = || doctor(&cluster).env("SSH_AUTH_SOCK", &agent.socket).output();
    finds(&with_agent(), "keys", &["is encrypted", "the agent does not have it"], "ssh-add ~/.ssh/id-kohakuriver");
    agent.add(&cluster.home, &plain);
    with_agent().succeeds();
}

/// Puts a passphrase on a key. Returns the content of the file.
fn encrypt(cluster: &Cluster, key: &Path) -> Vec<u8> {
    let run = Run::new(tool("ssh-keygen"), &cluster.home).args(["-q", "-p", "-N", "a passphrase", "-f"]);
    run.arg(key).output().succeeds();
    fs::read(key).unwrap()
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
    let keys = finding(&outcome, "keys");
    assert_eq!(
        (&keys["verdict"], keys["found"].as_str().unwrap()),
        (&"note".into(), "20 in the agent; an sshd disconnects after 6 keys, so name the right one with `--key`",)
    );
    let texts = ["too many wrong keys", "Too many authentication failures", "ssh offered 6 keys"];
    finds(&outcome, "login", &texts, "kohakuriver vps connect");
    // With the right key named, ssh offers no other.
    let named = doctor(&cluster).env("SSH_AUTH_SOCK", &agent.socket).arg("--key").arg(&cluster.sshd.key).output();
    named.succeeds();
}

#[test]
fn no_key_at_all() {
    let cluster = Cluster::new();
    fs::remove_file(own_key(&cluster)).unwrap();
    // ssh finds the keys of the real user by the user database, so they are excluded.
    cluster.home.ssh("", "-F none -o IdentityFile=none");
    let outcome = doctor(&cluster).output();
    finds(&outcome, "login", &["requires a key, but ssh had none to offer"], "kohakuriver vps connect");
}

/// No message says that an sshd refuses root. Only root can start an sshd for root, so other users replay the log of
/// such a login.
#[test]
fn root_logins_are_disabled() {
    let sshd = Sshd::start_with("PermitRootLogin no");
    let cluster = Cluster::with(Home::new(), |vps| vps["ssh_port"] = sshd.port.into());
    sshd.copy_key_to(&own_key(&cluster));
    if !rustix::process::geteuid().is_root() {
        let log = include_str!("../fixtures/root_login_disabled.log");
        let log = cluster.home.write("log", log);
        let replays = format!("case \" $* \" in *' -v true '*) cat {} >&2; exit 255;; esac", log.display());
        cluster.home.ssh(&replays, "-F none");
    }
    let outcome = cluster.run(CLI).args(["doctor", ID, "--json"]).deadline(120).output();
    let texts = ["accepts your key but refuses root", "PermitRootLogin no"];
    finds(&outcome, "login", &texts, "--user kohaku");
}

/// A VPS without a key of its own, and an ssh with these default keys.
fn with_default_keys(files: &[&str]) -> (Cluster, Vec<PathBuf>) {
    let cluster = Cluster::new();
    fs::remove_file(own_key(&cluster)).unwrap();
    let files: Vec<PathBuf> = files.iter().map(|file| cluster.home.join(&format!(".ssh/{file}"))).collect();
    let mut options = String::new();
    for file in &files {
        cluster.sshd.copy_key_to(file);
        options += &format!(" -o IdentityFile={}", file.display());
    }
    cluster.home.ssh("", &format!("-F none{options}"));
    (cluster, files)
}

#[test]
fn a_default_key() {
    let (cluster, _) = with_default_keys(&["id_ed25519"]);
    let outcome = doctor(&cluster).output();
    outcome.succeeds();
    assert_eq!(finding(&outcome, "keys")["found"], "~/.ssh/id_ed25519", "{outcome}");
}

#[test]
fn a_default_key_that_others_may_read() {
    let (cluster, files) = with_default_keys(&["id_ed25519", "other"]);
    set_mode(&files[1], 0o644);
    let outcome = doctor(&cluster).output();
    outcome.succeeds();
    let keys = finding(&outcome, "keys");
    assert_eq!(keys["verdict"], "note", "{outcome}");
    assert_eq!(keys["found"], "~/.ssh/id_ed25519; but cannot use the key ~/.ssh/other", "{outcome}");
    // Without another key it is a problem.
    set_mode(&files[0], 0o644);
    let outcome = doctor(&cluster).output();
    finds(&outcome, "keys", &["cannot use the key ~/.ssh/id_ed25519", "its mode is 0644"], "chmod 600 ");
}

#[test]
fn a_default_key_that_is_encrypted() {
    let (cluster, files) = with_default_keys(&["id_ed25519", "open"]);
    encrypt(&cluster, &files[0]);
    let outcome = doctor(&cluster).output();
    outcome.succeeds();
    assert_eq!(finding(&outcome, "keys")["found"], "~/.ssh/open", "{outcome}");
    fs::remove_file(&files[1]).unwrap();
    let outcome = doctor(&cluster).output();
    finds(&outcome, "keys", &["the key ~/.ssh/id_ed25519 is encrypted", "no agent is running"], "ssh-add ~/.ssh/id_");
}

#[test]
fn no_default_key_is_a_note() {
    let (cluster, _) = with_default_keys(&[]);
    cluster.home.ssh("", &format!("-F none -o IdentityFile={}", cluster.home.join("none").display()));
    let keys = finding(&doctor(&cluster).output(), "keys");
    assert_eq!(
        (&keys["verdict"], &keys["found"]),
        (&"note".into(), &"no keys at all: only a VPS that needs no key accepts you".into(),)
    );
}
