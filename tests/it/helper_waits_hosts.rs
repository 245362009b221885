//! `--wait`, with an older Host, and the wait for another helper's look-up.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::mpsc;

use crate::support::gateway::NODE;
use crate::support::home::Home;
use crate::support::older_host::{OlderHost, task};
use crate::support::peers::{Peer, hears, silence};
use crate::support::processes::{falls_to, has_open};
use crate::support::run::DEADLINE;
use crate::support::scene::ID;
use crate::support::spawned::{Ends, PATIENT, SSH_HAS_GONE, Spawned};
use crate::support::sshd::Sshd;
use crate::support::tools::older_host_python;

/// Of several helpers that look up a name, one asks the Host (single-flight). The others wait for it.
#[test]
fn a_helper_that_waits_for_anothers_look_up_ends_with_ssh() {
    let (sender, asked) = mpsc::channel();
    let api = Peer::serve(move |stream| {
        sender.send(())?;
        silence(stream)
    });
    let home = Home::new();
    let host_api = api.address.to_string();
    let args = [&PATIENT[..], &["--host-api", &host_api, "trainer"]].concat();
    let start = || Spawned::start(Ends::Pipes, &home, api.address, &args);
    let mut first = start();
    asked.recv_timeout(DEADLINE).unwrap();
    let mut second = start();
    let without_lock = || usize::from(!has_open(second.pid(), ".lock"));
    assert_eq!(falls_to(0, DEADLINE, without_lock), 0, "it never came to wait");
    (second.stdin, second.stdout) = (None, None);
    let (status, stderr) = second.wait();
    assert_eq!(status.code(), Some(1));
    let gave_up = "kohakuriver-proxy: gave up on VPS trainer before the tunnel was open\n  caused by: ";
    let gave_up = format!("{gave_up}{SSH_HAS_GONE}\n");
    assert_eq!(stderr, gave_up);
    // It did not ask the Host itself, as it does once it has waited long enough.
    assert_eq!(api.accepted(), 1);
    (first.stdin, first.stdout) = (None, None);
    first.ends_with(1, &gave_up);
}

/// Gives the task another state in the database of an older Host, as its Runner's report would.
fn set_status(host: &OlderHost, status: &str) {
    let script = "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1], timeout=30) as db:\n    \
                  assert db.execute('update task set status = ?', sys.argv[2:]).rowcount == 1\n";
    let mut python = Command::new(older_host_python());
    let output = python.args(["-c", script]).arg(host.home.join("host.db")).arg(status).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_older_hosts_vps_is_waited_for_too() {
    let sshd = Sshd::start();
    let host = OlderHost::start(&[task(ID, "pending", Some(NODE), Some(sshd.port))]);
    let home = Home::new();
    let start = |proxy: SocketAddr| Spawned::start(Ends::Pipes, &home, proxy, &["--wait", "60", ID]);
    let mut spawned = start(host.proxy);
    // Its first line says that it waits.
    assert_eq!(
        spawned.stderr_line(),
        format!("kohakuriver-proxy: VPS {ID} is starting (status: pending); waiting up to 60 s\n")
    );
    set_status(&host, "running");
    hears(spawned.stdout.as_mut().unwrap(), b"SSH-2.0-");
    (spawned.stdin, spawned.stdout) = (None, None);
    spawned.ends_with(0, "");

    set_status(&host, "stopped");
    let (status, stderr) = start(host.proxy).wait();
    assert_eq!(status.code(), Some(1));
    assert!(stderr.starts_with(&format!("kohakuriver-proxy: VPS {ID} is stopped\n")), "{stderr}");
}
