//! The ProxyCommand helper: parse, run, exit status.

use std::process::ExitCode;

use kohakuriver_proxy::helper::{self, Arguments, Journal};

fn main() -> ExitCode {
    let arguments = Arguments::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let mut journal = Journal::new(arguments.verbose);
    match helper::run(&arguments, &mut journal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            journal.failure(&failure);
            failure.exit_code()
        }
    }
}
