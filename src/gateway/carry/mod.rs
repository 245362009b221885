//! The open tunnels and their bytes.

pub(super) mod relay;
pub(super) mod session;
