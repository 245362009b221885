//! The limits in force and how much of each is used, as whoever keeps a limit tells when asked.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::{Page, name};

/// What the metrics know of the limits.
#[derive(Default)]
pub(crate) struct Limits(Mutex<Vec<Limit>>);

struct Limit {
    name: &'static str,
    most: u64,
    /// `None` of what is limited for each connection by itself.
    used: Option<Box<dyn Fn() -> u64 + Send + Sync>>,
    met: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl Limits {
    /// Shows the limit `name` of `most`; `used` tells at any time how much of it is used. Of a limit for each user or
    /// each address that is the most that any of them uses. `met` tells how often somebody came beyond it.
    pub(crate) fn show(
        &self,
        name: &'static str,
        most: u64,
        used: impl Fn() -> u64 + Send + Sync + 'static,
        met: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.push(Limit { name, most, used: Some(Box::new(used)), met: Box::new(met) });
    }

    /// The same of a limit for each connection by itself, of which there is no use to tell.
    pub(crate) fn show_of_each(&self, name: &'static str, most: u64, met: impl Fn() -> u64 + Send + Sync + 'static) {
        self.push(Limit { name, most, used: None, met: Box::new(met) });
    }

    fn push(&self, limit: Limit) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(limit);
    }

    pub(super) fn write(&self, page: &mut Page) {
        let limits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let most = limits.iter().map(|limit| ([("limit", limit.name)], limit.most as f64));
        page.gauges(name!("limit"), "The limits in force.", most);
        let used = limits.iter().filter_map(|limit| Some(([("limit", limit.name)], limit.used.as_ref()?() as f64)));
        page.gauges(name!("limit_used"), "How much of each limit is used.", used);
        let met = limits.iter().map(|limit| ([("limit", limit.name)], (limit.met)()));
        page.counter(name!("limit_met_total"), "Connections refused, or dropped for others, by each limit.", met);
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Limits")
    }
}
