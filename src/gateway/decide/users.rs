//! The users that certificates of clients stand for, where no Host names a user.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::gateway::decide::list_file::{self, ListError};
use crate::text::excerpt;

/// From the name in a certificate to a user.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Users(HashMap<String, Arc<str>>);

impl Users {
    /// Reads a file with one `NAME USER` a line. The name may have blanks in it.
    pub(crate) fn read(path: &Path) -> Result<Self, ListError> {
        Self::parse(&list_file::read(path)?)
    }

    fn parse(text: &str) -> Result<Self, ListError> {
        let mut users = HashMap::new();
        list_file::each_entry(text, |entry| {
            let (name, user) = entry
                .rsplit_once(char::is_whitespace)
                .ok_or_else(|| format!("`{}` is a name without a user", excerpt(entry)))?;
            let name = name.trim();
            match users.insert(name.to_owned(), Arc::from(excerpt(user))) {
                None => Ok(()),
                Some(_) => Err(format!("`{}` is listed twice", excerpt(name))),
            }
        })?;
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
            ("a b\nalice\n", "line 2: `alice` is a name without a user"),
            ("a b\na c\n", "line 2: `a` is listed twice"),
        ] {
            assert_eq!(Users::parse(text).unwrap_err().to_string(), why);
        }
        assert!(matches!(Users::read(Path::new("/nonexistent")), Err(ListError::Read(_))));
    }
}
