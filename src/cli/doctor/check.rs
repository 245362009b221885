//! The trait of a check. A check needs values of earlier checks, and gives a value to later ones.
//!
//! A check is a struct. Its fields are what the check needs; [`Check::Gives`] is what the check gives. A field of type
//! [`Given`] holds the value of an earlier check, or the reason why there is none. `?` on a missing value skips the
//! check, and the report says that reason.

use std::path::Path;

use super::finding::Verdict;

/// Longest name of a check: the text report has a column for the names.
pub(super) const MAX_NAME: usize = 12;

/// The value of an earlier check.
pub(super) type Given<T> = Result<T, Missing>;

/// Why there is no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Missing(pub(super) &'static str);

impl From<Missing> for Verdict {
    fn from(Missing(reason): Missing) -> Self {
        Self::Skipped(reason.to_owned())
    }
}

impl From<&Missing> for Verdict {
    fn from(missing: &Missing) -> Self {
        (*missing).into()
    }
}

pub(super) trait Check {
    /// The name in the report, which scripts may rely on.
    const NAME: &'static str;

    /// Whether the check is for one VPS. Without a VPS on the command line such a check does not run.
    const NEEDS_VPS: bool = false;

    /// The value for later checks.
    type Gives;

    /// The attempt of this check, with the values that it uses, for the report.
    fn tried(&self) -> String;

    /// Runs the check.
    ///
    /// # Errors
    /// The verdict of a check that gives nothing: a problem, or that a needed value is missing.
    fn examine(&self) -> Result<Examined<Self::Gives>, Verdict>;

    /// A home directory that the check found in the value it gives: the report must not show it.
    fn home(_given: &Self::Gives) -> Option<&Path> {
        None
    }
}

/// The result of a check.
pub(super) struct Examined<T> {
    pub(super) verdict: Verdict,
    pub(super) gives: Option<T>,
}

impl<T> Examined<T> {
    pub(super) fn giving(verdict: Verdict, value: T) -> Self {
        Self { verdict, gives: Some(value) }
    }
}

/// A check that gives nothing.
impl<T> From<Verdict> for Examined<T> {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, gives: None }
    }
}
