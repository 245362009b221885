//! The carrying child: a process of this program that stays with ssh after the helper has ended.
//!
//! With `ProxyUseFdpass`, ssh waits for the end of the helper before it uses the passed socket. If the other end of that
//! socket is in this program, another process must hold it. There are two such processes, and the helper starts both:
//!
//! - The holder ([`hold`]) has a socket with a last message for ssh in it.
//! - The carrier ([`carry`]) opens the tunnel itself and carries its bytes, where the connection to the proxy has TLS: only
//!   a bare socket can be ssh's. The helper passes the other end of its socket on as soon as a byte is in it, which is
//!   the first one of the VPS, or the message why there is none.
//!
//! Neither has another descriptor of ssh or of the program that started ssh, since a program that captures the output of
//! ssh must not have to wait for the child. The carrier keeps stderr until the tunnel is open.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::process::{Child, Command, Stdio};

use crate::failure::Failure;
use crate::relay;
use crate::sys::{self, AsFd, BorrowedFd, OwnedFd, PollFlags};

/// The option that makes a process of this program the holder. It isn't in `--help`, since only the helper uses it.
pub(super) const HOLD: &str = "hold";

/// The option that makes a process of this program the carrier.
pub(super) const CARRY: &str = "carry";

/// Starts the holder, which holds `end` until ssh closes the other end of it.
///
/// # Errors
/// When it can't be started.
pub(super) fn start_holder(end: OwnedFd) -> io::Result<()> {
    let mut child = Command::new(std::env::current_exe()?);
    child.arg(format!("--{HOLD}")).env_clear().current_dir("/");
    child.stdin(sys::stdio_of(end)?).stdout(Stdio::null()).stderr(Stdio::null());
    // Ctrl-C is for ssh. The end of ssh ends the child.
    sys::in_own_group(&mut child).spawn().map(drop)
}

/// The work of the holder: it discards what ssh sends, until ssh has ended.
pub fn hold() {
    // The child inherits the descriptors that this program inherited, such as the log of `ssh -E`.
    sys::close_all_but_stdio();
    let mut bytes = [0; 4096];
    while !matches!(io::stdin().read(&mut bytes), Ok(0) | Err(_)) {}
}

/// The first step of the carrier.
pub(super) fn carry() {
    sys::close_all_but_stdio();
}

/// The hint about a socket that can't be passed.
pub(super) const WITHOUT_FDPASS: &str = "leave `--fdpass` and `ProxyUseFdpass` out: then bytes are piped";

/// How the attempt to pass ssh the carrier's socket ended.
pub(super) enum Carried {
    /// ssh has it.
    Passed,
    /// The client has begun to speak where it would take the socket, so the bytes of this one have to be piped.
    Kept(OwnedFd),
    /// The socket can't be passed.
    Unpassed(io::Error),
    /// The carrier has reported its failure on stderr, and ended with this status.
    Failed(u8),
}

/// Starts the carrier with the arguments of this process, and passes the client the other end of its socket, unless the
/// client `speaks` by then.
///
/// # Errors
/// When it can't be started.
pub(super) fn pass_carried(stdout: BorrowedFd<'_>, speaks: impl Fn() -> bool) -> Result<Carried, Failure> {
    let cannot = |error: &io::Error| {
        let failure = Failure::new("cannot start the process that carries the tunnel for ssh").because(error);
        failure.hint(WITHOUT_FDPASS)
    };
    let (theirs, ours) = sys::socket_pair().map_err(|error| cannot(&error))?;
    let mut child = start_carrier(ours).map_err(|error| cannot(&error))?;
    // The carrier has a deadline. If ssh ends before, nobody holds this socket any more, which tells the carrier.
    let ready = &mut [sys::entry(theirs.as_fd(), PollFlags::IN), sys::entry(stdout, PollFlags::empty())];
    let _ = sys::poll(ready, None);
    match sys::peek(theirs.as_fd(), &mut [0]) {
        Ok(1..) if speaks() => Ok(Carried::Kept(theirs)),
        Ok(1..) => match relay::pass_socket(stdout, theirs.as_fd()) {
            Ok(()) => Ok(Carried::Passed),
            Err(error) => Ok(Carried::Unpassed(error)),
        },
        _ => {
            drop(theirs);
            let status = child.wait().ok().and_then(|status| status.code());
            Ok(Carried::Failed(status.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
        }
    }
}

fn start_carrier(end: OwnedFd) -> io::Result<Child> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut child = Command::new(std::env::current_exe()?);
    // The arguments may hold a `--`, behind which nothing is an option.
    child.arg(format!("--{CARRY}")).args(arguments);
    child.stdin(sys::stdio_of(end.try_clone()?)?).stdout(sys::stdio_of(end)?);
    sys::in_own_group(&mut child).spawn()
}
