//! One tunnel, with the benchmark in the part of ssh.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use kohakuriver_proxy::sys::receive_descriptor;
use rustix::process::Pid;

use super::child::Overseen;
use super::contestants::{Contestant, Mode};
use crate::support::limits::{self, ONE_CONNECTION};
use crate::support::vps::BANNER;

/// A helper that was started, or the connection that takes its place.
pub(crate) struct Session {
    ends: Ends,
    helper: Option<Overseen>,
    /// The CPU time of a helper that has handed its socket over and ended, in seconds.
    spent: f64,
}

enum Ends {
    Pipes {
        stdin: File,
        stdout: File,
    },
    /// The socket comes over this one.
    Awaited(UnixStream),
    /// The gateway's answer is still to come.
    Asked(TcpStream),
    Socket(TcpStream),
}

impl Session {
    /// Starts the contestant and waits for nothing.
    pub(crate) fn start(contestant: &Contestant, proxy: SocketAddr, home: &Path) -> Result<Self> {
        if contestant.mode == Mode::Direct {
            let mut socket = limits::connect(proxy)?;
            let target = format!("{}:22", contestant.vps);
            socket.write_all(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes())?;
            return Ok(Self { ends: Ends::Asked(socket), helper: None, spent: 0.0 });
        }
        let mut command = contestant.command(home);
        let ends = if contestant.mode == Mode::Stdio {
            let (their_stdin, stdin) = std::io::pipe()?;
            let (stdout, their_stdout) = std::io::pipe()?;
            command.stdin(their_stdin).stdout(their_stdout);
            Ends::Pipes { stdin: OwnedFd::from(stdin).into(), stdout: OwnedFd::from(stdout).into() }
        } else {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_read_timeout(Some(ONE_CONNECTION))?;
            command.stdin(OwnedFd::from(theirs.try_clone()?)).stdout(OwnedFd::from(theirs));
            Ends::Awaited(ours)
        };
        // corkscrew and others say things there while all is well.
        let helper = Overseen::start(command.stderr(Stdio::null()))?;
        Ok(Self { ends, helper: Some(helper), spent: 0.0 })
    }

    /// Waits for the VPS's first byte.
    pub(crate) fn first_byte(&mut self) -> Result<()> {
        let socket = match &self.ends {
            Ends::Awaited(unix_socket) => Some(receive_socket(unix_socket)?),
            Ends::Asked(socket) => Some(read_answer(socket.try_clone()?)?),
            Ends::Pipes { .. } | Ends::Socket(_) => None,
        };
        if let Some(socket) = socket {
            self.ends = Ends::Socket(socket);
        }
        let mut first = [0];
        self.read_exact(&mut first)?;
        ensure!(first[0] == BANNER[0], "the first byte is {first:?}");
        Ok(())
    }

    /// Waits for the VPS's whole banner, and for the end of a helper that has handed its socket over.
    pub(crate) fn open(contestant: &Contestant, proxy: SocketAddr, home: &Path) -> Result<Self> {
        let mut session = Self::start(contestant, proxy, home)?;
        session.first_byte()?;
        let mut rest = [0; BANNER.len() - 1];
        session.read_exact(&mut rest)?;
        ensure!(rest == BANNER[1..], "not the banner: {rest:?}");
        if contestant.mode == Mode::Fdpass
            && let Some(helper) = session.helper.take()
        {
            session.spent = helper.wait()?.cpu;
        }
        Ok(session)
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let read = match &mut self.ends {
            Ends::Pipes { stdout, .. } => stdout.read(buffer),
            Ends::Socket(socket) => socket.read(buffer),
            Ends::Awaited(_) | Ends::Asked(_) => bail!("the tunnel is not open"),
        };
        let read = read?;
        ensure!(read > 0, "the tunnel has ended before its time");
        Ok(read)
    }

    pub(crate) fn read_exact(&mut self, mut buffer: &mut [u8]) -> Result<()> {
        while !buffer.is_empty() {
            let read = self.read(buffer)?;
            buffer = &mut buffer[read..];
        }
        Ok(())
    }

    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.ends {
            Ends::Pipes { stdin, .. } => stdin.write_all(bytes)?,
            Ends::Socket(socket) => socket.write_all(bytes)?,
            Ends::Awaited(_) | Ends::Asked(_) => bail!("the tunnel is not open"),
        }
        Ok(())
    }

    /// The helper, while there is one.
    pub(crate) fn helper_id(&self) -> Option<Pid> {
        self.helper.as_ref().map(Overseen::id)
    }

    /// Ends it; the CPU seconds of the helper's whole life.
    pub(crate) fn close(mut self) -> Result<f64> {
        let spent = self.helper.take().map(Overseen::kill).transpose()?.map_or(0.0, |remains| remains.cpu);
        Ok(self.spent + spent)
    }
}

/// Takes the socket that a helper hands over, as ssh does.
fn receive_socket(unix_socket: &UnixStream) -> Result<TcpStream> {
    let (_, passed) = receive_descriptor(unix_socket.as_fd())?.context("the helper handed no socket over")?;
    let socket = TcpStream::from(passed);
    // nc's is in non-blocking mode; ssh makes any it is given so.
    socket.set_nonblocking(false)?;
    limits::bound(&socket)?;
    Ok(socket)
}

/// Takes the gateway's answer off the socket, and not one byte behind it.
fn read_answer(mut socket: TcpStream) -> Result<TcpStream> {
    const END: &[u8] = b"\r\n\r\n";
    let mut answer = [0; 4096];
    loop {
        let seen = socket.peek(&mut answer)?;
        if let Some(at) = answer[..seen].windows(END.len()).position(|window| window == END) {
            socket.read_exact(&mut answer[..at + END.len()])?;
            ensure!(answer.starts_with(b"HTTP/1.1 200 "), "no tunnel: {}", String::from_utf8_lossy(&answer[..at]));
            return Ok(socket);
        }
        ensure!(seen > 0, "the gateway closed without an answer");
    }
}
