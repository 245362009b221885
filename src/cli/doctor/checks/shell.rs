//! The user's shell: ssh starts the helper with it, and the shell must not add output to the SSH stream.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use crate::cli::doctor::check::{Check, Examined, Given};
use crate::cli::doctor::finding::Verdict;
use crate::cli::doctor::program::{self, Output, QUICK};
use crate::failure::Failure;
use crate::ssh::options::Route;
use crate::ssh::quote::shell_line;
use crate::text::excerpt;

/// The shell that ssh runs a ProxyCommand with when SHELL is not set.
const DEFAULT: &str = "/bin/sh";

/// A command that helps at once.
const OTHER_SHELL: &str = "export SHELL=/bin/sh";

pub(super) struct Shell<'a> {
    pub(super) route: &'a Given<Route>,
}

impl Check for Shell<'_> {
    const NAME: &'static str = "shell";
    type Gives = ();

    fn tried(&self) -> String {
        format!("the helper, started by {} (SHELL) as ssh does it", Path::new(&shell()).display())
    }

    fn examine(&self) -> Result<Examined<()>, Verdict> {
        let route = self.route.as_ref()?;
        let shell = shell();
        let name = Path::new(&shell).display();
        let mut line = OsString::from("exec ");
        line.push(shell_line([route.proxy_program.as_os_str(), "--version".as_ref()]));
        let expected = program::run(Command::new(&route.proxy_program).arg("--version"), QUICK).ok();
        let cannot = || Failure::new(format!("ssh can't start the helper with your shell, {name}"));
        if shell.is_empty() {
            let failure = Failure::new("ssh can't start the helper: SHELL is set, but empty")
                .cause("ssh runs the helper with the program that SHELL names, also if that is none")
                .hint(format!("name a shell: `{OTHER_SHELL}`"));
            return Err(Verdict::wrong(&failure, OTHER_SHELL));
        }
        let failure = match program::run(Command::new(&shell).arg("-c").arg(line), QUICK) {
            Err(error) => cannot().because(&error).hint(format!("name a shell that exists: `{OTHER_SHELL}`")),
            Ok(output) if !output.succeeded() => {
                cannot().cause(reason(&output)).hint(format!("name a shell that runs commands: `{OTHER_SHELL}`"))
            }
            Ok(output) if expected.is_some_and(|expected| expected.stdout != output.stdout) => {
                Failure::new(format!("your shell, {name}, prints into the SSH stream"))
                    .cause(format!("besides the helper's output, it printed `{}`", excerpt(&output.stdout)))
                    .hint(format!(
                        "change the shell's start-up file so that it prints nothing when it runs a command; until \
                         then, `{OTHER_SHELL}`"
                    ))
            }
            Ok(_) => return Ok(Verdict::Fine("it runs, and the shell adds no output".to_owned()).into()),
        };
        Err(Verdict::wrong(&failure, OTHER_SHELL))
    }
}

fn shell() -> OsString {
    // ssh takes an empty SHELL for a program when it uses the helper (`ProxyUseFdpass`).
    env::var_os("SHELL").unwrap_or_else(|| DEFAULT.into())
}

/// Why the shell failed.
fn reason(output: &Output) -> String {
    match (output.status, excerpt(&output.stderr)) {
        (None, _) => format!("it did not end within {} s", QUICK.as_secs()),
        (Some(status), message) if message.is_empty() => status.to_string(),
        (Some(status), message) => format!("{status}: {message}"),
    }
}
