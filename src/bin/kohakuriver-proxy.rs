//! The ProxyCommand helper: parse, run, exit status.

use std::io::Write as _;
use std::process::ExitCode;

use kohakuriver_proxy::failure::Failure;
use kohakuriver_proxy::helper::{self, Arguments, Asked, Client, Farewell, Journal, PROGRAM};
use kohakuriver_proxy::sys::Stdio;

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args_os()) {
        Ok(Asked::Tunnel(arguments)) => Ok(arguments),
        Ok(Asked::Text(text)) => return print(&text),
        Ok(Asked::Hold) => {
            helper::hold();
            return ExitCode::SUCCESS;
        }
        Err(failure) => Err(failure),
    };
    let stdio = match Stdio::open() {
        Ok(stdio) => stdio,
        Err(error) => return tell(&Failure::new("cannot open stdin and stdout").because(&error)),
    };
    let status = carry(arguments, Client::new(stdio.stdin(), stdio.stdout(), std::env::args_os()));
    match stdio.close() {
        Ok(()) => status,
        Err(error) => tell(&Failure::new("cannot write to stdout").because(&error)),
    }
}

fn carry(arguments: Result<Box<Arguments>, Failure>, mut client: Client<'_>) -> ExitCode {
    let arguments = match arguments {
        Ok(arguments) => arguments,
        Err(failure) => return fail(&failure, &mut client, &Journal::new(false, None)),
    };
    let journal = Journal::new(arguments.verbose, arguments.log_file.as_deref());
    let mut farewell = Farewell::default();
    let status = match helper::run(&arguments, &mut client, &journal, &mut farewell) {
        Ok(status) => status.unwrap_or(0).into(),
        Err(failure) => fail(&failure, &mut client, &journal),
    };
    farewell.send();
    status
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        // A reader that closed the pipe (`| head`) is no failure.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

fn fail(failure: &Failure, client: &mut Client<'_>, journal: &Journal) -> ExitCode {
    client.tell(failure, journal);
    failure.exit_code()
}

fn tell(failure: &Failure) -> ExitCode {
    failure.tell(PROGRAM);
    failure.exit_code()
}
