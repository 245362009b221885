//! An entry of [`poll`](super::poll): a descriptor and the events to wait for.

pub use rustix::event::{PollFd, PollFlags};
use rustix::fd::BorrowedFd;

/// An entry for [`poll`](super::poll). With no flags it reports errors and hang-ups alone.
pub fn entry(fd: BorrowedFd<'_>, flags: PollFlags) -> PollFd<'_> {
    PollFd::from_borrowed_fd(fd, flags)
}

/// Whether the other end of a descriptor is gone, as [`poll`](super::poll) reported it.
pub fn is_gone(entry: &PollFd<'_>) -> bool {
    entry.revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL)
}
