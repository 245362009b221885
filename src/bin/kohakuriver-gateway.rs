//! The gateway: parse, run, exit status.

use std::io::Write;
use std::process::ExitCode;

use kohakuriver_proxy::gateway::{self, Arguments, PROGRAM};

fn main() -> ExitCode {
    let arguments = Arguments::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    match gateway::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody may be left to read it; the exit status says it too.
            let _ = std::io::stderr().write_all(failure.render(PROGRAM).as_bytes());
            failure.exit_code()
        }
    }
}
