//! What a client meets: the listeners, its request and the end of its connection.

pub(super) mod accept;
pub(super) mod accepted;
pub(super) mod closing;
pub(super) mod http;
pub(super) mod incoming;
pub(super) mod line_protocol;
pub(super) mod listen;
