//! The filter of rows.

use super::arguments::Arguments;
use super::choices::NONE;
use super::line::{Event, Row};

/// Whether the command line asks for this row. An empty list asks for everything.
pub(super) fn matches(wanted: &Arguments, row: &Row) -> bool {
    is_in_time(wanted, row)
        && (wanted.event.is_empty() || wanted.event.contains(&row.event))
        && is_one(&wanted.user, [row.user.as_deref().unwrap_or(NONE)])
        && is_one(&wanted.node, row.node.as_deref())
        && is_one(&wanted.reason, row.reason.as_deref())
        && is_one(&wanted.vps, row.task_id.as_deref().into_iter().chain(row.name.as_deref()))
        && (wanted.client.is_empty() || wanted.client.iter().any(|network| network.contains(&row.address())))
}

fn is_in_time(wanted: &Arguments, row: &Row) -> bool {
    let is_of_one_line = wanted.is_by_line() || row.event != Event::Opened;
    // Without an end, the tunnel is open.
    let last = row.closed.or(is_of_one_line.then_some(row.opened));
    let is_over_before = wanted.since.is_some_and(|since| last.is_some_and(|last| last < since));
    let first = if wanted.is_by_line() { last } else { Some(row.opened) };
    !is_over_before && wanted.until.is_none_or(|until| first.is_none_or(|first| first <= until))
}

/// Whether one of `values` is wanted.
fn is_one<'v>(wanted: &[String], values: impl IntoIterator<Item = &'v str>) -> bool {
    wanted.is_empty() || values.into_iter().any(|value| wanted.iter().any(|wanted| wanted == value))
}
