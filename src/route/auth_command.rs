//! `proxy_auth_command`: a command that logs in to the upstream proxy in a way that this program doesn't have.
//!
//! The command runs before each connection, without waiting for a 407: it is set for a proxy that wants a login. Its first
//! output line is the value of `Proxy-Authorization`, and is never logged.

use std::io;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::dial::{Interrupted, Watch};
use crate::secret::{Authorization, AuthorizationError, MAX_AUTHORIZATION};
use crate::sys::{self, AsFd, BorrowedFd, PollFlags};

/// Most bytes read at once.
const CHUNK: usize = 4096;

/// Why the command gave no value. Quotes nothing of its output.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The command can't be run.
    #[error("it can't be run: {0}")]
    Run(io::Error),
    /// The command ended with this status.
    #[error("it ended with {0}")]
    Failed(String),
    /// The command was still running at the deadline.
    #[error("it did not end in time")]
    Late,
    /// The wait for it was interrupted, by something else than the deadline.
    #[error(transparent)]
    Interrupted(Interrupted),
    /// Its output can't be the value.
    #[error(transparent)]
    Output(#[from] AuthorizationError),
}

impl From<Interrupted> for CommandError {
    fn from(why: Interrupted) -> Self {
        if matches!(why, Interrupted::Deadline) { Self::Late } else { Self::Interrupted(why) }
    }
}

/// Runs `line` in the system's shell and reads the first line of its output. Its stderr is this program's.
pub(super) fn run(line: &str, watch: Watch<'_>) -> Result<Authorization, CommandError> {
    let mut command = sys::shell(line);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(CommandError::Run)?;
    let child = Arc::new(Mutex::new(child));
    let output = read(&child, watch);
    if output.is_err() {
        // The command may have ended already. If it has not, its output is no longer wanted.
        let _ = lock(&child).kill();
    }
    let status = lock(&child).wait().map_err(CommandError::Run)?;
    let output = output?;
    if !status.success() {
        return Err(CommandError::Failed(status.to_string()));
    }
    let first = output.split(|&byte| byte == b'\n').next().unwrap_or_default();
    // Bytes that are not UTF-8 become U+FFFD, which `Authorization` refuses because it isn't ASCII.
    Ok(Authorization::new(&String::from_utf8_lossy(first))?)
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Its output until it has ended: a program that it leaves running may keep its stdout open.
fn read(child: &Arc<Mutex<Child>>, watch: Watch<'_>) -> Result<Vec<u8>, CommandError> {
    let end = sys::end_of(child).map_err(CommandError::Run)?;
    let Some(stdout) = lock(child).stdout.take() else { return Ok(Vec::new()) };
    let stdout = sys::readable(stdout).map_err(CommandError::Run)?;
    let (stdout, end) = (stdout.as_fd(), end.as_fd());
    let mut output = Vec::new();
    loop {
        let ready = watch.wait(&[(stdout, PollFlags::IN), (end, PollFlags::IN)], None)?;
        // The command may have written before it ended: those bytes arrive at once.
        let is_ready = !ready[0].is_empty() || has_more(stdout, watch)?;
        if !is_ready {
            return Ok(output);
        }
        let mut chunk = [0; CHUNK];
        match sys::read(stdout, &mut chunk) {
            Ok(0) => {
                watch.wait_for(end, PollFlags::IN)?;
                return Ok(output);
            }
            Ok(read) => output.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CommandError::Run(error)),
        }
        if output.len() > MAX_AUTHORIZATION + CHUNK {
            return Err(AuthorizationError::Long.into());
        }
    }
}

fn has_more(stdout: BorrowedFd<'_>, watch: Watch<'_>) -> Result<bool, CommandError> {
    let ready = watch.wait(&[(stdout, PollFlags::IN)], Some(Instant::now() + sys::OUTPUT_DELAY))?;
    Ok(ready.iter().any(|flags| !flags.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn said(line: &str) -> String {
        match run(line, Watch::at_most(Duration::from_secs(60))) {
            Ok(value) => value.expose().to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_first_line_of_its_output_counts() {
        for (line, expected) in [
            ("echo Negotiate YII==", "Negotiate YII=="),
            ("echo 'Basic eA=='; echo more", "Basic eA=="),
            ("printf 'Basic eA==\\r\\n'", "Basic eA=="),
            ("read line; echo \"Basic $line.\"", "Basic ."),
            ("exit 3", "it ended with exit status: 3"),
            ("echo Basic x; exit 3", "it ended with exit status: 3"),
            ("true", "its output is empty"),
            ("echo; echo Basic x", "its output is empty"),
            ("exec >&-; exit 0", "its output is empty"),
            ("printf 'Basic \\033[2J'", "its first line holds characters that no header field has"),
            ("printf 'Basic \\377'", "its first line holds characters that no header field has"),
            ("yes sekrit | head -c 200000", "its first line is longer than 65536 bytes"),
        ] {
            assert_eq!(said(line), expected, "{line}");
        }
        assert!(said("exec /no/such/program 2>&-").starts_with("it ended with exit status: 127"));
    }

    #[test]
    fn a_program_that_it_leaves_running_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        // Its stdout stays open until somebody writes to the FIFO.
        let line = format!("mkfifo {0} && {{ cat {0} & echo 'Basic eA=='; }}", fifo.display());
        assert_eq!(said(&line), "Basic eA==");
        drop(std::fs::File::options().write(true).open(fifo).unwrap());
    }

    #[test]
    fn it_is_not_waited_for_beyond_the_deadline() {
        for line in ["exec sleep 600", "exec >&-; exec sleep 600"] {
            let error = run(line, Watch::at_most(Duration::from_millis(30))).unwrap_err();
            assert!(matches!(error, CommandError::Late), "{error}");
        }
    }
}
