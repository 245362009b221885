//! The text after the options of a `--help`: paragraphs, and blocks with a heading.
//!
//! A heading is alone on its line and ends with `:`; the block's lines are indented below it. Such a block becomes a
//! section of the manual page. `Example, in ~/.ssh/config:` is one of the examples, with a title:
//!
//! ```text
//! Completion offers the names that `vps list` last showed.
//!
//! Examples:
//!   kohakuriver completions fish
//! ```

/// The text, taken apart.
#[derive(PartialEq, Eq, Debug, Default)]
pub(super) struct Blocks<'t> {
    /// Everything without a heading.
    pub(super) paragraphs: Vec<&'t str>,
    /// Headings with their lines, which are no longer indented.
    pub(super) headed: Vec<(&'t str, Vec<&'t str>)>,
}

impl<'t> Blocks<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        let mut blocks = Self::default();
        for part in text.split("\n\n").filter(|part| !part.trim().is_empty()) {
            let indented = part.lines().all(|line| line.starts_with("  "));
            match (heading(part), blocks.headed.last_mut()) {
                (Some((heading, lines)), _) => blocks.headed.push((heading, lines.lines().map(unindented).collect())),
                // More lines of the block above, after an empty line.
                (None, Some((_, lines))) if indented => {
                    lines.push("");
                    lines.extend(part.lines().map(unindented));
                }
                (None, _) => blocks.paragraphs.push(part),
            }
        }
        blocks
    }

    /// The blocks whose headings begin with `Example`.
    pub(super) fn take_examples(&mut self) -> Vec<(&'t str, Vec<&'t str>)> {
        self.headed.extract_if(.., |(heading, _)| heading.starts_with("Example")).collect()
    }

    /// The lines under `heading`.
    pub(super) fn take(&mut self, heading: &str) -> Vec<&'t str> {
        let at = self.headed.iter().position(|(found, _)| *found == heading);
        at.map(|at| self.headed.remove(at).1).unwrap_or_default()
    }
}

fn heading(part: &str) -> Option<(&str, &str)> {
    let (first, lines) = part.split_once('\n')?;
    let heading = first.strip_suffix(':').filter(|heading| !heading.starts_with(' '))?;
    lines.lines().all(|line| line.starts_with("  ")).then_some((heading, lines))
}

fn unindented(line: &str) -> &str {
    line.strip_prefix("  ").unwrap_or(line)
}

/// Lines of the form `term  text` as terms and texts; a line that is indented further continues the text above it.
pub(super) fn entries(lines: &[&str]) -> Vec<(String, String)> {
    let mut entries: Vec<(String, String)> = Vec::new();
    for line in lines {
        match (line.starts_with(' '), entries.last_mut()) {
            (true, Some((_, text))) => *text += &format!(" {}", line.trim()),
            _ => {
                let (term, text) = line.split_once("  ").unwrap_or((line, ""));
                entries.push((term.to_owned(), text.trim().to_owned()));
            }
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_and_headed_blocks_are_told_apart() {
        let text = "It works:\nso do it.\n\nExamples:\n  a\n    b\n\n  c\n\nFiles:\n  one  The first,\n       and more\n  two  The second";
        let mut blocks = Blocks::of(text);
        assert_eq!(blocks.paragraphs, ["It works:\nso do it."]);
        assert_eq!(blocks.take_examples(), [("Examples", vec!["a", "  b", "", "c"])]);
        let files = blocks.take("Files");
        let pair = |term: &str, text: &str| (term.to_owned(), text.to_owned());
        assert_eq!(entries(&files), [pair("one", "The first, and more"), pair("two", "The second")]);
        assert_eq!((blocks.headed.len(), blocks.take("Files").len()), (0, 0));
    }
}
