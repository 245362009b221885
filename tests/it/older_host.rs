//! A real older Host: our helper, our command and our gateway with it.

use serde_json::Value;

use crate::support::gateway::{Gateway, NODE, NODE_DOWN};
use crate::support::home::Home;
use crate::support::older_host::{OlderHost, task};
use crate::support::peers::RefusingPort;
use crate::support::run::{Outcome, Run};
use crate::support::scene::{ID, Mode, Scene, destination, helper_command};
use crate::support::sshd::Sshd;
use crate::support::tools::{CLI, HELPER, user};

/// The helper's command, with more options for it.
fn ssh(sshd: &Sshd, home: &Home, host: &OlderHost, id: &str, mode: Mode, more: &str) -> Outcome {
    let command = helper_command(HELPER, mode, host.proxy).replace(" --proxy ", &format!(" {more} --proxy "));
    sshd.ssh(home, &command, mode).arg(format!("{id}.kohakuriver")).arg("echo in; exit 8").output()
}

#[test]
fn each_choice_of_protocol() {
    let sshd = Sshd::start();
    let host = OlderHost::start(&[task(ID, "running", Some(NODE), Some(sshd.port))]);
    for mode in Mode::BOTH {
        for more in ["", "--protocol auto", "--protocol request-tunnel"] {
            // A home of its own: nothing is remembered.
            let outcome = ssh(&sshd, &Home::new(), &host, ID, mode, more);
            outcome.exits(8).prints("in\n").says_nothing();
        }
        let outcome = ssh(&sshd, &Home::new(), &host, ID, mode, "--protocol connect");
        let what = format!("the Host at {} does not speak HTTP CONNECT", host.proxy);
        outcome.ssh_fails_with(&what, "--protocol");
    }
}

/// Our gateway takes the line protocol as well, from our own helper too.
#[test]
fn our_helper_and_our_gateway_by_the_line_protocol() {
    let scene = Scene::connect();
    let home = Home::new();
    for mode in Mode::BOTH {
        let command = helper_command(HELPER, mode, scene.proxy());
        let command = command.replace(" --proxy ", " --protocol request-tunnel --proxy ");
        let ssh = scene.sshd.ssh(&home, &command, mode).arg(destination()).arg("cat; exit 8");
        ssh.stdin("line\n").output().exits(8).prints("line\n").says_nothing();
    }
}

#[test]
fn every_refusal_of_an_older_host_is_told_in_our_words() {
    let (sshd, refusing) = (Sshd::start(), RefusingPort::new());
    let up = Some(NODE);
    let id = |n: usize| format!("74270000000000000{n:02}");
    let rows: Vec<(Value, &str, &str)> = vec![
        (task(&id(0), "killed", up, Some(1)), "VPS ID was killed", "kohakuriver vps create"),
        (task(&id(1), "pending", up, Some(1)), "VPS ID is starting (status: pending)", "--wait"),
        (task(&id(2), "assigning", up, Some(1)), "VPS ID is starting (status: assigning)", "--wait"),
        (task(&id(3), "failed", up, Some(1)), "VPS ID has failed", "kohakuriver vps status"),
        (task(&id(4), "lost", up, Some(1)), "VPS ID is lost", "kohakuriver node list"),
        (task(&id(5), "killed_oom", up, Some(1)), "VPS ID ran out of memory and was killed", "kohakuriver vps create"),
        (task(&id(6), "completed", up, Some(1)), "VPS ID has ended", "kohakuriver vps create"),
        (task(&id(7), "running", up, None), "VPS ID has no SSH: it was created for terminals only", "vps create"),
        (task(&id(8), "running", up, Some(refusing.port)), "VPS ID refuses SSH connections", ""),
        (
            task(&id(9), "running", Some(NODE_DOWN), Some(1)),
            "the Runner of VPS ID is not online",
            "kohakuriver node list",
        ),
        (task(&id(10), "running", None, Some(1)), "VPS ID has no Runner", "kohakuriver node list"),
        // A VPS whose Runner has died.
        (
            task(&id(12), "paused", Some(NODE_DOWN), Some(1)),
            "the Runner of VPS ID is not online",
            "kohakuriver node list",
        ),
    ];
    let mut tasks: Vec<Value> = rows.iter().map(|(task, ..)| task.clone()).collect();
    let mut command = task(&id(11), "running", up, Some(1));
    command["task_type"] = "command".into();
    tasks.push(command);
    let host = OlderHost::start(&tasks);
    let mut cases: Vec<(String, &str, &str)> =
        rows.iter().map(|(task, title, hint)| (task["task_id"].as_str().unwrap().to_owned(), *title, *hint)).collect();
    cases.push((id(11), "task ID is a command task, not a VPS", "kohakuriver vps list"));
    cases.push(("123".to_owned(), "there is no VPS ID", "kohakuriver vps list"));
    let home = Home::new();
    for (id, title, hint) in cases {
        for mode in Mode::BOTH {
            let outcome = ssh(&sshd, &home, &host, &id, mode, "");
            outcome.ssh_fails_with(&title.replace("ID", &id), hint).within(20);
            outcome.says(&[&format!("\n  caused by: the Host at {} answered `", host.proxy)]);
            outcome.check(!outcome.stderr.contains("b'ERROR"), "the Host's text without its wrapping");
        }
    }
}

/// Three VPSes beside the one that runs.
const STOPPED: &str = "7427000000000000001";
const FAILED: &str = "7427000000000000002";
const PAUSED: &str = "7427000000000000003";

fn host_of_four(sshd: &Sshd) -> OlderHost {
    OlderHost::start(&[
        task(ID, "running", Some(NODE), Some(sshd.port)),
        task(STOPPED, "killed", Some(NODE), Some(1)),
        task(FAILED, "failed", Some(NODE), Some(1)),
        task(PAUSED, "paused", Some(NODE_DOWN), Some(1)),
    ])
}

#[test]
fn our_gateway_before_an_older_hosts_api() {
    let sshd = Sshd::start();
    let host = host_of_four(&sshd);
    let gateway = Gateway::with_host_api(&format!("http://{}", host.api));
    let home = Home::new();
    for mode in Mode::BOTH {
        let ssh = |id: &str| {
            let run = sshd.ssh(&home, &helper_command(HELPER, mode, gateway.address), mode);
            run.arg(format!("{id}.kohakuriver")).arg("cat; exit 8").stdin("through\n").output()
        };
        ssh(ID).exits(8).prints("through\n").says_nothing();
        let hint = "kohakuriver vps create";
        ssh(STOPPED).ssh_fails_with(&format!("VPS {STOPPED} was killed"), hint);
        // An older Host can't restart it.
        ssh(FAILED).ssh_fails_with(&format!("VPS {FAILED} has failed"), "kohakuriver vps create --gen-ssh-key");
        ssh(PAUSED).ssh_fails_with(&format!("the Runner of VPS {PAUSED} is offline"), "kohakuriver node list");
        let hint = "kohakuriver vps list";
        ssh("123").ssh_fails_with("there is no VPS 123", hint);
    }
}

#[test]
fn vps_connect_with_an_older_host() {
    let sshd = Sshd::start();
    let host = host_of_four(&sshd);
    let home = Home::new();
    sshd.copy_key_to(&home.join(&format!(".ssh/id-kohakuriver-{ID}")));
    let connect = |id: &str| {
        let run = Run::new(CLI, &home).on_host(host.api.port()).through(host.proxy.port());
        let run = run.args(["vps", "connect", id, "--user", user(), "--", "-F", "none", "-o", "BatchMode=yes"]);
        run.arg("cat; exit 8").stdin("through\n").output()
    };
    connect(ID).exits(8).prints("through\n");
    for (id, what, hint) in [
        (STOPPED, format!("VPS {STOPPED} was killed"), "kohakuriver vps create"),
        (FAILED, format!("VPS {FAILED} has failed"), "kohakuriver vps create --gen-ssh-key"),
        (PAUSED, format!("the Runner of VPS {PAUSED} is offline"), "kohakuriver node list"),
        ("123", "there is no VPS 123".to_owned(), "kohakuriver vps list"),
    ] {
        connect(id).exits(255).prints_nothing().fails_with("kohakuriver", &what, hint);
    }
}
