//! Rust source as tokens: enough to follow paths and to count the lines of functions.

/// One word or sign of a source file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    /// The line it is on, from 1.
    pub(crate) line: usize,
}

/// The words and signs of `source`, without comments, literals and lifetimes, and without the items that only tests
/// have.
pub(crate) fn production(source: &str) -> Vec<Token> {
    without_tests(&all(source))
}

fn all(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let (mut tokens, mut index, mut line) = (Vec::new(), 0, 1);
    while index < chars.len() {
        let start = index;
        match at(index) {
            '/' if at(index + 1) == '/' => {
                while index < chars.len() && at(index) != '\n' {
                    index += 1;
                }
            }
            '/' if at(index + 1) == '*' => index = end_of_block_comment(&chars, index),
            '"' => index = end_of_string(&chars, index),
            'r' | 'b' | 'c' if end_of_prefixed(&chars, index).is_some() => {
                index = end_of_prefixed(&chars, index).unwrap_or(index + 1);
            }
            '\'' => index = end_of_quote(&chars, index),
            c if c.is_alphanumeric() || c == '_' => {
                while at(index).is_alphanumeric() || at(index) == '_' {
                    index += 1;
                }
                tokens.push(Token { text: chars[start..index].iter().collect(), line });
            }
            ':' if at(index + 1) == ':' => {
                index += 2;
                tokens.push(Token { text: "::".to_owned(), line });
            }
            c if c.is_whitespace() => index += 1,
            c => {
                index += 1;
                tokens.push(Token { text: c.to_string(), line });
            }
        }
        line += chars[start..index].iter().filter(|&&c| c == '\n').count();
    }
    tokens
}

fn end_of_block_comment(chars: &[char], start: usize) -> usize {
    let (mut depth, mut index) = (0, start);
    while index < chars.len() {
        match (chars[index], chars.get(index + 1)) {
            ('/', Some('*')) => (depth, index) = (depth + 1, index + 2),
            ('*', Some('/')) => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            break;
        }
    }
    index
}

fn end_of_string(chars: &[char], start: usize) -> usize {
    let mut index = start + 1;
    while index < chars.len() && chars[index] != '"' {
        index += if chars[index] == '\\' { 2 } else { 1 };
    }
    index + 1
}

/// The end of a raw string or of a byte string at `start`, if there is one.
fn end_of_prefixed(chars: &[char], start: usize) -> Option<usize> {
    let prefix = chars[start..].iter().take_while(|c| c.is_alphanumeric()).count();
    let prefix: String = chars[start..start + prefix].iter().collect();
    let mut index = start + prefix.len();
    match (prefix.as_str(), chars.get(index)) {
        ("b" | "c", Some('"')) => Some(end_of_string(chars, index)),
        ("b", Some('\'')) => Some(end_of_quote(chars, index)),
        ("r" | "br" | "cr", Some('"' | '#')) => {
            let hashes = chars[index..].iter().take_while(|&&c| c == '#').count();
            index += hashes;
            if chars.get(index) != Some(&'"') {
                return None;
            }
            loop {
                index += 1;
                let closed = chars.get(index)? == &'"' && chars[index + 1..].iter().take(hashes).all(|&c| c == '#');
                if closed {
                    return Some(index + 1 + hashes);
                }
            }
        }
        _ => None,
    }
}

/// The end of a character or of a lifetime.
fn end_of_quote(chars: &[char], start: usize) -> usize {
    match (chars.get(start + 1), chars.get(start + 2)) {
        (Some('\\'), _) => {
            let mut index = start + 3;
            while index < chars.len() && chars[index] != '\'' {
                index += 1;
            }
            index + 1
        }
        (Some(_), Some('\'')) => start + 3,
        _ => start + 1,
    }
}

/// Drops the items that only tests have.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let (mut kept, mut index) = (Vec::new(), 0);
    while index < tokens.len() {
        let attribute = is(tokens, index, &["#", "["]).then(|| end_of_group(tokens, index + 1));
        match attribute {
            Some(end) if is_for_tests(&tokens[index..]) => index = end_of_item(tokens, end),
            _ => {
                kept.push(tokens[index].clone());
                index += 1;
            }
        }
    }
    kept
}

/// Whether an attribute keeps an item for tests: `#[cfg(test)]`, or `#[cfg(all(test, …))]`.
fn is_for_tests(attribute: &[Token]) -> bool {
    let conditions = [&["test", ")"][..], &["all", "(", "test", ","]];
    is(attribute, 0, &["#", "[", "cfg", "("]) && conditions.iter().any(|condition| is(attribute, 4, condition))
}

pub(crate) fn is(tokens: &[Token], index: usize, texts: &[&str]) -> bool {
    texts.iter().enumerate().all(|(at, text)| tokens.get(index + at).is_some_and(|token| token.text == *text))
}

/// The index behind the group that opens at `open`.
pub(crate) fn end_of_group(tokens: &[Token], open: usize) -> usize {
    let (mut depth, mut index) = (0_usize, open);
    while index < tokens.len() {
        match tokens[index].text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        index += 1;
        if depth == 0 {
            break;
        }
    }
    index
}

/// The index behind the item, statement, variant or arm at `start`.
fn end_of_item(tokens: &[Token], start: usize) -> usize {
    const KEYWORDS: [&str; 14] = [
        "pub",
        "fn",
        "mod",
        "impl",
        "struct",
        "enum",
        "const",
        "static",
        "use",
        "async",
        "unsafe",
        "trait",
        "type",
        "macro_rules",
    ];
    let mut index = start;
    while is(tokens, index, &["#", "["]) {
        index = end_of_group(tokens, index + 1);
    }
    let keyword = tokens.get(index).map(|token| token.text.as_str()).unwrap_or_default();
    let (is_item, is_use) = (KEYWORDS.contains(&keyword), is_use(tokens, index));
    while index < tokens.len() {
        match tokens[index].text.as_str() {
            ";" => return index + 1,
            "," if !is_item => return index + 1,
            "}" | ")" | "]" => return index,
            "{" if !is_use => return end_of_group(tokens, index),
            "(" | "[" | "{" => index = end_of_group(tokens, index),
            _ => index += 1,
        }
    }
    index
}

/// Whether a `use` stands at `index`, with or without a visibility.
fn is_use(tokens: &[Token], index: usize) -> bool {
    let visibility = match is(tokens, index, &["pub", "("]) {
        true => end_of_group(tokens, index + 1),
        false => index + usize::from(is(tokens, index, &["pub"])),
    };
    is(tokens, visibility, &["use"])
}
