//! The gateway that this process replaces, as seen from the new process. [`wire`] has the messages.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;

use crate::gateway::life::previous::PreviousProcesses;
use crate::gateway::life::wire::{self, LINE, VERSION};
use crate::settings::env_vars::KOHAKURIVER_GATEWAY_HAND_OVER;
use crate::sys::{self, AsFd, OwnedFd};

/// The gateway that this process replaces.
pub(crate) struct Predecessor {
    socket: UnixStream,
    /// The ids up to this one are its own tunnels'.
    last_id: u64,
}

/// The sockets and lines that a predecessor passes on.
pub(super) struct PassedOn {
    /// The listening sockets, each with the byte of its purpose.
    pub(super) listening: Vec<(u8, OwnedFd)>,
    /// The lines to the previous processes, the oldest first.
    lines: Vec<OwnedFd>,
    last_id: u64,
}

impl PassedOn {
    /// The previous processes. Needs a runtime.
    pub(super) fn previous(&mut self) -> io::Result<PreviousProcesses> {
        PreviousProcesses::new(self.last_id, std::mem::take(&mut self.lines))
    }
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

    /// Receives what it passes on.
    pub(super) fn receive(&self) -> io::Result<PassedOn> {
        let mut passed_on = PassedOn { listening: Vec::new(), lines: Vec::new(), last_id: self.last_id };
        while let Some((byte, socket)) = sys::receive_descriptor(self.socket.as_fd())? {
            match byte {
                LINE => passed_on.lines.push(socket),
                purpose => passed_on.listening.push((purpose, socket)),
            }
        }
        Ok(passed_on)
    }

    /// Tells the predecessor that this process serves now.
    pub(crate) fn relieve(mut self) {
        // On failure the predecessor has exited already.
        let _ = self.socket.write_all(&[VERSION]);
    }
}
