//! Passing a descriptor to another process over a UNIX socket (`SCM_RIGHTS`, unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage};

use super::sockets::NO_SIGNAL;

/// Whether this system has UNIX sockets with a file.
pub const HAS_LOCAL_SOCKETS: bool = true;

/// Whether a descriptor can be passed to another process.
pub const CAN_PASS_DESCRIPTORS: bool = true;

/// Passes `descriptor` over a UNIX socket with one byte beside it; any byte is right for ssh's `ProxyUseFdpass`.
///
/// # Errors
/// The errors of `sendmsg(2)`.
pub fn pass_descriptor(unix_socket: BorrowedFd<'_>, descriptor: BorrowedFd<'_>, byte: u8) -> io::Result<()> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let sent = rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(unix_socket, &[IoSlice::new(&[byte])], &mut control, NO_SIGNAL)
    })?;
    if sent == 1 { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Takes a descriptor that [`pass_descriptor`] passed, and the byte beside it. `None` at the end of the stream.
///
/// # Errors
/// The errors of `recvmsg(2)`; `InvalidData` when there is a byte and no descriptor.
pub fn receive_descriptor(unix_socket: BorrowedFd<'_>) -> io::Result<Option<(u8, OwnedFd)>> {
    // Elsewhere it can't be had in one step.
    #[cfg(target_os = "linux")]
    const FLAGS: RecvFlags = RecvFlags::CMSG_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    const FLAGS: RecvFlags = RecvFlags::empty();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(unix_socket, &mut [IoSliceMut::new(&mut byte)], &mut control, FLAGS)
    })?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    descriptor.map(|descriptor| Some((byte[0], descriptor))).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use crate::sys::tune;

    #[test]
    fn a_passed_socket_is_the_same_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        tune(&client).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        pass_descriptor(ours.as_fd(), client.as_fd(), b'x').unwrap();
        drop((client, ours));
        let (byte, descriptor) = receive_descriptor(theirs.as_fd()).unwrap().unwrap();
        assert_eq!(byte, b'x');
        assert!(receive_descriptor(theirs.as_fd()).unwrap().is_none());
        TcpStream::from(descriptor).write_all(b"same").unwrap();
        let mut bytes = String::new();
        server.read_to_string(&mut bytes).unwrap();
        assert_eq!(bytes, "same");
    }
}
