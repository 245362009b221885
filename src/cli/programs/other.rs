//! The other programs of this package. This one prints their manual pages and their completions.

/// Another program of this package.
pub struct OtherProgram {
    /// Its command line.
    pub definition: clap::Command,
    /// The section of the manual that its page belongs to.
    pub section: &'static str,
}
