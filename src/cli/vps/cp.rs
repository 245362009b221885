//! `kohakuriver vps cp`: files from and to a VPS, with the system's scp.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter};

use crate::cli::host::{load_settings, vps_cache};
use crate::cli::programs::route::{missing_program, unusable};
use crate::cli::programs::search_path;
use crate::cli::vps::shared::login::{LoginFlags, become_or_show};
use crate::failure::Failure;
use crate::settings::Flags;
use crate::ssh::options::DEFAULT_USER;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Write a file on a VPS as [USER@]VPS:FILE; FILE is relative to the home directory there. Write a local file with a colon \
in its name as ./a:b.

Exit status:
  2      An unknown option, or fewer than two files
  255    This command failed before it started scp
  other  That of scp

Examples:
  kohakuriver vps cp model.bin trainer:
  kohakuriver vps cp -r trainer:runs/today .")]
pub(crate) struct Arguments {
    /// Files to copy, then their destination
    #[arg(value_name = "FILE", num_args = 2.., required = true, add = ArgValueCompleter::new(candidates))]
    files: Vec<OsString>,
    /// Copy directories and everything in them
    #[arg(long, short = 'r')]
    recursive: bool,
    /// Keep times and modes
    #[arg(long, short = 'p')]
    preserve: bool,
    #[command(flatten)]
    login: LoginFlags,
    /// Print the scp command instead of running it
    #[arg(long)]
    dry_run: bool,
}

/// An operand of scp.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Operand {
    Local(OsString),
    Remote { user: Option<String>, vps: String, path: String },
}

impl Operand {
    /// Reads an operand as scp does: a colon before the first slash ends the name of a machine.
    fn of(word: &OsString) -> Result<Self, Failure> {
        let bytes = word.as_encoded_bytes();
        let is_remote =
            bytes.iter().position(|byte| b":/".contains(byte)).is_some_and(|at| at > 0 && bytes[at] == b':');
        if !is_remote {
            return Ok(Self::Local(word.clone()));
        }
        let text = word.to_str().ok_or_else(|| Failure::usage(format!("{} is not UTF-8", word.display())))?;
        let (machine, path) = text.split_once(':').unwrap_or((text, ""));
        let (user, vps) = match machine.rsplit_once('@') {
            Some((user, vps)) if !user.is_empty() => (Some(user.to_owned()), vps),
            _ => (None, machine),
        };
        Ok(Self::Remote { user, vps: vps.to_owned(), path: path.to_owned() })
    }
}

impl Arguments {
    /// The VPSes, as typed.
    pub(super) fn vpses(&self) -> Vec<&str> {
        let remote = self.files.iter().filter_map(|word| word.to_str()?.split_once(':'));
        remote.map(|(vps, _)| vps).collect()
    }
}

/// The candidates on TAB: VPSes, and the files whose names are read as those of files here.
fn candidates(current: &OsStr) -> Vec<CompletionCandidate> {
    let is_begun =
        |vps: &CompletionCandidate| vps.get_value().as_encoded_bytes().starts_with(current.as_encoded_bytes());
    let is_local = |file: &CompletionCandidate| {
        let word = file.get_value().to_owned();
        !word.as_encoded_bytes().starts_with(b"-") && matches!(Operand::of(&word), Ok(Operand::Local(_)))
    };
    let text = current.to_string_lossy();
    let user = text.rfind('@').map_or("", |at| &text[..=at]);
    let vpses = vps_cache::listed(":").into_iter().map(|vps| vps.add_prefix(user)).filter(is_begun);
    vpses.chain(PathCompleter::any().complete(current).into_iter().filter(is_local)).collect()
}

pub(super) fn run(flags: &Flags, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let operands: Vec<_> = arguments.files.iter().map(Operand::of).collect::<Result<_, _>>()?;
    let vps = one_vps(&operands)?;
    let scp = search_path::first("scp").ok_or_else(|| missing_program("scp"))?;
    let (command, _) = arguments.login.command(&load_settings(flags)?, vps, Vec::new())?;
    let mut argv = command.scp(scp).map_err(|error| unusable(&error))?;
    argv.extend(
        [("-r", arguments.recursive), ("-p", arguments.preserve)]
            .iter()
            .filter(|(_, is_given)| *is_given)
            .map(|(flag, _)| flag.into()),
    );
    argv.push("--".into());
    argv.extend(operands.into_iter().map(|operand| match operand {
        Operand::Local(path) => path,
        Operand::Remote { user, path, .. } => {
            let user = arguments.login.user.clone().or(user).unwrap_or_else(|| DEFAULT_USER.to_owned());
            format!("{user}@{}:{path}", command.route.cluster.host_name(command.id)).into()
        }
    }));
    become_or_show(&argv, &command.route.known_hosts, arguments.dry_run)
}

/// The VPS of all remote operands.
fn one_vps(operands: &[Operand]) -> Result<&str, Failure> {
    let mut names = operands.iter().filter_map(|operand| match operand {
        Operand::Remote { vps, .. } => Some(vps.as_str()),
        Operand::Local(_) => None,
    });
    let Some(first) = names.next() else {
        return Err(Failure::usage("no file of a VPS was named").hint("write it as VPS:FILE"));
    };
    match names.find(|name| *name != first) {
        None => Ok(first),
        Some(other) => Err(Failure::usage(format!("two names of VPSes were given: {first} and {other}")).hint(
            "name one VPS, the same way each time, and a local file with a colon as ./FILE; from one VPS to another, \
                 copy by way of this machine",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operand(word: &str) -> Operand {
        Operand::of(&word.into()).unwrap()
    }

    #[test]
    fn operands_are_read_as_scp_reads_them() {
        let remote = |user: Option<&str>, vps: &str, path: &str| Operand::Remote {
            user: user.map(str::to_owned),
            vps: vps.into(),
            path: path.into(),
        };
        for (word, expected) in [
            ("trainer:", remote(None, "trainer", "")),
            ("trainer:a:b/c", remote(None, "trainer", "a:b/c")),
            ("me@trainer:/x", remote(Some("me"), "trainer", "/x")),
            ("a@b@trainer:x", remote(Some("a@b"), "trainer", "x")),
            // Not a login as anybody: there is no VPS of that name.
            ("@trainer:x", remote(None, "@trainer", "x")),
        ] {
            assert_eq!(operand(word), expected, "{word}");
        }
        for word in ["file", "./a:b", "/a:b", ":a", "a/b:c", "", "-x"] {
            assert_eq!(operand(word), Operand::Local(word.into()), "{word}");
        }
    }

    #[test]
    fn all_remote_files_are_of_one_vps() {
        let vps = |words: &[&str]| {
            let operands: Vec<_> = words.iter().map(|word| operand(word)).collect();
            one_vps(&operands).map(str::to_owned).map_err(|failure| failure.what().to_owned())
        };
        assert_eq!(vps(&["trainer:a", "me@trainer:b", "."]), Ok("trainer".into()));
        assert_eq!(vps(&["a", "b"]), Err("no file of a VPS was named".into()));
        assert_eq!(vps(&["a:x", "b:y"]), Err("two names of VPSes were given: a and b".into()));
    }
}
