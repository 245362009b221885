//! The base of the tests: real parts, started on free ports of 127.0.0.1 and ended with the test.
//!
//! Nothing here sleeps for readiness: each part says when it serves, and every wait has a deadline that fails the test
//! with everything that was printed.

pub(crate) mod browser;
pub(crate) mod certificates;
pub(crate) mod chaos;
pub(crate) mod cluster;
pub(crate) mod commands;
pub(crate) mod curl;
pub(crate) mod debian;
pub(crate) mod far_end;
pub(crate) mod front;
pub(crate) mod fronts;
pub(crate) mod gateway;
pub(crate) mod haproxy;
pub(crate) mod home;
pub(crate) mod host_api;
pub(crate) mod inherited;
pub(crate) mod life_host;
pub(crate) mod load;
pub(crate) mod network;
pub(crate) mod office;
pub(crate) mod office_proxies;
pub(crate) mod older_host;
pub(crate) mod pattern;
pub(crate) mod peers;
pub(crate) mod processes;
pub(crate) mod proxies;
pub(crate) mod pty;
pub(crate) mod random;
pub(crate) mod release;
pub(crate) mod resend;
pub(crate) mod resumable;
pub(crate) mod rough;
pub(crate) mod run;
pub(crate) mod scene;
pub(crate) mod soak;
pub(crate) mod spawned;
pub(crate) mod sshd;
pub(crate) mod terminal;
pub(crate) mod tools;
pub(crate) mod transcript;
pub(crate) mod tunnels;
pub(crate) mod two_clusters;
pub(crate) mod watched;
pub(crate) mod windows;

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// One of the places of [`heavy`].
pub(crate) struct Place(());

/// How many tests hold a place, and what tells that one of them has given it back.
static TAKEN: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// Held by a test that moves much data or opens many connections. There are as many places as processors, so that such
/// tests leave time for the others.
pub(crate) fn heavy() -> Place {
    let places = std::thread::available_parallelism().unwrap().get();
    let taken = TAKEN.0.lock().unwrap();
    *TAKEN.1.wait_while(taken, |taken| *taken >= places).unwrap() += 1;
    Place(())
}

impl Drop for Place {
    fn drop(&mut self) {
        *TAKEN.0.lock().unwrap() -= 1;
        TAKEN.1.notify_one();
    }
}

/// Held by a test that takes all pipes of a normal user, or that needs some of them.
pub(crate) fn pipes_of_a_user() -> MutexGuard<'static, ()> {
    static PIPES: Mutex<()> = Mutex::new(());
    PIPES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does `one` a thousand times, so many at a time.
pub(crate) fn thousand_times(at_a_time: usize, one: impl Fn(usize) + Sync) {
    std::thread::scope(|scope| {
        for worker in 0..at_a_time {
            let one = &one;
            scope.spawn(move || (worker..1_000).step_by(at_a_time).for_each(one));
        }
    });
}
