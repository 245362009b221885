//! The source text of a manual page: the few requests of man(7) that our pages need, and the escapes of roff(7).

/// Keeps two words on one line.
pub(super) const NO_BREAK: char = '\u{a0}';

/// A page that is being written.
pub(super) struct Roff(String);

impl Roff {
    /// Begins a page, without hyphenation and with a ragged right edge: readers copy words from it.
    pub(super) fn page(name: &str, section: &str, source: &str, manual: &str) -> Self {
        let quoted = |text: &str| format!("\"{}\"", escaped(text));
        // Not escaped: programs look the name up here.
        Self(format!(".TH {name} {section} \"\" {} {}\n.nh\n.ad l\n", quoted(source), quoted(manual)))
    }

    pub(super) fn section(&mut self, title: &str) {
        self.0 += &format!(".SH {}\n", escaped(title));
    }

    pub(super) fn subsection(&mut self, title: &str) {
        self.0 += &format!(".SS {}\n", escaped(title));
    }

    /// A paragraph at the left margin. A section's first needs no request, and `whatis` wants none in NAME.
    pub(super) fn paragraph(&mut self, text: &str) {
        let is_first = self.0.lines().next_back().is_some_and(|line| line.starts_with(".SH "));
        self.0 += if is_first { "" } else { ".PP\n" };
        self.0 += &format!("{}\n", line(text));
    }

    /// A term, and below it, indented, the paragraphs about it.
    pub(super) fn entry(&mut self, term: &str, text: &str) {
        let mut paragraphs = text.split("\n\n");
        let first = paragraphs.next().unwrap_or_default();
        self.0 += &format!(".TP\n{}\n{}\n", marked(term), line(first));
        for paragraph in paragraphs {
            self.0 += &format!(".IP\n{}\n", line(paragraph));
        }
    }

    /// Lines that stay as they are.
    pub(super) fn literal(&mut self, lines: &[&str]) {
        let body: String = lines.iter().map(|text| format!("{}\n", protected(&escaped(text)))).collect();
        self.0 += &format!(".PP\n.RS 4\n.nf\n{body}.fi\n.RE\n");
    }

    /// Text with options in bold and values in italics.
    pub(super) fn synopsis(&mut self, name: &str, words: &[String]) {
        self.0 += &format!("\\fB{}\\fR\n", escaped(&name.replace(' ', &NO_BREAK.to_string())));
        for word in words {
            self.0 += &format!("{}\n", marked(&word.replace(' ', &NO_BREAK.to_string())));
        }
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Text on one line; words between backticks are bold.
fn line(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let parts: Vec<&str> = text.split('`').collect();
    // An odd count of backticks means something else.
    if parts.len().is_multiple_of(2) {
        return protected(&escaped(&text));
    }
    let part = |(index, part): (usize, &&str)| match index % 2 {
        0 => escaped(part),
        _ => format!("\\fB{}\\fR", escaped(part)),
    };
    protected(&parts.iter().enumerate().map(part).collect::<String>())
}

/// An option or argument: words that begin with `-` are bold, values in `<>` are italic and lose the brackets.
fn marked(text: &str) -> String {
    let mut marked = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        // A dash inside a word, such as a file name, begins no option.
        let begins_a_word = !text[..text.len() - rest.len()].ends_with(|c: char| c.is_alphanumeric());
        let (piece, font, shown) = match c {
            '-' if begins_a_word => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(rest.len());
                (&rest[..end], 'B', &rest[..end])
            }
            '<' => {
                let end = closing(rest);
                (&rest[..end], 'I', rest[1..end].trim_end_matches('>'))
            }
            _ => {
                let end = rest[c.len_utf8()..].find(['-', '<']).map_or(rest.len(), |end| end + c.len_utf8());
                (&rest[..end], 'R', &rest[..end])
            }
        };
        rest = &rest[piece.len()..];
        match font {
            'R' => marked += &escaped(shown),
            font => marked += &format!("\\f{font}{}\\fR", escaped(shown)),
        }
    }
    protected(&marked)
}

/// The end of the value that begins `text`.
fn closing(text: &str) -> usize {
    text.find('>').map_or(text.len(), |at| at + 1)
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\e"),
            '-' => escaped.push_str("\\-"),
            '\'' => escaped.push_str("\\(aq"),
            '`' => escaped.push_str("\\(ga"),
            '^' => escaped.push_str("\\(ha"),
            '~' => escaped.push_str("\\(ti"),
            '"' => escaped.push_str("\\(dq"),
            NO_BREAK => escaped.push_str("\\ "),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A line that begins with a dot would be a request.
fn protected(line: &str) -> String {
    if line.starts_with('.') { format!("\\&{line}") } else { line.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_can_be_no_request_and_no_escape() {
        for (text, expected) in [
            (".so /etc/passwd", "\\&.so /etc/passwd"),
            ("it's a\\b", "it\\(aqs a\\eb"),
            ("see `man -l -`\n  now", "see \\fBman \\-l \\-\\fR now"),
            ("one ` alone", "one \\(ga alone"),
        ] {
            assert_eq!(line(text), expected);
        }
    }

    #[test]
    fn options_are_bold_and_values_italic() {
        for (text, expected) in [
            ("-o, --output <FILE>", "\\fB\\-o\\fR, \\fB\\-\\-output\\fR \\fIFILE\\fR"),
            ("[--wait [<SECONDS>]]", "[\\fB\\-\\-wait\\fR [\\fISECONDS\\fR]]"),
            ("<HOST[:PORT]>", "\\fIHOST[:PORT]\\fR"),
            ("~/.ssh/id-kohakuriver-<id>", "\\(ti/.ssh/id\\-kohakuriver\\-\\fIid\\fR"),
            ("[-- <SSH ARGS>...]", "[\\fB\\-\\-\\fR \\fISSH ARGS\\fR...]"),
        ] {
            assert_eq!(marked(text), expected);
        }
    }
}
