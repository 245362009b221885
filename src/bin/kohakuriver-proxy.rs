//! The ProxyCommand helper: parse, run, exit status.

use std::process::ExitCode;

use clap::Parser as _;
use kohakuriver_proxy::helper::{self, Arguments, Journal};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut journal = Journal::new(arguments.verbose);
    match helper::run(&arguments, &mut journal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            journal.failure(&failure);
            failure.exit_code()
        }
    }
}
