//! Bulk through the gateway, inside the kernel while there are pipes for it, and without when its user has none left.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};
use rustix::process::Uid;
use rustix::thread::set_thread_res_uid;

use crate::support::gateway::{As, Gateway, inventory, running};
use crate::support::peers::echo_server;
use crate::support::processes::pipe_ends;
use crate::support::scene::ID;
use crate::support::tools::NORMAL_USER;
use crate::support::tunnels::echo_tunnel;
use crate::support::{heavy, pipes_of_a_user};

const TUNNELS: usize = 8;
/// How much each of them carries, in bytes: many times what its sockets hold.
const MUCH: usize = 12_000_000;
/// The largest pipe of a normal user, in bytes, and the usual size of a pipe.
const LARGEST: usize = 1024 * 1024;
const USUAL: usize = 64 * 1024;
/// How often the last pipes of a user are taken whose other processes have some, too.
const TRIES: usize = 5;
/// How often pipes that were released are looked for: the kernel has nothing to wait on.
const AGAIN: Duration = Duration::from_millis(1);
/// More pipes than a normal user may have, by default.
const MOST: usize = 4096;

/// Takes pipes of a user until the system gives no more of the usual size, and keeps taking those that other processes
/// of the user release, until this is dropped.
struct Hog {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Hog {
    fn of(who: As) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let (sender, none_left) = mpsc::channel();
        let over = Arc::clone(&ends);
        // A pipe belongs to the user of the thread that makes it.
        let thread = thread::spawn(move || {
            if who == As::NormalUser {
                let user = Uid::from_raw(NORMAL_USER);
                set_thread_res_uid(user, user, user).unwrap();
            }
            let mut pipes = Vec::new();
            while !over.load(Ordering::SeqCst) {
                assert!(
                    pipes.len() < MOST,
                    "this user may have any number of pipes: see /proc/sys/fs/pipe-user-pages-soft"
                );
                let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
                if fcntl_getpipe_size(&write).unwrap() < USUAL {
                    // The test hears of it once, and does not wait for more.
                    let _ = sender.send(());
                    thread::sleep(AGAIN);
                    continue;
                }
                // Or it stays as it is.
                let _ = fcntl_setpipe_size(&write, LARGEST);
                pipes.push((read, write));
            }
        });
        none_left.recv().expect("the system gave pipes without end");
        Self { ends, thread: Some(thread) }
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))), "taking pipes failed");
    }
}

/// Sends much through each tunnel at once, and sees it come back as it was.
fn carry_much(tunnels: &mut [TcpStream]) {
    thread::scope(|scope| {
        for (number, tunnel) in (0..).zip(tunnels) {
            let much: Vec<u8> = (0..MUCH as u32).map(|at| (at % 251) as u8 ^ number).collect();
            let mut sending = tunnel.try_clone().unwrap();
            scope.spawn(move || {
                let mut back = vec![0; MUCH];
                thread::scope(|scope| {
                    scope.spawn(|| sending.write_all(&much).unwrap());
                    tunnel.read_exact(&mut back).unwrap_or_else(|error| panic!("tunnel {number}: {error}"));
                });
                assert!(back == much, "tunnel {number} changes what it carries");
            });
        }
    });
}

/// Whether bulk leaves pipes for later with the gateway, which is how one sees that it went through some.
fn goes_through_pipes(who: As, has_hog: bool) -> bool {
    let _pipes = pipes_of_a_user();
    let _heavy = heavy();
    let echo = echo_server();
    let gateway = Gateway::with_inventory_as(who, &inventory(&[running(ID, echo.address.port())]), &[]);
    let process = gateway.process.id();
    let before = pipe_ends(process);
    let hog = has_hog.then(|| Hog::of(who));
    let mut tunnels: Vec<_> = (0..TUNNELS).map(|_| echo_tunnel(gateway.address, ID).unwrap()).collect();
    carry_much(&mut tunnels);
    let after = pipe_ends(process);
    drop((tunnels, hog));
    after > before
}

#[test]
fn bulk_goes_through_pipes() {
    for who in As::each() {
        assert!(goes_through_pipes(who, false), "{who:?}");
    }
}

/// To root the system gives any number.
///
/// Where these tests run as the normal user themselves, others of them give pipes back at any moment.
#[test]
fn bulk_of_a_user_who_has_no_pipe_left_is_copied() {
    let who = As::normal_user();
    let tries = if who == As::Caller { TRIES } else { 1 };
    assert!((0..tries).any(|_| !goes_through_pipes(who, true)), "the gateway finds a pipe each time");
}
