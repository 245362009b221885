//! The program that started the helper, as a rule ssh: what it has said so far, and how it is told of a failure.

use std::ffi::OsString;
use std::io::{self, Stdin, Stdout, stdin, stdout};
use std::time::{Duration, Instant};

use super::child;
use super::disconnect;
use super::journal::Journal;
use crate::failure::Failure;
use crate::sys::{self, AsFd, Kind, PollFlags};
use crate::target::{SSH_PORT, Target};

/// How the identifications of the clients begin that print the message of a disconnect (RFC 4253 §4.2). Others hide it:
/// Paramiko says "Negotiation failed", and Dropbear exits with 0.
const PRINTS_A_DISCONNECT: [&[u8]; 3] = [b"SSH-2.0-OpenSSH_", b"SSH-2.0-PuTTY_", b"SSH-2.0-AsyncSSH_"];

/// The length of the longest identification.
const LONGEST: usize = 255;

/// How long a client has for its identification. Clients send it as soon as they have started this program.
const TO_SPEAK: Duration = Duration::from_secs(1);

/// How long a client has to read the message, and to end.
const TO_END: Duration = Duration::from_secs(5);

/// The client.
pub struct Client {
    stdin: Stdin,
    stdout: Stdout,
    /// It asked to be passed a socket.
    fdpass: bool,
    /// A disconnect is no answer for it: it speaks another protocol, or it asked for none.
    takes_none: bool,
    /// Its first bytes, once they were read.
    first: Vec<u8>,
}

impl Client {
    /// The client that gave these arguments, which may be wrong ones.
    pub fn with(arguments: impl IntoIterator<Item = OsString>) -> Self {
        let (mut fdpass, mut takes_none) = (false, false);
        for argument in arguments {
            fdpass |= argument == "--fdpass";
            takes_none |= argument == "--no-disconnect";
        }
        Self { stdin: stdin(), stdout: stdout(), fdpass, takes_none, first: Vec::new() }
    }

    /// Takes note of what it wants to reach.
    pub(super) fn note_target(&mut self, target: &Target, port: u16) {
        self.takes_none |= matches!(target, Target::Foreign { .. }) && port != SSH_PORT;
    }

    /// Whether it waits for a socket. ssh makes stdin and stdout one socket. Node.js makes a socket for each, where
    /// others make pipes.
    pub(super) fn waits_for_socket(&self) -> bool {
        let (stdin, stdout) = (self.stdin.as_fd(), self.stdout.as_fd());
        let apart = Kind::of(stdin) == Kind::UnixSocket && !sys::is_same(stdin, stdout);
        self.fdpass && Kind::of(stdout) == Kind::UnixSocket && !apart
    }

    /// Whether it has begun to speak. libssh makes one socket for both ends as well, but speaks SSH over it.
    pub(super) fn speaks(&self) -> bool {
        !self.first.is_empty() || sys::peek(self.stdout.as_fd(), &mut [0]).is_ok_and(|bytes| bytes > 0)
    }

    /// Reads its first bytes, if they come before `until`, and returns them.
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

    /// Tells it of `failure`, once: in its own protocol if it prints that, else on stderr. The log file gets it always.
    pub fn tell(&mut self, failure: &Failure, journal: &Journal) {
        // The log file comes first, since ssh ends this program as soon as it has read the message.
        let not_logged = journal.log(failure).err();
        let printed = (!self.disconnect(failure)).then_some(failure);
        for failure in printed.into_iter().chain(&not_logged) {
            journal.print(failure);
        }
    }

    /// Tells it of `failure` in its own protocol, if it prints that. `false` also if it has gone.
    fn disconnect(&mut self, failure: &Failure) -> bool {
        let kind = Kind::of(self.stdout.as_fd());
        if self.takes_none || !(kind == Kind::Pipe || kind.is_socket()) {
            return false;
        }
        let answer = disconnect::answer(failure);
        if self.waits_for_socket() && !self.speaks() {
            return self.pass(&answer).is_ok();
        }
        let first = self.hear(Instant::now() + TO_SPEAK);
        PRINTS_A_DISCONNECT.iter().any(|name| first.starts_with(name)) && self.write(&answer)
    }

    /// Passes it a socket in which `answer` waits, and then the end.
    fn pass(&self, answer: &[u8]) -> io::Result<()> {
        let (theirs, ours) = sys::socket_pair()?;
        sys::write(ours.as_fd(), answer)?;
        sys::end_writing(ours.as_fd())?;
        child::start(ours)?;
        sys::pass_descriptor(self.stdout.as_fd(), theirs.as_fd(), 0)
    }

    /// Writes `answer`, and waits until the client has ended: while it writes to a closed pipe, it reads nothing.
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
