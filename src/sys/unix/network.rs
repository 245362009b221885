//! Changes of the network: links, addresses and routes that come and go.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Tells when the network of this machine changes. Only Linux does, over rtnetlink (rtnetlink(7)).
pub struct NetworkChanges(OwnedFd);

impl NetworkChanges {
    /// Listens from now on.
    ///
    /// # Errors
    /// The errors of `socket(2)` and `bind(2)`; `Unsupported` on other systems.
    pub fn listen() -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        {
            use rustix::net::netlink::SocketAddrNetlink;
            use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
            // The groups of linux/rtnetlink.h: links, and the addresses and routes of IPv4 and IPv6.
            const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            // Without a protocol it is NETLINK_ROUTE.
            let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
            bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
            Ok(Self(socket))
        }
        #[cfg(not(target_os = "linux"))]
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether anything has changed since the last call.
    pub fn are_there(&self) -> bool {
        let (mut buffer, mut are_there) = ([0; 8192], false);
        // A queue that has overflowed reports an error once, and lost changes.
        while let Ok(1..) | Err(rustix::io::Errno::NOBUFS) = rustix::io::read(&self.0, &mut buffer) {
            are_there = true;
        }
        are_there
    }
}

impl AsFd for NetworkChanges {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
