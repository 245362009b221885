//! The gateway: parse, run, exit status.

use std::process::ExitCode;

use kohakuriver_proxy::failure::exit_status;
use kohakuriver_proxy::gateway::{self, Arguments, PROGRAM};
use kohakuriver_proxy::usage;

fn main() -> ExitCode {
    let ended = match Arguments::read(std::env::args_os()) {
        Ok(arguments) => gateway::run(&arguments).map(|()| ExitCode::SUCCESS),
        Err(answer) => usage::answer(&answer, &Arguments::typed(std::env::args_os())),
    };
    exit_status(PROGRAM, ended)
}
