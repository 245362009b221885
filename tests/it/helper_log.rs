//! The log file has what stderr has: under ControlPersist, ssh hides stderr.

use std::io::Write;
use std::process::Command;
use std::sync::{Mutex, mpsc};

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::Signal;

use crate::support::far_end::{BANNER, YES};
use crate::support::home::Home;
use crate::support::peers::{Peer, read_head};
use crate::support::run::DEADLINE;
use crate::support::scene::ID;
use crate::support::spawned::{Ends, Spawned, helper, logged};

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
    mkfifoat(CWD, home.join("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
    // The FIFO has no reader. Waiting for one would never end.
    for (log, why) in [
        ("fifo", "No such device or address (os error 6)"),
        ("no/such/folder/helper.log", "No such file or directory (os error 2)"),
        ("/dev/full", "No space left on device (os error 28)"),
    ] {
        let spawned = Spawned::start(Ends::Pipes, &home, proxy.address, &["--log-file", log, ID]);
        let told = format!(
            "kohakuriver-proxy: cannot write the log file {log}\n  caused by: {why}\n  \
             hint: name another one; `kohakuriver config show` shows where it is set\n"
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
