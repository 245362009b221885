//! Descriptors: sockets, whatever their kind elsewhere.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::windows::io::AsSocket as _;

use super::{BorrowedFd, OwnedFd};
use crate::sys::Kind;

/// Lends its socket.
pub trait AsFd {
    /// The socket.
    fn as_fd(&self) -> BorrowedFd<'_>;
}

macro_rules! lend_socket {
    ($($lender:ty),*) => {$(
        impl AsFd for $lender {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.as_socket()
            }
        }
    )*};
}

lend_socket!(BorrowedFd<'_>, OwnedFd, TcpListener, TcpStream);

impl<T: AsFd + ?Sized> AsFd for &T {
    fn as_fd(&self) -> BorrowedFd<'_> {
        (**self).as_fd()
    }
}

impl<T: AsFd + ?Sized> AsFd for Box<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        (**self).as_fd()
    }
}

impl Kind {
    /// The kind of `fd`: there is one only.
    pub fn of(_fd: BorrowedFd<'_>) -> Self {
        Self::Socket
    }

    /// Whether an error of reading from it, or of writing to it, says that the thread or process at its other end has
    /// gone.
    pub fn has_hung_up(self, error: &io::Error) -> bool {
        matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted)
    }
}

/// Whether `error` says that this process, or the system, has no descriptor left (WSAEMFILE).
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error())
}
