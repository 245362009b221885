//! One row for each tunnel, out of all its lines.
//!
//! The line of its end tells everything, so the line of its start only matters as long as there is no end. A tunnel that is
//! handed over ends in another process, under the same number and with the same first client.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use super::line::{Event, Row};

/// Most tunnels that are held as open. Beyond that, the earliest one counts as one without an end.
pub(super) const MOST_OPEN: usize = 1_000_000;

/// The tunnel that a line is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Key {
    Of(u32, u64),
    /// On the way from one process to another.
    HandedOver(u64, SocketAddr),
}

/// The tunnels that are open.
#[derive(Default)]
pub(super) struct Pairing {
    /// In the order of their starts.
    open: BTreeMap<u64, (Key, Row)>,
    at: HashMap<Key, u64>,
    count: u64,
}

impl Pairing {
    /// Takes a line. Returns the rows that are whole now.
    pub(super) fn take(&mut self, row: Row) -> Vec<Row> {
        match (row.event, row.tunnel) {
            (Event::Opened, Some((process, session))) => self.open(Key::Of(process, session), row),
            (Event::HandedOver, Some((process, session))) => match self.close(Key::Of(process, session)) {
                Some(opened) => self.open(Key::HandedOver(session, opened.client), opened),
                None => Vec::new(),
            },
            (Event::Closed, Some((process, session))) => {
                let own = self.close(Key::Of(process, session));
                own.or_else(|| self.close(Key::HandedOver(session, row.client)));
                vec![row]
            }
            (Event::Closed | Event::Opened | Event::Refused, _) => vec![row],
            (Event::Parked | Event::Resumed | Event::HandedOver, _) => Vec::new(),
        }
    }

    /// A tunnel is open from now on. Returns one that has lost its end: another process has got the same number, or there
    /// are too many.
    fn open(&mut self, key: Key, row: Row) -> Vec<Row> {
        let mut lost: Vec<Row> = self.close(key).into_iter().collect();
        self.count += 1;
        self.at.insert(key, self.count);
        self.open.insert(self.count, (key, row));
        if self.open.len() > MOST_OPEN
            && let Some((_, (key, row))) = self.open.pop_first()
        {
            self.at.remove(&key);
            lost.push(row);
        }
        lost
    }

    fn close(&mut self, key: Key) -> Option<Row> {
        let at = self.at.remove(&key)?;
        self.open.remove(&at).map(|(_, row)| row)
    }

    /// The sessions that are left, in the order of their starts.
    pub(super) fn into_open(self) -> impl Iterator<Item = Row> {
        self.open.into_values().map(|(_, row)| row)
    }
}
