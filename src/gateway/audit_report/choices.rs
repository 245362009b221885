//! What can be chosen on the command line.

use clap::ValueEnum;

/// Stands for a missing value.
pub(super) const NONE: &str = "-";

/// The form of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    Table,
    Json,
    Csv,
}

/// What sums are made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum By {
    User,
    Vps,
    Client,
    Node,
    Reason,
}

impl By {
    /// The header of its column.
    pub(super) fn header(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Vps => "vps",
            Self::Client => "client",
            Self::Node => "node",
            Self::Reason => "reason",
        }
    }
}
