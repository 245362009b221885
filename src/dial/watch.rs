//! Waits for the network that ssh, a signal or a deadline can end early.

use std::io;
use std::time::{Duration, Instant};

use crate::sys::{self, BorrowedFd, PollFlags};

/// The reasons to end a wait early.
#[derive(Clone, Copy)]
pub struct Watch<'fd> {
    /// A descriptor whose other end is ssh's; `None` where no ssh waits.
    pub ssh: Option<BorrowedFd<'fd>>,
    /// Becomes readable when a signal asks for the end.
    pub signal: Option<BorrowedFd<'fd>>,
    /// When to give up.
    pub deadline: Instant,
    /// Work to do meanwhile.
    pub beside: Option<&'fd dyn Beside>,
}

/// Work during a wait, such as a progress line.
pub trait Beside {
    /// Does the work that is due, and returns the time of the next call.
    fn tick(&self) -> Option<Instant>;
}

/// Why a wait ended early.
#[derive(Debug, thiserror::Error)]
pub enum Interrupted {
    /// The deadline has passed.
    #[error("no answer in time")]
    Deadline,
    /// ssh, or another program that started this one, has ended.
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
    /// A wait of at most `limit` from now on, which nothing else ends.
    pub fn at_most(limit: Duration) -> Self {
        Self { ssh: None, signal: None, deadline: Instant::now() + limit, beside: None }
    }

    /// Waits until one of `wanted` is ready, or until `until`, whichever comes first. Returns the readiness of each
    /// one.
    ///
    /// # Errors
    /// When a signal, the end of ssh or the deadline comes first.
    pub fn wait(
        &self,
        wanted: &[(BorrowedFd<'_>, PollFlags)],
        until: Option<Instant>,
    ) -> Result<Vec<PollFlags>, Interrupted> {
        let until = until.map_or(self.deadline, |until| until.min(self.deadline));
        let ssh = self.ssh.map(|ssh| (ssh, PollFlags::empty()));
        let signal = self.signal.map(|signal| (signal, PollFlags::IN));
        let all = wanted.iter().copied().chain(ssh).chain(signal);
        let mut entries: Vec<_> = all.map(|(fd, flags)| sys::entry(fd, flags)).collect();
        let ready = loop {
            let due = self.beside.and_then(Beside::tick);
            let ready = sys::poll(&mut entries, Some(due.map_or(until, |due| due.min(until))))?;
            if ready || Instant::now() >= until {
                break ready;
            }
        };
        let (wanted, own) = entries.split_at(wanted.len());
        let (ssh, signal) = own.split_at(ssh.iter().len());
        if signal.iter().any(|signal| !signal.revents().is_empty()) {
            return Err(Interrupted::Signal);
        }
        if ssh.iter().any(sys::is_gone) {
            return Err(Interrupted::SshGone);
        }
        if !ready && Instant::now() >= self.deadline {
            return Err(Interrupted::Deadline);
        }
        Ok(wanted.iter().map(|entry| entry.revents()).collect())
    }

    /// Waits until `fd` is ready for `flags`.
    ///
    /// # Errors
    /// As for [`Watch::wait`].
    pub fn wait_for(&self, fd: BorrowedFd<'_>, flags: PollFlags) -> Result<(), Interrupted> {
        self.wait(&[(fd, flags)], None).map(drop)
    }

    /// Waits until `until`.
    ///
    /// # Errors
    /// As for [`Watch::wait`].
    pub fn pause(&self, until: Instant) -> Result<(), Interrupted> {
        self.wait(&[], Some(until)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn each_reason_to_stop_waiting() {
        let (ssh, ssh_end) = UnixStream::pair().unwrap();
        let (signal, mut signal_end) = UnixStream::pair().unwrap();
        let (network, mut network_end) = UnixStream::pair().unwrap();
        let watch = |milliseconds| Watch {
            ssh: Some(ssh.as_fd()),
            signal: Some(signal.as_fd()),
            deadline: Instant::now() + Duration::from_millis(milliseconds),
            beside: None,
        };
        let wait = |milliseconds| watch(milliseconds).wait(&[(network.as_fd(), PollFlags::IN)], None);

        assert!(matches!(wait(10), Err(Interrupted::Deadline)));
        network_end.write_all(b"x").unwrap();
        assert_eq!(wait(60_000).unwrap(), [PollFlags::IN]);
        // A child that another test starts may hold a copy of the descriptor for a moment: closing it is not enough.
        ssh_end.shutdown(std::net::Shutdown::Both).unwrap();
        assert!(matches!(wait(60_000), Err(Interrupted::SshGone)));
        signal_end.write_all(b"x").unwrap();
        assert!(matches!(wait(60_000), Err(Interrupted::Signal)));
    }

    #[test]
    fn the_end_of_a_pause_is_no_deadline() {
        Watch::at_most(Duration::from_secs(60)).pause(Instant::now() + Duration::from_millis(5)).unwrap();
    }

    #[test]
    fn work_during_a_wait_is_done_in_time_and_ends_no_wait() {
        /// Due every millisecond; it has the network answer in the end.
        struct Often(Cell<u32>, UnixStream);

        impl Beside for Often {
            fn tick(&self) -> Option<Instant> {
                self.0.set(self.0.get() + 1);
                if self.0.get() == 5 {
                    (&self.1).write_all(b"x").unwrap();
                }
                Some(Instant::now() + Duration::from_millis(1))
            }
        }

        let (network, network_end) = UnixStream::pair().unwrap();
        let often = Often(Cell::new(0), network_end);
        let watch = Watch { beside: Some(&often), ..Watch::at_most(Duration::from_secs(60)) };
        watch.wait_for(network.as_fd(), PollFlags::IN).unwrap();
        assert_eq!(often.0.get(), 5);
        let until = Instant::now() + Duration::from_millis(5);
        watch.pause(until).unwrap();
        assert!(Instant::now() >= until && often.0.get() > 5);
    }
}
