//! The programs on this machine: which ssh, which helper, which `kohakuriver`.

use std::env;
use std::fs::canonicalize;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::doctor::check::{Check, Examined, Given};
use crate::cli::doctor::finding::Verdict;
use crate::cli::doctor::own_config::OwnConfig;
use crate::cli::doctor::subject::Subject;
use crate::cli::programs::names::PROGRAM;
use crate::cli::programs::program::{self, Output, QUICK};
use crate::cli::programs::route::{self, typed_route};
use crate::cli::programs::search_path::find_all;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::ssh::options::Route;
use crate::sys;
use crate::text::excerpt;

/// The first ssh on PATH.
pub(super) struct Ssh;

/// An ssh that runs.
pub(super) struct FoundSsh {
    pub(super) path: PathBuf,
    /// The home directory that ssh uses, which is that of the user database.
    pub(super) home: Option<PathBuf>,
}

impl FoundSsh {
    /// Whether ssh reads the `~/.ssh/config` of the directory that HOME names.
    pub(super) fn reads_home(&self, config: &OwnConfig, subject: &Subject) -> bool {
        let Ok(home) = &subject.home else { return true };
        let is_same = |other: &PathBuf| canonicalize(other).ok() == canonicalize(home).ok();
        self.home.as_ref().is_none_or(is_same) || config.files.contains(&home.join(".ssh/config"))
    }
}

impl Check for Ssh {
    const NAME: &'static str = "ssh";
    type Gives = FoundSsh;

    fn tried(&self) -> String {
        "`ssh` on PATH".to_owned()
    }

    fn examine(&self) -> Result<Examined<FoundSsh>, Verdict> {
        let path = route::ssh_program().ok_or_else(|| Verdict::wrong(&route::no_ssh(), ""))?;
        let version = excerpt(&ask(&path, "-V", &route::install_ssh())?.stderr);
        let mut fdpass = Command::new(&path);
        fdpass.args(["-G", "-F", "none", "-o", "ProxyUseFdpass=yes", "vps"]);
        let defaults = program::run(&mut fdpass, QUICK).ok().filter(Output::succeeded);
        let home = defaults.as_ref().and_then(|output| route::home_of_ssh(&output.stdout));
        let fdpass = match defaults {
            // This system passes no descriptors.
            _ if !sys::CAN_PASS_DESCRIPTORS => "",
            Some(_) => ", supports ProxyUseFdpass",
            None => ", does not support ProxyUseFdpass, so the helper copies the bytes",
        };
        let text = format!("{version} at {}{fdpass}", path.display());
        Ok(Examined::giving(Verdict::Fine(text), FoundSsh { path, home }))
    }

    fn home(ssh: &FoundSsh) -> Option<&Path> {
        ssh.home.as_deref()
    }
}

/// The helper, which carries ssh's bytes.
pub(super) struct Helper<'a> {
    pub(super) subject: &'a Subject,
    pub(super) settings: &'a Given<Settings>,
    /// Decides about options that only newer versions of ssh have.
    pub(super) ssh: &'a Given<FoundSsh>,
}

impl Check for Helper<'_> {
    const NAME: &'static str = "helper";
    type Gives = Route;

    fn tried(&self) -> String {
        format!("`kohakuriver-proxy` next to {PROGRAM} or on PATH")
    }

    fn examine(&self) -> Result<Examined<Route>, Verdict> {
        let (settings, home) = (self.settings.as_ref()?, self.subject.home.as_ref()?);
        let ssh = self.ssh.as_ref().ok().map(|ssh| ssh.path.as_path());
        let route = typed_route(settings, home, ssh, None).map_err(|failure| Verdict::wrong(&failure, ""))?;
        let expected = concat!("kohakuriver-proxy ", env!("CARGO_PKG_VERSION"));
        let version = excerpt(&ask(&route.proxy_program, "--version", route::INSTALL)?.stdout);
        let text = format!("{version} at {}", route.proxy_program.display());
        let verdict = match version == expected {
            true => Verdict::Fine(text),
            false => Verdict::Note(format!("{text}; this {PROGRAM} comes with {expected}")),
        };
        Ok(Examined::giving(verdict, route))
    }
}

/// Two programs of this name are usual: this one passes commands that it does not know on to the next. But this one
/// must be the first.
pub(super) struct Kohakuriver;

impl Check for Kohakuriver {
    const NAME: &'static str = "kohakuriver";
    type Gives = ();

    fn tried(&self) -> String {
        format!("`{PROGRAM}` on PATH")
    }

    fn examine(&self) -> Result<Examined<()>, Verdict> {
        let this = env::current_exe().and_then(canonicalize).ok();
        let is_this = |path: &PathBuf| canonicalize(path).ok() == this;
        let found = find_all(PROGRAM, env::var_os("PATH").as_deref());
        let other = found.iter().find(|path| !is_this(path)).map(|path| path.display());
        let verdict = match (found.first(), other) {
            (Some(first), None) => Verdict::Fine(format!("{}, this program", first.display())),
            (Some(first), Some(other)) if is_this(first) => {
                Verdict::Fine(format!("{}, this program; it passes unknown commands on to {other}", first.display()))
            }
            (Some(first), Some(_)) => Verdict::Note(format!("the first one is {}, not this program", first.display())),
            (None, _) => Verdict::Note("none; this program was started by its path".to_owned()),
        };
        Ok(verdict.into())
    }
}

/// Why a program failed.
fn reason(output: &Output) -> String {
    let text = excerpt(&format!("{} {}", output.stderr, output.stdout));
    match output.status {
        Some(status) if text.is_empty() => status.to_string(),
        Some(_) => text,
        None => format!("it did not end within {} s", QUICK.as_secs()),
    }
}

/// The output of the program at `path`, asked for its version. `hint` says how to mend the program.
fn ask(path: &Path, option: &str, hint: &str) -> Result<Output, Verdict> {
    let why = match program::run(Command::new(path).arg(option), QUICK) {
        Ok(output) if output.succeeded() => return Ok(output),
        Ok(output) => reason(&output),
        Err(error) => error.to_string(),
    };
    Err(Verdict::wrong(&Failure::new(format!("cannot run {}", path.display())).cause(why).hint(hint), ""))
}
