//! The gateway that this process replaces, as seen from the new process. [`wire`] has the messages.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;

use crate::gateway::life::wire::{self, Purpose, VERSION};
use crate::settings::env_vars::KOHAKURIVER_GATEWAY_HAND_OVER;
use crate::sys::{self, AsFd, OwnedFd};

/// The gateway that this process replaces.
pub(crate) struct Predecessor {
    socket: UnixStream,
    /// The ids up to this one are its own tunnels'.
    pub(super) last_id: u64,
}

impl Predecessor {
    /// The gateway at the other end of stdin, if the environment says that there is one. stdin is empty afterwards.
    ///
    /// # Errors
    /// When the gateway hands over by another version, and those of `dup(2)`.
    pub(super) fn from_env() -> Option<io::Result<Self>> {
        let greeting = std::env::var_os(KOHAKURIVER_GATEWAY_HAND_OVER)?;
        let last_id = wire::read_greeting(&greeting.to_string_lossy()).map_err(io::Error::other);
        Some(last_id.and_then(|last_id| Ok(Self { socket: sys::take_stdin()?.into(), last_id })))
    }

    /// Receives the sockets that it passes on. The lines among them are in order, the oldest process first.
    pub(super) fn receive(&self) -> io::Result<Vec<(Purpose, OwnedFd)>> {
        let mut sockets = Vec::new();
        while let Some((byte, socket)) = sys::receive_descriptor(self.socket.as_fd())? {
            let purpose = Purpose::of_byte(byte).ok_or_else(|| io::Error::other("an unknown purpose"))?;
            sockets.push((purpose, socket));
        }
        Ok(sockets)
    }

    /// Tells the predecessor that this process serves now.
    pub(crate) fn relieve(mut self) {
        // On failure the predecessor has exited already.
        let _ = self.socket.write_all(&[VERSION]);
    }
}
