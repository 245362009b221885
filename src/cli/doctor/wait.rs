//! Waiting for the network in a program that no ssh has started.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::dial::Watch;

/// Stands in for the ssh that a [`Watch`] watches: a socket whose other end stays open.
pub(super) struct Wait {
    ssh: UnixStream,
    _other_end: UnixStream,
}

impl Wait {
    /// # Errors
    /// Those of `socketpair(2)`.
    pub(super) fn new() -> io::Result<Self> {
        UnixStream::pair().map(|(ssh, other_end)| Self { ssh, _other_end: other_end })
    }

    /// A wait of at most `limit`, from now on.
    pub(super) fn at_most(&self, limit: Duration) -> Watch<'_> {
        Watch { ssh: self.ssh.as_fd(), signal: None, deadline: Instant::now() + limit, beside: None }
    }
}
