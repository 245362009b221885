//! ssh as the judge of a configuration: what `ssh -G` says about a host, before and after a change.
//!
//! No command of the user's runs meanwhile. ssh runs a `Match exec` with the program that SHELL names: here that is
//! `false`, and then `true`, so that both outcomes are judged. Names are not canonicalized, which would ask DNS.

use std::collections::HashSet;
use std::fs::canonicalize;
use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::doctor::own_config::{OwnConfig, is_about_vpses};
use crate::cli::doctor::refused::Refused;
use crate::cli::doctor::shown_line::{editor, place, text};
use crate::cli::programs::program::{self, Output, QUICK};
use crate::cli::programs::route::{home_of_ssh, ssh_program};
use crate::cli::programs::search_path;
use crate::failure::Failure;
use crate::ssh::in_force::{Line, Reading, named_hosts};
use crate::ssh::own_files::{OURS, OVERRIDES};
use crate::ssh::quote::shell_word;
use crate::ssh::sections::{self, Section};
use crate::ssh::stanzas;
use crate::sys;
use crate::target::SUFFIX;

/// A host that no configuration names.
const FOREIGN: &str = "kohakuriver-config-check.example";

/// A VPS of the default cluster that has no entry of its own.
const VPS: &str = "0.kohakuriver";

/// Most hosts of the user's that are asked about, the time for all of them, and the threads that ask. Each host takes
/// milliseconds, and as long again after the change.
const MOST_HOSTS: usize = 1000;
const LIMIT: Duration = Duration::from_secs(20);
const THREADS: usize = 4;

/// Most hosts of VPSes that the user's files name and that are looked at for remarks.
const MOST_VPSES: usize = 50;

/// The options that our entries have to set, so that ssh reaches a VPS.
/// Of a `ProxyCommand` and a `ProxyJump`, the first one counts.
const NEEDED: [&[&str]; 4] = [&["proxycommand", "proxyjump"], &["port"], &["hostname"], &["userknownhostsfile"]];

/// The answer to each `Match exec`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Exec {
    No,
    Yes,
}

/// The configuration that ssh takes for one host, and ssh's report about the files that it reads.
type Answer = Result<(OwnConfig, Reading), Box<Refused>>;

/// The options that ssh takes for the hosts that are not ours, to be compared before and after a change.
pub(crate) struct Meaning {
    /// The options of each; `None` for a host that ssh refuses.
    hosts: Vec<(String, Exec, Option<String>)>,
    /// The hosts that there was no time for.
    unasked: usize,
}

impl Meaning {
    /// A remark if there were too many hosts.
    pub(crate) fn remark(&self) -> Option<String> {
        let unasked = self.unasked;
        (unasked > 0).then(|| format!("ssh was not asked about {unasked} of the hosts that your files name: too many"))
    }
}

/// ssh, for the configuration in one home directory.
pub(crate) struct Judge {
    ssh: PathBuf,
    folder: PathBuf,
    config: PathBuf,
    /// The home directory of the configuration that ssh would read, if it is another one.
    elsewhere: Option<PathBuf>,
}

impl Judge {
    /// The ssh on PATH; `None` if there is none.
    pub(crate) fn of(folder: &Path) -> Option<Self> {
        let ssh = ssh_program()?;
        let defaults = program::run(Command::new(&ssh).args(["-G", "-F", "none", "vps"]), QUICK).ok()?;
        let other = home_of_ssh(&defaults.stdout).filter(|home| !is_same(home, folder.parent().unwrap_or(folder)));
        let mut judge = Self { ssh, folder: folder.to_owned(), config: folder.join("config"), elsewhere: None };
        // An `ssh` that is a script may name the configuration.
        let is_read = || judge.ask(FOREIGN, Exec::No).is_ok_and(|(_, log)| log.files.contains(&judge.config));
        judge.elsewhere = other.filter(|_| !is_read());
        Some(judge)
    }

    fn ssh(&self, words: &[&str], host: &str, exec: Exec) -> io::Result<Output> {
        let mut command = Command::new(&self.ssh);
        // Without `-N`, ssh refuses a `ForkAfterAuthentication yes` that comes without a command.
        command.args(words).args(["-N", "-G", "-o", "CanonicalizeHostname=no"]);
        if self.elsewhere.is_some() {
            command.arg("-F").arg(if self.config.exists() { &self.config } else { Path::new("none") });
        }
        if let Some(shell) = search_path::first(if exec == Exec::Yes { "true" } else { "false" }) {
            command.env("SHELL", shell);
        }
        program::run(command.arg(host), QUICK)
    }

    fn ask(&self, host: &str, exec: Exec) -> Answer {
        let output = self.ssh(&["-vvv"], host, exec).map_err(|error| Box::new(Refused::saying(&error)))?;
        OwnConfig::read(output)
    }

    /// The options of a host; `None` if ssh refuses it.
    fn options(&self, host: &str, exec: Exec) -> Option<String> {
        self.ssh(&[], host, exec).ok().filter(Output::succeeded).map(|output| output.stdout)
    }

    /// The host name of a VPS without an entry of its own, in a cluster that has entries, if one has any.
    fn vps(&self) -> String {
        let ours = sys::read_regular(&self.folder.join(OURS[0])).ok().filter(|text| stanzas::is_ours(text));
        let sections = sections::split(&ours.unwrap_or_default());
        match sections.first() {
            Some(first) if !sections.iter().any(Section::is_of_default) => format!("0.{}{SUFFIX}", first.cluster),
            _ => VPS.to_owned(),
        }
    }

    /// The options of a VPS without an entry; empty if ssh refuses.
    pub(crate) fn options_of_vps(&self) -> String {
        self.ask(&self.vps(), Exec::No).map(|(config, _)| config.options).unwrap_or_default()
    }

    /// The present options of a host that no file names, and of the hosts that the user's files name.
    ///
    /// # Errors
    /// If ssh refuses the configuration.
    pub(crate) fn meaning(&self) -> Result<Meaning, Failure> {
        let started = Instant::now();
        let (_, log) = self
            .ask(FOREIGN, Exec::No)
            .map_err(|refused| refused.failure("ssh refuses your own ssh_config already", FOREIGN))?;
        let texts = self.texts(&log);
        let has_exec = texts.iter().any(|text| text.windows(4).any(|word| word.eq_ignore_ascii_case(b"exec")));
        let execs = if has_exec { &[Exec::No, Exec::Yes][..] } else { &[Exec::No] };
        let mut hosts = named(&texts);
        hosts.retain(|host| !is_vps(host));
        hosts.insert(0, FOREIGN.to_owned());
        let found = hosts.len();
        hosts.truncate(MOST_HOSTS);
        let asked = on_threads(&hosts, |host| {
            let is_in_time = started.elapsed() < LIMIT;
            is_in_time.then(|| execs.iter().map(|&exec| (host.clone(), exec, self.options(host, exec))).collect())
        });
        let asked: Vec<Vec<_>> = asked.into_iter().flatten().collect();
        Ok(Meaning { unasked: found - asked.len(), hosts: asked.concat() })
    }

    /// The texts of the user's files. The file for words about VPSes comes first: ssh reads it from now on.
    fn texts(&self, log: &Reading) -> Vec<Vec<u8>> {
        let overrides = self.folder.join(OVERRIDES);
        let files = std::iter::once(&overrides).chain(log.files.iter().filter(|file| **file != overrides));
        files.filter_map(|file| sys::read_regular(file).ok()).filter(|text| !stanzas::is_ours(text)).collect()
    }

    /// Whether ssh reads the configuration.
    ///
    /// # Errors
    /// If it refuses.
    pub(crate) fn accepts(&self) -> Result<(), Failure> {
        [FOREIGN, &self.vps()].into_iter().try_for_each(|host| match self.ask(host, Exec::No) {
            Ok(_) => Ok(()),
            Err(refused) => Err(refused.failure("ssh refuses your ssh_config with our entries in it", host)),
        })
    }

    /// Whether ssh still reads the configuration, and does with other hosts what it did `before`.
    ///
    /// # Errors
    /// If not: with the line that is to blame.
    pub(crate) fn check(&self, before: &Meaning) -> Result<(), Failure> {
        self.accepts()?;
        let results = on_threads(&before.hosts, |(host, exec, options)| {
            let Some(options) = options else { return Ok(()) };
            if self.options(host, *exec).as_ref() == Some(options) {
                return Ok(());
            }
            match self.ask(host, *exec) {
                Ok((config, _)) => Err(changed(host, options, &config)),
                Err(refused) => {
                    Err(refused.failure(&format!("ssh refuses {host} with our entries in your ssh_config"), host))
                }
            }
        });
        results.into_iter().collect()
    }

    /// Whether ssh uses our entries for VPSes, wherever and however they are included. What the user has set for VPSes
    /// in front of them is the user's own choice.
    pub(crate) fn is_in_force(&self) -> bool {
        let is_ours = |line: &Line| self.is_of_ours(&line.file);
        [Exec::No, Exec::Yes].into_iter().any(|exec| {
            self.ask(&self.vps(), exec).is_ok_and(|(config, _)| {
                config.lines.iter().any(|line| is_ours(line) && line.sets(NEEDED[0][0]))
                    && deciding(&config).all(|line| is_ours(line) || self.is_own_choice(line))
            })
        })
    }

    fn is_own_choice(&self, line: &Line) -> bool {
        is_about_vpses(line) || is_same(&line.file, &self.folder.join(OVERRIDES))
    }

    fn is_of_ours(&self, file: &Path) -> bool {
        OURS.iter().any(|name| is_same(file, &self.folder.join(name)))
    }

    /// The `Host` or `Match` that decides whether ssh reads our entries, if there is one.
    fn condition(&self) -> Option<Line> {
        let (_, log) = self.ask(&self.vps(), Exec::Yes).ok()?;
        log.condition_of(&|file| self.is_of_ours(file), &|file| sys::read_regular(file).ok())
    }

    /// Remarks for the user: a line that comes before ours, so that ssh may not reach VPSes, one that decides whether ours
    /// count, and lines about VPSes that have no effect, since ours come first.
    pub(crate) fn remarks(&self) -> Vec<String> {
        // An `ssh` that is a script reads a configuration that was just made.
        let elsewhere = Self::of(&self.folder).and_then(|judge| judge.elsewhere);
        let mut remarks = Vec::from_iter(elsewhere.map(|home| self.unread(&home)));
        let Ok((config, log)) = self.ask(&self.vps(), Exec::No) else { return remarks };
        let hidden = deciding(&config).find(|line| !self.is_of_ours(&line.file));
        match hidden {
            Some(line) => {
                remarks.push(format!("{} comes before our entries, and hides theirs: `{}`", place(line), text(line)));
            }
            None if !self.is_in_force() => remarks.push("ssh does not read our entries".to_owned()),
            None => {}
        }
        remarks.extend(self.condition().map(|line| {
            format!(
                "{} stands above the Include of our entries, so they count only where it applies: `{}`; to use them \
                 always, move the Include to the top of {}",
                place(&line),
                text(&line),
                self.config.display()
            )
        }));
        let named = named(&self.texts(&log)).into_iter().filter(|host| is_vps(host)).take(MOST_VPSES);
        for host in std::iter::once(self.vps()).chain(named) {
            let Ok((config, _)) = self.ask(&host, Exec::No) else { continue };
            for line in config.without_effect() {
                let remark = format!(
                    "{} has no effect, since our entries come first: `{}`; move it to {}",
                    place(line),
                    text(line),
                    self.folder.join(OVERRIDES).display()
                );
                if !remarks.contains(&remark) {
                    remarks.push(remark);
                }
            }
        }
        remarks
    }

    /// The warning that ssh reads the configuration in the home directory `theirs`.
    fn unread(&self, theirs: &Path) -> String {
        let config = &self.config;
        format!(
            "warning: ssh doesn't read {}: your home directory in the user database is {}, and HOME names another one;\n  \
             use `ssh -F {} NAME.kohakuriver`, or write the entries there: `env -u HOME kohakuriver ssh config --write`",
            config.display(),
            theirs.display(),
            shell_word(config.as_os_str()).display()
        )
    }
}

/// The lines whose values ssh takes for what a VPS needs.
fn deciding(config: &OwnConfig) -> impl Iterator<Item = &Line> {
    NEEDED.iter().filter_map(|names| config.lines.iter().find(|line| names.iter().any(|name| line.sets(name))))
}

/// The failure for a host that is not ours and means something else with our entries.
fn changed(host: &str, before: &str, now: &OwnConfig) -> Failure {
    let failure = Failure::new(format!("with our entries in your ssh_config, {host} would mean another host or login"));
    let added = now.options.lines().find(|line| !before.lines().any(|old| old == *line));
    let gone = before.lines().find(|line| !now.options.lines().any(|new| new == *line));
    let name = added.or(gone).and_then(|option| option.split(' ').next()).unwrap_or_default();
    let was = match (gone, added) {
        (Some(gone), Some(added)) => format!("`{gone}` became `{added}`"),
        (Some(gone), None) => format!("`{gone}` is gone"),
        (None, added) => format!("`{}` is new", added.unwrap_or_default()),
    };
    match now.line(name) {
        Some(line) => {
            let failure = failure.cause(was).cause(format!("{}: `{}`", place(line), text(line)));
            failure.hint(format!("put the line below a `Host` line with the hosts that it is for: `{}`", editor(line)))
        }
        None => failure.cause(was).hint(format!("see all messages of ssh: `ssh -vvv -G {host}`")),
    }
}

/// The hosts that the user's files name, each once.
fn named(texts: &[Vec<u8>]) -> Vec<String> {
    let mut seen = HashSet::new();
    texts.iter().flat_map(|text| named_hosts(text)).filter(|host| seen.insert(host.clone())).collect()
}

/// The results of `work` for `items`, in their order.
fn on_threads<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let work = &work;
    thread::scope(|scope| {
        let shares = items.chunks(items.len().div_ceil(THREADS).max(1));
        let threads: Vec<_> =
            shares.map(|share| scope.spawn(move || share.iter().map(work).collect::<Vec<R>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

fn is_vps(host: &str) -> bool {
    host.to_ascii_lowercase().ends_with(SUFFIX)
}

fn is_same(one: &Path, other: &Path) -> bool {
    one == other || canonicalize(one).is_ok_and(|one| canonicalize(other).is_ok_and(|other| one == other))
}
