//! `vps connect --diagnose`: ssh as a child, and doctor's first finding under its own message when it fails.
//!
//! ssh ends with 255 when it fails itself, but also when the remote command ends with 255. The two are told apart by a
//! mark that ssh makes once it is logged in (`LocalCommand`): what fails behind it is the user's own affair, and nothing
//! is said. Where the user has a LocalCommand of their own, that stays, and doctor speaks only if it finds something.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus};

use rustix::event::PollFlags;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::case::Case;
use super::conceal::Conceal;
use super::finding::{Finding, Verdict};
use super::interrupted;
use super::program;
use super::session::Folder;
use super::text;
use super::{Extent, examine, programs};
use crate::cli::interrupt::{ignored, is_in};
use crate::cli::{PROGRAM, ui};
use crate::failure::Failure;
use crate::settings::Flags;
use crate::ssh::quote::shell_line;
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

/// Runs `argv`, the program first, whose words from `own` on are the user's; then says what is wrong, if it was ssh that
/// failed.
///
/// # Errors
/// When ssh can't be run.
pub(in crate::cli) fn run(argv: &[OsString], asked: Asked) -> Result<ExitCode, Failure> {
    let folder = Folder::new().ok();
    let mark = folder.as_ref().map(|folder| folder.path.join("logged-in"));
    let mut command = Command::new(&argv[0]);
    if let Some(mark) = mark.as_deref().filter(|_| !has_local_command(argv)) {
        command.args(mark_when_logged_in(mark));
    }
    command.args(&argv[1..]);
    let cannot = |error: io::Error| Failure::new(format!("cannot run {}", argv[0].display())).because(&error);
    let status = run_as_child(&mut command).map_err(cannot)?;
    let logged_in = mark.is_some_and(|mark| mark.exists());
    drop(folder);
    if status.code() == Some(SSH_FAILED) && !logged_in {
        // ssh is gone, so signals are this program's own again.
        let _ = interrupted::tidy_up();
        say_what_is_wrong(asked);
    }
    Ok(pass_on(status))
}

/// Words that make ssh leave a mark once it is logged in. They stand first, since the first value counts.
fn mark_when_logged_in(mark: &Path) -> [OsString; 4] {
    let mut command = OsString::from("LocalCommand=");
    // ssh expands `%`, then a shell reads it.
    let touch = shell_line(["touch".as_ref(), mark.as_os_str()]).to_string_lossy().replace('%', "%%");
    command.push(touch);
    ["-o".into(), "PermitLocalCommand=yes".into(), "-o".into(), command]
}

/// Whether the user has a command of their own that ssh is to run once it is logged in.
fn has_local_command(argv: &[OsString]) -> bool {
    let output = program::run(Command::new(&argv[0]).arg("-G").args(&argv[1..]), programs::LIMIT);
    let Ok(output) = output else { return true };
    let value = |name: &str| output.stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value("permitlocalcommand") == Some("yes") && value("localcommand").is_some_and(|command| command != "none")
}

fn say_what_is_wrong(asked: Asked) {
    if io::stderr().is_terminal() {
        ui::remark(&format!("{PROGRAM}: looking for the cause"));
    }
    let mut case = Case::new(asked.flags, Some(VpsRef::Id(asked.id)), asked.key, asked.user);
    let mut wrong = None;
    // Nothing else of it is told, so nothing that can fail is done with it.
    let _ = examine(&mut case, Extent::Login, &mut |_, _, finding| {
        wrong = finding.filter(|finding| finding.verdict.is_wrong()).or(wrong.take());
        Ok(())
    });
    let conceal = Conceal::new(case.home.as_deref(), case.token.as_ref());
    match wrong {
        Some(Finding { verdict: Verdict::Wrong(wrong), .. }) => ui::remark(text::told(&wrong, &conceal).trim_end()),
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
    let ignored = ignored();
    for (number, signal) in HANDED_ON {
        // What `nohup` had this program ignore ssh inherits, as long as nothing catches it here.
        if is_in(ignored, number) {
            continue;
        }
        caught.push((on(number)?, signal));
    }
    let mut child = command.spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
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
            hand_on(&child, *signal);
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

fn hand_on(child: &Child, signal: Signal) {
    // It has not been waited for, so its number is still its own.
    if let Some(id) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process(id, signal);
    }
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
