//! TCP_RTO_MAX_MS: the longest pause before TCP sends bytes again.

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::sync::LazyLock;

use nix::errno::Errno;
use nix::{getsockopt_impl, libc, sockopt_impl};

/// `linux/tcp.h`
const TCP_RTO_MAX_MS: libc::c_int = 44;

sockopt_impl!(LongestPause, GetOnly, libc::IPPROTO_TCP, TCP_RTO_MAX_MS, u32);

/// Whether this kernel has the option. Linux has it from 6.15 on.
pub(crate) static HAS_LONGEST_PAUSE: LazyLock<bool> =
    LazyLock::new(|| longest_pause(&TcpListener::bind("127.0.0.1:0").unwrap()) != Err(Errno::ENOPROTOOPT));

/// The longest pause of a socket, in milliseconds.
pub(crate) fn longest_pause(socket: &impl AsFd) -> Result<u32, Errno> {
    nix::sys::socket::getsockopt(socket, LongestPause)
}
