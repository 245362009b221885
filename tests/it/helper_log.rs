//! The log file has what stderr has: under ControlPersist, ssh hides stderr.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

use rustix::fs::{CWD, Mode as FileMode, mkfifoat};
use rustix::process::Signal;

use crate::support::far_end::{BANNER, YES};
use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::peers::{Peer, Served, read_head};
use crate::support::run::{DEADLINE, Run};
use crate::support::scene::{ID, Mode, helper_command};
use crate::support::spawned::{Ends, Spawned, helper, logged};
use crate::support::sshd::Sshd;
use crate::support::tools::{HELPER, tool};

#[test]
fn the_log_file_has_what_stderr_has() {
    let (proxy, _) = refusing();
    let home = Home::new();
    let mut command = helper(&home, proxy.address, &["--log-file", "helper-%p.log", ID]);
    command.env("KOHAKURIVER_LOG_FILE", "/nonexistent/the-flag-wins");
    let spawned = Spawned::start_command(Ends::Pipes, command);
    let pid = spawned.pid();
    let (_, stderr) = spawned.wait();
    let path = home.join(&format!("helper-{}.log", std::process::id()));
    assert_eq!(logged(&path), stderr.lines().collect::<Vec<_>>());
    let log = std::fs::read_to_string(path).unwrap();
    assert_eq!(log.lines().count(), 3);
    for line in log.lines() {
        assert!(line.starts_with("20") && line.contains(&format!("Z [{pid}] ")), "{line}");
    }
}

/// The parent process may have ended before there is something to log, and looks for its own process id in the name.
#[test]
fn the_parent_in_the_log_files_name_is_who_started_it() {
    let ((asked, is_asked), (answer, may_answer)) = (mpsc::channel(), mpsc::channel());
    let may_answer = Mutex::new(may_answer);
    let proxy = Peer::serve(move |mut stream| {
        read_head(&mut stream)?;
        asked.send(())?;
        may_answer.lock().unwrap().recv_timeout(DEADLINE)?;
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")?;
        Ok(())
    });
    let home = Home::new();
    let inner = helper(&home, proxy.address, &["--log-file", "helper-%p.log", ID]);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", r#""$0" "$@" & wait"#]).arg(inner.get_program()).args(inner.get_args());
    shell.env_clear().env("HOME", home.path()).current_dir(home.path());
    let mut spawned = Spawned::start_command(Ends::Pipes, shell);
    is_asked.recv_timeout(DEADLINE).unwrap();
    let parent = spawned.pid();
    spawned.signal(Signal::KILL);
    // Its child has another parent from then on.
    while spawned.is_running() {
        std::thread::yield_now();
    }
    answer.send(()).unwrap();
    let (_, stderr) = spawned.wait();
    assert_eq!(logged(&home.join(&format!("helper-{parent}.log"))), stderr.lines().collect::<Vec<_>>());
}

#[test]
fn a_success_leaves_no_file_and_looks_for_none() {
    let proxy = Peer::serve(|mut stream| {
        read_head(&mut stream)?;
        stream.write_all(&[YES, BANNER].concat())?;
        Ok(())
    });
    let home = Home::new();
    for log in ["helper-%p.log", "no/such/folder/helper.log"] {
        let mut spawned = Spawned::start(Ends::Pipes, &home, proxy.address, &["--log-file", log, ID]);
        assert_eq!(spawned.read_all(), BANNER);
        spawned.ends_with(0, "");
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

/// A proxy that says no, and what the helper says then.
fn refusing() -> (Peer, String) {
    let proxy = Peer::serve(|mut stream| {
        read_head(&mut stream)?;
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")?;
        Ok(())
    });
    let stderr = format!(
        "kohakuriver-proxy: cannot open a tunnel to VPS {ID}\n  caused by: the proxy at {} answered 403 Forbidden\n  \
         hint: check that it is the Host's SSH proxy: `kohakuriver config show` shows its address\n",
        proxy.address
    );
    (proxy, stderr)
}

#[test]
fn a_file_that_can_not_be_written_is_told_of_behind_the_failure() {
    let home = Home::new();
    let (proxy, failure) = refusing();
    mkfifoat(CWD, home.join("fifo"), FileMode::RUSR | FileMode::WUSR).unwrap();
    // The FIFO has no reader. Waiting for one would never end.
    for (log, why) in [
        ("fifo", "No such device or address (os error 6)"),
        ("no/such/folder/helper.log", "No such file or directory (os error 2)"),
        ("/dev/full", "No space left on device (os error 28)"),
    ] {
        let spawned = Spawned::start(Ends::Pipes, &home, proxy.address, &["--log-file", log, ID]);
        let told = format!(
            "kohakuriver-proxy: cannot write the log file {log}\n  caused by: {why}\n  \
             hint: name another one; `kohakuriver config show` shows where `log_file` is set\n"
        );
        spawned.ends_with(1, &(failure.clone() + &told));
    }
}

/// Flags name where the tunnel goes, so the configuration file counts for nothing but the log file that it names.
#[test]
fn a_configuration_file_is_asked_for_the_log_file_once_there_is_something_to_log() {
    let (proxy, failure) = refusing();
    let start = |home: &Home, args: &[&str]| Spawned::start(Ends::Pipes, home, proxy.address, args);
    let home = Home::new();
    let (config, log) = (".config/kohakuriver/config.json", home.join("from-config.log"));
    home.write(config, format!(r#"{{"log_file":"{}"}}"#, log.display()));
    start(&home, &[ID]).ends_with(1, &failure);
    assert_eq!(logged(&log), failure.lines().collect::<Vec<_>>());

    let home = Home::new();
    let path = home.write(config, "{");
    start(&home, &["--log-file", "flag.log", ID]).ends_with(1, &failure);
    let (status, stderr) = start(&home, &[ID]).wait();
    assert_eq!(status.code(), Some(1));
    let told = format!("{failure}kohakuriver-proxy: cannot use the configuration file {}\n", path.display());
    assert!(stderr.starts_with(&told), "{stderr}");
}

/// Under ControlPersist, ssh gives the helper /dev/null as stderr. The terminal is still the helper's (`/dev/tty`), but it
/// can't tell whether somebody wants to read it there: `ssh -q`, a script that captures ssh's output and a full-screen
/// program look the same. So the log file alone says what is waited for.
#[test]
fn under_control_persist_the_log_file_says_what_is_waited_for() {
    let (sshd, home, log) = (Sshd::start(), Home::new(), "waits.log");
    for (persist, is_shown) in [("1", false), ("no", true)] {
        let (port, tries) = (sshd.port, AtomicUsize::new(0));
        let vps = Peer::serve(move |stream| match tries.fetch_add(1, Ordering::SeqCst) {
            // Its sshd is not up yet.
            0 => Ok(()),
            _ => join(&stream, &TcpStream::connect(("127.0.0.1", port))?),
        });
        let gateway = Gateway::before(vps.address.port());
        let log = home.join(&format!("{persist}-{log}"));
        let helper = helper_command(HELPER, Mode::Fdpass, gateway.address);
        let helper = helper.replacen(" --", &format!(" --wait=60 --log-file={} --", log.display()), 1);
        let config = sshd.write_ssh_config(&home, &format!("config-{persist}"), &helper, Mode::Fdpass);
        let ssh = format!(
            "{} -F {} -o ControlMaster=auto -o ControlPersist={persist} -o ControlPath={}/%C {ID}.kohakuriver 'echo in'",
            tool("ssh").display(),
            config.display(),
            home.path().display(),
        );
        let run = Run::new(tool("script"), &home).args(["-q", "-e", "-E", "never", "-c", &ssh, "/dev/null"]);
        let outcome = run.env("TERM", "xterm").output();
        outcome.succeeds();
        let shown = outcome.text().contains(&format!(" VPS {ID} "));
        outcome.check(shown == is_shown, &format!("ControlPersist={persist}"));
        outcome.check(is_shown || outcome.text() == "in\r\n", "nothing else on the terminal");
        let is_logged = log.exists() && logged(&log).iter().any(|line| line.contains("; waiting up to "));
        outcome.check(is_logged != is_shown, "the log file");
    }
}

/// Carries bytes between two sockets until both directions have ended.
fn join(one: &TcpStream, other: &TcpStream) -> Served {
    let carry = |mut from: &TcpStream, mut to: &TcpStream| {
        let _ = std::io::copy(&mut from, &mut to);
        // The other side may have gone already.
        let _ = to.shutdown(Shutdown::Write);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| carry(one, other));
        carry(other, one);
    });
    Ok(())
}

/// ssh hides stderr, also for failures this early.
#[test]
fn the_log_file_has_what_fails_before_there_are_settings() {
    let proxy = Peer::serve(|_| anyhow::bail!("something was dialled"));
    let broken = Home::new();
    broken.write(".config/kohakuriver/config.json", "{");
    for (home, args, log) in [
        // Its port is left to the settings.
        (&broken, &["--proxy", "door", "--log-file", "flag.log", ID][..], "flag.log"),
        (&broken, &["--proxy", "door", ID], "env.log"),
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
