//! Which rows are wanted.

use std::time::SystemTime;

use ipnet::IpNet;

use super::arguments::Arguments;
use super::choices::NONE;
use super::line::{Event, Row};

/// What the command line asks for. An empty list asks for everything.
pub(super) struct Filter {
    users: Vec<String>,
    vps: Vec<String>,
    nodes: Vec<String>,
    clients: Vec<IpNet>,
    events: Vec<Event>,
    reasons: Vec<String>,
    since: Option<SystemTime>,
    until: Option<SystemTime>,
}

impl Filter {
    pub(super) fn new(arguments: &Arguments) -> Self {
        Self {
            users: arguments.user.clone(),
            vps: arguments.vps.clone(),
            nodes: arguments.node.clone(),
            clients: arguments.client.clone(),
            events: arguments.event.clone(),
            reasons: arguments.reason.clone(),
            since: arguments.since,
            until: arguments.until,
        }
    }

    pub(super) fn matches(&self, row: &Row) -> bool {
        self.is_in_time(row)
            && (self.events.is_empty() || self.events.contains(&row.event))
            && is_one(&self.users, [row.user.as_deref().unwrap_or(NONE)])
            && is_one(&self.nodes, row.node.as_deref())
            && is_one(&self.reasons, row.reason.as_deref())
            && is_one(&self.vps, row.task_id.as_deref().into_iter().chain(row.name.as_deref()))
            && (self.clients.is_empty() || self.clients.iter().any(|network| network.contains(&row.address())))
    }

    fn is_in_time(&self, row: &Row) -> bool {
        let is_of_one_line = !self.events.is_empty() || row.event != Event::Opened;
        // Without an end, the tunnel is open.
        let last = row.closed.or(is_of_one_line.then_some(row.opened));
        let is_over_before = self.since.is_some_and(|since| last.is_some_and(|last| last < since));
        let first = if self.events.is_empty() { Some(row.opened) } else { last };
        !is_over_before && self.until.is_none_or(|until| first.is_none_or(|first| first <= until))
    }
}

/// Whether one of `values` is wanted.
fn is_one<'v>(wanted: &[String], values: impl IntoIterator<Item = &'v str>) -> bool {
    wanted.is_empty() || values.into_iter().any(|value| wanted.iter().any(|wanted| wanted == value))
}
