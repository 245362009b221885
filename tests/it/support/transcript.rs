//! The text that a user sees in a shell, word for word: commands, their whole output, and their exit status.

use std::fmt::Write;
use std::path::Path;

use super::home::Home;
use super::run::{Run, log_line};
use super::tools::{CLI, tool, user};

/// Where a user of the tests lives, as a transcript has it.
const HOME: &str = "/home/me";

/// A shell in a home of its own.
pub(crate) struct Shell {
    pub(crate) home: Home,
    /// Ports as they are, and as a transcript has them: as long, so that tables look the same.
    ports: Vec<(u16, &'static str)>,
    variables: Vec<(&'static str, String)>,
}

impl Shell {
    /// With a Host API on this port.
    pub(crate) fn new(api: u16) -> Self {
        let variables = vec![("KOHAKURIVER_HOST", "127.0.0.1".to_owned()), ("KOHAKURIVER_PORT", api.to_string())];
        let mut shell = Self { home: Home::new(), ports: Vec::new(), variables };
        shell.port(api, "18000");
        shell
    }

    /// With this port of the test called so.
    pub(crate) fn port(&mut self, port: u16, shown: &'static str) {
        self.ports.push((port, shown));
    }

    pub(crate) fn variable(&mut self, name: &'static str, value: impl Into<String>) {
        self.variables.push((name, value.into()));
    }

    /// Has ssh read the ssh_config of this home, as it does for a user with this one in the user database.
    pub(crate) fn reads_home(&self) {
        let config = "[ -e ~/.ssh/config ] && set -- -F ~/.ssh/config \"$@\"";
        let script = format!("#!/bin/sh\n{config}\nexec {} \"$@\"\n", tool("ssh").display());
        self.home.script("bin/ssh", &script);
    }

    /// Runs the commands of `transcript`, the lines that begin with `$ `, and compares all of it. A line of stderr has
    /// `2> ` before it; an exit status that is not 0 stands at the end.
    #[track_caller]
    pub(crate) fn shows(&self, transcript: &str) {
        let commands: Vec<&str> = transcript.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
        assert!(!commands.is_empty(), "no command in {transcript}");
        let seen: String = commands.iter().map(|command| self.seen(command)).collect();
        let expected = transcript.trim_start();
        assert!(seen == expected, "expected\n{expected}\nand saw\n{seen}");
    }

    fn seen(&self, command: &str) -> String {
        let programs = Path::new(CLI).parent().unwrap().display().to_string();
        let mut run = Run::new("/bin/sh", &self.home)
            .env("PATH", format!("{}:{programs}:{}", self.home.join("bin").display(), std::env::var("PATH").unwrap()))
            .env("COLUMNS", "80");
        for (name, value) in &self.variables {
            run = run.env(name, value);
        }
        let outcome = run.args(["-c", &self.as_it_is(command)]).output();
        let mut text = format!("$ {command}\n");
        let mut add = |mark: &str, printed: &str| {
            for line in printed.lines() {
                writeln!(text, "{}", format!("{mark}{line}").trim_end()).unwrap();
            }
        };
        add("", &self.as_shown(&outcome.text()));
        add("2> ", &self.as_shown(&without_times(&outcome.stderr)));
        outcome.check(outcome.status.code().is_some(), "an exit status");
        match outcome.status.code() {
            Some(0) => {}
            code => add("", &format!("[exit status {}]", code.unwrap())),
        }
        text
    }

    /// A command of a transcript, with the ports of this run.
    fn as_it_is(&self, text: &str) -> String {
        numbers(text, |number| self.ports.iter().find(|(_, shown)| *shown == number).map(|(port, _)| port.to_string()))
    }

    /// The printed text, with fixed words for the parts that differ from run to run.
    fn as_shown(&self, text: &str) -> String {
        let text = text.replace(&self.home.path().display().to_string(), HOME);
        let text = text.replace(&Path::new(CLI).parent().unwrap().display().to_string(), "/usr/bin");
        let text = text.replace(&format!("user={}", user()), "user=me");
        let text = text.replace(concat!(" ", env!("CARGO_PKG_VERSION"), "\n"), " 1.2.3\n");
        numbers(&text, |number| {
            self.ports.iter().find(|(port, _)| port.to_string() == number).map(|(_, shown)| (*shown).to_owned())
        })
    }
}

/// `TIME` in place of the time of each line of a log.
fn without_times(text: &str) -> String {
    let line = |line: &str| match log_line(line) {
        Some((level, message)) => format!("TIME {level} {message}\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// `text` with some of its whole numbers replaced.
fn numbers(text: &str, replaced: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len());
        let (number, after) = from.split_at(end);
        out += before;
        out += &replaced(number).unwrap_or_else(|| number.to_owned());
        rest = after;
    }
    out + rest
}
