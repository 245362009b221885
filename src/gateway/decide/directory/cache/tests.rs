use super::*;
use crate::gateway::limits::tests::poll;
use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Barrier, oneshot};
use tokio::time::{advance, timeout};

const FRESH: Duration = Duration::from_secs(5);
const STALE: Duration = Duration::from_secs(60);

/// A Host that can be told what to say, and counts how often it is asked.
struct Host {
    cache: Cache<&'static str, u32>,
    says: RefCell<Result<u32, Refusal>>,
    asked: RefCell<Vec<bool>>,
}

impl Host {
    fn new(stale: Duration) -> Self {
        Self { cache: Cache::new(FRESH, stale), says: RefCell::new(Ok(1)), asked: RefCell::default() }
    }

    fn says(&self, answer: Result<u32, Refusal>) -> &Self {
        *self.says.borrow_mut() = answer;
        self
    }

    async fn get(&self) -> Result<Known<u32>, Refusal> {
        let ask = async |has_older| {
            self.asked.borrow_mut().push(has_older);
            self.says.borrow().clone()
        };
        self.cache.get(&"key", ask).await
    }

    async fn value(&self) -> Result<u32, Refusal> {
        self.get().await.map(|known| known.value)
    }

    /// How often it was asked since the last call.
    fn asked(&self) -> usize {
        self.asked.take().len()
    }
}

fn down() -> Result<u32, Refusal> {
    Err(Refusal::HostApi("down".into()))
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_there_while_it_counts_and_while_it_would_if_the_host_failed() {
    for (fresh, stale) in [(FRESH, Duration::ZERO), (Duration::ZERO, FRESH)] {
        let cache = Cache::new(fresh, stale);
        assert!(!cache.has(&"key"));
        cache.get(&"key", async |_| Ok(1)).await.unwrap();
        assert!(cache.has(&"key") && !cache.has(&"other"));
        advance(FRESH).await;
        assert!(!cache.has(&"key"), "{fresh:?} {stale:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_for_seconds() {
    let host = Host::new(STALE);
    let first = host.get().await.unwrap();
    assert_eq!((first.value, first.is_new), (1, true));
    host.says(Ok(2));
    advance(FRESH - Duration::from_millis(1)).await;
    let again = host.get().await.unwrap();
    assert_eq!((again.value, again.is_new, again.asked_at), (1, false, first.asked_at));
    advance(Duration::from_millis(1)).await;
    assert_eq!(host.value().await, Ok(2));
    assert_eq!(host.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_cached_and_removes_the_answer() {
    let host = Host::new(STALE);
    assert_eq!(host.value().await, Ok(1));
    advance(FRESH).await;
    host.says(Err(Refusal::NotAllowed));
    for _ in 0..2 {
        assert_eq!(host.value().await, Err(Refusal::NotAllowed));
    }
    assert_eq!(host.asked(), 3);
    assert!(lock(&host.cache.slots).by_key.is_empty());
    // Not even when the Host goes away right after it.
    assert_eq!(host.says(down()).value().await, down());
}

#[tokio::test(start_paused = true)]
async fn while_the_host_is_down_an_answer_counts_longer() {
    let host = Host::new(STALE);
    host.get().await.unwrap();
    host.says(down());
    advance(FRESH).await;
    for _ in 0..2 {
        let known = host.get().await.unwrap();
        assert_eq!((known.value, known.is_stale), (1, true));
    }
    assert_eq!(host.asked.take(), [false, true], "a Host that is down is asked only now and then");
    advance(RETRY_PAUSE).await;
    assert_eq!(host.value().await, Ok(1));
    assert_eq!(host.asked(), 1);
    advance(STALE - FRESH - RETRY_PAUSE - Duration::from_millis(1)).await;
    assert_eq!(host.value().await, Ok(1));
    advance(Duration::from_millis(1)).await;
    assert_eq!(host.value().await, down());
    let back = host.says(Ok(2)).get().await.unwrap();
    assert_eq!((back.value, back.is_stale), (2, false));
}

#[tokio::test(start_paused = true)]
async fn without_stale_a_failure_ends_an_answer() {
    let host = Host::new(Duration::ZERO);
    host.get().await.unwrap();
    host.says(down());
    assert_eq!(host.value().await, Ok(1));
    advance(FRESH).await;
    assert_eq!(host.value().await, down());
}

#[tokio::test(start_paused = true)]
async fn an_invalidated_answer_is_asked_for_once() {
    let host = Host::new(STALE);
    let first = host.get().await.unwrap();
    advance(Duration::from_secs(1)).await;
    host.says(Ok(2));
    host.cache.invalidate(&"key", first.asked_at);
    host.cache.invalidate(&"other", first.asked_at);
    let second = host.get().await.unwrap();
    assert_eq!((second.value, second.is_new), (2, true));
    // Another caller invalidates the answer before that one.
    host.cache.invalidate(&"key", first.asked_at);
    assert_eq!(host.get().await.unwrap(), Known { is_new: false, ..second });
    assert_eq!(host.asked(), 2);
    // An invalidated answer is still better than none.
    host.says(down()).cache.invalidate(&"key", second.asked_at);
    assert_eq!(host.value().await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn one_question_at_a_time_for_each_key() {
    for answer in [Ok(7), Err(Refusal::NotFound)] {
        let cache = Arc::new(Cache::new(FRESH, STALE));
        let asked = Arc::new(AtomicUsize::new(0));
        let mut tasks = tokio::task::JoinSet::new();
        for key in ["a", "b"].repeat(50) {
            let (cache, asked, answer) = (Arc::clone(&cache), Arc::clone(&asked), answer.clone());
            tasks.spawn(async move {
                let ask = async |_| {
                    asked.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    answer
                };
                cache.get(&key, ask).await.map(|known| known.value)
            });
        }
        for got in tasks.join_all().await {
            assert_eq!(got, answer);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2, "{answer:?}");
        assert_eq!(lock(&cache.slots).by_key.len(), if answer.is_ok() { 2 } else { 0 });
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_caller_that_asks_is_cancelled_the_next_one_asks() {
    let cache = Arc::new(Cache::new(FRESH, STALE));
    let (started, has_started) = oneshot::channel();
    let leader = Arc::clone(&cache);
    let leader = tokio::spawn(async move {
        let ask = async |_| {
            started.send(()).unwrap();
            std::future::pending().await
        };
        leader.get(&"key", ask).await
    });
    has_started.await.unwrap();
    let everyone_is_in = Arc::new(Barrier::new(4));
    let mut followers = tokio::task::JoinSet::new();
    for n in 0..3 {
        let (cache, everyone_is_in) = (Arc::clone(&cache), Arc::clone(&everyone_is_in));
        followers.spawn(async move {
            everyone_is_in.wait().await;
            cache.get(&"key", async |_| Ok::<u32, Refusal>(n)).await.unwrap().value
        });
    }
    everyone_is_in.wait().await;
    tokio::task::yield_now().await;
    leader.abort();
    let got = timeout(STALE, followers.join_all()).await.expect("the others hang");
    assert!(got.iter().all(|n| *n == got[0]), "more than one of them asked: {got:?}");
}

#[tokio::test(start_paused = true)]
async fn the_number_of_keys_is_bounded() {
    let cache: Cache<usize, usize> = Cache::new(FRESH, STALE);
    for n in 0..MAX_ENTRIES + REMOVED_AT_ONCE {
        cache.get(&n, async |_| Ok(n)).await.unwrap();
        advance(Duration::from_micros(1)).await;
        let len = lock(&cache.slots).by_key.len();
        assert_eq!(len, if n < MAX_ENTRIES { n + 1 } else { n + 1 - REMOVED_AT_ONCE });
    }
    assert!(!cache.get(&REMOVED_AT_ONCE, async |_| Ok(0)).await.unwrap().is_new);
    assert!(cache.get(&(REMOVED_AT_ONCE - 1), async |_| Ok(0)).await.unwrap().is_new, "the oldest go first");
    // Expired keys are removed without need for room.
    advance(STALE).await;
    cache.get(&1, async |_| Ok(1)).await.unwrap();
    assert_eq!(lock(&cache.slots).by_key.len(), 1);
}

/// Callers that come while a question runs get its answer; one that comes afterwards asks anew.
#[tokio::test]
async fn an_error_counts_for_those_who_waited_for_it() {
    let cache: Cache<&str, u32> = Cache::new(FRESH, STALE);
    let (release, released) = oneshot::channel::<()>();
    let ask = async |_| {
        let _ = released.await;
        Err(Refusal::NotFound)
    };
    let mut first = Box::pin(cache.get(&"key", ask));
    assert!(poll(first.as_mut()).is_none());
    let mut second = Box::pin(cache.get(&"key", async |_| Ok(1)));
    assert!(poll(second.as_mut()).is_none());
    drop(release);
    assert!(matches!(poll(first.as_mut()), Some(Err(Refusal::NotFound))));
    let mut third = Box::pin(cache.get(&"key", async |_| Ok(2)));
    assert!(poll(third.as_mut()).is_none(), "two ask at once");
    assert_eq!(second.await, Err(Refusal::NotFound));
    assert_eq!(third.await.map(|known| known.value), Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_question_under_way_stays_when_there_is_no_room() {
    for idle in [MAX_ENTRIES - 1, REMOVED_AT_ONCE] {
        let cache: Cache<usize, usize> = Cache::new(FRESH, STALE);
        let ask = async |n| cache.get(&n, async |_| std::future::pending().await).await;
        let mut under_way: Vec<_> = (idle..MAX_ENTRIES).map(|n| Box::pin(ask(n))).collect();
        assert!(under_way.iter_mut().all(|one| poll(one.as_mut()).is_none()));
        for n in 0..idle {
            cache.get(&n, async |_| Ok(n)).await.unwrap();
            advance(Duration::from_micros(1)).await;
        }
        cache.get(&MAX_ENTRIES, async |_| Ok(0)).await.unwrap();
        let removed = if idle > REMOVED_AT_ONCE { REMOVED_AT_ONCE } else { 0 };
        assert_eq!(cache.len(), MAX_ENTRIES + 1 - removed);
        // The next caller waits for it.
        assert!(poll(std::pin::pin!(cache.get(&idle, async |_| Ok(0)))).is_none(), "two ask at once");
    }
}
