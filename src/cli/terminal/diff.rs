//! The change to a file, in the form of `diff -u`.
//!
//! Bytes that are no UTF-8 are shown as `�`, control characters are removed.

use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp, DiffTag, capture_diff_slices_deadline, group_diff_ops};

use crate::text::printable;

/// Unchanged lines shown around a change.
const CONTEXT: usize = 3;

/// After this time the rest of two very different files is shown as replaced.
const LIMIT: Duration = Duration::from_secs(1);

/// The change from `old` to `new`; `None`: no file. Empty if nothing changes.
pub(crate) fn unified(name: &str, old: Option<&[u8]>, new: Option<&[u8]>) -> String {
    if old == new {
        return String::new();
    }
    let file = |text: Option<&[u8]>| text.map_or_else(|| "/dev/null".to_owned(), |_| printable(name));
    let mut text = format!("--- {}\n+++ {}\n", file(old), file(new));
    let (old, new) = (lines(old.unwrap_or_default()), lines(new.unwrap_or_default()));
    let deadline = Some(Instant::now() + LIMIT);
    let changes = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, deadline);
    for hunk in group_diff_ops(changes, CONTEXT) {
        text += &header(&hunk);
        for change in hunk {
            let (removed, added) = (&old[change.old_range()], &new[change.new_range()]);
            let shown = match change.tag() {
                DiffTag::Equal => vec![(' ', removed)],
                DiffTag::Delete | DiffTag::Insert | DiffTag::Replace => vec![('-', removed), ('+', added)],
            };
            let shown =
                shown.into_iter().flat_map(|(sign, lines)| lines.iter().map(move |line| shown_line(sign, line)));
            text.extend(shown);
        }
    }
    text
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|&byte| byte == b'\n').collect()
}

fn header(hunk: &[DiffOp]) -> String {
    let range = |range_of: fn(&DiffOp) -> std::ops::Range<usize>| {
        let start = hunk.first().map_or(0, |first| range_of(first).start);
        let length = hunk.last().map_or(0, |last| range_of(last).end) - start;
        // An empty side names the line before it, as diff does.
        format!("{},{length}", if length == 0 { start } else { start + 1 })
    };
    format!("@@ -{} +{} @@\n", range(DiffOp::old_range), range(DiffOp::new_range))
}

fn shown_line(sign: char, bytes: &[u8]) -> String {
    let whole = bytes.strip_suffix(b"\n");
    let content = whole.unwrap_or(bytes);
    let content = content.strip_suffix(b"\r").unwrap_or(content);
    let note = if whole.is_none() { "\\ No newline at end of file\n" } else { "" };
    format!("{sign}{}\n{note}", printable(&String::from_utf8_lossy(content)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_changed_line_a_new_file_and_a_removed_file() {
        assert_eq!(
            unified("config", Some(b"a\nb\nc\nd\ne"), Some(b"x\na\nb\nc\nd\ne")),
            "--- config\n+++ config\n@@ -1,3 +1,4 @@\n+x\n a\n b\n c\n"
        );
        assert_eq!(unified("c", None, Some(b"x\r\n")), "--- /dev/null\n+++ c\n@@ -0,0 +1,1 @@\n+x\n");
        let removed = unified("c", Some(b"\x1b[2J\xe9"), None);
        assert_eq!(removed, "--- c\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-[2J\u{fffd}\n\\ No newline at end of file\n");
        assert_eq!(unified("c", Some(b"a"), Some(b"a")), "");
    }

    #[test]
    fn large_files_are_compared_in_time() {
        let (one, two) = ("one\n".repeat(1_000_000), format!("x\n{}", "one\n".repeat(1_000_000)));
        assert!(
            unified("c", Some(one.as_bytes()), Some(two.as_bytes()))
                .ends_with("@@ -1,3 +1,4 @@\n+x\n one\n one\n one\n")
        );
        let other = "two\n".repeat(5000);
        let all = unified("c", Some(&one.as_bytes()[..20_000]), Some(other.as_bytes()));
        assert_eq!(all.lines().count(), 3 + 5000 + 5000);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

        /// The difference, applied to the old text by git, gives the new text.
        #[test]
        fn git_can_apply_it(old in "([a-c]{1}\n){1,20}", new in "([a-c]{1}\n){1,20}") {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("c"), &old).unwrap();
            let mut patch = Command::new("git").args(["apply", "--unidiff-zero", "-p0", "-"]).current_dir(&folder)
                .env("GIT_CEILING_DIRECTORIES", "/").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let difference = unified("c", Some(old.as_bytes()), Some(new.as_bytes()));
            patch.stdin.take().unwrap().write_all(difference.as_bytes()).unwrap();
            let output = patch.wait_with_output().unwrap();
            let found = std::fs::read_to_string(folder.path().join("c")).unwrap();
            prop_assert!(old == new || output.status.success(), "{:?}\n{}", output, difference);
            prop_assert_eq!(found, new);
        }
    }
}
