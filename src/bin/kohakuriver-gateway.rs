//! The gateway: parse, run, exit status.

use std::io::Write;
use std::process::ExitCode;

use kohakuriver_proxy::gateway::{self, Arguments, PROGRAM};
use kohakuriver_proxy::usage;

fn main() -> ExitCode {
    let ended = match Arguments::read(std::env::args_os()) {
        Ok(arguments) => gateway::run(&arguments).map(|()| ExitCode::SUCCESS),
        Err(answer) => usage::answer(&answer, PROGRAM),
    };
    match ended {
        Ok(code) => code,
        Err(failure) => {
            // stderr may be closed; the exit status says the same.
            let _ = std::io::stderr().write_all(failure.render(PROGRAM).as_bytes());
            failure.exit_code()
        }
    }
}
