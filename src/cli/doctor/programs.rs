//! The programs on this machine: which ssh, which helper, which `kohakuriver`.

use std::env;
use std::fs::canonicalize;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::Check;
use super::case::Case;
use super::finding::Verdict;
use super::program::{self, Output};
use crate::cli::programs::names::PROGRAM;
use crate::cli::programs::route::{self, route};
use crate::cli::programs::search_path::find_all;
use crate::failure::Failure;
use crate::text::excerpt;

/// How long a program may take to say its version.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

pub(super) const CHECKS: &[Check] = &[
    Check { name: "ssh", of_vps: false, examine: ssh },
    Check { name: "helper", of_vps: false, examine: helper },
    Check { name: "kohakuriver", of_vps: false, examine: kohakuriver },
];

fn ssh(case: &mut Case) -> (String, Verdict) {
    let tried = "`ssh` on PATH".to_owned();
    let install = "sudo apt install openssh-client";
    let Some(ssh) = route::ssh_program() else {
        return (tried, Verdict::wrong(&route::no_ssh(), install));
    };
    let version = program::run(Command::new(&ssh).arg("-V"), LIMIT);
    let version = match version {
        Ok(output) if output.succeeded() => excerpt(&output.stderr),
        Ok(output) => return (tried, broken(&ssh, &said(&output), install)),
        Err(error) => return (tried, broken(&ssh, &error.to_string(), install)),
    };
    let mut fdpass = Command::new(&ssh);
    fdpass.args(["-G", "-F", "none", "-o", "ProxyUseFdpass=yes", "vps"]);
    let defaults = program::run(&mut fdpass, LIMIT).ok().filter(Output::succeeded);
    case.ssh_home = defaults.as_ref().and_then(|output| home_of(&output.stdout));
    let fdpass = defaults.is_some();
    let fdpass = if fdpass { "takes a passed socket" } else { "takes no passed socket, so bytes are piped" };
    let text = format!("{version} at {}, {fdpass}", ssh.display());
    case.ssh = Some(ssh);
    (tried, Verdict::Fine(text))
}

/// The home directory that ssh goes by, from the options that nobody has set.
fn home_of(options: &str) -> Option<PathBuf> {
    let files = options.lines().find_map(|line| line.strip_prefix("userknownhostsfile "))?;
    let (home, _) = files.split_once("/.ssh/known_hosts")?;
    home.starts_with('/').then(|| PathBuf::from(home))
}

fn helper(case: &mut Case) -> (String, Verdict) {
    let tried = format!("`kohakuriver-proxy` beside {PROGRAM} and on PATH");
    let install = "cargo install kohakuriver-proxy";
    let (Some(settings), Some(home)) = (&case.settings, &case.home) else {
        return (tried, Verdict::Skipped("there are no settings, or no home directory".to_owned()));
    };
    let route = match route(settings, home, case.ssh.as_deref(), None) {
        Ok(route) => route,
        Err(failure) => return (tried, Verdict::wrong(&failure, install)),
    };
    let path = route.proxy_program.clone();
    let expected = concat!("kohakuriver-proxy ", env!("CARGO_PKG_VERSION"));
    let verdict = match program::run(Command::new(&path).arg("--version"), LIMIT) {
        Ok(output) if output.succeeded() => {
            let version = excerpt(&output.stdout);
            case.route = Some(route);
            match version == expected {
                true => Verdict::Fine(format!("{version} at {}", path.display())),
                false => Verdict::Note(format!("{version} at {}, where this is {expected}", path.display())),
            }
        }
        Ok(output) => broken(&path, &said(&output), install),
        Err(error) => broken(&path, &error.to_string(), install),
    };
    (tried, verdict)
}

/// Two programs of this name are usual, since what is none of our commands goes to the next one; but the first must be
/// this one.
fn kohakuriver(_case: &mut Case) -> (String, Verdict) {
    let tried = format!("`{PROGRAM}` on PATH");
    let this = env::current_exe().and_then(canonicalize).ok();
    let mut found: Vec<PathBuf> = Vec::new();
    for path in find_all(PROGRAM, env::var_os("PATH").as_deref()) {
        if !found.contains(&path) {
            found.push(path);
        }
    }
    let is_this = |path: &PathBuf| canonicalize(path).ok() == this;
    let others: Vec<String> =
        found.iter().filter(|path| !is_this(path)).map(|path| path.display().to_string()).collect();
    let verdict = match found.first() {
        Some(first) if is_this(first) && others.is_empty() => Verdict::Fine(format!("this one, {}", first.display())),
        Some(first) if is_this(first) => {
            Verdict::Fine(format!("this one, {}; other commands go on to {}", first.display(), others[0]))
        }
        Some(first) => Verdict::Note(format!("the first is {}, not this one", first.display())),
        None => Verdict::Note("none: this one was called by its path".to_owned()),
    };
    (tried, verdict)
}

fn said(output: &Output) -> String {
    let text = excerpt(&format!("{} {}", output.stderr, output.stdout));
    match output.status {
        Some(status) if text.is_empty() => status.to_string(),
        Some(_) => text,
        None => format!("it did not end within {} s", LIMIT.as_secs()),
    }
}

fn broken(path: &std::path::Path, why: &str, install: &str) -> Verdict {
    let failure = Failure::new(format!("cannot run {}", path.display())).cause(why);
    Verdict::wrong(&failure.hint(format!("install it again with `{install}`")), install)
}
