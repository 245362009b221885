//! The lines of the user's ssh_config that are in force for a host.
//!
//! Pure: ssh itself tells with `-vvv -G` which files it reads and which blocks apply, and this module finds the lines in
//! them. Without their `Host` and `Match`, in the order in which ssh reads them, they are a configuration that means the
//! same for this host.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::sys;

/// Most files that include each other, as in ssh.
const MAX_DEPTH: usize = 16;

/// One line that sets an option.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// The file.
    pub file: PathBuf,
    /// The number of the line, from 1.
    pub number: usize,
    /// The number of the `Host` or `Match` above it, in the same file; 0 without one.
    pub block: usize,
    /// The line, without blanks around it.
    pub text: Vec<u8>,
}

impl Line {
    /// Line `number` of `file`. `read` gives the content of a file.
    pub fn read(file: &Path, number: usize, read: impl Fn(&Path) -> Option<Vec<u8>>) -> Option<Self> {
        let content = read(file)?;
        let text = content.split(|&byte| byte == b'\n').nth(number.checked_sub(1)?)?.trim_ascii().to_owned();
        Some(Self { file: file.to_owned(), number, block: 0, text })
    }

    /// The option as it is written, and its value.
    pub fn option(&self) -> (String, String) {
        let (name, value) = split(&self.text);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(name), text(value))
    }

    /// Whether the line sets `option`, which is in lower case.
    pub fn sets(&self, option: &str) -> bool {
        split(&self.text).0.eq_ignore_ascii_case(option.as_bytes())
    }
}

/// The report of ssh about the files that it reads.
#[derive(Default, Debug)]
pub struct Reading {
    /// The files that no other file includes.
    pub roots: Vec<PathBuf>,
    /// All files, also those in blocks that don't apply.
    pub files: Vec<PathBuf>,
    /// The files that a line includes.
    included: HashMap<(PathBuf, usize), Vec<PathBuf>>,
    /// The lines that include files, in the order in which ssh came to them.
    includes: Vec<(PathBuf, usize)>,
    /// Lines with `Host` that apply.
    applied: HashSet<(PathBuf, usize)>,
    /// Lines with `Match` that don't.
    unmatched: HashSet<(PathBuf, usize)>,
    /// The command of the last `Match exec`, if ssh has not finished it.
    pub running: Option<String>,
    /// Whether a `Match exec` was asked.
    pub has_exec: bool,
}

impl Reading {
    /// Reads what `ssh -vvv -G HOST` prints on stderr.
    pub fn of(log: &str) -> Self {
        let mut reading = Self::default();
        let mut next = None;
        for line in log.lines() {
            let Some(line) = line.strip_prefix("debug").and_then(|rest| rest.split_once(": ")).map(|(_, line)| line)
            else {
                continue;
            };
            if let Some(file) = line.strip_prefix("Reading configuration data ").map(path) {
                if !reading.files.contains(&file) {
                    reading.files.push(file.clone());
                }
                // A second pass (`Match final`) reads the files again.
                if next.take().as_ref() != Some(&file) && !reading.roots.contains(&file) {
                    reading.roots.push(file);
                }
            } else if let Some(command) = line.strip_prefix("Executing command: ") {
                reading.running = Some(command.trim_matches('\'').to_owned());
                reading.has_exec = true;
            } else if line.starts_with("command returned status ") {
                reading.running = None;
            } else if let Some((at, event)) = place(line) {
                next = reading.note(at, event);
            }
        }
        reading
    }

    /// Notes an event at a line. Returns the file that is read next because of it.
    fn note(&mut self, at: (PathBuf, usize), event: &str) -> Option<PathBuf> {
        if event.starts_with("Applying options for ") {
            self.applied.insert(at);
        } else if event.starts_with("not matched 'final'") {
            // `final` matches in ssh's second pass.
        } else if event.starts_with("not matched '") {
            self.unmatched.insert(at);
        } else if event.starts_with("matched 'canonical'") {
            self.unmatched.remove(&at);
        } else if let Some((file, depth)) = event.strip_prefix("Including file ").and_then(|e| e.rsplit_once(" depth "))
        {
            let file = path(file);
            self.includes.push(at.clone());
            let files = self.included.entry(at).or_default();
            // ssh reads a file in a block that does not apply for its syntax only.
            if !depth.ends_with("(parse only)") && !files.contains(&file) {
                files.push(file.clone());
            }
            return Some(file);
        }
        None
    }

    /// The lines in force. `read` gives the content of a file.
    pub fn lines(&self, read: impl Fn(&Path) -> Option<Vec<u8>>) -> Vec<Line> {
        let mut lines = Vec::new();
        for root in &self.roots {
            self.walk(root, 0, &read, &mut lines);
        }
        lines
    }

    /// The line by which ssh reads `file`.
    pub fn line_that_includes(&self, file: &Path) -> Option<(PathBuf, usize)> {
        self.included.iter().find(|(_, files)| files.iter().any(|found| found == file)).map(|(at, _)| at.clone())
    }

    /// The `Host` or `Match` without which ssh would not read the file that `is_file` tells, if there is one. `read` gives the
    /// content of a file.
    pub fn condition_of(
        &self,
        is_file: &dyn Fn(&Path) -> bool,
        read: &dyn Fn(&Path) -> Option<Vec<u8>>,
    ) -> Option<Line> {
        let mut found = None;
        let includes = self.included.iter().filter(|(_, files)| files.iter().any(|file| is_file(file)));
        for ((at, number), _) in includes {
            let above = || self.condition_of(&|file| file == at, read);
            found = Some(condition_above(at, *number, read).or_else(above)?);
        }
        found
    }

    /// The last line that includes a file, if `is_users` both that file and the one with the line. If ssh gives up because
    /// files include each other, it is one of those lines.
    pub fn last_include(&self, is_users: impl Fn(&Path) -> bool) -> Option<(PathBuf, usize)> {
        let is_users_line = |at: &&(PathBuf, usize)| {
            is_users(&at.0) && self.included.get(at).into_iter().flatten().all(|file| is_users(file))
        };
        self.includes.iter().rev().find(is_users_line).cloned()
    }

    /// The first `Match` with this text in one of the files that ssh has begun to read.
    pub fn find(&self, text: &str, read: impl Fn(&Path) -> Option<Vec<u8>>) -> Option<Line> {
        let included = self.included.values().flatten();
        self.roots.iter().chain(included).find_map(|file| {
            let content = read(file)?;
            let lines = (1..).zip(content.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii));
            let mut matches = lines.filter(|(_, line)| split(line).0.eq_ignore_ascii_case(b"match"));
            let (number, line) = matches.find(|(_, line)| String::from_utf8_lossy(line).contains(text))?;
            Some(Line { file: file.clone(), number, block: number, text: line.to_owned() })
        })
    }

    fn walk(&self, file: &Path, depth: usize, read: &impl Fn(&Path) -> Option<Vec<u8>>, lines: &mut Vec<Line>) {
        let content = read(file).unwrap_or_default();
        let (mut applies, mut block) = (true, 0);
        for (number, text) in (1..).zip(content.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii)) {
            let at = (file.to_owned(), number);
            match split(text).0.to_ascii_lowercase().as_slice() {
                b"" => {}
                word if word.starts_with(b"#") => {}
                b"host" => (applies, block) = (self.applied.contains(&at), number),
                b"match" => (applies, block) = (!self.unmatched.contains(&at), number),
                b"include" if applies && depth < MAX_DEPTH => {
                    let included = self.included.get(&at).into_iter().flatten();
                    included.for_each(|file| self.walk(file, depth + 1, read, lines));
                }
                b"include" => {}
                _ if applies => lines.push(Line { file: file.to_owned(), number, block, text: text.to_owned() }),
                _ => {}
            }
        }
    }
}

/// The line that a message of ssh names: `FILE line NUMBER: …` or `FILE: line NUMBER: …`.
pub fn place_of(message: &str) -> Option<(PathBuf, usize)> {
    place(&message.replacen(": line ", " line ", 1)).map(|(at, _)| at)
}

/// The hosts that a configuration names in its `Host` and `Match` lines. For a pattern, one host that it matches.
pub fn named_hosts(config: &[u8]) -> Vec<String> {
    let mut patterns = Vec::new();
    for (name, rest) in config.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).map(split) {
        let rest = String::from_utf8_lossy(rest);
        let words: Vec<&str> = rest.split([' ', '\t']).map(|word| word.trim_matches('"')).collect();
        if name.eq_ignore_ascii_case(b"host") {
            patterns.extend(words.iter().map(|&word| word.to_owned()));
        } else if name.eq_ignore_ascii_case(b"match") {
            let is_of_host = |pair: &&[&str]| ["host", "originalhost"].contains(&&*pair[0].to_ascii_lowercase());
            let lists = words.windows(2).filter(is_of_host).flat_map(|pair| pair[1].split(','));
            patterns.extend(lists.map(str::to_owned));
        }
    }
    // A name with a `-` at its start would be an option of ssh.
    patterns.retain(|word| !word.is_empty() && !word.starts_with('-') && !word.contains(['!', '#']));
    patterns.into_iter().map(|pattern| pattern.replace(['*', '?'], "x")).collect()
}

/// The `Host` or `Match` above a line, unless it applies to every host. `read` gives the content of a file.
fn condition_above(file: &Path, number: usize, read: &dyn Fn(&Path) -> Option<Vec<u8>>) -> Option<Line> {
    let content = read(file)?;
    let lines = (1..number).zip(content.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii));
    let is_block = |line: &[u8]| [&b"host"[..], b"match"].iter().any(|name| split(line).0.eq_ignore_ascii_case(name));
    let (number, text) = lines.filter(|(_, line)| is_block(line)).last()?;
    let applies_always = [&b"*"[..], b"all"].iter().any(|word| split(text).1.eq_ignore_ascii_case(word));
    (!applies_always).then(|| Line { file: file.to_owned(), number, block: number, text: text.to_owned() })
}

/// `FILE line NUMBER: EVENT`
fn place(line: &str) -> Option<((PathBuf, usize), &str)> {
    let (start, rest) = line.split_once(" line ")?;
    let (number, event) = rest.split_once(": ")?;
    Some(((path(start), number.parse().ok()?), event))
}

/// The first word of a line, and the rest.
fn split(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| b" \t=".contains(byte)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let rest = rest.trim_ascii();
    (name, rest.strip_prefix(b"=").unwrap_or(rest).trim_ascii())
}

/// The path at the end of a message of ssh, if it is absolute.
pub fn path_of(text: &str) -> Option<PathBuf> {
    Some(path(text)).filter(|path| path.is_absolute())
}

/// A path in a message of ssh, which doubles backslashes and writes other bytes than ASCII in octal (vis(3)).
fn path(text: &str) -> PathBuf {
    let (mut path, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        let (after, byte) = match (byte, after.first(), octal) {
            (b'\\', Some(b'\\'), _) => (&after[1..], b'\\'),
            (b'\\', _, Some(byte)) => (&after[3..], byte),
            _ => (after, byte),
        };
        path.push(byte);
        rest = after;
    }
    sys::os_string(path).into()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// The lines that the real ssh uses for `host`, as `file:number text`.
    fn lines(files: &[(&str, &str)], host: &str) -> (tempfile::TempDir, Reading, Vec<String>) {
        let folder = tempfile::TempDir::with_prefix("é ").unwrap();
        for (name, text) in files {
            let text = text.replace("HERE", &folder.path().display().to_string());
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let output =
            Command::new("ssh").args(["-vvv", "-G", "-F"]).arg(folder.path().join("config")).arg(host).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        let reading = Reading::of(&String::from_utf8_lossy(&output.stderr));
        let lines = reading.lines(|path| std::fs::read(path).ok());
        let shown = |line: &Line| {
            let name = line.file.strip_prefix(folder.path()).unwrap().display().to_string();
            format!("{name}:{} {}", line.number, String::from_utf8_lossy(&line.text))
        };
        let shown = lines.iter().map(shown).collect();
        (folder, reading, shown)
    }

    #[test]
    fn the_lines_of_blocks_that_apply_in_the_order_of_ssh() {
        let config = "\
# comment
Port=1
Include \"HERE/one\"
  Compression yes
Host other
  Include \"HERE/two\"
  User never
Host *.k !not.k
\tUser yes
Match host foo.k exec \"exit 0\"
  LogLevel INFO
Match host foo.k exec \"exit 1\"
  LogLevel ERROR
Match originalhost bar
  TCPKeepAlive no
Match all
  AddressFamily inet
Match final
  BatchMode yes
";
        let files = [
            ("config", config),
            ("one", "ConnectTimeout 9\nHost foo.*\n  ForwardAgent no\nHost x\n  ForwardAgent yes\n"),
            ("two", "GatewayPorts yes\n"),
        ];
        let (folder, reading, found) = lines(&files, "foo.k");
        let expected = [
            "config:2 Port=1",
            "one:1 ConnectTimeout 9",
            "one:3 ForwardAgent no",
            "config:4 Compression yes",
            "config:9 User yes",
            "config:11 LogLevel INFO",
            "config:17 AddressFamily inet",
            "config:19 BatchMode yes",
        ];
        assert_eq!(found, expected, "{reading:?}");
        // A file in a block that doesn't apply is read for its syntax.
        let read = ["config", "one", "two"].map(|name| folder.path().join(name));
        assert_eq!((reading.files.as_slice(), reading.has_exec), (read.as_slice(), true));
        assert_eq!((reading.roots, reading.running), (vec![folder.path().join("config")], None));
        assert!(!lines(&files, "not.k").2.contains(&"config:9 User yes".to_owned()));
    }

    #[test]
    fn a_line_has_an_option_and_a_value() {
        for (text, name, value) in [
            ("RemoteCommand tmux -A", "RemoteCommand", "tmux -A"),
            ("port=22", "port", "22"),
            ("Port = 22", "Port", "22"),
            ("User\tx y", "User", "x y"),
            ("Bad", "Bad", ""),
        ] {
            let line = Line { file: "f".into(), number: 1, block: 0, text: text.into() };
            assert_eq!(line.option(), (name.to_owned(), value.to_owned()));
            assert!(line.sets(&name.to_lowercase()) && !line.sets("other"));
        }
    }

    #[test]
    fn every_host_and_one_of_each_pattern() {
        let config = b"Host a \"b\" *.c !d\tHost\nUser x\nhost=e\n  HOST f? g -h # i\n#Host k\nHost\r\n\
            Match user l host m,*.n exec \"x\"\nmatch OriginalHost \"o\"\nMatch all\n";
        assert_eq!(named_hosts(config), ["a", "b", "x.c", "Host", "e", "fx", "g", "i", "m", "x.n", "o"]);
    }

    #[test]
    fn files_that_include_each_other_are_read_as_often_as_ssh_reads_them() {
        let log = "debug1: Reading configuration data /c\ndebug3: /c line 2: Including file /c depth 0\n";
        let lines = Reading::of(log).lines(|_| Some(b"Port 1\nInclude /c\n".to_vec()));
        assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [1; MAX_DEPTH + 1]);
    }

    #[test]
    fn a_message_of_ssh_names_a_line() {
        let place = Some((PathBuf::from("/a b/\u{e4}"), 7));
        assert_eq!(place_of("/a b/\\303\\244 line 7: Bad number."), place);
        assert_eq!(place_of("/a b/\\303\\244: line 7: Bad configuration option: x"), place);
        assert_eq!(place_of("command-line: line 0"), None);
    }

    #[test]
    fn a_match_that_does_not_end_is_known() {
        let log = "debug1: Reading configuration data /c\ndebug1: Executing command: 'sleep 600'\n";
        assert_eq!(Reading::of(log).running.as_deref(), Some("sleep 600"));
        let ended = format!("{log}debug3: command returned status 0\n");
        assert_eq!(Reading::of(&ended).running, None);
    }

    /// Blocks are above lines of the same file, and of the files that include it.
    #[test]
    fn an_included_file_has_a_line_and_perhaps_a_condition() {
        let config =
            "Include \"HERE/always\"\nHost *.k\n  # Host\n  Include \"HERE/inner\"\nHost *\n  Include \"HERE/late\"\n";
        let files = [
            ("config", config),
            ("always", "Port 1\n"),
            ("inner", "Include \"HERE/deep\"\n"),
            ("deep", ""),
            ("late", ""),
        ];
        let (folder, reading, _) = lines(&files, "foo.k");
        let at = |name: &str| folder.path().join(name);
        let read = |path: &Path| std::fs::read(path).ok();
        let condition = |name: &str| {
            let found = reading.condition_of(&|path| path == at(name), &read)?;
            Some((found.file, found.number, found.block, String::from_utf8(found.text).unwrap()))
        };
        let block = Some((at("config"), 2, 2, "Host *.k".to_owned()));
        assert_eq!(["always", "inner", "deep", "late"].map(condition), [None, block.clone(), block, None]);
        assert_eq!(reading.line_that_includes(&at("inner")), Some((at("config"), 4)));
        assert_eq!(reading.line_that_includes(&at("deep")), Some((at("inner"), 1)));
        assert_eq!(reading.line_that_includes(&at("config")), None);
        // Of the user's own files, the last line of all, and none that names a file of others.
        assert_eq!(reading.last_include(|_| true), Some((at("config"), 6)));
        assert_eq!(reading.last_include(|path| path != at("late")), Some((at("inner"), 1)));
        assert_eq!(reading.last_include(|path| path != at("inner")), Some((at("config"), 6)));
        assert_eq!(reading.last_include(|path| path == at("config")), None);
    }

    #[test]
    fn a_line_and_a_match_are_found_again_in_their_files() {
        let config = "Include \"HERE/one\"\nHost exec\nMatch all\n  Port 2\n";
        let files = [("config", config), ("one", "# Match exec\n match host x exec \"sleep 600\" \n")];
        let (folder, reading, _) = lines(&files, "foo.k");
        let at = |name: &str| folder.path().join(name);
        let read = |path: &Path| std::fs::read(path).ok();
        let line = |name: &str, number, block, text: &str| {
            Some(Line { file: at(name), number, block, text: text.as_bytes().to_owned() })
        };
        assert_eq!(reading.find("sleep 600", read), line("one", 2, 2, "match host x exec \"sleep 600\""));
        assert_eq!(reading.find("all", read), line("config", 3, 3, "Match all"));
        assert_eq!(reading.find("nothing", read), None);
        assert_eq!(Line::read(&at("config"), 4, read), line("config", 4, 0, "Port 2"));
        assert_eq!((Line::read(&at("config"), 0, read), Line::read(&at("config"), 9, read)), (None, None));
    }

    #[test]
    fn only_an_absolute_path_in_a_message_is_one() {
        assert_eq!(path_of("/a\\\\303\\303\\244"), Some(PathBuf::from("/a\\303\u{e4}")));
        assert_eq!(path_of("a/b"), None);
    }
}
