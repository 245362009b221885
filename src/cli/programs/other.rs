//! The other programs of this package, as far as this one prints their manual and their completions.

/// Another program of this package.
pub struct OtherProgram {
    /// Its command line.
    pub definition: clap::Command,
    /// The section of the manual that its page belongs to.
    pub section: &'static str,
}
