//! The tunnels that a caller may see, by their users.

use std::sync::Arc;

/// The tunnels that a caller may see and end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// All of them.
    All,
    /// The tunnels of this user.
    User(Arc<str>),
}

impl Scope {
    /// Whether a tunnel of `user` is among them. A tunnel without a user belongs to no user.
    pub(super) fn includes(&self, user: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::User(own) => user == Some(&**own),
        }
    }
}
