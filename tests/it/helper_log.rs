//! The log file has what stderr has: under ControlPersist nobody sees the latter.

use std::io::Write;

use crate::support::home::Home;
use crate::support::peers::{Peer, read_head};
use crate::support::scene::ID;
use crate::support::spawned::{Ends, Spawned, helper};

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
