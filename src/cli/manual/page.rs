//! A manual page from a command's definition.

use clap::{Arg, Command};

use crate::cli::manual::blocks::{Blocks, entries};
use crate::cli::manual::reference;
use crate::cli::manual::roff::Roff;

/// At the foot of each page.
const PACKAGE: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));

/// The title of the manual.
const MANUAL: &str = "KohakuRiver over SSH";

pub(super) struct Page {
    /// Its name, without the section.
    pub(super) name: String,
    pub(super) section: &'static str,
    pub(super) roff: String,
}

impl Page {
    /// The page of `command`, which is built. `ancestors` are the pages of the groups that it belongs to.
    pub(super) fn of(command: &Command, section: &'static str, ancestors: &[String]) -> Self {
        let name = name(command);
        let mut roff = Roff::page(&name, section, PACKAGE, MANUAL);
        roff.section("NAME");
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        roff.paragraph(&format!("{name} - {about}"));
        roff.section("SYNOPSIS");
        let bin_name = command.get_bin_name().unwrap_or_else(|| command.get_name());
        roff.synopsis(bin_name, &synopsis(command));
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let mut after = Blocks::of(&after);
        description(&mut roff, command, &about, &after);
        commands(&mut roff, command, section);
        options(&mut roff, command);
        let examples = after.take_examples();
        let (files, exit_status) = (after.take("Files"), after.take("Exit status"));
        for (heading, lines) in &after.headed {
            section_of(&mut roff, heading, entries(lines));
        }
        section_of(&mut roff, "ENVIRONMENT", owned(reference::environment(bin_name)));
        section_of(&mut roff, "FILES", [entries(&files), owned(reference::files(bin_name))].concat());
        section_of(
            &mut roff,
            "EXIT STATUS",
            match exit_status.is_empty() {
                true => owned(reference::EXIT_STATUS.iter().copied()),
                false => entries(&exit_status),
            },
        );
        examples_section(&mut roff, &examples);
        roff.section("SEE ALSO");
        roff.paragraph(&see_also(command, bin_name, section, ancestors));
        Self { name, section, roff: roff.finish() }
    }
}

/// The name of a command's page, such as `kohakuriver-vps-list`.
pub(super) fn name(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

/// The subcommands that have a page.
pub(super) fn listed(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set())
}

/// Each option and argument, in brackets where it may be left out.
fn synopsis(command: &Command) -> Vec<String> {
    let options = arguments(command).filter(|arg| !arg.is_positional() && !is_about_help(arg));
    let mut words: Vec<String> = options.map(|arg| format!("[{}]", short_form(arg))).collect();
    let subcommand = if command.is_subcommand_required_set() { "<COMMAND>" } else { "[<COMMAND>]" };
    words.extend(listed(command).next().map(|_| subcommand.to_owned()));
    words.extend(command.get_positionals().filter(|arg| !arg.is_hide_set()).map(|arg| {
        let dashes = if arg.is_last_set() { "-- " } else { "" };
        let shown = format!("{dashes}{}", positional(arg));
        if arg.is_required_set() { shown } else { format!("[{shown}]") }
    }));
    words
}

/// `-k <FILE>`: as short as an option can be written.
fn short_form(arg: &Arg) -> String {
    let name = arg.get_short().map_or_else(|| format!("--{}", arg.get_long().unwrap_or_default()), |c| format!("-{c}"));
    match value(arg) {
        Some(value) => format!("{name} {value}"),
        None => name,
    }
}

/// `-k, --key <FILE>`.
fn long_form(arg: &Arg) -> String {
    if arg.is_positional() {
        return positional(arg);
    }
    let short = arg.get_short().map(|c| format!("-{c}"));
    let long = arg.get_long().map(|name| format!("--{name}"));
    let names = [short, long].into_iter().flatten().collect::<Vec<_>>().join(", ");
    match value(arg) {
        Some(value) => format!("{names} {value}"),
        None => names,
    }
}

/// `<VPS>`, or `<COMMAND>...` if there may be several.
fn positional(arg: &Arg) -> String {
    let name =
        arg.get_value_names().and_then(|names| names.first()).map_or(arg.get_id().as_str(), |name| name.as_str());
    let more = if arg.get_num_args().is_some_and(|range| range.max_values() > 1) { "..." } else { "" };
    format!("<{name}>{more}")
}

/// The value of an option, in brackets where it may be left out.
fn value(arg: &Arg) -> Option<String> {
    let range = arg.get_num_args().filter(|range| range.takes_values())?;
    let names = arg.get_value_names()?;
    let required = names.iter().take(range.min_values().max(1)).map(|name| format!("<{name}>"));
    let optional = names.iter().skip(range.min_values().max(1)).map(|name| format!("[<{name}>]"));
    let value = required.chain(optional).collect::<Vec<_>>().join(" ");
    Some(if range.min_values() == 0 { format!("[{value}]") } else { value })
}

fn is_about_help(arg: &Arg) -> bool {
    matches!(arg.get_long(), Some("help" | "version"))
}

fn arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_hide_set())
}

fn description(roff: &mut Roff, command: &Command, about: &str, after: &Blocks<'_>) {
    roff.section("DESCRIPTION");
    let long = command.get_long_about().map(ToString::to_string).unwrap_or_default();
    let long = long.strip_prefix(about).unwrap_or(&long);
    roff.paragraph(&format!("{about}."));
    let paragraphs = long.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty());
    paragraphs.chain(after.paragraphs.iter().copied()).for_each(|paragraph| roff.paragraph(paragraph));
}

fn commands(roff: &mut Roff, command: &Command, section: &str) {
    let entries = listed(command).map(|command| {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        (format!("{}({section})", name(command)), about)
    });
    section_of(roff, "COMMANDS", entries.collect());
}

/// Arguments and options; those under a heading of their own form a subsection.
fn options(roff: &mut Roff, command: &Command) {
    let entries = |args: Vec<&Arg>| args.into_iter().map(|arg| (long_form(arg), text(arg))).collect();
    let (positional, named): (Vec<&Arg>, Vec<&Arg>) = arguments(command).partition(|arg| arg.is_positional());
    section_of(roff, "ARGUMENTS", entries(positional));
    let (plain, headed): (Vec<&Arg>, Vec<&Arg>) = named.into_iter().partition(|arg| arg.get_help_heading().is_none());
    section_of(roff, "OPTIONS", entries(plain));
    let mut headings: Vec<&str> = headed.iter().filter_map(|arg| arg.get_help_heading()).collect();
    headings.dedup();
    for heading in headings {
        roff.subsection(heading);
        for arg in headed.iter().filter(|arg| arg.get_help_heading() == Some(heading)) {
            roff.entry(&long_form(arg), &text(arg));
        }
    }
}

/// The text about an option, with its default and its possible values.
fn text(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    // The first paragraph of a long help repeats the short one, which may name the default.
    let long = arg.get_long_help().map(ToString::to_string).unwrap_or_default();
    let more: String = long.split_once("\n\n").map(|(_, more)| format!("\n\n{more}")).unwrap_or_default();
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let default = if defaults.is_empty() || !arg.get_num_args().is_some_and(|range| range.takes_values()) {
        String::new()
    } else {
        format!(" [default: {}]", defaults.join(", "))
    };
    let values: String = arg
        .get_possible_values()
        .iter()
        .filter(|value| !arg.is_hide_possible_values_set() && !value.is_hide_set())
        .map(|value| match value.get_help() {
            Some(help) => format!("\n\n{}: {help}", value.get_name()),
            None => format!("\n\n{}", value.get_name()),
        })
        .collect();
    format!("{help}{default}{more}{values}")
}

fn section_of(roff: &mut Roff, title: &str, entries: Vec<(String, String)>) {
    if entries.is_empty() {
        return;
    }
    roff.section(&title.to_uppercase());
    for (term, text) in entries {
        roff.entry(&term, &text);
    }
}

fn examples_section(roff: &mut Roff, examples: &[(&str, Vec<&str>)]) {
    if examples.is_empty() {
        return;
    }
    roff.section("EXAMPLES");
    for (heading, lines) in examples {
        // The words after `Example, ` say where the lines belong.
        if let Some((_, title)) = heading.split_once(", ") {
            let mut letters = title.chars();
            let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
            roff.paragraph(&format!("{first}{}:", letters.as_str()));
        }
        roff.literal(lines);
    }
}

fn owned<'a>(entries: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    entries.map(|(term, text)| (term.to_owned(), text.to_owned())).collect()
}

/// The pages of the groups above, of the commands below, and what the reference adds.
fn see_also(command: &Command, bin_name: &str, section: &str, ancestors: &[String]) -> String {
    let own = ancestors.iter().cloned().chain(listed(command).map(name)).map(|name| format!("{name}({section})"));
    own.chain(reference::see_also(bin_name).map(str::to_owned)).collect::<Vec<_>>().join(", ")
}
