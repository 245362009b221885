//! `kohakuriver ssh config`: VPSes as hosts of ssh, scp, git and IDEs.
//!
//! Without a flag the entries are printed. `--write` writes them to a file of our own and adds one `Include` to the
//! user's configuration; `--remove` undoes both. Nothing else in the user's file changes. The Host is asked before the
//! lock is taken, and files are read again under the lock.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::cli::host::ask_host;
use crate::cli::host::vps_cache;
use crate::cli::programs::names::PROGRAM;
use crate::cli::programs::route::{home, route, ssh_program, unusable};
use crate::cli::ssh::entries::{Listed, listed};
use crate::cli::ssh::files::{Change, Files, write_ours};
use crate::cli::terminal::diff;
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::ssh::stanzas;
use crate::ssh::user_file::UserFile;

/// The age from which `--sync` asks the Host again.
const SYNC_AGE: Duration = Duration::from_secs(60 * 60);

#[derive(clap::Args, Debug)]
#[command(after_help = "\
There is one entry for each of your VPSes that has SSH now, for the host lists of IDEs, and one for `*.kohakuriver`, which \
matches any VPS by task id or name. The entries contain the Host's address, but no token. After --write, connect with \
`ssh trainer.kohakuriver`.

Examples:
  kohakuriver ssh config --diff
  kohakuriver ssh config --write
  kohakuriver ssh config --remove")]
pub(crate) struct Arguments {
    /// Show what --write would change in both files
    #[arg(long, conflicts_with_all = ["write", "remove", "sync"])]
    diff: bool,
    /// Write ~/.ssh/kohakuriver.conf and include it at the top of ~/.ssh/config
    #[arg(long, conflicts_with_all = ["remove", "sync"])]
    write: bool,
    /// Remove both again
    #[arg(long, conflicts_with_all = ["sync", "output"])]
    remove: bool,
    /// Refresh ~/.ssh/kohakuriver.conf, without output, if it is for this Host and older than an hour
    #[arg(long, conflicts_with = "output")]
    sync: bool,
    /// Write the entries to this file and change nothing else
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let home = home()?;
    let files = Files::of(&home)?;
    if arguments.remove {
        return files.remove().map(|changes| report(&changes));
    }
    if arguments.sync {
        return sync(settings, &home, &files, SYNC_AGE);
    }
    let (text, listed) = make(settings, &home)?;
    listed.remarks.iter().for_each(|remark| ui::remark(remark));
    match (&arguments.output, arguments.diff) {
        (Some(file), true) => show(&[Change::of_ours(file, text)?]),
        (Some(file), false) => write_ours(file, &text).map(|change| report(&[change])),
        (None, true) => show(&files.changes(text)?),
        (None, false) if arguments.write => {
            report(&files.write(text)?);
            vps_cache::keep(&settings.api_url(), &listed.vpses);
            Ok(())
        }
        (None, false) => ui::print_bytes(&text),
    }
}

/// The file's text for these settings, and the VPSes in it.
fn make(settings: &Settings, home: &Path) -> Result<(Vec<u8>, Listed), Failure> {
    let route = route(settings, home, ssh_program().as_deref(), None)?;
    let listed = ask_host(settings, listed(settings, home))?;
    let text = stanzas::render(&route, &made_by(settings), &listed.entries).map_err(|error| unusable(&error))?;
    Ok((text, listed))
}

/// Refreshes entries that are `due_at` old. Entries for other settings, such as another Host, stay: a different
/// environment doesn't mean that the user wants different entries.
fn sync(settings: &Settings, home: &Path, files: &Files, due_at: Duration) -> Result<(), Failure> {
    let is_due = |file: &UserFile| {
        let age = file.modified().and_then(|modified| SystemTime::now().duration_since(modified).ok());
        let wanted = file.content().is_some_and(|text| stanzas::was_made_by(text, &made_by(settings)));
        wanted && (due_at.is_zero() || age.is_some_and(|age| age >= due_at))
    };
    if !is_due(&files.ours()?) {
        return Ok(());
    }
    let (text, listed) = make(settings, home)?;
    vps_cache::keep(&settings.api_url(), &listed.vpses);
    files.refresh(&text, is_due)
}

/// Refreshes our file, if it exists, after a VPS changed. A problem is only a remark: the change itself succeeded.
pub(crate) fn follow(settings: &Settings) {
    let refreshed = home().and_then(|home| {
        let files = Files::of(&home)?;
        if files.ours()?.content().is_none() {
            return Ok(());
        }
        sync(settings, &home, &files, Duration::ZERO)
    });
    if let Err(failure) = refreshed {
        ui::remark(failure.render("cannot refresh the ssh configuration").trim_end());
    }
}

/// The command that writes the same file in any environment.
fn made_by(settings: &Settings) -> Vec<OsString> {
    let (host, port) = (settings.host.value.clone(), settings.port.value.to_string());
    let proxy = settings.ssh_proxy().authority();
    let words = [PROGRAM, "--host", &host, "--port", &port, "--proxy", &proxy, "ssh", "config", "--write"];
    words.map(OsString::from).into()
}

fn show(changes: &[Change]) -> Result<(), Failure> {
    let difference = |change: &Change| {
        let name = change.path.to_string_lossy();
        diff::unified(&name, change.before.as_deref(), change.after.as_deref())
    };
    let text: String = changes.iter().map(difference).collect();
    if text.is_empty() {
        ui::remark("nothing would change");
    }
    ui::print(&text)
}

fn report(changes: &[Change]) {
    let mut is_unchanged = true;
    for change in changes {
        let verb = match (&change.before, &change.after) {
            (before, after) if before == after => continue,
            (_, None) => "removed",
            (None, _) => "wrote",
            _ => "changed",
        };
        is_unchanged = false;
        ui::remark(&format!("{verb} {}", change.path.display()));
    }
    if is_unchanged {
        ui::remark("nothing to change");
    }
}
