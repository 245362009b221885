//! The hand-over of a gateway's sockets to a new process, which runs the same program with the same arguments.
//!
//! The sockets stay open all the time, so no connection attempt is lost. For a moment both processes accept side by
//! side. If the new process doesn't start to serve, the old one continues as before. The program is started from the
//! path that this process was started from, so an upgrade works this way too. [`wire`] has the messages.

use std::io;
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::gateway::front::listen::Listeners;
use crate::gateway::life::wire::{self, Purpose, VERSION};
use crate::gateway::roster::previous::PreviousProcesses;
use crate::settings::env_vars::KOHAKURIVER_GATEWAY_HAND_OVER;
use crate::sys::{self, AsFd, BorrowedFd, OwnedFd};

/// How long a new process has until it serves.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How many ids are left to the tunnels that the old process still opens beside the new one. It opens none any more once
/// the new process serves, so this is plenty.
const IDS_LEFT: u64 = 1_000_000;

/// The sockets of a gateway that serves, kept for its successor.
pub(crate) struct HandOver {
    sockets: Vec<(Purpose, OwnedFd)>,
}

impl HandOver {
    /// Duplicates the sockets of the listeners and the lines to the previous processes.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(crate) fn of(listeners: &Listeners, previous: &PreviousProcesses) -> io::Result<Self> {
        let tunnels = listeners.tunnels.iter().map(|listener| (Purpose::Tunnels, listener.as_fd()));
        let tls = listeners.tls.iter().map(|listener| (Purpose::Tls, listener.as_fd()));
        let api = listeners.api.iter().map(|listener| (Purpose::Api, listener.as_fd()));
        let admin = listeners.admin.iter().map(|socket| {
            let purpose = if socket.has_own_file() { Purpose::AdminWithFile } else { Purpose::Admin };
            (purpose, socket.as_fd())
        });
        let lines = previous.sockets.iter().map(|line| (Purpose::Line, line.as_fd()));
        let all = tunnels.chain(tls).chain(api).chain(admin).chain(lines);
        let sockets = all.map(|(purpose, socket)| Ok((purpose, socket.try_clone_to_owned()?)));
        Ok(Self { sockets: sockets.collect::<io::Result<_>>()? })
    }

    /// Starts a successor, and waits until it serves. The last tunnel so far has `last_id`. If `stop` returns first, the
    /// result is `None`, and the new process is gone again.
    ///
    /// # Errors
    /// When the new process doesn't serve. It is gone again then, too.
    pub(crate) async fn run(&self, last_id: u64, stop: impl Future<Output = ()>) -> io::Result<Option<Successor>> {
        let (ours, theirs) = UnixStream::pair()?;
        let (line, their_line) = UnixStream::pair()?;
        let (sessions, their_sessions) = UnixStream::pair()?;
        let mut process = start(theirs, last_id + IDS_LEFT)?;
        let id = process.id();
        let answer = tokio::select! {
            biased;
            answer = timeout(START_LIMIT, self.give(ours, their_line, their_sessions)) => Some(answer),
            () = stop => None,
        };
        let failed = match (answer, id) {
            (Some(Ok(Ok(VERSION))), Some(id)) => {
                return Ok(Some(Successor { process, id, line: Some(line), sessions: Some(sessions.into()) }));
            }
            (Some(Ok(Ok(other))), _) => {
                let why = format!("the new process hands over by version {other}, and this one by version {VERSION}");
                Err(io::Error::other(why))
            }
            (Some(Err(_)), _) => Err(io::Error::new(io::ErrorKind::TimedOut, "the new process does not serve in time")),
            (Some(Ok(Err(_))), _) => Err(io::Error::other("the new process ended before it served")),
            (None, _) => Ok(None),
        };
        // On failure the process has exited already.
        let _ = process.kill().await;
        failed
    }

    /// Gives the sockets, a `line` to this process and a socket for its `sessions` to the successor, and waits for its
    /// answer.
    async fn give(&self, to: UnixStream, line: UnixStream, sessions: UnixStream) -> io::Result<u8> {
        to.set_nonblocking(true)?;
        let mut to = tokio::net::UnixStream::from_std(to)?;
        for (purpose, socket) in &self.sockets {
            pass(&to, socket.as_fd(), *purpose).await?;
        }
        pass(&to, sessions.as_fd(), Purpose::Sessions).await?;
        pass(&to, line.as_fd(), Purpose::Line).await?;
        drop((line, sessions));
        to.shutdown().await?;
        to.read_u8().await
    }
}

/// Passes a descriptor. A socket whose buffer is full is waited for, and so [`START_LIMIT`] holds for a successor that
/// doesn't read.
async fn pass(to: &tokio::net::UnixStream, socket: BorrowedFd<'_>, purpose: Purpose) -> io::Result<()> {
    to.async_io(Interest::WRITABLE, || sys::pass_descriptor(to.as_fd(), socket, purpose as u8)).await
}

/// Starts this program again, with one end of a socket as its stdin. This process keeps no copy of that end, so the end
/// of the new process ends the stream. Its tunnels count up from `last_id`.
fn start(stdin: UnixStream, last_id: u64) -> io::Result<Child> {
    let mut arguments = std::env::args_os();
    let program = arguments.next().ok_or_else(|| io::Error::other("this program doesn't know its own name"))?;
    let mut command = Command::new(program);
    let command = command.args(arguments).env(KOHAKURIVER_GATEWAY_HAND_OVER, wire::greeting(last_id));
    command.stdin(OwnedFd::from(stdin)).spawn()
}

/// The process that serves instead of this one now.
pub(crate) struct Successor {
    process: Child,
    pub(crate) id: u32,
    /// The line on which the successor asks about the tunnels that this process still has.
    pub(crate) line: Option<UnixStream>,
    /// On it, this process passes its resumable tunnels on.
    pub(crate) sessions: Option<OwnedFd>,
}

impl Successor {
    /// Returns when the successor has failed, with its exit status. A service manager may not notice, since it isn't
    /// the parent.
    pub(crate) async fn fails(&mut self) -> ExitStatus {
        match self.process.wait().await {
            Ok(status) if !status.success() => status,
            _ => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::tests::PATIENCE;
    use std::net::TcpListener;
    use std::sync::mpsc::channel;

    /// More sockets than the buffer of a UNIX socket takes.
    fn many() -> HandOver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = || (Purpose::Tunnels, listener.as_fd().try_clone_to_owned().unwrap());
        HandOver { sockets: (0..400).map(|_| socket()).collect() }
    }

    #[test]
    fn a_successor_that_reads_nothing_holds_up_no_thread() {
        let (sender, done) = channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
            let timed_out = runtime.unwrap().block_on(async {
                let [(ours, _theirs), (_line, line), (_end, sessions)] = [(); 3].map(|()| UnixStream::pair().unwrap());
                timeout(START_LIMIT, many().give(ours, line, sessions)).await.is_err()
            });
            sender.send(timed_out).unwrap();
        });
        assert!(done.recv_timeout(PATIENCE).expect("it blocks its thread"));
    }

    #[tokio::test]
    async fn a_successor_gets_every_socket_and_says_its_version() {
        let [(ours, theirs), (_line, line), (_end, sessions)] = [(); 3].map(|()| UnixStream::pair().unwrap());
        let successor = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            while let Some((byte, _)) = sys::receive_descriptor(theirs.as_fd()).unwrap() {
                bytes.push(byte);
            }
            io::Write::write_all(&mut &theirs, &[7]).unwrap();
            bytes
        });
        let version = timeout(PATIENCE, many().give(ours, line, sessions)).await.expect("it waits forever").unwrap();
        assert_eq!(version, 7);
        let mut bytes = successor.join().unwrap();
        assert_eq!([bytes.pop(), bytes.pop()], [Some(Purpose::Line as u8), Some(Purpose::Sessions as u8)]);
        assert_eq!(bytes, vec![Purpose::Tunnels as u8; 400]);
    }
}
