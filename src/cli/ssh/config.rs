//! `kohakuriver ssh config`: VPSes as hosts of ssh, scp, git and IDEs.
//!
//! Without a flag the entries are printed. `--write` writes them to files of our own and adds one `Include` to the user's
//! configuration, unless ssh uses the entries already; `--remove` undoes both. Nothing else in the user's file changes. The
//! Host is asked before the lock is taken, and files are read again under the lock.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::api::ApiError;
use crate::cli::host::vps_cache;
use crate::cli::host::{ask_host, client};
use crate::cli::programs::host_keys;
use crate::cli::programs::names::PROGRAM;
use crate::cli::programs::route::{home, route, ssh_program, unusable};
use crate::cli::programs::shell::{OTHER_SHELL, Shell, Starts};
use crate::cli::ssh::entries::{Listed, listed};
use crate::cli::ssh::files::{Change, Files, write_ours};
use crate::cli::ssh::judge::Judge;
use crate::cli::terminal::diff;
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::settings::env_vars::KOHAKURIVER_KNOWN_HOSTS;
use crate::ssh::keys;
use crate::ssh::options::Route;
use crate::ssh::own_files::Texts;
use crate::ssh::stanzas;
use crate::ssh::user_file::UserFile;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
There is one entry for each of your newest 500 VPSes with SSH, for the host lists of IDEs, and one for `*.kohakuriver`, which \
matches any VPS by task id or name. The entries contain the Host's address, but no token. After --write, connect with \
`ssh trainer.kohakuriver`.

Put options of your own for VPSes into ~/.ssh/kohakuriver.local.conf: it comes before the entries, and nothing changes it. \
--write asks ssh before and after: if ssh refuses the result, or other hosts would mean something else, all files are put \
back.

Examples:
  kohakuriver ssh config --diff
  kohakuriver ssh config --write
  kohakuriver ssh config --remove")]
pub(crate) struct Arguments {
    /// Show what --write would change
    #[arg(long, conflicts_with_all = ["write", "remove", "sync"])]
    diff: bool,
    /// Write ~/.ssh/kohakuriver.conf; include it at the top of ~/.ssh/config, unless ssh reads it already
    #[arg(long, conflicts_with_all = ["remove", "sync"])]
    write: bool,
    /// Remove what --write added
    #[arg(long, conflicts_with_all = ["sync", "output"])]
    remove: bool,
    /// Refresh ~/.ssh/kohakuriver.conf, without output, if it is for this Host and the Host answers
    #[arg(long, conflicts_with = "output")]
    sync: bool,
    /// Write the entries to this file and change nothing else
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let home = home()?;
    let files = Files::of(&home);
    if arguments.remove {
        let (changes, failure) = files.remove()?;
        report(&changes);
        return failure.map_or(Ok(()), Err);
    }
    if arguments.sync {
        files.remark().iter().for_each(|remark| ui::remark(remark));
        return match sync(settings, &home, &files)? {
            // The next one will do.
            None | Some(ApiError::Unreachable { .. } | ApiError::NoHost { .. } | ApiError::Timeout { .. }) => Ok(()),
            Some(error) => Err(no_list(&error)),
        };
    }
    let made = Made::of(settings, &home)?.map_err(|error| no_list(&error))?;
    made.listed.remarks.iter().for_each(|remark| ui::remark(remark));
    match (&arguments.output, arguments.diff) {
        (Some(file), true) => show(&[Change::of_ours(file, made.whole()?)?]),
        (Some(file), false) => write_ours(file, &made.whole()?).map(|change| report(&[change])),
        (None, true) => show(&files.changes(made.texts(&files)?)?),
        (None, false) if arguments.write => {
            let (changes, remarks) = files.write(made.texts(&files)?)?;
            report(&changes);
            remarks.iter().for_each(|remark| ui::remark(remark));
            vps_cache::keep(&settings.api_url(), &made.listed.vpses);
            Ok(())
        }
        (None, false) => ui::print_bytes(&made.whole()?),
    }
}

/// Our files for these settings, and the VPSes in them.
struct Made {
    route: Route,
    made_by: Vec<OsString>,
    listed: Listed,
}

impl Made {
    /// Asks the Host for the VPSes. The inner error is the Host's.
    fn of(settings: &Settings, home: &Path) -> Result<Result<Self, ApiError>, Failure> {
        let ssh = ssh_program();
        let mut route = route(settings, home, ssh.as_deref(), None)?;
        if settings.known_hosts.is_some() {
            host_keys::check(&route.known_hosts)?;
        }
        let client = client(settings)?;
        let mut listed = match ask_host(settings, async { Ok(listed(&client, home).await) })? {
            Ok(listed) => listed,
            Err(error) => return Ok(Err(error)),
        };
        let remark;
        (route.fdpass, remark) = passes_sockets(&route.proxy_program);
        listed.remarks.extend(remark);
        let options = Judge::of(&home.join(".ssh")).map(|judge| judge.options_of_vps()).unwrap_or_default();
        listed.entries.more_keys = keys::hidden_defaults(&options, home);
        Ok(Ok(Self { route, made_by: made_by(settings), listed }))
    }

    /// All entries in one, for this machine's ssh.
    fn whole(&self) -> Result<Vec<u8>, Failure> {
        stanzas::render(&self.route, &self.made_by, &self.listed.entries, None).map_err(|error| unusable(&error))
    }

    fn texts(&self, files: &Files) -> Result<Texts, Failure> {
        let ours = stanzas::render(&self.route, &self.made_by, &self.listed.entries, Some(&files.includes()));
        let newer = stanzas::render_newer(&self.route, &self.made_by);
        let (ours, newer) = (ours.map_err(|error| unusable(&error))?, newer.map_err(|error| unusable(&error))?);
        Ok([ours, newer])
    }
}

/// Refreshes our files, if they are there, and returns the Host's error if it lists no VPSes. Entries for other settings,
/// such as another Host, stay: a different environment doesn't mean that the user wants different entries.
fn sync(settings: &Settings, home: &Path, files: &Files) -> Result<Option<ApiError>, Failure> {
    let is_wanted = |file: &UserFile| file.content().is_some_and(|text| stanzas::was_made_by(text, &made_by(settings)));
    if !is_wanted(&files.ours()?) {
        return Ok(None);
    }
    let made = match Made::of(settings, home)? {
        Ok(made) => made,
        Err(error) => return Ok(Some(error)),
    };
    vps_cache::keep(&settings.api_url(), &made.listed.vpses);
    files.refresh(&made.texts(files)?, is_wanted).map(|()| None)
}

/// Refreshes our files, if they exist, after a VPS changed. A problem is only a remark: the change itself succeeded.
pub(crate) fn follow(settings: &Settings) {
    let refreshed = home().and_then(|home| sync(settings, &home, &Files::of(&home)));
    let refreshed = refreshed.and_then(|error| error.map_or(Ok(()), |error| Err(no_list(&error))));
    if let Err(failure) = refreshed {
        ui::remark(failure.render("cannot refresh the ssh configuration").trim_end());
    }
}

/// Whether ssh can get its socket from `helper`, started by the user's shell, and what to say if not.
fn passes_sockets(helper: &Path) -> (bool, Option<String>) {
    let shell = Shell::of_user();
    match shell.ask(helper) {
        Starts::Always => (true, None),
        Starts::WithPipes(trouble) => {
            let (does, why) = (shell.does(&trouble), shell.why(&trouble));
            (false, Some(format!("{does} ({why}), so the entries do without ProxyUseFdpass")))
        }
        Starts::Never(trouble) => {
            let (does, why) = (shell.does(&trouble), shell.why(&trouble));
            (true, Some(format!("warning: {does} ({why}); ssh needs another one: `{OTHER_SHELL}`")))
        }
    }
}

fn no_list(error: &ApiError) -> Failure {
    error.failure("cannot list your VPSes")
}

/// The command that writes the same file in any environment.
fn made_by(settings: &Settings) -> Vec<OsString> {
    let (host, port) = (settings.host.value.clone(), settings.port.value.to_string());
    let proxy = settings.ssh_proxy().authority();
    let words = [PROGRAM, "--host", &host, "--port", &port, "--proxy", &proxy, "ssh", "config", "--write"];
    let known_hosts = settings.known_hosts.iter().flat_map(|file| {
        let mut variable = OsString::from(format!("{KOHAKURIVER_KNOWN_HOSTS}="));
        variable.push(&file.value);
        ["env".into(), variable]
    });
    known_hosts.chain(words.map(OsString::from)).collect()
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
