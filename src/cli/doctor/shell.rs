//! The user's shell: ssh runs the helper through it, and hands it the SSH stream.

use std::env;
use std::path::Path;
use std::process::Command;

use super::Check;
use super::case::Case;
use super::finding::Verdict;
use super::program;
use super::programs::LIMIT;
use crate::failure::Failure;
use crate::ssh::quote::shell_line;
use crate::text::excerpt;

pub(super) const CHECKS: &[Check] = &[Check { name: "shell", of_vps: false, examine: shell }];

/// What ssh runs a ProxyCommand with when SHELL names nothing.
const DEFAULT: &str = "/bin/sh";

fn shell(case: &mut Case) -> (String, Verdict) {
    let shell = env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| DEFAULT.into());
    let shell = Path::new(&shell);
    let tried = format!("the helper through {} (SHELL), as ssh runs it", shell.display());
    let Some(route) = &case.route else {
        return (tried, Verdict::Skipped("there is no helper to run".to_owned()));
    };
    let mut line = std::ffi::OsString::from("exec ");
    line.push(shell_line([route.proxy_program.as_os_str(), "--version".as_ref()]));
    let expected = program::run(Command::new(&route.proxy_program).arg("--version"), LIMIT).ok();
    let cannot = || Failure::new(format!("ssh can't start the helper through your shell, {}", shell.display()));
    let verdict = match program::run(Command::new(shell).arg("-c").arg(line), LIMIT) {
        Err(error) => Verdict::wrong(
            &cannot().because(&error).hint("name a shell that exists: `export SHELL=/bin/sh`"),
            "export SHELL=/bin/sh",
        ),
        Ok(output) if !output.succeeded() => {
            let why = match (output.status, excerpt(&output.stderr)) {
                (None, _) => format!("it did not end within {} s", LIMIT.as_secs()),
                (Some(status), said) if said.is_empty() => status.to_string(),
                (Some(status), said) => format!("{status}: {said}"),
            };
            let hint = "name a shell that runs commands: `export SHELL=/bin/sh`";
            Verdict::wrong(&cannot().cause(why).hint(hint), "export SHELL=/bin/sh")
        }
        Ok(output) if expected.is_some_and(|expected| expected.stdout != output.stdout) => {
            let hint =
                "its start-up file must not print anything when it runs a command; until then `export SHELL=/bin/sh`";
            Verdict::wrong(
                &Failure::new(format!("your shell, {}, prints into the SSH stream", shell.display()))
                    .cause(format!("it printed `{}` around what the helper says", excerpt(&output.stdout)))
                    .hint(hint),
                "export SHELL=/bin/sh",
            )
        }
        Ok(_) => Verdict::Fine("it runs, and prints nothing of its own".to_owned()),
    };
    (tried, verdict)
}
