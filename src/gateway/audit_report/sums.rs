//! Sums for each user, VPS, client, Runner or reason.

use std::collections::HashMap;

use super::choices::{By, NONE};
use super::line::{Event, Row};

/// Most groups that are kept apart. What comes later counts as [`OTHERS`]: a scan may have any number of addresses.
pub(super) const MOST_GROUPS: usize = 1_000_000;
/// The name of the group of all others.
const OTHERS: &str = "(others)";

/// The sums of one group.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct Sum {
    /// The VPS's name.
    pub(super) name: Option<String>,
    pub(super) sessions: u64,
    /// Sessions without an end.
    pub(super) open: u64,
    pub(super) refused: u64,
    pub(super) seconds: f64,
    pub(super) longest: f64,
    pub(super) bytes_up: u64,
    pub(super) bytes_down: u64,
}

impl Sum {
    fn add(&mut self, row: &Row) {
        if row.event == Event::Refused {
            self.refused += 1;
        } else {
            self.sessions += 1;
            self.open += u64::from(row.closed.is_none());
        }
        let seconds = row.seconds.unwrap_or_default();
        self.seconds += seconds;
        self.longest = self.longest.max(seconds);
        self.bytes_up = self.bytes_up.saturating_add(row.bytes_up);
        self.bytes_down = self.bytes_down.saturating_add(row.bytes_down);
    }
}

/// All groups.
pub(super) struct Sums {
    pub(super) by: By,
    groups: HashMap<String, Sum>,
    pub(super) total: Sum,
}

impl Sums {
    pub(super) fn new(by: By) -> Self {
        Self { by, groups: HashMap::new(), total: Sum::default() }
    }

    pub(super) fn add(&mut self, row: &Row) {
        self.total.add(row);
        let address;
        let key = match self.by {
            By::User => row.user.as_deref(),
            By::Vps => row.task_id.as_deref().or(row.name.as_deref()),
            By::Client => {
                address = row.address().to_string();
                Some(address.as_str())
            }
            By::Node => row.node.as_deref(),
            By::Reason => row.reason.as_deref(),
        };
        let mut key = key.unwrap_or(NONE);
        let is_full = self.groups.len() >= MOST_GROUPS;
        if !self.groups.contains_key(key) {
            key = if is_full { OTHERS } else { key };
            self.groups.entry(key.to_owned()).or_default();
        }
        let Some(sum) = self.groups.get_mut(key) else { return };
        sum.add(row);
        if self.by == By::Vps && row.task_id.is_some() && row.name != sum.name && row.name.is_some() {
            sum.name.clone_from(&row.name);
        }
    }

    /// The groups, those with most sessions first.
    pub(super) fn into_groups(self) -> Vec<(String, Sum)> {
        let mut groups: Vec<_> = self.groups.into_iter().collect();
        groups.sort_by(|(a, one), (b, other)| {
            (other.sessions, other.refused).cmp(&(one.sessions, one.refused)).then_with(|| a.cmp(b))
        });
        groups
    }
}
