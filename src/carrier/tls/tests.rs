//! TLS with records that are bad, too long for their reader or too large for its buffers, and over a carrier that is full,
//! interrupted or broken.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use super::*;
use crate::carrier::tests::{Scripted, connection, fault, secured, shake_hands, until_arrived, until_done};
use crate::tls::tests::Authority;

/// How much longer than its plaintext a record is.
const MORE: usize = HEADER + OVERHEAD;

/// A record that nobody has encrypted.
const BAD: [u8; 45] = {
    let mut record = [0xaa; 45];
    (record[0], record[1], record[2], record[3], record[4]) = (0x17, 3, 3, 0, 40);
    record
};

fn pair() -> (Tls<TcpStream>, Tls<TcpStream>) {
    let (ours, theirs) = connection();
    theirs.set_nonblocking(true).unwrap();
    secured(ours, theirs)
}

fn receive<S: Carrier>(end: &mut Tls<S>, room: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; room];
    let read = until_done(end, PollFlags::IN, |end| end.receive(&mut buffer))?;
    buffer.truncate(read);
    Ok(buffer)
}

/// Makes a server use new keys, and ask for the client's.
fn renew_keys(server: &mut Tls<TcpStream>) {
    let Session::Server(session) = &mut server.session else { panic!("a client") };
    let Ok(ConnectionState::WriteTraffic(traffic)) = session.process_tls_records(&mut []).state else {
        panic!("before the end of the handshake")
    };
    traffic.refresh_traffic_keys().unwrap();
    server.take_kept(Write::Nothing, &mut []).unwrap();
    server.flush_all().unwrap();
}

/// The alert may have to wait for another message: the new keys that the peer has asked for.
#[test]
fn a_peer_is_told_of_its_bad_record_whatever_is_to_be_said_before() {
    for has_new_keys in [false, true] {
        let (mut client, mut server) = pair();
        if has_new_keys {
            renew_keys(&mut server);
        }
        assert_eq!(server.below.send(&BAD).unwrap(), BAD.len());
        let seen = fault(receive(&mut client, 100).map(|read| read.len()));
        assert!(matches!(seen, Fault::Other(_)), "{seen}");
        let told = fault(receive(&mut server, 100).map(|read| read.len())).to_string();
        assert!(told.contains("BadRecordMac"), "new keys: {has_new_keys}: {told}");
    }
}

#[test]
fn a_peer_that_had_tls_and_then_sends_text_is_not_one_without_tls() {
    let (mut client, mut server) = pair();
    server.below.send(b"HTTP/1.1 400 Bad Request\r\n").unwrap();
    let seen = fault(receive(&mut client, 100).map(|read| read.len()));
    assert_eq!(seen, Fault::Other("it stopped speaking TLS".to_owned()));
}

/// Bytes before a bad record are authentic, and are delivered however little their reader takes at once. A writer learns of
/// the record, too.
#[test]
fn plaintext_before_a_bad_record_is_delivered_and_then_the_fault_is_told() {
    for (room, is_written) in [(5000, false), (1000, false), (1000, true), (600, false), (600, true)] {
        let (mut client, mut server) = pair();
        let sent: Vec<u8> = (0..1000_u32).map(|n| (n % 251) as u8).collect();
        assert_eq!(server.send(&sent).unwrap(), sent.len());
        server.below.send(&BAD).unwrap();
        until_arrived(&client.below, sent.len() + MORE + BAD.len());
        let mut received = receive(&mut client, room).unwrap();
        if is_written {
            fault(client.send(b"x"));
        }
        while received.len() < sent.len() {
            received.extend(receive(&mut client, room).unwrap());
        }
        assert!(received == sent, "room for {room}");
        for _ in 0..2 {
            fault(client.receive(&mut [0; 100]));
        }
        assert!(fault(receive(&mut server, 100).map(|read| read.len())).to_string().contains("BadRecordMac"));
    }
}

/// A record is decrypted as a whole, so one that is too long for what is left of the buffer stays as it came.
#[test]
fn one_call_gives_the_records_that_fit_and_decrypts_no_other() {
    for (room, expected) in [(1000, 1000), (1999, 1000), (2000, 2000), (2500, 2000), (3000, 3000)] {
        let (mut client, mut server) = pair();
        for byte in 1..=3 {
            assert_eq!(server.send(&[byte; 1000]).unwrap(), 1000);
        }
        until_arrived(&client.below, 3 * (1000 + MORE));
        let received = receive(&mut client, room).unwrap();
        assert_eq!((received.len(), client.unread.len()), (expected, 0), "room for {room}");
        let rest = if expected < 3000 { receive(&mut client, 3000).unwrap() } else { Vec::new() };
        assert!([received, rest].concat() == [[1; 1000], [2; 1000], [3; 1000]].concat(), "room for {room}");
    }
}

/// Its flight of messages is larger than what most need.
#[test]
fn a_server_with_a_large_certificate_can_be_connected_to() {
    use rustls::version::{TLS12, TLS13};
    let authority = Authority::new();
    let names: Vec<String> = (0..400).map(|n| format!("{n}.of.many.gpu.example")).collect();
    let issued = authority.issue(&names.iter().map(String::as_str).collect::<Vec<_>>(), |_| {});
    assert!(issued.chain[0].len() > SMALL);
    for version in [&TLS12, &TLS13] {
        let config = rustls::ServerConfig::builder_with_provider(crate::tls::provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(issued.chain.clone(), issued.key.clone_key())
            .unwrap();
        let (ours, theirs) = connection();
        theirs.set_nonblocking(true).unwrap();
        let mut client = Tls::client(ours, &authority.client(), &names[399]).unwrap();
        let session = UnbufferedServerConnection::new(Arc::new(config)).unwrap();
        let mut server = Tls::server(theirs, session, Vec::new());
        shake_hands(&mut client, &mut server);
        assert_eq!(client.session().protocol_version(), Some(version.version));
        assert_eq!(server.send(b"SSH-2.0-").unwrap(), 8);
        assert_eq!(receive(&mut client, 100).unwrap(), b"SSH-2.0-");
    }
}

#[test]
fn nothing_is_taken_before_the_handshake_is_over() {
    let authority = Authority::new();
    let (ours, theirs) = connection();
    theirs.set_nonblocking(true).unwrap();
    let mut client = Tls::client(ours, &authority.client(), "gpu.example").unwrap();
    let mut server = Tls::server(theirs, authority.session(&["gpu.example"]), Vec::new());
    for end in [&mut client as &mut dyn Carrier, &mut server] {
        assert_eq!(end.send(b"too early").unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
    shake_hands(&mut client, &mut server);
    assert_eq!((client.send(b"").unwrap(), client.send(b"in time").unwrap()), (0, 7));
    assert_eq!(receive(&mut server, 100).unwrap(), b"in time");
}

/// The errors of the next writes to a carrier. Afterwards it takes everything.
type Troubles = Arc<Mutex<VecDeque<io::ErrorKind>>>;

/// Both ends, of which the first is over a carrier with troubles that are still to come.
fn troubled() -> (Tls<impl Carrier>, Tls<TcpStream>, Troubles) {
    let (troubles, (ours, theirs)) = (Troubles::default(), connection());
    theirs.set_nonblocking(true).unwrap();
    let next = Arc::clone(&troubles);
    let send = move |socket: &mut TcpStream, bytes: &[u8]| match next.lock().unwrap().pop_front() {
        Some(trouble) => Err(trouble.into()),
        None => socket.send(bytes),
    };
    let (ours, theirs) = secured(Scripted { socket: ours, receive: TcpStream::receive, send }, theirs);
    (ours, theirs, troubles)
}

#[test]
fn a_carrier_below_that_is_full_or_interrupted_loses_nothing_and_doubles_nothing() {
    use io::ErrorKind::{Interrupted, WouldBlock};
    for (next, is_held) in [
        (vec![], false),
        (vec![Interrupted], false),
        (vec![Interrupted, Interrupted], false),
        (vec![WouldBlock, WouldBlock], true),
        (vec![Interrupted, WouldBlock], true),
        (vec![WouldBlock, Interrupted, WouldBlock], true),
    ] {
        let (mut ours, mut theirs, troubles) = troubled();
        *troubles.lock().unwrap() = next.clone().into();
        assert_eq!(ours.send(b"first, ").unwrap(), 7, "{next:?}");
        let waits_for = if is_held { PollFlags::OUT } else { PollFlags::empty() };
        assert_eq!(ours.waits_for(PollFlags::empty()), waits_for, "{next:?}");
        assert_eq!(ours.waits_for(PollFlags::OUT), PollFlags::OUT, "{next:?}");
        assert_eq!(ours.send(b"second").unwrap(), 6, "{next:?}");
        assert!(ours.waits_for(PollFlags::empty()).is_empty(), "{next:?}");
        ours.end_writing().unwrap();
        let mut received = Vec::new();
        loop {
            match receive(&mut theirs, 100).unwrap() {
                end if end.is_empty() => break,
                more => received.extend(more),
            }
        }
        assert_eq!(received, b"first, second", "{next:?}");
    }
}

/// Records that were not written are missing in the stream, so none may follow.
#[test]
fn a_carrier_below_that_broke_is_written_no_more_and_still_read() {
    use io::ErrorKind::{ConnectionReset, WouldBlock};
    for is_held in [false, true] {
        let (mut ours, mut theirs, troubles) = troubled();
        if is_held {
            troubles.lock().unwrap().extend([WouldBlock, WouldBlock]);
            assert_eq!(ours.send(b"held").unwrap(), 4);
        }
        troubles.lock().unwrap().push_back(ConnectionReset);
        for bytes in [b"lost", b"more"] {
            assert_eq!(ours.send(bytes).unwrap_err().kind(), ConnectionReset, "held: {is_held}");
            assert!(troubles.lock().unwrap().is_empty());
        }
        assert_eq!(ours.flush().unwrap_err().kind(), ConnectionReset, "held: {is_held}");
        assert!(ours.waits_for(PollFlags::empty()).is_empty(), "it would wait forever");
        assert_eq!(theirs.receive(&mut [0; 100]).unwrap_err().kind(), WouldBlock);
        assert_eq!(theirs.send(b"last words").unwrap(), 10);
        assert_eq!(receive(&mut ours, 100).unwrap(), b"last words");
    }
}
