//! The programs for Windows, under wine: PuTTY's plink with the helper as its proxy command, through our gateway to a real
//! sshd, and the helper alone between ends that the test holds.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::chaos::{Chaos, Cut};
use crate::support::far_end::{LINE, hears_the_farewell, older_tunnels_behind, open_by, sees_the_end, tunnels_behind};
use crate::support::front::Front;
use crate::support::gateway::{Gateway, inventory, running};
use crate::support::heavy;
use crate::support::home::Home;
use crate::support::pattern::pattern;
use crate::support::peers::Peer;
use crate::support::processes::{falls_to, kill, with_argument};
use crate::support::run::{DEADLINE, Run};
use crate::support::scene::{ID, Scene};
use crate::support::spawned::{Ends, PATIENT, Spawned};
use crate::support::sshd::Sshd;
use crate::support::windows::Windows;

/// The helper's limit for the end of a session whose client has gone without a word of the server, and some time more.
const GONE: Duration = Duration::from_secs(30 + 15);

/// What text modes, encodings and consoles alter.
const DELICATE: &[u8] = b"\xef\xbb\xbfa\nb\r\nc\rd\x1ae\0f\xff\xfe\x03";

#[test]
fn a_command_and_its_status() {
    let Some(windows) = Windows::find() else { return };
    let home = Home::new();
    for scene in [Scene::connect(), Scene::tls(), Scene::line()] {
        let plink = windows.plink(&home, &scene.sshd, scene.proxy()).arg("cat; exit 7");
        let outcome = plink.stdin(DELICATE).output();
        outcome.exits(7).check(outcome.stdout == DELICATE, "all that was sent, back");
    }
}

#[test]
fn hundred_megabytes_each_way() {
    let Some(windows) = Windows::find() else { return };
    let _place = heavy();
    let (scene, home) = (Scene::connect(), Home::new());
    let bytes = pattern(100 << 20);
    let file = home.write("bytes", &bytes);
    let there = home.join("there");
    let up = windows.plink(&home, &scene.sshd, scene.proxy()).arg(format!("cat > {}", there.display()));
    up.stdin_file(&file).output().succeeds();
    assert!(std::fs::read(&there).unwrap() == bytes, "up: bytes were lost");
    let down = windows.plink(&home, &scene.sshd, scene.proxy()).arg(format!("cat {}", there.display()));
    let back = home.join("back");
    down.stdout_file(&back).output().succeeds();
    assert!(std::fs::read(&back).unwrap() == bytes, "down: bytes were lost");
}

/// A helper in an open tunnel, and the server's side of it.
fn open(windows: &Windows) -> (Spawned, TcpStream, (Peer, Home)) {
    let (proxy, servers) = tunnels_behind(Front::Plain);
    let home = Home::new();
    let command = windows.helper(&home, &proxy, &[&PATIENT[..], &[ID]].concat());
    let (spawned, server) = open_by(Ends::Pipes, command, &servers);
    (spawned, server, (proxy, home))
}

#[test]
fn the_server_closes_first_while_stdin_stays_open() {
    let Some(windows) = Windows::find() else { return };
    let (mut spawned, mut server, _kept) = open(&windows);
    let bytes = [DELICATE, &pattern(4 << 20)].concat();
    let sent = bytes.clone();
    let sending = std::thread::spawn(move || server.write_all(&sent));
    assert!(spawned.read_all() == bytes, "bytes were lost");
    sending.join().unwrap().unwrap();
    assert!(spawned.stdin.is_some());
    spawned.ends_with(0, "");
}

#[test]
fn stdin_ends_first_and_the_reply_still_comes() {
    let Some(windows) = Windows::find() else { return };
    let (spawned, server, _kept) = open(&windows);
    spawned.asks_until_stdin_ends([DELICATE, &pattern(4 << 20)].concat(), server);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_flood() {
    let Some(windows) = Windows::find() else { return };
    let (mut spawned, mut server, _kept) = open(&windows);
    let flood = std::thread::spawn(move || while server.write_all(&[0; 65536]).is_ok() {});
    spawned.stdout.as_mut().unwrap().read_exact(&mut [0; 65536]).unwrap();
    (spawned.stdin, spawned.stdout) = (None, None);
    spawned.ends_with(0, "");
    flood.join().unwrap();
}

#[test]
fn a_client_that_leaves_while_the_server_is_mute() {
    let Some(windows) = Windows::find() else { return };
    let (mut spawned, mut server, _kept) = open(&windows);
    (spawned.stdin, spawned.stdout) = (None, None);
    sees_the_end(&mut server);
    let began = Instant::now();
    spawned.ends_with(0, "");
    assert!(began.elapsed() < GONE);
}

#[test]
fn an_older_host_hears_the_farewell() {
    let Some(windows) = Windows::find() else { return };
    let (proxy, servers) = older_tunnels_behind(Front::Plain);
    let home = Home::new();
    let command = windows.helper(&home, &proxy, &[&PATIENT[..], &LINE, &[ID]].concat());
    let (mut spawned, mut server) = open_by(Ends::Pipes, command, &servers);
    (spawned.stdin, spawned.stdout) = (None, None);
    hears_the_farewell(&mut server, b"");
    spawned.ends_with(0, "");
}

#[test]
fn a_client_that_is_killed_also_while_the_vps_is_paused() {
    let Some(windows) = Windows::find() else { return };
    for is_paused in [false, true] {
        let (sshd, home) = (Sshd::start(), Home::new());
        let gateway = Gateway::with_inventory(&inventory(&[running(ID, sshd.port)]));
        // Both plink and the helper have the gateway's address on their command lines.
        let address = gateway.address.to_string();
        let count = || with_argument(Path::new(&address)).len();
        let plink = windows.plink(&home, &sshd, gateway.address).arg("echo $PPID; exec sleep 120").stdin_open().start();
        let session = plink.wait_for("the process id of sshd's session", DEADLINE, |seen| {
            String::from_utf8_lossy(&seen.stdout).lines().next()?.trim().parse().ok().and_then(Pid::from_raw)
        });
        assert!(count() >= 2, "only {} processes", count());
        if is_paused {
            kill_process(session, Signal::STOP).unwrap();
        }
        kill(plink.id());
        let left = falls_to(0, if is_paused { GONE } else { DEADLINE }, count);
        if is_paused {
            kill(session);
        }
        assert_eq!(left, 0, "paused: {is_paused}");
    }
}

#[test]
fn a_session_survives_its_connection() {
    let Some(windows) = Windows::find() else { return };
    let (scene, home) = (Scene::connect(), Home::new());
    let network = Chaos::before(scene.proxy().address);
    let mut plink = windows.plink(&home, &scene.sshd, network.address).arg("cat").stdin_open().start();
    for cut in [None, Some(Cut::Reset), Some(Cut::End)] {
        if let Some(how) = cut {
            network.cut(how);
        }
        let said = format!("{cut:?}\n");
        plink.stdin.as_mut().unwrap().write_all(said.as_bytes()).unwrap();
        plink.wait_for("an answer", DEADLINE, |seen| seen.stdout.ends_with(said.as_bytes()).then_some(()));
    }
    assert_eq!(network.cuts(), 2);
    plink.finish().succeeds();
}

#[test]
fn help_names_what_there_is() {
    let Some(windows) = Windows::find() else { return };
    let home = Home::new();
    let help = windows.run("kohakuriver-proxy", &home).arg("--help").output();
    help.succeeds().check(!help.text().to_lowercase().contains("fdpass"), "no passing of sockets");
    let refused = windows.run("kohakuriver-proxy", &home).args(["--fdpass", ID]).output();
    refused.exits(2).check(refused.stderr.contains("invalid option '--fdpass'"), "an unknown option");
}

/// The command with the gateway's Host API as its Host.
fn command(windows: &Windows, home: &Home, gateway: &Gateway) -> Run {
    let (api, proxy) = (gateway.api().port().to_string(), gateway.address.port().to_string());
    let run = windows.run("kohakuriver", home).env("KOHAKURIVER_HOST", "127.0.0.1").env("KOHAKURIVER_PORT", api);
    run.env("KOHAKURIVER_SSH_PROXY_PORT", proxy)
}

#[test]
fn the_command_lists_vpses_and_shows_one() {
    let Some(windows) = Windows::find() else { return };
    let home = Home::new();
    let gateway = Gateway::with_inventory(&inventory(&[running(ID, 22)]));
    for words in [["vps", "list"].as_slice(), &["vps", "status", ID]] {
        let outcome = command(&windows, &home, &gateway).args(words).output();
        outcome.succeeds().check(outcome.text().contains(ID), "the VPS");
    }
    let help = command(&windows, &home, &gateway).args(["vps", "connect", "--help"]).output();
    help.succeeds().check(!help.text().contains("fdpass"), "no passing of sockets");
}

/// The system's ssh, which contrib/windows/ssh.c stands in for, starts the helper without a shell, from a path with blanks.
#[test]
fn connect_runs_the_systems_ssh_and_passes_its_status_on() {
    let Some(windows) = Windows::find() else { return };
    let (scene, home) = (Scene::connect(), Home::new());
    let gateway = Gateway::with_inventory(&inventory(&[running(ID, scene.sshd.port)]));
    // sshd hangs up on a line that is no banner.
    let connect = command(&windows, &home, &gateway).args(["vps", "connect", ID]).stdin("no banner\r\n");
    let outcome = connect.output();
    outcome.exits(7).check(outcome.text().starts_with("SSH-2.0-"), "sshd's banner");
}

#[test]
fn entries_for_ssh_have_slashes_and_quotes() {
    let Some(windows) = Windows::find() else { return };
    let home = Home::new();
    let gateway = Gateway::with_inventory(&inventory(&[running(ID, 22)]));
    let entries = command(&windows, &home, &gateway).args(["ssh", "config"]).output();
    let text = entries.succeeds().text();
    let helper = "    ProxyCommand \"C:/Program Files/KohakuRiver/kohakuriver-proxy.exe\" --proxy 127.0.0.1:";
    let known_hosts = "    UserKnownHostsFile C:/users/";
    for line in [helper, known_hosts, "    ProxyUseFdpass no\n"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    for never in ["\\", "fdpass ", "Match exec", "KnownHostsCommand", "Control"] {
        assert!(!text.contains(never), "{never}: {text}");
    }
    let config = command(&windows, &home, &gateway).args(["ssh", "config", "--write"]).output();
    config.succeeds();
    let written = std::fs::read_dir(windows.users())
        .unwrap()
        .find_map(|user| std::fs::read_to_string(user.unwrap().path().join(".ssh/config")).ok());
    let written = written.expect("a user's configuration");
    assert!(written.contains("\nInclude C:/users/") && written.contains("/.ssh/kohakuriver.conf\n"), "{written}");
    command(&windows, &home, &gateway).args(["ssh", "config", "--remove"]).output().succeeds();
}
