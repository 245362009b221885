//! A gateway's place, taken by a new process of the same program with the same arguments.
//!
//! ```text
//!  old: dups of its listening sockets ──▶ new: stdin is a socket
//!       a byte beside each: its purpose
//!       lines to it and its own elders
//!       end of stream                       takes them, serves
//!       closes its own           ◀── one byte: ready
//! ```
//! The sockets stay open all the time, so no connection attempt is lost, and the two accept side by side for a moment.
//! When the new process doesn't come up the old one goes on as if nothing had been. What is started is what now stands
//! where this program was started from, so an upgrade takes this way too.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Pid;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::gateway::Listeners;
use crate::gateway::life::elders::Elders;
use crate::gateway::life::inherited::Purpose;
use crate::settings::env_vars::KOHAKURIVER_GATEWAY_HEIR;
use crate::sys;

/// How long a new process has until it serves.
const START_LIMIT: Duration = Duration::from_secs(30);
/// What a new process says once it serves.
const READY: u8 = b'r';
/// The byte beside a line to an older process.
const LINE: u8 = b'l';
/// How many tunnels the old process may still open beside the new one, and more: it takes nobody in any more from when
/// that serves.
const IDS_LEFT: u64 = 1_000_000;

/// The sockets of a gateway that serves, kept for the process that will take its place.
pub(crate) struct Estate {
    sockets: Vec<(u8, OwnedFd)>,
}

impl Estate {
    /// Of these listeners.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(crate) fn of(listeners: &Listeners) -> io::Result<Self> {
        let tunnels = listeners.tunnels.iter().map(|listener| (Purpose::Tunnels, listener));
        let api = listeners.api.iter().map(|listener| (Purpose::Api, listener));
        let admin = listeners.admin.iter().map(|listener| (Purpose::Admin, listener));
        let all = tunnels.chain(api).chain(admin).map(|(purpose, listener)| (purpose.byte(), listener.as_fd()));
        let all = all.chain(listeners.elders.sockets().iter().map(|line| (LINE, line.as_fd())));
        let sockets = all.map(|(byte, socket)| Ok((byte, socket.try_clone_to_owned()?)));
        Ok(Self { sockets: sockets.collect::<io::Result<_>>()? })
    }

    /// Starts a process in this one's place, whose last tunnel was `last_id` so far, and waits until it serves. `None`
    /// when there is to be nobody in its place any more, which `stop` says by coming back; then that process is gone
    /// again.
    ///
    /// # Errors
    /// When it doesn't serve; then it is gone again, too.
    pub(crate) async fn pass_on(&self, last_id: u64, stop: impl Future<Output = ()>) -> io::Result<Option<Heir>> {
        let (ours, theirs) = UnixStream::pair()?;
        let (line, their_line) = UnixStream::pair()?;
        let mut process = start(theirs, last_id + IDS_LEFT)?;
        let id = process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let answer = tokio::select! {
            biased;
            answer = timeout(START_LIMIT, self.give(ours, their_line)) => Some(answer),
            () = stop => None,
        };
        let no_heir = match (answer, id) {
            (Some(Ok(Ok(READY))), Some(id)) => return Ok(Some(Heir { process, id, line: Some(line) })),
            (Some(Err(_)), _) => Err(io::Error::new(io::ErrorKind::TimedOut, "the new process does not serve in time")),
            (Some(_), _) => Err(io::Error::other("the new process ended before it served")),
            (None, _) => Ok(None),
        };
        // It may be gone already.
        let _ = process.kill().await;
        no_heir
    }

    /// Gives the sockets and a `line` to this process to a new one, and waits for its answer.
    async fn give(&self, to: UnixStream, line: UnixStream) -> io::Result<u8> {
        for (byte, socket) in &self.sockets {
            sys::pass_descriptor(to.as_fd(), socket.as_fd(), *byte)?;
        }
        sys::pass_descriptor(to.as_fd(), line.as_fd(), LINE)?;
        drop(line);
        to.shutdown(Shutdown::Write)?;
        to.set_nonblocking(true)?;
        tokio::net::UnixStream::from_std(to)?.read_u8().await
    }
}

/// Starts this program again, with one end of a socket as its stdin. Nothing else here holds that end, whose closing is
/// how the end of the new process is noticed. Its tunnels have numbers behind `last_id`.
fn start(stdin: UnixStream, last_id: u64) -> io::Result<Child> {
    let mut arguments = std::env::args_os();
    let program = arguments.next().ok_or_else(|| io::Error::other("this program doesn't know its own name"))?;
    let mut command = Command::new(program);
    command.args(arguments).env(KOHAKURIVER_GATEWAY_HEIR, last_id.to_string()).stdin(OwnedFd::from(stdin)).spawn()
}

/// The process that has taken this one's place.
pub(crate) struct Heir {
    process: Child,
    pub(crate) id: Pid,
    /// By which it asks for the tunnels that are left here.
    pub(crate) line: Option<UnixStream>,
}

impl Heir {
    /// Comes back when it has ended, and not in order: how. A service manager may not notice, since it is not the
    /// parent.
    pub(crate) async fn fails(&mut self) -> ExitStatus {
        match self.process.wait().await {
            Ok(status) if !status.success() => status,
            _ => std::future::pending().await,
        }
    }
}

/// The gateway whose place this process takes.
pub(crate) struct Parent {
    socket: UnixStream,
    /// Numbers up to this one are its own tunnels'.
    last_id: u64,
}

/// What a gateway passes on.
pub(crate) struct PassedOn {
    /// The sockets that listen, each with the byte of its purpose.
    pub(crate) listening: Vec<(u8, OwnedFd)>,
    /// The lines to the processes before, the oldest first.
    lines: Vec<OwnedFd>,
    last_id: u64,
}

impl PassedOn {
    /// The processes before, once there is a runtime.
    pub(crate) fn elders(&mut self) -> io::Result<Elders> {
        Elders::new(self.last_id, std::mem::take(&mut self.lines))
    }
}

impl Parent {
    /// The one at the other end of stdin, when the environment says that there is one. stdin is empty from then on.
    pub(crate) fn from_env() -> Option<io::Result<Self>> {
        let last_id = std::env::var_os(KOHAKURIVER_GATEWAY_HEIR)?.to_str().and_then(|id| id.parse().ok());
        Some(sys::take_stdin().map(|socket| Self { socket: socket.into(), last_id: last_id.unwrap_or_default() }))
    }

    /// What it passes on.
    pub(crate) fn passes_on(&self) -> io::Result<PassedOn> {
        let mut passed_on = PassedOn { listening: Vec::new(), lines: Vec::new(), last_id: self.last_id };
        while let Some((byte, socket)) = sys::receive_descriptor(self.socket.as_fd())? {
            match byte {
                LINE => passed_on.lines.push(socket),
                purpose => passed_on.listening.push((purpose, socket)),
            }
        }
        Ok(passed_on)
    }

    /// Tells it that this process serves now.
    pub(crate) fn relieve(mut self) {
        // A parent that is gone has nothing left to stop.
        let _ = self.socket.write_all(&[READY]);
    }
}
