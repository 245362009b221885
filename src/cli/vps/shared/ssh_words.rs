//! `vps connect` in place of `ssh`: ssh's own options, and the order in which programs write them.
//!
//! rsync, git, scp and people write `ssh [options] [user@]host [command]`. Our definition knows our options only, and has
//! the words for ssh behind `--`. [`arrange`] brings the first form into the second. It knows from the definition which
//! options are ours; every other option of one letter is ssh's.

use std::ffi::OsString;

use crate::cli::programs::next::flag;
use crate::seconds::are_seconds;
use crate::ssh::command::option_takes_next;

/// The words before and after the name of the VPS, by their owner.
#[derive(Default)]
struct Words {
    ours: Vec<OsString>,
    vps: Option<OsString>,
    ssh: Vec<OsString>,
}

/// `args`, a whole command line, with the words for ssh behind `--` if it is one of `vps connect`.
pub(crate) fn arrange(definition: &clap::Command, args: &[OsString]) -> Vec<OsString> {
    let found = definition.find_subcommand("vps").and_then(|vps| vps.find_subcommand("connect"));
    let (Some(connect), Some(at)) = (found, place(definition, args)) else { return args.to_vec() };
    let Words { ours, vps, ssh } = Words::of(connect, args[at..].iter().cloned());
    let mut arranged = [&args[..at], &ours].concat();
    arranged.extend(vps);
    if !ssh.is_empty() {
        arranged.push("--".into());
        arranged.extend(ssh);
    }
    arranged
}

/// The index of the first word behind `vps connect`.
fn place(definition: &clap::Command, args: &[OsString]) -> Option<usize> {
    let mut wanted = ["vps", "connect"].into_iter().peekable();
    let mut at = 1;
    while let (Some(next), Some(word)) = (wanted.peek(), args.get(at)) {
        if word == next {
            wanted.next();
        } else if is_option(word) {
            at += usize::from(takes_next(definition, word, args.get(at + 1)).unwrap_or(false));
        } else {
            return None;
        }
        at += 1;
    }
    (wanted.peek().is_none()).then_some(at)
}

impl Words {
    fn of(connect: &clap::Command, mut words: impl Iterator<Item = OsString> + Clone) -> Self {
        let mut found = Self::default();
        while let Some(word) = words.next() {
            if word == "--" {
                // Before the VPS it only ends the options, as scp writes it. Behind the VPS all that follows is ssh's.
                if found.vps.is_none() {
                    found.name(words.next());
                }
                found.ssh.extend(words);
                break;
            } else if !is_option(&word) {
                if found.vps.is_some() {
                    // The remote command.
                    found.ssh.push(word);
                    found.ssh.extend(words);
                    break;
                }
                found.name(Some(word));
            } else {
                let next = words.clone().next();
                let (owner, has_value) = match takes_next(connect, &word, next.as_ref()) {
                    Some(takes) => (&mut found.ours, takes),
                    None => (&mut found.ssh, option_takes_next(&word)),
                };
                owner.push(word);
                if has_value {
                    owner.extend(words.next());
                }
            }
        }
        found
    }

    /// Takes `[user@]vps` apart.
    fn name(&mut self, word: Option<OsString>) {
        let Some(word) = word else { return };
        match word.to_str().and_then(|text| text.rsplit_once('@')) {
            Some((user, vps)) if !user.is_empty() => {
                self.ssh.extend(["-l", user].map(OsString::from));
                self.vps = Some(vps.into());
            }
            _ => self.vps = Some(word),
        }
    }
}

fn is_option(word: &OsString) -> bool {
    word.len() > 1 && word.as_encoded_bytes().starts_with(b"-")
}

/// Whether the word behind the option `word` is its value; `None` if `word` is one of ssh's options.
fn takes_next(definition: &clap::Command, word: &OsString, next: Option<&OsString>) -> Option<bool> {
    let text = word.to_str()?;
    match flag(definition, text) {
        // The value of this one may be left out.
        Some((_, true)) if text == "--wait" => Some(next.and_then(|next| next.to_str()).is_some_and(are_seconds)),
        Some((_, takes_next)) => Some(takes_next),
        // ssh has no long options.
        None => text.starts_with("--").then_some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command_line::definition;

    fn arranged(line: &str) -> String {
        let mut definition = definition();
        definition.build();
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let words = arrange(&definition, &words);
        words.into_iter().map(|word| word.into_string().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_for_ssh_go_behind_two_dashes() {
        for (typed, expected) in [
            // As rsync, git, scp and sftp write it.
            ("k vps connect trainer rsync --server -e.iLsf . x", "k vps connect trainer -- rsync --server -e.iLsf . x"),
            ("k vps connect -l me trainer rsync --server .", "k vps connect trainer -- -l me rsync --server ."),
            ("k vps connect -o SendEnv=X git@trainer cmd", "k vps connect trainer -- -o SendEnv=X -l git cmd"),
            ("k vps connect -G trainer", "k vps connect trainer -- -G"),
            (
                "k vps connect -x -oRemoteCommand=none -s -- trainer sftp",
                "k vps connect trainer -- -x -oRemoteCommand=none -s sftp",
            ),
            // As people write it.
            ("k vps connect -L 8:l:8 trainer", "k vps connect trainer -- -L 8:l:8"),
            ("k vps connect trainer -L 8:l:8 -N", "k vps connect trainer -- -L 8:l:8 -N"),
            ("k vps connect -vNL 8:l:8 trainer", "k vps connect trainer -- -vNL 8:l:8"),
            (
                "k vps connect -L8:l:8 --key k trainer -t htop -d 5",
                "k vps connect --key k trainer -- -L8:l:8 -t htop -d 5",
            ),
            ("k vps connect -i k -uroot a@b@trainer", "k vps connect -i k -uroot trainer -- -l a@b"),
            ("k vps connect trainer --wait 60 -v ls --wait 5", "k vps connect --wait 60 trainer -- -v ls --wait 5"),
            ("k vps connect --wait trainer ls", "k vps connect --wait trainer -- ls"),
            ("k -H h vps --port 9 connect -P 7 trainer -A", "k -H h vps --port 9 connect -P 7 trainer -- -A"),
            // Command lines that have the second form already, and wrong ones, stay as they are.
            ("k vps connect trainer -- -L 8:l:8 -- ls -l", "k vps connect trainer -- -L 8:l:8 -- ls -l"),
            ("k vps connect --user u trainer", "k vps connect --user u trainer"),
            ("k vps connect --no-such trainer", "k vps connect --no-such trainer"),
            ("k vps connect", "k vps connect"),
            ("k vps connect -h", "k vps connect -h"),
            ("k vps connect @trainer", "k vps connect @trainer"),
            ("k vps list -a", "k vps list -a"),
            ("k docker vps connect a b", "k docker vps connect a b"),
        ] {
            assert_eq!(arranged(typed), expected, "{typed}");
        }
    }
}
