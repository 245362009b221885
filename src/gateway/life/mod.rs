//! The process from start to end: inherited sockets, orders, the hand-over to a successor, the shutdown.
//!
//! ```text
//! inherited ◀── the service manager, or predecessor ◀── hand_over (in the old process)
//! ```
//! This room knows `front` and the rooms below it.

pub(super) mod hand_over;
pub(super) mod inherited;
pub(super) mod moving;
pub(super) mod orders;
pub(super) mod predecessor;
pub(super) mod service_manager;
pub(super) mod stop;
pub(super) mod wire;
