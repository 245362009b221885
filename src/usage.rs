//! Errors of the command line, in the form of every other failure.
//!
//! The parser (clap) has its own form, and some of its words are for programmers.

use std::error::Error;
use std::net::AddrParseError;
use std::num::ParseIntError;
use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::failure::Failure;

/// Handles the parser's answer if it is not arguments: help and version are printed. `command` is the command that was
/// typed.
///
/// # Errors
/// If the command line is wrong.
pub fn answer(answer: &clap::Error, command: &str) -> Result<ExitCode, Failure> {
    let help = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion, ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand];
    if !help.contains(&answer.kind()) {
        return Err(failure(answer, command));
    }
    // A closed pipe is no failure.
    let _ = answer.print();
    Ok(if answer.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

fn failure(error: &clap::Error, command: &str) -> Failure {
    let text = error.to_string();
    // The parser's tips and its usage follow.
    let mut lines = text.split("\n\n").next().unwrap_or_default().lines().map(str::trim);
    let first = lines.next().unwrap_or_default().trim_start_matches("error: ");
    let details: Vec<&str> = lines.map(|line| line.trim_matches(['[', ']'])).collect();
    let failure = match error.source() {
        Some(source) => Failure::usage(first.trim_end_matches(&format!(": {source}"))).cause(cause(source)),
        // The missing arguments follow, one per line.
        None if first.ends_with(':') => Failure::usage(format!("{first} {}", details.join(" "))),
        None => details.iter().fold(Failure::usage(first), |failure, detail| failure.cause(*detail)),
    };
    failure.hint(format!("see `{command} --help`"))
}

fn cause(source: &(dyn Error + 'static)) -> String {
    if source.is::<ParseIntError>() {
        "it is not a whole number, or it is too large".to_owned()
    } else if source.is::<AddrParseError>() {
        "it is not an IP address with a port, such as 127.0.0.1:8002 or [::]:8002".to_owned()
    } else {
        source.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, Command, value_parser};
    use std::net::SocketAddr;

    #[test]
    fn an_error_has_a_cause_and_a_hint() {
        for (line, told) in [
            ("p", "p: the following required arguments were not provided: <VPS>\n"),
            ("p a b", "p: unexpected argument 'b' found\n"),
            ("p a --colour", "p: unexpected argument '--colour' found\n"),
            (
                "p a --cores x",
                "p: invalid value 'x' for '--cores <cores>'\n  caused by: it is not a whole number, or it is too large\n",
            ),
            ("p a --cores 0", "p: invalid value '0' for '--cores <cores>'\n  caused by: 0 is not in 1..=65535\n"),
            (
                "p a --listen x",
                "p: invalid value 'x' for '--listen <listen>'\n  \
                 caused by: it is not an IP address with a port, such as 127.0.0.1:8002 or [::]:8002\n",
            ),
            (
                "p a --backend x",
                "p: invalid value 'x' for '--backend <backend>'\n  caused by: possible values: docker, qemu\n",
            ),
        ] {
            let definition = Command::new("p")
                .arg(Arg::new("VPS").required(true))
                .arg(Arg::new("cores").long("cores").value_parser(value_parser!(u16).range(1..)))
                .arg(Arg::new("listen").long("listen").value_parser(value_parser!(SocketAddr)))
                .arg(Arg::new("backend").long("backend").value_parser(["docker", "qemu"]));
            let error = definition.try_get_matches_from(line.split(' ')).unwrap_err();
            let failure = answer(&error, "p vps").unwrap_err();
            assert_eq!(failure.render("p"), format!("{told}  hint: see `p vps --help`\n"), "{line}");
            assert_eq!(failure.exit_code(), ExitCode::from(2));
        }
    }
}
