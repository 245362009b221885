//! `--wait`: the helper waits for a VPS that is starting, and fails at once where waiting won't help.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustix::termios::{Winsize, tcsetwinsize};

use super::FRONT;
use crate::support::far_end::{BANNER, LINE, YES, hears_the_farewell, mute, older_tunnels_behind, tunnels_behind};
use crate::support::front::Place;
use crate::support::home::Home;
use crate::support::peers::{MutePort, Peer, read_head, silence, silent};
use crate::support::processes::descriptors;
use crate::support::pty::{Line, terminal};
use crate::support::run::DEADLINE;
use crate::support::scene::ID;
use crate::support::spawned::{Ends, Spawned, fails_handed_over, handed_over, helper, logged};

const OPEN: &str = "HTTP/1.1 200 OK\r\n\r\nSSH-2.0-Test\r\n";
const STARTING: &str = "VPS 7323718749301768192 is starting (status: pending)";
const BOOTING: &str = "VPS 7323718749301768192 is starting: its sshd does not listen yet";

/// A gateway's refusal.
fn refused(status: &str, title: &str, retry_after: Option<u64>) -> String {
    let body = format!(r#"{{"title":"{title}"}}"#);
    let retry_after = retry_after.map(|seconds| format!("Retry-After: {seconds}\r\n")).unwrap_or_default();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/problem+json\r\n{retry_after}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn starting(retry_after: u64) -> String {
    refused("503 Service Unavailable", STARTING, Some(retry_after))
}

/// A proxy that gives each try the next of `answers`, and repeats the last one.
fn proxy(answers: impl IntoIterator<Item = String>) -> Peer {
    let answers: Vec<_> = answers.into_iter().collect();
    let next = AtomicUsize::new(0);
    Peer::serve(move |mut stream| {
        read_head(&mut stream)?;
        let number = next.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        stream.write_all(answers[number].as_bytes())?;
        Ok(())
    })
    .behind(FRONT)
}

fn waiting(what: &str, seconds: u64) -> String {
    format!("kohakuriver-proxy: {what}; waiting up to {seconds} s\n")
}

#[test]
fn it_opens_in_the_end_and_each_reason_is_said_once() {
    let proxy = proxy([starting(1), refused("503 Busy", BOOTING, Some(0)), OPEN.to_owned()]);
    let home = Home::new();
    let began = Instant::now();
    let mut spawned = Spawned::start(Ends::Pipes, &home, &proxy, &["--wait", "300", ID]);
    assert_eq!(spawned.read_all(), BANNER);
    // The second that was asked for, and one of its own.
    assert!(began.elapsed() >= Duration::from_secs(2), "it came back too soon");
    let (status, stderr) = spawned.wait();
    assert_eq!(status.code(), Some(0));
    let (first, second) = stderr.split_once('\n').unwrap();
    assert_eq!(format!("{first}\n"), waiting(STARTING, 300));
    assert!(second.starts_with(&format!("kohakuriver-proxy: {BOOTING}; waiting up to 29")), "{stderr}");
    assert_eq!(stderr.lines().count(), 2, "{stderr}");
    assert_eq!(proxy.accepted(), 3);
}

#[test]
fn ssh_is_handed_the_socket_of_the_try_that_succeeds() {
    let proxy = proxy([starting(0), starting(0), OPEN.to_owned()]);
    let (socket, spawned) = handed_over(&Home::new(), &proxy, &["--wait", "60", ID]);
    let mut bytes = Vec::new();
    socket.unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, BANNER);
    spawned.ends_with(0, &waiting(STARTING, 60));
}

/// Runs `command` with its stderr on a terminal of so many columns, and `said` on stdin: all that appeared there.
fn on_a_terminal(command: Command, columns: u16, said: &str, code: i32) -> String {
    watched_on_a_terminal(command, columns, said, code, |_| {})
}

/// The same, with all that has appeared so far shown to `watches`, again and again.
fn watched_on_a_terminal(
    mut command: Command,
    columns: u16,
    said: &str,
    code: i32,
    mut watches: impl FnMut(&str),
) -> String {
    let (mut ours, theirs) = terminal(Line::Cooked);
    tcsetwinsize(&ours, Winsize { ws_col: columns, ws_row: 24, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(theirs).spawn().unwrap();
    drop(command);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(said.as_bytes()).unwrap();
    let (mut shown, mut chunk) = (Vec::new(), [0; 4096]);
    // Reading fails once no process has the terminal open.
    while let Ok(read @ 1..) = ours.read(&mut chunk) {
        shown.extend_from_slice(&chunk[..read]);
        watches(&String::from_utf8_lossy(&shown));
    }
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(code));
    String::from_utf8(shown).unwrap()
}

#[test]
fn a_terminal_shows_one_line_that_moves_and_goes() {
    let home = Home::new();
    // The VPS has started once the terminal has shown each of `frames`: a busy machine leaves some out.
    let on = |terminal: &str, columns, more: &[&str], frames: &[String]| {
        let (tries, has_started) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(frames.is_empty())));
        let starts = Arc::clone(&has_started);
        let proxy = Peer::serve(move |mut stream| {
            read_head(&mut stream)?;
            let is_open = tries.fetch_add(1, Ordering::SeqCst) > 0 && starts.load(Ordering::SeqCst);
            Ok(stream.write_all(if is_open { OPEN.to_owned() } else { starting(0) }.as_bytes())?)
        })
        .behind(FRONT);
        let mut command = helper(&home, &proxy, &[more, &["--wait", "60", ID]].concat());
        command.env("TERM", terminal);
        watched_on_a_terminal(command, columns, "", 0, |shown| {
            let are_shown = frames.iter().all(|frame| shown.contains(frame.as_str()));
            has_started.fetch_or(are_shown, Ordering::SeqCst);
        })
    };
    let frames = ['/', '-', '\\'].map(|frame| format!("\r{frame} {STARTING}; "));
    let shown = on("xterm", 120, &[], &frames);
    assert!(frames.iter().all(|frame| shown.contains(frame.as_str())) && shown.contains(" s\x1b[K"), "{shown:?}");
    assert!(shown.ends_with("\r\x1b[K") && !shown.contains('\n'), "{shown:?}");
    for dumb in ["dumb", ""] {
        assert_eq!(on(dumb, 120, &[], &[]), waiting(STARTING, 60).replace('\n', "\r\n"));
    }
    // A wrapped line can't be erased by one `\r`.
    let frames = ['/', '-', '\\'].map(|frame| format!("\r{frame} VPS 7323718749301768192 is starting …\x1b[K"));
    let shown = on("xterm", 40, &[], &frames);
    assert!(frames.iter().all(|frame| shown.contains(frame.as_str())), "{shown:?}");
    assert!(shown.split('\r').all(|line| line.trim_end_matches("\x1b[K").chars().count() < 40), "{shown:?}");
    // It goes as well before ssh prints the failure.
    let proxy = proxy([starting(0), refused("409 Conflict", "it is stopped", None)]);
    let mut command = helper(&home, &proxy, &["--wait", "60", ID]);
    command.env("TERM", "xterm");
    let shown = on_a_terminal(command, 120, "SSH-2.0-OpenSSH_9.2\r\n", 1);
    assert!(shown.contains(STARTING) && shown.ends_with("\r\x1b[K") && !shown.contains('\n'), "{shown:?}");
    // Other messages stand in lines of their own.
    let shown = on("xterm", 120, &["-v"], &[]);
    assert!(shown.contains(" s\x1b[K\r\x1b[Kkohakuriver-proxy: connected to "), "{shown:?}");
}

#[test]
fn a_terminal_is_told_of_each_wait_after_a_second() {
    let home = Home::new();
    let (mute_port, host_api, (opens, _servers)) = (MutePort::new(), silent(), tunnels_behind(FRONT));
    let silent = silent().behind(FRONT);
    let (mute_at, at) = (SocketAddr::from(([127, 0, 0, 1], mute_port.port)), silent.address);
    let looked_up = host_api.address.to_string();
    let has_not = format!("the SSH proxy at {at} has not answered yet");
    let cases = [
        (Place::from(mute_at), format!("connecting to the SSH proxy at {mute_at}"), &[ID][..]),
        (Place::from(&silent), has_not.clone(), &[ID]),
        (Place::from(&silent), has_not.clone(), &["--protocol=request-tunnel", ID]),
        (Place::from(&silent), has_not, &["--wait=60", ID]),
        (
            Place::from(&silent),
            format!("looking up VPS trainer at http://{looked_up}"),
            &["--host-api", &looked_up, "trainer"],
        ),
        (Place::from(&opens), format!("VPS {ID} has sent nothing yet"), &[ID]),
    ];
    let is_told = |(proxy, what, words): (Place, String, &[&str])| {
        let words = [&["--connect-timeout=2", "--no-disconnect"], words].concat();
        let on = |terminal: &str| {
            let mut command = helper(&home, proxy.clone(), &words);
            command.env("TERM", terminal);
            on_a_terminal(command, 120, "", 1)
        };
        let shown = on("xterm");
        // The failure stands where the line was.
        let (moving, failure) = shown.split_once("\r\x1b[K").unwrap_or_else(|| panic!("{what}: {shown:?}"));
        assert!(failure.starts_with("kohakuriver-proxy: ") && failure.contains("\r\n  caused by: "), "{shown:?}");
        // Nothing in the first second, and then nothing but this. A busy machine shows the last of it later.
        let frames: Vec<_> = moving.split('\r').collect();
        let ends = [1, 2].map(|seconds| format!(" {what}; {seconds} s\x1b[K"));
        let same = |frame: &&str| ends.iter().any(|end| frame.ends_with(end)) && !frame.contains('\n');
        assert!(frames.len() > 2 && frames[0].is_empty() && frames[1..].iter().all(same), "{what}: {shown:?}");
        let shown = on("dumb");
        assert!(shown.starts_with(&format!("kohakuriver-proxy: {what}; waiting\r\nkohakuriver-proxy: ")), "{shown:?}");
        // No line of it anywhere else.
        let (_, stderr) = Spawned::start(Ends::Pipes, &home, proxy.clone(), &words).wait();
        assert!(
            stderr.starts_with("kohakuriver-proxy: ") && stderr.matches("kohakuriver-proxy: ").count() == 1,
            "{stderr}"
        );
    };
    std::thread::scope(|scope| cases.into_iter().for_each(|case| drop(scope.spawn(|| is_told(case)))));
}

/// The line goes before ssh is given its terminal back.
#[test]
fn a_terminal_is_clean_once_the_first_byte_has_come() {
    let home = Home::new();
    let (is_shown, shows) = mpsc::channel();
    let shows = Mutex::new(shows);
    let proxy = Peer::serve(move |mut stream| {
        read_head(&mut stream)?;
        stream.write_all(YES)?;
        shows.lock().unwrap().recv()?;
        stream.write_all(BANNER)?;
        // Unread bytes would make its end a reset.
        Ok(stream.read_exact(&mut [0; 21])?)
    })
    .behind(FRONT);
    let mut command = helper(&home, &proxy, &[ID]);
    command.env("TERM", "xterm");
    let shown = watched_on_a_terminal(command, 120, "SSH-2.0-OpenSSH_9.2\r\n", 0, |shown| {
        if shown.contains(" has sent nothing yet; ") {
            // It hears of it once.
            let _ = is_shown.send(());
        }
    });
    assert!(shown.contains(" has sent nothing yet; ") && shown.ends_with("\r\x1b[K"), "{shown:?}");
    assert_eq!(shown.matches("\r\x1b[K").count(), 1, "{shown:?}");
}

#[test]
fn a_refusal_that_waiting_does_not_change_fails_at_once() {
    let home = Home::new();
    for (answer, title) in [
        (refused("409 Conflict", "it is stopped", None), "it is stopped"),
        (refused("409 Conflict", "it is stopped", Some(1)), "it is stopped"),
        (refused("503 Service Unavailable", "its Runner is offline", None), "its Runner is offline"),
        (refused("407 Proxy Authentication Required", "log in", Some(1)), "log in"),
        (refused("502 Bad Gateway", "no", Some(1)), "no"),
    ] {
        let proxy = proxy([answer]);
        let (status, stderr) = Spawned::start(Ends::Pipes, &home, &proxy, &["--wait", "60", ID]).wait();
        assert_eq!(status.code(), Some(1));
        assert!(stderr.contains(&format!("\n  caused by: it says: {title}\n")), "{stderr}");
        assert_eq!(proxy.accepted(), 1, "{title}");
    }
    // One that was starting, and was stopped then.
    let proxy = proxy([starting(0), refused("409 Conflict", "it is stopped", None)]);
    let (_, stderr) = Spawned::start(Ends::Pipes, &home, &proxy, &["--wait", "60", ID]).wait();
    assert!(stderr.ends_with("\n  caused by: it says: it is stopped\n"), "{stderr}");
    assert_eq!(proxy.accepted(), 2);
}

#[test]
fn the_deadline_ends_it_with_the_last_reason() {
    let home = Home::new();
    // At once, after half a second where the proxy doesn't mind, and just before the end.
    for (retry_after, tries) in [(0, 3), (100, 2)] {
        let proxy = proxy([starting(retry_after)]);
        // The 100 s that the proxy asks for are more than this waits.
        let (status, stderr) = Spawned::start(Ends::Pipes, &home, &proxy, &["--wait", "1", ID]).wait();
        assert_eq!(status.code(), Some(1));
        let failure = format!(
            "kohakuriver-proxy: {STARTING}\n  caused by: the gateway at {} answered 503 Service Unavailable\n  \
             caused by: the wait of 1 s is over\n  hint: wait longer: `kohakuriver vps connect {ID} --wait 60`\n",
            proxy.address
        );
        assert_eq!(stderr, waiting(STARTING, 1) + &failure);
        assert_eq!(proxy.accepted(), tries);
    }
}

#[test]
fn it_stops_waiting_when_ssh_does() {
    let home = Home::new();
    // For a tunnel through an older Host, signals are caught: they must be heeded between two tries as well.
    for proxy in [proxy([starting(300)]), older_host_with_a_pending_vps(|| {})] {
        for signal in [None, Some(Signal::HUP), Some(Signal::TERM), Some(Signal::INT)] {
            let mut spawned = Spawned::start(Ends::Pipes, &home, &proxy, &["--wait", "300", ID]);
            assert_eq!(spawned.stderr_line(), waiting(STARTING, 300));
            match signal {
                None => (spawned.stdin, spawned.stdout) = (None, None),
                Some(signal) => spawned.signal(signal),
            }
            spawned.wait();
        }
    }
}

/// An older Host; it calls `asked` before it answers a request for a tunnel.
fn older_host_with_a_pending_vps(asked: impl Fn() + Send + Sync + 'static) -> Peer {
    Peer::serve(move |mut stream| {
        let mut request = [0; 512];
        let read = stream.read(&mut request)?;
        if request[..read].starts_with(b"CONNECT ") {
            stream.write_all(b"ERROR Invalid request format.\n")?;
            return Ok(());
        }
        asked();
        stream.write_all(format!("ERROR VPS task {ID} is not active (status: pending).\n").as_bytes())?;
        Ok(())
    })
    .behind(FRONT)
}

#[test]
fn tries_leave_no_descriptor_behind() {
    let ((asked, tries), (go, answer)) = (mpsc::channel(), mpsc::channel());
    let answer = Mutex::new(answer);
    let host = older_host_with_a_pending_vps(move || {
        asked.send(()).unwrap();
        // It may have ended with the test.
        let _ = answer.lock().unwrap().recv();
    });
    let home = Home::new();
    let mut spawned = Spawned::start(Ends::Pipes, &home, &host, &["--wait", "60", ID]);
    let counts = [(); 3].map(|()| {
        tries.recv_timeout(DEADLINE).unwrap();
        let count = descriptors(spawned.pid());
        go.send(()).unwrap();
        count
    });
    assert_eq!(counts, [counts[0]; 3]);
    (spawned.stdin, spawned.stdout) = (None, None);
    drop(go);
    spawned.wait();
}

#[test]
fn a_try_says_how_long_it_really_waited() {
    let (silent, home) = (silent().behind(FRONT), Home::new());
    let (status, stderr) = Spawned::start(Ends::Pipes, &home, &silent, &["--wait", "0.5", ID]).wait();
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains(" gave no answer within 0.5 s\n"), "{stderr}");
}

/// An IDE gives up after about 15 s, so the hint for that case comes at 12 s.
#[test]
fn at_twelve_seconds_an_ide_is_told_to_try_again() {
    let proxy = proxy([starting(10), starting(0), starting(0), OPEN.to_owned()]);
    let home = Home::new();
    let mut spawned = Spawned::start(Ends::Pipes, &home, &proxy, &["--wait", "60", ID]);
    assert_eq!(spawned.read_all(), BANNER);
    spawned.ends_with(
        0,
        &(waiting(STARTING, 60)
            + "kohakuriver-proxy: it is still starting; if your editor gives up now, connect again\n"),
    );
}

/// A try may take an older Host 15 s, and the 12 s may end in the middle of one.
#[test]
fn at_twelve_seconds_an_ide_is_told_within_a_try_too() {
    let (told, answers) = mpsc::channel();
    let (answers, tries) = (Mutex::new(answers), AtomicUsize::new(0));
    let proxy = Peer::serve(move |mut stream| {
        read_head(&mut stream)?;
        if tries.fetch_add(1, Ordering::SeqCst) == 0 {
            stream.write_all(starting(0).as_bytes())?;
        } else {
            answers.lock().unwrap().recv()?;
            stream.write_all(OPEN.as_bytes())?;
        }
        Ok(())
    })
    .behind(FRONT);
    let home = Home::new();
    let args = ["--wait", "60", "--log-file", "helper.log", ID];
    let mut spawned = Spawned::start(Ends::Pipes, &home, &proxy, &args);
    let said = [spawned.stderr_line(), spawned.stderr_line()];
    told.send(()).unwrap();
    assert_eq!(spawned.read_all(), BANNER);
    spawned.ends_with(0, "");
    assert_eq!(said[0], waiting(STARTING, 60));
    assert!(said[1].contains("connect again"), "{said:?}");
    assert_eq!(proxy.accepted(), 2);
    assert_eq!(logged(&home.join("helper.log")), said.map(|line| line.trim_end().to_owned()));
}

/// The last try comes just before the end, and an sshd that has just been started may be slow.
#[test]
fn a_try_that_got_its_yes_has_the_usual_time_for_the_first_byte() {
    let home = Home::new();
    let slow = || {
        let tries = AtomicUsize::new(0);
        Peer::serve(move |mut stream| {
            read_head(&mut stream)?;
            if tries.fetch_add(1, Ordering::SeqCst) == 0 {
                stream.write_all(starting(0).as_bytes())?;
                return Ok(());
            }
            stream.write_all(YES)?;
            // The waiting is over then.
            std::thread::sleep(Duration::from_secs(2));
            stream.write_all(BANNER)?;
            Ok(())
        })
        .behind(FRONT)
    };
    let args = ["--wait", "2", ID];
    let (piped_from, handed_from) = (slow(), slow());
    let mut piped = Spawned::start(Ends::Pipes, &home, &piped_from, &args);
    let (socket, handed) = handed_over(&home, &handed_from, &args);
    handed.ends_with(0, &waiting(STARTING, 2));
    let mut bytes = Vec::new();
    socket.unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, BANNER);
    assert_eq!(piped.read_all(), BANNER);
    piped.ends_with(0, &waiting(STARTING, 2));
    // It ends all the same.
    let (proxy, servers) = tunnels_behind(FRONT);
    let args = ["--wait", "2", "--connect-timeout", "2.5", ID];
    fails_handed_over(&home, &proxy, &args, &mute("accepted the connection, but its sshd says nothing", &proxy, "2.5"));
    drop(servers);
}

/// The behaviour of a VPS that a Host already calls running, while the VPS's sshd does not listen yet.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Boots {
    RefusesConnections,
    AnswersNoConnection,
    Closes,
    Resets,
    SaysNothing,
}

#[test]
fn a_vps_that_runs_without_its_sshd_is_waited_for() {
    use Boots::{AnswersNoConnection, Closes, RefusesConnections, Resets, SaysNothing};
    let not_yet = |status: &str, error: &str| {
        let body = r#"{"title":"not yet"}"#;
        format!(
            "HTTP/1.1 {status}\r\nProxy-Status: kohakuriver-gateway; error={error}\r\n\
             Content-Type: application/problem+json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let booting = move |boots| {
        let tries = AtomicUsize::new(0);
        Peer::serve(move |mut stream| {
            read_head(&mut stream)?;
            if tries.fetch_add(1, Ordering::SeqCst) > 0 {
                return Ok(stream.write_all(OPEN.as_bytes())?);
            }
            match boots {
                RefusesConnections => stream.write_all(not_yet("502 Bad Gateway", "connection_refused").as_bytes())?,
                AnswersNoConnection => {
                    stream.write_all(not_yet("504 Gateway Timeout", "connection_timeout").as_bytes())?;
                }
                Closes => stream.write_all(YES)?,
                Resets => {
                    stream.write_all(YES)?;
                    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
                }
                SaysNothing => {
                    stream.write_all(YES)?;
                    silence(stream)?;
                }
            }
            Ok(())
        })
        .behind(FRONT)
    };
    let home = Home::new();
    for boots in [RefusesConnections, AnswersNoConnection, Closes, Resets, SaysNothing] {
        let args = ["--connect-timeout", if boots == SaysNothing { "0.5" } else { "20" }, "--wait", "60", ID];
        let (piped_from, handed_from) = (booting(boots), booting(boots));
        let mut piped = Spawned::start(Ends::Pipes, &home, &piped_from, &args);
        let (socket, handed) = handed_over(&home, &handed_from, &args);
        let mut bytes = String::new();
        socket.unwrap_or_else(|| panic!("{boots:?}: no socket")).read_to_string(&mut bytes).unwrap();
        assert_eq!(bytes, "SSH-2.0-Test\r\n", "{boots:?}");
        assert_eq!(piped.read_all(), b"SSH-2.0-Test\r\n", "{boots:?}");
        for (spawned, proxy) in [(piped, &piped_from), (handed, &handed_from)] {
            let (status, stderr) = spawned.wait();
            assert!(status.success() && stderr.contains("; waiting up to ") && stderr.lines().count() == 1, "{stderr}");
            assert_eq!(proxy.accepted(), 2, "{boots:?}");
        }
    }
    // Without --wait it ends, and the hint names it.
    let proxy = booting(Closes);
    let (status, stderr) = Spawned::start(Ends::Pipes, &home, &proxy, &[ID]).wait();
    assert!(status.code() == Some(1) && stderr.contains(&format!("`kohakuriver vps connect {ID} --wait`")), "{stderr}");
}

/// An older Host doesn't say that its VPS has closed: the tunnel is silent. Each of them is left in order.
#[test]
fn a_silent_tunnel_of_an_older_host_is_left_and_opened_again() {
    let (host, servers) = older_tunnels_behind(FRONT);
    let home = Home::new();
    let args = [&LINE[..], &["--connect-timeout", "0.5", "--wait", "60", ID]].concat();
    let mut spawned = Spawned::start(Ends::Pipes, &home, &host, &args);
    hears_the_farewell(&mut servers.recv_timeout(DEADLINE).unwrap(), b"");
    let mut server = servers.recv_timeout(DEADLINE).unwrap();
    server.write_all(BANNER).unwrap();
    drop(server);
    assert_eq!(spawned.read_all(), BANNER);
    let (status, stderr) = spawned.wait();
    assert!(status.success() && stderr.contains("sshd says nothing; waiting up to "), "{stderr}");
}
