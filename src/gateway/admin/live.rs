//! The state that everybody sees who looks at the page: it is made once for all of them, and only while somebody looks.
//!
//! ```text
//!  GET /events:  event: status            the whole, to begin with
//!                event: change            a second later, what is new since
//! ```
//! A state counts for a second; for longer if it takes long to make, or much to send ([`pause`]). A stream that has missed one
//! gets the whole again. All streams send the same bytes.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::channel::Channel;
use hyper::body::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::gateway::admin::page;
use crate::gateway::admin::status::{Row, Sources, Status, object};
use crate::gateway::words::session::Totals;
use crate::text;

/// Most streams of events at once.
pub(super) const MOST_STREAMS: usize = 32;
/// How long one stream lasts. A browser opens another one then.
const STREAM_LIMIT: Duration = Duration::from_secs(600);
/// How long a client may leave its socket full.
const FULL_LIMIT: Duration = Duration::from_secs(10);

/// How long a state counts, at least.
const PAUSE: Duration = Duration::from_secs(1);
/// The part of one processor that making states may take: one in so many.
const PROCESSOR_PART: u32 = 20;
/// The part of the time in which other processes and gateways are asked: one in so many.
const OTHERS_PART: u32 = 5;
/// Most bytes that are sent to all streams in a second.
const BYTES_PER_SECOND: f64 = 8.0 * 1024.0 * 1024.0;
/// How long a state is kept, to compute rates with.
const KEPT: Duration = Duration::from_secs(60);

/// The last state, and who gets the next ones.
pub(super) struct Live {
    sources: Arc<Sources>,
    last: Mutex<Option<Arc<Snapshot>>>,
    streams: Arc<Semaphore>,
}

/// The state at one time.
pub(super) struct Snapshot {
    number: u64,
    made: Instant,
    /// How long it counts.
    pause: Duration,
    status: Status,
    totals: Totals,
    /// All that the page shows, except the tunnels.
    shown: Map<String, Value>,
    /// All that the page shows, as an event.
    whole: Bytes,
    /// The changes since the state before, as an event.
    change: Bytes,
    json: OnceLock<Bytes>,
    html: OnceLock<Bytes>,
}

/// The events for one client. The token is cancelled at their end.
pub(super) struct Events {
    pub(super) body: Channel<Bytes>,
    pub(super) until: CancellationToken,
}

impl Live {
    pub(super) fn new(sources: Arc<Sources>) -> Arc<Self> {
        Arc::new(Self { sources, last: Mutex::default(), streams: Arc::new(Semaphore::new(MOST_STREAMS)) })
    }

    /// The state now, or one that still counts; `None` when the gateway ends.
    pub(super) async fn current(&self) -> Option<Arc<Snapshot>> {
        let mut last = self.last.lock().await;
        if let Some(last) = last.as_ref().filter(|last| last.made.elapsed() < last.pause) {
            return Some(Arc::clone(last));
        }
        let begun = Instant::now();
        let asked = self.sources.ask().await;
        let asking = begun.elapsed();
        let before = last.take().filter(|last| last.made.elapsed() < KEPT);
        let (sources, streams) = (Arc::clone(&self.sources), MOST_STREAMS - self.streams.available_permits());
        let making = tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            let (status, totals) = sources.status(asked, streams, MOST_STREAMS);
            let made = Snapshot::new(begun, status, totals, before.as_deref(), streams);
            Snapshot { pause: made.pause.max(asking * OTHERS_PART), ..made }
        });
        // Otherwise a panic, which stderr has shown, or the end of the runtime.
        let made = Arc::new(making.await.ok()?);
        *last = Some(Arc::clone(&made));
        Some(made)
    }

    /// Drops a state that is of no more use.
    pub(super) async fn tidy(&self) {
        let mut last = self.last.lock().await;
        if last.as_ref().is_some_and(|last| last.made.elapsed() >= KEPT) {
            *last = None;
        }
    }

    /// A new stream of events; `None` if there are too many.
    pub(super) fn events(self: &Arc<Self>) -> Option<Events> {
        let permit = Arc::clone(&self.streams).try_acquire_owned().ok()?;
        let (mut client, body) = Channel::new(1);
        let until = CancellationToken::new();
        let (live, ended) = (Arc::clone(self), until.clone().drop_guard());
        tokio::spawn(async move {
            let _held = (permit, ended);
            let (end, mut seen) = (Instant::now() + STREAM_LIMIT, 0);
            while Instant::now() < end {
                let Some(snapshot) = live.current().await else { return };
                let event = if snapshot.number == seen + 1 && seen > 0 { &snapshot.change } else { &snapshot.whole };
                // Nothing takes it while the socket is full. An error is a client that has left.
                if !matches!(timeout(FULL_LIMIT, client.send_data(event.clone())).await, Ok(Ok(()))) {
                    return;
                }
                seen = snapshot.number;
                sleep_until(snapshot.made + snapshot.pause).await;
            }
        });
        Some(Events { body, until })
    }
}

impl Snapshot {
    fn new(begun: Instant, mut status: Status, totals: Totals, before: Option<&Self>, streams: usize) -> Self {
        if let Some(before) = before {
            add_rates(&mut status, totals, before, begun);
        }
        let shown = page::shown(&status);
        let mut whole = shown.clone();
        whole.insert("sessions".to_owned(), json!(status.sessions));
        let whole = event("status", &whole.into());
        let change = match before.filter(|_| streams > 0) {
            Some(before) => event("change", &change(&shown, &status.sessions, before)),
            None => Bytes::new(),
        };
        let pause = pause(begun.elapsed(), change.len() * streams);
        let number = before.map_or(1, |before| before.number + 1);
        let (json, html) = Default::default();
        Self { number, made: begun, pause, status, totals, shown, whole, change, json, html }
    }

    /// The answer to `GET /status`.
    pub(super) fn json(&self) -> Bytes {
        let write = || text::json(&serde_json::to_string(&self.status).unwrap_or_default()).into();
        self.json.get_or_init(write).clone()
    }

    /// The page.
    pub(super) fn html(&self) -> Bytes {
        self.html.get_or_init(|| page::html(&self.status).into()).clone()
    }

    /// All that the page shows, for a page that gets no events.
    pub(super) fn page_json(&self) -> Bytes {
        let start = event_start("status").len();
        self.whole.slice(start..self.whole.len() - EVENT_END.len())
    }
}

/// How long a state counts that took `work` to make, and of which so many bytes are sent.
fn pause(work: Duration, bytes: usize) -> Duration {
    let sending = Duration::from_secs_f64(bytes as f64 / BYTES_PER_SECOND);
    PAUSE.max(work * PROCESSOR_PART).max(sending)
}

/// The gateway of a tunnel, and its number there.
fn key(row: &Row) -> (Option<&str>, Option<u64>) {
    (row.get("gateway").and_then(Value::as_str), row.get("id").and_then(Value::as_u64))
}

/// Adds the bytes per second since the state before.
fn add_rates(status: &mut Status, totals: Totals, before: &Snapshot, now: Instant) {
    let seconds = now.duration_since(before.made).as_secs_f64();
    let rate = |now: u64, then: u64| (now.saturating_sub(then) as f64 / seconds).round() as u64;
    status.tunnels.bytes_up_per_second = Some(rate(totals.bytes_up, before.totals.bytes_up));
    status.tunnels.bytes_down_per_second = Some(rate(totals.bytes_down, before.totals.bytes_down));
    let rows: HashMap<_, _> = before.status.sessions.iter().map(|row| (key(row), row)).collect();
    for row in &mut status.sessions {
        let then = rows.get(&key(row)).copied();
        for (bytes, per_second) in [("bytes_up", "bytes_up_per_second"), ("bytes_down", "bytes_down_per_second")] {
            let count = |row: &Row| row.get(bytes).and_then(Value::as_u64);
            let rate = count(row).map(|now| rate(now, then.and_then(count).unwrap_or_default()));
            row.insert(per_second.to_owned(), rate.into());
        }
    }
}

/// The changes since the state before. A duration that only grows is no change: the page has a clock.
fn change(shown: &Map<String, Value>, rows: &[Row], before: &Snapshot) -> Value {
    let goes_on = |name: &str, now: &Value, then: &Value| {
        name == "seconds" || (name == "parked_seconds" && now.is_number() && then.is_number())
    };
    let mut old: HashMap<_, _> = before.status.sessions.iter().map(|row| (key(row), row)).collect();
    let mut changed = Vec::new();
    for row in rows {
        let Some(then) = old.remove(&key(row)) else {
            changed.push(row.clone());
            continue;
        };
        let differs = |(name, now): &(&String, &Value)| {
            then.get(*name).is_none_or(|then| then != *now && !goes_on(name, now, then))
        };
        let new = object(row.iter().filter(differs).map(|(name, now)| (name.clone(), now.clone())));
        if !new.is_empty() {
            changed.push(object(name_of(row).chain(new)));
        }
    }
    let gone: Vec<Row> = old.into_values().map(|row| object(name_of(row))).collect();
    let new = shown.iter().filter(|(name, now)| before.shown.get(*name) != Some(now));
    let mut change = object(new.map(|(name, now)| (name.clone(), now.clone())));
    change.extend([("changed".to_owned(), json!(changed)), ("gone".to_owned(), json!(gone))]);
    change.into()
}

/// The members of `row` by which the page knows the tunnel again.
fn name_of(row: &Row) -> impl Iterator<Item = (String, Value)> {
    ["gateway", "id"].into_iter().filter_map(|name| Some((name.to_owned(), row.get(name)?.clone())))
}

const EVENT_END: &str = "\n\n";

fn event_start(name: &str) -> String {
    format!("event: {name}\ndata: ")
}

/// A server-sent event. JSON without line ends is one line of data.
fn event(name: &str, data: &Value) -> Bytes {
    (event_start(name) + &text::json(&data.to_string()) + EVENT_END).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::admin::end_right::EndRight;
    use crate::gateway::admin::status::Parts;
    use crate::gateway::carry::session::Sessions;
    use crate::gateway::carry::session::tests::tunnel;
    use crate::gateway::decide::directory::Directory;
    use crate::gateway::decide::inventory::tests::Scene;
    use crate::gateway::limits::{Limits, Wanted};
    use crate::gateway::roster::tests::roster;
    use crate::gateway::watch::records::Records;
    use http_body_util::BodyExt;
    use std::sync::atomic::Ordering;
    use tokio::time::advance;

    fn live(sessions: &Arc<Sessions>) -> Arc<Live> {
        let directory = Directory::Inventory(Scene::new(r#"{ "nodes": [], "vps": [] }"#).inventory);
        let parts = Parts {
            roster: Arc::new(roster(sessions)),
            records: Records::default(),
            limits: Arc::new(Limits::of(&Wanted::default())),
            certificates: None,
            end_right: EndRight::Everyone,
        };
        Live::new(Arc::new(Sources::new(parts, Arc::new(directory))))
    }

    async fn next(events: &mut Channel<Bytes>) -> String {
        let frame = events.frame().await.unwrap().unwrap();
        String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_no_event_is_dropped_and_too_many_are_refused() {
        let live = live(&Arc::default());
        let begun = Instant::now();
        let mut all: Vec<_> = (0..MOST_STREAMS).map(|_| live.events().unwrap()).collect();
        assert!(live.events().is_none());
        let reader = all.pop().unwrap();
        let mut body = reader.body;
        let reading = tokio::spawn(async move { while body.frame().await.is_some() {} });
        for silent in &all {
            silent.until.cancelled().await;
        }
        assert!(begun.elapsed() > FULL_LIMIT && begun.elapsed() < 2 * FULL_LIMIT, "{:?}", begun.elapsed());
        assert!(!reader.until.is_cancelled() && live.events().is_some());
        // The stream of a client that reads has an end as well.
        reading.await.unwrap();
        let lasted = begun.elapsed();
        assert!(lasted >= STREAM_LIMIT && lasted < STREAM_LIMIT + 2 * PAUSE, "{lasted:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn each_event_says_what_is_new() {
        let sessions = Arc::new(Sessions::default());
        let (live, first) = (live(&sessions), tunnel(&sessions, Some("a\u{202e}b")));
        let mut events = live.events().unwrap().body;
        let whole = next(&mut events).await;
        assert!(whole.starts_with("event: status\ndata: {") && whole.ends_with("}\n\n"), "{whole}");
        assert!(whole.contains(r#""user":"a\u202eb""#) && !whole.trim_end().contains("\n\n"), "{whole}");
        first.up.fetch_add(2048, Ordering::Relaxed);
        let second = tunnel(&sessions, None);
        let change = next(&mut events).await;
        assert!(change.starts_with("event: change\n"), "{change}");
        let rows: Value = serde_json::from_str(change.split_once("data: ").unwrap().1).unwrap();
        let new = &rows["changed"][0];
        assert_eq!((&new["id"], &new["bytes_up"], new.get("user")), (&json!(1), &json!(2048), None), "{change}");
        assert!(change.contains(r#""id":2"#) && change.contains(r#""gone":[]"#), "{change}");
        drop(second);
        assert!(next(&mut events).await.contains(r#""gone":[{"gateway":"gw1","id":2}]"#));
        // A stream that has missed some gets the whole again: more are made while its channel is full.
        for _ in 0..4 {
            advance(PAUSE).await;
            live.current().await.unwrap();
        }
        let mut events_left = Vec::new();
        for _ in 0..3 {
            events_left.push(next(&mut events).await);
        }
        assert!(events_left.iter().any(|event| event.starts_with("event: status")), "{events_left:#?}");
        drop(first);
    }

    #[tokio::test(start_paused = true)]
    async fn a_state_counts_for_a_second_and_is_forgotten_after_a_minute() {
        let sessions = Arc::new(Sessions::default());
        let live = live(&sessions);
        let first = live.current().await.unwrap();
        assert!(Arc::ptr_eq(&first, &live.current().await.unwrap()));
        advance(PAUSE).await;
        let second = live.current().await.unwrap();
        assert_eq!((first.number, second.number, first.change.len()), (1, 2, 0));
        assert_eq!(second.status.tunnels.bytes_up_per_second, Some(0));
        live.tidy().await;
        assert!(live.last.lock().await.is_some());
        advance(KEPT).await;
        live.tidy().await;
        assert!(live.last.lock().await.is_none());
        assert_eq!(live.current().await.unwrap().status.tunnels.bytes_up_per_second, None);
    }

    #[test]
    fn a_state_that_costs_much_counts_longer() {
        let millis = Duration::from_millis;
        assert_eq!(pause(millis(10), 1000), PAUSE);
        assert_eq!(pause(millis(100), 1000), millis(2000));
        assert_eq!(pause(millis(10), 80 * 1024 * 1024), millis(10_000));
    }
}
