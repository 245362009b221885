//! The choices of the command line: the form of a report, and the field of its sums.

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

/// The field by which rows are summed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum By {
    User,
    Vps,
    Client,
    Node,
    Reason,
}

/// A choice as it is typed.
pub(super) fn typed(choice: &impl ValueEnum) -> String {
    choice.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
