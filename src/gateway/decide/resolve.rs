//! Resolves names of Runners to addresses.
//!
//! The system's resolver may block a thread for any time, and anyone who registers a Runner chooses its name. So an
//! address takes no thread; questions are single-flight for each name, and an answer, good or bad, counts for seconds;
//! questions take at most [`NAMES_AT_ONCE`] threads, so that other blocking calls still find one; and one client has a
//! small part of these, so that names on a mute name server hold up only the client who asks for them.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::gateway::decide::directory::cache::Cache;
use crate::gateway::limits::{Turn, Turns};
use crate::refusal::Refusal;
use crate::sys;

/// Most questions at once. A question keeps its thread even when nobody waits for it any more.
const NAMES_AT_ONCE: usize = 64;
/// Most of them for one client.
const NAMES_OF_ONE_CLIENT: usize = 8;
/// How long a client waits for its turn.
const TURN_LIMIT: Duration = Duration::from_secs(5);
/// Time for which an answer counts.
const FRESH: Duration = Duration::from_secs(5);

type Ask = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;
type Found = Result<Vec<IpAddr>, (io::ErrorKind, String)>;

/// Resolves names to addresses.
pub(crate) struct Resolver {
    ask: Arc<Ask>,
    turns: Arc<Turns>,
    known: Cache<String, Found>,
}

/// Why there are no addresses.
#[derive(Debug)]
pub(crate) enum Unresolved {
    /// The resolver failed.
    Failed(io::Error),
    /// All threads wait for other names, or all of this client's.
    Busy,
}

impl Resolver {
    /// The system's resolver.
    pub(crate) fn of_the_system() -> Self {
        Self::asking(|host| Ok(sys::resolve(host, 0)?.into_iter().map(|address| address.ip()).collect()))
    }

    /// A resolver that calls `ask`, which may block.
    pub(crate) fn asking(ask: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Self {
        let turns = Turns::new(NAMES_AT_ONCE, NAMES_OF_ONE_CLIENT);
        Self { ask: Arc::new(ask), turns, known: Cache::new(FRESH, Duration::ZERO) }
    }

    /// The addresses of `host`, for a client at `from`.
    pub(crate) async fn addresses(&self, host: &str, from: IpAddr) -> Result<Vec<IpAddr>, Unresolved> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![ip]);
        }
        // Taken before others can wait for this question: they must not wait for this client's turn.
        let turn = match self.known.has(&host.to_owned()) {
            true => None,
            false => Some(self.turn(from).await?),
        };
        let ask = async move |_| {
            // An answer that was known has become too old since.
            let turn = match turn {
                Some(turn) => turn,
                None => self.turn(from).await.map_err(|_| Refusal::Limit(String::new()))?,
            };
            let (ask, host) = (Arc::clone(&self.ask), host.to_owned());
            let found = tokio::task::spawn_blocking(move || {
                let found = ask(&host);
                drop(turn);
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

    async fn turn(&self, from: IpAddr) -> Result<Turn, Unresolved> {
        timeout(TURN_LIMIT, self.turns.take(from)).await.map_err(|_| Unresolved::Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::tests::PATIENCE;
    use std::net::Ipv4Addr;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use tokio::task::JoinSet;

    /// A client's address.
    fn client(n: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, n).into()
    }

    #[test]
    fn names_that_hang_hold_up_their_own_client_only() {
        // One more thread than names may take.
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().max_blocking_threads(NAMES_AT_ONCE + 1).build().unwrap();
        let (release, held) = mpsc::channel::<()>();
        let (held, asked) = (Mutex::new(held), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&asked);
        let resolver = Arc::new(Resolver::asking(move |name| {
            if name.starts_with("mute") {
                count.fetch_add(1, Ordering::SeqCst);
                let _ = held.lock().unwrap().recv();
            }
            Ok(vec![Ipv4Addr::LOCALHOST.into()])
        }));
        runtime.block_on(async {
            let mut waiting = JoinSet::new();
            let ask = |waiting: &mut JoinSet<_>, name: String, from| {
                let resolver = Arc::clone(&resolver);
                waiting.spawn(async move { resolver.addresses(&name, from).await })
            };
            for n in 0..NAMES_AT_ONCE * 2 {
                ask(&mut waiting, format!("mute-{n}"), client(1));
            }
            // Another client, before and after the first one has its share.
            for n in 0..NAMES_AT_ONCE {
                let found = timeout(PATIENCE, resolver.addresses(&format!("node-{n}"), client(2))).await;
                assert!(found.expect("it waits for another client's names").is_ok());
            }
            assert_eq!(asked.load(Ordering::SeqCst), NAMES_OF_ONE_CLIENT);
            // An address, and another blocking call.
            let address = timeout(PATIENCE, resolver.addresses("10.0.0.7", client(1))).await.unwrap().unwrap();
            assert_eq!(address, ["10.0.0.7".parse::<IpAddr>().unwrap()]);
            assert_eq!(resolver.addresses("::1", client(1)).await.unwrap(), ["::1".parse::<IpAddr>().unwrap()]);
            let other = timeout(PATIENCE, tokio::task::spawn_blocking(|| 7)).await;
            assert_eq!(other.expect("no thread is left").unwrap(), 7);
            // Many clients together have all threads, and no more.
            for n in 2..20 {
                for name in 0..NAMES_OF_ONE_CLIENT {
                    ask(&mut waiting, format!("mute-{n}-{name}"), client(n));
                }
            }
            while asked.load(Ordering::SeqCst) < NAMES_AT_ONCE {
                tokio::task::yield_now().await;
            }
            let other = timeout(PATIENCE, tokio::task::spawn_blocking(|| 7)).await;
            assert_eq!(other.expect("no thread is left").unwrap(), 7);
            assert!(matches!(resolver.addresses("another", client(99)).await, Err(Unresolved::Busy)));
            // A caller that gives up leaves its question behind, which keeps its thread.
            waiting.abort_all();
            while waiting.join_next().await.is_some() {}
            assert!(matches!(resolver.addresses("another", client(99)).await, Err(Unresolved::Busy)));
            drop(release);
            // Each answer frees a thread.
            assert!(resolver.addresses("another", client(99)).await.is_ok());
        });
        assert_eq!(asked.load(Ordering::SeqCst), NAMES_AT_ONCE);
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
            let (first, second) =
                tokio::join!(resolver.addresses("node1", client(1)), resolver.addresses("node1", client(2)));
            for found in [first, second, resolver.addresses("node1", client(1)).await] {
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
