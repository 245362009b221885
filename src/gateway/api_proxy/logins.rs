//! How often one client may log in with a wrong password. On a port of the internet, somebody tries passwords.
//!
//! A login counts as failed from its start, until the Host has not refused it: else many at once, or clients that leave
//! before the answer, would not count.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::gateway::limits::Client;
use crate::lock::lock;

/// Most failed logins of one client in one [`WINDOW`].
pub(super) const MOST: u32 = 5;
/// The time that starts with a client's first failed login.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Most clients that are remembered. Beyond that, the one whose time ends first is forgotten.
const MOST_CLIENTS: usize = 4096;

/// The failed logins of the last minute.
#[derive(Default)]
pub(super) struct FailedLogins(Mutex<HashMap<Client, Failed>>);

#[derive(Clone, Copy)]
struct Failed {
    count: u32,
    until: Instant,
}

/// A login that counts as failed.
pub(super) struct Login<'l> {
    logins: &'l FailedLogins,
    client: Client,
}

impl FailedLogins {
    /// Begins a login of the client at `ip`. The error is the time until it may try again.
    pub(super) fn begin(&self, ip: IpAddr) -> Result<Login<'_>, Duration> {
        let (client, now) = (Client::of(ip), Instant::now());
        let mut clients = lock(&self.0);
        if clients.get(&client).is_some_and(|failed| failed.until <= now) {
            clients.remove(&client);
        }
        match clients.get_mut(&client) {
            Some(failed) if failed.count >= MOST => return Err(failed.until - now),
            Some(failed) => failed.count += 1,
            None => {
                if clients.len() >= MOST_CLIENTS {
                    let first = clients.iter().min_by_key(|(_, failed)| failed.until).map(|(client, _)| *client);
                    first.and_then(|first| clients.remove(&first));
                }
                clients.insert(client, Failed { count: 1, until: now + WINDOW });
            }
        }
        Ok(Login { logins: self, client })
    }
}

impl Login<'_> {
    /// It has not failed after all.
    pub(super) fn forgive(self) {
        let mut clients = lock(&self.logins.0);
        if let Some(failed) = clients.get_mut(&self.client) {
            failed.count -= 1;
            if failed.count == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_waits_after_a_few_wrong_passwords() {
        let logins = FailedLogins::default();
        for _ in 0..100 {
            logins.begin(ip("10.0.0.1")).unwrap().forgive();
        }
        for _ in 0..MOST {
            drop(logins.begin(ip("10.0.0.1")).unwrap());
        }
        assert_eq!(logins.begin(ip("10.0.0.1")).err(), Some(WINDOW));
        assert!(logins.begin(ip("10.0.0.2")).is_ok());
        tokio::time::advance(WINDOW / 2).await;
        assert_eq!(logins.begin(ip("::ffff:10.0.0.1")).err(), Some(WINDOW / 2));
        tokio::time::advance(WINDOW / 2).await;
        assert!(logins.begin(ip("10.0.0.1")).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn logins_at_once_count_and_the_table_has_an_end() {
        let logins = FailedLogins::default();
        let open: Vec<_> = (0..MOST).map(|_| logins.begin(ip("2001:db8::1")).unwrap()).collect();
        // Of the same customer.
        assert!(logins.begin(ip("2001:db8::2")).is_err());
        open.into_iter().for_each(Login::forgive);
        assert!(lock(&logins.0).is_empty());
        for n in 0..MOST_CLIENTS as u32 + 10 {
            drop(logins.begin(IpAddr::V4(n.into())));
        }
        assert_eq!(lock(&logins.0).len(), MOST_CLIENTS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_that_ends_after_its_window_takes_nothing_away() {
        let logins = FailedLogins::default();
        let slow = logins.begin(ip("10.0.0.1")).unwrap();
        tokio::time::advance(WINDOW).await;
        drop(logins.begin(ip("10.0.0.1")).unwrap());
        slow.forgive();
        assert!(logins.begin(ip("10.0.0.1")).is_ok());
    }
}
