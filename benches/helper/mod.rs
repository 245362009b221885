//! What the helper's benchmark has of its own: the helpers, and what is done with each of them.

mod child;
mod contestants;
mod measures;
mod overseen;
mod peers;
mod plain;
mod resume;
mod run;
mod session;
mod ssh;
mod stage;
mod tls;

pub(crate) use run::main;
