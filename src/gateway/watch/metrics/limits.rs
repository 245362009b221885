//! The limits in force, and how much of each is used.

use super::page::{Page, name};
use crate::gateway::limits::{Kind, Limits};

pub(super) fn write(page: &mut Page, limits: &Limits) {
    let label = |name| [("limit", name)];
    let heads = limits.heads.all();
    let most = Kind::ALL.iter().map(|&kind| (label(kind.name()), limits.most(kind) as f64));
    let most = most.chain(heads.iter().map(|limit| (label(limit.name), limit.most as f64)));
    page.gauges(name!("limit"), "The limits in force.", most);
    // The limits of one request have no use to show: each request has them to itself.
    let used = Kind::ALL.iter().map(|&kind| (label(kind.name()), limits.used(kind) as f64));
    page.gauges(name!("limit_used"), "How much of each limit is used.", used);
    let met = Kind::ALL.iter().map(|&kind| (label(kind.name()), limits.refused(kind)));
    let met = met.chain(heads.iter().map(|limit| (label(limit.name), limit.exceeded)));
    page.counter(name!("limit_met_total"), "Connections refused, or dropped for others, by each limit.", met);
}
