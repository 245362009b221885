//! `kohakuriver vps create`, with the system's ssh-keygen, and a real sshd behind our gateway where somebody logs in.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::gateway::Gateway;
use crate::support::home::{Home, mode};
use crate::support::life_host::{LifeHost, OPERATOR, USER, vps};
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::sshd::Sshd;
use crate::support::tools::{tool, user};

/// Where the Host describes the VPS.
const STATUS: &str = "/api/status/7323718749301768192";

/// A public key, and a private one beside it.
fn key_pair(home: &Home) -> (PathBuf, String) {
    let path = home.join("my-key");
    let made =
        Command::new(tool("ssh-keygen")).args(["-q", "-t", "ed25519", "-N", "", "-C", "me", "-f"]).arg(&path).status();
    assert!(made.unwrap().success());
    let text = fs::read_to_string(home.join("my-key.pub")).unwrap();
    (home.join("my-key.pub"), text.trim().to_owned())
}

/// The names in ~/.ssh.
fn ssh_files(home: &Home) -> Vec<String> {
    let Ok(folder) = fs::read_dir(home.join(".ssh")) else { return Vec::new() };
    let mut names: Vec<_> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn public_half(private: &Path) -> String {
    let output = Command::new(tool("ssh-keygen")).arg("-y").arg("-f").arg(private).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A Host whose VPSes are a real sshd that takes the key that a VPS is made with, and our gateway in front of it.
struct Cluster {
    host: LifeHost,
    gateway: Gateway,
    home: Home,
    _sshd: Sshd,
}

impl Cluster {
    fn new() -> Self {
        let sshd = Sshd::start();
        let host = LifeHost::start(sshd.port);
        let authorized = sshd.key.with_file_name("authorized_keys");
        host.change(|state| {
            state.on_key = Some(Box::new(move |key| {
                let mut file = OpenOptions::new().append(true).open(&authorized).unwrap();
                writeln!(file, "{key}").unwrap();
            }));
        });
        let gateway = Gateway::with_host_api(&host.base());
        let home = Home::new();
        // The login of the user who runs the tests: a user's own sshd accepts nobody else.
        home.ssh("", &format!("-F none -o BatchMode=yes -l {}", user()));
        Self { host, gateway, home, _sshd: sshd }
    }

    fn run(&self, args: &[&str]) -> Run {
        let run = self.host.run(&self.home, args).through(self.gateway.address.port());
        run.first_on_path(&self.home.join("bin"))
    }
}

#[test]
fn a_key_is_made_here_and_its_private_half_stays() {
    let cluster = Cluster::new();
    cluster.host.change(|state| state.course = ["assigning", "assigning", "assigning", "running"].into());
    let outcome = cluster.run(&["vps", "create", "--name", "trainer", "--gen-ssh-key", "--wait", "60"]).output();
    let key = cluster.home.join(&format!(".ssh/id-kohakuriver-{ID}"));
    outcome.succeeds().prints(&format!(
        "Task ID  {ID}\n\
         Name     trainer\n\
         Status   assigning\n\
         Node     node-up\n\
         SSH      with the key {}\n\
         Message  VPS created successfully.\n\
         Connect  kohakuriver vps connect {ID} --wait\n",
        key.display()
    ));
    outcome.says(&[
        &format!("kohakuriver: VPS {ID} is starting (status: assigning); waiting\n"),
        &format!("\nVPS {ID} answers: `kohakuriver vps connect {ID}`\n"),
    ]);
    assert_eq!(ssh_files(&cluster.home), [format!("id-kohakuriver-{ID}"), format!("id-kohakuriver-{ID}.pub")]);
    assert_eq!(mode(&key), 0o600);
    let requests = cluster.host.changes();
    assert_eq!(requests.len(), 1, "{requests:?}");
    let sent = &requests[0].body;
    assert_eq!((&sent["ssh_key_mode"], sent["ssh_public_key"].as_str()), (&json!("upload"), Some(&*public_half(&key))));
    assert!(!format!("{requests:?}").contains("PRIVATE"));
    // And it opens the VPS.
    cluster.run(&["vps", "connect", ID, "--", "echo in"]).output().succeeds().prints("in\n");
}

#[test]
fn a_key_is_made_where_the_user_wants_it() {
    let cluster = Cluster::new();
    let create = ["vps", "create", "-b", "docker", "--key-out-file", "~/my keys"];
    cluster.run(&create).output().exits(2).says(&["--key-out-file", "add `--gen-ssh-key`"]);
    // The Python CLI's flag for a VPS with SSH.
    let outcome = cluster.run(&create).args(["--ssh", "--wait", "60"]).output();
    let key = cluster.home.join("my keys");
    let connect = format!("kohakuriver vps connect {ID} --wait --key '{}'", key.display());
    outcome.succeeds().check(outcome.text().contains(&format!("Connect  {connect}\n")), &connect);
    outcome.says(&[&format!("VPS {ID} answers: `kohakuriver vps connect {ID} --key '{}'`\n", key.display())]);
    assert_eq!(mode(&key), 0o600);
    assert_eq!(cluster.host.changes()[0].body["ssh_public_key"].as_str(), Some(&*public_half(&key)));
    assert!(ssh_files(&cluster.home).is_empty());
    cluster.run(&["vps", "connect", "--key", "~/my keys", ID, "echo in"]).output().succeeds().prints("in\n");
    // No key is overwritten.
    let before = fs::read(&key).unwrap();
    let outcome = cluster.run(&create).arg("--gen-ssh-key").output();
    outcome.exits(1).says(&["cannot generate the key", "my keys exists", "choose another file"]);
    assert_eq!((fs::read(&key).unwrap(), cluster.host.changes().len()), (before, 1));
}

#[test]
fn connect_goes_in() {
    let cluster = Cluster::new();
    cluster.host.change(|state| state.course = ["assigning", "running"].into());
    let create = |args: &[&str]| {
        cluster.run(&["ssh", "config", "--write"]).output().succeeds();
        let run = cluster.run(&["vps", "create", "--connect"]).args(args);
        let outcome = run.stdin("echo in-$((40 + 2)); exit 7\n").output();
        outcome.exits(7).check(outcome.text().ends_with("in-42\n"), "an answer of the shell");
        let entries = fs::read_to_string(cluster.home.join(".ssh/kohakuriver.conf")).unwrap();
        assert!(entries.contains(&format!("\nHost {ID}.kohakuriver\n")), "{entries}");
        cluster.host.change(|state| state.vpses.clear());
    };
    create(&["--gen-ssh-key"]);
    fs::remove_dir_all(cluster.home.join(".ssh")).unwrap();
    key_pair(&cluster.home);
    create(&["--public-key-file=~/my-key.pub"]);
}

#[test]
fn every_option_reaches_the_host() {
    let home = Home::new();
    let (file, key) = key_pair(&home);
    let file = file.to_str().unwrap();
    let upload = |key: &str| json!({ "ssh_key_mode": "upload", "ssh_public_key": key, "vps_backend": "docker" });
    let cases: Vec<(Vec<&str>, Value, &str, &str)> = vec![
        (
            vec![],
            json!({ "ssh_key_mode": "disabled", "vps_backend": "docker" }),
            "SSH      none: use the Host's terminals\n",
            "",
        ),
        (
            vec!["--no-ssh-key"],
            json!({ "ssh_key_mode": "none", "vps_backend": "docker" }),
            "SSH      everybody, as root, without a key\n",
            "warning: everybody who can reach the Host's SSH proxy",
        ),
        (vec!["--public-key-file", file], upload(&key), "SSH      with the given key\n", ""),
        (vec!["--public-key-string", &key], upload(&key), "SSH      with the given key\n", ""),
        (vec!["--public-key-file", "~/my-key.pub"], upload(&key), "SSH      with the given key\n", ""),
        (
            vec!["-t", "node-up:1::0,2", "-c", "4", "-m", "16G", "--name", "n", "--container", "base"],
            json!({
                "ssh_key_mode": "disabled", "vps_backend": "docker", "target_hostname": "node-up",
                "target_numa_node_id": 1, "required_gpus": [0, 2], "required_cores": 4, "name": "n",
                "required_memory_bytes": 17_179_869_184_u64, "container_name": "base",
            }),
            "Node     node-up\n",
            "",
        ),
        (
            vec!["--backend", "qemu", "--vm-image", "ubuntu-24.04", "--vm-disk-size", "20G", "--vm-memory", "2G"],
            json!({
                "ssh_key_mode": "disabled", "vps_backend": "qemu", "vm_image": "ubuntu-24.04", "vm_disk_size": "20G",
                "memory_mb": 2048,
            }),
            "SSH ",
            "",
        ),
        (
            vec!["--image", "ubuntu:24.04", "--cores", "0"],
            json!({ "ssh_key_mode": "disabled", "vps_backend": "docker", "registry_image": "ubuntu:24.04", "required_cores": 0 }),
            "SSH ",
            "",
        ),
    ];
    for (args, body, printed, said) in cases {
        let host = LifeHost::start(22022);
        let outcome = host.run(&home, &["vps", "create"]).args(&args).output();
        outcome.succeeds().check(outcome.text().contains(printed), printed).says(&[said]);
        outcome.check(!said.is_empty() || outcome.stderr.is_empty(), "nothing on stderr");
        assert_eq!(host.changes()[0].body, body, "{args:?}");
        assert!(ssh_files(&home).is_empty());
    }
    let host = LifeHost::start(22022);
    let outcome = host.run(&home, &["vps", "create", "--json", "--gen-ssh-key"]).output();
    let value: Value = serde_json::from_slice(&outcome.succeeds().says_nothing().stdout).unwrap();
    let key_file = home.join(&format!(".ssh/id-kohakuriver-{ID}"));
    assert_eq!(
        value,
        json!({ "task_id": ID, "name": null, "status": "running", "assigned_node": "node-up", "ssh_key_mode": "upload",
                "key_file": key_file, "message": "VPS created successfully.",
                "error_message": null })
    );
}

#[test]
fn what_can_not_be_is_said_before_anything_is_asked() {
    let home = Home::new();
    let (public, key) = key_pair(&home);
    let private = public.with_extension("");
    home.write("quoted.pub", format!("{key}'s"));
    home.write("two.pub", format!("{key}\n{key}\n"));
    home.write("large.pub", "x".repeat(100_000));
    let path = |name: &str| home.join(name).to_str().unwrap().to_owned();
    let host = LifeHost::start(22022);
    for (args, code, what, hint) in [
        (
            vec!["--public-key-file", private.to_str().unwrap()],
            1,
            "it is a private key, which must never be sent to a Host",
            ".pub",
        ),
        (vec!["--public-key-file", &path("quoted.pub")], 1, "not safe on a Runner", "comment"),
        (vec!["--public-key-file", &path("two.pub")], 1, "more than one line", "authorized_keys"),
        (vec!["--public-key-file", &path("large.pub")], 1, "so it is not a public key", ""),
        (vec!["--public-key-file", &path("none.pub")], 1, "No such file", ""),
        (vec!["--public-key-string", "hello"], 2, "does not begin with a key type and a key", ""),
        (vec!["--public-key-string", "-----BEGIN OPENSSH PRIVATE KEY-----"], 2, "it is a private key", ".pub"),
        (vec!["--gen-ssh-key", "--no-ssh-key"], 2, "cannot be used with", ""),
        (vec!["--wait"], 2, "cannot wait for SSH: a VPS without a login option has no sshd", "--gen-ssh-key"),
        (vec!["--connect"], 2, "cannot wait for SSH: a VPS without a login option has no sshd", "--gen-ssh-key"),
        (vec!["--vm-image", "x"], 2, "are for virtual machines only", "--backend qemu"),
        (vec!["--backend", "qemu", "--image", "x"], 2, "are for containers only", "--vm-image"),
        (vec!["--target", "a b"], 2, "NODE:NUMA::GPU", ""),
        (vec!["--memory", "lots"], 2, "16G", ""),
        (vec!["--backend", "lxc"], 2, "docker", ""),
    ] {
        let outcome = host.run(&home, &["vps", "create"]).args(&args).output();
        outcome.exits(code).prints_nothing().says(&[what, hint]);
    }
    assert!(host.changes().is_empty() && ssh_files(&home).is_empty());
    // No Host today has a field for these.
    for (flags, what) in [(&["--privileged"][..], "--privileged"), (&["--mount", "/data:/data"], "--mount")] {
        let outcome = host.run(&home, &["vps", "create", "--gen-ssh-key"]).args(flags).output();
        outcome.exits(1).prints_nothing().fails_with("kohakuriver", "cannot create the VPS", "leave it out");
        outcome.says(&[&format!("has no field in its API for {what}\n")]);
        assert!(host.changes().is_empty() && ssh_files(&home).is_empty());
    }
}

#[test]
fn a_refusal_leaves_no_key_and_is_told_in_the_hosts_terms() {
    let home = Home::new();
    let host = LifeHost::start(22022);
    host.change(|state| state.auth = true);
    for (token, args, said, hint) in [
        (USER, &[][..], "Insufficient permissions. Required role: operator", "ask an operator to create the VPS"),
        ("nobody's", &[], "the Host wants a token, and got none or one it does not know", "kohakuriver auth login"),
        (OPERATOR, &["-t", "nope"], "No suitable node available for this VPS.", "kohakuriver node list"),
    ] {
        let run = host.run(&home, &["vps", "create", "--gen-ssh-key"]).args(args).env("KOHAKURIVER_TOKEN", token);
        let outcome = run.output();
        outcome.exits(1).prints_nothing().fails_with("kohakuriver", "cannot create the VPS", hint).says(&[said]);
        outcome.check(!outcome.stderr.contains(token), "no token");
        assert!(ssh_files(&home).is_empty(), "{:?}", ssh_files(&home));
    }
    // Nothing listens there.
    let closed = host.run(&home, &["-P", "1", "vps", "create", "--gen-ssh-key"]).output();
    closed.exits(1).says(&["can't be reached"]);
    assert!(ssh_files(&home).is_empty());
}

#[test]
fn a_key_that_the_host_may_know_is_kept_and_it_is_said_where() {
    for broken in [
        (0, json!(null)),
        (500, json!("Internal Server Error")),
        (504, json!("gateway time-out")),
        (200, json!({ "message": "?" })),
    ] {
        let home = Home::new();
        let host = LifeHost::start(22022);
        host.change(|state| state.instead = Some(("/api/vps/create", broken.0, broken.1.clone())));
        let outcome = host.run(&home, &["vps", "create", "--gen-ssh-key"]).output();
        outcome.exits(1).prints_nothing().fails_with("kohakuriver", "cannot create the VPS", "kohakuriver vps list");
        kept(&home, &outcome.stderr, &host);
    }
}

/// The key that was sent lies where `said` says.
fn kept(home: &Home, said: &str, host: &LifeHost) {
    let names = ssh_files(home);
    assert_eq!(names.len(), 2, "{names:?}");
    let path = home.join(".ssh").join(&names[0]);
    assert!(said.contains(&format!("its key is {}\n", path.display())), "{said}");
    assert_eq!(host.changes()[0].body["ssh_public_key"].as_str(), Some(&*public_half(&path)));
}

#[test]
fn ctrl_c_before_the_hosts_answer_loses_no_key() {
    let home = Home::new();
    let host = LifeHost::start(22022);
    host.change(|state| state.hangs = true);
    let process = host.run(&home, &["vps", "create", "--gen-ssh-key"]).start();
    while host.changes().is_empty() {
        std::thread::yield_now();
    }
    process.stderr_line("kohakuriver: asked the Host to create the VPS; waiting");
    process.signal(Signal::INT);
    let outcome = process.finish();
    outcome.exits(130).prints_nothing().fails_with(
        "kohakuriver",
        "interrupted before the Host answered",
        "kohakuriver vps list",
    );
    kept(&home, &outcome.stderr, &host);
}

#[test]
fn ctrl_c_during_the_wait_says_that_the_vps_goes_on() {
    let home = Home::new();
    let host = LifeHost::start(22022);
    host.change(|state| state.course = ["assigning"].into());
    for signal in [Signal::INT, Signal::TERM] {
        let process = host.run(&home, &["vps", "create", "--wait", "--no-ssh-key"]).start();
        process.stderr_line("kohakuriver: VPS 7323718749301768192 is starting");
        process.signal(signal);
        let outcome = process.finish();
        outcome.exits(130).says(&[
            &format!("kohakuriver: interrupted while VPS {ID} starts\n  hint: it continues to start; connect with "),
            &format!("`kohakuriver vps connect {ID} --wait`, or stop it with `kohakuriver vps stop {ID}`\n"),
        ]);
    }
}

#[test]
fn a_vps_that_does_not_come_up_ends_the_wait() {
    let home = Home::new();
    let host = LifeHost::start(22022);
    host.change(|state| state.course = ["assigning", "assigning", "failed"].into());
    let outcome = host.run(&home, &["vps", "create", "--wait", "--no-ssh-key"]).output();
    outcome.exits(1).fails_with("kohakuriver", &format!("VPS {ID} has failed"), "kohakuriver vps restart");
    let host = LifeHost::start(22022);
    host.change(|state| state.course = ["assigning"].into());
    let outcome = host.run(&home, &["vps", "create", "--wait=2", "--no-ssh-key"]).output();
    outcome.exits(1).within(20).says(&["is starting (status: assigning)\n", "waited for 2 s"]);
    outcome.says(&[&format!("kohakuriver: VPS {ID} does not answer on SSH yet\n")]);
}

/// A Host accepts an order and then fails, and says why.
#[test]
fn a_vps_that_fails_at_once_is_told_with_the_hosts_reason() {
    let home = Home::new();
    let host = LifeHost::start(22022);
    let mut failed = vps("failed", "docker", 0);
    failed["error_message"] = "OOM: 3 GiB\u{1b}[2J asked".into();
    host.change(|state| state.instead = Some((STATUS, 200, failed)));
    let outcome = host.run(&home, &["vps", "create", "--no-ssh-key"]).output();
    outcome.exits(1).fails_with("kohakuriver", &format!("VPS {ID} has failed"), "kohakuriver vps restart");
    outcome.says(&[&format!("  caused by: the Host at {} says: OOM: 3 GiB[2J asked\n", host.base())]);
    let text = outcome.text();
    outcome.check(text.contains("\nReason   OOM: 3 GiB[2J asked\n") && !text.contains("Connect"), "the reason");
    let json = host.run(&home, &["vps", "create", "--no-ssh-key", "--json"]).output();
    json.exits(1).check(json.text().contains(r#""error_message": "OOM: 3 GiB[2J asked""#), "the reason");
}

#[test]
fn a_file_of_the_keys_name_is_not_written_over() {
    let home = Home::new();
    let name = format!(".ssh/id-kohakuriver-{ID}");
    home.write(&name, "mine");
    let host = LifeHost::start(22022);
    let outcome = host.run(&home, &["vps", "create", "--gen-ssh-key"]).output();
    outcome.succeeds().says(&[&format!("warning: cannot rename the key of VPS {ID} to "), "pass it with --key"]);
    assert_eq!(fs::read_to_string(home.join(&name)).unwrap(), "mine");
    let other = ssh_files(&home).into_iter().find(|name| name.contains("-new-")).unwrap();
    let sent = host.changes()[0].body["ssh_public_key"].as_str().unwrap().to_owned();
    assert_eq!(public_half(&home.join(".ssh").join(other)), sent);
}
