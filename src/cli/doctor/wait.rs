//! Waiting for the network in a program that no ssh has started.

use std::io;
use std::time::{Duration, Instant};

use crate::dial::Watch;
use crate::sys::{self, AsFd, OwnedFd};

/// Stands in for the ssh that a [`Watch`] watches: a socket whose other end stays open.
pub(super) struct Wait {
    ssh: OwnedFd,
    _other_end: OwnedFd,
}

impl Wait {
    /// # Errors
    /// Those of `socketpair(2)`.
    pub(super) fn new() -> io::Result<Self> {
        sys::socket_pair().map(|(ssh, other_end)| Self { ssh, _other_end: other_end })
    }

    /// A wait of at most `limit`, from now on.
    pub(super) fn at_most(&self, limit: Duration) -> Watch<'_> {
        Watch { ssh: self.ssh.as_fd(), signal: None, deadline: Instant::now() + limit, beside: None }
    }
}
