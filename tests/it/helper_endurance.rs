//! The helper in the long run, on real parts: whichever process is killed, and whenever, nothing is left behind.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::far_end::tunnels;
use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::peers::{MutePort, Peer, read_head, silence};
use crate::support::processes::{descriptors, falls_to, is_dialled, kill, sockets, with_argument};
use crate::support::proxies::{Proxy, tinyproxy};
use crate::support::random::Random;
use crate::support::run::{DEADLINE, Process, Run};
use crate::support::scene::{ID, Mode, destination};
use crate::support::spawned::{Ends, PATIENT, Spawned};
use crate::support::sshd::Sshd;
use crate::support::tools::{HELPER, sh_quote, tool};
use crate::support::{heavy, thousand_times};

/// The server between the helper and a real sshd.
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
        Self::through(|sshd| Front::Gateway(Gateway::before(sshd.port)))
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
        self.sshd.ssh(&self.home, &command, mode)
    }
}

fn proxy_command(mode: Mode, proxy: SocketAddr, mark: &Path) -> String {
    let fdpass = if mode == Mode::Fdpass { "--fdpass " } else { "" };
    let (helper, mark, patient) = (sh_quote(HELPER), sh_quote(mark.to_str().unwrap()), PATIENT.join(" "));
    format!("{helper} {fdpass}{patient} --log-file {mark} --proxy {proxy}")
}

/// Kills `ssh`. Its helper must end as well.
#[track_caller]
fn kill_and_look(ssh: &Process, mark: &Path, what: &str) {
    kill(ssh.id());
    let left = falls_to(0, DEADLINE, || with_argument(mark).len());
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
                Mode::Fdpass => assert_eq!(falls_to(0, DEADLINE, || with_argument(&way.mark).len()), 0, "{what}"),
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

/// Kills ssh in both modes, once `reached` says that its helper, on the way to `proxy`, is where it is to be.
fn ssh_is_killed_when(proxy: SocketAddr, what: &str, reached: impl Fn(&Process)) {
    let home = Home::new();
    let mark = home.join("helper.log");
    for mode in Mode::BOTH {
        // In a file, since in ssh's arguments the mark would make ssh look like a helper.
        let fdpass = if mode == Mode::Fdpass { "yes" } else { "no" };
        let command = proxy_command(mode, proxy, &mark);
        let config = home.write("config", format!("ProxyCommand {command} -v %h %p\nProxyUseFdpass {fdpass}\n"));
        let ssh = Run::new(tool("ssh"), &home).arg("-F").arg(config).arg(destination()).stdin_open().start();
        reached(&ssh);
        assert_eq!(with_argument(&mark).len(), 1, "{what}, {mode:?}: no helper is seen");
        kill_and_look(&ssh, &mark, what);
    }
}

#[test]
fn ssh_is_killed_while_the_proxy_is_dialled() {
    let mute = MutePort::new();
    ssh_is_killed_when(([127, 0, 0, 1], mute.port).into(), "while dialling", |_| {
        let undialled = || usize::from(!is_dialled(mute.port));
        assert_eq!(falls_to(0, DEADLINE, undialled), 0, "nobody dials");
    });
}

#[test]
fn ssh_is_killed_during_the_handshake() {
    let (sender, connected) = std::sync::mpsc::channel();
    let silent = Peer::serve(move |mut stream| {
        read_head(&mut stream)?;
        sender.send(())?;
        silence(stream)
    });
    ssh_is_killed_when(silent.address, "in the handshake", |_| connected.recv_timeout(DEADLINE).unwrap());
}

#[test]
fn ssh_is_killed_before_the_first_byte() {
    let (proxy, servers) = tunnels();
    let kept = std::sync::Mutex::new(Vec::new());
    ssh_is_killed_when(proxy.address, "before the first byte", |ssh| {
        kept.lock().unwrap().push(servers.recv_timeout(DEADLINE).unwrap());
        ssh.stderr_line(&format!("kohakuriver-proxy: the tunnel to VPS {ID} is open"));
    });
}

/// From none to what a handshake on this machine takes, and more.
fn moment(random: &mut Random) -> Duration {
    Duration::from_micros(random.below(30_000))
}

/// A whole connection: sshd's banner comes, and when we end, everybody does.
fn complete(mut spawned: Spawned) {
    spawned.banner_comes();
    spawned.stdin = None;
    spawned.read_all();
    spawned.ends_with(0, "");
}

/// A thousand connections to `target` through `proxy`, a program with this process id.
fn thousand(proxy: SocketAddr, program: &Process, home: &Home, mark: &Path, target: &[&str]) {
    let start = |ends, more: &[&str]| {
        let args = [&PATIENT[..], &["--log-file", mark.to_str().unwrap()], more, target].concat();
        Spawned::start(ends, home, proxy, &args)
    };
    // Once it has served one, the proxy has everything that it keeps.
    let resting = sockets(program.id());
    complete(start(Ends::Pipes, &[]));
    falls_to(resting, DEADLINE, || sockets(program.id()));
    let before = descriptors(program.id());
    thousand_times(8, |number| {
        let mut random = Random::new(number as u64);
        let ends = *random.pick(&Ends::ALL);
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
        // However the helper was killed, ssh has gone as well.
        (spawned.stdin, spawned.stdout) = (None, None);
        spawned.wait();
    });
    assert_eq!(falls_to(0, DEADLINE, || with_argument(mark).len()), 0, "helpers are left");
    let after = falls_to(before, DEADLINE, || descriptors(program.id()));
    assert!(after <= before, "the proxy had {before} descriptors, and has {after}");
}

#[test]
fn a_thousand_connections_leave_nothing_behind() {
    let _heavy = heavy();
    let way = Way::through_gateway();
    let Front::Gateway(gateway) = &way.front else { unreachable!("it was made so") };
    // The gateway keeps a resumable tunnel for a while whose helper was killed.
    thousand(gateway.address, &gateway.process, &way.home, &way.mark, &["--no-resume", ID]);
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
            "  hint: check that it is the Host's SSH proxy: `kohakuriver config show` shows its address",
        ];
        assert_eq!(logged, expected, "{mode:?}");
    }
}
