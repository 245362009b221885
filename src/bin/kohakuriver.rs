//! `kohakuriver`: the user's command. Everything it does is in [`kohakuriver_proxy::cli`].

use std::ffi::OsString;
use std::process::ExitCode;

use kohakuriver_proxy::cli::{self, OtherProgram};
use kohakuriver_proxy::helper;

/// The other programs of this package.
const OTHERS: &[fn() -> OtherProgram] = &[
    || OtherProgram { definition: helper::definition(), section: "1" },
    #[cfg(feature = "gateway")]
    || OtherProgram {
        definition: <kohakuriver_proxy::gateway::Arguments as clap::CommandFactory>::command(),
        section: "8",
    },
];

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    cli::run(&args, OTHERS)
}
