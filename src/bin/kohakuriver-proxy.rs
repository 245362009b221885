//! The ProxyCommand helper: parse, run, exit status.

use std::io::Write as _;
use std::process::ExitCode;

use kohakuriver_proxy::failure::Failure;
use kohakuriver_proxy::helper::{self, Arguments, Asked, Client, Farewell, Journal};
use kohakuriver_proxy::sys::AsFd as _;

fn main() -> ExitCode {
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    let mut client = Client::new(stdin.as_fd(), stdout.as_fd(), std::env::args_os());
    let arguments = match Arguments::read(std::env::args_os()) {
        Ok(Asked::Tunnel(arguments)) => arguments,
        Ok(Asked::Text(text)) => return print(&text),
        Ok(Asked::Hold) => {
            helper::hold();
            return ExitCode::SUCCESS;
        }
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
