//! The kinds of descriptors.

/// The kind of a descriptor, as far as moving bytes is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A pipe or FIFO.
    Pipe,
    /// A socket of the UNIX family.
    UnixSocket,
    /// Any other socket.
    Socket,
    /// A regular file: always ready.
    File,
    /// A terminal.
    Terminal,
    /// /dev/null, anything else.
    Other,
}

impl Kind {
    /// Whether it is a socket of any family.
    pub fn is_socket(self) -> bool {
        matches!(self, Self::UnixSocket | Self::Socket)
    }
}
