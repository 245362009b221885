//! How soon TCP sends bytes again that nobody has acknowledged.
//!
//! Each pause is twice as long as the one before it, up to two minutes: after an outage of the network, an open session
//! would stay silent for as long again. With short pauses, the kernel's usual 15 attempts are over in half a minute: a
//! socket with them needs TCP_USER_TIMEOUT, which counts instead of attempts. And once nobody has the socket open, the
//! kernel gives up as soon as its pauses are the longest ones: a receiver that takes nothing for some seconds would lose
//! what is left. So a tunnel keeps its sockets until their last byte has arrived.

use std::os::fd::AsFd;

use nix::sys::socket::setsockopt;
use nix::{getsockopt_impl, libc, setsockopt_impl, sockopt_impl};
use rustix::net::sockopt::set_tcp_thin_linear_timeouts;

/// The longest pause, in milliseconds. The kernel takes no less than a second.
const LONGEST_PAUSE: u32 = 2000;

/// `linux/tcp.h`, from Linux 6.15 on.
const TCP_RTO_MAX_MS: libc::c_int = 44;

sockopt_impl!(
    /// The longest pause, in milliseconds. No crate has this option yet.
    RtoMax,
    Both,
    libc::IPPROTO_TCP,
    TCP_RTO_MAX_MS,
    u32
);

/// Makes `socket` send again within two seconds; and the first few times, if few bytes are on the way, without longer and
/// longer pauses (not with every congestion control). A kernel that can't do either keeps its own pauses.
pub(super) fn resend_soon(socket: impl AsFd) {
    let _ = setsockopt(&socket, RtoMax, &LONGEST_PAUSE);
    let _ = set_tcp_thin_linear_timeouts(&socket, true);
}
