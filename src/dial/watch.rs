//! Waiting for the network with an eye on what may end the wait before its time.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::event::PollFlags;

use crate::sys;

/// What may end a wait before its time.
#[derive(Clone, Copy)]
pub struct Watch<'fd> {
    /// A descriptor whose other end is ssh's.
    pub ssh: BorrowedFd<'fd>,
    /// Becomes readable when a signal asks for the end.
    pub signal: Option<BorrowedFd<'fd>>,
    /// When to give up.
    pub deadline: Instant,
}

/// Why a wait ended without what it waited for.
#[derive(Debug, thiserror::Error)]
pub enum Interrupted {
    /// The deadline has passed.
    #[error("no answer in time")]
    Deadline,
    /// Whoever started this program has gone.
    #[error("ssh has gone")]
    SshGone,
    /// A signal asked for the end.
    #[error("a signal asked for the end")]
    Signal,
    /// Waiting itself failed.
    #[error("cannot wait for the network: {0}")]
    Wait(#[from] io::Error),
}

impl Watch<'_> {
    /// Waits until one of `wanted` is ready, or until `until`, whichever comes first; gives back what each one is
    /// ready for.
    ///
    /// # Errors
    /// When a signal, the end of ssh or the deadline comes first.
    pub fn wait(
        &self,
        wanted: &[(BorrowedFd<'_>, PollFlags)],
        until: Option<Instant>,
    ) -> Result<Vec<PollFlags>, Interrupted> {
        let mut entries = vec![sys::entry(self.ssh, PollFlags::empty())];
        entries.extend(wanted.iter().map(|&(fd, flags)| sys::entry(fd, flags)));
        entries.extend(self.signal.map(|signal| sys::entry(signal, PollFlags::IN)));
        let until = until.map_or(self.deadline, |until| until.min(self.deadline));
        let ready = sys::poll(&mut entries, Some(until))?;

        let signalled = self.signal.is_some() && entries.last().is_some_and(|entry| !entry.revents().is_empty());
        if signalled {
            return Err(Interrupted::Signal);
        }
        if sys::is_gone(&entries[0]) {
            return Err(Interrupted::SshGone);
        }
        if !ready && Instant::now() >= self.deadline {
            return Err(Interrupted::Deadline);
        }
        Ok(entries[1..=wanted.len()].iter().map(|entry| entry.revents()).collect())
    }

    /// Waits until `fd` is ready for `flags`.
    ///
    /// # Errors
    /// As for [`Watch::wait`].
    pub fn wait_for(&self, fd: BorrowedFd<'_>, flags: PollFlags) -> Result<(), Interrupted> {
        self.wait(&[(fd, flags)], None).map(drop)
    }

    /// What `call` comes to once `fd` lets it: it is repeated, with a wait for `flags` in between, for as long as it
    /// would block.
    ///
    /// # Errors
    /// As for [`Watch::wait`]. An error of the call itself is inside.
    pub fn until_done<T>(
        &self,
        fd: BorrowedFd<'_>,
        flags: PollFlags,
        mut call: impl FnMut() -> io::Result<T>,
    ) -> Result<io::Result<T>, Interrupted> {
        loop {
            match call() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_for(fd, flags)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Ok(result),
            }
        }
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// As for [`Watch::until_done`].
    pub fn send(&self, socket: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<io::Result<()>, Interrupted> {
        while !bytes.is_empty() {
            match self.until_done(socket, PollFlags::OUT, || sys::send(socket, bytes))? {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    #[test]
    fn each_reason_to_stop_waiting() {
        let (ssh, ssh_end) = UnixStream::pair().unwrap();
        let (signal, mut signal_end) = UnixStream::pair().unwrap();
        let (network, mut network_end) = UnixStream::pair().unwrap();
        let watch = |milliseconds| Watch {
            ssh: ssh.as_fd(),
            signal: Some(signal.as_fd()),
            deadline: Instant::now() + Duration::from_millis(milliseconds),
        };
        let wait = |milliseconds| watch(milliseconds).wait(&[(network.as_fd(), PollFlags::IN)], None);

        assert!(matches!(wait(10), Err(Interrupted::Deadline)));
        network_end.write_all(b"x").unwrap();
        assert_eq!(wait(60_000).unwrap(), [PollFlags::IN]);
        drop(ssh_end);
        assert!(matches!(wait(60_000), Err(Interrupted::SshGone)));
        signal_end.write_all(b"x").unwrap();
        assert!(matches!(wait(60_000), Err(Interrupted::Signal)));
    }

    #[test]
    fn a_nearer_time_is_no_deadline() {
        let (ssh, _ssh_end) = UnixStream::pair().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let watch = Watch { ssh: ssh.as_fd(), signal: None, deadline };
        let ready = watch.wait(&[], Some(Instant::now() + Duration::from_millis(5))).unwrap();
        assert!(ready.is_empty());
    }
}
