//! Clients that read ssh_config and run a ProxyCommand by themselves, on the configuration that we generate: each
//! connects through an entry, checks the host key that ssh has stored, runs a command and gets its exit status.

use std::path::{Path, PathBuf};

use crate::ssh_config::User;
use crate::support::gateway::name_of;
use crate::support::run::{Outcome, Run};
use crate::support::scene::ID;
use crate::support::tools::{HELPER, clients, tool, user};

const COMMAND: &str = "echo in; exit 7";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures").join(name)
}

fn entry() -> String {
    format!("{}.kohakuriver", name_of(ID))
}

/// A user whose ssh has been to the VPS, so that its host key is known.
fn scene() -> User {
    let scene = User::written();
    scene.ssh(&entry()).arg("true").output().succeeds();
    scene
}

/// `client` with our configuration file, the entry and a command. None of these follows an `Include`, or each its own
/// way.
fn runs(scene: &User, client: Run) -> Outcome {
    let outcome = client.arg(scene.home.join(".ssh/kohakuriver.conf")).arg(entry()).arg(COMMAND).output();
    outcome.exits(7).prints("in\n");
    outcome
}

#[test]
fn paramiko() {
    let scene = scene();
    runs(&scene, Run::new(clients("python/bin/python"), &scene.home).arg(fixture("paramiko_client.py")));
}

#[test]
fn asyncssh() {
    let scene = scene();
    runs(&scene, Run::new(clients("python/bin/python"), &scene.home).arg(fixture("asyncssh_client.py")));
}

#[test]
fn npm_ssh_config_and_ssh2() {
    let scene = scene();
    let modules = clients("node/node_modules");
    runs(&scene, Run::new(tool("node"), &scene.home).env("NODE_PATH", modules).arg(fixture("node_client.js")));
}

#[test]
fn libssh() {
    let scene = scene();
    let program = scene.home.join("libssh_client");
    let compile = Run::new(tool("cc"), &scene.home).arg("-o").arg(&program).arg(fixture("libssh_client.c"));
    compile.arg("-lssh").output().succeeds();
    // It ignores ProxyUseFdpass, and yet gives the helper one UNIX socket for both ends, as ssh does with it.
    let ours = std::fs::read_to_string(scene.home.join(".ssh/kohakuriver.conf")).unwrap();
    assert!(ours.contains(" --fdpass"), "{ours}");
    runs(&scene, Run::new(&program, &scene.home));
}

/// As for hundreds of hosts: all at once, without a terminal.
#[test]
fn parallel_ssh() {
    let scene = scene();
    let config = format!("-F {}", scene.home.join(".ssh/config").display());
    let hosts = [entry(), format!("{ID}.kohakuriver")];
    let run = Run::new(tool("parallel-ssh"), &scene.home).args(["-i", "-x", &config, "-H", &hosts[0], "-H", &hosts[1]]);
    let outcome = run.arg("echo in").output();
    outcome.succeeds();
    for host in hosts {
        let line = format!(" [SUCCESS] {host}\nin\n");
        outcome.check(outcome.text().contains(&line), &line);
    }
}

/// dropbear reads no ssh_config: the helper is named on its command line.
#[test]
fn dropbears_dbclient() {
    let scene = scene();
    let key = scene.home.join("dropbear_key");
    let convert = Run::new(tool("dropbearconvert"), &scene.home).args(["openssh", "dropbear"]);
    convert.arg(&scene.sshd.key).arg(&key).output().succeeds();
    let proxy = format!("{HELPER} --proxy {} {ID}", scene.gateway.address);
    let client = Run::new(tool("dbclient"), &scene.home).args(["-y", "-J", &proxy, "-i"]).arg(&key);
    client.arg(format!("{}@{ID}.kohakuriver", user())).arg(COMMAND).output().exits(7).prints("in\n");
}

/// PuTTY speaks CONNECT itself: the gateway is its HTTP proxy, and there is no helper.
#[test]
fn putty() {
    let scene = scene();
    let (proxy, key) = (scene.gateway.address, scene.home.join("key.ppk"));
    let puttygen = Run::new(tool("puttygen"), &scene.home).arg(&scene.sshd.key).args(["-O", "private", "-o"]);
    puttygen.arg(&key).output().succeeds();
    let fingerprint = Run::new(tool("ssh-keygen"), &scene.home).args(["-l", "-f"]).arg(scene.sshd.host_key_file());
    let fingerprint = String::from_utf8(fingerprint.output().succeeds().stdout.clone()).unwrap();
    let fingerprint = fingerprint.split(' ').nth(1).unwrap();
    let session = format!(
        "HostName={ID}\nPortNumber=22\nProtocol=ssh\nProxyMethod=3\nProxyHost={}\nProxyPort={}\nProxyDNS=2\n\
         ProxyLocalhost=1\nUserName={}\n",
        proxy.ip(),
        proxy.port(),
        user()
    );
    scene.home.write(".putty/sessions/vps", session);
    let plink = Run::new(tool("plink"), &scene.home).args(["-batch", "-load", "vps", "-hostkey", fingerprint, "-i"]);
    plink.arg(&key).arg(COMMAND).output().exits(7).prints("in\n");
}
