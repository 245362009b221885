//! The client: the program that started the helper, as a rule ssh. Its first bytes tell how it gets a failure.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use super::child;
use super::disconnect;
use super::journal::Journal;
use crate::failure::Failure;
use crate::settings::{self, env_vars::KOHAKURIVER_EXPLAINED};
use crate::sys::{self, AsFd as _, BorrowedFd, Kind, PollFlags};
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
pub struct Client<'fd> {
    stdin: BorrowedFd<'fd>,
    stdout: BorrowedFd<'fd>,
    /// The client asked for a socket (`--fdpass`).
    fdpass: bool,
    /// This process is the carrier behind the client's socket, which has not spoken before it reads.
    carries: bool,
    /// Failures go to stderr only: the client asked for that, speaks another protocol, or has begun to read a stream.
    stderr_only: bool,
    /// The client's first bytes, once they are read.
    first: Vec<u8>,
}

impl<'fd> Client<'fd> {
    /// The client on this stdin and stdout, which gave these arguments. They are searched for three options only,
    /// since the failure may be that one of the others is wrong.
    pub fn new(stdin: BorrowedFd<'fd>, stdout: BorrowedFd<'fd>, arguments: impl IntoIterator<Item = OsString>) -> Self {
        let (mut fdpass, mut carries, mut stderr_only) = (false, false, false);
        for argument in arguments {
            fdpass |= argument == "--fdpass";
            carries |= argument.to_str().is_some_and(|option| option.strip_prefix("--") == Some(child::CARRY));
            stderr_only |= argument == "--no-disconnect";
        }
        Self { stdin, stdout, fdpass: fdpass && !carries, carries, stderr_only, first: Vec::new() }
    }

    /// The descriptor that the client writes to.
    pub(super) fn stdin(&self) -> BorrowedFd<'fd> {
        self.stdin
    }

    /// The descriptor that the client reads from.
    pub(super) fn stdout(&self) -> BorrowedFd<'fd> {
        self.stdout
    }

    /// Takes note of the target: on another port than 22, another server than an sshd listens.
    pub(super) fn note_target(&mut self, target: &Target, port: u16) {
        self.stderr_only |= matches!(target, Target::Foreign { .. }) && port != SSH_PORT;
    }

    /// Whether this process is the carrier behind the client's socket.
    pub(super) fn is_carried(&self) -> bool {
        self.carries
    }

    /// Takes note that stdout holds bytes of the server: nothing may be added to that stream.
    pub(super) fn note_stream(&mut self) {
        self.stderr_only = true;
    }

    /// Whether the client waits for a socket. ssh makes stdin and stdout one socket. Node.js makes a socket for each,
    /// where others make pipes.
    pub(super) fn waits_for_socket(&self) -> bool {
        let apart = Kind::of(self.stdin) == Kind::UnixSocket && !sys::is_same(self.stdin, self.stdout);
        self.fdpass && Kind::of(self.stdout) == Kind::UnixSocket && !apart
    }

    /// Whether the client has begun to speak. libssh makes one socket for both ends as well, but speaks SSH over it.
    pub(super) fn speaks(&self) -> bool {
        !self.first.is_empty() || sys::peek(self.stdout, &mut [0]).is_ok_and(|bytes| bytes > 0)
    }

    /// Reads the client's first bytes, if they come before `until`, and returns them.
    pub(super) fn hear(&mut self, until: Instant) -> &[u8] {
        let kind = Kind::of(self.stdin);
        let may_speak = kind == Kind::Pipe || kind.is_socket();
        if self.first.is_empty() && may_speak && is_ready(self.stdin, PollFlags::IN, until) {
            let mut bytes = vec![0; LONGEST];
            let read = sys::read(self.stdin, &mut bytes).unwrap_or(0);
            bytes.truncate(read);
            self.first = bytes;
        }
        &self.first
    }

    /// Reports `failure` once: as a disconnect to a client that prints it, else on stderr. The log file gets it always.
    pub fn tell(&mut self, failure: &Failure, journal: &Journal) {
        // ssh ends this program as soon as it has read the message, so everything else comes first.
        journal.clear();
        if let Some(mark) = settings::process_environment(KOHAKURIVER_EXPLAINED) {
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
        let kind = Kind::of(self.stdout);
        if self.stderr_only || !(kind == Kind::Pipe || kind.is_socket()) {
            return false;
        }
        let answer = disconnect::answer(failure);
        if self.waits_for_socket() && !self.speaks() {
            return self.pass(&answer).is_ok();
        }
        if self.carries {
            // Only an ssh asks for a socket, and it gets this one once the answer is in it.
            return self.write(&answer);
        }
        let first = self.hear(Instant::now() + TO_SPEAK);
        PRINTS_A_DISCONNECT.iter().any(|name| first.starts_with(name)) && self.write(&answer)
    }

    /// Passes the client a socket that holds `answer` and the end of the stream.
    fn pass(&self, answer: &[u8]) -> io::Result<()> {
        let (theirs, ours) = sys::socket_pair()?;
        sys::write(ours.as_fd(), answer)?;
        sys::end_writing(ours.as_fd())?;
        child::start_holder(ours)?;
        sys::pass_descriptor(self.stdout, theirs.as_fd(), 0)
    }

    /// Writes `answer`, and takes what the client still sends until it ends. A client that can't write any more would
    /// end before it reads the answer.
    fn write(&self, mut answer: &[u8]) -> bool {
        let deadline = Instant::now() + TO_END;
        while !answer.is_empty() {
            if !is_ready(self.stdout, PollFlags::OUT, deadline) {
                return false;
            }
            match sys::write(self.stdout, answer) {
                Ok(written) => answer = &answer[written..],
                Err(_) => return false,
            }
        }
        let mut rest = [0; 4096];
        while is_ready(self.stdin, PollFlags::IN, deadline)
            && sys::read(self.stdin, &mut rest).is_ok_and(|bytes| bytes > 0)
        {}
        true
    }
}

/// Whether a call would not wait any more before `until`: it may also tell of an end.
fn is_ready(end: BorrowedFd<'_>, flags: PollFlags, until: Instant) -> bool {
    sys::poll(&mut [sys::entry(end, flags)], Some(until)).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Refusal;
    use crate::status::VpsStatus;
    use crate::terminal::Screen;
    use std::fs::File;
    use std::io::{PipeReader, Read, Write as _, pipe};
    use std::os::unix::net::UnixStream;

    const SSH: &[u8] = b"SSH-2.0-OpenSSH_9.2\r\n";

    fn failure() -> Failure {
        let paused = Refusal::Inactive(VpsStatus::Paused.into());
        Failure::new(paused.title("42")).hint(paused.hint("42").unwrap())
    }

    fn arguments(options: &[&str]) -> Vec<OsString> {
        ["kohakuriver-proxy", "42", "22"].iter().chain(options).map(OsString::from).collect()
    }

    /// A stdin from which these bytes come, and then the end.
    fn saying(bytes: &[u8]) -> PipeReader {
        let (stdin, mut says) = pipe().unwrap();
        says.write_all(bytes).unwrap();
        stdin
    }

    /// Everything up to the end.
    fn rest(mut source: impl Read) -> Vec<u8> {
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// The answer to a client on pipes that said `first` and ended, and whether it prints that. `before` happens first.
    fn answered(first: &[u8], options: &[&str], before: impl FnOnce(&mut Client<'_>)) -> (bool, Vec<u8>) {
        let (stdin, (hears, stdout)) = (saying(first), pipe().unwrap());
        let mut client = Client::new(stdin.as_fd(), stdout.as_fd(), arguments(options));
        before(&mut client);
        let is_printed = client.disconnect(&failure());
        drop(stdout);
        (is_printed, rest(hears))
    }

    #[test]
    fn a_client_that_prints_a_disconnect_gets_one() {
        let answer = disconnect::answer(&failure());
        for name in ["OpenSSH_9.2", "PuTTY_Release_0.78", "AsyncSSH_2.14.0"] {
            let first = format!("SSH-2.0-{name}\r\n");
            assert_eq!(answered(first.as_bytes(), &[], |_| {}), (true, answer.clone()), "{name}");
        }
        for first in [&b""[..], b"SSH-2.0-paramiko_3.4\r\n", b"SSH-2.0-dropbear_2022.83\r\n", b"GET / HTTP/1.1\r\n"] {
            assert_eq!(answered(first, &[], |_| {}), (false, Vec::new()), "{}", first.escape_ascii());
        }
        // Without a socket to pass, it has to read the answer as any other.
        assert_eq!(answered(SSH, &["--fdpass"], |_| {}), (true, answer));
    }

    #[test]
    fn a_stream_that_is_no_server_of_ssh_gets_no_disconnect() {
        assert_eq!(answered(SSH, &["--no-disconnect"], |_| {}), (false, Vec::new()));
        assert_eq!(answered(SSH, &[], |client| client.note_stream()), (false, Vec::new()));
        let target = |name, port| Target::parse(name, port).unwrap();
        for (name, port, is_printed) in [("42", 22, true), ("example.org", 22, true), ("example.org", 443, false)] {
            let (printed, _) = answered(SSH, &[], |client| client.note_target(&target(name, port), port));
            assert_eq!(printed, is_printed, "{name}:{port}");
        }
        let (stdin, null) = (pipe().unwrap().0, File::options().write(true).open("/dev/null").unwrap());
        assert!(!Client::new(stdin.as_fd(), null.as_fd(), arguments(&[])).disconnect(&failure()));
    }

    #[test]
    fn a_client_that_reads_no_more_prints_nothing() {
        let (stdin, (hears, stdout)) = (saying(SSH), pipe().unwrap());
        drop(hears);
        assert!(!Client::new(stdin.as_fd(), stdout.as_fd(), arguments(&[])).disconnect(&failure()));
    }

    /// A client writes a little more, and would end with an error if nobody read that.
    #[test]
    fn what_a_client_still_sends_is_taken() {
        let ((stdin, mut says), (mut hears, stdout)) = (pipe().unwrap(), pipe().unwrap());
        says.write_all(SSH).unwrap();
        let ssh = std::thread::spawn(move || {
            let mut answer = vec![0; disconnect::answer(&failure()).len()];
            hears.read_exact(&mut answer).unwrap();
            says.write_all(&[7; 200_000])
        });
        assert!(Client::new(stdin.as_fd(), stdout.as_fd(), arguments(&[])).disconnect(&failure()));
        assert!(ssh.join().unwrap().is_ok());
    }

    #[test]
    fn only_a_client_with_one_socket_waits_for_another() {
        let ((ours, _ssh), (other, _node)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        let (pipe, _writer) = pipe().unwrap();
        let (one, other, pipe) = (ours.as_fd(), other.as_fd(), pipe.as_fd());
        for (stdin, stdout, options, waits) in [
            (one, one, &["--fdpass"][..], true),
            (pipe, one, &["--fdpass"], true),
            (one, other, &["--fdpass"], false),
            (one, pipe, &["--fdpass"], false),
            (one, one, &[], false),
        ] {
            assert_eq!(Client::new(stdin, stdout, arguments(options)).waits_for_socket(), waits);
        }
    }

    #[cfg(feature = "gateway")]
    #[test]
    fn a_client_that_waits_for_a_socket_gets_one_with_the_disconnect() {
        let (ours, ssh) = UnixStream::pair().unwrap();
        let mut client = Client::new(ours.as_fd(), ours.as_fd(), arguments(&["--fdpass"]));
        assert!(!client.speaks() && client.disconnect(&failure()));
        let (_, passed) = sys::receive_descriptor(ssh.as_fd()).unwrap().unwrap();
        assert_eq!(rest(UnixStream::from(passed)), disconnect::answer(&failure()));
    }

    /// As libssh does, which has one socket for both ends as well.
    #[test]
    fn a_client_that_speaks_over_its_socket_gets_the_disconnect_there() {
        let (ours, mut ssh) = UnixStream::pair().unwrap();
        let mut client = Client::new(ours.as_fd(), ours.as_fd(), arguments(&["--fdpass"]));
        ssh.write_all(SSH).unwrap();
        ssh.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(client.speaks() && client.disconnect(&failure()) && client.speaks());
        drop(ours);
        assert_eq!(rest(ssh), disconnect::answer(&failure()));
        let (ours, ssh) = UnixStream::pair().unwrap();
        drop(ssh);
        assert!(!Client::new(ours.as_fd(), ours.as_fd(), arguments(&[])).speaks(), "it has gone");
    }

    #[test]
    fn a_slow_client_is_waited_for() {
        let ((stdin, mut says), (_hears, stdout)) = (pipe().unwrap(), pipe().unwrap());
        let ssh = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            says.write_all(SSH)
        });
        // The time of production is too short for a machine that is busy.
        let until = Instant::now() + Duration::from_secs(20);
        assert_eq!(Client::new(stdin.as_fd(), stdout.as_fd(), arguments(&[])).hear(until), SSH);
        ssh.join().unwrap().unwrap();
    }

    #[test]
    fn its_first_bytes_are_heard_once() {
        let ((stdin, mut says), (_hears, stdout)) = (pipe().unwrap(), pipe().unwrap());
        let mut client = Client::new(stdin.as_fd(), stdout.as_fd(), arguments(&[]));
        let soon = || Instant::now() + Duration::from_millis(20);
        let until = soon();
        assert_eq!(client.hear(until), b"");
        assert!(Instant::now() >= until);
        says.write_all(SSH).unwrap();
        assert_eq!(client.hear(Instant::now() + TO_END), SSH);
        says.write_all(b"more").unwrap();
        assert_eq!(client.hear(soon()), SSH);
        drop(says);
        assert_eq!(rest(&stdin), b"more");
        // A file can't wait for anything.
        let null = File::open("/dev/null").unwrap();
        assert_eq!(Client::new(null.as_fd(), stdout.as_fd(), arguments(&[])).hear(Instant::now() + TO_END), b"");
    }

    #[test]
    fn a_failure_goes_into_the_log_file_whoever_prints_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let journal = Journal::on(Screen::None, false, Some(&log));
        let (stdin, (hears, stdout)) = (saying(SSH), pipe().unwrap());
        Client::new(stdin.as_fd(), stdout.as_fd(), arguments(&[])).tell(&failure(), &journal);
        drop(stdout);
        assert_eq!(rest(hears), disconnect::answer(&failure()));
        assert!(std::fs::read_to_string(&log).unwrap().contains("VPS 42 is paused"));
    }
}
