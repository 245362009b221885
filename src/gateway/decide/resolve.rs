//! Resolves names of Runners to addresses.
//!
//! The system's resolver may block a thread for any time, and anyone who registers a Runner chooses its name. So an
//! address takes no thread; questions are single-flight for each name, and an answer, good or bad, counts for seconds;
//! and questions take at most [`NAMES_AT_ONCE`] threads, so that other blocking calls still find one.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::gateway::decide::directory::cache::Cache;
use crate::refusal::Refusal;

/// Most questions at once. A question keeps its thread even when nobody waits for it any more.
const NAMES_AT_ONCE: usize = 64;
/// Time for which an answer counts.
const FRESH: Duration = Duration::from_secs(5);

type Ask = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;
type Found = Result<Vec<IpAddr>, (io::ErrorKind, String)>;

/// Resolves names to addresses.
pub(crate) struct Resolver {
    ask: Arc<Ask>,
    threads: Arc<Semaphore>,
    known: Cache<String, Found>,
}

/// Why there are no addresses.
#[derive(Debug)]
pub(crate) enum Unresolved {
    /// The resolver failed.
    Failed(io::Error),
    /// All permitted threads wait for other names.
    Busy,
}

impl Resolver {
    /// The system's resolver.
    pub(crate) fn of_the_system() -> Self {
        Self::asking(|host| Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
    }

    /// A resolver that calls `ask`, which may block.
    pub(crate) fn asking(ask: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Self {
        let threads = Arc::new(Semaphore::new(NAMES_AT_ONCE));
        Self { ask: Arc::new(ask), threads, known: Cache::new(FRESH, Duration::ZERO) }
    }

    /// The addresses of `host`.
    pub(crate) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Unresolved> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![ip]);
        }
        let ask = async |_| {
            let thread = Arc::clone(&self.threads).try_acquire_owned();
            let thread = thread.map_err(|_| Refusal::Limit(String::new()))?;
            let (ask, host) = (Arc::clone(&self.ask), host.to_owned());
            let found = tokio::task::spawn_blocking(move || {
                let found = ask(&host);
                drop(thread);
                found
            });
            let found = found.await.unwrap_or_else(|_| Err(io::Error::other("the resolver broke")));
            Ok(found.map_err(|error| (error.kind(), error.to_string())))
        };
        match self.known.get(&host.to_owned(), ask).await {
            Ok(known) => known.value.map_err(|(kind, text)| Unresolved::Failed(io::Error::new(kind, text))),
            Err(_) => Err(Unresolved::Busy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use tokio::task::JoinSet;
    use tokio::time::timeout;

    /// Longer than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn a_resolver_that_hangs_leaves_threads_for_other_calls() {
        // One more thread than names may take.
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().max_blocking_threads(NAMES_AT_ONCE + 1).build().unwrap();
        let (release, held) = mpsc::channel::<()>();
        let (held, asked) = (Mutex::new(held), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&asked);
        let resolver = Arc::new(Resolver::asking(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = held.lock().unwrap().recv();
            Ok(vec![Ipv4Addr::LOCALHOST.into()])
        }));
        runtime.block_on(async {
            let mut waiting = JoinSet::new();
            for n in 0..NAMES_AT_ONCE + 36 {
                let resolver = Arc::clone(&resolver);
                waiting.spawn(async move { resolver.addresses(&format!("node-{n}")).await });
            }
            for _ in 0..36 {
                let refused = timeout(PATIENCE, waiting.join_next()).await.expect("nobody is refused");
                assert!(matches!(refused.unwrap().unwrap(), Err(Unresolved::Busy)));
            }
            // An address, and another blocking call.
            let address = timeout(PATIENCE, resolver.addresses("10.0.0.7")).await.unwrap().unwrap();
            assert_eq!(address, ["10.0.0.7".parse::<IpAddr>().unwrap()]);
            assert_eq!(resolver.addresses("::1").await.unwrap(), ["::1".parse::<IpAddr>().unwrap()]);
            let other = timeout(PATIENCE, tokio::task::spawn_blocking(|| 7)).await;
            assert_eq!(other.expect("no thread is left").unwrap(), 7);
            // A caller that gives up leaves its question behind, which keeps its thread.
            waiting.abort_all();
            while waiting.join_next().await.is_some() {}
            assert!(matches!(resolver.addresses("another").await, Err(Unresolved::Busy)));
            drop(release);
            // Each answer frees a thread.
            let free = resolver.threads.acquire_many(NAMES_AT_ONCE.try_into().unwrap());
            drop(timeout(PATIENCE, free).await.expect("a question never ends").unwrap());
            assert!(resolver.addresses("another").await.is_ok());
        });
        assert_eq!(asked.load(Ordering::SeqCst), NAMES_AT_ONCE + 1);
    }

    #[tokio::test]
    async fn a_name_is_asked_for_once_even_if_the_answer_is_an_error() {
        for answer in [Ok(()), Err(io::ErrorKind::NotFound)] {
            let asked = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&asked);
            let resolver = Resolver::asking(move |host| {
                count.fetch_add(1, Ordering::SeqCst);
                assert_eq!(host, "node1");
                answer.map(|()| vec![Ipv4Addr::LOCALHOST.into()]).map_err(io::Error::from)
            });
            let (first, second) = tokio::join!(resolver.addresses("node1"), resolver.addresses("node1"));
            for found in [first, second, resolver.addresses("node1").await] {
                let found = found.map(drop).map_err(|error| match error {
                    Unresolved::Failed(error) => error.kind(),
                    Unresolved::Busy => panic!("it is the only one"),
                });
                assert_eq!(found, answer);
            }
            assert_eq!(asked.load(Ordering::SeqCst), 1);
        }
    }
}
