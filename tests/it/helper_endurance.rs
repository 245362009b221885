//! The helper in the long run, on real parts: whoever is killed, and whenever, nothing is left behind.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::pipe::fcntl_setpipe_size;
use rustix::process::Signal;

use crate::support::far_end::open;
use crate::support::gateway::{Gateway, NODE, inventory, running};
use crate::support::heavy;
use crate::support::home::Home;
use crate::support::older_host::{OlderHost, task};
use crate::support::pattern::pattern;
use crate::support::peers::{Peer, read_head};
use crate::support::processes::{descriptors, kill, settles, sockets, with_argument};
use crate::support::proxies::{Proxy, tinyproxy};
use crate::support::random::Random;
use crate::support::run::{DEADLINE, Process, Run};
use crate::support::scene::{ID, Mode, destination};
use crate::support::spawned::{Ends, MOMENT, Spawned};
use crate::support::sshd::Sshd;
use crate::support::tools::{HELPER, sh_quote, tool};

/// How long the helper may outlive ssh.
const SOON: Duration = Duration::from_secs(1);

/// How many connections in a row must leave nothing behind.
const MANY: usize = 1_000;

/// What stands between the helper and a real sshd.
enum Front {
    Gateway(Gateway),
    Tinyproxy(Proxy),
}

/// A real sshd, a proxy before it, and a mark that every helper on the way there has among its arguments.
struct Way {
    sshd: Sshd,
    front: Front,
    home: Home,
    mark: PathBuf,
}

impl Way {
    fn through(front: impl FnOnce(&Sshd) -> Front) -> Self {
        let (sshd, home) = (Sshd::start(), Home::new());
        let mark = home.join("helper.log");
        Self { front: front(&sshd), sshd, home, mark }
    }

    fn through_gateway() -> Self {
        Self::through(|sshd| Front::Gateway(Gateway::with_inventory(&inventory(&[running(ID, sshd.port)]))))
    }

    fn through_tinyproxy() -> Self {
        Self::through(|sshd| Front::Tinyproxy(tinyproxy(sshd.port)))
    }

    /// The system's ssh on this way.
    fn ssh(&self, mode: Mode, target: &str) -> Run {
        let (proxy, target) = match &self.front {
            Front::Gateway(gateway) => (gateway.address, target.to_owned()),
            Front::Tinyproxy(proxy) => (proxy.address, format!("127.0.0.1 {}", self.sshd.port)),
        };
        let command = format!("{} {target}", proxy_command(mode, proxy, &self.mark));
        let config = self.sshd.write_ssh_config(&self.home, &format!("config-{mode:?}"), &command, mode);
        Run::new(tool("ssh"), &self.home).arg("-F").arg(config)
    }
}

fn proxy_command(mode: Mode, proxy: SocketAddr, mark: &Path) -> String {
    let fdpass = if mode == Mode::Fdpass { "--fdpass " } else { "" };
    format!("{} {fdpass}--log-file {} --proxy {proxy}", sh_quote(HELPER), sh_quote(mark.to_str().unwrap()))
}

/// Kills `ssh`, whose helper must then be gone.
#[track_caller]
fn kill_and_look(ssh: &Process, mark: &Path, what: &str) {
    kill(ssh.id());
    let left = settles(0, SOON, || with_argument(mark).len());
    assert_eq!(left, 0, "{what}: the helper outlives ssh");
}

fn ssh_is_killed(way: &Way) {
    let _heavy = heavy();
    for mode in Mode::BOTH {
        for (what, remote, flowing) in [
            ("idle", "echo up; cat", 3),
            ("busy upwards", "head -c 20000000 >/dev/null; echo up; cat >/dev/null", 3),
            ("busy downwards", "cat /dev/zero", 20_000_000),
        ] {
            let mut ssh = way.ssh(mode, "%h %p").arg(destination()).arg(remote);
            ssh = match what {
                "busy upwards" => ssh.stdin_file(Path::new("/dev/zero")),
                _ => ssh.stdin_open(),
            };
            let ssh = ssh.start();
            ssh.wait_for(what, DEADLINE, |seen| (seen.stdout.len() >= flowing).then_some(()));
            match mode {
                // ssh has the socket, and the helper no more to do.
                Mode::Fdpass => assert_eq!(settles(0, SOON, || with_argument(&way.mark).len()), 0, "{what}"),
                Mode::Stdio => assert_eq!(with_argument(&way.mark).len(), 1, "{what}: no helper is seen"),
            }
            kill_and_look(&ssh, &way.mark, what);
        }
    }
}

#[test]
fn ssh_is_killed_behind_our_gateway() {
    ssh_is_killed(&Way::through_gateway());
}

#[test]
fn ssh_is_killed_behind_a_proxy_of_others() {
    ssh_is_killed(&Way::through_tinyproxy());
}

#[test]
fn ssh_is_killed_during_the_handshake() {
    let (sender, connected) = std::sync::mpsc::channel();
    let silent = Peer::serve(move |mut stream| {
        read_head(&mut stream)?;
        sender.send(())?;
        std::io::copy(&mut stream, &mut std::io::sink())?;
        Ok(())
    });
    let home = Home::new();
    let mark = home.join("helper.log");
    for mode in Mode::BOTH {
        // In a file, since in ssh's arguments the mark would make ssh look like a helper.
        let fdpass = if mode == Mode::Fdpass { "yes" } else { "no" };
        let command = proxy_command(mode, silent.address, &mark);
        let config = home.write("config", format!("ProxyCommand {command} %h %p\nProxyUseFdpass {fdpass}\n"));
        let ssh = Run::new(tool("ssh"), &home).arg("-F").arg(config).arg(destination()).stdin_open().start();
        connected.recv_timeout(DEADLINE).unwrap();
        assert_eq!(with_argument(&mark).len(), 1, "{mode:?}: no helper is seen");
        kill_and_look(&ssh, &mark, "in the handshake");
    }
}

/// From none to what a handshake on this machine takes, and more.
fn moment(random: &mut Random) -> Duration {
    Duration::from_micros(random.below(30_000))
}

/// Does `one` [`MANY`] times, so many at a time.
fn many(at_once: usize, one: impl Fn(usize) + Sync) {
    std::thread::scope(|scope| {
        for worker in 0..at_once {
            let one = &one;
            scope.spawn(move || (worker..MANY).step_by(at_once).for_each(one));
        }
    });
}

/// A whole connection: sshd's banner comes, and when we end, everybody does.
fn complete(mut spawned: Spawned) {
    banner_comes(&mut spawned);
    spawned.stdin = None;
    spawned.read_all();
    spawned.ends_with(0, "");
}

fn banner_comes(spawned: &mut Spawned) {
    let mut start = [0; 8];
    spawned.stdout.as_mut().unwrap().read_exact(&mut start).unwrap();
    assert_eq!(&start, b"SSH-2.0-");
}

/// A thousand connections to `target` through `proxy`, a program with this process id.
fn thousand(proxy: SocketAddr, program: &Process, home: &Home, mark: &Path, target: &[&str]) {
    let start = |ends, more: &[&str]| {
        let args = [&["--log-file", mark.to_str().unwrap()], more, target].concat();
        Spawned::start(ends, home, proxy, &args)
    };
    // Once it has served one, the proxy has everything that it keeps.
    let resting = sockets(program.id());
    complete(start(Ends::BOTH[0], &[]));
    settles(resting, DEADLINE, || sockets(program.id()));
    let before = descriptors(program.id());
    many(8, |number| {
        let mut random = Random::new(number as u64);
        let ends = Ends::BOTH[random.below(2) as usize];
        let fdpass: &[&str] = if random.below(3) == 0 { &["--fdpass"] } else { &[] };
        let choice = random.below(6);
        if choice < 2 {
            return complete(start(ends, &[]));
        }
        let mut spawned = start(ends, fdpass);
        std::thread::sleep(moment(&mut random));
        match choice {
            2 => spawned.signal(Signal::KILL),
            3 => spawned.signal([Signal::HUP, Signal::TERM, Signal::INT][random.below(3) as usize]),
            _ => {}
        }
        // Whoever killed it, ssh is gone as well.
        (spawned.stdin, spawned.stdout) = (None, None);
        spawned.wait();
    });
    assert_eq!(settles(0, SOON, || with_argument(mark).len()), 0, "helpers are left");
    let after = settles(before, DEADLINE, || descriptors(program.id()));
    assert!(after <= before, "the proxy had {before} descriptors, and has {after}");
}

#[test]
fn a_thousand_connections_leave_nothing_behind() {
    let _heavy = heavy();
    let way = Way::through_gateway();
    let Front::Gateway(gateway) = &way.front else { unreachable!("it was made so") };
    thousand(gateway.address, &gateway.process, &way.home, &way.mark, &[ID]);
}

/// An older Host may fall over when a client leaves before the banner, and keeps what was not said farewell to.
#[test]
fn an_older_host_survives_a_thousand_helpers_that_are_killed() {
    let _heavy = heavy();
    let sshd = Sshd::start();
    let host = OlderHost::start(&[task(ID, "running", Some(NODE), Some(sshd.port))]);
    let home = Home::new();
    let mark = home.join("helper.log");
    let start = |ends| Spawned::start(ends, &home, host.proxy, &["--log-file", mark.to_str().unwrap(), ID]);
    api_answers(host.api);
    // Its threads open its database anew, the more of them the busier the machine is: only sockets tell.
    let before = sockets(host.process.id());
    many(16, |number| {
        let mut random = Random::new(number as u64);
        let mut spawned = start(Ends::BOTH[random.below(2) as usize]);
        std::thread::sleep(moment(&mut random));
        match random.below(4) {
            0 => (spawned.stdin, spawned.stdout) = (None, None),
            signal => spawned.signal([Signal::HUP, Signal::TERM, Signal::INT][signal as usize - 1]),
        }
        spawned.wait();
    });
    assert_eq!(settles(0, SOON, || with_argument(&mark).len()), 0, "helpers are left");
    let after = settles(before + 10, DEADLINE, || sockets(host.process.id()));
    assert!(after <= before + 10, "the Host had {before} sockets, and has {after}");
    api_answers(host.api);
    let mut spawned = start(Ends::Pipes);
    banner_comes(&mut spawned);
    (spawned.stdin, spawned.stdout) = (None, None);
    spawned.ends_with(0, "");
}

#[track_caller]
fn api_answers(api: SocketAddr) {
    let mut stream = TcpStream::connect(api).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(b"GET /nodes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(NODE), "{answer}");
}

/// ssh sends the stderr of a helper to /dev/null under ControlPersist.
#[test]
fn under_control_persist_the_log_file_says_why() {
    let proxy = Peer::serve(|mut stream| {
        read_head(&mut stream)?;
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")?;
        Ok(())
    });
    for mode in Mode::BOTH {
        let home = Home::new();
        let mark = home.join("helper.log");
        let options = [
            format!("ProxyCommand={} %h %p", proxy_command(mode, proxy.address, &mark)),
            format!("ProxyUseFdpass={}", if mode == Mode::Fdpass { "yes" } else { "no" }),
            format!("ControlPath={}", home.join("m").display()),
            "ControlMaster=auto".to_owned(),
            "ControlPersist=60".to_owned(),
        ];
        let run = options
            .iter()
            .fold(Run::new(tool("ssh"), &home).args(["-F", "none"]), |run, option| run.arg("-o").arg(option));
        run.arg(destination()).arg("true").output().exits(255).prints_nothing();
        let log = std::fs::read_to_string(&mark).unwrap();
        let logged: Vec<&str> = log.lines().map(|line| line.split_once("] ").unwrap().1).collect();
        let expected = [
            &format!("kohakuriver-proxy: cannot open a tunnel to VPS {ID}"),
            &format!("  caused by: the proxy at {} answered 403 Forbidden", proxy.address),
            "  hint: is it the Host's SSH proxy? `kohakuriver config show` names it",
        ];
        assert_eq!(logged, expected, "{mode:?}");
    }
}

#[test]
fn a_byte_at_a_time_loses_nothing() {
    for ends in Ends::BOTH {
        let (mut spawned, mut server, _kept) = open(ends);
        let bytes = pattern(20_000);
        let (mut stdin, mut stdout) = (spawned.stdin.take().unwrap(), spawned.stdout.take().unwrap());
        let mut server_writes = server.try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                bytes.chunks(1).for_each(|byte| stdin.write_all(byte).unwrap());
                drop(stdin);
            });
            let writing = scope.spawn(|| bytes.chunks(1).for_each(|byte| server_writes.write_all(byte).unwrap()));
            scope.spawn(|| {
                assert!(read_single(&mut server) == bytes, "{ends:?}: up");
                // The helper ends with the server, whatever is still on its way up.
                writing.join().unwrap();
                server.shutdown(std::net::Shutdown::Both).unwrap();
            });
            assert!(read_single(&mut stdout) == bytes, "{ends:?}: down");
        });
        spawned.ends_with(0, "");
    }
}

/// Reads to the end, a byte at a time.
fn read_single(from: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while from.read(&mut byte).unwrap() == 1 {
        bytes.push(byte[0]);
    }
    bytes
}

#[test]
fn pipes_of_one_page_lose_nothing() {
    let (mut spawned, mut server, _kept) = open(Ends::Pipes);
    let stdout = spawned.stdout.as_ref().unwrap();
    // The helper has made it larger; somebody makes it small again.
    assert_eq!(fcntl_setpipe_size(stdout, 4096).unwrap(), 4096);
    let bytes = pattern(4 << 20);
    let sent = bytes.clone();
    let sending = std::thread::spawn(move || server.write_all(&sent));
    // The reader is slow, so the pipe is full most of the time.
    std::thread::sleep(MOMENT);
    assert!(spawned.read_all() == bytes, "bytes were lost");
    sending.join().unwrap().unwrap();
    spawned.ends_with(0, "");
}
