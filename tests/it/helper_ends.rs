//! How a tunnel ends, driven from outside, on each pair that stdin and stdout may be: always, and without a byte lost.

use std::io::{Read, Write};

use rustix::pipe::fcntl_setpipe_size;
use rustix::process::Signal;

use super::FRONT;
use crate::support::far_end::{BANNER, broke, open_behind, reset, sees_the_end, tunnels_behind};
use crate::support::home::Home;
use crate::support::pattern::pattern;
use crate::support::peers::hears;
use crate::support::run::DEADLINE;
use crate::support::scene::ID;
use crate::support::spawned::{Ends, MOMENT, PATIENT, Spawned};

#[test]
fn the_server_closes_first_while_stdin_stays_open() {
    for ends in Ends::ALL {
        let (mut spawned, mut server, _kept) = open_behind(FRONT, ends);
        let bytes = pattern(4 << 20);
        let sent = bytes.clone();
        let sending = std::thread::spawn(move || server.write_all(&sent));
        // The reader is slow, so much is still on its way when the server has closed.
        std::thread::sleep(MOMENT);
        assert!(spawned.read_all() == bytes, "{ends:?}: bytes were lost");
        sending.join().unwrap().unwrap();
        assert!(spawned.stdin.is_some());
        spawned.ends_with(0, "");
    }
}

#[test]
fn stdin_ends_first_and_the_reply_still_comes() {
    for ends in Ends::ALL {
        let (spawned, server, _kept) = open_behind(FRONT, ends);
        spawned.asks_until_stdin_ends(pattern(4 << 20), server);
    }
}

#[test]
fn the_reader_of_stdout_leaves_while_all_is_idle() {
    for ends in Ends::ALL {
        let (mut spawned, mut server, _kept) = open_behind(FRONT, ends);
        if ends == Ends::Socketpair {
            // One socket is both: it can only leave as a whole.
            spawned.stdin = None;
        }
        spawned.stdout = None;
        sees_the_end(&mut server);
        spawned.ends_with(0, "");
    }
}

#[test]
fn both_ends_leave() {
    for ends in Ends::ALL {
        let (mut spawned, mut server, _kept) = open_behind(FRONT, ends);
        (spawned.stdin, spawned.stdout) = (None, None);
        sees_the_end(&mut server);
        spawned.ends_with(0, "");
    }
}

#[test]
fn both_ends_leave_in_the_middle_of_a_flood() {
    for ends in Ends::ALL {
        let (mut spawned, mut server, _kept) = open_behind(FRONT, ends);
        let flood = std::thread::spawn(move || while server.write_all(&[0; 65536]).is_ok() {});
        let mut some = [0; 65536];
        spawned.stdout.as_mut().unwrap().read_exact(&mut some).unwrap();
        (spawned.stdin, spawned.stdout) = (None, None);
        spawned.ends_with(0, "");
        flood.join().unwrap();
    }
}

#[test]
fn a_reset_is_an_error() {
    for ends in Ends::ALL {
        let (spawned, server, (proxy, _home)) = open_behind(FRONT, ends);
        reset(server);
        spawned.ends_with(1, &broke(&proxy));
    }
}

/// A write that meets it learns of it first, and what the server had sent before is still delivered.
#[test]
fn a_reset_with_undelivered_bytes_loses_none_of_them() {
    for ends in Ends::ALL {
        for speaks in [false, true] {
            let (mut spawned, mut server, (proxy, _home)) = open_behind(FRONT, ends);
            if let Ends::Pipes | Ends::Mixed = ends {
                // Else all of it would be delivered at once.
                fcntl_setpipe_size(spawned.stdout.as_ref().unwrap(), 4096).unwrap();
            }
            // No more than has arrived by the time that it is sent.
            let bytes = pattern(32 * 1024);
            server.write_all(&bytes).unwrap();
            std::thread::sleep(MOMENT);
            reset(server);
            if speaks {
                // It may be over already.
                let _ = spawned.stdin.as_mut().unwrap().write_all(b"x");
                std::thread::sleep(MOMENT);
            }
            // Not to the end: of one socket for both, that is an error while what was said there is unread.
            let mut received = vec![0; bytes.len()];
            spawned.stdout.as_mut().unwrap().read_exact(&mut received).unwrap();
            assert!(received == bytes, "{ends:?}, it speaks: {speaks}: bytes were lost");
            spawned.ends_with(1, &broke(&proxy));
        }
    }
}

#[test]
fn signals_end_it_at_once() {
    for ends in Ends::ALL {
        for signal in [Signal::HUP, Signal::TERM, Signal::INT] {
            let (spawned, mut server, _kept) = open_behind(FRONT, ends);
            spawned.signal(signal);
            sees_the_end(&mut server);
            let (_, stderr) = spawned.wait();
            assert_eq!(stderr, "", "{ends:?}, {signal:?}");
        }
    }
}

/// sshd speaks first, but whatever the client says does not wait for that.
#[test]
fn a_client_may_speak_before_the_server_does() {
    let (proxy, servers) = tunnels_behind(FRONT);
    let home = Home::new();
    for ends in Ends::ALL {
        let mut spawned = Spawned::start(ends, &home, &proxy, &[&PATIENT[..], &[ID]].concat());
        let mut server = servers.recv_timeout(DEADLINE).unwrap();
        spawned.stdin.as_mut().unwrap().write_all(b"hello").unwrap();
        hears(&mut server, b"hello");
        server.write_all(BANNER).unwrap();
        drop(server);
        assert_eq!(spawned.read_all(), BANNER);
        spawned.ends_with(0, "");
    }
}

#[test]
fn bytes_flow_without_a_thread_beside() {
    for ends in Ends::ALL {
        let (spawned, server, _kept) = open_behind(FRONT, ends);
        let threads = std::fs::read_dir(format!("/proc/{}/task", spawned.pid())).unwrap().count();
        assert_eq!(threads, 1, "{ends:?}");
        drop(server);
        spawned.ends_with(0, "");
    }
}
