//! The process from start to end: inherited sockets, orders, the hand-over to a successor, the shutdown.

pub(super) mod elders;
pub(super) mod hand_over;
pub(super) mod inherited;
pub(super) mod orders;
pub(super) mod service_manager;
pub(super) mod stop;
