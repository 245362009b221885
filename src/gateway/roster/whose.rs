//! The tunnels that a caller may see, by their users.

use std::sync::Arc;

/// The tunnels that a caller may see and end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Whose {
    /// All of them.
    Everybodys,
    /// The tunnels of this user.
    Of(Arc<str>),
}

impl Whose {
    /// Whether a tunnel of `user` is among them. A tunnel without a user is nobody's.
    pub(super) fn include(&self, user: Option<&str>) -> bool {
        match self {
            Self::Everybodys => true,
            Self::Of(own) => user == Some(&**own),
        }
    }
}
