//! What would change in a file, as `diff -u` shows it.
//!
//! What both texts begin and end with is set aside first, so a line at the top of a file of ten megabytes costs no more
//! than of a short one. Bytes that are no UTF-8 are shown as `�`, control characters not at all.

use crate::text::printable;

/// Lines shown around a change.
const CONTEXT: usize = 3;

/// Largest table of the comparison, in cells; past it the middle is shown as replaced as a whole.
const MAX_CELLS: usize = 4_000_000;

/// One line of a comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line<'t> {
    Same(&'t [u8]),
    Old(&'t [u8]),
    New(&'t [u8]),
}

/// The change from `old` to `new`, `None` standing for no file; empty where there is none.
pub(crate) fn unified(name: &str, old: Option<&[u8]>, new: Option<&[u8]>) -> String {
    if old == new {
        return String::new();
    }
    let head = |sign: &str, text: Option<&[u8]>| {
        format!("{sign} {}\n", text.map_or_else(|| "/dev/null".to_owned(), |_| printable(name)))
    };
    let lines = compare(&split(old.unwrap_or_default()), &split(new.unwrap_or_default()));
    head("---", old) + &head("+++", new) + &hunks(&lines)
}

fn split(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|&byte| byte == b'\n').collect()
}

fn compare<'t>(old: &[&'t [u8]], new: &[&'t [u8]]) -> Vec<Line<'t>> {
    let start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old, new, first) = (&old[start..], &new[start..], &old[..start]);
    let end = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old, last) = old.split_at(old.len() - end);
    let middle = compare_middle(old, &new[..new.len() - end]);
    let same = |lines: &[&'t [u8]]| lines.iter().map(|line| Line::Same(line)).collect::<Vec<_>>();
    [same(first), middle, same(last)].concat()
}

/// By the longest common subsequence.
fn compare_middle<'t>(old: &[&'t [u8]], new: &[&'t [u8]]) -> Vec<Line<'t>> {
    let width = new.len() + 1;
    if (old.len() + 1).saturating_mul(width) > MAX_CELLS {
        return old.iter().map(|line| Line::Old(line)).chain(new.iter().map(|line| Line::New(line))).collect();
    }
    let mut common = vec![0_u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            let next = if old[i] == new[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
            common[i * width + j] = next;
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::with_capacity(old.len() + new.len()));
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push(Line::Same(old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]) {
            lines.push(Line::Old(old[i]));
            i += 1;
        } else {
            lines.push(Line::New(new[j]));
            j += 1;
        }
    }
    lines
}

fn hunks(lines: &[Line<'_>]) -> String {
    let changed: Vec<usize> = (0..lines.len()).filter(|&at| !matches!(lines[at], Line::Same(_))).collect();
    let mut text = String::new();
    let mut next = 0;
    while let Some(&first) = changed.get(next) {
        let mut last = first;
        while let Some(&at) = changed.get(next).filter(|&&at| at <= last + 2 * CONTEXT) {
            last = at;
            next += 1;
        }
        let range = first.saturating_sub(CONTEXT)..(last + CONTEXT + 1).min(lines.len());
        let count = |lines: &[Line<'_>], skip: fn(&Line<'_>) -> bool| lines.iter().filter(|line| !skip(line)).count();
        let side = |skip: fn(&Line<'_>) -> bool| {
            let (before, length) = (count(&lines[..range.start], skip), count(&lines[range.clone()], skip));
            // An empty side names the line before it, as diff does.
            format!("{},{length}", if length == 0 { before } else { before + 1 })
        };
        let (old, new) = (side(|line| matches!(line, Line::New(_))), side(|line| matches!(line, Line::Old(_))));
        text += &format!("@@ -{old} +{new} @@\n");
        lines[range].iter().for_each(|line| text += &shown(line));
    }
    text
}

fn shown(line: &Line<'_>) -> String {
    let (sign, bytes) = match line {
        Line::Same(bytes) => (' ', bytes),
        Line::Old(bytes) => ('-', bytes),
        Line::New(bytes) => ('+', bytes),
    };
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
    fn a_line_at_the_top_and_a_new_file() {
        assert_eq!(
            unified("config", Some(b"a\nb\nc\nd\ne"), Some(b"x\na\nb\nc\nd\ne")),
            "--- config\n+++ config\n@@ -1,3 +1,4 @@\n+x\n a\n b\n c\n"
        );
        assert_eq!(unified("c", None, Some(b"x\r\n")), "--- /dev/null\n+++ c\n@@ -0,0 +1,1 @@\n+x\n");
        let gone = unified("c", Some(b"\x1b[2J\xe9"), None);
        assert_eq!(gone, "--- c\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-[2J\u{fffd}\n\\ No newline at end of file\n");
        assert_eq!(unified("c", Some(b"a"), Some(b"a")), "");
    }

    #[test]
    fn large_texts_take_no_time() {
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

        /// The system's patch makes the new text of the old one and the difference.
        #[test]
        fn patch_understands_it(old in "([a-c]{1}\n){1,20}", new in "([a-c]{1}\n){1,20}") {
            let folder = std::env::temp_dir().join(format!("kohakuriver-diff-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("c"), &old).unwrap();
            let mut patch = Command::new("git").args(["apply", "--unidiff-zero", "-p0", "-"]).current_dir(&folder)
                .env("GIT_CEILING_DIRECTORIES", "/").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let difference = unified("c", Some(old.as_bytes()), Some(new.as_bytes()));
            patch.stdin.take().unwrap().write_all(difference.as_bytes()).unwrap();
            let output = patch.wait_with_output().unwrap();
            let found = std::fs::read_to_string(folder.join("c")).unwrap();
            std::fs::remove_dir_all(&folder).unwrap();
            prop_assert!(old == new || output.status.success(), "{:?}\n{}", output, difference);
            prop_assert_eq!(found, new);
        }
    }
}
