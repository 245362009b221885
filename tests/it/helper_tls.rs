//! `--fdpass` over TLS: ssh gets one end of a socket pair, and a child of the helper carries the tunnel.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::json;

use crate::support::certificates::{Authority, self_signed};
use crate::support::far_end::{BANNER, YES, mute, sees_the_end, tunnels_behind};
use crate::support::front::{Front, OwnFront, Place, TlsFront, server_config};
use crate::support::gateway::{Gateway, NODE, inventory, running};
use crate::support::home::{Home, mode, set_mode};
use crate::support::peers::{Peer, RefusingPort, hears, read_head};
use crate::support::processes::{falls_to, opened, with_argument};
use crate::support::run::{DEADLINE, Run};
use crate::support::scene::{ID, Mode, destination, helper_command, tls_gateway};
use crate::support::spawned::{Ends, PATIENT, Spawned, disconnect, handed_over, helper, logged, take_socket};
use crate::support::sshd::Sshd;
use crate::support::tools::{HELPER, sh_quote};

/// The id of a VPS that is paused.
const PAUSED: &str = "7323718749301768377";

/// A gateway with TLS before a VPS with an sshd, and a copy of the helper, by whose path its processes are found.
struct Scene {
    sshd: Sshd,
    _gateway: Gateway,
    _authority: Authority,
    place: Place,
    home: Home,
    program: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let sshd = Sshd::start();
        let paused = json!({ "task_id": PAUSED, "status": "paused", "assigned_node": NODE, "ssh_port": 1 });
        let (gateway, place, authority) = tls_gateway(&inventory(&[running(ID, sshd.port), paused]));
        let home = Home::new();
        let program = home.copy(Path::new(HELPER), "kohakuriver-proxy");
        Self { sshd, _gateway: gateway, _authority: authority, place, home, program }
    }

    /// ssh through the helper with `--fdpass`, to this place with more options.
    fn ssh_to(&self, place: &Place, more: &str) -> Run {
        let command = helper_command(&self.program, Mode::Fdpass, place.clone());
        let command = command.replace(" %h %p", &format!(" {more} %h %p"));
        self.sshd.ssh(&self.home, &command, Mode::Fdpass)
    }

    fn ssh(&self) -> Run {
        self.ssh_to(&self.place, "")
    }

    /// No process of the helper must stay.
    #[track_caller]
    fn is_left_alone(&self) {
        assert_eq!(falls_to(0, DEADLINE, || with_argument(&self.program).len()), 0, "a process stays");
    }
}

#[test]
fn a_master_that_stays_holds_no_stderr_of_its_caller() {
    let scene = Scene::new();
    // ssh takes `~` from the user database.
    let path = |name: &str| format!("ControlPath={}", scene.home.join(name).display());
    let (own, forks) = (path("m"), path("f"));
    let persist = ["-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", &own];
    // The end of both outputs is waited for.
    let first = scene.ssh().args(persist).arg(destination()).arg("echo in; echo err >&2; exit 4").output();
    first.exits(4).prints("in\n").within(30).check_stderr("err\n");
    let children = with_argument(&scene.program);
    let [carrier] = children[..] else { panic!("{} processes carry the tunnel", children.len()) };
    let held: BTreeSet<_> = opened(carrier).filter(|name| name != "/dev/null").collect();
    // ssh's and the gateway's; two for signals, two to wake the dialling thread up, and one for changes of the network.
    assert!(held.len() == 7 && held.iter().all(|name| name.starts_with("socket:")), "{held:?}");
    let second = scene.ssh_to(&RefusingPort::new().place(), "").args(persist).arg(destination()).arg("echo again");
    second.output().succeeds().prints("again\n");
    scene.ssh().args(persist).args(["-O", "exit"]).arg(destination()).output().succeeds();
    // Without ControlPersist, the helper has the caller's stderr.
    let master = ["-o", "ControlMaster=yes", "-o", &forks];
    let forked = scene.ssh().args(master).args(["-f", "-N"]).arg(destination()).deadline(30).output();
    forked.succeeds().prints_nothing().says_nothing();
    scene.ssh().args(["-o", &forks, "-O", "exit"]).arg(destination()).output().succeeds();
    scene.is_left_alone();
}

#[test]
fn each_failure_reaches_ssh_as_a_disconnect_also_under_control_persist() {
    let scene = Scene::new();
    let refusing = RefusingPort::new();
    let mut down = refusing.place();
    down.ca.clone_from(&scene.place.ca);
    let stranger = Authority::new();
    let untrusted = Place { ca: Some(stranger.file.clone()), ..scene.place.clone() };
    let path = format!("ControlPath={}/c-%C", scene.home.path().display());
    let persist = ["-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", &path];
    for (place, id, what, hint) in [
        (&scene.place, PAUSED, format!("VPS {PAUSED} is paused"), "ask the gateway's admin"),
        (&scene.place, "7323718749301760001", "there is no VPS 7323718749301760001".to_owned(), "kohakuriver vps list"),
        (&untrusted, ID, "no CA that is trusted here has signed its certificate".to_owned(), "--ca-file FILE"),
        (&down, ID, "cannot reach the SSH proxy".to_owned(), "config show"),
    ] {
        for more in [&[][..], &persist] {
            let outcome = scene.ssh_to(place, "").args(more).arg(format!("{id}.kohakuriver")).arg("true").output();
            outcome.exits(255).prints_nothing().within(30);
            outcome.says(&["Received disconnect from ", ":11: ", &what, "\n  hint: ", hint]);
            let noise = ["kohakuriver-proxy: ", "mm_receive_fd", "proxy dialer", "Connection closed", "banner"];
            let is_clean = !noise.iter().any(|noise| outcome.stderr.contains(noise));
            outcome.check(is_clean, &format!("nothing besides ({what}, {more:?})"));
        }
    }
    scene.is_left_alone();
}

#[test]
fn no_process_stays_after_ctrl_c_or_a_kill_of_ssh() {
    let scene = Scene::new();
    for signal in [Signal::INT, Signal::KILL] {
        let ssh = scene.ssh().arg(destination()).arg("echo in; exec sleep 600").stdin_open().start();
        ssh.wait_for("its output", DEADLINE, |seen| seen.stdout.starts_with(b"in\n").then_some(()));
        assert_eq!(with_argument(&scene.program).len(), 1, "one process carries the tunnel");
        // As a terminal does: to all of the process group of ssh.
        ssh.signal_group(signal);
        let outcome = ssh.finish();
        outcome.check(!outcome.status.success(), "an end by the signal");
        scene.is_left_alone();
    }
}

/// Before the first byte, ssh waits for the helper, and the helper for its child.
#[test]
fn the_child_ends_with_a_helper_that_is_killed_before_it_has_passed_the_socket() {
    let (proxy, servers) = tunnels_behind(Front::Tls);
    let home = Home::new();
    for signal in [Signal::TERM, Signal::KILL, Signal::HUP] {
        let args = [&PATIENT[..], &["-v", "--fdpass", ID]].concat();
        let spawned = Spawned::start(Ends::Socketpair, &home, &proxy, &args);
        let mut server = servers.recv_timeout(DEADLINE).unwrap();
        spawned.stderr_until(" is open");
        spawned.signal(signal);
        sees_the_end(&mut server);
        // The child held stderr as well.
        let (status, _) = spawned.wait();
        assert!(!status.success());
    }
}

#[test]
fn steps_and_the_log_file_are_those_of_one_program() {
    let (proxy, servers) = tunnels_behind(Front::Tls);
    let home = Home::new();
    let serving = std::thread::spawn(move || {
        let mut server = servers.recv_timeout(DEADLINE).unwrap();
        server.write_all(BANNER).unwrap();
        (server, servers)
    });
    let (socket, spawned) = handed_over(&home, &proxy, &["-v", ID]);
    let address = proxy.address;
    spawned.ends_with(
        0,
        &format!(
            "kohakuriver-proxy: only a bare socket can be ssh's, so another process carries the bytes of this connection\n\
             kohakuriver-proxy: connected to {address} ({address})\n\
             kohakuriver-proxy: the tunnel to VPS {ID} is open\n"
        ),
    );
    let mut banner = vec![0; BANNER.len()];
    let (mut socket, (server, servers)) = (socket.unwrap(), serving.join().unwrap());
    socket.read_exact(&mut banner).unwrap();
    assert_eq!(banner, BANNER);
    drop((socket, server));

    // A failure stands in the log once.
    let log = home.join("log");
    let args = ["--log-file", log.to_str().unwrap(), "--connect-timeout", "0.3", ID];
    let (socket, spawned) = handed_over(&home, &proxy, &args);
    let _server = servers.recv_timeout(DEADLINE).unwrap();
    let mut bytes = Vec::new();
    socket.unwrap().read_to_end(&mut bytes).unwrap();
    let failure = mute("accepted the connection, but its sshd says nothing", &proxy, "0.3");
    assert_eq!(disconnect(&bytes), failure);
    spawned.ends_with(0, "");
    let lines: Vec<_> = failure.lines().map(|line| line.trim_start_matches("kohakuriver-proxy: ").to_owned()).collect();
    assert_eq!(logged(&log).len(), lines.len(), "{:?}", logged(&log));
    assert!(logged(&log)[0].ends_with(&lines[0]), "{:?}", logged(&log));
}

#[test]
fn without_a_disconnect_the_status_and_stderr_are_those_of_the_child() {
    let home = Home::new();
    let (proxy, _servers) = tunnels_behind(Front::Tls);
    let args = ["--no-disconnect", "--fdpass", "--connect-timeout", "0.3", ID];
    let spawned = Spawned::start(Ends::Socketpair, &home, &proxy, &args);
    spawned.ends_with(1, &mute("accepted the connection, but its sshd says nothing", &proxy, "0.3"));
    // A file of CAs that isn't there.
    let nowhere = Place { ca: Some("/nonexistent".into()), ..Place::from(&proxy) };
    let (status, stderr) = Spawned::start(Ends::Socketpair, &home, nowhere, &args).wait();
    assert_eq!(status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("cannot use the file of CAs /nonexistent") && stderr.contains("  hint: "), "{stderr}");
}

#[test]
fn a_vps_that_starts_is_waited_for() {
    let refused =
        json!({ "title": format!("VPS {ID} is starting (status: pending)"), "status": 503, "vps_status": "assigning" });
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let proxy = Peer::serve(move |mut stream| {
        read_head(&mut stream)?;
        if tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 0 {
            return Ok(stream.write_all(&[YES, BANNER].concat())?);
        }
        let body = refused.to_string();
        let head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n";
        stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())?;
        Ok(())
    })
    .behind(Front::Tls);
    let (socket, spawned) = handed_over(&Home::new(), &proxy, &["--wait=60", ID]);
    let mut bytes = Vec::new();
    socket.expect("a socket").read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, BANNER);
    let (status, stderr) = spawned.wait();
    assert!(status.success() && stderr.contains("is starting (status: pending); waiting up to 60 s"), "{stderr}");
    assert_eq!(proxy.accepted(), 2);
}

#[test]
fn an_odd_home_and_a_strict_umask_change_nothing() {
    let scene = Scene::new();
    let odd = Home::named("a b'$%h\"ü");
    let ca = odd.write("ca file.pem", std::fs::read(scene.place.ca.as_ref().unwrap()).unwrap());
    set_mode(&ca, 0o400);
    let line = format!(
        "umask 777; HOME={} exec {} --fdpass --proxy https://{} --ca-file '~/ca file.pem' {ID}",
        sh_quote(odd.path().to_str().unwrap()),
        sh_quote(HELPER),
        scene.place.address
    );
    let mut command = std::process::Command::new("/bin/sh");
    command.env_clear().args(["-c", &line]);
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(DEADLINE)).unwrap();
    command.stdin(OwnedFd::from(theirs.try_clone().unwrap())).stdout(OwnedFd::from(theirs));
    let spawned = Spawned::start_with_stdio(command);
    let mut socket = take_socket(&ours).expect("a socket");
    hears(&mut socket, b"SSH-2.0-");
    spawned.ends_with(0, "");
    assert_eq!(mode(&ca), 0o400);
}

/// A cut without close_notify may have taken bytes with it.
#[test]
fn a_cut_is_a_broken_connection_and_an_orderly_end_is_none() {
    for is_cut in [false, true] {
        let (proxy, servers) = tunnels_behind(if is_cut { Front::Cut } else { Front::Tls });
        let home = Home::new();
        for ends in Ends::ALL {
            let mut spawned = Spawned::start(ends, &home, &proxy, &[&PATIENT[..], &[ID]].concat());
            let mut server = servers.recv_timeout(DEADLINE).unwrap();
            server.write_all(BANNER).unwrap();
            drop(server);
            hears(spawned.stdout.as_mut().unwrap(), BANNER);
            if is_cut {
                let cause = "it was cut off: TLS was not ended (no close_notify)";
                let what = format!("kohakuriver-proxy: the connection to VPS {ID} broke\n");
                let hint = "  hint: connect again\n";
                spawned.ends_with(1, &format!("{what}  caused by: {}: {cause}\n{hint}", proxy.address));
            } else {
                spawned.ends_with(0, "");
            }
        }
    }
}

/// The token and the request are sent to a server that is trusted, and to no other.
#[test]
fn an_untrusted_server_hears_nothing() {
    let inner = Peer::serve(|_| Ok(()));
    let front = TlsFront::new(inner.address, server_config(&self_signed(&["127.0.0.1"])), Front::Tls);
    let (home, other) = (Home::new(), Authority::new());
    let with_token = |address, authority: &Authority| {
        let mut command = helper(&home, Place { address, ca: Some(authority.file.clone()) }, &[ID]);
        command.env("KOHAKURIVER_TOKEN", "0123456789abcdef").env("KOHAKURIVER_HOST", "127.0.0.1");
        Spawned::start_command(Ends::Pipes, command).wait()
    };
    let (status, stderr) = with_token(front.address, &other);
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("its certificate is self-signed, and its key is sha256//"), "{stderr}");
    assert_eq!((front.heard(), inner.accepted()), (0, 0));
    // A trusted one hears it.
    let own = OwnFront::new(inner.address, Front::Tls).unwrap();
    assert_eq!(with_token(own.tls.address, &own.authority).0.code(), Some(1));
    assert!(own.tls.heard() > 0);
}
