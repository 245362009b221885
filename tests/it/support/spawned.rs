//! The helper between ends that the test holds itself: pipes, a socketpair, or the socket that ssh would be handed.

use std::fs::File;
use std::io::{BufRead, BufReader, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::process::{Pid, Signal};

use super::front::Place;
use super::home::Home;
use super::peers::hears;
use super::run::DEADLINE;
use super::tools::HELPER;

/// Why a helper gave up when ssh has gone, and its hint.
pub(crate) const SSH_HAS_GONE: &str = "ssh has gone\n  hint: if ssh said `mm_receive_fd`, a start-up file of your shell \
                                       prints: `kohakuriver doctor` shows what";

/// The kinds of stdin and stdout.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Ends {
    /// Two pipes, as ssh makes them.
    Pipes,
    /// One socketpair for both, as libssh makes it.
    Socketpair,
    /// A socketpair for each, as Node.js makes them.
    Apart,
    /// A socketpair for stdin and a pipe for stdout, as asyncio makes them.
    Mixed,
}

/// Both sides of stdin and stdout.
pub(crate) struct Open {
    /// The helper's ends.
    pub(crate) theirs: (OwnedFd, OwnedFd),
    pub(crate) stdin: Writer,
    pub(crate) stdout: File,
}

impl Ends {
    pub(crate) const ALL: [Self; 4] = [Self::Pipes, Self::Socketpair, Self::Apart, Self::Mixed];

    pub(crate) fn open(self) -> Open {
        let pipe_out = || {
            let (ours, theirs) = std::io::pipe().unwrap();
            (OwnedFd::from(ours).into(), OwnedFd::from(theirs))
        };
        let socket = || UnixStream::pair().unwrap();
        let (their_in, stdin) = match self {
            Self::Pipes => {
                let (theirs, ours) = std::io::pipe().unwrap();
                (theirs.into(), Writer::Pipe(OwnedFd::from(ours).into()))
            }
            Self::Socketpair | Self::Apart | Self::Mixed => {
                let (ours, theirs) = socket();
                (OwnedFd::from(theirs), Writer::Socket(ours))
            }
        };
        let (stdout, their_out) = match (self, &stdin) {
            (Self::Socketpair, Writer::Socket(ours)) => {
                (OwnedFd::from(ours.try_clone().unwrap()).into(), their_in.try_clone().unwrap())
            }
            (Self::Apart, _) => {
                let (ours, theirs) = socket();
                (OwnedFd::from(ours).into(), theirs.into())
            }
            _ => pipe_out(),
        };
        Open { theirs: (their_in, their_out), stdin, stdout }
    }
}

/// A helper that runs. It is killed when this is dropped.
pub(crate) struct Spawned {
    child: Child,
    /// Its lines.
    stderr: Receiver<String>,
    /// The write end of the helper's stdin. Dropping this end ends stdin.
    pub(crate) stdin: Option<Writer>,
    /// The read end of the helper's stdout.
    pub(crate) stdout: Option<File>,
}

/// The write end of a helper's stdin.
pub(crate) enum Writer {
    Pipe(File),
    Socket(UnixStream),
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.write(bytes),
            Self::Socket(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Self::Socket(socket) = self {
            // The other direction of the same socket may still be read.
            let _ = socket.shutdown(Shutdown::Write);
        }
    }
}

/// For a helper that must end by itself: its own time limit comes after [`DEADLINE`], so a helper that waits for that
/// limit fails the test.
pub(crate) const PATIENT: [&str; 2] = ["--connect-timeout", "600"];

/// The helper with a hermetic environment and `--proxy`.
pub(crate) fn helper(home: &Home, proxy: impl Into<Place>, args: &[&str]) -> Command {
    let mut command = Command::new(HELPER);
    command.env_clear().env("HOME", home.path()).current_dir(home.path());
    command.args(proxy.into().words()).args(args);
    command
}

impl Spawned {
    pub(crate) fn start(ends: Ends, home: &Home, proxy: impl Into<Place>, args: &[&str]) -> Self {
        Self::start_command(ends, helper(home, proxy, args))
    }

    pub(crate) fn start_command(ends: Ends, mut command: Command) -> Self {
        let Open { theirs, stdin, stdout } = ends.open();
        command.stdin(theirs.0).stdout(theirs.1);
        let mut spawned = Self::start_with_stdio(command);
        (spawned.stdin, spawned.stdout) = (Some(stdin), Some(stdout));
        spawned
    }

    /// Starts a command whose stdin and stdout are set already.
    pub(crate) fn start_with_stdio(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        // The command holds its copies of the other ends.
        drop(command);
        let mut pipe = BufReader::new(child.stderr.take().unwrap());
        let (sender, stderr) = mpsc::channel();
        thread::spawn(move || {
            let mut line = Vec::new();
            while let Ok(1..) = pipe.read_until(b'\n', &mut line) {
                // The test may not read any more.
                let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
                line.clear();
            }
        });
        Self { child, stderr, stdin: None, stdout: None }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap()
    }

    /// Reads stdout to its end.
    pub(crate) fn read_all(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stdout.as_mut().unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// An sshd's banner must come.
    pub(crate) fn banner_comes(&mut self) {
        hears(self.stdout.as_mut().unwrap(), b"SSH-2.0-");
    }

    /// Ends stdin behind these bytes. The server gets them all, and its reply still comes.
    #[track_caller]
    pub(crate) fn asks_until_stdin_ends(mut self, bytes: Vec<u8>, mut server: TcpStream) {
        let mut stdin = self.stdin.take().unwrap();
        let sent = bytes.clone();
        let sending = thread::spawn(move || stdin.write_all(&sent));
        let mut question = Vec::new();
        server.read_to_end(&mut question).unwrap();
        assert!(question == bytes, "bytes were lost: {} of {}", question.len(), bytes.len());
        sending.join().unwrap().unwrap();
        server.write_all(b"the reply").unwrap();
        drop(server);
        assert_eq!(self.read_all(), b"the reply");
        self.ends_with(0, "");
    }

    /// Waits until the helper ends by itself: exit status and stderr. The test's ends stay open meanwhile.
    #[track_caller]
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let stderr = self.stderr_ends();
        (self.child.wait().unwrap(), stderr)
    }

    /// Waits until its stderr is at its end: what stood there.
    #[track_caller]
    pub(crate) fn stderr_ends(&self) -> String {
        let end = Instant::now() + DEADLINE;
        let mut text = String::new();
        loop {
            match self.stderr.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => text += &line,
                Err(RecvTimeoutError::Disconnected) => return text,
                Err(RecvTimeoutError::Timeout) => panic!("the helper does not end; so far it said {text:?}"),
            }
        }
    }

    /// Waits for a line of its stderr that ends like this: that line, and what stood before it.
    #[track_caller]
    pub(crate) fn stderr_until(&self, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(&format!("{end}\n")) {
            text += &self.stderr_line();
        }
        text
    }

    /// The next line of its stderr, with its line end. [`Spawned::wait`] does not repeat this line.
    #[track_caller]
    pub(crate) fn stderr_line(&self) -> String {
        self.stderr.recv_timeout(DEADLINE).expect("the helper says nothing")
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end, which must have this status, and this text on stderr.
    #[track_caller]
    pub(crate) fn ends_with(self, code: i32, stderr: &str) {
        let (status, said) = self.wait();
        assert_eq!((status.code(), said.as_str()), (Some(code), stderr));
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the helper with `--fdpass` on a UNIX socket, as ssh does, and takes the socket it hands over.
pub(crate) fn handed_over(home: &Home, proxy: impl Into<Place>, args: &[&str]) -> (Option<TcpStream>, Spawned) {
    let mut command = helper(home, proxy, args);
    command.arg("--fdpass");
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(DEADLINE)).unwrap();
    command.stdin(OwnedFd::from(theirs.try_clone().unwrap())).stdout(OwnedFd::from(theirs));
    let spawned = Spawned::start_with_stdio(command);
    (take_socket(&ours), spawned)
}

/// Runs the helper as [`handed_over`] does. It must fail with these lines: not on stderr, but in the socket that ssh
/// gets, as the disconnect that ssh prints.
#[track_caller]
pub(crate) fn fails_handed_over(home: &Home, proxy: impl Into<Place>, args: &[&str], lines: &str) {
    let proxy = proxy.into();
    // The process that carries the tunnel has failed, and ssh has got its message.
    let status = if proxy.ca.is_some() { 0 } else { 1 };
    let (socket, spawned) = handed_over(home, proxy, args);
    let mut bytes = Vec::new();
    socket.expect("no socket was passed").read_to_end(&mut bytes).unwrap();
    assert_eq!(disconnect(&bytes), lines);
    spawned.ends_with(status, "");
}

/// The message in the stream of a server that ends the connection at once, as lines on stderr would show it.
#[track_caller]
pub(crate) fn disconnect(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == b'\n').expect("an identification") + 1;
    assert!(bytes.starts_with(b"SSH-2.0-kohakuriver_proxy_"), "{}", bytes.escape_ascii());
    // The packet's two lengths, its type and its reason are 10 bytes; the length of the message follows (RFC 4253 §6).
    let (length, message) = bytes[end + 10..].split_first_chunk().unwrap();
    let message = &message[..u32::from_be_bytes(*length) as usize];
    format!("kohakuriver-proxy: {}\n", String::from_utf8(message.to_vec()).unwrap())
}

/// Takes the socket that comes over a UNIX socket; `None` if the other end is closed instead.
pub(crate) fn take_socket(ours: impl AsFd) -> Option<TcpStream> {
    let ours = ours.as_fd();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 2];
    // With a timeout set, a machine that is paused and resumed interrupts it.
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(ours, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })
    .unwrap();
    let socket = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    assert_eq!(received.bytes, usize::from(socket.is_some()), "one byte goes with a socket, and none without");
    socket.map(TcpStream::from)
}

/// The lines of a helper's log file, without the time and the process id before each.
pub(crate) fn logged(path: &Path) -> Vec<String> {
    let log = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    log.lines().map(|line| line.split_once("] ").unwrap().1.to_owned()).collect()
}

/// A time that is long for a program and short for a person.
pub(crate) const MOMENT: Duration = Duration::from_millis(200);
