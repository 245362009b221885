//! The text that `vps connect` prints below ssh's own message when ssh fails: with `--diagnose` the cause, and on a
//! terminal one line with the command that finds it.
//!
//! ssh is a child here. It exits with 255 when it fails itself, but also when the remote command exits with 255. A mark
//! tells the two apart: ssh creates a file once it is logged in (`LocalCommand`, before the user's own). With the file
//! there, the remote command failed, and that is not our subject. A shared connection (`ControlMaster`) runs no
//! LocalCommand, and is logged in from the start. A second mark is the helper's: ssh has printed why there is no tunnel, so
//! the line on a terminal would only repeat it.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use super::checks;
use super::checkup::{Checkup, Event, Scope};
use super::finding::{Verdict, Wrong};
use super::own_config::option;
use super::redaction::Redaction;
use super::subject::{Subject, Way};
use super::temporary::{self, Folder};
use super::text;
use crate::cli::programs::names::PROGRAM;
use crate::cli::programs::program::{self, QUICK};
use crate::cli::programs::shell::plain_shell;
use crate::cli::terminal::progress::Steps;
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::settings::Flags;
use crate::settings::env_vars::KOHAKURIVER_EXPLAINED;
use crate::ssh::options::DEFAULT_USER;
use crate::ssh::quote::shell_line;
use crate::sys;
use crate::target::{TaskId, VpsRef};
use crate::text::printable;

/// The exit status of ssh when it fails itself.
const SSH_FAILED: i32 = 255;

/// The text to print when ssh fails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Then {
    /// The cause and the remedy.
    Cause,
    /// The first problem, and the command that finds its cause.
    Command,
}

/// The arguments of `vps connect`.
pub(in crate::cli) struct Asked {
    pub(in crate::cli) flags: Flags,
    /// The VPS as it was typed.
    pub(in crate::cli) vps: String,
    pub(in crate::cli) id: TaskId,
    pub(in crate::cli) key: Option<PathBuf>,
    pub(in crate::cli) user: Option<String>,
    pub(in crate::cli) then: Then,
}

impl Asked {
    /// The doctor of this VPS, with these settings and this login.
    fn doctor(&self) -> String {
        let mut words: Vec<OsString> = vec![PROGRAM.into()];
        words.extend(self.flags.words().into_iter().map(OsString::from));
        words.extend(["doctor".into(), self.vps.clone().into()]);
        let user = self.user.as_ref().map(|user| ["--user".into(), user.into()]);
        let key = self.key.as_ref().map(|key| ["--key".into(), key.into()]);
        words.extend(user.into_iter().chain(key).flatten());
        printable(&shell_line(words).to_string_lossy())
    }
}

/// Runs the command `argv`, which has these `options`. If ssh fails, says what `asked` wants.
///
/// # Errors
/// When ssh can't be run.
pub(in crate::cli) fn run(argv: &[OsString], options: Options, asked: Asked) -> Result<ExitCode, Failure> {
    let folder = Folder::new();
    let mark = |name: &str| folder.as_ref().ok().map(|folder| folder.path().join(name));
    let (logged_in, explained) = (mark("logged-in"), mark("explained"));
    let mut command = Command::new(&argv[0]);
    if let Some(mark) = &logged_in {
        command.args(mark_when_logged_in(mark, &options));
    }
    command.args(&argv[1..]).envs(plain_shell()).envs(explained.iter().map(|mark| (KOHAKURIVER_EXPLAINED, mark)));
    let cannot = |error: io::Error| Failure::new(format!("cannot run {}", argv[0].display())).because(&error);
    let status = sys::run_as_child(&mut command).map_err(cannot)?;
    let exists = |mark: Option<PathBuf>| mark.is_some_and(|mark| mark.exists());
    let (logged_in, explained) = (exists(logged_in), exists(explained));
    // Removes the directory: this process may end by a signal, which drops nothing.
    let no_folder = folder.err();
    let failed = status.code() == Some(SSH_FAILED) && !logged_in && !options.is_shared(argv);
    match no_folder {
        _ if !failed || (explained && asked.then == Then::Command) => {}
        // Without the mark, 255 may also be the remote command's status.
        Some(error) => {
            let failure = Failure::new("cannot look for the cause").cause("cannot create a temporary directory");
            let failure = failure.because(&error).hint(temporary::hint());
            ui::remark(failure.render(PROGRAM).trim_end());
        }
        None => {
            // ssh has ended, so signals are for this program again.
            let _ = temporary::remove_on_signals();
            let tried = options.user.filter(|user| user != DEFAULT_USER);
            explain(Asked { user: tried.or(asked.user), ..asked });
        }
    }
    Ok(sys::end_like(status))
}

/// ssh's options after its command line and the user's ssh_config.
#[derive(Default)]
pub(in crate::cli) struct Options {
    /// The output of `ssh -G`.
    pub(in crate::cli) text: String,
    /// The login.
    user: Option<String>,
    /// The user's own LocalCommand, with the `%` tokens of ssh.
    local_command: Option<String>,
    /// An earlier ssh may share its connection.
    may_be_shared: bool,
}

impl Options {
    /// The options of the command `argv`; `None` if ssh rejects one of them.
    pub(in crate::cli) fn of(argv: &[OsString]) -> Option<Self> {
        let output = ask(argv, &["-G"])?;
        let value = |name: &str| option(&output, name).map(str::to_owned);
        Some(Self {
            user: value("user"),
            local_command: value("localcommand").filter(|_| value("permitlocalcommand").as_deref() == Some("yes")),
            may_be_shared: value("controlpath").is_some(),
            text: output,
        })
    }

    /// Whether ssh used the connection of an earlier one.
    fn is_shared(&self, argv: &[OsString]) -> bool {
        self.may_be_shared && ask(argv, &["-O", "check"]).is_some()
    }
}

/// The output of ssh for `argv` with `words` in front of its arguments; `None` if it fails.
fn ask(argv: &[OsString], words: &[&str]) -> Option<String> {
    // As the login itself, so that a `Match exec` says the same.
    let output = program::run(Command::new(&argv[0]).envs(plain_shell()).args(words).args(&argv[1..]), QUICK);
    output.ok().filter(program::Output::succeeded).map(|output| output.stdout)
}

/// Options that make ssh create `mark` once it is logged in. They come first, since ssh uses the first value.
fn mark_when_logged_in(mark: &Path, options: &Options) -> [OsString; 4] {
    let command = format!("LocalCommand={}", sys::local_command(mark, options.local_command.as_deref()));
    ["-o".into(), "PermitLocalCommand=yes".into(), "-o".into(), command.into()]
}

/// Looks for the problem, and prints what `asked` wants. The user in it is the one that ssh tried, which the user's own ssh
/// arguments may name.
fn explain(asked: Asked) {
    let doctor = asked.doctor();
    let Asked { flags, id, key, user, then, .. } = asked;
    let mut steps = Steps::new();
    steps.show(&format!("{PROGRAM}: looking for the cause"));
    let subject = Subject { way: Way::Connect, ..Subject::new(flags, Some(VpsRef::Id(id)), key, user) };
    let mut problem: Option<Wrong> = None;
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
    drop(steps);
    match (problem, then) {
        (Some(wrong), Then::Cause) => ui::remark(text::problem(&wrong, &redaction).trim_end()),
        (Some(wrong), Then::Command) => {
            let what = redaction.text(&wrong.what);
            ui::remark(&format!("{PROGRAM}: {what}; for a fix: `{doctor}`"));
        }
        (None, _) if login_works => {
            ui::remark(&format!("{PROGRAM}: a login on VPS {id} works now; see ssh's message above for what failed"))
        }
        (None, Then::Command) => ui::remark(&format!("{PROGRAM}: to find the cause: `{doctor}`")),
        (None, Then::Cause) => {}
    }
}
