//! `vps connect --diagnose`: runs ssh as a child. When ssh fails, doctor's first problem stands under ssh's message.
//!
//! ssh exits with 255 when it fails itself, but also when the remote command exits with 255. A mark tells the two apart:
//! ssh creates a file once it is logged in (`LocalCommand`, before the user's own). With the file there, the remote
//! command failed, and that is not our subject. A shared connection (`ControlMaster`) runs no LocalCommand, and is
//! logged in from the start.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::{Command, ExitCode};

use super::checks;
use super::checkup::{Checkup, Event, Scope};
use super::finding::Verdict;
use super::program::{self, QUICK};
use super::redaction::Redaction;
use super::subject::{Subject, Way};
use super::temporary::{self, Folder};
use super::text;
use crate::cli::programs::names::PROGRAM;
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::settings::Flags;
use crate::ssh::quote::shell_word;
use crate::sys;
use crate::target::{TaskId, VpsRef};

/// The exit status of ssh when it fails itself.
const SSH_FAILED: i32 = 255;

/// The arguments of `vps connect`.
pub(in crate::cli) struct Asked {
    pub(in crate::cli) flags: Flags,
    pub(in crate::cli) id: TaskId,
    pub(in crate::cli) key: Option<std::path::PathBuf>,
    pub(in crate::cli) user: Option<String>,
}

/// Runs the command `argv`. If ssh fails, prints the cause.
///
/// # Errors
/// When ssh can't be run.
pub(in crate::cli) fn run(argv: &[OsString], asked: Asked) -> Result<ExitCode, Failure> {
    let options = Options::of(argv);
    let folder = Folder::new();
    let mark = folder.as_ref().ok().map(|folder| folder.path().join("logged-in"));
    let mut command = Command::new(&argv[0]);
    if let Some(mark) = &mark {
        command.args(mark_when_logged_in(mark, &options));
    }
    command.args(&argv[1..]);
    let cannot = |error: io::Error| Failure::new(format!("cannot run {}", argv[0].display())).because(&error);
    let status = sys::run_as_child(&mut command).map_err(cannot)?;
    let logged_in = options.is_logged_in || mark.is_some_and(|mark| mark.exists());
    // Removes the directory: this process may end by a signal, which drops nothing.
    let no_folder = folder.err();
    match no_folder {
        _ if status.code() != Some(SSH_FAILED) || logged_in => {}
        // Without the mark, 255 may also be the remote command's status.
        Some(error) => {
            let failure = Failure::new("cannot look for the cause").cause("cannot create a temporary directory");
            let failure = failure.because(&error).hint("set TMPDIR to a writable directory: `export TMPDIR=/tmp`");
            ui::remark(failure.render(PROGRAM).trim_end());
        }
        None => {
            // ssh has ended, so signals are for this program again.
            let _ = temporary::remove_on_signals();
            print_cause(asked, options.user);
        }
    }
    Ok(sys::end_like(status))
}

/// ssh's options after its command line and the user's ssh_config. Empty if ssh rejects them.
#[derive(Default)]
struct Options {
    /// The login.
    user: Option<String>,
    /// The user's own LocalCommand, with the `%` tokens of ssh.
    local_command: Option<String>,
    /// An earlier ssh is logged in, and this ssh shares its connection.
    is_logged_in: bool,
}

impl Options {
    fn of(argv: &[OsString]) -> Self {
        let ask = |words: &[&str]| {
            let output = program::run(Command::new(&argv[0]).args(words).args(&argv[1..]), QUICK);
            output.ok().filter(program::Output::succeeded)
        };
        let Some(output) = ask(&["-G"]) else { return Self::default() };
        let value = |name: &str| {
            let value = output.stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.filter(|value| *value != "none").map(str::to_owned)
        };
        Self {
            user: value("user"),
            local_command: value("localcommand").filter(|_| value("permitlocalcommand").as_deref() == Some("yes")),
            is_logged_in: value("controlpath").is_some() && ask(&["-O", "check"]).is_some(),
        }
    }
}

/// Options that make ssh create `mark` once it is logged in. They come first, since ssh uses the first value.
fn mark_when_logged_in(mark: &Path, options: &Options) -> [OsString; 4] {
    // ssh expands `%`, then a shell reads the command.
    let mark = shell_word(mark.as_os_str()).to_string_lossy().replace('%', "%%");
    let command = match &options.local_command {
        Some(own) => format!("LocalCommand=: >{mark}; {own}"),
        None => format!("LocalCommand=: >{mark}"),
    };
    ["-o".into(), "PermitLocalCommand=yes".into(), "-o".into(), command.into()]
}

/// `user` is the login that ssh tried, which the user's own ssh arguments may name.
fn print_cause(asked: Asked, user: Option<String>) {
    if io::stderr().is_terminal() {
        ui::remark(&format!("{PROGRAM}: looking for the cause"));
    }
    let subject = Subject::new(asked.flags, Some(VpsRef::Id(asked.id)), asked.key, user.or(asked.user));
    let subject = Subject { way: Way::Connect, ..subject };
    let mut problem = None;
    let mut listener = |event: Event<'_>| {
        if let Event::Ended(finding, _) = event
            && let Verdict::Wrong(wrong) = finding.verdict
        {
            problem = Some(wrong);
        }
        Ok(())
    };
    let redaction = Redaction::of_this_user(subject.home.as_deref().ok());
    let mut checkup = Checkup::new(Scope::Login, true, redaction, &mut listener);
    // Only the listener can fail, and this one does not.
    let _ = checks::run(&subject, &mut checkup);
    let Checkup { redaction, login_works, .. } = checkup;
    match problem {
        Some(wrong) => ui::remark(text::problem(&wrong, &redaction).trim_end()),
        None if login_works => ui::remark(&format!(
            "{PROGRAM}: a login on VPS {} works now; see ssh's message above for what failed",
            asked.id
        )),
        None => {}
    }
}
