//! Which commands there are, as `--help` tells.

use super::home::Home;
use super::run::Run;
use super::tools::CLI;

/// The words of each command of `kohakuriver` that has no sub-commands, such as `vps list`.
pub(crate) fn commands() -> Vec<String> {
    let commands = below(&Home::new(), &[]);
    assert!(commands.len() > 15, "{commands:?}");
    commands
}

fn below(home: &Home, words: &[String]) -> Vec<String> {
    let help = Run::new(CLI, home).args(words).arg("--help").output();
    let text = help.succeeds().text();
    let Some((_, listed)) = text.split_once("\nCommands:\n") else { return vec![words.join(" ")] };
    let names = listed.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.strip_prefix("  "));
    let names = names.filter(|line| !line.starts_with(' ')).filter_map(|line| line.split_whitespace().next());
    let words = names.filter(|name| *name != "help").map(|name| [words, &[name.to_owned()]].concat());
    words.flat_map(|words| below(home, &words)).collect()
}
