//! The parts that only the gateway's benchmark has: the gateways, and the measurements of each.

mod background;
mod beside;
mod contestants;
mod endings;
mod far_end;
mod hostile;
mod measures;
mod memory;
mod opener;
mod process;
mod resume;
mod run;
mod scale;
mod setups;
mod soaking;
mod throughput;
mod tls;
mod tunnel;
mod typists;
mod watched;

pub(crate) use run::main;
