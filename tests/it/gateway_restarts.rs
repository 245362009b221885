//! Restarts of the gateway under load: no connection attempt is lost, and what is open lives on.

use std::fs;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::gateway::{As, Gateway, inventory, running, successor};
use crate::support::heavy;
use crate::support::home::Home;
use crate::support::host_api::plain_host_api;
use crate::support::peers::{Peer, echo_server};
use crate::support::processes::falls_to;
use crate::support::run::{DEADLINE, Process, Run};
use crate::support::scene::ID;
use crate::support::sshd::free_port;
use crate::support::tools::{GATEWAY, tool};
use crate::support::tunnels::{LAUNCH, UNWATCHED, echo_tunnel, echoes};
use crate::support::watched::{ADMIN_TOKEN, DELETE, curl, metric};

/// How many clients open one tunnel after another.
const CLIENTS: usize = 4;
const RESTARTS: usize = 100;
const HAND_OVERS: usize = 25;

/// Clients that open one tunnel after another until the test stops them.
struct Load {
    stop: Arc<AtomicBool>,
    opened: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<io::Error>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let (stop, opened, failed) = <(Arc<AtomicBool>, Arc<AtomicUsize>, Arc<Mutex<Vec<_>>>)>::default();
        let clients = (0..CLIENTS).map(|_| {
            let (stop, opened, failed) = (Arc::clone(&stop), Arc::clone(&opened), Arc::clone(&failed));
            thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    match echo_tunnel(address, ID) {
                        Ok(_) => drop(opened.fetch_add(1, Ordering::SeqCst)),
                        Err(error) => failed.lock().unwrap().push(error),
                    }
                }
            })
        });
        Self { clients: clients.collect(), stop, opened, failed }
    }

    /// Waits until another tunnel has been opened, so that each restart meets some.
    fn goes_on(&self) {
        let before = self.opened.load(Ordering::SeqCst);
        while self.opened.load(Ordering::SeqCst) == before && self.failed.lock().unwrap().is_empty() {
            thread::yield_now();
        }
    }

    #[track_caller]
    fn finish(self, at_least: usize) {
        self.stop.store(true, Ordering::SeqCst);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
        let (opened, failed) = (self.opened.load(Ordering::SeqCst), self.failed.lock().unwrap());
        assert!(failed.is_empty(), "{} of {opened} attempts failed: {failed:?}", failed.len());
        assert!(opened >= at_least, "only {opened} tunnels were opened");
    }
}

/// Gateways that get their listening socket as a service manager would pass it.
struct ServiceManager {
    home: Home,
    host: Peer,
    listener: TcpListener,
}

impl ServiceManager {
    fn new(vps: &Peer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { home: Home::new(), host: plain_host_api(vec![running(ID, vps.address.port())]), listener }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    fn start(&self) -> Process {
        let run = Run::new(tool("sh"), &self.home).args(["-c", LAUNCH, "sh", GATEWAY, "--drain-timeout", "3600"]);
        let run = run.args(UNWATCHED);
        let run = run.args(["--allow-runner", "127.0.0.1", "--host-api", &format!("http://{}", self.host.address)]);
        run.stdin_from(self.listener.try_clone().unwrap()).deadline(600).start()
    }
}

fn serves(gateway: &Process, address: SocketAddr) {
    assert_eq!(gateway.stderr_line("listening on "), address.to_string());
}

#[test]
fn a_hundred_restarts_under_load_lose_no_connection() {
    let _heavy = heavy();
    let vps = echo_server();
    let manager = ServiceManager::new(&vps);
    let address = manager.address();
    let mut gateway = manager.start();
    serves(&gateway, address);
    let load = Load::start(address);
    let (mut old, mut open) = (Vec::new(), Vec::new());
    for restart in 0..RESTARTS {
        load.goes_on();
        if restart % 10 == 0 {
            open.push(echo_tunnel(address, ID).unwrap());
        }
        // The VPS ends a tunnel on which nothing is said for some time, as on a busy machine.
        open.iter_mut().for_each(|tunnel| echoes(tunnel).expect("a tunnel of an old process"));
        // Either both serve for a moment, or none serves and the socket's queue fills.
        let side_by_side = restart % 2 == 0;
        if !side_by_side {
            gateway.signal(Signal::TERM);
            gateway.stderr_line("stopping; ");
        }
        let new = manager.start();
        // A gateway that does not serve yet would just die of the signal of the next round.
        serves(&new, address);
        if side_by_side {
            gateway.signal(Signal::TERM);
        }
        old.push(std::mem::replace(&mut gateway, new));
    }
    load.goes_on();
    load.finish(RESTARTS);
    // Tunnels that were opened before a restart keep their old processes alive.
    assert_eq!(open.len(), RESTARTS / 10);
    for mut tunnel in open {
        echoes(&mut tunnel).expect("a tunnel of an old process");
    }
    gateway.signal(Signal::TERM);
    for process in old.into_iter().chain([gateway]) {
        process.finish().succeeds().prints_nothing().says(&["stopping; ", "stopped, with 0 tunnels still open\n"]);
    }
    manager.host.finish();
    vps.finish();
}

#[test]
fn it_hands_over_to_a_new_process_without_a_service_manager() {
    As::each().for_each(hands_over);
}

fn hands_over(who: As) {
    let _heavy = heavy();
    let vps = echo_server();
    let gateway = Gateway::with_inventory_as(who, &inventory(&[running(ID, vps.address.port())]), &[]);
    let (first, api) = (gateway.process.id(), gateway.api());
    let load = Load::start(gateway.address);
    let (mut serving, mut open) = (first, Vec::new());
    for number in 1..=HAND_OVERS {
        load.goes_on();
        if number % 5 == 0 {
            open.push(echo_tunnel(gateway.address, ID).unwrap());
        }
        open.iter_mut().for_each(|tunnel| echoes(tunnel).expect("a tunnel of an old process"));
        kill_process(serving, Signal::USR2).unwrap();
        serving = successor(&gateway.process, number);
        assert_ne!(serving, first);
        // The Host API and the admin's address come along, on the sockets that they were on.
        TcpStream::connect(api).unwrap();
        TcpStream::connect(gateway.admin).unwrap();
    }
    load.goes_on();
    load.finish(HAND_OVERS);
    assert_eq!(open.len(), HAND_OVERS / 5);
    for mut tunnel in open {
        echoes(&mut tunnel).expect("a tunnel of an old process");
    }
    kill_process(serving, Signal::TERM).unwrap();
    // All processes share one stderr. It ends when all of them have ended.
    let outcome = gateway.process.finish();
    outcome.succeeds();
    let stopped = outcome.stderr.matches("stopped, with 0 tunnels still open\n").count();
    outcome.check(stopped == HAND_OVERS + 1, "an orderly end of every process");
    assert!(TcpStream::connect(gateway.address).is_err());
    vps.finish();
}

/// Two processes write one audit log, and the older one reopens it as well when it is rotated.
#[test]
fn the_audit_log_continues_after_a_hand_over() {
    let (vps, home) = (echo_server(), Home::new());
    let path = home.join("audit.log");
    let gateway = Gateway::before_and(vps.address.port(), &["--audit-log", path.to_str().unwrap()]);
    let lines = |path: &Path| -> Vec<Value> {
        let text = fs::read_to_string(path).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let wait_for = |path: &Path, count: usize| {
        let missing = falls_to(0, DEADLINE, || count.saturating_sub(lines(path).len()));
        assert_eq!(missing, 0, "of {count} lines in {}", path.display());
        lines(path)
    };
    let before = echo_tunnel(gateway.address, ID).unwrap();
    let old = gateway.process.id();
    gateway.process.signal(Signal::USR2);
    let new = successor(&gateway.process, 1);
    assert!(
        gateway
            .process
            .stderr_line("handed over ")
            .ends_with(&format!("; process {} stays for 1 tunnel", old.as_raw_pid()))
    );
    let after = echo_tunnel(gateway.address, ID).unwrap();
    let opened = wait_for(&path, 2);
    let named = |line: &Value| (line["process"].clone(), line["session"].as_u64().unwrap());
    let pid = |process: Pid| json!(process.as_raw_pid());
    assert_eq!(opened.iter().map(|line| named(line).0).collect::<Vec<_>>(), [pid(old), pid(new)]);
    // The new process starts far above the numbers that the old one may reach.
    let (first, second) = (named(&opened[0]).1, named(&opened[1]).1);
    assert!(first == 1 && second > 1_000_000, "{opened:?}");
    // As logrotate does it.
    fs::rename(&path, home.join("audit.log.1")).unwrap();
    kill_process(old, Signal::HUP).unwrap();
    assert_eq!(falls_to(0, DEADLINE, || usize::from(!path.exists())), 0, "no new file");
    drop(before);
    let closed = wait_for(&path, 1).remove(0);
    assert_eq!((closed["event"].as_str(), named(&closed)), (Some("closed"), (pid(old), 1)), "{closed}");
    drop(after);
    kill_process(new, Signal::TERM).unwrap();
    gateway.process.finish().succeeds();
    vps.finish();
}

/// The process that serves lists the tunnels of all previous processes, and can end them.
#[test]
fn tunnels_of_older_processes_are_seen_and_ended_through_the_new_one() {
    for who in As::each() {
        let vps = echo_server();
        let home = who.home();
        let token = home.secret("admin-token", ADMIN_TOKEN);
        let options = ["--admin-token-file", token.to_str().unwrap()];
        let gateway = Gateway::with_inventory_as(who, &inventory(&[running(ID, vps.address.port())]), &options);
        let sessions = || -> Vec<(u64, String)> {
            let all: Value = serde_json::from_str(&curl(&home, gateway.admin, "/sessions", &[]).text()).unwrap();
            let named = |one: &Value| (one["id"].as_u64().unwrap(), one["client"].as_str().unwrap().to_owned());
            all.as_array().unwrap().iter().map(named).collect()
        };
        let older = || metric(&curl(&home, gateway.admin, "/metrics", &[]).text(), "older_tunnels");
        let (mut serving, mut processes, mut tunnels) = (gateway.process.id(), Vec::new(), Vec::new());
        for number in 0..3 {
            if number > 0 {
                kill_process(serving, Signal::USR2).unwrap();
                serving = successor(&gateway.process, number);
            }
            processes.push(serving);
            let tunnel = echo_tunnel(gateway.address, ID).unwrap();
            let client = tunnel.local_addr().unwrap().to_string();
            tunnels.push((tunnel, client));
            // The old process has closed its admin address by the time that the new one says that it serves.
            let all = sessions();
            assert!(
                all.is_sorted() && all.iter().map(|(_, client)| client).eq(tunnels.iter().map(|(_, client)| client))
            );
            assert_eq!(older(), f64::from(u8::try_from(number).unwrap()));
        }
        // A process that doesn't answer hides no other process, and is listed again once it answers.
        kill_process(processes[0], Signal::STOP).unwrap();
        assert_eq!(sessions().len(), 2);
        kill_process(processes[0], Signal::CONT).unwrap();
        let all = sessions();
        assert_eq!(all.len(), 3);
        // The second process ends with its tunnel, and the first one can still be reached.
        drop(tunnels.remove(1));
        assert_eq!(falls_to(2, DEADLINE, || sessions().len()), 2);
        let status = |id: u64| {
            let delete = [&["-o", "/dev/null", "-w", "%{http_code}"], &DELETE[..]].concat();
            curl(&home, gateway.admin, &format!("/sessions/{id}"), &delete).text()
        };
        assert_eq!(
            (status(all[0].0), status(all[1].0), status(all[0].0 + 1)),
            ("204".into(), "404".into(), "404".into())
        );
        let (mut ended, _) = tunnels.remove(0);
        // An end or a reset must come.
        if let Err(error) = ended.read_to_end(&mut Vec::new()) {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
        assert_eq!(falls_to(1, DEADLINE, || sessions().len()), 1);
        assert_eq!(older(), 0.0);
        let (mut last, _) = tunnels.remove(0);
        echoes(&mut last).unwrap();
        drop(last);
        kill_process(serving, Signal::TERM).unwrap();
        gateway.process.finish().succeeds();
        vps.finish();
    }
}

/// A service manager may not notice the crash: it is not the parent of the new process.
#[test]
fn the_old_process_reports_a_new_one_that_crashes() {
    let vps = echo_server();
    let gateway = Gateway::before(vps.address.port());
    let mut before = echo_tunnel(gateway.address, ID).unwrap();
    gateway.process.signal(Signal::USR2);
    let new = successor(&gateway.process, 1);
    kill_process(new, Signal::KILL).unwrap();
    let what = format!(
        "nobody serves new clients any more cause=\"process {}, which had taken over, has ended (signal: 9 (SIGKILL))\"",
        new.as_raw_pid()
    );
    gateway.process.stderr_line(&what);
    assert!(TcpStream::connect(gateway.address).is_err(), "nobody serves");
    echoes(&mut before).unwrap();
    drop(before);
    gateway.process.finish().succeeds().logs_failure("nobody serves new clients any more ", "start the gateway again");
    vps.finish();
}

#[test]
fn a_new_process_that_does_not_come_up_changes_nothing() {
    let vps = echo_server();
    let home = Home::new();
    let program = home.copy(GATEWAY.as_ref(), "gateway");
    let inventory = home.write("inventory.json", inventory(&[running(ID, vps.address.port())]).to_string());
    let run = Run::new(&program, &home).args(["--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"]);
    let run = run.args(UNWATCHED).arg("--inventory");
    let gateway = run.arg(inventory).start();
    let address = gateway.stderr_line("listening on ").parse().unwrap();
    // An upgrade that went wrong.
    fs::rename(home.script("broken", "#!/bin/sh\nexit 3\n"), &program).unwrap();
    let mut before = echo_tunnel(address, ID).unwrap();
    gateway.signal(Signal::USR2);
    gateway.stderr_line(
        "cannot hand over to a new process; this one continues to serve cause=\"the new process ended before it served",
    );
    echoes(&mut before).unwrap();
    echoes(&mut echo_tunnel(address, ID).unwrap()).unwrap();
    drop(before);
    gateway.signal(Signal::TERM);
    gateway.finish().succeeds();
    vps.finish();
}

/// `systemd-socket-activate` starts it on the first connection, with both of its sockets.
#[test]
fn systemd_passes_sockets_by_name() {
    let vps = echo_server();
    let home = Home::new();
    let inventory = home.write("inventory.json", inventory(&[running(ID, vps.address.port())]).to_string());
    for _ in 0..5 {
        let (tunnels, api) = (free_port(), free_port());
        let local = |port: u16| format!("127.0.0.1:{port}");
        let run = Run::new(tool("systemd-socket-activate"), &home).args(["-l", &local(api), "-l", &local(tunnels)]);
        let run = run.args(["--fdname=api:tunnels", GATEWAY]).args(UNWATCHED).arg("--inventory").arg(&inventory);
        let process = run.start();
        let listening = process.try_wait_for(DEADLINE, |seen| {
            String::from_utf8_lossy(&seen.stderr).contains(&format!("Listening on {}", local(tunnels))).then_some(())
        });
        if listening.is_err() {
            process.finish().says(&["Address already in use"]);
            continue;
        }
        let tunnel = echo_tunnel(local(tunnels).parse().unwrap(), ID).unwrap();
        assert_eq!(process.stderr_line("serving the Host API on "), local(api));
        assert_eq!(process.stderr_line("listening on "), local(tunnels));
        drop(tunnel);
        process.signal(Signal::TERM);
        process.finish().succeeds();
        return;
    }
    panic!("somebody else takes every free port");
}

#[test]
fn sockets_that_are_of_no_use_are_refused() {
    let home = Home::new();
    let start = |socket: std::os::fd::OwnedFd, name: &str| {
        let run = Run::new(tool("sh"), &home).args(["-c", LAUNCH, "sh", GATEWAY]).env("LISTEN_FDNAMES", name);
        // Something may listen on the default port.
        let listen: &[&str] = if name.is_empty() { &[] } else { &["--listen", "127.0.0.1:0"] };
        run.args(listen).stdin_from(socket).output()
    };
    let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (datagrams, listening) = (std::net::UdpSocket::bind("127.0.0.1:0").unwrap(), listener());
    let connected = TcpStream::connect(listening.local_addr().unwrap()).unwrap();
    for (socket, name, what) in [
        (datagrams.into(), "", "cannot use the sockets that the service manager passes"),
        (connected.into(), "", "cannot use the sockets that the service manager passes"),
        (listener().into(), "api", "cannot use the sockets named `api`"),
    ] {
        start(socket, name).exits(2).logs_failure(what, "");
    }
    let heir = Run::new(GATEWAY, &home).env("KOHAKURIVER_GATEWAY_HAND_OVER", "1 7").output();
    heir.exits(1).says(&[" ERROR cannot take the place of an older gateway cause="]);
}
