//! The programs for Windows, under wine: PuTTY's plink with the helper as its proxy command, through our gateway to a real
//! sshd, and the helper alone between ends that the test holds.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use kohakuriver_proxy::sys::Shell;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::chaos::{Chaos, Cut};
use crate::support::far_end::{LINE, hears_the_farewell, older_tunnels_behind, open_by, sees_the_end, tunnels_behind};
use crate::support::front::Front;
use crate::support::gateway::Gateway;
use crate::support::heavy;
use crate::support::home::Home;
use crate::support::life_host::{LifeHost, USER, vps};
use crate::support::pattern::pattern;
use crate::support::peers::{Peer, echo_server};
use crate::support::processes::{falls_to, kill, with_argument};
use crate::support::run::{DEADLINE, Run};
use crate::support::scene::{ID, Scene};
use crate::support::spawned::{Ends, PATIENT, Spawned};
use crate::support::sshd::Sshd;
use crate::support::windows::Windows;

/// The helper's limit for the end of a session whose client has gone without a word of the server, and some time more.
const GONE: Duration = Duration::from_secs(30 + 15);

/// Bytes that text modes, encodings and consoles alter.
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
        let gateway = Gateway::before(sshd.port);
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
        plink.types(&said);
        plink.wait_for("an answer", DEADLINE, |seen| seen.stdout.ends_with(said.as_bytes()).then_some(()));
    }
    assert_eq!(network.cuts(), 2);
    plink.finish().succeeds();
}

/// The texts below `--help` of a command, and of those below it.
fn helps(windows: &Windows, home: &Home, words: &[&str]) -> Vec<String> {
    let text = windows.run("kohakuriver", home).args(words).arg("--help").output().succeeds().text().replace('\r', "");
    let verbs = text.split_once("\nCommands:\n").map_or("", |(_, rest)| rest.split("\n\n").next().unwrap());
    let verbs: Vec<_> = verbs.lines().filter(|line| !line.starts_with("   ")).collect();
    let verbs = verbs.iter().filter_map(|line| line.split_whitespace().next()).filter(|verb| *verb != "help");
    let below: Vec<_> = verbs.flat_map(|verb| helps(windows, home, &[words, &[verb]].concat())).collect();
    [vec![format!("{words:?}\n{text}")], below].concat()
}

#[test]
fn help_names_what_there_is() {
    let Some(windows) = Windows::find() else { return };
    let home = Home::new();
    let all = helps(&windows, &home, &[]);
    assert!(all.len() > 30, "{}", all.len());
    for text in &all {
        for never in
            ["fdpass", "UNIX socket", "unix:", "gets the socket", "zsh", "man -l", "/usr/", "/run/", "Print a manual"]
        {
            assert!(!text.contains(never), "{never}: {text}");
        }
    }
    let refused = windows.run("kohakuriver", &home).args(["vps", "sessions", "--admin", "unix:/run/x"]).output();
    refused.exits(2).says(&["write it as HOST[:PORT] or http://HOST[:PORT]"]);
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
    let gateway = Gateway::before(22);
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
    let gateway = Gateway::before(scene.sshd.port);
    // sshd hangs up on a line that is no banner.
    let connect = command(&windows, &home, &gateway).args(["vps", "connect", ID]).stdin("no banner\r\n");
    let outcome = connect.output();
    outcome.exits(7).check(outcome.text().starts_with("SSH-2.0-"), "sshd's banner");
}

#[test]
fn entries_for_ssh_have_slashes_and_quotes() {
    let Some(windows) = Windows::find() else { return };
    let home = Home::new();
    let gateway = Gateway::before(22);
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
}

const PROMPT: (&str, &str) = ("PROMPT", "$P$G");

/// A Host with users, a VPS of one of them, and a gateway.
fn host() -> (LifeHost, Gateway) {
    let mut own = vps("running", "docker", echo_server().address.port());
    own["owner_username"] = "user1".into();
    let host = LifeHost::with_users(own);
    let gateway = Gateway::with_host_api(&host.base());
    (host, gateway)
}

#[test]
fn a_user_with_a_blank_in_the_name_logs_in_and_gets_entries() {
    let Some(windows) = Windows::find() else { return };
    let (home, (host, gateway)) = (Home::new(), host());
    let folder = windows.new_user("A B");
    let run = |words: &[&str]| windows.run("kohakuriver", &home).env("USER", "A B").env(PROMPT.0, PROMPT.1).args(words);
    let (api, proxy) = (host.peer.address.port().to_string(), gateway.address.port().to_string());
    let words = ["login", "127.0.0.1", "--port", &api, "--ssh-proxy-port", &proxy, "--token-stdin"];
    let login = run(&words).stdin(format!("{USER}\n")).output();
    login.succeeds().check(!login.stderr.contains(USER), "no token");

    let tokens = fs::read_to_string(folder.join(".kohakuriver/auth.json")).unwrap();
    assert!(tokens.contains(USER), "{tokens}");
    let made_private = fs::read_to_string(windows.drive("icacls.log")).unwrap();
    let expected = r"C:\users\A B\.kohakuriver\.auth.json.kohakuriver-";
    let line = made_private.lines().rfind(|line| line.starts_with(expected)).expect(&made_private);
    assert!(line.contains(r"|/inheritance:r|/grant:r|") && line.contains(r":F|*S-1-5-18:F|*S-1-5-32-544:F|"), "{line}");

    let config = fs::read_to_string(folder.join(".ssh/config")).unwrap();
    assert!(config.contains("Include \"C:/users/A B/.ssh/kohakuriver.conf\"\n"), "{config}");
    let entries = fs::read_to_string(folder.join(".ssh/kohakuriver.conf")).unwrap();
    assert!(entries.contains("\nHost trainer.kohakuriver"), "{entries}");
    let known_hosts = "\n    UserKnownHostsFile \"C:/users/A B/.ssh/.kohakuriver_known_hosts\"\n";
    assert!(entries.contains(known_hosts), "{entries}");

    for words in [&["vps", "list"][..], &["vps", "status", "trainer"], &["auth", "status"]] {
        let outcome = run(words).output();
        outcome
            .succeeds()
            .check(outcome.text().contains(if words[0] == "vps" { ID } else { "user1" }), "what there is");
    }
    run(&["ssh", "config", "--write"]).output().succeeds();
    assert_eq!(fs::read_to_string(folder.join(".ssh/config")).unwrap(), config);
    run(&["ssh", "config", "--remove"]).output().succeeds();
    assert!(!folder.join(".ssh/config").exists() && !folder.join(".ssh/kohakuriver.conf").exists());
    run(&["auth", "logout"]).output().succeeds();
    assert!(!fs::read_to_string(folder.join(".kohakuriver/auth.json")).unwrap_or_default().contains(USER));
}

#[test]
fn doctor_looks_at_what_there_is() {
    let Some(windows) = Windows::find() else { return };
    let (scene, home) = (Scene::connect(), Home::new());
    windows.new_user("D R");
    let gateway = Gateway::before(scene.sshd.port);
    let doctor = command(&windows, &home, &gateway).env("USER", "D R").args(["doctor", ID]).output();
    let text = doctor.text();
    for line in [
        "ok    settings     ",
        r"ok    ssh          `ssh` on PATH: OpenSSH_for_Windows_9.5p1, a stand-in at C:\windows\System32\OpenSSH\ssh.exe (",
        "ok    helper       ",
        "ok    ssh-folder   ",
        "ok    host-api     ",
        "ok    tunnel       ",
        "ok    ssh-server   ",
    ] {
        doctor.check(text.contains(line), line);
    }
    for never in ["fdpass", "Fdpass", "SHELL", "chmod", "export ", "ls -l"] {
        doctor.check(!text.contains(never), &format!("never {never}"));
    }
}

/// The hint of a message, for the shell that the program was started from.
#[test]
fn commands_to_paste_are_those_of_the_users_shell() {
    let Some(windows) = Windows::find() else { return };
    let home = Home::new();
    for (variable, hint) in [
        ("PROMPT", "`set KOHAKURIVER_PORT=PORT`, or `set KOHAKURIVER_PORT=`"),
        ("MSYSTEM", "`export KOHAKURIVER_PORT=PORT`, or `unset KOHAKURIVER_PORT`"),
        ("NOTHING", "`$env:KOHAKURIVER_PORT = 'PORT'`, or `Remove-Item Env:KOHAKURIVER_PORT`"),
    ] {
        let run = windows.run("kohakuriver", &home).env(variable, "x").env("KOHAKURIVER_PORT", "none");
        run.args(["vps", "list"]).output().exits(2).says(&[hint]);
    }
}

#[test]
fn cmd_reads_quoted_words_as_they_were() {
    let Some(windows) = Windows::find() else { return };
    let home = Home::new();
    for word in [
        "a b",
        "a&b",
        "a|b>c<d",
        "100%",
        "%PATH%",
        "%PATH% & b",
        "%PATH% \"&\"",
        "a^b",
        "(a)",
        "it's",
        "say \"x y\"",
        r#"a\"b"#,
        r"C:\A B\",
        r"C:\A&B\",
        "a;b,c=d",
        "$HOME",
        "!x!",
        "",
    ] {
        let line = Shell::Cmd.line([r"C:\Program Files\KohakuRiver\words.exe", word, "end"]).into_string().unwrap();
        let printed = windows.typed(&line, &home);
        assert!(printed.contains(&format!("\n{word}\nend\n")), "{word}: {line}: {printed}");
    }
}

/// The command that `--dry-run` prints does what the one without it does.
#[test]
fn the_command_of_a_dry_run_can_be_pasted_into_cmd() {
    let Some(windows) = Windows::find() else { return };
    let (scene, home) = (Scene::connect(), Home::new());
    windows.new_user("P Q");
    let gateway = Gateway::before(scene.sshd.port);
    let shown = command(&windows, &home, &gateway).env("USER", "P Q").env(PROMPT.0, PROMPT.1);
    let shown = shown.args(["vps", "connect", "--dry-run", ID, "--", "echo %PATH% & x"]).output();
    let line = shown.succeeds().text();
    shown.check(!line.contains('\''), "no quotes of POSIX");
    let printed = windows.typed(line.trim_end(), &home);
    assert!(printed.contains("SSH-2.0-"), "{line}: {printed}");
}
