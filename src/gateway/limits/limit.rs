//! One limit, and how often it was met.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a limit follows from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SetBy {
    /// Its option.
    Option,
    /// Another option, whose part it is by default.
    PartOf(&'static str),
    /// The limit of open files, which allows no more.
    OpenFiles,
}

/// A number, and what it follows from.
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
pub(super) struct Limit {
    name: &'static str,
    pub(super) most: usize,
    set_by: SetBy,
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
    /// How many connections were refused, or dropped for another, because of it so far.
    pub(crate) met: u64,
}

impl Limit {
    pub(super) fn new(name: &'static str, most: impl Into<Most>) -> Self {
        let Most { number, set_by } = most.into();
        Self { name, most: number, set_by, met: AtomicU64::new(0) }
    }

    /// Its number, and what it follows from.
    pub(super) fn of(&self) -> Most {
        Most { number: self.most, set_by: self.set_by }
    }

    /// Counts a connection that is refused, or dropped for another, because of it.
    pub(super) fn meet(&self) {
        self.met.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn shown(&self, used: Option<usize>) -> Shown {
        Shown { name: self.name, most: self.most, used, met: self.met.load(Ordering::Relaxed) }
    }
}
