//! The package for Debian and Ubuntu, in a Debian of its own: installed, used, upgraded, removed and purged.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::release::check_documents;
use crate::support::debian::{Debian, told_to_start};
use crate::support::gateway::{inventory, running, successor};
use crate::support::heavy;
use crate::support::home::Home;
use crate::support::peers::echo_server;
use crate::support::processes::falls_to;
use crate::support::release::{architecture, artifact};
use crate::support::run::{DEADLINE, Outcome, Process, Run};
use crate::support::scene::ID;
use crate::support::tools::tool;
use crate::support::tunnels::{echo_tunnel, echoes};

const DEFAULTS: &str = "etc/default/kohakuriver-gateway";
const LOGS: &str = "var/log/kohakuriver-gateway";
/// The package, and the same as a later version.
fn packages(debian: &Debian) -> [&'static str; 2] {
    let package = artifact(&format!("{}.deb", debian.architecture));
    fs::copy(&package, debian.root.join("first.deb")).unwrap();
    let dpkg_deb = |words: &[&str]| Run::new(tool("dpkg-deb"), &debian.home).args(words).deadline(300);
    dpkg_deb(&["-R"]).arg(&package).arg("later").output().succeeds();
    let control = fs::read_to_string(debian.home.join("later/DEBIAN/control")).unwrap();
    let version = format!("Version: {}-1\n", env!("CARGO_PKG_VERSION"));
    assert!(control.contains(&version), "{control}");
    let synopsis = control.lines().find_map(|line| line.strip_prefix("Description: ")).unwrap();
    assert!(!synopsis.is_empty() && synopsis.len() < 80, "{control}");
    debian.home.write("later/DEBIAN/control", control.replace(&version, "Version: 99-1\n"));
    dpkg_deb(&["-Zgzip", "-z1", "-b", "later", "root/later.deb"]).output().succeeds();
    ["/first.deb", "/later.deb"]
}

fn gateway(debian: &Debian, port: u16) -> Process {
    debian.home.write("root/inventory.json", inventory(&[running(ID, port)]).to_string());
    fs::create_dir(debian.root.join(LOGS)).unwrap();
    let log = format!("/{LOGS}/audit.log");
    let run = debian.run(&["/usr/bin/kohakuriver-gateway", "--inventory", "/inventory.json", "--audit-log", &log]);
    run.args(["--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0", "--admin", "off"]).deadline(600).start()
}

#[test]
fn it_installs_upgrades_and_goes() {
    Debian::new().iter().for_each(installs_upgrades_and_goes);
}

/// As the one above, with the programs of a release for that processor.
#[test]
fn for_arm64_it_installs_upgrades_and_goes() {
    Debian::arm64().iter().for_each(installs_upgrades_and_goes);
}

fn installs_upgrades_and_goes(debian: &Debian) {
    let _place = heavy();
    let [first, later] = packages(debian);

    let said = debian.dpkg(&["-i", first]);
    assert!(!told_to_start(&said), "{said:?}");
    for program in ["kohakuriver", "kohakuriver-gateway", "kohakuriver-proxy"] {
        let version = format!("{program} {}\n", env!("CARGO_PKG_VERSION"));
        debian.run(&[program, "--version"]).output().succeeds().prints(&version);
    }
    check_documents(&debian.root.join("usr/share/doc/kohakuriver-proxy"));
    let unit = fs::read_to_string(debian.root.join("usr/lib/systemd/system/kohakuriver-gateway.service")).unwrap();
    assert!(unit.contains("\nExecStart=/usr/bin/kohakuriver-gateway "), "{unit}");
    assert!(unit.contains(&format!("\nEnvironmentFile=-/{DEFAULTS}\n")), "{unit}");

    let vps = echo_server();
    let process = gateway(debian, vps.address.port());
    let address = process.stderr_line("listening on ").parse().unwrap();
    fs::write(debian.root.join("pid"), process.id().as_raw_nonzero().to_string()).unwrap();
    let mut tunnel = echo_tunnel(address, ID).unwrap();
    log_rotates(debian, || drop(echo_tunnel(address, ID).unwrap()));

    let set = "GATEWAY_OPTIONS=--allow-runner 10.0.0.0/24\n";
    debian.home.write(&format!("root/{DEFAULTS}"), set);
    let said = debian.dpkg(&["-i", later]);
    assert!(said.iter().any(|line| line.ends_with("daemon-reload")), "{said:?}");
    assert!(!told_to_start(&said) && !said.iter().any(|line| line.contains("stop")), "{said:?}");
    assert_eq!(fs::read_to_string(debian.root.join(DEFAULTS)).unwrap(), set);
    echoes(&mut tunnel).unwrap();
    // The program that was installed takes over from the one that is gone.
    process.signal(Signal::USR2);
    let new = successor(&process, 1);
    echoes(&mut echo_tunnel(address, ID).unwrap()).unwrap();
    echoes(&mut tunnel).unwrap();
    stop(&process, new);

    let said = debian.dpkg(&["-r", "kohakuriver-proxy"]);
    assert!(said.iter().any(|line| line.contains("stop") && line.contains("kohakuriver-gateway.service")), "{said:?}");
    assert!(!debian.root.join("usr/bin/kohakuriver").exists());
    assert_eq!(fs::read_to_string(debian.root.join(DEFAULTS)).unwrap(), set);
    assert!(debian.root.join(LOGS).join("audit.log").is_file());
    debian.dpkg(&["-P", "kohakuriver-proxy"]);
    assert_eq!(debian.ours(), [""; 0]);
}

/// Ends the old process, and then the new one.
fn stop(process: &Process, new: Pid) {
    process.signal(Signal::KILL);
    kill_process(new, Signal::KILL).unwrap();
}

/// The tunnel that opens after a rotation is in the new file, and the ones before are in the old one.
fn log_rotates(debian: &Debian, open: impl Fn()) {
    let lines = |name: &str| {
        let text = fs::read_to_string(debian.root.join(LOGS).join(name)).unwrap_or_default();
        text.matches("\"event\":\"opened\"").count()
    };
    let awaits = |name: &str, count: usize| {
        assert_eq!(falls_to(0, DEADLINE, || count.saturating_sub(lines(name))), 0, "{name} has {} lines", lines(name));
    };
    awaits("audit.log", 1);
    let rotate = |debian: &Debian| -> Outcome {
        debian.run(&["logrotate", "-f", "/etc/logrotate.d/kohakuriver-gateway"]).output()
    };
    rotate(debian).succeeds().says_nothing();
    let exists = || usize::from(!debian.root.join(LOGS).join("audit.log").is_file());
    assert_eq!(falls_to(0, DEADLINE, exists), 0, "no new log");
    open();
    awaits("audit.log", 1);
    assert_eq!((lines("audit.log"), lines("audit.log.1")), (1, 1));
}

#[test]
fn lintian_finds_no_error() {
    let home = Home::new();
    let lintian = Run::new(tool("lintian"), &home).args(["--fail-on", "error", "--no-tag-display-limit"]);
    lintian.arg(artifact(&format!("{}.deb", architecture()))).deadline(300).output().succeeds();
}
