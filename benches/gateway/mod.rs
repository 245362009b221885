//! What the gateway's benchmark has of its own: the gateways, and what is done with each of them.

mod contestants;
mod measures;
mod process;
mod run;
mod throughput;
mod tunnel;

pub(crate) use run::main;
