//! `kohakuriver`: the user's command. Everything it does is in [`kohakuriver_proxy::cli`].

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    kohakuriver_proxy::cli::run(&args)
}
