//! The line of the user's ssh_config that makes a login fail.
//!
//! The line is found by logging in again, with fewer and fewer lines of the user's in a temporary configuration file.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::finding::{Broken, Verdict};
use super::own_config::{OwnConfig, option};
use super::shown_line::{editor, place, text};
use super::ssh_log::SshLog;
use super::temporary::Folder;
use crate::cli::programs::program::{self, QUICK};
use crate::cli::programs::shell::plain_shell;
use crate::failure::Failure;
use crate::settings::env_vars::KOHAKURIVER_LOG_FILE;
use crate::ssh::in_force::Line;
use crate::ssh::quote::shell_word;
use crate::sys;

/// Longest value of an option in a command to paste, in bytes.
const MAX_VALUE: usize = 60;

/// Options that are switched off by another option, or by another value than their default.
const SWITCHES: [(&str, &str); 11] = [
    ("localforward", "ClearAllForwardings=yes"),
    ("remoteforward", "ClearAllForwardings=yes"),
    ("dynamicforward", "ClearAllForwardings=yes"),
    ("tunnel", "ClearAllForwardings=yes"),
    ("localcommand", "PermitLocalCommand=no"),
    ("controlmaster", "ControlPath=none"),
    ("controlpath", "ControlPath=none"),
    ("remotecommand", "RemoteCommand=none"),
    ("preferredauthentications", "PreferredAuthentications=publickey"),
    ("proxyjump", "ProxyJump=none"),
    ("hostname", "HostName=%h"),
];

/// The advice for a line that breaks a login.
const AWAY: &str = "remove the line, or keep it from VPSes with `Host * !*.kohakuriver` directly above it";

/// Options that give effect to other options, each with those others. If a login fails, the line of the other option has
/// to change.
const GIVES_EFFECT: [(&str, &[&str]); 3] = [
    ("exitonforwardfailure", &["localforward", "remoteforward", "dynamicforward", "tunnel"]),
    ("controlmaster", &["controlpath"]),
    ("permitlocalcommand", &["localcommand"]),
];

/// The problem that a line of the user's is for `login`; `None` if no line is. `what` is the login for messages, `said` why
/// it failed, and `with` gives the user's command with more arguments for ssh.
pub(super) fn problem(
    config: &OwnConfig,
    login: &Attempt<'_>,
    (what, said): (&str, &str),
    with: impl Fn(&str) -> String,
) -> Option<Verdict> {
    let trial = Trial::new(config, login)?;
    let (line, partner) = trial.culprit()?;
    let mut failure = Failure::new(format!("{what} fails because of {}: `{}`", place(line), text(line))).cause(said);
    if let Some(partner) = partner {
        failure = failure.cause(format!("the line breaks a login only with {}: `{}`", place(partner), text(partner)));
    }
    let failure = failure.cause("without this line, the same login works");
    let breaks_commands_only = line.sets("remotecommand");
    let failure = match breaks_commands_only {
        true => failure.cause(
            "without a command, ssh logs in and runs that of the line; sftp, rsync, git, Ansible and IDEs send a command",
        ),
        false => failure,
    };
    let verdict = match login.remedy(line) {
        Some(option) => {
            let option = format!("-o {}", shell_word(option.as_ref()).display());
            Verdict::wrong_with(&failure.hint(format!("{AWAY}; until then, log in with")), with(&option))
        }
        None => Verdict::wrong_with(&failure.hint(AWAY), editor(line)),
    };
    Some(if breaks_commands_only { verdict.breaking(Broken::Commands) } else { verdict })
}

/// The problem of a login without a command, `what`, whose shell gets no input because of a line of the user's. `with` gives
/// the user's command with more arguments for ssh.
pub(super) fn problem_of_a_shell(config: &OwnConfig, what: &str, with: impl Fn(&str) -> String) -> Option<Verdict> {
    let line = config.line("stdinnull").filter(|_| config.option("stdinnull") == Some("yes"))?;
    let failure = Failure::new(format!("{what} ends at once because of {}: `{}`", place(line), text(line)))
        .cause("ssh reads no input, so the shell ends")
        .hint(format!("{AWAY}; until then, log in with"));
    Some(Verdict::wrong_with(&failure, with("-o StdinNull=no")))
}

/// Logins with some of the lines.
struct Trial<'a> {
    config: &'a OwnConfig,
    login: &'a Attempt<'a>,
    folder: Folder,
}

impl<'a> Trial<'a> {
    fn new(config: &'a OwnConfig, login: &'a Attempt<'a>) -> Option<Self> {
        Some(Self { config, login, folder: Folder::new().ok()? })
    }

    fn works(&self, lines: &[&Line]) -> bool {
        let file = self.folder.path().join("config");
        let text: Vec<u8> = lines.iter().flat_map(|line| [&line.text[..], b"\n"].concat()).collect();
        fs::write(&file, text).is_ok() && self.login.run(Some(&file), None).is_ok_and(|tried| tried.works)
    }

    /// The line that makes the login fail, and the line that gives it effect, if one does. `None` if the login fails
    /// without the user's lines, too.
    fn culprit(&self) -> Option<(&'a Line, Option<&'a Line>)> {
        let (config, works) = (self.config, |lines: &[&Line]| self.works(lines));
        let line = first_bad(&config.lines, |line| config.is_ours(line), works)?;
        if GIVES_EFFECT.iter().any(|(option, _)| line.sets(option)) {
            let other = first_bad(&config.lines, |other| config.is_ours(other) || other == line, works);
            return Some(other.map_or((line, None), |other| (other, Some(line))));
        }
        let partner = GIVES_EFFECT.iter().find(|(_, others)| others.iter().any(|other| line.sets(other)));
        let partner = partner.and_then(|(option, _)| config.line(option)).filter(|partner| {
            let without: Vec<_> = config.lines.iter().filter(|line| line != partner).collect();
            self.works(&without)
        });
        Some((line, partner))
    }
}

/// The line with which a login stops to work: with all lines of ours and those of the user's before it, it works. Halves the
/// number of lines with each login.
fn first_bad(
    lines: &[Line],
    is_ours: impl Fn(&Line) -> bool,
    mut works: impl FnMut(&[&Line]) -> bool,
) -> Option<&Line> {
    let theirs: Vec<usize> = (0..lines.len()).filter(|&at| !is_ours(&lines[at])).collect();
    let mut works_with = |count: usize| {
        let kept = |at: &usize| is_ours(&lines[*at]) || theirs[..count].contains(at);
        works(&(0..lines.len()).filter(kept).map(|at| &lines[at]).collect::<Vec<_>>())
    };
    let (mut good, mut bad) = (0, theirs.len());
    // With all lines the login must fail, or a file would not mean what the user's configuration means.
    if theirs.is_empty() || !works_with(good) || works_with(bad) {
        return None;
    }
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        match works_with(middle) {
            true => good = middle,
            false => bad = middle,
        }
    }
    Some(&lines[theirs[bad - 1]])
}

/// A login that can be tried with other configurations.
pub(super) struct Attempt<'a> {
    pub(super) ssh: &'a Path,
    /// The arguments of ssh, with the remote command.
    pub(super) arguments: Vec<OsString>,
    pub(super) limit: Duration,
    /// UNIX sockets on which ssh may listen. ssh leaves their files behind, and can't listen there again.
    pub(super) sockets: Vec<PathBuf>,
    /// Whether ssh starts the helper with [`plain_shell`], as `vps connect` does, and not with the user's shell.
    pub(super) plain_shell: bool,
}

/// The outcome of an attempt.
pub(super) struct Tried {
    /// ssh logged in and ran the remote command.
    pub(super) works: bool,
    pub(super) log: SshLog,
}

impl Attempt<'_> {
    /// Logs in with the user's configuration, or with that in `config`, and with one more option.
    ///
    /// # Errors
    /// When ssh can't be run.
    pub(super) fn run(&self, config: Option<&Path>, option: Option<&str>) -> io::Result<Tried> {
        let mut command = Command::new(self.ssh);
        command.args(config.map(|file| [Path::new("-F"), file]).into_iter().flatten());
        command.args(option.map(|option| ["-o", option]).into_iter().flatten());
        command.args(&self.arguments).env(KOHAKURIVER_LOG_FILE, sys::NULL_FILE);
        command.envs(plain_shell().filter(|_| self.plain_shell));
        let absent: Vec<_> = self.sockets.iter().filter(|socket| !socket.exists()).collect();
        let output = program::run(&mut command, self.limit);
        for socket in absent {
            // As a rule there is none.
            let _ = fs::remove_file(socket);
        }
        let output = output?;
        // ssh exits with 255 when it fails itself.
        let works = output.code().is_some_and(|code| code != 255);
        Ok(Tried { works, log: SshLog::of(&output) })
    }

    /// An option with which the login works in spite of `line`.
    pub(super) fn remedy(&self, line: &Line) -> Option<String> {
        let (name, _) = line.option();
        let lower = name.to_lowercase();
        let switch = SWITCHES.iter().find(|(option, _)| *option == lower).map(|(_, switch)| (*switch).to_owned());
        let option = switch.or_else(|| self.default_of(&lower).map(|value| format!("{name}={value}")))?;
        self.run(None, Some(&option)).is_ok_and(|tried| tried.works).then_some(option)
    }

    /// ssh's default for an option, in a form that is short enough to paste.
    fn default_of(&self, name: &str) -> Option<String> {
        let output = program::run(Command::new(self.ssh).args(["-F", "none", "-G", "vps"]), QUICK).ok()?;
        let value = option(&output.stdout, name).unwrap_or("none");
        match value.split_once(',') {
            // A list that only adds to the default is the default.
            Some((first, _)) if value.len() > MAX_VALUE => Some(format!("+{first}")),
            _ => (value.len() <= MAX_VALUE).then(|| value.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: usize) -> Line {
        Line { file: "f".into(), number, block: 0, text: number.to_string().into() }
    }

    #[test]
    fn the_first_line_with_which_nothing_works_is_found() {
        let lines: Vec<Line> = (0..100).map(line).collect();
        let is_ours = |line: &Line| line.number.is_multiple_of(10);
        for bad in (0..100).filter(|number| !usize::is_multiple_of(*number, 10)) {
            let mut logins = 0;
            let found = first_bad(&lines, is_ours, |kept| {
                logins += 1;
                assert_eq!(kept.iter().filter(|line| is_ours(line)).count(), 10);
                assert!(kept.is_sorted_by_key(|line| line.number));
                kept.iter().all(|line| line.number != bad)
            });
            assert_eq!(found.map(|line| line.number), Some(bad));
            assert!(logins < 10, "{logins}");
        }
    }

    #[test]
    fn a_login_that_fails_without_the_lines_or_works_with_all_has_no_culprit() {
        let lines: Vec<Line> = (0..9).map(line).collect();
        for works in [true, false] {
            assert_eq!(first_bad(&lines, |_| false, |_| works), None);
        }
        assert_eq!(first_bad(&lines, |_| true, |_| panic!("no line of the user's")), None);
        // Two lines that are wrong together.
        let both = |kept: &[&Line]| !(kept.contains(&&lines[2]) && kept.contains(&&lines[7]));
        assert_eq!(first_bad(&lines, |_| false, both), Some(&lines[7]));
    }
}
