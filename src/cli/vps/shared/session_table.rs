//! Sessions as a table, once or again and again with the rates between.

use std::collections::HashMap;
use std::time::Instant;

use crate::api::Tunnel;
use crate::cli::terminal::table::{Column, table_of};
use crate::cli::terminal::ui::Look;
use crate::terminal::size;

const CLUSTER: Column = Column::whole("CLUSTER", 2);
const ID: Column = Column::whole("ID", 0);
const USER: Column = Column::cut("USER", 3, 16);
const VPS: Column = Column::whole("VPS", 1);
const NAME: Column = Column::cut("NAME", 2, 32);
const SINCE: Column = Column::whole("SINCE", 4);
/// How often the client has continued a tunnel, and for how long it is away. Shown if there is such a tunnel.
const MOVES: Column = Column::whole("MOVES", 5);
const UP: Column = Column::whole("UP", 8);
const UP_RATE: Column = Column::whole("UP/S", 6);
const DOWN: Column = Column::whole("DOWN", 7);
const DOWN_RATE: Column = Column::whole("DOWN/S", 5);
const NODE: Column = Column::cut("NODE", 10, 16);
// The address tells sessions without a user apart. It is dropped before the byte counts: a Host with users fills USER.
const CLIENT: Column = Column::whole("CLIENT", 9);

/// A session to show.
#[derive(Clone, Copy)]
pub(crate) struct Row<'r> {
    pub(crate) tunnel: &'r Tunnel,
    /// Its cluster, where those of several are shown.
    pub(crate) cluster: Option<&'r str>,
    /// Whether its number has the name of its gateway before it.
    pub(crate) names_gateway: bool,
    /// Bytes per second, up and down, where rates are shown; `None` in it until there are two samples.
    pub(crate) rates: Option<Option<(u64, u64)>>,
}

impl Row<'_> {
    /// The value for `--end`.
    pub(crate) fn id(&self) -> String {
        if self.names_gateway { self.tunnel.which().to_string() } else { self.tunnel.id.to_string() }
    }

    fn cells(&self, has_moves: bool) -> Vec<(Column, String)> {
        let tunnel = self.tunnel;
        let mut cells = Vec::new();
        if let Some(cluster) = self.cluster {
            cells.push((CLUSTER, cluster.to_owned()));
        }
        cells.extend([
            (ID, self.id()),
            (USER, tunnel.user.clone().unwrap_or_default()),
            (VPS, tunnel.vps.to_string()),
            (NAME, tunnel.name.clone().unwrap_or_default()),
            (SINCE, since(tunnel.seconds)),
        ]);
        if has_moves {
            cells.push((MOVES, moves(tunnel)));
        }
        cells.push((UP, size(tunnel.bytes_up)));
        if let Some(rates) = self.rates {
            cells.push((UP_RATE, rate(rates.map(|(up, _)| up))));
        }
        cells.push((DOWN, size(tunnel.bytes_down)));
        if let Some(rates) = self.rates {
            cells.push((DOWN_RATE, rate(rates.map(|(_, down)| down))));
        }
        cells.extend([(NODE, tunnel.node.clone()), (CLIENT, tunnel.client.clone())]);
        cells
    }
}

/// The table of these sessions, of which there is one at least.
pub(crate) fn table(rows: &[Row<'_>], look: Look) -> String {
    let has_moves = rows.iter().any(|row| has_moved(row.tunnel));
    let (mut columns, mut lines) = (Vec::new(), Vec::new());
    for row in rows {
        let (headers, cells): (Vec<_>, Vec<_>) = row.cells(has_moves).into_iter().unzip();
        columns = headers;
        lines.push(cells);
    }
    table_of(&columns, &lines, look)
}

/// Whether a tunnel has lost its first connection.
fn has_moved(tunnel: &Tunnel) -> bool {
    tunnel.moves > 0 || tunnel.parked_seconds.is_some()
}

fn moves(tunnel: &Tunnel) -> String {
    match tunnel.parked_seconds {
        Some(seconds) => format!("{}, away {}", tunnel.moves, since(seconds)),
        None if tunnel.moves > 0 => tunnel.moves.to_string(),
        None => String::new(),
    }
}

/// The byte counts of all sessions at one moment.
pub(crate) struct Sample {
    at: Instant,
    bytes: HashMap<String, (u64, u64)>,
}

impl Sample {
    pub(crate) fn of(rows: &[Row<'_>]) -> Self {
        let bytes = rows.iter().map(|row| (key(row), (row.tunnel.bytes_up, row.tunnel.bytes_down))).collect();
        Self { at: Instant::now(), bytes }
    }

    /// Bytes per second of a session since this sample, up and down. A new one counts from zero.
    pub(crate) fn rates(&self, row: &Row<'_>, now: Instant) -> (u64, u64) {
        let (up, down) = self.bytes.get(&key(row)).copied().unwrap_or_default();
        let seconds = now.duration_since(self.at).as_secs_f64().max(0.001);
        let rate = |now: u64, then: u64| (now.saturating_sub(then) as f64 / seconds) as u64;
        (rate(row.tunnel.bytes_up, up), rate(row.tunnel.bytes_down, down))
    }
}

/// The key of a session: no other one of any cluster has the same.
fn key(row: &Row<'_>) -> String {
    format!("{} {}", row.cluster.unwrap_or_default(), row.tunnel.which())
}

/// A duration in its two largest units.
pub(crate) fn since(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {}s", seconds % 60),
        3600..86_400 => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// A rate; empty until there are two samples.
fn rate(count: Option<u64>) -> String {
    count.map(|count| format!("{}/s", size(count))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tunnel_tests::listed;
    use serde_json::json;
    use std::time::Duration;

    fn row(tunnel: &Tunnel) -> Row<'_> {
        Row { tunnel, cluster: None, names_gateway: false, rates: None }
    }

    fn once_table(tunnels: &[Tunnel]) -> String {
        table(&tunnels.iter().map(row).collect::<Vec<_>>(), Look::PLAIN)
    }

    fn watched_table(tunnels: &[Tunnel], rates: Option<(u64, u64)>) -> String {
        let rows: Vec<_> = tunnels.iter().map(|tunnel| Row { rates: Some(rates), ..row(tunnel) }).collect();
        table(&rows, Look::PLAIN)
    }

    #[test]
    fn sessions_are_listed_in_a_table() {
        let tunnels = [
            listed(json!({ "bytes_down": 123_456_789 })),
            listed(json!({ "id": 12, "user": null, "name": null, "seconds": 90_061 })),
        ];
        assert_eq!(
            once_table(&tunnels),
            "ID  USER   VPS                  NAME     SINCE  UP   DOWN       NODE   CLIENT\n\
             7   alice  7323718749301768192  trainer  1m 1s  3 B  117.7 MiB  node1  10.0.0.9:51234\n\
             12  -      7323718749301768192  -        1d 1h  3 B  5 B        node1  10.0.0.9:51234\n"
        );
    }

    #[test]
    fn a_number_has_its_gateway_and_its_cluster_beside_it_where_there_are_several() {
        let tunnels = [listed(json!({ "gateway": "gw2" })), listed(json!({ "gateway": "gw1" }))];
        let rows: Vec<_> = tunnels.iter().map(|tunnel| Row { names_gateway: true, ..row(tunnel) }).collect();
        let shown = table(&rows, Look::PLAIN);
        assert!(
            shown.starts_with("ID     USER ") && shown.contains("\ngw2/7  alice  7323718749301768192  trainer"),
            "{shown}"
        );
        let rows: Vec<_> = rows.into_iter().map(|row| Row { cluster: Some("lab"), ..row }).collect();
        let shown = table(&rows, Look::PLAIN);
        assert!(shown.starts_with("CLUSTER  ID ") && shown.contains("\nlab      gw2/7  alice"), "{shown}");
    }

    #[test]
    fn a_tunnel_that_has_moved_shows_so_and_one_that_is_away_since_when() {
        let tunnels = [
            listed(json!({ "parked_seconds": null, "moves": 0 })),
            listed(json!({ "id": 8, "parked_seconds": null, "moves": 3 })),
            listed(json!({ "id": 9, "parked_seconds": 72, "moves": 0 })),
        ];
        assert_eq!(
            once_table(&tunnels),
            "ID  USER   VPS                  NAME     SINCE  MOVES           UP   DOWN  NODE   CLIENT\n\
             7   alice  7323718749301768192  trainer  1m 1s  -               3 B  5 B   node1  10.0.0.9:51234\n\
             8   alice  7323718749301768192  trainer  1m 1s  3               3 B  5 B   node1  10.0.0.9:51234\n\
             9   alice  7323718749301768192  trainer  1m 1s  0, away 1m 12s  3 B  5 B   node1  10.0.0.9:51234\n"
        );
        let watched = watched_table(&tunnels, None);
        assert!(
            watched.contains("  SINCE  MOVES           UP ") && watched.contains("1m 1s  0, away 1m 12s  3 B"),
            "{watched}"
        );
        assert!(!once_table(&tunnels[..1]).contains("MOVES"));
        assert!(!watched_table(&tunnels[..1], None).contains("MOVES"));
    }

    #[test]
    fn rates_count_from_the_last_sample() {
        let first = [listed(json!({ "bytes_up": 1000, "bytes_down": 0 }))];
        let before = Sample::of(&[row(&first[0])]);
        let later = before.at + Duration::from_secs(2);
        let now = listed(json!({ "bytes_up": 5000, "bytes_down": 4096 }));
        assert_eq!(before.rates(&row(&now), later), (2000, 2048));
        let new = listed(json!({ "id": 8, "bytes_up": 4, "bytes_down": 0 }));
        assert_eq!(before.rates(&row(&new), later), (2, 0));
        let elsewhere = listed(json!({ "gateway": "gw2", "bytes_up": 6, "bytes_down": 0 }));
        assert_eq!(before.rates(&row(&elsewhere), later), (3, 0));
        let shown = watched_table(std::slice::from_ref(&now), Some((2000, 2048)));
        assert!(shown.contains("4.9 KiB  2.0 KiB/s  4.0 KiB  2.0 KiB/s"), "{shown}");
        let shown = watched_table(&[now], None);
        assert!(shown.contains("4.9 KiB  -     4.0 KiB  -"), "{shown}");
    }

    #[test]
    fn times_have_two_units() {
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m 0s"),
            (3599, "59m 59s"),
            (3600, "1h 0m"),
            (86_399, "23h 59m"),
            (86_400, "1d 0h"),
            (1_000_000, "11d 13h"),
        ] {
            assert_eq!(since(seconds), expected);
        }
    }
}
