//! A VPS that leaves for good while the client of its tunnel is away.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use rustix::process::Signal;

use crate::support::gateway::{Gateway, successor};
use crate::support::pattern::pattern;
use crate::support::peers::Peer;
use crate::support::resumable::Session;
use crate::support::scene::ID;
use crate::support::watched::audit;

const EOF: [u8; 4] = [2, 0, 0, 0];
/// Longer than a client has that is not away.
const AWAY: Duration = Duration::from_secs(3);
/// More than one connection carries before its client leaves.
const WORDS: usize = 100_000;

/// The last words of the VPS are complete, whether the client comes back to this process or to the next one.
#[test]
fn its_last_words_wait_for_the_client() {
    for (name, hands_over) in [("later", false), ("after a hand-over", true)] {
        let (leave, told) = mpsc::channel();
        let told = Mutex::new(told);
        let vps = Peer::serve(move |mut stream| {
            stream.write_all(&pattern(WORDS))?;
            stream.shutdown(Shutdown::Write)?;
            told.lock().unwrap().recv()?;
            set_socket_linger(&stream, Some(Duration::ZERO))?;
            Ok(())
        });
        let gateway = Gateway::before(vps.address.port());
        let mut session = Session::open(gateway.address, &format!("{ID}:22"), None);
        let (words, ended) = until_eof(&mut session.stream);
        assert_eq!((words.len(), ended), (WORDS, true), "{name}");
        leave.send(()).unwrap();
        vps.finish();
        // Nobody takes it any more, which the gateway notices now.
        session.stream.write_all(b"\0\0\0\x01x").unwrap();
        session.stream.shutdown(Shutdown::Both).unwrap();
        audit(&gateway, "parked", 1);
        if hands_over {
            gateway.process.signal(Signal::USR2);
            successor(&gateway.process, 1);
        } else {
            thread::sleep(AWAY);
        }

        // The client has lost everything that it had not yet passed on.
        let mut stream = session.continued(1, 0);
        let (words, ended) = until_eof(&mut stream);
        assert!(words == pattern(WORDS) && ended, "{name}: {} bytes, {ended}", words.len());
        let all = WORDS as u64 + 1;
        stream.write_all(&[&[1, 0, 0, 8], &all.to_be_bytes()[..], &EOF].concat()).unwrap();
        assert_eq!(audit(&gateway, "closed", 1)[0]["reason"], "complete", "{name}");
    }
}

/// The content of the DATA frames up to an EOF, and whether that has come.
fn until_eof(stream: &mut impl Read) -> (Vec<u8>, bool) {
    let (mut all, mut header) = (Vec::new(), [0; 4]);
    while stream.read_exact(&mut header).is_ok() {
        let mut content = vec![0; u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize];
        stream.read_exact(&mut content).unwrap();
        match header {
            [0, ..] => all.append(&mut content),
            EOF => return (all, true),
            _ => {}
        }
    }
    (all, false)
}
