//! The client: the program that started the helper, as a rule ssh. Its first bytes tell how it gets a failure.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Stdin, Stdout, stdin, stdout};
use std::time::{Duration, Instant};

use super::child;
use super::disconnect;
use super::journal::Journal;
use crate::failure::Failure;
use crate::settings::{self, env_vars::KOHAKURIVER_TOLD};
use crate::sys::{self, AsFd, Kind, PollFlags};
use crate::target::{SSH_PORT, Target};

/// The clients that print the message of a disconnect, by the start of their identification (RFC 4253 §4.2). Paramiko
/// prints "Negotiation failed" instead, and Dropbear exits with 0.
const PRINTS_A_DISCONNECT: [&[u8]; 3] = [b"SSH-2.0-OpenSSH_", b"SSH-2.0-PuTTY_", b"SSH-2.0-AsyncSSH_"];

/// The length of the longest identification.
const LONGEST: usize = 255;

/// How long to wait for the client's identification. Clients send it as soon as they have started this program.
const TO_SPEAK: Duration = Duration::from_secs(1);

/// How long to wait for the client's end after the message.
const TO_END: Duration = Duration::from_secs(5);

/// The client on stdin and stdout.
pub struct Client {
    stdin: Stdin,
    stdout: Stdout,
    /// The client asked for a socket (`--fdpass`).
    fdpass: bool,
    /// Failures go to stderr only: the client asked for that, speaks another protocol, or has begun to read a stream.
    stderr_only: bool,
    /// The client's first bytes, once they are read.
    first: Vec<u8>,
}

impl Client {
    /// The client that gave these arguments. They are searched for two options only, since the failure may be that one
    /// of the others is wrong.
    pub fn with(arguments: impl IntoIterator<Item = OsString>) -> Self {
        let (mut fdpass, mut stderr_only) = (false, false);
        for argument in arguments {
            fdpass |= argument == "--fdpass";
            stderr_only |= argument == "--no-disconnect";
        }
        Self { stdin: stdin(), stdout: stdout(), fdpass, stderr_only, first: Vec::new() }
    }

    /// Takes note of the target: on another port than 22, another server than an sshd listens.
    pub(super) fn note_target(&mut self, target: &Target, port: u16) {
        self.stderr_only |= matches!(target, Target::Foreign { .. }) && port != SSH_PORT;
    }

    /// Takes note that stdout holds bytes of the server: nothing may be added to that stream.
    pub(super) fn note_stream(&mut self) {
        self.stderr_only = true;
    }

    /// Whether the client waits for a socket. ssh makes stdin and stdout one socket. Node.js makes a socket for each,
    /// where others make pipes.
    pub(super) fn waits_for_socket(&self) -> bool {
        let (stdin, stdout) = (self.stdin.as_fd(), self.stdout.as_fd());
        let apart = Kind::of(stdin) == Kind::UnixSocket && !sys::is_same(stdin, stdout);
        self.fdpass && Kind::of(stdout) == Kind::UnixSocket && !apart
    }

    /// Whether the client has begun to speak. libssh makes one socket for both ends as well, but speaks SSH over it.
    pub(super) fn speaks(&self) -> bool {
        !self.first.is_empty() || sys::peek(self.stdout.as_fd(), &mut [0]).is_ok_and(|bytes| bytes > 0)
    }

    /// Reads the client's first bytes, if they come before `until`, and returns them.
    pub(super) fn hear(&mut self, until: Instant) -> &[u8] {
        let stdin = self.stdin.as_fd();
        let kind = Kind::of(stdin);
        let may_speak = kind == Kind::Pipe || kind.is_socket();
        if self.first.is_empty() && may_speak && is_ready(stdin, PollFlags::IN, until) {
            let mut bytes = vec![0; LONGEST];
            let read = sys::read(stdin, &mut bytes).unwrap_or(0);
            bytes.truncate(read);
            self.first = bytes;
        }
        &self.first
    }

    /// Reports `failure` once: as a disconnect to a client that prints it, else on stderr. The log file gets it always.
    pub fn tell(&mut self, failure: &Failure, journal: &Journal) {
        // ssh ends this program as soon as it has read the message, so everything else comes first.
        journal.clear();
        if let Some(mark) = settings::process_environment(KOHAKURIVER_TOLD) {
            // Without the mark, the user reads one line more.
            let _ = sys::private(File::options().write(true).create_new(true)).open(mark);
        }
        let not_logged = journal.log(failure).err();
        let printed = (!self.disconnect(failure)).then_some(failure);
        for failure in printed.into_iter().chain(&not_logged) {
            journal.print(failure);
        }
    }

    /// Sends `failure` as a disconnect. Returns whether the client prints it; `false` also if the client has gone.
    fn disconnect(&mut self, failure: &Failure) -> bool {
        let kind = Kind::of(self.stdout.as_fd());
        if self.stderr_only || !(kind == Kind::Pipe || kind.is_socket()) {
            return false;
        }
        let answer = disconnect::answer(failure);
        if self.waits_for_socket() && !self.speaks() {
            return self.pass(&answer).is_ok();
        }
        let first = self.hear(Instant::now() + TO_SPEAK);
        PRINTS_A_DISCONNECT.iter().any(|name| first.starts_with(name)) && self.write(&answer)
    }

    /// Passes the client a socket that holds `answer` and the end of the stream.
    fn pass(&self, answer: &[u8]) -> io::Result<()> {
        let (theirs, ours) = sys::socket_pair()?;
        sys::write(ours.as_fd(), answer)?;
        sys::end_writing(ours.as_fd())?;
        child::start(ours)?;
        sys::pass_descriptor(self.stdout.as_fd(), theirs.as_fd(), 0)
    }

    /// Writes `answer`, and takes what the client still sends until it ends. A client that can't write any more would
    /// end before it reads the answer.
    fn write(&self, mut answer: &[u8]) -> bool {
        let deadline = Instant::now() + TO_END;
        while !answer.is_empty() {
            if !is_ready(self.stdout.as_fd(), PollFlags::OUT, deadline) {
                return false;
            }
            match sys::write(self.stdout.as_fd(), answer) {
                Ok(written) => answer = &answer[written..],
                Err(_) => return false,
            }
        }
        let mut rest = [0; 4096];
        while is_ready(self.stdin.as_fd(), PollFlags::IN, deadline)
            && sys::read(self.stdin.as_fd(), &mut rest).is_ok_and(|bytes| bytes > 0)
        {}
        true
    }
}

fn is_ready(end: sys::BorrowedFd<'_>, flags: PollFlags, until: Instant) -> bool {
    let mut entries = [sys::entry(end, flags)];
    sys::poll(&mut entries, Some(until)).unwrap_or(false) && entries[0].revents().intersects(flags)
}
