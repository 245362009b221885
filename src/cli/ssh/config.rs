//! `kohakuriver ssh config`: VPSes as ordinary hosts of ssh, scp, git and IDEs.
//!
//! With no flag it prints. `--write` keeps the entries in a file of our own and puts one `Include` of it into the
//! user's configuration; `--remove` takes both back out. Nothing else of the user's is touched. The Host is asked
//! before anything is locked, and files are looked at again under the lock.

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
use crate::target::authority;

/// How old entries are when `--sync` asks the Host again.
const SYNC_AGE: Duration = Duration::from_secs(60 * 60);

#[derive(clap::Args, Debug)]
#[command(after_help = "\
The entries are one for each VPS of yours that has SSH now, which pickers of IDEs list, and `*.kohakuriver` for every \
other, by task id or name. They hold the Host's address and no token.

  kohakuriver ssh config --write      then `ssh trainer.kohakuriver`
  kohakuriver ssh config --diff       what --write would change, and nothing else
  kohakuriver ssh config --remove     ~/.ssh/config is again what it would be without us")]
pub(crate) struct Arguments {
    /// Show what --write would change, in both files
    #[arg(long, conflicts_with_all = ["write", "remove", "sync"])]
    diff: bool,
    /// Write ~/.ssh/kohakuriver.conf, and include it at the top of ~/.ssh/config
    #[arg(long, conflicts_with_all = ["remove", "sync"])]
    write: bool,
    /// Take both out again
    #[arg(long, conflicts_with_all = ["sync", "output"])]
    remove: bool,
    /// Refresh ~/.ssh/kohakuriver.conf if it is older than an hour and was written for this Host; quiet
    #[arg(long, conflicts_with = "output")]
    sync: bool,
    /// Write the entries there, and touch nothing else
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

/// The file's text for the settings in force, and what it lists.
fn make(settings: &Settings, home: &Path) -> Result<(Vec<u8>, Listed), Failure> {
    let route = route(settings, home, ssh_program().as_deref(), None)?;
    let listed = ask_host(settings, listed(settings, home))?;
    let text = stanzas::render(&route, &made_by(settings), &listed.entries).map_err(|error| unusable(&error))?;
    Ok((text, listed))
}

/// Entries that are old are made anew. Those that were made for another Host, by other settings, are left alone: that
/// the environment is another one now doesn't mean that the user wants other entries.
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

/// Takes a change of the VPSes up, where our file exists. Whoever changed them is done: nothing about it is a failure.
pub(crate) fn follow(settings: &Settings) {
    let followed = home().and_then(|home| {
        let files = Files::of(&home)?;
        if files.ours()?.content().is_none() {
            return Ok(());
        }
        sync(settings, &home, &files, Duration::ZERO)
    });
    if let Err(failure) = followed {
        ui::remark(failure.render("the ssh configuration is as it was").trim_end());
    }
}

/// The command that makes the file again, whatever the environment is then.
fn made_by(settings: &Settings) -> Vec<OsString> {
    let (proxy_host, proxy_port) = settings.ssh_proxy();
    let (host, port) = (settings.host.value.clone(), settings.port.value.to_string());
    let proxy = authority(&proxy_host, proxy_port);
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
    let mut silent = true;
    for change in changes {
        let verb = match (&change.before, &change.after) {
            (before, after) if before == after => continue,
            (_, None) => "removed",
            (None, _) => "wrote",
            _ => "changed",
        };
        silent = false;
        ui::remark(&format!("{verb} {}", change.path.display()));
    }
    if silent {
        ui::remark("nothing to change");
    }
}
