//! What the helper's benchmark has of its own: the helpers, and what is done with each of them.

pub(crate) mod child;
pub(crate) mod contestants;
pub(crate) mod measures;
pub(crate) mod overseen;
pub(crate) mod plain;
pub(crate) mod resume;
pub(crate) mod session;
pub(crate) mod ssh;
pub(crate) mod tls;
