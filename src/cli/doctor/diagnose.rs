//! `vps connect --diagnose`: ssh as a child, and doctor's first finding under its own message when it fails.
//!
//! ssh ends with 255 when it fails itself, but also when the remote command ends with 255. The two are told apart by a
//! mark that ssh makes once it is logged in (`LocalCommand`, before the user's own): what fails behind it is the user's
//! own affair, and nothing is said. A connection that an earlier ssh shares (`ControlMaster`) runs no LocalCommand, and
//! is logged in from the start.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};

use rustix::event::PollFlags;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::case::Case;
use super::finding::{Finding, Verdict};
use super::interrupted;
use super::program;
use super::session::Folder;
use super::text;
use super::{Extent, examine, programs};
use crate::cli::programs::names::PROGRAM;
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::settings::Flags;
use crate::ssh::quote::shell_word;
use crate::sys::IgnoredSignals;
use crate::target::{TaskId, VpsRef};

/// What ssh ends with when it fails itself.
const SSH_FAILED: i32 = 255;

/// What a program is reported to have ended with that a signal ended, above its number.
const SIGNALLED: i32 = 128;

/// Signals that are handed on to ssh.
const HANDED_ON: [(i32, Signal); 4] =
    [(SIGHUP, Signal::HUP), (SIGINT, Signal::INT), (SIGQUIT, Signal::QUIT), (SIGTERM, Signal::TERM)];

/// What `vps connect` was asked for.
pub(in crate::cli) struct Asked {
    pub(in crate::cli) flags: Flags,
    pub(in crate::cli) id: TaskId,
    pub(in crate::cli) key: Option<std::path::PathBuf>,
    pub(in crate::cli) user: Option<String>,
}

/// Runs `argv`, the program first; then says what is wrong, if it was ssh that failed.
///
/// # Errors
/// When ssh can't be run.
pub(in crate::cli) fn run(argv: &[OsString], asked: Asked) -> Result<ExitCode, Failure> {
    let options = Options::of(argv);
    let folder = Folder::new();
    let mark = folder.as_ref().ok().map(|folder| folder.path.join("logged-in"));
    let mut command = Command::new(&argv[0]);
    if let Some(mark) = &mark {
        command.args(mark_when_logged_in(mark, &options));
    }
    command.args(&argv[1..]);
    let cannot = |error: io::Error| Failure::new(format!("cannot run {}", argv[0].display())).because(&error);
    let status = run_as_child(&mut command).map_err(cannot)?;
    let logged_in = options.is_logged_in || mark.is_some_and(|mark| mark.exists());
    // The folder itself goes here: this process may end by a signal, and then nothing is dropped.
    let no_folder = folder.err();
    match no_folder {
        _ if status.code() != Some(SSH_FAILED) || logged_in => {}
        // Whether it was the remote command's own status can't be told then.
        Some(error) => {
            let failure = Failure::new("cannot look for the cause").cause("no folder can be made for a moment");
            let failure = failure.because(&error).hint("name one that is writable: `export TMPDIR=/tmp`");
            ui::remark(failure.render(PROGRAM).trim_end());
        }
        None => {
            // ssh is gone, so signals are this program's own again.
            let _ = interrupted::tidy_up();
            say_what_is_wrong(asked, options.user);
        }
    }
    Ok(pass_on(status))
}

/// What ssh makes of its command line and of the user's configuration; nothing where it makes nothing of them.
#[derive(Default)]
struct Options {
    /// The login.
    user: Option<String>,
    /// What the user wants to be run once ssh is logged in, with ssh's own `%` in it.
    local_command: Option<String>,
    /// An earlier ssh is logged in, and this one shares its connection.
    is_logged_in: bool,
}

impl Options {
    fn of(argv: &[OsString]) -> Self {
        let ask = |words: &[&str]| {
            let output = program::run(Command::new(&argv[0]).args(words).args(&argv[1..]), programs::LIMIT);
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

/// Words that make ssh leave a mark once it is logged in. They stand first, since the first value counts.
fn mark_when_logged_in(mark: &Path, options: &Options) -> [OsString; 4] {
    // ssh expands `%`, then a shell reads it.
    let mark = shell_word(mark.as_os_str()).to_string_lossy().replace('%', "%%");
    let command = match &options.local_command {
        Some(own) => format!("LocalCommand=: >{mark}; {own}"),
        None => format!("LocalCommand=: >{mark}"),
    };
    ["-o".into(), "PermitLocalCommand=yes".into(), "-o".into(), command.into()]
}

/// `user` is the login that ssh tried, which the user's own words for ssh may name.
fn say_what_is_wrong(asked: Asked, user: Option<String>) {
    if io::stderr().is_terminal() {
        ui::remark(&format!("{PROGRAM}: looking for the cause"));
    }
    let mut case = Case::new(asked.flags, Some(VpsRef::Id(asked.id)), asked.key, user.or(asked.user));
    let mut wrong = None;
    // Nothing else of it is told, so nothing that can fail is done with it.
    let _ = examine(&mut case, Extent::Login, &mut |_, _, finding| {
        wrong = finding.filter(|finding| finding.verdict.is_wrong()).or(wrong.take());
        Ok(())
    });
    match wrong {
        Some(Finding { verdict: Verdict::Wrong(wrong), .. }) => {
            ui::remark(text::told(&wrong, &case.conceal()).trim_end());
        }
        _ if case.login => ui::remark(&format!(
            "{PROGRAM}: a login on VPS {} works now; what failed is in ssh's own words above",
            case.vps_name()
        )),
        _ => {}
    }
}

/// Runs `command` to its end, and hands signals on to it meanwhile.
fn run_as_child(command: &mut Command) -> io::Result<ExitStatus> {
    // Before the child is there: a signal that came in between would end this program and leave the child behind.
    let mut ended = on(SIGCHLD)?;
    let mut caught = Vec::new();
    let ignored = IgnoredSignals::now();
    for (number, signal) in HANDED_ON {
        // What `nohup` had this program ignore ssh inherits, as long as nothing catches it here.
        if ignored.contains(number) {
            continue;
        }
        caught.push((on(number)?, signal));
    }
    let child = command.spawn()?;
    // It has not been waited for, so its number is still its own.
    let child = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    loop {
        match waitpid(Some(child), WaitOptions::NOHANG | WaitOptions::UNTRACED)? {
            // ssh alone was stopped, as by its escape `~^Z`. The shell that waits for this program is to see that, and
            // ssh goes on when this program does.
            Some((_, status)) if status.stopped() => {
                kill_process(getpid(), Signal::STOP)?;
                kill_process(child, Signal::CONT)?;
            }
            Some((_, status)) => return Ok(ExitStatus::from_raw(status.as_raw())),
            None => {}
        }
        let mut entries = vec![crate::sys::entry(ended.as_fd(), PollFlags::IN)];
        entries.extend(caught.iter().map(|(stream, _)| crate::sys::entry(stream.as_fd(), PollFlags::IN)));
        crate::sys::poll(&mut entries, None)?;
        let ready: Vec<bool> = entries.iter().map(|entry| !entry.revents().is_empty()).collect();
        drop(entries);
        if ready[0] {
            take(&mut ended)?;
        }
        for ((stream, signal), _) in caught.iter_mut().zip(&ready[1..]).filter(|(_, ready)| **ready) {
            take(stream)?;
            let _ = kill_process(child, *signal);
        }
    }
}

/// A stream that becomes readable with each such signal.
fn on(signal: i32) -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(signal, writer)?;
    Ok(reader)
}

fn take(stream: &mut UnixStream) -> io::Result<()> {
    stream.read(&mut [0; 16]).map(drop)
}

/// Ends as ssh did: with its status, or by the signal that ended it.
fn pass_on(status: ExitStatus) -> ExitCode {
    if let Some(signal) = status.signal() {
        // It ends this process; where it can't, the status says it as a shell does.
        let _ = signal_hook::low_level::emulate_default_handler(signal);
        return ExitCode::from(u8::try_from(SIGNALLED + signal).unwrap_or(u8::MAX));
    }
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}
