//! A definition from the text of a `--help`, for a program that has no other: `kohakuriver-proxy` reads its arguments
//! with a small lexer, since it starts anew for every connection. So its page says what its help says, and can't say
//! anything else.

use clap::{Arg, ArgAction, Command};

/// Reads a help text of the usual form: what it is in one line, more about it, `Usage:`, `Arguments:`, `Options:`, and
/// what else there is.
pub(super) fn definition(name: &'static str, text: &'static str) -> Command {
    let (about, rest) = text.split_once('\n').unwrap_or((text, ""));
    let (more, rest) = rest.split_once("\nUsage:").unwrap_or((rest, ""));
    let (_, rest) = rest.split_once("\nArguments:\n").unwrap_or(("", rest));
    let (arguments, rest) = rest.split_once("\nOptions:\n").unwrap_or((rest, ""));
    let (options, after) = rest.split_once("\n\n").unwrap_or((rest, ""));
    let words = arguments.lines().chain(options.lines());
    let command = Command::new(name).version(env!("CARGO_PKG_VERSION")).about(about).after_help(after.trim_end());
    let command =
        command.long_about(format!("{about}\n\n{}", more.trim())).disable_help_flag(true).disable_version_flag(true);
    entries(words).into_iter().map(argument).fold(command, Command::arg)
}

/// What stands at the left, and all that is said of it.
fn entries(lines: impl Iterator<Item = &'static str>) -> Vec<(&'static str, String)> {
    let mut entries: Vec<(&str, String)> = Vec::new();
    let mut column = 0;
    for line in lines {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        let begins = indent <= 6 && (text.starts_with('-') || text.starts_with(['<', '[']));
        match (begins, text.split_once("  "), entries.last_mut()) {
            (true, Some((head, said)), _) => {
                column = line.len() - said.trim_start().len();
                entries.push((head, said.trim_start().to_owned()));
            }
            (_, _, Some((_, said))) => {
                // A list within the text.
                *said += if indent > column { "; " } else { " " };
                *said += text;
            }
            _ => {}
        }
    }
    entries
}

/// `-v, --verbose`, `--proxy <HOST[:PORT]>`, `--wait [<SECONDS>]`, `<TARGET>` or `[PORT]`.
fn argument((head, said): (&'static str, String)) -> Arg {
    if head.starts_with(['<', '[']) {
        let name = head.trim_matches(['<', '>', '[', ']']);
        return Arg::new(name).value_name(name).required(head.starts_with('<')).help(said);
    }
    let (short, long) = head.split_once(", ").map_or((None, head), |(short, long)| (short.chars().nth(1), long));
    let (long, value) = long.split_once(' ').map_or((long, None), |(long, value)| (long, Some(value)));
    let long = long.trim_start_matches('-');
    let arg = Arg::new(long).long(long).help(said);
    let arg = short.into_iter().fold(arg, Arg::short);
    match value {
        None => arg.action(ArgAction::SetTrue),
        Some(value) if value.starts_with('[') => arg.num_args(0..=1).value_name(inner(value)),
        Some(value) => arg.value_name(inner(value)),
    }
}

/// What stands between the outermost brackets.
fn inner(value: &'static str) -> &'static str {
    let value = value.strip_prefix('[').and_then(|value| value.strip_suffix(']')).unwrap_or(value);
    value.strip_prefix('<').and_then(|value| value.strip_suffix('>')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_help_text_gets_its_place() {
        let text = "Do it\n\nMore of it.\n\nUsage: p [OPTIONS] <WHAT> [HOW]\n\nArguments:\n  <WHAT>  The thing,\n          \
                    and more\n  [HOW]   The way\n\nOptions:\n      --to <A[:B]>    Where to\n                         \
                    a: here\n      --wait [<S>]     How long\n  -q, --quiet          Say nothing\n\nExample:\n  p x\n";
        let command = definition("p", text);
        let arguments: Vec<_> = command
            .get_arguments()
            .map(|argument| {
                let help = argument.get_help().unwrap().to_string();
                (
                    argument.get_id().to_string(),
                    argument.get_short(),
                    argument.get_value_names().map(|v| v[0].to_string()),
                    help,
                )
            })
            .collect();
        let expected = [
            ("WHAT", None, Some("WHAT"), "The thing, and more"),
            ("HOW", None, Some("HOW"), "The way"),
            ("to", None, Some("A[:B]"), "Where to; a: here"),
            ("wait", None, Some("S"), "How long"),
            ("quiet", Some('q'), None, "Say nothing"),
        ]
        .map(|(id, short, value, help)| (id.to_owned(), short, value.map(str::to_owned), help.to_owned()));
        assert_eq!(arguments, expected);
        assert_eq!(command.get_about().unwrap().to_string(), "Do it");
        assert_eq!(command.get_after_help().unwrap().to_string(), "Example:\n  p x");
    }
}
