//! Answers of the Host, cached for seconds: single-flight for each key, and stale-while-error while the Host is down.
//!
//! # Promises
//! - A good answer counts for `fresh`. A caller that comes while a question runs waits for its answer, good or bad. If
//!   the caller that asks is cancelled, the next one in line asks.
//! - A refusal of the Host removes the answer before it, so no right outlives it.
//! - Only when the Host itself fails does an answer count longer: until `stale` after it was asked for.
//! - Keys are compared whole. At most [`MAX_ENTRIES`] of them are kept, beside those with a question under way.
//!
//! Refusals are not cached: the next question finds a VPS that has just started or was just assigned.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::lock::lock;
use crate::refusal::Refusal;

/// Most keys that are kept.
pub(super) const MAX_ENTRIES: usize = 10_000;
/// While the Host fails: time between two questions, in which the older answer counts.
pub(super) const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// Number of the oldest keys that are removed at once when the cache is full. Finding them takes a walk over all keys,
/// too much for each new one.
const REMOVED_AT_ONCE: usize = MAX_ENTRIES / 100;
/// Time between two removals of expired keys.
const SWEEP_PAUSE: Duration = Duration::from_secs(60);

/// Answers of one kind.
pub(crate) struct Cache<K, V> {
    slots: Mutex<Slots<K, V>>,
    fresh: Duration,
    stale: Duration,
}

struct Slots<K, V> {
    by_key: HashMap<K, Arc<Slot<V>>>,
    swept: Instant,
}

/// The answer for one key.
struct Slot<V> {
    /// Held by the caller that asks the Host.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State<V>>,
}

struct State<V> {
    /// Questions that have ended.
    rounds: u64,
    good: Option<Good<V>>,
    /// Why the last question failed.
    refused: Option<Refusal>,
}

struct Good<V> {
    value: V,
    asked_at: Instant,
    fresh_until: Instant,
    is_stale: bool,
}

/// An answer.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Known<V> {
    pub(crate) value: V,
    /// When it was asked for. Identifies the answer: see [`Cache::invalidate`].
    pub(super) asked_at: Instant,
    /// The Host was asked after the caller's request.
    pub(super) is_new: bool,
    /// The answer counts only because the Host fails.
    pub(super) is_stale: bool,
}

impl<K: Clone + Eq + Hash, V: Clone> Cache<K, V> {
    /// Answers count for `fresh`, and until `stale` after they were asked for while the Host fails.
    pub(crate) fn new(fresh: Duration, stale: Duration) -> Self {
        let slots = Slots { by_key: HashMap::new(), swept: Instant::now() };
        Self { slots: Mutex::new(slots), fresh, stale }
    }

    /// The answer for `key`; `ask` is called when there is none, or it is too old. Its argument says whether an older
    /// answer could still be used.
    pub(crate) async fn get(
        &self,
        key: &K,
        ask: impl AsyncFnOnce(bool) -> Result<V, Refusal>,
    ) -> Result<Known<V>, Refusal> {
        let slot = self.slot(key);
        let round = {
            let state = lock(&slot.state);
            if let Some(good) = state.good.as_ref().filter(|good| Instant::now() < good.fresh_until) {
                return Ok(good.known(false));
            }
            state.rounds
        };
        let answer = self.answer(&slot, round, ask).await;
        if answer.is_err() {
            self.remove_if_empty(key, &slot);
        }
        answer
    }

    /// Whether there is an answer for `key` that counts, or one that would while the Host fails.
    pub(crate) fn has(&self, key: &K) -> bool {
        let slot = lock(&self.slots).by_key.get(key).map(Arc::clone);
        let counts = |good: &Good<V>| Instant::now() < good.fresh_until || self.is_usable(good);
        slot.is_some_and(|slot| lock(&slot.state).good.as_ref().is_some_and(counts))
    }

    /// Makes the answer that was asked for at `known_from` outdated: the next question goes to the Host.
    pub(super) fn invalidate(&self, key: &K, known_from: Instant) {
        self.outdate_if(key, |asked_at| asked_at == known_from);
    }

    /// Makes the answer for `key` outdated, if it was asked for at least `age` ago. Returns whether it was.
    pub(super) fn outdate(&self, key: &K, age: Duration) -> bool {
        self.outdate_if(key, |asked_at| asked_at.elapsed() >= age)
    }

    fn outdate_if(&self, key: &K, is_meant: impl Fn(Instant) -> bool) -> bool {
        let slot = lock(&self.slots).by_key.get(key).map(Arc::clone);
        let mut state = slot.as_ref().map(|slot| lock(&slot.state));
        let good = state.as_mut().and_then(|state| state.good.as_mut()).filter(|good| is_meant(good.asked_at));
        good.map(|good| good.fresh_until = good.asked_at).is_some()
    }

    async fn answer(
        &self,
        slot: &Slot<V>,
        round: u64,
        ask: impl AsyncFnOnce(bool) -> Result<V, Refusal>,
    ) -> Result<Known<V>, Refusal> {
        let _turn = slot.turn.lock().await;
        let has_older = {
            let state = lock(&slot.state);
            match (&state.good, &state.refused) {
                // Another caller's question has been answered meanwhile.
                (Some(good), _) if state.rounds != round => return Ok(good.known(true)),
                (None, Some(refusal)) if state.rounds != round => return Err(refusal.clone()),
                (good, _) => good.as_ref().is_some_and(|good| self.is_usable(good)),
            }
        };
        let asked_at = Instant::now();
        let answer = ask(has_older).await;
        let mut state = lock(&slot.state);
        state.rounds += 1;
        state.refused = None;
        let refusal = match answer {
            Ok(value) => {
                let good = Good { value, asked_at, fresh_until: Instant::now() + self.fresh, is_stale: false };
                let known = good.known(true);
                state.good = Some(good);
                return Ok(known);
            }
            Err(refusal) => refusal,
        };
        let older = state.good.as_mut().filter(|good| refusal.is_fault() && self.is_usable(good));
        if let Some(good) = older {
            good.is_stale = true;
            good.fresh_until = (Instant::now() + RETRY_PAUSE).min(good.asked_at + self.stale);
            return Ok(good.known(true));
        }
        state.good = None;
        state.refused = Some(refusal.clone());
        Err(refusal)
    }

    /// Whether it may still be used while the Host fails.
    fn is_usable(&self, good: &Good<V>) -> bool {
        Instant::now() < good.asked_at + self.stale
    }

    fn slot(&self, key: &K) -> Arc<Slot<V>> {
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.by_key.get(key) {
            return Arc::clone(slot);
        }
        let now = Instant::now();
        if slots.by_key.len() >= MAX_ENTRIES || now.duration_since(slots.swept) >= SWEEP_PAUSE {
            slots.swept = now;
            self.sweep(&mut slots.by_key);
        }
        let slot = Arc::new(Slot::new());
        slots.by_key.insert(key.clone(), Arc::clone(&slot));
        slot
    }

    /// Removes expired answers, and the oldest ones if that was not enough. Keys with a question under way stay.
    fn sweep(&self, by_key: &mut HashMap<K, Arc<Slot<V>>>) {
        let now = Instant::now();
        let life = self.fresh.max(self.stale);
        by_key.retain(|_, slot| Arc::strong_count(slot) > 1 || slot.asked_at().is_some_and(|at| now < at + life));
        if by_key.len() >= MAX_ENTRIES {
            let idle = by_key.values().filter(|slot| Arc::strong_count(slot) == 1);
            let mut times: Vec<_> = idle.map(|slot| slot.asked_at()).collect();
            if times.len() > REMOVED_AT_ONCE {
                let (older, ..) = times.select_nth_unstable(REMOVED_AT_ONCE);
                let last = older.iter().copied().max().flatten();
                by_key.retain(|_, slot| Arc::strong_count(slot) > 1 || slot.asked_at() > last);
            }
        }
    }

    /// Removes a key without an answer, unless another caller is about to ask.
    fn remove_if_empty(&self, key: &K, slot: &Arc<Slot<V>>) {
        let mut slots = lock(&self.slots);
        // One count is the map's, one the caller's; new ones are made under the lock only.
        if Arc::strong_count(slot) == 2 && slot.asked_at().is_none() {
            slots.by_key.remove(key);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.slots).by_key.len()
    }
}

impl<V> Slot<V> {
    fn new() -> Self {
        let state = State { rounds: 0, good: None, refused: None };
        Self { turn: tokio::sync::Mutex::new(()), state: Mutex::new(state) }
    }

    fn asked_at(&self) -> Option<Instant> {
        lock(&self.state).good.as_ref().map(|good| good.asked_at)
    }
}

impl<V: Clone> Good<V> {
    fn known(&self, is_new: bool) -> Known<V> {
        Known { value: self.value.clone(), asked_at: self.asked_at, is_new, is_stale: self.is_stale }
    }
}

#[cfg(test)]
mod tests;
