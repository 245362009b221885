//! One limit, and how often it was met.

use std::sync::atomic::{AtomicU64, Ordering};

/// The source of a limit's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SetBy {
    /// The limit's own option.
    Option,
    /// A part of another option's number, by default: `half of --max-tunnels`.
    PartOf(&'static str),
    /// The limit of open files, which allows no more.
    OpenFiles,
}

/// The number of a limit, and its source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Most {
    pub(crate) number: usize,
    pub(crate) set_by: SetBy,
}

impl From<usize> for Most {
    fn from(number: usize) -> Self {
        Self { number, set_by: SetBy::Option }
    }
}

/// A limit in force.
pub(crate) struct Limit {
    name: &'static str,
    pub(crate) most: Most,
    met: AtomicU64,
}

/// A limit, as metrics show it.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Shown {
    /// Its name.
    pub(crate) name: &'static str,
    pub(crate) most: usize,
    /// How much of it is used now. For a limit per client or per user: the most that any of them uses. A limit of one
    /// request has no use to show: each request has it to itself.
    pub(crate) used: Option<usize>,
    /// How many connections were refused or dropped for another, or parked tunnels ended, because of it so far.
    pub(crate) met: u64,
}

impl Limit {
    pub(super) fn new(name: &'static str, most: impl Into<Most>) -> Self {
        Self { name, most: most.into(), met: AtomicU64::new(0) }
    }

    /// Counts a connection that is refused or dropped for another, or a parked tunnel that ends, because of it.
    pub(crate) fn meet(&self) {
        self.met.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn shown(&self, used: Option<usize>) -> Shown {
        Shown { name: self.name, most: self.most.number, used, met: self.met.load(Ordering::Relaxed) }
    }
}
