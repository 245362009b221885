//! `kohakuriver ssh config`: VPSes as hosts of ssh, scp, git and IDEs.
//!
//! Without a flag the entries are printed. `--write` writes them to files of our own and adds one `Include` to the user's
//! configuration, unless ssh uses the entries already; `--remove` undoes both. Nothing else in the user's file changes. The
//! Host is asked before the lock is taken, and files are read again under the lock.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::api::ApiError;
use crate::cli::host::vps_cache;
use crate::cli::host::{ask_host, client, every_cluster, in_messages, load_settings};
use crate::cli::programs::host_keys;
use crate::cli::programs::names::PROGRAM;
use crate::cli::programs::route::{home, route, ssh_program, unusable};
use crate::cli::programs::shell::{OTHER_SHELL, Shell, Starts};
use crate::cli::ssh::entries::{Kept, Listed, listed};
use crate::cli::ssh::files::{Change, Edit, Files, known_clusters, write_ours};
use crate::cli::ssh::judge::Judge;
use crate::cli::terminal::diff;
use crate::cli::terminal::ui;
use crate::cluster::{Cluster, UNNAMED};
use crate::failure::Failure;
use crate::settings::env_vars::KOHAKURIVER_KNOWN_HOSTS;
use crate::settings::{Flags, Settings, Source};
use crate::ssh::keys;
use crate::ssh::options::Route;
use crate::ssh::own_files::Sections;
use crate::ssh::resume::resume_flag;
use crate::ssh::sections::{Section, join};
use crate::ssh::stanzas;
use crate::ssh::user_file::UserFile;
use crate::sys;

/// When ssh gets the socket itself, on a system where it can.
const UNLESS_NEAR: &str = if sys::CAN_PASS_DESCRIPTORS {
    " unless plain TCP leads to a gateway in a private network: there ssh gets the socket itself, which is fastest"
} else {
    ""
};

/// The help of `--resume`.
const RESUME: &str = if sys::CAN_PASS_DESCRIPTORS {
    "Make tunnels resumable, whatever the setting `resume` says: ssh then never gets the socket itself"
} else {
    "Make tunnels resumable, whatever the setting `resume` says"
};

#[derive(clap::Args, Debug)]
#[command(after_help = format!("\
There is one entry for each of your newest 500 VPSes with SSH, for the host lists of IDEs, and one for `*.kohakuriver`, which \
matches any VPS by task id or name. The entries contain the Host's address, but no token. After --write, connect with \
`ssh trainer.kohakuriver`. Each cluster has a section of its own; the host names of all but the default one have the \
cluster's name in them, as in `ssh trainer.lab.kohakuriver`.

A resumable tunnel survives its connection. The setting `resume` is on, off or auto, and auto makes tunnels resumable{}. \
The entries say which and why, and keep it until the next --write.

Put options of your own for VPSes into ~/.ssh/kohakuriver.local.conf: it comes before the entries, and nothing changes it. \
--write asks ssh before and after: if ssh refuses the result, or other hosts would mean something else, all files are put \
back.

Examples:
  kohakuriver ssh config --diff
  kohakuriver ssh config --write
  kohakuriver ssh config --remove", UNLESS_NEAR))]
pub(crate) struct Arguments {
    /// Show what --write would change
    #[arg(long, conflicts_with_all = ["write", "remove", "sync"])]
    diff: bool,
    /// Write ~/.ssh/kohakuriver.conf; include it at the top of ~/.ssh/config, unless ssh reads it already
    #[arg(long, conflicts_with_all = ["remove", "sync"])]
    write: bool,
    /// Remove what --write added for this cluster
    #[arg(long, conflicts_with_all = ["sync", "output"])]
    remove: bool,
    /// Refresh ~/.ssh/kohakuriver.conf, without output, if it is for this Host and the Host answers
    #[arg(long, conflicts_with = "output")]
    sync: bool,
    /// Write the entries to this file and change nothing else
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write, refresh or remove the entries of all your clusters
    #[arg(long, conflicts_with_all = ["diff", "output"])]
    all_clusters: bool,
    #[arg(long, help = RESUME, conflicts_with_all = ["no_resume", "remove", "sync"])]
    resume: bool,
    /// Make no tunnel resumable
    #[arg(long, conflicts_with_all = ["remove", "sync"])]
    no_resume: bool,
}

/// Runs the verb for the cluster that `flags` name, or for all.
pub(super) fn run_for(flags: &Flags, arguments: &Arguments) -> Result<(), Failure> {
    if arguments.remove {
        let files = Files::of(&home()?);
        return match load_settings(flags) {
            Ok(settings) if !arguments.all_clusters => remove(&files, Some(&settings.cluster)),
            // Unusable settings keep no entries that are all that is there.
            Err(failure) if !arguments.all_clusters && files.sections().is_ok_and(|all| all.len() > 1) => Err(failure),
            _ => remove(&files, None),
        };
    }
    let demand = (arguments.resume || arguments.no_resume).then_some(arguments.resume);
    if !arguments.all_clusters {
        return run(&load_settings(flags)?.with_resume_flag(demand), arguments);
    }
    if !arguments.write && !arguments.sync {
        return Err(Failure::usage("all clusters can't be printed").hint("add `--write`, `--sync` or `--remove`"));
    }
    for settings in every_cluster(flags)? {
        in_messages(&settings).set();
        run(&settings.with_resume_flag(demand), arguments)?;
    }
    Ok(())
}

fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let home = home()?;
    let files = Files::of(&home);
    if arguments.sync {
        files.remark().iter().for_each(|remark| ui::remark(remark));
        return match sync(settings, &home, &files)? {
            // The next one will do.
            None | Some(ApiError::Unreachable { .. } | ApiError::NoHost { .. } | ApiError::Timeout { .. }) => Ok(()),
            Some(error) => Err(no_list(&error)),
        };
    }
    let moved = if arguments.write || arguments.diff { check_host(settings, &files)? } else { None };
    let made = Made::of(settings, &home)?.map_err(|error| no_list(&error))?;
    made.listed.remarks.iter().chain(&moved).for_each(|remark| ui::remark(remark));
    match (&arguments.output, arguments.diff) {
        (Some(file), true) => show(&[Change::of_ours(file, made.whole()?)?]),
        (Some(file), false) => write_ours(file, &made.whole()?).map(|change| made.report(&[change])),
        (None, true) => show(&files.changes(&made.edit()?)?),
        (None, false) if arguments.write => made.write(settings, &files),
        (None, false) => ui::print(&made.whole()?),
    }
}

/// Writes the entries of the cluster in `settings`.
pub(crate) fn write_entries(settings: &Settings) -> Result<(), Failure> {
    let home = home()?;
    let files = Files::of(&home);
    let moved = check_host(settings, &files)?;
    let settings = &with_flag_of(&files.sections()?, settings.clone(), &settings.cluster.to_string());
    let made = Made::of(settings, &home)?.map_err(|error| no_list(&error))?;
    made.listed.remarks.iter().chain(&moved).for_each(|remark| ui::remark(remark));
    made.write(settings, &files)
}

/// The settings, with the flag about tunnels that wrote the section of the cluster `name`.
fn with_flag_of(sections: &[Section], settings: Settings, name: &str) -> Settings {
    let demand = sections.iter().find(|section| section.cluster == name).and_then(Section::resume);
    settings.with_resume_flag(demand)
}

/// Removes the section of `cluster`, or of all clusters. The files go with the last one.
pub(crate) fn remove(files: &Files, cluster: Option<&Cluster>) -> Result<(), Failure> {
    let name = cluster.map(Cluster::to_string);
    let sections = files.sections().unwrap_or_default();
    let is_there = |name: &str| sections.iter().any(|section| section.cluster == *name);
    match name {
        Some(name) if sections.len() > 1 && is_there(&name) => {
            let (changes, remarks) = files.write(&Edit { remove: vec![name], ..Edit::default() })?;
            report(&changes);
            remarks.iter().for_each(|remark| ui::remark(remark));
            Ok(())
        }
        Some(name) if !sections.is_empty() && !is_there(&name) => {
            ui::remark(&format!("there are no entries of {name}"));
            Ok(())
        }
        _ => {
            let (changes, failure) = files.remove()?;
            report(&changes);
            failure.map_or(Ok(()), Err)
        }
    }
}

/// Refuses to write the entries of a Host over those of another one that have the same names. If the configuration file
/// names the new one, its cluster has moved: the remark says so.
fn check_host(settings: &Settings, files: &Files) -> Result<Option<String>, Failure> {
    let (own, host) = (settings.cluster.to_string(), settings.host_as_typed());
    if settings.cluster.name().is_none() {
        return Err(Failure::usage(format!("the Host at {} is none of your clusters", settings.api_url()))
            .cause("its entries would have the names of another cluster's")
            .hint(format!("make it one: `kohakuriver login {host} --cluster NAME`")));
    }
    let before = files.sections()?.into_iter().find(|section| section.cluster == own).and_then(|own| own.host_api());
    // As a section names it.
    let now = if settings.scheme.is_in_address() { host.clone() } else { format!("{host}:{}", settings.port.value) };
    match before.filter(|before| *before != now) {
        None => Ok(None),
        Some(before) if settings.host.source == Source::File && !settings.port.source.is_above_file() => Ok(Some(
            format!("the entries of cluster {own} were for the Host at {before}; from now on they are for {now}"),
        )),
        Some(before) => Err(Failure::new(format!("the entries of cluster {own} are for the Host at {before}"))
            .cause(format!("they would be replaced by those of {now}, and `ssh NAME.kohakuriver` would go there"))
            .hint(format!(
                "give it entries of its own: `kohakuriver login {host} --cluster NAME`; or remove the old ones first: \
                 `kohakuriver ssh config --remove`"
            ))),
    }
}

/// Writes the sections of those `clusters` that have one again, as after a change of the default cluster. The section of
/// `gone` is removed; if that cluster was renamed to `renamed`, a section with the new name takes its place. For a Host that
/// does not answer, a section has only the entries that need no list.
pub(crate) fn rewrite(clusters: &[Settings], gone: Option<&str>, renamed: Option<&str>) -> Result<(), Failure> {
    let home = home()?;
    let files = Files::of(&home);
    let there = files.sections()?;
    let has_section = |name: &str| {
        let name = if renamed == Some(name) { gone.unwrap_or(name) } else { name };
        there.iter().any(|section| section.cluster == name)
    };
    let mut edit = Edit { remove: gone.map(str::to_owned).into_iter().collect(), ..Edit::default() };
    for settings in clusters.iter().filter(|settings| has_section(&settings.cluster.to_string())) {
        let name = settings.cluster.to_string();
        let before = if renamed == Some(&name) { gone.unwrap_or(&name) } else { &name };
        let settings = with_flag_of(&there, settings.clone(), before);
        let made = match Made::of(&settings, &home)? {
            Ok(made) => made,
            Err(error) => {
                ui::remark(&format!("the entries of cluster {name} list no VPSes: {error}"));
                Made::without_list(&settings, &home)?
            }
        };
        edit.put.extend(made.edit()?.put);
    }
    if edit.put.is_empty() && !gone.is_some_and(has_section) {
        return Ok(());
    }
    if edit.put.is_empty() && there.iter().all(|section| edit.remove.contains(&section.cluster)) {
        return remove(&files, None);
    }
    let (changes, remarks) = files.write(&edit)?;
    report(&changes);
    remarks.iter().for_each(|remark| ui::remark(remark));
    Ok(())
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
        let client = client(settings)?;
        let kept = Kept::of(settings);
        match ask_host(settings, async { Ok(listed(&client, home, &kept).await) })? {
            Ok(listed) => Self::with(settings, home, listed).map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    fn without_list(settings: &Settings, home: &Path) -> Result<Self, Failure> {
        Self::with(settings, home, Listed::nothing(home, &Kept::of(settings)))
    }

    fn with(settings: &Settings, home: &Path, mut listed: Listed) -> Result<Self, Failure> {
        let ssh = ssh_program();
        let mut route = route(settings, home, ssh.as_deref(), None)?;
        if settings.known_hosts.is_some() {
            host_keys::check(&route.known_hosts)?;
        }
        let remark;
        (route.fdpass, remark) = passes_sockets(&route.proxy_program);
        listed.remarks.extend(remark);
        let options = Judge::of(&home.join(".ssh")).map(|judge| judge.options_of_vps()).unwrap_or_default();
        listed.entries.more_keys = keys::hidden_defaults(&options, home);
        Ok(Self { route, made_by: made_by(settings), listed })
    }

    /// All entries in one, for this machine's ssh.
    fn whole(&self) -> Result<Vec<u8>, Failure> {
        let section = stanzas::section(&self.route, &self.made_by, &self.listed.entries, true);
        Ok(join(&stanzas::head(None), &[section.map_err(|error| unusable(&error))?], &known_clusters()))
    }

    fn write(&self, settings: &Settings, files: &Files) -> Result<(), Failure> {
        let (changes, remarks) = files.write(&self.edit()?)?;
        self.report(&changes);
        remarks.iter().for_each(|remark| ui::remark(remark));
        vps_cache::keep(&settings.api_url(), &self.listed.vpses);
        Ok(())
    }

    /// Tells what changed, and whether tunnels are resumable now.
    fn report(&self, changes: &[Change]) {
        report(changes);
        if changes.iter().any(|change| change.before != change.after) {
            ui::remark(&self.route.resume.explained(self.route.fdpass));
        }
    }

    fn edit(&self) -> Result<Edit, Failure> {
        let Self { route, made_by, listed } = self;
        let own = stanzas::section(route, made_by, &listed.entries, false);
        let newer = stanzas::newer_section(route, made_by, &listed.entries.ends);
        let sections: Sections = [own.map_err(|error| unusable(&error))?, newer.map_err(|error| unusable(&error))?];
        Ok(Edit { put: vec![sections], remove: Vec::new() })
    }
}

/// Refreshes our files, if they are there, and returns the Host's error if it lists no VPSes. Entries for other settings,
/// such as another Host, stay: a different environment doesn't mean that the user wants different entries.
fn sync(settings: &Settings, home: &Path, files: &Files) -> Result<Option<ApiError>, Failure> {
    // The flag that the entries were written with.
    let settings = &with_flag_of(&files.sections()?, settings.clone(), &settings.cluster.to_string());
    let is_wanted = |file: &UserFile| file.content().is_some_and(|text| stanzas::was_made_by(text, &made_by(settings)));
    if !is_wanted(&files.ours()?) {
        return Ok(None);
    }
    let made = match Made::of(settings, home)? {
        Ok(made) => made,
        Err(error) => return Ok(Some(error)),
    };
    vps_cache::keep(&settings.api_url(), &made.listed.vpses);
    files.refresh(&made.edit()?, is_wanted).map(|()| None)
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
    if !sys::CAN_PASS_DESCRIPTORS {
        return (false, None);
    }
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
    let (host, port) = (settings.host_as_typed(), settings.port.value.to_string());
    let proxy = settings.ssh_proxy().as_typed();
    let upstream = settings.upstream_proxy.iter().flat_map(|setting| setting.value.words());
    let more: Vec<String> = settings.tls.trust().words().into_iter().chain(upstream).collect();
    let cluster = settings.cluster.name().filter(|name| *name != UNNAMED);
    let cluster = cluster.into_iter().flat_map(|name| ["--cluster", name]);
    let addresses = ["--host", &host, "--port", &port, "--proxy", &proxy];
    let words = [PROGRAM].into_iter().chain(cluster).chain(addresses).chain(more.iter().map(String::as_str));
    let is_flag = settings.resume.source == Source::Flag;
    let resume = settings.resume.value.demand().filter(|_| is_flag).map(resume_flag);
    let words: Vec<&str> = words.chain(["ssh", "config", "--write"]).chain(resume).collect();
    let known_hosts = settings.known_hosts.iter().flat_map(|file| {
        let mut variable = OsString::from(format!("{KOHAKURIVER_KNOWN_HOSTS}="));
        variable.push(&file.value);
        ["env".into(), variable]
    });
    known_hosts.chain(words.into_iter().map(OsString::from)).collect()
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
