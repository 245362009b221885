//! The limits in force, and how much of each is used.

use super::page::{Page, name};
use crate::gateway::limits::{Limits, Shown};

pub(super) fn write(page: &mut Page, limits: &Limits) {
    let limits: Vec<Shown> = limits.all().collect();
    let label = |limit: &Shown| [("limit", limit.name)];
    let most = limits.iter().map(|limit| (label(limit), limit.most));
    page.samples(name!("limit"), "The limits in force.", most);
    let used = limits.iter().filter_map(|limit| Some((label(limit), limit.used?)));
    page.samples(name!("limit_used"), "How much of each limit is used.", used);
    let met = limits.iter().map(|limit| (label(limit), limit.met));
    page.samples(name!("limit_met_total"), "Connections refused, or dropped for others, by each limit.", met);
}
