//! The user's files that several commands change, apart from ssh's.

pub(crate) mod config;
pub(crate) mod tokens;
