//! `kohakuriver ssh config` with the system's ssh, our gateway and a real sshd: VPSes as ordinary hosts.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, inventory, name_of, running};
use crate::support::heavy;
use crate::support::home::Home;
use crate::support::peers::http_server;
use crate::support::run::{DEADLINE, Run};
use crate::support::scene::ID;
use crate::support::sshd::{Sshd, free_port};
use crate::support::tools::{CLI, tool, user};

/// Two VPSes of one name.
const TWINS: [&str; 2] = ["7323718749301760001", "7323718749301760002"];

/// A user with `--write` behind them, whose configuration leads to VPSes.
pub(crate) struct User {
    pub(crate) sshd: Sshd,
    pub(crate) gateway: Gateway,
    pub(crate) home: Home,
}

impl User {
    pub(crate) fn new() -> Self {
        let sshd = Sshd::start();
        let twin = |id: &str| {
            let mut vps = running(id, sshd.port);
            vps["name"] = "twin".into();
            vps
        };
        let mut terminals_only = running("5", 0);
        terminals_only["name"] = "terminals".into();
        let vpses = [running(ID, sshd.port), twin(TWINS[0]), twin(TWINS[1]), terminals_only];
        let gateway = Gateway::with_inventory(&inventory(&vpses));
        let user = Self { sshd, gateway, home: Home::new() };
        user.sshd.copy_key_to(&user.home.join(&format!(".ssh/id-kohakuriver-{ID}")));
        user
    }

    pub(crate) fn kohakuriver(&self, args: &[&str]) -> Run {
        self.with_settings(Run::new(CLI, &self.home).args(args))
    }

    pub(crate) fn with_settings(&self, run: Run) -> Run {
        run.on_host(self.gateway.api().port()).through(self.gateway.address.port())
    }

    /// Writes the configuration, with the user's own behind it: without that, the login would be root's, and the wildcard
    /// has no key.
    pub(crate) fn written() -> Self {
        let this = Self::new();
        this.write(&this.own_config());
        this
    }

    /// Writes the configuration, with the user's `own` behind it.
    pub(crate) fn write(&self, own: &str) {
        self.home.write(".ssh/config", own);
        self.kohakuriver(&["ssh", "config", "--write"]).output().succeeds();
        self.name_user();
    }

    /// Lets the entries log in as the user who runs the tests.
    pub(crate) fn name_user(&self) {
        if user() != "root" {
            // The login of the entries is root, and the tests' sshd accepts only the user who runs the tests.
            let ours = self.home.join(".ssh/kohakuriver.conf");
            let text = fs::read_to_string(&ours).unwrap();
            self.home.write(".ssh/kohakuriver.conf", text.replace("User root", &format!("User {}", user())));
        }
    }

    pub(crate) fn own_config(&self) -> String {
        let key = self.sshd.key.display();
        format!(
            "Host *\n  BatchMode yes\n  GlobalKnownHostsFile /dev/null\n  IdentityFile \"{key}\"\n  LogLevel ERROR\n"
        )
    }

    /// The system's ssh on the user's configuration, with none of our settings in its environment: as an IDE runs it.
    pub(crate) fn ssh(&self, host: &str) -> Run {
        Run::new(tool("ssh"), &self.home).arg("-F").arg(self.home.join(".ssh/config")).arg(host)
    }

    pub(crate) fn known_hosts(&self) -> Vec<String> {
        let text = self.home.read(".ssh/.kohakuriver_known_hosts");
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn every_form_of_a_vps_is_a_host_and_all_share_one_key() {
    let user = User::written();
    let name = name_of(ID);
    for host in [
        format!("{name}.kohakuriver"),
        format!("{ID}.kohakuriver"),
        "vps-81.kohakuriver".into(),
        "VPS-8.kohakuriver".into(),
    ] {
        let outcome = user.ssh(&host).arg("echo in; exit 3").output();
        outcome.exits(3).prints("in\n").says_nothing();
        let known = user.known_hosts();
        assert_eq!(known.len(), 1, "{host}: {known:?}");
        assert!(known[0].starts_with(&format!("kohakuriver-{ID},{ID}.kohakuriver ssh-")), "{known:?}");
    }
    let connect = ["vps", "connect", &name, "--user", crate::support::tools::user(), "--", "-F", "none"];
    user.kohakuriver(&connect).args(["-o", "BatchMode=yes", "echo in"]).output().succeeds().prints("in\n");
    assert_eq!(user.known_hosts().len(), 1);
    assert!(!user.home.join(".ssh/known_hosts").exists());
    // The VPS's name is only asked for where a name was typed.
    user.ssh("no-such.kohakuriver").output().exits(255).says(&["there is no VPS no-such", "vps list --all"]);
}

/// `ssh forget` leaves such a line, which holds for other hosts as well, and both say where it is.
#[test]
fn a_changed_key_under_a_pattern_is_refused_until_the_line_is_changed() {
    let user = User::written();
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let names = format!("kohakuriver-{ID},{ID}.kohakuriver");
    let file =
        user.home.write(".ssh/.kohakuriver_known_hosts", format!("{names} {other}\n# mine\n*.kohakuriver {other}A\n"));
    let log_in = || user.ssh(&format!("{}.kohakuriver", name_of(ID))).arg("echo in").output();
    let edit = |line: u8| format!("`${{EDITOR:-vi}} +{line} {}`", file.display());
    let both = format!("run `kohakuriver ssh forget {ID}`, remove the line, or this VPS from it: {}", edit(3));
    log_in().exits(255).says(&["known_hosts:3, under a pattern that other hosts match as well\n", &both]);
    let forgotten = user.kohakuriver(&["ssh", "forget", ID]).output();
    // The number is that of the line as it stands now.
    forgotten.succeeds().says(&["removed the host key", "line 2 of ", "if it has the old key, change it: ", &edit(2)]);
    let refused = log_in();
    refused.exits(255).says(&["known_hosts:2, under a pattern", &edit(2)]);
    refused.check(!refused.stderr.contains("ssh forget"), "no command that changes nothing");
    fs::write(&file, "# mine\n").unwrap();
    log_in().succeeds().prints("in\n");
}

/// ssh would refuse every host for a file of host keys.
#[test]
fn a_glob_of_our_names_matches_no_host_keys() {
    let user = User::new();
    let glob = format!("Include {}/kohakuriver*\n", user.home.join(".ssh").display());
    user.write(&format!("{glob}{}", user.own_config()));
    for _ in 0..2 {
        user.ssh(&format!("{}.kohakuriver", name_of(ID))).arg("echo in").output().succeeds().prints("in\n");
    }
    user.ssh("foreign.example").arg("-G").output().succeeds();
    assert_eq!(user.known_hosts().len(), 1);
    // The file of an earlier version: the Include is to blame, and not the keys.
    let of_ssh = |name| user.home.join(".ssh").join(name);
    fs::rename(of_ssh(".kohakuriver_known_hosts"), of_ssh("kohakuriver_known_hosts")).unwrap();
    let outcome = user.kohakuriver(&["ssh", "config", "--write"]).output();
    let hint = "hint: remove or correct the line, so that it names files of ssh_config only: `${EDITOR:-vi} +1 ";
    outcome.exits(1).says(&["already", &format!("/.ssh/config:1: `{}`", glob.trim_end()), hint, "nothing was changed"]);
}

#[test]
fn twins_are_told_apart_and_that_is_said() {
    let user = User::new();
    let outcome = user.kohakuriver(&["ssh", "config"]).output();
    outcome.succeeds();
    let hosts: Vec<String> =
        outcome.text().lines().filter_map(|line| Some(line.strip_prefix("Host ")?.to_owned())).collect();
    let name = format!("{}.kohakuriver", name_of(ID));
    assert_eq!(hosts, [&name, "twin-0001.kohakuriver", "twin-0002.kohakuriver", "*.kohakuriver"]);
    for id in TWINS {
        outcome.says(&[&format!("VPS {id} is listed as twin-{}.kohakuriver", &id[15..])]);
    }
    assert_eq!(fs::read_dir(user.home.join(".ssh")).unwrap().count(), 1, "printing writes nothing");
    // An IDE would run the command while it lists hosts.
    assert!(!outcome.text().contains("exec"));
}

#[test]
fn a_changed_key_is_refused_and_explained_until_it_is_forgotten() {
    let user = User::written();
    let host = format!("{}.kohakuriver", name_of(ID));
    user.ssh(&host).arg("true").output().succeeds();
    let other = Sshd::start();
    // The other machine's key for the user stands for the VPS's own, which came with its disk.
    let config = fs::read_to_string(user.home.join(".ssh/config")).unwrap();
    let key = |sshd: &Sshd| sshd.key.display().to_string();
    user.home.write(".ssh/config", config.replace(&key(&user.sshd), &key(&other)));
    fs::copy(&other.key, user.home.join(&format!(".ssh/id-kohakuriver-{ID}"))).unwrap();
    let times = |started: &str| {
        let mut vps = running(ID, other.port);
        vps["started_at"] = started.into();
        let mut all = inventory(&[vps]);
        all["nodes"][0]["last_heartbeat"] = "2026-11-23T13:00:00".into();
        user.gateway.write_inventory(&all.to_string());
    };
    // It was started long before the key was stored; after it, as far as its date tells; and nobody knows when.
    let reasons = [
        ("2026-11-23T12:00:00", None, "has not been restarted since", "do not log in"),
        ("2026-11-23T12:59:59", Some(1_000_000_000), "was started after that", "ssh forget"),
        ("", None, "it is unknown whether the VPS was started", "ssh forget"),
    ];
    for (started, stored_at, cause, hint) in reasons {
        times(started);
        if let Some(seconds) = stored_at {
            let known = user.known_hosts().remove(0);
            let (line, _) = known.rsplit_once("stored-at-").unwrap();
            user.home.write(".ssh/.kohakuriver_known_hosts", format!("{line}stored-at-{seconds}\n"));
        }
        for host in [host.clone(), format!("{ID}.kohakuriver")] {
            // The gateway takes the new inventory up by itself: until then the old sshd answers.
            let end = Instant::now() + DEADLINE;
            let outcome = loop {
                let outcome = user.ssh(&host).arg("echo in").output();
                if outcome.stderr.contains(cause) || Instant::now() > end {
                    break outcome;
                }
            };
            // ssh's own advice would name a file that doesn't exist.
            outcome.exits(255).prints_nothing().check(!outcome.stderr.contains("ssh-keygen -f"), "no advice of ssh");
            let what = format!("the host key of VPS {ID} has changed");
            outcome.says(&[cause]).fails_with("kohakuriver", &what, hint);
        }
        assert_eq!(user.known_hosts().len(), 1);
    }
    user.kohakuriver(&["ssh", "forget", ID]).output().succeeds().says(&["removed the host key"]);
    assert!(user.known_hosts().is_empty());
    user.ssh(&host).arg("echo in").output().succeeds().prints("in\n");
    let name = name_of(ID);
    user.kohakuriver(&["ssh", "forget", &name]).output().succeeds().says(&["removed the host key"]);
    user.kohakuriver(&["ssh", "forget", &name]).output().succeeds().says(&["no stored host key"]);
    user.kohakuriver(&["ssh", "forget", "none"]).output().exits(1).prints_nothing();
}

#[test]
fn ten_connections_by_name_make_one_look_up() {
    let _heavy = heavy();
    let sshd = Sshd::start();
    let asked = Arc::new(AtomicUsize::new(0));
    let (counted, port) = (Arc::clone(&asked), sshd.port);
    let api = http_server(move |request| {
        let vps = || {
            json!({ "task_id": ID, "task_type": "vps", "name": "trainer", "status": "running",
                              "assigned_node": "node-up", "ssh_port": port })
        };
        let body: Value = match request.path.as_str() {
            "/api/vps/status" => {
                counted.fetch_add(1, Ordering::Relaxed);
                json!([vps()])
            }
            "/api/nodes" => inventory(&[])["nodes"].clone(),
            path if path.starts_with("/api/status/") => vps(),
            "/api/auth/me" => {
                let off = json!({ "detail": "Authentication is not enabled on this server" });
                return (503, "application/json", off.to_string());
            }
            _ => return (404, "application/json", json!({ "detail": "Not Found" }).to_string()),
        };
        (200, "application/json", body.to_string())
    });
    let gateway = Gateway::with_host_api(&format!("http://{}", api.address));
    let home = Home::new();
    home.write(
        ".ssh/config",
        format!("Host *\n  IdentityFile {}\n  BatchMode yes\n  LogLevel ERROR\n", sshd.key.display()),
    );
    let (api_port, proxy) = (api.address.port().to_string(), gateway.address.to_string());
    let args = ["-H", "127.0.0.1", "-P", &api_port, "--proxy", &proxy, "ssh", "config", "--write"];
    Run::new(CLI, &home).args(args).output().succeeds();
    let ours = fs::read_to_string(home.join(".ssh/kohakuriver.conf")).unwrap();
    // Without its entry, only the wildcard is left.
    let (head, _) = ours.split_once("\nHost trainer.kohakuriver\n").unwrap();
    let (_, wildcard) = ours.split_once("\nHost *.kohakuriver\n").unwrap();
    let wildcard = wildcard.replace("User root", &format!("User {}", user()));
    home.write(".ssh/kohakuriver.conf", format!("{head}\nHost *.kohakuriver\n{wildcard}"));
    asked.store(0, Ordering::Relaxed);
    let ssh = |n: usize| {
        let run = Run::new(tool("ssh"), &home).arg("-F").arg(home.join(".ssh/config")).arg("trainer.kohakuriver");
        run.arg(format!("echo {n}")).deadline(120).start()
    };
    let started: Vec<_> = (0..10).map(ssh).collect();
    for (n, ssh) in started.into_iter().enumerate() {
        ssh.finish().succeeds().prints(&format!("{n}\n"));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let known = fs::read_to_string(home.join(".ssh/.kohakuriver_known_hosts")).unwrap();
    assert_eq!(known.lines().count(), 1, "{known}");
    // An id needs no look-up at all.
    let run = Run::new(tool("ssh"), &home).arg("-F").arg(home.join(".ssh/config")).arg(format!("{ID}.kohakuriver"));
    run.arg("true").output().succeeds();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

/// The connections of VS Code's extension: a shell without a terminal and a SOCKS port, with a limit on connecting. Ten
/// windows are killed without a word and opened again.
#[test]
fn ten_windows_of_an_ide_killed_and_reopened() {
    let _heavy = heavy();
    let user = User::written();
    let host = format!("{}.kohakuriver", name_of(ID));
    for _ in 0..2 {
        let mut windows = Vec::new();
        while windows.len() < 10 {
            let run = Run::new(tool("ssh"), &user.home).arg("-F").arg(user.home.join(".ssh/config"));
            let run = run.args(["-T", "-D", &free_port().to_string(), "-o", "ConnectTimeout=15", &host, "sh"]);
            windows.push(run.stdin_open().deadline(120).start());
        }
        for window in &mut windows {
            window.types("echo the-shell-is-up\n");
        }
        for window in &windows {
            window.wait_for("its shell", DEADLINE, |seen| seen.stdout.starts_with(b"the-shell-is-up\n").then_some(()));
            window.signal(rustix::process::Signal::KILL);
        }
    }
    assert_eq!(user.known_hosts().len(), 1);
}
