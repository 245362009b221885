//! Why a dial fails.

use super::watch::Interrupted;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address, or the resolver failed.
    #[error("{0}")]
    Resolve(String),
    /// Every address failed; one line for each.
    #[error("{}", .0.join("; "))]
    Connect(Vec<String>),
    /// The wait was interrupted; one line for each address that was tried.
    #[error("{}", if matches!(.0, Interrupted::Deadline) && !.1.is_empty() { .1.join("; ") } else { .0.to_string() })]
    Interrupted(Interrupted, Vec<String>),
}
