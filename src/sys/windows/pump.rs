//! Threads that carry bytes between a handle, whose calls wait, and a socket, which can be polled.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::windows::io::OwnedHandle;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::OwnedFd;
use super::poll::socket_pair;

/// Most bytes moved at once.
const CHUNK: usize = 64 * 1024;

/// How long the last bytes of a child may take, after its end, until they can be read: a thread carries them.
pub const OUTPUT_DELAY: Duration = Duration::from_millis(250);

/// The output of a child, to be polled and read.
///
/// # Errors
/// The errors of [`socket_pair`] and of starting a thread.
pub fn readable(output: impl Into<OwnedHandle>) -> io::Result<OwnedFd> {
    reader(output.into().into())
}

/// A socket that holds what comes from `handle`, as it comes, and the end of it. The thread behind it ends with the
/// handle, or with the process.
///
/// # Errors
/// The errors of [`socket_pair`] and of starting a thread.
pub(super) fn reader(mut handle: File) -> io::Result<OwnedFd> {
    let (ours, theirs) = socket_pair()?;
    let mut socket = waiting(ours)?;
    // A handle that can't be read has ended, too.
    let carry = move || drop(carry(&mut handle, &mut socket, || {}));
    thread::Builder::new().name("reader".to_owned()).spawn(carry)?;
    Ok(theirs)
}

/// A socket whose bytes go to `handle` until its stream ends, and the thread that writes them. When the handle takes no
/// more, the socket hangs up, and the thread returns why. `at_first` is called before the first bytes are written.
///
/// # Errors
/// The errors of [`socket_pair`] and of starting a thread.
pub(super) fn writer(
    mut handle: File,
    at_first: impl FnOnce() + Send + 'static,
) -> io::Result<(OwnedFd, JoinHandle<io::Result<()>>)> {
    let (ours, theirs) = socket_pair()?;
    let mut socket = waiting(ours)?;
    let carry = move || match carry(&mut socket, &mut handle, at_first) {
        Err(error) if !has_gone(&error) => Err(error),
        _ => Ok(()),
    };
    let thread = thread::Builder::new().name("writer".to_owned()).spawn(carry)?;
    Ok((theirs, thread))
}

fn waiting(socket: OwnedFd) -> io::Result<TcpStream> {
    let socket = TcpStream::from(socket);
    socket.set_nonblocking(false)?;
    Ok(socket)
}

/// Whether the error of a write says that nobody reads any more.
fn has_gone(error: &io::Error) -> bool {
    const PIPE_NOT_CONNECTED: i32 = 233;
    error.kind() == io::ErrorKind::BrokenPipe || error.raw_os_error() == Some(PIPE_NOT_CONNECTED)
}

/// Carries all bytes, and returns an error of the sink.
fn carry(from: &mut impl Read, to: &mut impl Write, at_first: impl FnOnce()) -> io::Result<()> {
    let mut at_first = Some(at_first);
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                if let Some(at_first) = at_first.take() {
                    at_first();
                }
                to.write_all(&buffer[..read])?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Ok(()),
        }
    }
}
