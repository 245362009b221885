//! Processes of this machine, and the descriptors of a process.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, getpeername};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open};

use super::run::{DEADLINE, Process};

/// How often a count is taken anew while it is waited for; the kernel has nothing to wait on.
const AGAIN: Duration = Duration::from_millis(5);

/// The programs that have an argument with `mark` in it. A zombie has no arguments.
pub(crate) fn with_argument(mark: &Path) -> Vec<Pid> {
    let mark = mark.to_str().unwrap().as_bytes();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let name = entry.unwrap().file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else { continue };
        // It may end at any moment.
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if arguments.windows(mark.len()).any(|window| window == mark) {
            found.push(pid);
        }
    }
    found
}

/// How many descriptors `pid` has open.
pub(crate) fn descriptors(pid: Pid) -> usize {
    let count = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    assert!(count > 0, "a program without descriptors");
    count
}

/// How many of them are sockets.
pub(crate) fn sockets(pid: Pid) -> usize {
    let count = of_kind(pid, "socket:");
    assert!(count > 0, "a server without sockets");
    count
}

/// How many of them are ends of pipes.
pub(crate) fn pipe_ends(pid: Pid) -> usize {
    of_kind(pid, "pipe:")
}

fn of_kind(pid: Pid, kind: &str) -> usize {
    opened(pid).filter(|name| name.starts_with(kind)).count()
}

/// Whether one of them is a file whose name ends like this.
pub(crate) fn has_open(pid: Pid, suffix: &str) -> bool {
    opened(pid).any(|name| name.ends_with(suffix))
}

/// The names of the descriptors of `pid`, as /proc shows them.
pub(crate) fn opened(pid: Pid) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    // One may be closed while it is looked at.
    let links = entries.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    links.map(|link| link.to_string_lossy().into_owned())
}

/// The TCP connections of `pid`, as sockets of this process too.
pub(crate) fn tcp_connections(pid: Pid) -> rustix::io::Result<Vec<OwnedFd>> {
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let numbers = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let numbers = numbers.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap());
    let all = numbers.map(|number| pidfd_getfd(&process, number, PidfdGetfdFlags::empty()));
    let family = |fd: &OwnedFd| Some(getpeername(fd).ok()??.address_family());
    all.filter(|fd| fd.as_ref().map_or(true, |fd| family(fd) == Some(AddressFamily::INET))).collect()
}

/// Waits until `program`, by itself, listens on this port of 127.0.0.1, or of all addresses. `false` if it ends before.
pub(crate) fn listens(program: &Process, port: u16) -> bool {
    let end = Instant::now() + DEADLINE;
    loop {
        let ended = program.try_wait_for(AGAIN, |seen| seen.has_ended().then_some(())).is_ok();
        if ended || has_listener(program.id(), port) {
            return !ended;
        }
        assert!(Instant::now() < end, "it does not listen on port {port}");
    }
}

fn has_listener(pid: Pid, port: u16) -> bool {
    /// proc(5) has states as numbers: TCP_LISTEN.
    const LISTENS: &str = "0A";
    // It may end at any moment.
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let ours: Vec<String> = links.map(|link| link.to_string_lossy().into_owned()).collect();
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines()).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_it = fields.len() > 9 && fields[3] == LISTENS && fields[1].ends_with(&format!(":{port:04X}"));
        is_it && ours.contains(&format!("socket:[{}]", fields[9]))
    })
}

/// Whether somebody waits for an answer to a connection attempt to this port of 127.0.0.1.
pub(crate) fn is_dialled(port: u16) -> bool {
    /// proc(5) has states as numbers: TCP_SYN_SENT.
    const ASKING: &str = "02";
    let remote = format!("0100007F:{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| line.split_whitespace().skip(2).take(2).eq([remote.as_str(), ASKING]))
}

/// Waits until `count` is `most` or less, for `within` at most; returns the last count.
pub(crate) fn falls_to(most: usize, within: Duration, count: impl Fn() -> usize) -> usize {
    let end = Instant::now() + within;
    loop {
        let now = count();
        if now <= most || Instant::now() >= end {
            return now;
        }
        std::thread::sleep(AGAIN);
    }
}

/// Kills a process that the test started.
pub(crate) fn kill(pid: Pid) {
    kill_process(pid, Signal::KILL).unwrap();
}
