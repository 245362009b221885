//! The parts that only the helper's benchmark has: the helpers, and the measurements of each.

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
