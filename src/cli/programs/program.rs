//! Runs another program to its end, within a time limit, and keeps its output.

use std::io::{self, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::sys::{self, AsFd, OwnedFd, PollFlags};

/// How long a program may take that only prints something, such as its version.
pub(crate) const QUICK: Duration = Duration::from_secs(10);

/// Most bytes kept of each output of a program. ssh tells about each block of an ssh_config.
const MAX_OUTPUT: usize = 4 * 1024 * 1024;

/// How long a program has to end after SIGTERM, before SIGKILL.
const GRACE: Duration = Duration::from_secs(4);

/// The pauses of a wait between looks at the program. A program that has closed its output ends at once, as a rule.
const PAUSES: [Duration; 2] = [Duration::from_micros(100), Duration::from_millis(5)];

/// The output and the end of a program.
#[derive(Debug)]
pub(crate) struct Output {
    /// `None` when the time limit ended it.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    pub(crate) fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// The exit status; `None` when a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.and_then(|status| status.code())
    }
}

/// Runs `command` with nothing on stdin, for `limit` at most.
///
/// # Errors
/// When it can't be started or read from.
pub(crate) fn run(command: &mut Command, limit: Duration) -> io::Result<Output> {
    let deadline = Instant::now() + limit;
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pipes = pipes(&mut child)?;
    output(child, pipes, deadline, |_| false)
}

/// Runs `command` on an stdin that holds `input` and has no end, for `limit` at most. On a socket, that is stdout as well.
/// Closes both once it `is_enough` of stdout.
///
/// # Errors
/// When it can't be started or read from.
pub(crate) fn run_with_input(
    mut command: Command,
    input: &[u8],
    on_socket: bool,
    limit: Duration,
    is_enough: impl Fn(&[u8]) -> bool,
) -> io::Result<Output> {
    let deadline = Instant::now() + limit;
    command.stderr(Stdio::piped());
    let (mut child, stdout, _stdin) = if on_socket {
        let (ours, theirs) = sys::socket_pair()?;
        sys::write(ours.as_fd(), input)?;
        command.stdin(sys::stdio_of(theirs.try_clone()?)?).stdout(sys::stdio_of(theirs)?);
        (command.spawn()?, Some(ours), None)
    } else {
        let (theirs, mut ours) = io::pipe()?;
        ours.write_all(input)?;
        let mut child = command.stdin(theirs).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().map(sys::readable).transpose()?;
        (child, stdout, Some(ours))
    };
    // The command holds the other end, too.
    drop(command);
    let pipes = [stdout, child.stderr.take().map(sys::readable).transpose()?];
    output(child, pipes, deadline, is_enough)
}

/// The output of `child` until stdout `is_enough`, and its end.
fn output(
    child: Child,
    mut pipes: [Option<OwnedFd>; 2],
    deadline: Instant,
    is_enough: impl Fn(&[u8]) -> bool,
) -> io::Result<Output> {
    let mut outputs = [Vec::new(), Vec::new()];
    let read = gather(&mut pipes, deadline, |at, bytes| {
        let room = MAX_OUTPUT.saturating_sub(outputs[at].len());
        outputs[at].extend_from_slice(&bytes[..bytes.len().min(room)]);
        !is_enough(&outputs[0])
    });
    drop(pipes);
    let status = end(child, deadline);
    read?;
    let [stdout, stderr] = outputs.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Output { status, stdout, stderr })
}

/// stdout and stderr of a program, to be gathered.
///
/// # Errors
/// The errors of [`sys::readable`].
pub(crate) fn pipes(child: &mut Child) -> io::Result<[Option<OwnedFd>; 2]> {
    let stdout = child.stdout.take().map(sys::readable).transpose()?;
    Ok([stdout, child.stderr.take().map(sys::readable).transpose()?])
}

/// Reads from `pipes` and gives `take` each piece, with the number of its pipe. Ends when all pipes have ended, which are
/// `None` then, `take` returns false, or the deadline passes.
///
/// # Errors
/// The errors of `poll(2)` and `read(2)`.
pub(crate) fn gather(
    pipes: &mut [Option<OwnedFd>],
    deadline: Instant,
    mut take: impl FnMut(usize, &[u8]) -> bool,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let mut entries: Vec<_> = pipes.iter().flatten().map(|pipe| sys::entry(pipe.as_fd(), PollFlags::IN)).collect();
        if entries.is_empty() || !sys::poll(&mut entries, Some(deadline))? {
            return Ok(());
        }
        let ready: Vec<bool> = entries.iter().map(|entry| !entry.revents().is_empty()).collect();
        let open = pipes.iter_mut().enumerate().filter(|(_, pipe)| pipe.is_some());
        for ((at, pipe), _) in open.zip(ready).filter(|(_, is_ready)| *is_ready) {
            match pipe.as_ref().map_or(Ok(0), |pipe| sys::read(pipe.as_fd(), &mut buffer)) {
                Ok(0) => *pipe = None,
                // The end of a socket whose peer has not read everything.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => *pipe = None,
                Ok(read) if take(at, &buffer[..read]) => {}
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Waits for the end of `child`. At `deadline` the child gets SIGTERM, and SIGKILL if it does not end then.
///
/// SIGTERM comes first, since the helper says goodbye to an older Host before it ends.
pub(crate) fn end(mut child: Child, deadline: Instant) -> Option<ExitStatus> {
    if let Some(status) = wait_until(&mut child, deadline) {
        return Some(status);
    }
    sys::ask_to_end(child.id());
    if wait_until(&mut child, Instant::now() + GRACE).is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    None
}

fn wait_until(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    let [mut pause, longest] = PAUSES;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(pause),
            _ => return None,
        }
        pause = longest.min(pause * 2);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A shell that runs `script`.
    pub(crate) fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_and_status_are_kept() {
        let output = run(&mut shell("echo out; echo err >&2; exit 3"), Duration::from_secs(60)).unwrap();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str(), output.code()), ("out\n", "err\n", Some(3)));
    }

    #[test]
    fn the_limit_ends_a_program() {
        let output = run(&mut shell("exec sleep 600"), Duration::ZERO).unwrap();
        assert_eq!((output.status, output.succeeded(), output.code()), (None, false, None));
    }

    #[test]
    fn output_before_the_end_is_read_and_a_deaf_program_is_killed() {
        let mut command = shell("trap '' TERM; echo before; exec sleep 600");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut seen = Vec::new();
        let far = Instant::now() + Duration::from_secs(60);
        gather(&mut pipes(&mut child).unwrap(), far, |_, out| {
            seen.extend_from_slice(out);
            !out.ends_with(b"\n")
        })
        .unwrap();
        assert_eq!(seen, b"before\n");
        assert_eq!(end(child, Instant::now()), None);
    }

    #[test]
    fn output_has_a_limit() {
        let output = run(&mut shell("head -c 5000000 /dev/zero"), Duration::from_secs(60)).unwrap();
        assert!(output.succeeded() && output.stdout.len() == MAX_OUTPUT);
    }
}
