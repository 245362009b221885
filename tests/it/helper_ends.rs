//! How a tunnel ends, driven from outside, on pipes and on a socketpair: it always does, and no byte is lost.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::Signal;

use super::support::home::Home;
use super::support::peers::{Peer, read_head};
use super::support::run::DEADLINE;
use super::support::spawned::{Ends, MOMENT, Spawned, handed_over, helper};

const ID: &str = "7323718749301768192";
const BANNER: &[u8] = b"SSH-2.0-Test\r\n";
const YES: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// How long an end may take that comes at once.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A proxy that opens each tunnel, and hands its server side to the test.
fn tunnels() -> (Peer, Receiver<TcpStream>) {
    let (sender, receiver) = mpsc::channel();
    let proxy = Peer::serve(move |mut stream| {
        read_head(&mut stream)?;
        stream.write_all(YES)?;
        sender.send(stream)?;
        Ok(())
    });
    (proxy, receiver)
}

/// A helper in an open tunnel that has said its banner.
pub(crate) fn open(ends: Ends) -> (Spawned, TcpStream, (Peer, Home)) {
    let (proxy, servers) = tunnels();
    let home = Home::new();
    let mut spawned = Spawned::start(ends, &home, proxy.address, &[ID]);
    let mut server = servers.recv_timeout(DEADLINE).unwrap();
    server.write_all(BANNER).unwrap();
    let mut banner = vec![0; BANNER.len()];
    spawned.stdout.as_mut().unwrap().read_exact(&mut banner).unwrap();
    assert_eq!(banner, BANNER);
    (spawned, server, (proxy, home))
}

/// Bytes whose loss, doubling or mixing up shows.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64).flat_map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).to_le_bytes()).take(length).collect()
}

/// The server must see the end of the stream.
#[track_caller]
fn sees_the_end(server: &mut TcpStream) {
    let mut rest = Vec::new();
    let result = server.read_to_end(&mut rest);
    // A helper that is killed with unread bytes resets the connection, which is an end as well.
    let reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
    assert!(result.is_ok() || result.as_ref().is_err_and(reset), "{result:?}");
}

#[test]
fn the_server_closes_first_while_stdin_stays_open() {
    for ends in Ends::BOTH {
        let (mut spawned, mut server, _kept) = open(ends);
        let bytes = pattern(4 << 20);
        let sent = bytes.clone();
        let sending = std::thread::spawn(move || server.write_all(&sent));
        // The reader is slow, so much is still on its way when the server has closed.
        std::thread::sleep(MOMENT);
        assert!(spawned.read_all() == bytes, "{ends:?}: bytes were lost");
        sending.join().unwrap().unwrap();
        assert!(spawned.stdin.is_some());
        spawned.ends_with(0, "");
    }
}

#[test]
fn stdin_ends_first_and_the_reply_still_comes() {
    for ends in Ends::BOTH {
        let (mut spawned, mut server, _kept) = open(ends);
        let bytes = pattern(4 << 20);
        let mut stdin = spawned.stdin.take().unwrap();
        let sent = bytes.clone();
        let sending = std::thread::spawn(move || stdin.write_all(&sent));
        let mut question = Vec::new();
        server.read_to_end(&mut question).unwrap();
        assert!(question == bytes, "{ends:?}: bytes were lost");
        sending.join().unwrap().unwrap();
        server.write_all(b"the reply").unwrap();
        drop(server);
        assert_eq!(spawned.read_all(), b"the reply");
        spawned.ends_with(0, "");
    }
}

#[test]
fn the_reader_of_stdout_leaves_while_all_is_idle() {
    for ends in Ends::BOTH {
        let (mut spawned, mut server, _kept) = open(ends);
        if ends == Ends::Socketpair {
            // One socket is both: it can only leave as a whole.
            spawned.stdin = None;
        }
        spawned.stdout = None;
        sees_the_end(&mut server);
        spawned.ends_with(0, "");
    }
}

#[test]
fn both_ends_leave() {
    for ends in Ends::BOTH {
        let (mut spawned, mut server, _kept) = open(ends);
        (spawned.stdin, spawned.stdout) = (None, None);
        sees_the_end(&mut server);
        spawned.ends_with(0, "");
    }
}

#[test]
fn both_ends_leave_in_the_middle_of_a_flood() {
    for ends in Ends::BOTH {
        let (mut spawned, mut server, _kept) = open(ends);
        let flood = std::thread::spawn(move || while server.write_all(&[0; 65536]).is_ok() {});
        let mut some = [0; 65536];
        spawned.stdout.as_mut().unwrap().read_exact(&mut some).unwrap();
        (spawned.stdin, spawned.stdout) = (None, None);
        spawned.ends_with(0, "");
        flood.join().unwrap();
    }
}

#[test]
fn a_reset_is_an_error() {
    for ends in Ends::BOTH {
        let (spawned, server, (proxy, _home)) = open(ends);
        rustix::net::sockopt::set_socket_linger(&server, Some(Duration::ZERO)).unwrap();
        drop(server);
        spawned.ends_with(
            1,
            &format!(
                "kohakuriver-proxy: the connection to VPS {ID} broke\n  \
                 caused by: {}: Connection reset by peer (os error 104)\n  hint: connect again\n",
                proxy.address
            ),
        );
    }
}

#[test]
fn signals_end_it_at_once() {
    for ends in Ends::BOTH {
        for signal in [Signal::HUP, Signal::TERM, Signal::INT] {
            let (spawned, mut server, _kept) = open(ends);
            let began = Instant::now();
            spawned.signal(signal);
            sees_the_end(&mut server);
            let (_, stderr) = spawned.wait();
            assert_eq!(stderr, "");
            assert!(began.elapsed() < AT_ONCE, "{ends:?}, {signal:?}: it took {:?}", began.elapsed());
        }
    }
}

/// sshd speaks first, but whatever the client says does not wait for that.
#[test]
fn a_client_may_speak_before_the_server_does() {
    let (proxy, servers) = tunnels();
    let home = Home::new();
    for ends in Ends::BOTH {
        let mut spawned = Spawned::start(ends, &home, proxy.address, &[ID]);
        let mut server = servers.recv_timeout(DEADLINE).unwrap();
        spawned.stdin.as_mut().unwrap().write_all(b"hello").unwrap();
        let mut hello = [0; 5];
        server.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"hello");
        server.write_all(BANNER).unwrap();
        drop(server);
        assert_eq!(spawned.read_all(), BANNER);
        spawned.ends_with(0, "");
    }
}

#[test]
fn bytes_flow_without_a_thread_beside() {
    for ends in Ends::BOTH {
        let (spawned, server, _kept) = open(ends);
        let threads = std::fs::read_dir(format!("/proc/{}/task", spawned.pid())).unwrap().count();
        assert_eq!(threads, 1, "{ends:?}");
        drop(server);
        spawned.ends_with(0, "");
    }
}

fn mute(what: &str, proxy: &Peer, limit: &str) -> String {
    let cause = match limit {
        "" => format!("the tunnel through {} opened and ended without a byte", proxy.address),
        limit => format!("no byte came through {} within {limit} s", proxy.address),
    };
    let why = match limit {
        "" => "its sshd may not be up yet, or refuse more connections",
        _ => "it may be paused, still booting, or have no sshd in its image",
    };
    format!(
        "kohakuriver-proxy: VPS {ID} {what}\n  caused by: {cause}\n  hint: {why}: see `kohakuriver vps status {ID}`\n"
    )
}

#[test]
fn a_vps_that_says_nothing_is_named() {
    let (proxy, servers) = tunnels();
    let home = Home::new();
    let args = ["--connect-timeout", "0.3", ID];
    let stderr = mute("accepted the connection, but its sshd says nothing", &proxy, "0.3");
    for ends in Ends::BOTH {
        let mut spawned = Spawned::start(ends, &home, proxy.address, &args);
        let _server = servers.recv_timeout(DEADLINE).unwrap();
        assert_eq!(spawned.read_all(), b"");
        spawned.ends_with(1, &stderr);
    }
    let (socket, spawned) = handed_over(&home, proxy.address, &args);
    assert!(socket.is_none());
    spawned.ends_with(1, &stderr);
}

#[test]
fn a_vps_that_hangs_up_at_once_is_named() {
    let proxy = Peer::serve(|mut stream| {
        read_head(&mut stream)?;
        stream.write_all(YES)?;
        Ok(())
    });
    let home = Home::new();
    let stderr = mute("closed the connection before its sshd said anything", &proxy, "");
    let mut spawned = Spawned::start(Ends::Pipes, &home, proxy.address, &[ID]);
    assert_eq!(spawned.read_all(), b"");
    spawned.ends_with(1, &stderr);
    let (socket, spawned) = handed_over(&home, proxy.address, &[ID]);
    assert!(socket.is_none());
    spawned.ends_with(1, &stderr);
}

#[test]
fn ssh_that_leaves_during_the_handshake_is_noticed() {
    let silent = Peer::serve(|mut stream| {
        std::io::copy(&mut stream, &mut std::io::sink())?;
        Ok(())
    });
    let home = Home::new();
    let stderr =
        format!("kohakuriver-proxy: gave up on VPS {ID} before the tunnel was open\n  caused by: ssh has gone\n");
    for ends in Ends::BOTH {
        for fdpass in [&["--fdpass", ID][..], &[ID]] {
            let mut spawned = Spawned::start(ends, &home, silent.address, fdpass);
            (spawned.stdin, spawned.stdout) = (None, None);
            spawned.ends_with(1, &stderr);
        }
    }
}

#[test]
fn fdpass_on_pipes_pipes() {
    let (proxy, servers) = tunnels();
    let home = Home::new();
    let mut spawned = Spawned::start(Ends::Pipes, &home, proxy.address, &["--fdpass", ID]);
    servers.recv_timeout(DEADLINE).unwrap().write_all(BANNER).unwrap();
    assert_eq!(spawned.read_all(), BANNER);
    spawned.ends_with(0, "");

    let mut spawned = Spawned::start(Ends::Pipes, &home, proxy.address, &["-v", "--fdpass", ID]);
    servers.recv_timeout(DEADLINE).unwrap().write_all(BANNER).unwrap();
    assert_eq!(spawned.read_all(), BANNER);
    let address = proxy.address;
    spawned.ends_with(
        0,
        &format!(
            "kohakuriver-proxy: connected to {address} ({address})\n\
             kohakuriver-proxy: the tunnel to VPS {ID} is open\n\
             kohakuriver-proxy: stdout is not the UNIX socket of an ssh, so bytes are piped in spite of --fdpass\n"
        ),
    );
}

/// A UNIX socket with nobody at its other end.
fn lonely() -> OwnedFd {
    UnixDatagram::unbound().unwrap().into()
}

#[test]
fn a_socket_that_can_not_be_handed_over() {
    let home = Home::new();
    let stderr = format!(
        "kohakuriver-proxy: cannot hand the connection to VPS {ID} over to ssh\n  \
         caused by: Transport endpoint is not connected (os error 107)\n  \
         hint: leave `--fdpass` and `ProxyUseFdpass` out: bytes are piped then\n"
    );
    let start = |proxy: &Peer, more: &[&str]| {
        let mut command = helper(&home, proxy.address, &[more, &["--fdpass", ID]].concat());
        let stdio = lonely();
        command.stdin(stdio.try_clone().unwrap()).stdout(stdio);
        Spawned::start_with_stdio(command)
    };
    let (proxy, servers) = tunnels();
    let spawned = start(&proxy, &[]);
    servers.recv_timeout(DEADLINE).unwrap().write_all(BANNER).unwrap();
    spawned.ends_with(1, &stderr);

    let (host, servers) = older_tunnels();
    let spawned = start(&host, &LINE);
    let mut server = servers.recv_timeout(DEADLINE).unwrap();
    server.write_all(BANNER).unwrap();
    hears_the_farewell(&mut server, b"");
    spawned.ends_with(1, &stderr);
}

#[test]
fn a_socket_that_is_handed_over_is_tuned_and_whole() {
    use rustix::net::sockopt;
    let (proxy, servers) = tunnels();
    let home = Home::new();
    let serving = std::thread::spawn(move || {
        let mut server = servers.recv_timeout(DEADLINE).unwrap();
        server.write_all(BANNER).unwrap();
        server
    });
    let (socket, spawned) = handed_over(&home, proxy.address, &[ID]);
    spawned.ends_with(0, "");
    let (mut socket, _server) = (socket.unwrap(), serving.join().unwrap());
    assert!(sockopt::tcp_nodelay(&socket).unwrap());
    assert!(sockopt::socket_keepalive(&socket).unwrap());
    assert_eq!(sockopt::tcp_keepidle(&socket).unwrap(), Duration::from_secs(60));
    assert_eq!(sockopt::tcp_keepintvl(&socket).unwrap(), Duration::from_secs(15));
    assert_eq!(sockopt::tcp_keepcnt(&socket).unwrap(), 4);
    assert_eq!(sockopt::tcp_user_timeout(&socket).unwrap(), 120_000);
    assert!(!rustix::fs::fcntl_getfl(&socket).unwrap().contains(OFlags::NONBLOCK));
    let mut banner = vec![0; BANNER.len()];
    socket.read_exact(&mut banner).unwrap();
    assert_eq!(banner, BANNER);
}

#[test]
fn a_stdout_that_somebody_made_non_blocking_loses_nothing() {
    let (proxy, servers) = tunnels();
    let home = Home::new();
    let (mut ours, theirs) = std::io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&theirs).unwrap();
    rustix::fs::fcntl_setfl(&theirs, flags | OFlags::NONBLOCK).unwrap();
    let mut command = helper(&home, proxy.address, &[ID]);
    let (stdin, _writer) = std::io::pipe().unwrap();
    command.stdin(OwnedFd::from(stdin)).stdout(OwnedFd::from(theirs));
    let spawned = Spawned::start_with_stdio(command);
    let mut server = servers.recv_timeout(DEADLINE).unwrap();
    let bytes = pattern(4 << 20);
    let sent = bytes.clone();
    let sending = std::thread::spawn(move || server.write_all(&sent));
    std::thread::sleep(MOMENT);
    let mut received = Vec::new();
    ours.read_to_end(&mut received).unwrap();
    assert!(received == bytes, "bytes were lost");
    sending.join().unwrap().unwrap();
    spawned.ends_with(0, "");
}

#[test]
fn inherited_descriptors_keep_their_flags() {
    for ends in Ends::BOTH {
        let (stdin, stdout, kept): (OwnedFd, OwnedFd, Vec<OwnedFd>) = match ends {
            Ends::Pipes => {
                let ((a, b), (c, d)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
                (a.into(), d.into(), vec![b.into(), c.into()])
            }
            Ends::Socketpair => {
                let (a, b) = UnixStream::pair().unwrap();
                (a.try_clone().unwrap().into(), a.into(), vec![b.into()])
            }
        };
        let flags = |fd: &OwnedFd| rustix::fs::fcntl_getfl(fd).unwrap();
        let before = (flags(&stdin), flags(&stdout));
        let (proxy, servers) = tunnels();
        let home = Home::new();
        let mut command = helper(&home, proxy.address, &[ID]);
        command.stdin(stdin.try_clone().unwrap()).stdout(stdout.try_clone().unwrap());
        let spawned = Spawned::start_with_stdio(command);
        let mut server = servers.recv_timeout(DEADLINE).unwrap();
        server.write_all(BANNER).unwrap();
        // The banner is out, so the relay runs.
        let mut banner = vec![0; BANNER.len()];
        File::from(kept.last().unwrap().try_clone().unwrap()).read_exact(&mut banner).unwrap();
        assert_eq!((flags(&stdin), flags(&stdout)), before, "{ends:?}");
        server.shutdown(Shutdown::Both).unwrap();
        spawned.ends_with(0, "");
    }
}

#[test]
fn a_file_and_dev_null_as_stdio() {
    let (proxy, servers) = tunnels();
    let home = Home::new();
    let bytes = pattern(1 << 20);
    let input = home.write("input", &bytes);
    let mut command = helper(&home, proxy.address, &[ID]);
    command.stdin(File::open(input).unwrap()).stdout(File::create(home.join("output")).unwrap());
    let spawned = Spawned::start_with_stdio(command);
    let mut server = servers.recv_timeout(DEADLINE).unwrap();
    let mut question = Vec::new();
    server.read_to_end(&mut question).unwrap();
    assert!(question == bytes);
    server.write_all(&bytes).unwrap();
    drop(server);
    spawned.ends_with(0, "");
    assert!(std::fs::read(home.join("output")).unwrap() == bytes);

    let mut command = helper(&home, proxy.address, &[ID]);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    let spawned = Spawned::start_with_stdio(command);
    let mut server = servers.recv_timeout(DEADLINE).unwrap();
    sees_the_end(&mut server);
    server.write_all(&bytes).unwrap();
    drop(server);
    spawned.ends_with(0, "");
}

#[test]
fn a_terminal_as_stdio() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let (proxy, servers) = tunnels();
    let home = Home::new();
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = || {
        let path = std::path::Path::new(name.to_str().unwrap());
        File::options().read(true).write(true).open(path).unwrap()
    };
    let mut raw = rustix::termios::tcgetattr(theirs()).unwrap();
    raw.make_raw();
    rustix::termios::tcsetattr(theirs(), rustix::termios::OptionalActions::Now, &raw).unwrap();
    let mut command = helper(&home, proxy.address, &[ID]);
    command.stdin(theirs()).stdout(theirs());
    let spawned = Spawned::start_with_stdio(command);
    let mut ours = File::from(ours);
    let mut server = servers.recv_timeout(DEADLINE).unwrap();
    server.write_all(BANNER).unwrap();
    let mut banner = vec![0; BANNER.len()];
    ours.read_exact(&mut banner).unwrap();
    assert_eq!(banner, BANNER);
    ours.write_all(b"typed\n").unwrap();
    let mut typed = [0; 6];
    server.read_exact(&mut typed).unwrap();
    assert_eq!(&typed, b"typed\n");
    // Whoever holds the terminal hangs up.
    drop(ours);
    sees_the_end(&mut server);
    spawned.ends_with(0, "");
}

#[test]
fn the_log_file_has_what_stderr_has() {
    let proxy = Peer::serve(|mut stream| {
        read_head(&mut stream)?;
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")?;
        Ok(())
    });
    let home = Home::new();
    let mut command = helper(&home, proxy.address, &["--log-file", "helper-%p.log", ID]);
    command.env("KOHAKURIVER_LOG_FILE", "/nonexistent/the-flag-wins");
    let (_, stderr) = Spawned::start_command(Ends::Pipes, command).wait();
    let path = home.join(&format!("helper-{}.log", std::process::id()));
    assert_eq!(logged(&path), stderr.lines().collect::<Vec<_>>());
    let log = std::fs::read_to_string(path).unwrap();
    assert_eq!(log.lines().count(), 3);
    assert!(log.starts_with("20") && log.contains("Z ["), "{log}");
}

/// The line of a log file without the time and the process id before it.
fn logged(path: &std::path::Path) -> Vec<String> {
    let log = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    log.lines().map(|line| line.split_once("] ").unwrap().1.to_owned()).collect()
}

/// Nobody sees stderr, whatever it is that fails.
#[test]
fn the_log_file_has_what_fails_before_there_are_settings() {
    let proxy = Peer::serve(|_| anyhow::bail!("something was dialled"));
    let broken = Home::new();
    broken.write(".config/kohakuriver/config.json", "{");
    for (home, args, log) in [
        (&broken, &["--log-file", "flag.log", ID][..], "flag.log"),
        (&broken, &[ID], "env.log"),
        (&Home::new(), &["--no-such-flag", ID], "env.log"),
    ] {
        let mut command = helper(home, proxy.address, args);
        command.env("KOHAKURIVER_LOG_FILE", "env.log");
        let (status, stderr) = Spawned::start_command(Ends::Pipes, command).wait();
        assert_eq!(status.code(), Some(2));
        assert_eq!(logged(&home.join(log)), stderr.lines().collect::<Vec<_>>());
        assert!(stderr.contains("\n  hint: "), "{stderr}");
    }
    proxy.finish();
}

/// An older Host: it says SUCCESS, and hands its side over.
fn older_tunnels() -> (Peer, Receiver<TcpStream>) {
    let (sender, receiver) = mpsc::channel();
    let proxy = Peer::serve(move |mut stream| {
        let mut request = [0; 64];
        let read = stream.read(&mut request)?;
        assert!(request[..read].starts_with(b"REQUEST_TUNNEL "));
        stream.write_all(b"SUCCESS\n")?;
        sender.send(stream)?;
        Ok(())
    });
    (proxy, receiver)
}

/// The server must be told the farewell behind `before`, and then see the end.
#[track_caller]
fn hears_the_farewell(server: &mut TcpStream, before: &[u8]) {
    let mut heard = Vec::new();
    server.read_to_end(&mut heard).unwrap();
    let farewell = [&[0xff; 32][..], b"\r\n"].concat();
    assert_eq!(heard, [before, &farewell].concat());
    // What sshd does then, and an older Host passes on.
    server.shutdown(Shutdown::Both).unwrap();
}

const LINE: [&str; 2] = ["--protocol", "request-tunnel"];

#[test]
fn leaving_an_older_host_before_the_banner_takes_a_farewell() {
    let home = Home::new();
    let (proxy, servers) = older_tunnels();
    let start = |ends, more: &[&str]| {
        let spawned = Spawned::start(ends, &home, proxy.address, &[&LINE[..], more, &[ID]].concat());
        (spawned, servers.recv_timeout(DEADLINE).unwrap())
    };
    for more in [&[][..], &["--fdpass"]] {
        for signal in [Signal::HUP, Signal::TERM, Signal::INT] {
            let (spawned, mut server) = start(Ends::Socketpair, more);
            spawned.signal(signal);
            hears_the_farewell(&mut server, b"");
            spawned.wait();
        }
        let (mut spawned, mut server) = start(Ends::Socketpair, more);
        (spawned.stdin, spawned.stdout) = (None, None);
        hears_the_farewell(&mut server, b"");
        spawned.wait();

        let (spawned, mut server) = start(Ends::Socketpair, &[more, &["--connect-timeout", "0.3"]].concat());
        hears_the_farewell(&mut server, b"");
        let stderr = mute("accepted the connection, but its sshd says nothing", &proxy, "0.3");
        spawned.ends_with(1, &stderr);
    }
}

#[test]
fn leaving_an_older_host_in_the_middle_takes_a_farewell() {
    let home = Home::new();
    let (proxy, servers) = older_tunnels();
    for ends in Ends::BOTH {
        for signal in [None, Some(Signal::HUP), Some(Signal::TERM)] {
            let mut spawned = Spawned::start(ends, &home, proxy.address, &[&LINE[..], &[ID]].concat());
            let mut server = servers.recv_timeout(DEADLINE).unwrap();
            server.write_all(BANNER).unwrap();
            let mut banner = vec![0; BANNER.len()];
            spawned.stdout.as_mut().unwrap().read_exact(&mut banner).unwrap();
            spawned.stdin.as_mut().unwrap().write_all(b"SSH-2.0-ours\r\n").unwrap();
            let mut ours = [0; 14];
            server.read_exact(&mut ours).unwrap();
            match signal {
                None => (spawned.stdin, spawned.stdout) = (None, None),
                Some(signal) => spawned.signal(signal),
            }
            hears_the_farewell(&mut server, b"");
            spawned.ends_with(0, "");
        }
    }
}

#[test]
fn leaving_an_older_host_before_its_answer_takes_a_farewell() {
    let home = Home::new();
    let (sender, asked) = mpsc::channel();
    let silent = Peer::serve(move |mut stream| {
        let mut request = [0; 64];
        let read = stream.read(&mut request)?;
        assert!(request[..read].starts_with(b"REQUEST_TUNNEL "));
        sender.send(stream)?;
        Ok(())
    });
    for signal in [None, Some(Signal::HUP), Some(Signal::TERM), Some(Signal::INT)] {
        let mut spawned = Spawned::start(Ends::Pipes, &home, silent.address, &[&LINE[..], &[ID]].concat());
        let mut server = asked.recv_timeout(DEADLINE).unwrap();
        let why = match signal {
            None => {
                (spawned.stdin, spawned.stdout) = (None, None);
                "ssh has gone"
            }
            Some(signal) => {
                spawned.signal(signal);
                "a signal asked for the end"
            }
        };
        // Its yes may be on the way.
        hears_the_farewell(&mut server, b"");
        let what = format!("gave up on VPS {ID} before the tunnel was open");
        spawned.ends_with(1, &format!("kohakuriver-proxy: {what}\n  caused by: {why}\n"));
    }
}

#[test]
fn a_stdout_that_takes_no_more_is_an_error_and_an_older_host_hears_the_farewell() {
    let home = Home::new();
    let (host, servers) = older_tunnels();
    let mut command = helper(&home, host.address, &[&LINE[..], &[ID]].concat());
    let (stdin, _writer) = std::io::pipe().unwrap();
    command.stdin(OwnedFd::from(stdin)).stdout(File::options().write(true).open("/dev/full").unwrap());
    let spawned = Spawned::start_with_stdio(command);
    let mut server = servers.recv_timeout(DEADLINE).unwrap();
    server.write_all(BANNER).unwrap();
    hears_the_farewell(&mut server, b"");
    let (status, stderr) = spawned.wait();
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("No space left on device"), "{stderr}");
}

#[test]
fn a_farewell_holds_nothing_of_the_users_open() {
    let home = Home::new();
    let (proxy, servers) = older_tunnels();
    let mut spawned = Spawned::start(Ends::Pipes, &home, proxy.address, &[&LINE[..], &[ID]].concat());
    let mut server = servers.recv_timeout(DEADLINE).unwrap();
    server.write_all(BANNER).unwrap();
    let mut banner = vec![0; BANNER.len()];
    spawned.stdout.as_mut().unwrap().read_exact(&mut banner).unwrap();
    (spawned.stdin, spawned.stdout) = (None, None);
    let mut farewell = [0; 34];
    server.read_exact(&mut farewell).unwrap();
    // The server has not hung up, so the helper still waits; but its stderr is at its end.
    assert_eq!(spawned.stderr_ends(), "");
    assert!(spawned.is_running());
}
