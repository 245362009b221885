//! The command of this program that an unknown command probably meant.
//!
//! This guess comes before the search for the next `kohakuriver` on PATH, which has nothing to say about our commands.
//! So a command of KohakuRiver's Python CLI is never taken for a typing error.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::programs::names::PROGRAM;
use crate::cli::programs::next::{self, Unknown};
use crate::failure::Failure;
use crate::ssh::quote::shown_word;

/// The commands of the Python CLI that this program doesn't have, by their group.
const PYTHON_CLI: [(&str, &[&str]); 5] = [
    ("", &["task", "docker", "qemu", "terminal", "connect", "forward", "init", "version", "status"]),
    ("node", &["status", "health", "watch", "summary", "overlay", "overlay-release", "overlay-cleanup"]),
    ("ssh", &["connect"]),
    ("auth", &["token"]),
    ("config", &["completion", "env"]),
];

/// Our commands that do what commands of the Python CLI do, for users who don't have it.
const EQUIVALENTS: [(&str, &str); 7] = [
    ("connect", "vps connect"),
    ("terminal", "vps connect"),
    ("ssh connect", "vps connect"),
    ("forward", "vps forward"),
    ("status", "vps status"),
    ("version", "--version"),
    ("node status", "node list"),
];

/// The flag with which the Python CLI is asked for JSON.
const FORMAT: [&str; 2] = ["-f", "--format"];

/// Other programs' words for our commands: the group, the words, and our command. Those of `vps` count without it, too.
const OTHER_WORDS: [(&str, &[&str], &str); 15] = [
    ("", &["logout"], "auth"),
    ("", &["whoami"], "auth status"),
    ("", &["nodes", "runners"], "node list"),
    ("vps", &["ls", "ps"], "vps list"),
    ("vps", &["ssh", "login", "shell", "attach", "enter", "exec"], "vps connect"),
    ("vps", &["scp", "copy"], "vps cp"),
    ("vps", &["rm", "remove", "delete", "kill", "terminate"], "vps stop"),
    ("vps", &["new", "run", "add", "launch"], "vps create"),
    ("vps", &["show", "info", "inspect", "describe"], "vps status"),
    ("vps", &["freeze"], "vps pause"),
    ("vps", &["unpause", "unfreeze", "start"], "vps resume"),
    ("vps", &["reboot"], "vps restart"),
    ("node", &["ls", "show"], "node list"),
    ("auth", &["whoami"], "auth status"),
    ("config", &["ls", "list", "get"], "config show"),
];

/// The failure for `unknown` if one of our commands was probably meant.
pub(crate) fn meant(definition: &clap::Command, unknown: &Unknown) -> Option<Failure> {
    let (word, groups) = unknown.words.split_last()?;
    let group = groups.join(" ");
    if PYTHON_CLI.iter().any(|(of, commands)| *of == group && commands.contains(&word.as_str())) {
        return None;
    }
    let command = in_other_words(&group, word)
        .or_else(|| misspelt(definition, groups, word))
        // `kohakuriver ssh trainer`
        .or_else(|| (group == "ssh" && !word.starts_with('-')).then(|| format!("vps connect {}", shown_word(word))))?;
    let line = with_rest(definition, &command, unknown);
    Some(Failure::usage(format!("unknown command `{}`", unknown.command())).hint(format!("did you mean `{line}`?")))
}

/// The failure for `unknown` if there is no next program.
pub(crate) fn missing(definition: &clap::Command, unknown: &Unknown) -> Failure {
    let words = unknown.words.join(" ");
    match EQUIVALENTS.iter().find(|(theirs, _)| *theirs == words) {
        Some((_, ours)) => next::missing(unknown).hint(format!("use `{}`", with_rest(definition, ours, unknown))),
        None => next::missing(unknown),
    }
}

/// The line of our `command` with the words behind the unknown one, if it takes any.
fn with_rest(definition: &clap::Command, command: &str, unknown: &Unknown) -> String {
    let found = command.split(' ').try_fold(definition, |level, word| level.find_subcommand(word));
    let takes_words = found.is_none_or(|found| found.has_subcommands() || found.get_positionals().next().is_some());
    // Options stay out: one of them may have a secret as its value.
    let is_told = |word: &&str| takes_words && !word.starts_with('-');
    let rest = unknown.rest.iter().map_while(|word| word.to_str().filter(is_told));
    rest.fold(format!("{PROGRAM} {command}"), |line, word| format!("{line} {}", shown_word(word)))
}

/// `failure`, with our flag in its hint if a flag of the Python CLI caused it.
pub(crate) fn flag(failure: Failure, error: &clap::Error, command: &str) -> Failure {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(flag)) if error.kind() == ErrorKind::UnknownArgument && FORMAT.contains(&&**flag) => {
            failure.hint(format!("where there is JSON, `--json` behind the command prints it; see `{command} --help`"))
        }
        _ => failure,
    }
}

fn in_other_words(group: &str, word: &str) -> Option<String> {
    let of = |wanted: &str| OTHER_WORDS.iter().find(|(of, words, _)| *of == wanted && words.contains(&word));
    let found = of(group).or_else(|| group.is_empty().then(|| of("vps"))?);
    found.map(|(_, _, command)| if command.contains(' ') { (*command).to_owned() } else { format!("{command} {word}") })
}

/// Our command whose spelling is the nearest, if it is near. `vps` may be missing before it.
fn misspelt(definition: &clap::Command, groups: &[String], word: &str) -> Option<String> {
    let level = groups.iter().try_fold(definition, |level, group| level.find_subcommand(group))?;
    let names = |level: &clap::Command, groups: &[String]| -> Vec<Vec<String>> {
        let shown = level.get_subcommands().filter(|command| !command.is_hide_set());
        shown.map(|command| [groups, &[command.get_name().to_owned()]].concat()).collect()
    };
    let mut commands = names(level, groups);
    if groups.is_empty() {
        commands.extend(names(definition.find_subcommand("vps")?, &["vps".to_owned()]));
    }
    let near = commands.into_iter().filter_map(|command| {
        let name = command.last()?;
        let most = match name.len() {
            ..3 => 0,
            3 | 4 => 1,
            _ => 2,
        };
        let distance = strsim::damerau_levenshtein(&word.to_lowercase(), name);
        (distance <= most).then(|| (distance, command.join(" ")))
    });
    near.min_by_key(|(distance, _)| *distance).map(|(_, command)| command)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::command_line::definition;
    use crate::cli::programs::next::{Owner, owner};

    fn hint(line: &str) -> Option<String> {
        let mut definition = definition();
        definition.build();
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let Owner::Next(unknown) = owner(&definition, &args) else { panic!("{line} is ours") };
        meant(&definition, &unknown).map(|failure| failure.advice().unwrap().to_owned())
    }

    #[test]
    fn a_command_that_was_probably_meant_is_named() {
        for (typed, command) in [
            ("vps conect trainer", "vps connect trainer"),
            ("conect trainer", "vps connect trainer"),
            ("cp a trainer:", "vps cp a trainer:"),
            ("scp a trainer:", "vps cp a trainer:"),
            ("vps start trainer", "vps resume trainer"),
            ("start trainer", "vps resume trainer"),
            ("config get host", "config show"),
            ("stop trainer", "vps stop trainer"),
            ("vps lst", "vps list"),
            ("VPS list", "vps list"),
            ("vsp list --all", "vps list"),
            ("vps ls", "vps list"),
            ("ls", "vps list"),
            ("ssh trainer", "vps connect trainer"),
            ("ssh root@trainer uname", "vps connect root@trainer uname"),
            ("ssh a$(id)", "vps connect 'a$(id)'"),
            ("ssh confg", "ssh config"),
            ("vps ssh trainer -L 1:a:2", "vps connect trainer"),
            ("vps rm a b", "vps stop a b"),
            ("pause trainer", "vps pause trainer"),
            ("logout", "auth logout"),
            ("lgoin gpu-head", "login gpu-head"),
            ("auth lgoin --token sekrit", "auth login"),
            ("doctr trainer", "doctor trainer"),
            ("node ls", "node list"),
            ("completion bash", "completions bash"),
        ] {
            assert_eq!(hint(typed), Some(format!("did you mean `kohakuriver {command}`?")), "{typed}");
        }
    }

    #[test]
    fn our_command_is_named_for_one_of_others() {
        for (typed, command) in [
            ("connect trainer", "vps connect trainer"),
            ("forward trainer 8888 --local 9", "vps forward trainer 8888"),
            ("node status n1", "node list"),
        ] {
            let args: Vec<OsString> = typed.split(' ').map(OsString::from).collect();
            let Owner::Next(unknown) = owner(&definition(), &args) else { panic!("{typed} is ours") };
            let failure = missing(&definition(), &unknown);
            assert_eq!(failure.advice(), Some(&*format!("use `kohakuriver {command}`")), "{typed}");
        }
    }

    #[test]
    fn the_commands_of_others_are_no_typing_errors() {
        for (group, commands) in PYTHON_CLI {
            for command in commands {
                assert_eq!(hint(&format!("{group} {command}")), None, "{group} {command}");
            }
        }
        for typed in ["frobnicate", "up", "vps snapshot 42", "vps assign 42", "billing show", "ssh -x"] {
            if let Owner::Next(_) = owner(&definition(), &typed.split(' ').map(OsString::from).collect::<Vec<_>>()) {
                assert_eq!(hint(typed), None, "{typed}");
            }
        }
    }

    /// Each suggested command exists.
    #[test]
    fn other_words_lead_to_our_commands() {
        let definition = definition();
        for (_, ours) in EQUIVALENTS {
            let found = ours.split(' ').try_fold(&definition, |level, word| level.find_subcommand(word));
            assert!(ours == "--version" || found.is_some_and(|found| !found.has_subcommands()), "{ours}");
        }
        for (group, words, _) in OTHER_WORDS {
            for word in words {
                let command = in_other_words(group, word).unwrap();
                let found = command.split(' ').try_fold(&definition, |level, word| level.find_subcommand(word));
                assert!(found.is_some_and(|found| !found.has_subcommands()), "{command}");
            }
        }
    }
}
