//! The helper's arguments as a definition of clap's, from the table that `--help` is rendered from. The manual page is
//! made from it; the helper itself does not need it.

use clap::{Arg, ArgAction, Command, ValueHint};

use super::PROGRAM;
use super::help::{ABOUT, AFTER, ARGUMENTS, DETAILS, Entry, options};

/// The definition of the helper's command line.
pub fn definition() -> Command {
    let command = Command::new(PROGRAM)
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .long_about(format!("{ABOUT}\n\n{DETAILS}"))
        .after_help(AFTER)
        .disable_help_flag(true)
        .disable_version_flag(true);
    ARGUMENTS.iter().chain(options()).map(argument).fold(command, Command::arg)
}

fn argument(entry: &Entry) -> Arg {
    let value = entry.value.trim_start_matches(['[', '<']).trim_end_matches('>');
    let is_optional = entry.value.starts_with('[');
    let value = if is_optional { value.trim_end_matches([']', '>']) } else { value };
    let Some(long) = entry.long.strip_prefix("--") else {
        return Arg::new(value).value_name(value).required(!is_optional).help(entry.text);
    };
    let arg = Arg::new(long).long(long).help(entry.text);
    let arg = entry.short.chars().nth(1).into_iter().fold(arg, Arg::short);
    match (value.is_empty(), is_optional) {
        (true, _) => arg.action(ArgAction::SetTrue),
        (false, true) => arg.num_args(0..=1).value_name(value),
        (false, false) if value == "FILE" => arg.value_name(value).value_hint(ValueHint::FilePath),
        (false, false) => arg.value_name(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_has_its_argument() {
        let definition = definition();
        let found: Vec<_> = definition
            .get_arguments()
            .map(|arg| {
                let value = arg.get_value_names().map(|names| names[0].to_string());
                (arg.get_id().to_string(), arg.get_short(), value)
            })
            .collect();
        let expected = [
            ("TARGET", None, Some("TARGET")),
            ("PORT", None, Some("PORT")),
            ("fdpass", None, None),
            ("no-disconnect", None, None),
            ("cluster", None, Some("NAME")),
            ("proxy", None, Some("HOST[:PORT]")),
            ("host-api", None, Some("HOST[:PORT]")),
            ("ca-file", None, Some("FILE")),
            ("pinned-key", None, Some("PIN")),
            ("client-cert", None, Some("FILE")),
            ("client-key", None, Some("FILE")),
            ("upstream-proxy", None, Some("URL")),
            ("protocol", None, Some("PROTOCOL")),
            ("resume", None, None),
            ("no-resume", None, None),
            ("connect-timeout", None, Some("SECONDS")),
            ("wait", None, Some("SECONDS")),
            ("log-file", None, Some("PATH")),
            ("verbose", Some('v'), None),
            ("help", Some('h'), None),
            ("version", Some('V'), None),
        ];
        let expected = expected.map(|(id, short, value)| (id.to_owned(), short, value.map(str::to_owned)));
        assert_eq!(found, expected);
        assert!(definition.get_positionals().map(|arg| arg.is_required_set()).eq([true, false]));
    }
}
