//! The user's shell, asked as ssh asks it: ssh runs a ProxyCommand with `$SHELL -c`.
//!
//! With `ProxyUseFdpass`, stdin and stdout of the command are one socket. bash then takes itself for a remote shell and
//! reads ~/.bashrc, unless SHLVL says that it runs in another shell: an IDE that was started from the desktop has no SHLVL.
//! ssh fails if a start-up file prints, since it expects the descriptor first, and waits forever if a start-up file
//! becomes another shell. With pipes, bash reads no file, and ssh skips the lines before the server's first one.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::Command;

use crate::cli::programs::program::{self, Output, QUICK};
use crate::sys;
use crate::text::excerpt;

/// A shell that always runs the helper. ssh itself uses it when SHELL is not set.
const PLAIN_SHELL: &str = "/bin/sh";

/// The variable that has ssh start the helper with that shell; `None` where ssh needs no shell.
pub(crate) fn plain_shell() -> Option<(&'static str, &'static str)> {
    sys::SSH_NEEDS_A_SHELL.then_some(("SHELL", PLAIN_SHELL))
}

/// A command that helps at once.
pub(crate) const OTHER_SHELL: &str = "export SHELL=/bin/sh";

/// Lines for whoever reads before the helper does. ssh sends nothing on a socket, so the reader would wait forever; on a
/// pipe, it would take ssh's first line. Another shell runs the first line, and a start-up file that reads one leaves the
/// second.
const INPUT: &str = "echo another shell\n: a start-up file\n";
const UNREAD: &str = "echo another shell\n";
const OF_A_SHELL: &str = "another shell\n";
const OF_A_FILE: &str = ": a start-up file\n";

/// Starts the helper `$0`, and prints the line that is next on stdin.
const HELPER_AND_LINE: &str = "\"$0\" --version; read -r line; echo \"$line\"";

/// Start-up files that a shell reads for a command.
const START_UP_FILES: [(&str, &str); 5] = [
    ("bash", "~/.bashrc"),
    ("zsh", "~/.zshenv"),
    ("fish", "~/.config/fish/config.fish"),
    ("tcsh", "~/.tcshrc"),
    ("csh", "~/.cshrc"),
];

pub(crate) struct Shell {
    program: OsString,
}

/// How the helper can be started by the shell.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Starts {
    /// In both ways.
    Always,
    /// With pipes only; what happens with a socket.
    WithPipes(Trouble),
    /// Not at all.
    Never(Trouble),
}

/// The trouble with a shell.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    /// SHELL is set, but names none. ssh replaces it only when it uses pipes.
    NoName,
    /// SHELL is a name without a folder. ssh doesn't look it up on PATH.
    NoPath,
    /// The shell prints this before it runs the helper.
    Prints(String),
    /// The shell reads input that is meant for the helper.
    Reads,
    /// A start-up file of the shell reads that input.
    FileReads,
    /// The shell does not run the helper. Holds the reason.
    Fails(String),
}

impl Shell {
    pub(crate) fn of_user() -> Self {
        Self { program: env::var_os("SHELL").unwrap_or_else(|| PLAIN_SHELL.into()) }
    }

    /// Its name, for messages.
    pub(crate) fn name(&self) -> String {
        excerpt(&self.program.to_string_lossy())
    }

    /// The trouble with it, as a clause.
    pub(crate) fn does(&self, trouble: &Trouble) -> String {
        let name = self.name();
        match trouble {
            Trouble::NoName => "SHELL is set, but empty".to_owned(),
            Trouble::NoPath => format!("SHELL is `{name}`, a name without a folder"),
            Trouble::Prints(text) => format!("your shell, {name}, prints `{}` into the SSH stream", excerpt(text)),
            Trouble::Reads => format!("your shell, {name}, starts another shell, which does not run the helper"),
            Trouble::FileReads => format!("your shell, {name}, reads from the SSH stream before it runs the helper"),
            Trouble::Fails(_) => format!("your shell, {name}, does not run the helper"),
        }
    }

    /// Why it does that.
    pub(crate) fn why(&self, trouble: &Trouble) -> String {
        let name = Path::new(&self.program).file_name();
        let file = START_UP_FILES.iter().find(|(shell, _)| name == Some(OsStr::new(shell)));
        let file = file.map_or("its start-up file", |(_, file)| file);
        match trouble {
            Trouble::NoName => "ssh then starts no shell at all".to_owned(),
            Trouble::NoPath => "ssh does not look for it on PATH".to_owned(),
            Trouble::Fails(reason) => reason.clone(),
            Trouble::Reads => format!("the cause is most likely an `exec` in {file}"),
            Trouble::FileReads => format!("the cause is most likely a `read` in {file}"),
            Trouble::Prints(_) => format!("the text comes most likely from {file}"),
        }
    }

    /// Starts `helper` for its version, as ssh does.
    pub(crate) fn ask(&self, helper: &Path) -> Starts {
        let version = program::run(Command::new(helper).arg("--version"), QUICK).map(|output| output.stdout);
        let expected = match version {
            _ if self.program.is_empty() => return Starts::WithPipes(Trouble::NoName),
            _ if !self.program.as_encoded_bytes().contains(&b'/') => return Starts::Never(Trouble::NoPath),
            Ok(version) if !version.is_empty() => version + UNREAD,
            // The helper does not run, whichever shell starts it.
            _ => return Starts::Always,
        };
        let mut line = OsString::from("exec ");
        line.push(
            sys::Shell::Posix
                .line(["/bin/sh", "-c", HELPER_AND_LINE].map(OsStr::new).into_iter().chain([helper.as_os_str()])),
        );
        let ask = |on_socket| {
            let mut command = Command::new(&self.program);
            command.arg("-c").arg(&line).env_remove("SHLVL");
            let is_told = |stdout: &[u8]| [OF_A_SHELL, OF_A_FILE].iter().any(|end| stdout.ends_with(end.as_bytes()));
            trouble(program::run_with_input(command, INPUT.as_bytes(), on_socket, QUICK, is_told), &expected)
        };
        let Some(with_socket) = ask(true) else { return Starts::Always };
        match ask(false) {
            // ssh skips whole lines only.
            Some(Trouble::Prints(text)) if !text.ends_with('\n') => Starts::Never(Trouble::Prints(text)),
            None | Some(Trouble::Prints(_)) => Starts::WithPipes(with_socket),
            Some(trouble) => Starts::Never(trouble),
        }
    }
}

/// The trouble that keeps ssh from the helper, with which stdout ends in `expected`.
fn trouble(output: io::Result<Output>, expected: &str) -> Option<Trouble> {
    let output = match output {
        Ok(output) => output,
        Err(error) => return Some(Trouble::Fails(error.to_string())),
    };
    // A background process of a start-up file may outlive the helper, so the status doesn't count.
    match output.stdout.strip_suffix(expected) {
        Some("") => None,
        Some(before) => Some(Trouble::Prints(before.to_owned())),
        None if output.stdout.ends_with(OF_A_SHELL) => Some(Trouble::Reads),
        None if output.stdout.ends_with(OF_A_FILE) => Some(Trouble::FileReads),
        None => Some(Trouble::Fails(reason(&output))),
    }
}

/// Why the shell failed.
fn reason(output: &Output) -> String {
    match (output.status, excerpt(&output.stderr)) {
        (None, _) => format!("it did not end within {} s", QUICK.as_secs()),
        (Some(status), message) if message.is_empty() => status.to_string(),
        (Some(status), message) => format!("{status}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::programs::program::tests::shell;

    #[test]
    fn what_the_output_means() {
        let of = |script: &str| trouble(program::run(&mut shell(script), QUICK), "v 1\n");
        assert_eq!(of("echo v 1; exit 3"), None);
        assert_eq!(of("echo hi; echo v 1"), Some(Trouble::Prints("hi\n".into())));
        assert_eq!(of("printf hi; echo another shell"), Some(Trouble::Reads));
        assert_eq!(of("echo v 1; echo : a start-up file"), Some(Trouble::FileReads));
        assert_eq!(of("echo v 12"), Some(Trouble::Fails("exit status: 0".into())));
        assert_eq!(of("echo no >&2; exit 3"), Some(Trouble::Fails("exit status: 3: no".into())));
    }

    #[test]
    fn a_start_up_file_is_named_by_the_name_of_the_shell() {
        for (program, file) in
            [("/opt/bin/zsh", "~/.zshenv"), ("bash", "~/.bashrc"), ("/bin/my-bash", "its start-up file")]
        {
            let why = Shell { program: program.into() }.why(&Trouble::Reads);
            assert!(why.ends_with(file), "{why}");
        }
    }
}
