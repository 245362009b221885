//! What a finding must not tell when it is pasted somewhere: the token, and where the user's home is.

use std::path::Path;

use crate::secret::Token;

/// Takes what is private out of texts.
pub(super) struct Conceal {
    home: Option<String>,
    token: Option<Token>,
}

impl Conceal {
    pub(super) fn new(home: Option<&Path>, token: Option<&Token>) -> Self {
        // A home of `/` would turn every path into one of the home.
        let home = home.and_then(Path::to_str).map(|home| home.trim_end_matches('/')).filter(|home| !home.is_empty());
        Self { home: home.map(str::to_owned), token: token.cloned() }
    }

    /// `text` without the token, wherever it may have come from.
    pub(super) fn token(&self, text: &str) -> String {
        match &self.token {
            Some(token) => text.replace(token.expose(), "…"),
            None => text.to_owned(),
        }
    }

    /// [`Conceal::token`], with `~` for the home directory.
    pub(super) fn all(&self, text: &str) -> String {
        let text = self.token(text);
        let Some(home) = &self.home else { return text };
        let mut shown = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find(home.as_str()) {
            let behind = &rest[at + home.len()..];
            // `/home/al` is no part of `/home/alice`.
            let ends = behind.chars().next().is_none_or(|c| !c.is_alphanumeric() && !"_-.".contains(c));
            shown += &rest[..at];
            shown += if ends { "~" } else { home };
            rest = behind;
        }
        shown + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_the_token_nor_the_home_is_told() {
        let token = Token::new("sekrit").unwrap();
        let conceal = Conceal::new(Some(Path::new("/home/al")), Some(&token));
        assert_eq!(
            conceal.all("/home/al/.ssh/k is sekrit, '/home/al'; /home/alice, /home/al"),
            "~/.ssh/k is …, '~'; /home/alice, ~"
        );
        assert_eq!(conceal.token("/home/al/k sekrit"), "/home/al/k …");
        assert_eq!(Conceal::new(Some(Path::new("/")), None).all("/a/b"), "/a/b");
    }
}
