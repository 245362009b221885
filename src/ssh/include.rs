//! Our one line in the user's `~/.ssh/config`: an `Include` of the file with our entries.
//!
//! Pure: bytes in, bytes out, since a configuration need not be UTF-8. All other lines stay unchanged: [`remove`] after
//! [`insert`] gives the same bytes. The line goes to the top of the file. Behind a `Host` or `Match` it would apply to those
//! hosts only, and behind other settings our entries would lose to settings that the user meant for other hosts.

use std::ffi::OsStr;
use std::ops::Range;

use crate::ssh::own_files::OURS;

/// The line above the `Include`. It tells a reader, and [`remove`], that the `Include` is ours.
const REMARK: &[u8] = b"# Added by `kohakuriver ssh config --write`; `kohakuriver ssh config --remove` takes it out.";

/// `config` with an `Include` of `path` (quoted for ssh) that applies to all hosts. Unchanged when it has one already.
pub fn insert(config: &[u8], path: &OsStr) -> Vec<u8> {
    if is_included(config, path) {
        return config.to_vec();
    }
    let rest = remove(config);
    let line_end: &[u8] = match rest.iter().position(|&byte| byte == b'\n') {
        Some(at) if rest[..at].ends_with(b"\r") => b"\r\n",
        _ => b"\n",
    };
    [REMARK, line_end, include(path).as_slice(), line_end, &rest].concat()
}

/// `config` without the lines of [`insert`], which may have moved since, or name our file in another spelling. Other
/// files in the same line stay.
pub fn remove(config: &[u8]) -> Vec<u8> {
    let mut lines = config.split_inclusive(|&byte| byte == b'\n').peekable();
    let mut kept = Vec::with_capacity(config.len());
    while let Some(line) = lines.next() {
        let others = lines.peek().filter(|_| without_end(line) == REMARK).and_then(|next| without_ours(next));
        match others {
            Some(others) => {
                lines.next();
                kept.extend(others);
            }
            None => kept.extend_from_slice(line),
        }
    }
    kept
}

/// An `Include` line without our file: empty if the line names no other. `None` if it doesn't name ours.
fn without_ours(line: &[u8]) -> Option<Vec<u8>> {
    let words = words(line);
    let (keyword, files) = words.split_first()?;
    if !line[keyword.clone()].eq_ignore_ascii_case(b"include") {
        return None;
    }
    let is_ours = |word: &Range<usize>| {
        let name = unquoted(&line[word.clone()]).rsplit(|&byte| byte == b'/').next();
        name == Some(OURS[0].as_bytes())
    };
    if !files.iter().any(is_ours) {
        return None;
    }
    if files.iter().all(is_ours) {
        return Some(Vec::new());
    }
    let mut rest = line.to_vec();
    for word in files.iter().rev().filter(|word| is_ours(word)) {
        // With the blank before it.
        rest.drain(word.start.saturating_sub(1)..word.end);
    }
    Some(rest)
}

/// The places of the words in a line. A quoted word is one with its quotes; `=` may stand behind the keyword.
fn words(line: &[u8]) -> Vec<Range<usize>> {
    let is_blank = |at: usize, is_first: bool| line[at].is_ascii_whitespace() || (is_first && line[at] == b'=');
    let (mut words, mut at) = (Vec::new(), 0);
    while at < line.len() {
        if is_blank(at, words.len() < 2) {
            at += 1;
            continue;
        }
        let start = at;
        let quote = Some(line[at]).filter(|byte| b"\"'".contains(byte));
        at += 1;
        while at < line.len() && quote.map_or_else(|| !is_blank(at, words.is_empty()), |quote| line[at] != quote) {
            at += 1;
        }
        at = line.len().min(at + usize::from(quote.is_some()));
        words.push(start..at);
    }
    words
}

fn unquoted(word: &[u8]) -> &[u8] {
    let quote = |end: &[u8]| word.len() > 1 && word.starts_with(end) && word.ends_with(end);
    if quote(b"\"") || quote(b"'") { &word[1..word.len() - 1] } else { word }
}

/// The `Include` line, also for a person to add by hand.
pub fn include(path: &OsStr) -> Vec<u8> {
    [b"Include ", path.as_encoded_bytes()].concat()
}

/// Whether the first line that is neither empty nor a comment is the `Include`, added by us or by hand.
fn is_included(config: &[u8], path: &OsStr) -> bool {
    let include = include(path);
    let mut lines = config.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    lines.find(|line| !line.is_empty() && !line.starts_with(b"#")).is_some_and(|line| line == include)
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::Command;

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    fn path() -> &'static OsStr {
        OsStr::new("/home/u/.ssh/kohakuriver.conf")
    }

    fn added(end: &str) -> String {
        format!("{}{end}Include /home/u/.ssh/kohakuriver.conf{end}", String::from_utf8_lossy(REMARK))
    }

    #[test]
    fn the_line_goes_to_the_top_with_the_line_ends_of_the_file() {
        for (config, end) in [
            ("", "\n"),
            ("Host a", "\n"),
            ("Host a\n", "\n"),
            ("Host a\r\n  User u\r\n", "\r\n"),
            ("Host a\n  User u\r\n", "\n"),
            ("\r\nHost a", "\r\n"),
            ("# mine\nHost \"Host b\"\n", "\n"),
            ("Match all\n", "\n"),
        ] {
            let written = insert(config.as_bytes(), path());
            assert_eq!(String::from_utf8_lossy(&written), added(end) + config, "{config:?}");
            assert_eq!(insert(&written, path()), written, "{config:?}");
            assert_eq!(remove(&written), config.as_bytes(), "{config:?}");
        }
    }

    #[test]
    fn a_line_behind_a_host_moves_up_and_a_line_added_by_hand_stays() {
        let sunk = format!("Host a\n  User u\n{}Host b\n", added("\n"));
        let written = insert(sunk.as_bytes(), path());
        assert_eq!(String::from_utf8_lossy(&written), added("\n") + "Host a\n  User u\nHost b\n");
        for by_hand in
            ["Include /home/u/.ssh/kohakuriver.conf", "# mine\n\n\tInclude /home/u/.ssh/kohakuriver.conf \r\n"]
        {
            assert_eq!(insert(by_hand.as_bytes(), path()), by_hand.as_bytes());
            assert_eq!(remove(by_hand.as_bytes()), by_hand.as_bytes());
        }
        let commented = "# Include /home/u/.ssh/kohakuriver.conf\nHost a\n";
        assert!(insert(commented.as_bytes(), path()).starts_with(REMARK));
    }

    #[test]
    fn only_quotes_around_a_word_are_taken_off() {
        for (word, bare) in
            [("\"a\"", "a"), ("'a'", "a"), ("\"", "\""), ("a\"", "a\""), ("\"a", "\"a"), ("\"a'", "\"a'")]
        {
            assert_eq!(unquoted(word.as_bytes()), bare.as_bytes());
        }
    }

    #[test]
    fn a_line_that_was_spelled_anew_goes_and_other_files_in_it_stay() {
        let remark = String::from_utf8_lossy(REMARK);
        for (line, left) in [
            ("Include ~/.ssh/kohakuriver.conf\n", ""),
            ("include kohakuriver.conf\r\n", ""),
            ("\tInclude = \"/old home/.ssh/kohakuriver.conf\"\n", ""),
            ("Include=kohakuriver.conf", ""),
            ("Include kohakuriver.conf work.conf\n", "Include work.conf\n"),
            ("Include \"my work\" 'kohakuriver.conf'\r\n", "Include \"my work\"\r\n"),
        ] {
            let written = format!("Host a\n{remark}\n{line}");
            assert_eq!(String::from_utf8(remove(written.as_bytes())).unwrap(), format!("Host a\n{left}"), "{line}");
        }
        for line in [
            "Include work.conf\n",
            "Include work.conf =kohakuriver.conf\n",
            "Host kohakuriver.conf\n",
            "Include my-kohakuriver.conf\n",
            "",
            "\n",
            "=",
        ] {
            let written = format!("{remark}\n{line}");
            assert_eq!(String::from_utf8(remove(written.as_bytes())).unwrap(), written);
        }
    }

    /// Lines of real files, and worse ones.
    fn config() -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![
            prop::sample::select(vec![
                &b"Host a b* !c"[..],
                b"Host \"quoted Host\"",
                b"Match all",
                b"Match host x exec \"true\"",
                b"  User u",
                b"\tPort=2222",
                b"Include other",
                b"Include config",
                b"# comment",
                b"",
                b"   ",
                b"  ProxyCommand \"a b\" %h # no comment",
                b"nul \0 in it",
                b"User caf\xe9",
                b"Host *",
                b"\xef\xbb\xbf",
                b"Include /home/u/.ssh/kohakuriver.conf",
                REMARK,
                b"host\xc2\xa0x",
                b"\r",
                b"\x1b[2J",
            ])
            .prop_map(<[u8]>::to_vec),
            proptest::collection::vec(any::<u8>(), 0..12),
        ];
        let end = prop::sample::select(vec![&b"\n"[..], b"\r\n", b"\n\n"]);
        (proptest::collection::vec((line, end), 0..12), any::<bool>()).prop_map(|(lines, cut)| {
            let mut text: Vec<u8> = lines.iter().flat_map(|(line, end)| [line.as_slice(), end].concat()).collect();
            if cut && text.ends_with(b"\n") {
                text.pop();
            }
            text
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_other_lines_are_never_changed(config in config()) {
            let written = insert(&config, path());
            prop_assert!(is_included(&written, path()));
            prop_assert_eq!(insert(&written, path()), written.clone());
            if is_included(&config, path()) {
                prop_assert_eq!(&written, &config);
            } else {
                // An older line of ours is removed with the new one, wherever it was.
                let clean = remove(&config);
                prop_assert!(written.ends_with(&clean));
                prop_assert_eq!(remove(&written), clean);
            }
        }

        #[test]
        fn remove_takes_out_exactly_the_inserted_lines(before in config(), after in config()) {
            prop_assume!(remove(&before) == before && remove(&after) == after);
            let mut sunk = before.clone();
            if !before.is_empty() && !before.ends_with(b"\n") {
                sunk.push(b'\n');
            }
            let mut clean = sunk.clone();
            sunk.extend(added("\n").bytes());
            sunk.extend_from_slice(&after);
            clean.extend_from_slice(&after);
            prop_assume!(remove(&clean) == clean);
            prop_assert_eq!(remove(&sunk), clean);
        }
    }

    #[test]
    fn a_file_of_ten_megabytes() {
        let big = b"Host a\r\n  User \xe9\r\n".repeat(600_000);
        let written = insert(&big, path());
        assert_eq!(written.len(), big.len() + added("\r\n").len());
        assert_eq!(remove(&written), big);
    }

    struct Folder(TempDir);

    impl Folder {
        /// Exit status and options of the real ssh with `config` for `host`.
        fn read_by_ssh(&self, config: &[u8], host: &str) -> (Option<i32>, String) {
            let file = self.0.path().join("config");
            std::fs::write(&file, config).unwrap();
            let output = Command::new("ssh").arg("-G").arg("-F").arg(&file).arg(host).output().unwrap();
            (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
        }

        fn ours(&self) -> PathBuf {
            let path = self.0.path().join("kohakuriver.conf");
            std::fs::write(&path, "Host *.kohakuriver\n  User vps-user\n  ServerAliveInterval 30\n").unwrap();
            path
        }
    }

    /// Configurations that ssh accepts, and some that it refuses.
    fn readable() -> impl Strategy<Value = String> {
        let option = prop::sample::select(
            [
                "User someone",
                "Port=2222",
                "HostName \"10.0.0.1\"",
                "ServerAliveInterval 7",
                "LogLevel ERROR",
                "# Host in a comment",
                "",
                "IdentityFile ~/.ssh/id_%h",
                "ProxyCommand nc \"Host x\" %p",
                "SendEnv LANG",
                "NoSuchOption yes",
            ]
            .as_slice(),
        );
        let block = prop::sample::select(
            [
                "",
                "Host foreign other",
                "Host *",
                "Host !foreign *",
                "Match all",
                "Match host foreign",
                "Match originalhost \"foreign\" user someone",
                "Host \"Host\"",
                "Match final",
            ]
            .as_slice(),
        );
        let blocks = proptest::collection::vec((block, proptest::collection::vec(option, 0..3)), 0..5);
        (blocks, prop::sample::select(["\n", "\r\n"].as_slice())).prop_map(|(blocks, end)| {
            let lines = blocks.iter().flat_map(|(block, options)| std::iter::once(block).chain(options));
            lines.map(|line| format!("{line}{end}")).collect()
        })
    }

    #[test]
    fn ssh_reads_the_same_for_other_hosts_and_our_entries_for_vpses() {
        let folder = Folder(TempDir::new().unwrap());
        let ours = folder.ours();
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases: 60,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let outcome = runner.run(&readable(), |config| {
            let written = insert(config.as_bytes(), ours.as_os_str());
            for host in ["foreign", "someone@10.9.8.7", "kohakuriver.example.org"] {
                let before = folder.read_by_ssh(config.as_bytes(), host);
                let after = folder.read_by_ssh(&written, host);
                prop_assert_eq!(&before, &after, "{}: {}", host, config);
            }
            let (status, vps) = folder.read_by_ssh(&written, "trainer.kohakuriver");
            prop_assert!(status != Some(0) || vps.contains("\nserveraliveinterval 30\n"), "{}", vps);
            Ok(())
        });
        outcome.unwrap();
        // An `Include` loop of the user's is refused before and after, and is not changed.
        let own = folder.0.path().join("config");
        let looped = format!("Include {}\n", own.display());
        let written = insert(looped.as_bytes(), ours.as_os_str());
        for config in [looped.as_bytes(), &written] {
            assert_ne!(folder.read_by_ssh(config, "foreign").0, Some(0));
        }
        assert_eq!(remove(&written), looped.as_bytes());
    }
}
