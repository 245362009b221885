//! A failure of the helper reaches the user through the client itself, as a server's last message. ssh hides a helper's
//! stderr under ControlPersist, and IDEs hide all of it.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::json;

use crate::support::far_end::{YES, broke, reset, tunnels};
use crate::support::gateway::{Gateway, NODE};
use crate::support::home::Home;
use crate::support::host_api::plain_host_api;
use crate::support::peers::{Peer, RefusingPort, hears, read_head};
use crate::support::processes::{descriptors, falls_to, opened, with_argument};
use crate::support::run::{DEADLINE, Outcome, Run};
use crate::support::scene::{ID, Mode, helper_command};
use crate::support::spawned::{Ends, Spawned, disconnect, take_socket};
use crate::support::sshd::{Sshd, free_port};
use crate::support::tools::{HELPER, clients, sh_quote, tool};

/// The gateway's message about the VPS of a [`Paused`].
fn paused() -> String {
    format!("VPS {ID} is paused")
}

fn resume() -> String {
    format!("`kohakuriver vps resume {ID}`")
}

/// A VPS that is paused, the gateway in front of it, and a user's ssh_config.
struct Paused {
    gateway: Gateway,
    _host: Peer,
    sshd: Sshd,
    home: Home,
}

impl Paused {
    fn new() -> Self {
        let vps = json!({ "task_id": ID, "status": "paused", "assigned_node": NODE, "ssh_port": 1 });
        let host = plain_host_api(vec![vps]);
        let gateway = Gateway::with_host_api(&format!("http://{}", host.address));
        Self { gateway, _host: host, sshd: Sshd::start(), home: Home::new() }
    }

    fn config(&self, mode: Mode) -> std::path::PathBuf {
        let command = helper_command(HELPER, mode, self.gateway.address);
        self.sshd.write_ssh_config(&self.home, &format!("config-{mode:?}"), &command, mode)
    }

    fn client(&self, name: &str, mode: Mode) -> Run {
        Run::new(tool(name), &self.home).arg("-F").arg(self.config(mode))
    }

    fn remote_shell(&self, mode: Mode) -> String {
        format!("{} -F {}", tool("ssh").display(), sh_quote(&self.config(mode).display().to_string()))
    }
}

fn vps() -> String {
    format!("{ID}.kohakuriver")
}

/// The client printed the reason and its hint, once each.
#[track_caller]
fn names_the_pause(outcome: &Outcome) {
    for text in [paused(), resume()] {
        let times =
            outcome.stderr.matches(&text).count() + String::from_utf8_lossy(&outcome.stdout).matches(&text).count();
        outcome.check(times == 1, &format!("{text:?} once, and not {times} times"));
    }
}

#[test]
fn ssh_prints_every_failure_also_under_control_persist() {
    let scene = Paused::new();
    let (refusing, (mute, _servers)) = (RefusingPort::new(), tunnels());
    let closes = Peer::serve(|mut stream| {
        read_head(&mut stream)?;
        stream.write_all(YES)?;
        stream.shutdown(Shutdown::Write)?;
        stream.read_to_end(&mut Vec::new())?;
        Ok(())
    });
    let gateway = scene.gateway.address;
    let cases = [
        (format!("--proxy {gateway}"), paused(), resume()),
        (format!("--proxy {gateway} --no-such-option"), "invalid option".into(), "--help".into()),
        (format!("--proxy {gateway} --protocol=request-tunnel"), paused(), resume()),
        (format!("--proxy 127.0.0.1:{}", refusing.port), "cannot reach the SSH proxy".into(), "config show".into()),
        (format!("--proxy {} --connect-timeout 0.3", mute.address), "sshd says nothing".into(), "--wait".into()),
        (format!("--proxy {}", closes.address), "before its sshd said anything".into(), "--wait".into()),
    ];
    for (number, (options, what, hint)) in cases.iter().enumerate() {
        for mode in Mode::BOTH {
            let fdpass = if mode == Mode::Fdpass { "--fdpass" } else { "" };
            let command = format!("{} {fdpass} {options} %h %p", sh_quote(HELPER));
            let config = scene.sshd.write_ssh_config(&scene.home, &format!("config-{number}-{mode:?}"), &command, mode);
            let persist = ["-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", "ControlPath=~/c-%C"];
            for more in [&[][..], &persist] {
                let ssh = Run::new(tool("ssh"), &scene.home).arg("-F").arg(&config).args(more);
                // The end of stderr is waited for: nothing that outlives ssh may hold it.
                let outcome = ssh.args([&vps(), "true"]).output();
                outcome.exits(255).prints_nothing().within(20);
                outcome.says(&["Received disconnect from ", ":11: ", what, "\n  hint: ", hint]);
                let noise = ["kohakuriver-proxy: ", "mm_receive_fd", "proxy dialer", "Connection closed", "banner"];
                let clean = !noise.iter().any(|noise| outcome.stderr.contains(noise));
                outcome.check(clean, &format!("nothing besides ({options}, {mode:?}, {more:?})"));
            }
        }
    }
}

#[test]
fn the_family_of_ssh_names_the_pause() {
    let scene = Paused::new();
    let file = scene.home.write("file", "content");
    for mode in Mode::BOTH {
        let remote = format!("{}:file", vps());
        let shell = scene.remote_shell(mode);
        let outcomes = [
            scene.client("scp", mode).arg(&file).arg(&remote).output(),
            scene.client("sftp", mode).arg(vps()).output(),
            Run::new(tool("rsync"), &scene.home).args(["-e", &shell]).arg(&file).arg(&remote).output(),
            Run::new(tool("git"), &scene.home)
                .env("GIT_SSH_COMMAND", &shell)
                .args(["ls-remote", &format!("{}:repo", vps())])
                .output(),
            // As VS Code's extension calls it.
            scene
                .client("ssh", mode)
                .args(["-T", "-D", &free_port().to_string(), "-o", "ConnectTimeout=15", &vps(), "bash"])
                .stdin("exit\n")
                .output(),
        ];
        for outcome in &outcomes {
            outcome.check(!outcome.status.success(), "a failure");
            names_the_pause(outcome);
        }
    }
}

#[test]
fn ansible_names_the_pause() {
    let scene = Paused::new();
    let options = format!("-F {} -o ControlMaster=auto -o ControlPersist=60s", scene.config(Mode::Fdpass).display());
    let hosts = scene.home.write("hosts", format!("{}\n", vps()));
    let ansible = Run::new(clients("python/bin/ansible"), &scene.home).arg("all").arg("-i").arg(&hosts);
    let ansible = ansible.args(["-m", "ping", "--ssh-common-args", &options]).env("ANSIBLE_NOCOLOR", "1");
    let outcome = ansible.env("LC_ALL", "C.UTF-8").env("PATH", std::env::var_os("PATH").unwrap()).output();
    outcome.exits(4);
    let said = outcome.text() + &outcome.stderr;
    outcome.check(said.contains("UNREACHABLE") && said.contains(&paused()) && said.contains(&resume()), "the pause");
}

/// PuTTY prints the message as well. A client that would hide it gets what it always got.
#[test]
fn other_clients_are_told_in_the_way_that_they_show() {
    let scene = Paused::new();
    let command = format!("{} --proxy {} {ID} 22", sh_quote(HELPER), scene.gateway.address);
    let plink =
        Run::new(tool("plink"), &scene.home).args(["-batch", "-proxycmd", &command, "root@vps", "true"]).output();
    plink.exits(1).says(&["Remote side sent disconnect message"]);
    names_the_pause(&plink);
    let dropbear = Run::new(tool("dbclient"), &scene.home).args(["-y", "-J", &command, "root@vps", "true"]).output();
    dropbear.exits(1).says(&["kohakuriver-proxy: "]);
    names_the_pause(&dropbear);
}

/// Clients that are told on stderr alone: their first words, or where their stdout leads.
#[test]
fn a_client_that_is_no_ssh_is_told_on_stderr() {
    let (home, refusing) = (Home::new(), RefusingPort::new());
    let proxy = format!("127.0.0.1:{}", refusing.port);
    let start = |ends, words: &[&str]| {
        let mut command = Command::new(HELPER);
        command.env_clear().env("HOME", home.path()).args(["--proxy", &proxy]).args(words);
        Spawned::start_command(ends, command)
    };
    let openssh = "SSH-2.0-OpenSSH_9.2\r\n";
    for (said, words) in [
        ("", &[ID][..]),
        ("GET / HTTP/1.1\r\n", &[ID]),
        ("SSH-2.0-paramiko_5.1.0\r\n", &[ID]),
        (openssh, &["--no-disconnect", ID]),
        (openssh, &["db.example.org", "5432"]),
        (openssh, &["--no-such-option", "--no-disconnect"]),
    ] {
        let mut spawned = start(Ends::Pipes, words);
        // It may have failed before it has read a word.
        let _ = spawned.stdin.as_mut().unwrap().write_all(said.as_bytes());
        assert_eq!(spawned.read_all(), b"", "{said:?}, {words:?}");
        let (status, stderr) = spawned.wait();
        assert!(status.code() > Some(0) && stderr.starts_with("kohakuriver-proxy: "), "{said:?}, {words:?}: {stderr}");
    }
    // These get the message, with its end behind it.
    for said in [openssh, "SSH-2.0-AsyncSSH_2.24.1\r\n", "SSH-2.0-PuTTY_Release_0.78\r\n"] {
        for words in [&[ID][..], &["db.example.org", "22"]] {
            for ends in Ends::ALL {
                let mut spawned = start(ends, words);
                spawned.stdin.as_mut().unwrap().write_all(said.as_bytes()).unwrap();
                let mut message = vec![0; 200];
                spawned.stdout.as_mut().unwrap().read_exact(&mut message).unwrap();
                let message = String::from_utf8_lossy(&message).into_owned();
                assert!(message.starts_with("SSH-2.0-kohakuriver_proxy_"), "{message:?}");
                assert!(message.contains("cannot reach the SSH proxy at "), "{message:?}");
                // The client has read it, and ends.
                drop(spawned.stdin.take());
                spawned.ends_with(1, "");
            }
        }
    }
    // A file, and a terminal.
    let file = home.join("out");
    let outcome = Run::new(HELPER, &home).args(["--proxy", &proxy, ID]).stdin(openssh).stdout_file(&file).output();
    outcome.exits(1).says(&["kohakuriver-proxy: cannot reach"]);
    assert_eq!(fs::read(&file).unwrap(), b"");
}

/// The stream belongs to the server from its first byte on: nothing of ours may stand in it. Before that byte, a reset
/// is a failure like any other.
#[test]
fn a_stream_that_has_begun_gets_no_byte_of_ours() {
    let home = Home::new();
    for (sent, ends) in ["", "SSH-2.0-Test\r\nand more"].into_iter().flat_map(|sent| Ends::ALL.map(|ends| (sent, ends)))
    {
        let (proxy, servers) = tunnels();
        let mut spawned = Spawned::start(ends, &home, proxy.address, &[ID]);
        // The tunnel may open before the client has spoken.
        let mut server = servers.recv_timeout(DEADLINE).unwrap();
        spawned.stdin.as_mut().unwrap().write_all(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap();
        server.read_exact(&mut [0; 21]).unwrap();
        server.write_all(sent.as_bytes()).unwrap();
        hears(spawned.stdout.as_mut().unwrap(), sent.as_bytes());
        reset(server);
        let failure = broke(&proxy);
        let mut rest = Vec::new();
        if sent.is_empty() {
            let mut byte = [0];
            while disconnect_length(&rest).is_none_or(|length| rest.len() < length) {
                spawned.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
                rest.extend(byte);
            }
            drop(spawned.stdin.take());
            assert_eq!(disconnect(&rest), failure, "{ends:?}");
            spawned.ends_with(1, "");
        } else {
            spawned.stdout.as_mut().unwrap().read_to_end(&mut rest).unwrap();
            assert_eq!(rest.escape_ascii().to_string(), "", "{ends:?}");
            spawned.ends_with(1, &failure);
        }
    }
}

/// The length of an identification line and the packet behind it, once that can be told.
fn disconnect_length(bytes: &[u8]) -> Option<usize> {
    let line = bytes.iter().position(|&byte| byte == b'\n')? + 1;
    let (length, _) = bytes[line..].split_first_chunk()?;
    Some(line + 4 + u32::from_be_bytes(*length) as usize)
}

/// ssh gets a socket whose other end a child of the helper holds: as long as ssh has it, and no longer.
#[test]
fn the_child_that_holds_a_socket_ends_with_ssh_and_holds_nothing_else() {
    let (home, refusing) = (Home::new(), RefusingPort::new());
    // A program of its own, by whose path its processes are found.
    let program = home.copy(Path::new(HELPER), "kohakuriver-proxy");
    let proxy = format!("127.0.0.1:{}", refusing.port);
    // `ssh -E` leaves its log open to the helper, and other clients more than that.
    let inherits = "exec \"$0\" \"$@\" 3>>/dev/full 9</dev/zero";
    let mut command = Command::new("/bin/sh");
    command.env_clear().env("HOME", home.path()).args(["-c", inherits]);
    command.arg(&program).args(["--proxy", &proxy, "--fdpass", ID]);
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(DEADLINE)).unwrap();
    command.stdin(OwnedFd::from(theirs.try_clone().unwrap())).stdout(OwnedFd::from(theirs));
    let spawned = Spawned::start_with_stdio(command);
    let mut socket = UnixStream::from(OwnedFd::from(take_socket(&ours).expect("no socket is passed")));
    // With the helper's end, stderr ends as well: the child doesn't hold it.
    spawned.ends_with(1, "");
    let mut message = Vec::new();
    socket.read_to_end(&mut message).unwrap();
    let message = String::from_utf8_lossy(&message);
    assert!(message.starts_with("SSH-2.0-") && message.contains("cannot reach the SSH proxy"), "{message:?}");
    // The child takes the bytes that ssh still writes before reading the message.
    socket.write_all(&[b'x'; 100_000]).unwrap();
    // A process that has just been started has no arguments for a moment.
    let start = Instant::now();
    let child = loop {
        let children = with_argument(&program);
        if let [child] = children[..] {
            break child;
        }
        assert!(start.elapsed() < DEADLINE, "{} processes hold the socket", children.len());
    };
    // Its three, once it has begun to wait.
    falls_to(3, DEADLINE, || descriptors(child));
    let held: Vec<_> = opened(child).filter(|name| name != "/dev/null").collect();
    assert!(held.len() == 1 && held[0].starts_with("socket:"), "{held:?}");
    assert_eq!(fs::read_link(format!("/proc/{child}/cwd")).unwrap(), Path::new("/"));
    // As the kernel does for an ssh that is killed.
    drop((socket, ours));
    assert_eq!(falls_to(0, DEADLINE, || with_argument(&program).len()), 0, "the child outlives ssh");
}
