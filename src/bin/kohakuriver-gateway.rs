//! The gateway: parse, run, exit status.

use std::ffi::OsString;
use std::process::ExitCode;

use kohakuriver_proxy::failure::exit_status;
use kohakuriver_proxy::gateway::{self, Arguments, PROGRAM};

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let ended = match Arguments::read(words.iter().cloned()) {
        Ok(arguments) => gateway::run(&arguments),
        Err(answer) => gateway::answer(&answer, &words),
    };
    exit_status(PROGRAM, ended)
}
