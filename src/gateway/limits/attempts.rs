//! How often one client may do what a stranger can do as well: guess a password, or have the Host store something.
//!
//! A login counts as failed from its start, until the Host has not refused it: else many at once, or clients that leave
//! before the answer, would not count.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::client::Client;
use crate::lock::lock;

/// The time that starts with a client's first attempt.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);
/// Most clients that are remembered. Beyond that, the one whose time ends first is forgotten.
const MOST_CLIENTS: usize = 4096;

/// The attempts of the last minute.
pub(crate) struct Attempts {
    /// Most attempts of one client in one [`WINDOW`].
    most: u32,
    clients: Mutex<HashMap<Client, Counted>>,
}

#[derive(Clone, Copy)]
struct Counted {
    count: u32,
    until: Instant,
}

/// An attempt that counts.
#[derive(Debug)]
pub(crate) struct Attempt {
    client: Client,
    /// The end of the time that it counts in.
    until: Instant,
}

impl Attempts {
    /// At most `most` attempts of one client in one [`WINDOW`].
    pub(crate) fn new(most: u32) -> Self {
        Self { most, clients: Mutex::default() }
    }

    /// Counts an attempt of the client at `ip`. The error is the time until it may try again.
    pub(crate) fn begin(&self, ip: IpAddr) -> Result<Attempt, Duration> {
        let (client, now) = (Client::of(ip), Instant::now());
        let mut clients = lock(&self.clients);
        let before = clients.get(&client).filter(|counted| counted.until > now);
        let mut counted = before.copied().unwrap_or(Counted { count: 0, until: now + WINDOW });
        if counted.count >= self.most {
            return Err(counted.until - now);
        }
        counted.count += 1;
        if clients.len() >= MOST_CLIENTS && !clients.contains_key(&client) {
            let first = clients.iter().min_by_key(|(_, counted)| counted.until).map(|(client, _)| *client);
            first.and_then(|first| clients.remove(&first));
        }
        clients.insert(client, counted);
        Ok(Attempt { client, until: counted.until })
    }

    /// The attempt doesn't count after all.
    pub(crate) fn forgive(&self, attempt: &Attempt) {
        let mut clients = lock(&self.clients);
        if let Some(counted) = clients.get_mut(&attempt.client).filter(|counted| counted.until == attempt.until) {
            counted.count -= 1;
            if counted.count == 0 {
                clients.remove(&attempt.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::limits::tests::ip;

    const MOST: u32 = 5;

    #[tokio::test(start_paused = true)]
    async fn a_client_waits_after_a_few_attempts() {
        let attempts = Attempts::new(MOST);
        for _ in 0..100 {
            attempts.forgive(&attempts.begin(ip("10.0.0.1")).unwrap());
        }
        for _ in 1..MOST {
            attempts.begin(ip("10.0.0.1")).unwrap();
        }
        // A forgiven attempt takes no other with it.
        attempts.forgive(&attempts.begin(ip("10.0.0.1")).unwrap());
        attempts.begin(ip("10.0.0.1")).unwrap();
        assert_eq!(attempts.begin(ip("10.0.0.1")).unwrap_err(), WINDOW);
        assert!(attempts.begin(ip("10.0.0.2")).is_ok());
        tokio::time::advance(WINDOW / 2).await;
        assert_eq!(attempts.begin(ip("::ffff:10.0.0.1")).unwrap_err(), WINDOW / 2);
        tokio::time::advance(WINDOW / 2).await;
        assert!(attempts.begin(ip("10.0.0.1")).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_at_once_count_and_the_table_has_an_end() {
        let attempts = Attempts::new(MOST);
        let open: Vec<_> = (0..MOST).map(|_| attempts.begin(ip("2001:db8::1")).unwrap()).collect();
        // Of the same customer.
        assert!(attempts.begin(ip("2001:db8::2")).is_err());
        open.iter().for_each(|attempt| attempts.forgive(attempt));
        assert!(lock(&attempts.clients).is_empty());
        for n in 0..MOST_CLIENTS as u32 + 10 {
            attempts.begin(IpAddr::V4(n.into())).unwrap();
        }
        assert_eq!(lock(&attempts.clients).len(), MOST_CLIENTS);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_of_an_earlier_minute_takes_nothing_away() {
        let attempts = Attempts::new(MOST);
        let slow = attempts.begin(ip("10.0.0.1")).unwrap();
        tokio::time::advance(WINDOW).await;
        for _ in 0..MOST {
            attempts.begin(ip("10.0.0.1")).unwrap();
        }
        attempts.forgive(&slow);
        assert!(attempts.begin(ip("10.0.0.1")).is_err());
    }
}
