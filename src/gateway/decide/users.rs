//! The users that certificates of clients stand for, where no Host names a user.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use crate::sys;
use crate::text::excerpt;

/// Largest file accepted, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// From the name in a certificate to a user.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Users(HashMap<String, Arc<str>>);

/// Why a file is no list of users.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UsersError {
    #[error("it can't be read")]
    Read(#[from] io::Error),
    #[error("it is larger than {} KiB", .0 / 1024)]
    TooLarge(u64),
    #[error("line {line}: {why}")]
    Line { line: usize, why: String },
}

impl Users {
    /// Reads a file with one `NAME USER` a line. The name may have blanks in it.
    pub(crate) fn read(path: &Path) -> Result<Self, UsersError> {
        let mut text = String::new();
        sys::open_regular(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
        if text.len() as u64 > MAX_FILE {
            return Err(UsersError::TooLarge(MAX_FILE));
        }
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, UsersError> {
        let mut users = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let wrong = |why| UsersError::Line { line: index + 1, why };
            let (name, user) = line
                .rsplit_once(char::is_whitespace)
                .ok_or_else(|| wrong(format!("`{}` has no user behind it", excerpt(line))))?;
            let name = name.trim();
            if users.insert(name.to_owned(), Arc::from(excerpt(user))).is_some() {
                return Err(wrong(format!("`{}` is there a second time", excerpt(name))));
            }
        }
        Ok(Self(users))
    }

    /// The user whose certificate has this name.
    pub(crate) fn named(&self, name: &str) -> Option<Arc<str>> {
        self.0.get(name).map(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_name_and_a_user() {
        let users = Users::parse("# of the lab\n\nalice.laptop alice # old\n  Bob of the lab\tbob  \n").unwrap();
        assert_eq!(users.named("alice.laptop").as_deref(), Some("alice"));
        assert_eq!(users.named("Bob of the lab").as_deref(), Some("bob"));
        assert_eq!(users.named("bob"), None);
        for (text, why) in [
            ("a b\nalice\n", "line 2: `alice` has no user behind it"),
            ("a b\na c\n", "line 2: `a` is there a second time"),
        ] {
            assert_eq!(Users::parse(text).unwrap_err().to_string(), why);
        }
        assert!(matches!(Users::read(Path::new("/nonexistent")), Err(UsersError::Read(_))));
    }
}
