//! Every command of `kohakuriver`, on a real older Host: it works, or says what the Host is too old for.

use std::collections::BTreeSet;
use std::fs;

use rustix::process::Signal;
use serde_json::json;

use crate::support::gateway::NODE;
use crate::support::home::Home;
use crate::support::older_host::{OlderHost, task};
use crate::support::peers::RefusingPort;
use crate::support::run::{DEADLINE, Outcome, Run};
use crate::support::scene::ID;
use crate::support::sshd::Sshd;
use crate::support::tools::CLI;

/// The expected outcome of a command.
enum Fate {
    /// It works, and this stands on stdout or stderr.
    Works(&'static str),
    /// It fails, since the Host is too old for this.
    TooOld(&'static str),
    /// It fails for another reason, which it says.
    Fails(&'static str),
}

use Fate::{Fails, TooOld, Works};

/// In the order in which they are run.
const COMMANDS: [(&str, Fate); 45] = [
    ("vps list", Works("7323718749301768192  -     running")),
    ("vps list --all --json", Works("\"task_id\": \"7427000000000000001\"")),
    ("vps list --watch", Works("7323718749301768192  -     running")),
    ("vps status ID", Works("SSH Port")),
    ("vps status nameless", Fails("there is no VPS nameless")),
    ("vps connect ID --dry-run", Works("7323718749301768192.kohakuriver")),
    ("vps connect STOPPED", Fails("was killed")),
    ("vps cp --dry-run file ID:", Works("root@7323718749301768192.kohakuriver:")),
    ("vps cp file STOPPED:", Fails("was killed")),
    ("vps forward STOPPED 18888", Fails("was killed")),
    // The older Host has no such thing; what has is the gateway.
    ("vps sessions", Fails("the gateway's admin address http:")),
    ("vps sessions nameless", Fails("there is no VPS nameless")),
    ("vps create", TooOld("a VPS without a key")),
    ("vps create --no-ssh-key", TooOld("a VPS without a key")),
    ("vps create --gen-ssh-key --name n", TooOld("--name")),
    ("vps create --gen-ssh-key --image i", TooOld("--image")),
    ("vps create --gen-ssh-key --backend qemu", TooOld("--backend qemu")),
    ("vps create --gen-ssh-key --cores 2 --privileged", Works("Task ID  ")),
    ("vps pause ID", Works("successfully")),
    ("vps resume PAUSED", Works("successfully")),
    ("vps restart ID --yes", TooOld("restarting a VPS")),
    ("node list", Works("node-up")),
    ("ssh config", Works("Host *.kohakuriver")),
    ("ssh config --diff", Works("kohakuriver.conf")),
    ("ssh config --write", Works("wrote ")),
    ("ssh config --remove", Works("removed ")),
    ("ssh forget ID", Works("there is no stored host key of VPS 7323718749301768192")),
    ("ssh forget nameless", Fails("there is no VPS nameless")),
    ("login 127.0.0.1", Works("has no users, so no login is needed")),
    ("cluster list", Works("default  yes      http://127.0.0.1:")),
    ("cluster use default", Works("default is the default cluster already")),
    ("auth login --token-stdin", Works("has no users, so no login is needed")),
    ("auth status", Works("none: the Host has no users")),
    // A token of another Host's.
    ("auth logout", Works("logged out of the Host at http://127.0.0.1:")),
    ("cluster rename default work", Works("the cluster default is called work now")),
    ("cluster remove work", Works("removed the cluster work")),
    ("config show", Works("ssh_proxy_port")),
    ("config path", Works("config.json")),
    ("config set gateway_admin door:8003", Works("set `gateway_admin` in ")),
    ("config unset gateway_admin", Works("removed `gateway_admin` from ")),
    ("doctor", Works("an older Host (hakuriver 0.3)")),
    ("completions fish", Works("complete ")),
    ("man vps stop", Works(".TH kohakuriver-vps-stop")),
    ("vps stop ID --yes", Works("marked as killed")),
    ("vps stop STOPPED --yes", Fails("the VPS has already ended")),
];

/// A VPS that has ended.
const STOPPED: &str = "7427000000000000001";
/// A VPS that is paused.
const PAUSED: &str = "7427000000000000002";

struct Scene {
    host: OlderHost,
    home: Home,
    no_gateway: RefusingPort,
}

impl Scene {
    fn run(&self, args: &str) -> Run {
        let args = args.replace("ID", ID).replace("STOPPED", STOPPED).replace("PAUSED", PAUSED);
        Run::new(CLI, &self.home)
            .on_host(self.host.api.port())
            .through(self.host.proxy.port())
            .env("KOHAKURIVER_GATEWAY_ADMIN", format!("127.0.0.1:{}", self.no_gateway.port))
            .args(args.split(' '))
    }
}

#[test]
fn every_command_works_or_says_what_the_host_is_too_old_for() {
    let sshd = Sshd::start();
    let vps = |id: &str, status: &str| {
        let mut vps = task(id, status, Some(NODE), Some(sshd.port));
        // By which its Runner knows it.
        vps["systemd_unit_name"] = format!("hakuriver-vps-{id}").into();
        vps
    };
    let host = OlderHost::start(&[vps(ID, "running"), vps(STOPPED, "killed"), vps(PAUSED, "paused")]);
    let (_runner, _) = host.runner();
    let scene = Scene { host, home: Home::new(), no_gateway: RefusingPort::new() };
    scene.home.write(".kohakuriver/auth.json", json!({ "token": "of-another", "token_id": 7 }).to_string());
    for (args, fate) in &COMMANDS {
        let outcome = match *args {
            "vps list --watch" => watched(&scene, args),
            args => scene.run(args).output(),
        };
        let all = outcome.text() + &outcome.stderr;
        match fate {
            Works(part) => outcome.succeeds().check(all.contains(part), part),
            TooOld(part) => outcome.exits(1).prints_nothing().says(&[
                &format!("\n  caused by: the Host at http://{} is too old for {part}\n", scene.host.api),
                "\n  hint: ",
            ]),
            Fails(part) => {
                let status = if args.starts_with("vps c") && !args.starts_with("vps create") { 255 } else { 1 };
                outcome.exits(status).prints_nothing().says(&[part, "\n  hint: "])
            }
        };
    }
    // Nothing that the Host was too old for has left a key behind.
    let keys = fs::read_dir(scene.home.join(".ssh")).unwrap();
    let keys: Vec<_> = keys.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    // `cluster rename` gives the key another name besides.
    let made = keys.iter().filter(|name| name.starts_with("id-kohakuriver-") && !name.contains("-work-"));
    assert_eq!(made.count(), 2, "{keys:?}");
    assert!(!keys.iter().any(|name| name.contains("-new-")), "{keys:?}");
}

/// The first answer of a command that keeps running.
fn watched(scene: &Scene, args: &str) -> Outcome {
    let process = scene.run(args).start();
    process.wait_for("an answer", DEADLINE, |seen| seen.stdout.ends_with(b"\n").then_some(()));
    process.signal(Signal::INT);
    process.finish()
}

/// The table above has each of them.
#[test]
fn no_command_is_left_out() {
    let home = Home::new();
    let folder = home.join("man");
    Run::new(CLI, &home).args(["man", "--output"]).arg(&folder).output().succeeds();
    let pages = fs::read_dir(folder.join("man1")).unwrap();
    let names = pages.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: BTreeSet<String> = names
        .filter_map(|name| Some(name.strip_prefix("kohakuriver-")?.strip_suffix(".1")?.replace('-', " ")))
        .filter(|name| name != "proxy" && name != "gateway")
        .collect();
    let is_group = |name: &String| names.iter().any(|other| other.starts_with(&format!("{name} ")));
    let commands: Vec<&String> = names.iter().filter(|name| !is_group(name)).collect();
    assert!(commands.len() > 15, "{names:?}");
    for command in commands {
        let covered = COMMANDS.iter().any(|(args, _)| args.starts_with(command.as_str()));
        assert!(covered, "`kohakuriver {command}` is not tried on an older Host");
    }
}
