//! A gateway without a Host: its API changes nothing, so no hint names a command that would, and its inventory need not
//! say when a VPS started.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, NODE, NODE_DOWN, inventory, running};
use crate::support::home::Home;
use crate::support::peers::{Peer, RefusingPort, Served, silence};
use crate::support::run::{Outcome, Run};
use crate::support::scene::ID;
use crate::support::spawned::{Ends, Spawned};
use crate::support::tools::{CLI, HELPER};

const ASK_ITS_ADMIN: &str = "ask the gateway's admin: it is stand-alone, and no command changes its inventory file";

/// Each state of an inventory in which nobody can log in.
const STATES: [&str; 11] = [
    "pending_approval",
    "rejected",
    "pending",
    "assigning",
    "paused",
    "completed",
    "failed",
    "killed",
    "killed_oom",
    "lost",
    "stopped",
];

fn kohakuriver(gateway: &Gateway, home: &Home, line: &str) -> Outcome {
    Run::new(CLI, home).on_host(gateway.api().port()).through(gateway.address.port()).args(line.split(' ')).output()
}

fn hint(outcome: &Outcome) -> String {
    let hint = outcome.stderr.lines().find_map(|line| line.strip_prefix("  hint: "));
    hint.unwrap_or_else(|| panic!("no hint\n{outcome}")).to_owned()
}

/// The gateway, `vps connect` and `vps status` give the same hint.
#[test]
fn each_hint_about_a_vps_names_whom_to_ask() {
    let (gateway, home) = (Gateway::with_inventory(&inventory(&[])), Home::new());
    let with = |change: Value| {
        let mut vps = running(ID, 1);
        vps.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        gateway.write_inventory(&inventory(&[vps]).to_string());
        let opened = Run::new(HELPER, &home).arg("--proxy").arg(gateway.address.to_string()).arg(ID).output();
        opened.exits(1);
        let hint = hint(&opened);
        let connect = kohakuriver(&gateway, &home, &format!("vps connect {ID}"));
        connect.exits(255).says(&[&format!("  hint: {hint}\n")]);
        let status = kohakuriver(&gateway, &home, &format!("vps status {ID}"));
        status.succeeds().check(status.text().contains(&format!("\nHint       {hint}\n")), &hint);
        hint
    };
    let wait = format!("wait for it with `kohakuriver vps connect {ID} --wait`");
    let runners = "see which Runners are online with `kohakuriver node list`";
    for status in STATES {
        let may_start = ["pending", "assigning"].contains(&status);
        let expected = if may_start { &wait } else { ASK_ITS_ADMIN };
        assert_eq!(with(json!({ "status": status })), expected, "{status}");
        let needs_runner = may_start || status == "paused";
        let expected = if needs_runner { runners } else { ASK_ITS_ADMIN };
        assert_eq!(with(json!({ "status": status, "assigned_node": NODE_DOWN })), expected, "{status}");
    }
    assert_eq!(with(json!({ "ssh_port": 0 })), ASK_ITS_ADMIN);
    kohakuriver(&gateway, &home, "node list").succeeds();
    let doctor = kohakuriver(&gateway, &home, &format!("doctor {ID}"));
    doctor.exits(1).check(doctor.text().contains(ASK_ITS_ADMIN), "whom to ask");
}

#[test]
fn each_change_is_refused_with_whom_to_ask() {
    let gateway = Gateway::before(1);
    let home = Home::new();
    for (line, what) in [
        (&*format!("vps pause {ID}"), format!("cannot pause VPS {ID}")),
        (&format!("vps resume {ID}"), format!("cannot resume VPS {ID}")),
        (&format!("vps stop {ID} --yes"), format!("cannot stop VPS {ID}")),
        (&format!("vps restart {ID} --yes"), format!("cannot restart VPS {ID}")),
        ("vps create", "cannot create the VPS".to_owned()),
        ("vps create --gen-ssh-key", "cannot create the VPS".to_owned()),
    ] {
        let outcome = kohakuriver(&gateway, &home, line);
        outcome.exits(1).prints_nothing().fails_with("kohakuriver", &what, ASK_ITS_ADMIN);
    }
    let ssh = home.join(".ssh");
    assert!(!ssh.exists() || std::fs::read_dir(ssh).unwrap().next().is_none(), "a key was left");
    for line in ["auth login", "auth login --user alice --password-stdin", "auth login --token-stdin"] {
        kohakuriver(&gateway, &home, line).succeeds().says(&["has no users, so no login is needed"]);
    }
}

/// The inventory says not when the VPS started, as the one in the gateway's README.
#[test]
fn a_refusal_may_mean_that_the_vps_has_just_started() {
    let refusing = RefusingPort::new();
    let gateway = Gateway::before(refusing.port);
    let outcome = Run::new(HELPER, &Home::new()).arg("--proxy").arg(gateway.address.to_string()).arg(ID).output();
    outcome.exits(1).fails_with(
        "kohakuriver-proxy",
        &format!("VPS {ID} refuses SSH connections"),
        &format!(
            "if it has just started, wait for it with `kohakuriver vps connect {ID} --wait`; if not, its sshd may have ended"
        ),
    );
    outcome.says(&[&format!("nothing listens on its SSH port on Runner {NODE}")]);
}

const BANNER: &[u8] = b"SSH-2.0-Test\r\n";

/// A VPS whose first connection goes as `first` has it. Later ones reach its sshd.
fn boots(first: impl Fn(TcpStream) -> Served + Send + Sync + 'static) -> Peer {
    let tries = AtomicUsize::new(0);
    Peer::serve(move |mut stream| match tries.fetch_add(1, Ordering::SeqCst) {
        0 => first(stream),
        _ => Ok(stream.write_all(BANNER)?),
    })
}

#[test]
fn a_wait_goes_on_while_the_sshd_of_an_inventorys_vps_is_not_there_yet() {
    let silence = boots(silence);
    let close = boots(|_| Ok(()));
    let reset = boots(|stream| Ok(rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?));
    let refusing = RefusingPort::new();
    let home = Home::new();
    let start = |port: u16, limit: &str| {
        let gateway = Gateway::before(port);
        let args = ["--connect-timeout", limit, "--wait", "60", ID];
        let spawned = Spawned::start(Ends::Pipes, &home, gateway.address, &args);
        (gateway, spawned)
    };
    let started =
        [start(silence.address.port(), "3"), start(close.address.port(), "20"), start(reset.address.port(), "20")];
    let (gateway, mut refused) = start(refusing.port, "20");
    let waits = refused.stderr_line();
    assert!(
        waits.starts_with(&format!("kohakuriver-proxy: VPS {ID} refuses SSH connections; waiting up to ")),
        "{waits}"
    );
    let listener = refusing.listen();
    let sshd = thread::spawn(move || listener.accept().unwrap().0.write_all(BANNER).unwrap());
    assert_eq!(refused.read_all(), BANNER);
    assert!(refused.wait().0.success());
    sshd.join().unwrap();
    drop(gateway);
    for (_gateway, mut spawned) in started {
        let read = spawned.read_all();
        let (status, stderr) = spawned.wait();
        assert_eq!((&*read, status.code()), (BANNER, Some(0)), "{stderr}");
        assert!(stderr.contains("; waiting up to "), "{stderr}");
    }
}
