//! `kohakuriver doctor`: finds out why a VPS can't be reached.
//!
//! | file | purpose |
//! |---|---|
//! | `checks/` | the checks, one file for each subject; `checks/mod.rs` lists them in order |
//! | `check` | what a check is: what it needs and what it gives |
//! | `checkup` | runs the checks |
//! | `finding`, `text`, `json` | what a check found, and its two forms in the report |
//! | `redaction` | hides private text from the report |
//! | `own_config`, `culprit` | the user's ssh_config, and the line in it that makes a login fail |
//!
//! A new check is a new file in `checks/` and a line in `checks/mod.rs`.
//!
//! doctor changes nothing: no file of the user, no cache, nothing on the Host. ssh gets a copy of the host keys in a
//! temporary directory. doctor sends nothing to anyone but the Host, its SSH proxy and the VPS. Only the helper opens
//! tunnels, since it knows how to leave them.

mod check;
mod checks;
mod checkup;
mod culprit;
pub(super) mod diagnose;
mod finding;
mod json;
pub(super) mod own_config;
mod redaction;
pub(super) mod refused;
mod session;
pub(super) mod shown_line;
mod ssh_log;
mod subject;
mod temporary;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::host::{vps_cache, vps_ref};
use crate::cli::terminal::progress::Steps;
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::settings::Flags;
use checkup::{Checkup, Event, Scope};
use finding::Broken;
use redaction::Redaction;
use subject::Subject;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
doctor stops at the first problem and prints its cause and one command that helps. The last check is a login with your \
own ssh_config. The exit status is 0 only when a login on the VPS works or, without a VPS, when no check found a problem. \
doctor changes nothing.

The JSON has the keys version, vps (null without a VPS), healthy, findings and not_checked (names of checks). A finding \
has check, verdict (ok, note, skip or wrong), tried, found, causes (a list), fix, command (both null unless the verdict \
is wrong) and milliseconds. The JSON contains no token, and `~` stands for the home directory.

Examples:
  kohakuriver doctor trainer
  kohakuriver doctor --all")]
pub(super) struct Arguments {
    /// Task id or name of the VPS; without it, doctor runs only the checks that need no VPS
    #[arg(value_name = "VPS", add = vps_cache::candidates())]
    vps: Option<String>,
    /// Continue after the first problem
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Private key to log in with, as for `vps connect`
    #[arg(long, short = 'i', value_name = "FILE")]
    key: Option<PathBuf>,
    /// User name on the VPS [default: root]
    #[arg(long, short = 'u', value_name = "USER", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    user: Option<String>,
}

impl Arguments {
    /// The VPS, as typed.
    pub(super) fn vpses(&self) -> Vec<&str> {
        self.vps.as_deref().into_iter().collect()
    }
}

/// # Errors
/// When the argument can't be a VPS, or stdout can't be written to.
pub(super) fn run(flags: Flags, arguments: Arguments) -> Result<ExitCode, Failure> {
    let mut subject = Subject::new(flags, None, arguments.key, arguments.user);
    subject.vps = arguments.vps.as_deref().map(|typed| vps_ref(&subject.cluster, typed)).transpose()?;
    // On failure a signal leaves a directory behind; the report is still right.
    let _ = temporary::remove_on_signals();
    let (look, can_erase) = (ui::Look::of_stdout(), ui::can_redraw());
    // JSON is printed at the end, so a line on stderr says what runs.
    let mut steps = arguments.json.then(Steps::new);
    let mut findings = Vec::new();
    let mut listener = |event: Event<'_>| match (event, &mut steps) {
        (Event::Begins(check), Some(steps)) => {
            steps.show(&text::in_progress(check));
            Ok(())
        }
        (Event::Ended(finding, _), Some(_)) => {
            findings.push(finding);
            Ok(())
        }
        (Event::Begins(check), None) if can_erase => ui::print(&text::in_progress(check)),
        (Event::Begins(_), None) => Ok(()),
        (Event::Ended(finding, redaction), None) => {
            let erase = if can_erase { text::ERASE } else { "" };
            ui::print(&format!("{erase}{}", text::finding(&finding, redaction, look)))
        }
    };
    let scope = if arguments.all { Scope::All } else { Scope::FirstProblem };
    let redaction = Redaction::of_this_user(subject.home.as_deref().ok());
    let mut checkup = Checkup::new(scope, subject.vps.is_some(), redaction, &mut listener);
    let vps = checks::run(&subject, &mut checkup)?;
    let Checkup { redaction, not_checked, beyond_scope, broken, login_works, .. } = checkup;
    drop(steps);
    let healthy = broken.is_none() && (subject.vps.is_none() || login_works);
    if arguments.json {
        let report = json::report(arguments.vps.as_deref(), healthy, &findings, &not_checked, &redaction);
        ui::print(&ui::json(&report))?;
    } else {
        let conclusion = match (healthy, broken) {
            (true, _) if subject.vps.is_some() => format!("A login on VPS {vps} works."),
            (true, _) => "No problem was found up to the SSH proxy. To check the rest, name a VPS: \
                          `kohakuriver doctor VPS`"
                .to_owned(),
            (false, Some(broken)) => blocked(broken, beyond_scope),
            (false, None) => "No login was tried.".to_owned(),
        };
        ui::print(&text::wrap(&conclusion, 0, 0, look.width))?;
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The last line when there is a problem. `beyond_scope` is the number of checks that `--all` adds.
fn blocked(broken: Broken, beyond_scope: usize) -> String {
    let skipped = match beyond_scope {
        0 => String::new(),
        1 => " 1 check was skipped; `--all` runs it as well.".to_owned(),
        count => format!(" {count} checks were skipped; `--all` runs them as well."),
    };
    match broken {
        Broken::Logins => format!("This is why you can't log in.{skipped}"),
        Broken::Commands => {
            format!("This is why ssh runs no command on the VPS; without a command, it logs in.{skipped}")
        }
    }
}
