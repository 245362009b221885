//! An end under pressure: calls that fail, a connection without room, and memory that is counted.

use super::*;
use crate::carrier::tests::Scripted as Below;

/// A client over a connection whose first call of each kind fails so, and its peer.
fn failing(error: io::ErrorKind) -> (Resumable<Scripted>, TcpStream) {
    let (socket, peer) = connected();
    let (mut reads, mut writes) = (Some(error), Some(error));
    let receive = move |socket: &mut TcpStream, buffer: &mut [u8]| match reads.take() {
        Some(error) => Err(error.into()),
        None => socket.receive(buffer),
    };
    let send = move |socket: &mut TcpStream, bytes: &[u8]| match writes.take() {
        Some(error) => Err(error.into()),
        None => socket.send(bytes),
    };
    let below = Box::new(Below { socket, receive, send });
    (Resumable::new(Role::Client, below, Vec::new(), Vec::new(), KEEP, Scripted::default()), peer)
}

#[test]
fn a_call_that_fails_costs_the_connection_unless_it_may_succeed_later() {
    use io::ErrorKind as E;
    for (error, is_lost) in
        [(E::WouldBlock, false), (E::Interrupted, false), (E::BrokenPipe, true), (E::ConnectionReset, true)]
    {
        let (mut end, mut peer) = failing(error);
        // The end has taken it, wherever it is.
        assert_eq!((end.send(b"x").unwrap(), end.is_away()), (1, is_lost), "a write: {error:?}");
        if !is_lost {
            end.flush().unwrap();
            io::Read::read_exact(&mut peer, &mut [0; 5]).unwrap();
        }
        let (mut end, _peer) = failing(error);
        let met = end.receive(&mut [0; 9]).unwrap_err().kind();
        let expected = if is_lost { E::WouldBlock } else { error };
        assert_eq!((met, end.is_away()), (expected, is_lost), "a read: {error:?}");
    }
}

/// Otherwise what is typed would wait behind a whole window of older bytes.
#[test]
fn an_end_takes_no_bytes_while_its_connection_has_no_room_for_those_before() {
    let (socket, _peer) = connected();
    let send = |_: &mut TcpStream, _: &[u8]| Err(io::ErrorKind::WouldBlock.into());
    let below = Box::new(Below { socket, receive: TcpStream::receive, send });
    let mut client = Resumable::new(Role::Client, below, Vec::new(), Vec::new(), KEEP, Scripted::default());
    assert_eq!(client.send(b"x").unwrap(), 1);
    assert!(would_block(client.send(b"y")));
    client.park();
    assert_eq!(client.send(b"y").unwrap(), 1);
}

/// No event would tell the reader of bytes that were taken out of the socket.
#[test]
fn bytes_for_a_reader_that_waits_are_left_in_the_socket() {
    let (mut client, mut gateway) = ends();
    assert!(would_block(client.receive(&mut [0; 9])));
    assert_eq!(gateway.send(b"xyz").unwrap(), 3);
    // No room for any block.
    client.window = 1;
    assert!(would_block(client.send(b"y")) && client.unread.is_empty());
    assert_eq!(client.receive(&mut [0; 1]).unwrap(), 1);
    // Now the reader is known to have more to read.
    client.window = 1;
    assert!(would_block(client.send(b"y")) && client.unread == b"yz");
}

#[test]
fn so_much_is_read_ahead_as_memory_allows_beside_what_was_taken() {
    for (taken, left) in [(0, 5), (1, 0)] {
        let (mut client, mut gateway) = ends();
        assert_eq!(gateway.send(b"x").unwrap(), 1);
        (client.allowed, client.unread, client.unread_from) = (100, vec![7; 100], taken);
        client.read_ahead();
        assert_eq!(client.unread.len() - client.unread_from, 100);
        // The frame of one byte.
        assert_eq!(sys::peek(client.as_fd(), &mut [0; 9]).unwrap_or(0), left);
    }
}

#[test]
fn bytes_that_were_read_ahead_and_taken_need_no_memory() {
    let (mut client, mut gateway) = ends();
    let mut buffer = vec![7; AHEAD];
    for _ in 0..8 {
        assert_eq!(gateway.send(&buffer).unwrap(), AHEAD);
        client.read_ahead();
        // All but the last byte.
        let most = client.unread.len() - client.unread_from - 1;
        assert_eq!(client.receive(&mut buffer[..most]).unwrap(), most);
        assert!(client.unread.len() <= 2 * AHEAD, "{} bytes are kept", client.unread.len());
    }
    assert!(buffer.iter().all(|byte| *byte == 7));
}

#[test]
fn the_supply_is_told_of_memory_that_has_changed_by_much_or_is_given_back() {
    let (one, _other) = connected();
    let End { carrier: mut client, script, .. } = End::new(Role::Client, one, 0, false);
    let told = || std::mem::take(&mut script.0.lock().unwrap().told);
    // Bytes that were read ahead, and how many of them were taken: their buffer stays until all are.
    for (unread, taken, expected) in [
        (MEMORY_STEP - 1, 0, vec![]),
        (MEMORY_STEP, 0, vec![MEMORY_STEP]),
        (MEMORY_STEP + 1, 0, vec![]),
        (4 * MEMORY_STEP, MEMORY_STEP, vec![4 * MEMORY_STEP]),
        (5, 0, vec![5]),
        (6, 0, vec![]),
        (0, 0, vec![0]),
        (0, 0, vec![]),
    ] {
        (client.unread, client.unread_from) = (Vec::with_capacity(unread), taken);
        client.unread.resize(unread.div_ceil(2), 0);
        client.note_memory();
        assert_eq!(told(), expected, "{unread} bytes, {taken} taken");
    }
    // Unread bytes are lost with their connection, or the reader takes them.
    for gives_back in [Resumable::park, |client: &mut Resumable<Scripted>| drop(client.receive(&mut [0; MEMORY_STEP]))]
    {
        client.unread = vec![0; MEMORY_STEP];
        client.note_memory();
        gives_back(&mut client);
        assert_eq!(told(), [MEMORY_STEP, 0]);
    }
}

#[test]
fn a_client_that_comes_back_frees_the_memory_of_bytes_that_it_has_got() {
    for fails in [false, true] {
        let (one, _peer) = connected();
        let End { carrier: mut gateway, script, .. } = End::new(Role::Gateway, one, 0, false);
        let mut sent = 0;
        while sent < 2 * MEMORY_STEP {
            sent += gateway.send(&vec![7; MEMORY_STEP]).unwrap();
        }
        let told = || script.0.lock().unwrap().told.last().copied();
        assert!(told().is_some_and(|bytes| bytes >= MEMORY_STEP));
        let (fresh, _peer) = fresh(sent as u64, fails);
        assert_eq!(gateway.attach(fresh, Instant::now()), !fails);
        assert_eq!((told(), gateway.link.spare()), (Some(0), 0));
    }
}

#[test]
fn a_session_that_is_over_keeps_no_bytes_and_says_no_more() {
    let (one, mut other) = connected();
    let mut client = End::new(Role::Client, one, 0, false).carrier;
    assert_eq!(client.send(b"x").unwrap(), 1);
    assert!(client.link.cost() > 0);
    client.end(SessionOver::Here(Reason::Stopped));
    assert!(client.link.cost() == 0 && !client.link.has_unsent());
    drop(client);
    let mut said = Vec::new();
    io::Read::read_to_end(&mut other, &mut said).unwrap();
    assert_eq!(said, [0, 0, 0, 1, b'x']);
}

/// A supply with a descriptor, which can't be passed on.
struct Bell(TcpStream);

impl Supply for Bell {
    fn want(&mut self, _: Want, _: Instant) {}

    fn next(&mut self) -> Supplied {
        Supplied::Nothing
    }

    fn news(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [Some(self.0.as_fd()), None]
    }
}

#[test]
fn an_end_has_the_news_of_its_supply_until_it_is_over() {
    let ((one, _other), (bell, _)) = (connected(), connected());
    let mut end = Resumable::new(Role::Client, Box::new(one), Vec::new(), Vec::new(), KEEP, Bell(bell));
    #[cfg(feature = "gateway")]
    assert!(end.pack().is_none());
    assert!(end.lasting_mut().is_some() && end.lasting().is_some_and(|lasting| lasting.news()[0].is_some()));
    end.end(SessionOver::Here(Reason::Stopped));
    assert!(end.news().iter().all(Option::is_none));
}
