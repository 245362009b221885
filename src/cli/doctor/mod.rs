//! `kohakuriver doctor`: walks the way to a VPS, step by step, and names the first thing that is wrong.
//!
//! A check is one entry of [`CHECKS`]: a name, and a function that tries something, says what it tried and what came of
//! it, and leaves in the [`Case`] what the checks behind it need. Both renderers, `text` and `json`, read the one
//! list of [`Finding`]s that comes of it. A new check is a file with its entries and a line in [`CHECKS`].
//!
//! Nothing is changed: no file of the user's, no cache, nothing on the Host; a copy of the host keys lies in a folder
//! of its own for as long as ssh needs it. Nothing is sent to anyone but the Host, its SSH proxy and the VPS. Whatever
//! opens a tunnel is the helper, which knows how to leave one.

mod case;
mod conceal;
pub(super) mod diagnose;
mod finding;
mod gateway;
mod host_api;
mod host_key;
mod host_name;
mod interrupted;
mod json;
mod keys;
mod login;
mod program;
mod programs;
mod session;
mod settings;
mod shell;
mod speed;
mod ssh_files;
mod text;
mod tunnel;
mod vps;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use crate::cli::host::vps_cache;
use crate::cli::host::vps_ref;
use crate::cli::terminal::progress::Steps;
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::settings::Flags;
use case::Case;
use finding::{Finding, Verdict};
use text::Style;

/// Every check, in the order of the way.
const CHECKS: &[&[Check]] = &[
    settings::CHECKS,
    programs::CHECKS,
    shell::CHECKS,
    ssh_files::CHECKS,
    host_name::CHECKS,
    host_api::CHECKS,
    gateway::CHECKS,
    vps::CHECKS,
    tunnel::CHECKS,
    host_key::CHECKS,
    keys::CHECKS,
    login::CHECKS,
    speed::CHECKS,
];

/// One step of the way.
struct Check {
    /// Its name, which scripts may rely on.
    name: &'static str,
    /// Whether it needs a VPS.
    of_vps: bool,
    /// Looks, and says what it tried and what came of it.
    examine: fn(&mut Case) -> (String, Verdict),
}

#[derive(clap::Args, Debug)]
#[command(after_help = "\
It ends at the first thing that is wrong, with its cause and one command that helps. The exit status is 0 only when a \
login on the VPS works, or, without a VPS, when nothing is wrong as far as that can be told. Nothing is changed anywhere.

The JSON has the keys version, vps (null without one), healthy, findings and not_checked (names of checks). A finding has \
check, verdict (ok, note, skip or wrong), tried, found, causes (a list), fix, command (both null unless it is wrong) and \
milliseconds. It holds no token, and `~` stands for the home directory.

Examples:
  kohakuriver doctor trainer
  kohakuriver doctor --all")]
pub(super) struct Arguments {
    /// Task id or name of the VPS; without it, what needs none is checked
    #[arg(value_name = "VPS", add = vps_cache::candidates())]
    vps: Option<String>,
    /// Go on behind the first thing that is wrong
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Private key to log in with, as for `vps connect`
    #[arg(long, short = 'i', value_name = "FILE")]
    key: Option<PathBuf>,
    /// Login on the VPS [default: root]
    #[arg(long, short = 'u', value_name = "USER", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    user: Option<String>,
}

/// # Errors
/// When the command line names no VPS that could be one, or stdout can't be written to.
pub(super) fn run(flags: Flags, arguments: Arguments) -> Result<ExitCode, Failure> {
    let asked = arguments.vps.as_deref().map(vps_ref).transpose()?;
    let mut case = Case::new(flags, asked, arguments.key, arguments.user);
    // Without it a folder may stay behind, and the report is no worse for it.
    let _ = interrupted::tidy_up();
    let style = Style::of_stdout();
    // JSON comes when all is done.
    let mut steps = arguments.json.then(Steps::new);
    let mut findings = Vec::new();
    let extent = if arguments.all { Extent::Whole } else { Extent::FirstWrong };
    let left = examine(&mut case, extent, &mut |check, case, finding| {
        if let Some(steps) = &mut steps {
            steps.show(&text::at_work(check));
            findings.extend(finding);
            return Ok(());
        }
        match finding {
            None if style.moves => ui::print(&text::at_work(check)),
            None => Ok(()),
            Some(finding) => {
                let clear = if style.moves { text::CLEAR } else { "" };
                ui::print(&format!("{clear}{}", text::finding(&finding, &case.conceal(), style)))?;
                findings.push(finding);
                Ok(())
            }
        }
    })?;
    drop(steps);
    let wrong = findings.iter().any(|finding| finding.verdict.is_wrong());
    let healthy = !wrong && (case.asked.is_none() || case.login);
    if arguments.json {
        let report = json::report(arguments.vps.as_deref(), healthy, &findings, &left, &case.conceal());
        ui::print(&ui::json(&report))?;
    } else {
        ui::print(&text::wrap(&close(&case, healthy, wrong, &left), 0, 0, style.width))?;
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The last line: what it all comes to.
fn close(case: &Case, healthy: bool, wrong: bool, left: &[&str]) -> String {
    let vps = case.vps_name();
    // Without a VPS, `--all` would not come to those either that need one.
    let more = |check: &&Check| left.contains(&check.name) && (case.asked.is_some() || !check.of_vps);
    match (&case.asked, CHECKS.iter().copied().flatten().filter(more).count()) {
        (Some(_), _) if healthy => format!("A login on VPS {vps} works."),
        (None, _) if healthy => {
            "Nothing is wrong up to the SSH proxy. The rest needs a VPS: `kohakuriver doctor VPS`".to_owned()
        }
        (_, 0) if wrong => "This keeps you out.".to_owned(),
        (_, more) if wrong => format!("This keeps you out. Of the checks, {more} were left out; `--all` goes on."),
        _ => "No login was tried.".to_owned(),
    }
}

/// What hears of each check: before it begins, with no finding, and when it has ended.
type Listener<'l> = dyn FnMut(&'static str, &Case, Option<Finding>) -> Result<(), Failure> + 'l;

/// How far the way is walked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// To the first thing that is wrong.
    FirstWrong,
    /// To that, or to a login that works.
    Login,
    /// To its end, whatever is wrong.
    Whole,
}

/// Runs the checks in their order; gives back the names of those that were left out.
fn examine(case: &mut Case, extent: Extent, listener: &mut Listener<'_>) -> Result<Vec<&'static str>, Failure> {
    let mut left = Vec::new();
    let mut ended = false;
    for check in CHECKS.iter().copied().flatten() {
        if ended || check.of_vps && case.asked.is_none() {
            left.push(check.name);
            continue;
        }
        listener(check.name, case, None)?;
        let began = Instant::now();
        let (tried, verdict) = (check.examine)(case);
        ended = match extent {
            Extent::FirstWrong => verdict.is_wrong(),
            Extent::Login => verdict.is_wrong() || case.login,
            Extent::Whole => false,
        };
        listener(check.name, case, Some(Finding { check: check.name, tried, took: began.elapsed(), verdict }))?;
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_a_name_of_its_own() {
        let names: Vec<&str> = CHECKS.iter().copied().flatten().map(|check| check.name).collect();
        let mut unique = names.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!((unique.len(), names.is_empty()), (names.len(), false));
        // The columns of the text are made for them.
        assert!(names.iter().all(|name| name.len() < 13), "{names:?}");
    }
}
