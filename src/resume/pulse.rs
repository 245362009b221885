//! When a connection counts as alive, doubtful or dead: times without I/O.
//!
//! The client asks, and the gateway answers. So one end alone wakes up for an idle tunnel, and both hear of each other.

use std::time::{Duration, Instant};

/// Silence before the client sends a keepalive (PING).
const ASK_AFTER: Duration = Duration::from_secs(15);
/// Silence before a keepalive while the peer has yet to acknowledge something: it may have no room for it, and can still
/// answer.
const ASK_BEFORE_DOUBT: Duration = Duration::from_secs(1);
/// Silence, although an answer is due, after which the client tries a second connection beside this one.
const DOUBT_AFTER: Duration = Duration::from_secs(3);
/// This silence right after a change of the network: the address of this end may be gone.
const DOUBT_AFTER_CHANGE: Duration = Duration::from_millis(300);
/// Silence after which the connection is dead.
const DEAD_AFTER: Duration = Duration::from_secs(45);

/// The end of a connection that this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Asks, and dials again.
    Client,
    /// Answers, and waits for the client.
    Gateway,
}

/// The next step for a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Alive,
    Ask,
    Doubtful,
    Dead,
}

/// The times of one connection.
pub(super) struct Pulse {
    role: Role,
    heard: Instant,
    /// Since when an answer is due, and how long it may take.
    due: Option<(Instant, Duration)>,
    /// The peer was asked since it was heard.
    pinged: bool,
    changed: Option<Change>,
}

/// A change of the network. Bytes that were on their way may still come, whatever has become of the connection.
struct Change {
    /// Until when they may.
    until: Instant,
    /// Whether any have come.
    heard: bool,
}

impl Pulse {
    pub(super) fn new(role: Role, now: Instant) -> Self {
        Self { role, heard: now, due: None, pinged: false, changed: None }
    }

    /// Bytes have come. An answer to something else may still be due.
    pub(super) fn note_heard(&mut self, now: Instant, is_due: bool) {
        self.heard = now;
        if let Some(changed) = &mut self.changed {
            changed.heard = true;
            return;
        }
        self.pinged = false;
        self.due = is_due.then_some((now, DOUBT_AFTER));
    }

    /// Something was sent that the peer has to acknowledge.
    pub(super) fn note_asked(&mut self, now: Instant) {
        self.due.get_or_insert((now, DOUBT_AFTER));
    }

    /// The peer was asked for an answer.
    pub(super) fn note_pinged(&mut self, now: Instant) {
        let limit = if self.changed.take().is_some() { DOUBT_AFTER_CHANGE } else { DOUBT_AFTER };
        (self.due, self.pinged) = (Some((now, limit)), true);
    }

    /// The network has changed, and the peer is asked because of that.
    pub(super) fn note_change(&mut self, now: Instant) {
        (self.due, self.pinged) = (Some((now, DOUBT_AFTER_CHANGE)), true);
        self.changed = Some(Change { until: now + DOUBT_AFTER_CHANGE, heard: false });
    }

    pub(super) fn verdict(&self, now: Instant) -> Verdict {
        let silence = now.saturating_duration_since(self.heard);
        let waits = |(since, limit): (Instant, Duration)| now.saturating_duration_since(since) >= limit;
        match (self.role, self.due) {
            _ if silence >= DEAD_AFTER => Verdict::Dead,
            (Role::Gateway, _) => Verdict::Alive,
            (Role::Client, _) if self.asks_again_at().is_some_and(|at| at <= now) => Verdict::Ask,
            (Role::Client, Some(due)) if self.pinged && waits(due) => Verdict::Doubtful,
            (Role::Client, Some((since, _))) if !self.pinged && waits((since, ASK_BEFORE_DOUBT)) => Verdict::Ask,
            (Role::Client, None) if silence >= ASK_AFTER => Verdict::Ask,
            (Role::Client, _) => Verdict::Alive,
        }
    }

    /// When to ask once more after a change of the network, if bytes have come since.
    fn asks_again_at(&self) -> Option<Instant> {
        self.changed.as_ref().filter(|changed| changed.heard).map(|changed| changed.until)
    }

    /// When the verdict may be another one.
    pub(super) fn changes_at(&self, now: Instant) -> Instant {
        let dead = self.heard + DEAD_AFTER;
        if let Some(at) = self.asks_again_at() {
            return dead.min(at);
        }
        match (self.role, self.due) {
            (Role::Client, Some((since, _))) if !self.pinged => dead.min(since + ASK_BEFORE_DOUBT),
            (Role::Client, Some((since, limit))) if since + limit > now => dead.min(since + limit),
            (Role::Client, None) => dead.min(self.heard + ASK_AFTER),
            _ => dead,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_from_its_start_to_its_death() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut client = Pulse::new(Role::Client, start);
        let gateway = Pulse::new(Role::Gateway, start);
        for (millis, of_client, of_gateway) in [
            (0, Verdict::Alive, Verdict::Alive),
            (14_999, Verdict::Alive, Verdict::Alive),
            (15_000, Verdict::Ask, Verdict::Alive),
            (44_999, Verdict::Ask, Verdict::Alive),
            (45_000, Verdict::Dead, Verdict::Dead),
        ] {
            assert_eq!((client.verdict(at(millis)), gateway.verdict(at(millis))), (of_client, of_gateway), "{millis}");
        }
        assert_eq!((client.changes_at(start), gateway.changes_at(start)), (at(15_000), at(45_000)));
        client.note_pinged(at(15_000));
        client.note_asked(at(16_000));
        assert_eq!(client.changes_at(at(16_000)), at(18_000));
        assert_eq!([17_999, 18_000].map(|millis| client.verdict(at(millis))), [Verdict::Alive, Verdict::Doubtful]);
        assert_eq!(client.changes_at(at(18_000)), at(45_000));
        client.note_heard(at(19_000), true);
        // A peer that has no room for what was sent is asked before it is doubted.
        assert_eq!(client.changes_at(at(19_000)), at(20_000));
        assert_eq!([19_999, 20_000].map(|millis| client.verdict(at(millis))), [Verdict::Alive, Verdict::Ask]);
        client.note_pinged(at(20_000));
        assert_eq!([22_999, 23_000].map(|millis| client.verdict(at(millis))), [Verdict::Alive, Verdict::Doubtful]);
        client.note_heard(at(22_500), false);
        assert_eq!((client.verdict(at(37_499)), client.verdict(at(37_500))), (Verdict::Alive, Verdict::Ask));
        client.note_change(at(30_000));
        assert_eq!([30_299, 30_300].map(|millis| client.verdict(at(millis))), [Verdict::Alive, Verdict::Doubtful]);
    }

    #[test]
    fn bytes_that_were_on_their_way_say_nothing_of_a_network_that_has_changed() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        for (first, awaits) in [(10, false), (10, true), (299, false), (400, true)] {
            let mut client = Pulse::new(Role::Client, start);
            client.note_change(start);
            client.note_heard(at(first), awaits);
            // Late ones come over a connection that is doubted already.
            let asked = first.max(300);
            assert_eq!(client.changes_at(at(first)), at(300));
            assert_eq!(client.verdict(at(asked)), Verdict::Ask);
            client.note_pinged(at(asked));
            assert_eq!(client.changes_at(at(asked)), at(asked + 300));
            let verdicts = [asked + 299, asked + 300].map(|millis| client.verdict(at(millis)));
            assert_eq!(verdicts, [Verdict::Alive, Verdict::Doubtful]);
            client.note_heard(at(asked + 310), false);
            assert_eq!(client.verdict(at(asked + 14_000)), Verdict::Alive);
        }
    }
}
