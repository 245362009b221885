//! One direction of a tunnel.
//!
//! Arriving bytes are read into the worker's own buffer and written at once: that is all that typing needs. A read that
//! fills the buffer begins a burst, and a burst goes through a pipe, inside the kernel, until its source is dry. Only
//! bare sockets can be spliced; the bytes of other carriers are copied.

use crate::sys::AsFd;
use std::io;

use super::pipes::{Pipe, Pipes};
use super::side::Side;
use super::typing::Typing;
use crate::relay::ending::End;
use crate::sys;

/// How much is read at once, in bytes; more than that is a burst.
pub(super) const READ: usize = 16 * 1024;
/// How much is read at once in a burst that has no pipe, in bytes.
const COPY: usize = 64 * 1024;
/// How much a direction moves until others get their turn, in bytes; its last move may be larger.
pub(super) const TURN: usize = 128 * 1024;

/// Most steps of a turn. Below TLS, a step may move next to nothing and still cost a lot of time.
pub(super) const STEPS: usize = 32;

/// The tools that the flows of one thread share.
pub(super) struct Tools {
    pub(super) buffer: Box<[u8]>,
    pub(super) pipes: Pipes,
    pub(super) typing: Typing,
}

impl Tools {
    pub(super) fn new(pipes: Pipes) -> Self {
        Self { buffer: vec![0; COPY].into(), pipes, typing: Typing::default() }
    }
}

/// The result of a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// A side has to become ready first.
    Waits,
    /// There may be more to move.
    Unfinished,
    /// The direction has ended.
    Ended(End),
}

/// The result of one step.
enum Step {
    Moved(usize),
    Waits,
    Ended(End),
}

/// The bytes that left the sender and haven't reached the receiver.
enum Held {
    Nothing,
    /// The rest of the gateway's own answer.
    Answer(&'static [u8]),
    Bytes {
        bytes: Vec<u8>,
        written: usize,
    },
    Pipe(Pipe),
}

pub(super) struct Flow {
    held: Held,
    /// The last read was as large as can be, so the next goes through a pipe.
    burst: bool,
}

impl Flow {
    /// A direction that writes `early` before anything it reads.
    pub(super) fn behind(early: Vec<u8>) -> Self {
        Self::holding(if early.is_empty() { Held::Nothing } else { Held::Bytes { bytes: early, written: 0 } })
    }

    /// A direction that first writes `answer`, which is not the sender's.
    pub(super) fn answering(answer: &'static [u8]) -> Self {
        Self::holding(if answer.is_empty() { Held::Nothing } else { Held::Answer(answer) })
    }

    fn holding(held: Held) -> Self {
        Self { held, burst: false }
    }

    /// Whether it is in the midst of moving much.
    pub(super) fn is_bulk(&self) -> bool {
        self.burst || matches!(self.held, Held::Pipe(_))
    }

    /// Takes the bytes that it holds. `None` if they are not in this process's memory.
    pub(super) fn take_held(&mut self) -> Option<Vec<u8>> {
        match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Nothing => Some(Vec::new()),
            Held::Answer(rest) => Some(rest.to_vec()),
            Held::Bytes { bytes, written } => Some(bytes[written..].to_vec()),
            pipe @ Held::Pipe(_) => {
                self.held = pipe;
                None
            }
        }
    }

    /// Drops what it holds.
    pub(super) fn release(&mut self, pipes: &mut Pipes) {
        if let Held::Pipe(pipe) = std::mem::replace(&mut self.held, Held::Nothing) {
            pipes.give_back(pipe);
        }
    }

    /// Moves bytes until a side isn't ready, the turn is over or the direction ends; adds their count to `moved`.
    pub(super) fn turn(&mut self, from: &mut Side, to: &mut Side, tools: &mut Tools, moved: &mut usize) -> Turn {
        let start = *moved;
        for _ in 0..STEPS {
            if *moved - start >= TURN {
                break;
            }
            match self.step(from, to, tools) {
                Step::Moved(bytes) => *moved += bytes,
                Step::Waits => {
                    // A burst that turned out to be none.
                    self.burst &= *moved - start >= READ;
                    return match (&self.held, from.is_lost(), to.is_lost()) {
                        // Nothing comes, and nothing could be written.
                        (Held::Nothing, _, true) => self.ended(End::ReceiverLost, tools),
                        (Held::Answer(_) | Held::Bytes { .. } | Held::Pipe(_), true, _) => {
                            self.ended(End::SenderLost, tools)
                        }
                        _ => Turn::Waits,
                    };
                }
                Step::Ended(end) => return self.ended(end, tools),
            }
        }
        Turn::Unfinished
    }

    fn ended(&mut self, end: End, tools: &mut Tools) -> Turn {
        self.release(&mut tools.pipes);
        self.burst = false;
        Turn::Ended(end)
    }

    fn step(&mut self, from: &mut Side, to: &mut Side, tools: &mut Tools) -> Step {
        match &mut self.held {
            Held::Pipe(pipe) if pipe.held > 0 => self.drain(to, tools),
            Held::Pipe(_) => self.fill(from, tools),
            Held::Answer(answer) => match write(answer, to) {
                Step::Moved(more) => {
                    *answer = &answer[more..];
                    if answer.is_empty() {
                        self.held = Held::Nothing;
                    }
                    // Not the sender's bytes.
                    Step::Moved(0)
                }
                step => step,
            },
            Held::Bytes { bytes, written } => match write(&bytes[*written..], to) {
                Step::Moved(more) => {
                    *written += more;
                    if *written == bytes.len() {
                        self.held = Held::Nothing;
                    }
                    Step::Moved(more)
                }
                step => step,
            },
            Held::Nothing if self.burst && from.readable => {
                let can_splice = from.can_be_spliced_from() && to.is_bare();
                match can_splice.then(|| tools.pipes.take()).flatten() {
                    Some(pipe) => {
                        self.held = Held::Pipe(pipe);
                        self.fill(from, tools)
                    }
                    None => self.read(from, to, &mut tools.buffer),
                }
            }
            Held::Nothing => self.read(from, to, &mut tools.buffer[..READ]),
        }
    }

    /// Reads into `buffer` and writes from it; keeps what the receiver has no room for.
    fn read(&mut self, from: &mut Side, to: &mut Side, buffer: &mut [u8]) -> Step {
        if !from.readable {
            return Step::Waits;
        }
        let bytes = match from.read(buffer) {
            Ok(0) if from.is_found_dead() => return Step::Ended(End::SenderLost),
            Ok(0) => return Step::Ended(End::Complete),
            Ok(bytes) => bytes,
            Err(error) => return failed(&error, End::SenderLost),
        };
        self.burst = bytes == buffer.len();
        match write(&buffer[..bytes], to) {
            Step::Moved(written) if written == bytes => Step::Moved(bytes),
            Step::Ended(end) => Step::Ended(end),
            partly => {
                let written = if let Step::Moved(written) = partly { written } else { 0 };
                self.held = Held::Bytes { bytes: buffer[written..bytes].to_vec(), written: 0 };
                Step::Moved(written)
            }
        }
    }

    /// Fills the empty pipe. When the source is dry the pipe goes back.
    fn fill(&mut self, from: &mut Side, tools: &mut Tools) -> Step {
        let Held::Pipe(pipe) = &mut self.held else { return Step::Moved(0) };
        let step = if !from.can_be_spliced_from() {
            Step::Moved(0)
        } else if from.readable {
            match from.splice_into(pipe.write.as_fd(), tools.typing.next_move()) {
                // A splice also stops so in front of an urgent byte: a read tells whether this is the end.
                Ok(0) => {
                    self.burst = false;
                    Step::Moved(0)
                }
                Ok(bytes) => {
                    pipe.held = bytes;
                    return Step::Moved(0);
                }
                Err(error) if sys::cannot_splice(&error) => {
                    tools.pipes.give_up();
                    Step::Moved(0)
                }
                Err(error) => failed(&error, End::SenderLost),
            }
        } else {
            Step::Waits
        };
        self.release(&mut tools.pipes);
        step
    }

    /// Empties the pipe into the receiver.
    fn drain(&mut self, to: &mut Side, tools: &mut Tools) -> Step {
        let Held::Pipe(pipe) = &mut self.held else { return Step::Moved(0) };
        if !to.writable {
            return Step::Waits;
        }
        match to.splice_from(pipe.read.as_fd(), pipe.held) {
            Ok(bytes) => {
                pipe.held -= bytes;
                Step::Moved(bytes)
            }
            Err(error) if sys::cannot_splice(&error) => {
                let bytes = pipe.take_bytes();
                self.release(&mut tools.pipes);
                tools.pipes.give_up();
                match bytes {
                    Ok(bytes) => {
                        self.held = Held::Bytes { bytes, written: 0 };
                        Step::Moved(0)
                    }
                    Err(_) => Step::Ended(End::SenderLost),
                }
            }
            Err(error) => failed(&error, End::ReceiverLost),
        }
    }
}

fn write(bytes: &[u8], to: &mut Side) -> Step {
    if !to.writable {
        return Step::Waits;
    }
    to.write(bytes).map_or_else(|error| failed(&error, End::ReceiverLost), Step::Moved)
}

/// The result of a step whose call failed: `end`, if the call can't be repeated.
fn failed(error: &io::Error, end: End) -> Step {
    match error.kind() {
        io::ErrorKind::WouldBlock => Step::Waits,
        io::ErrorKind::Interrupted => Step::Moved(0),
        _ => Step::Ended(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::Carrier;
    use crate::carrier::tests::{Scripted, connection, until_arrived};
    use crate::sys::BorrowedFd;
    use crate::sys::PollFlags;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    fn side(socket: TcpStream) -> Side {
        let mut side = Side::new(Box::new(socket));
        side.readable = true;
        side
    }

    /// The system reports a reset once; a later read of the same socket finds a mere end.
    #[test]
    fn a_stream_is_cut_off_if_a_write_to_its_sender_has_met_a_reset() {
        let ((client, mut their_client), (vps, mut their_vps)) = (connection(), connection());
        let (client_arrives, vps_breaks) = (client.try_clone().unwrap(), vps.try_clone().unwrap());
        let (mut client, mut vps) = (side(client), side(vps));
        let (mut up, mut down) = (Flow::behind(Vec::new()), Flow::behind(Vec::new()));
        let mut tools = Tools::new(Pipes::none());
        their_vps.write_all(b"half of it").unwrap();
        until_arrived(&vps_breaks, 10);
        sys::reset_on_close(&their_vps).unwrap();
        drop(their_vps);
        assert!(sys::poll(&mut [sys::entry(vps_breaks.as_fd(), PollFlags::empty())], None).unwrap());
        their_client.write_all(b"x").unwrap();
        assert!(sys::poll(&mut [sys::entry(client_arrives.as_fd(), PollFlags::IN)], None).unwrap());
        assert_eq!(up.turn(&mut client, &mut vps, &mut tools, &mut 0), Turn::Ended(End::ReceiverLost));
        let mut turn = || {
            vps.readable = true;
            down.turn(&mut vps, &mut client, &mut tools, &mut 0)
        };
        assert_eq!([turn(), turn()], [Turn::Waits, Turn::Ended(End::SenderLost)]);
        drop((client, client_arrives));
        let mut heard = Vec::new();
        their_client.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, b"half of it");
    }

    /// A socket that says it can be spliced, and can't: a splice into a file that is appended to is refused.
    struct Unspliceable {
        socket: TcpStream,
        /// Stands for it in a splice.
        refuses: File,
    }

    impl AsFd for Unspliceable {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.socket.as_fd()
        }
    }

    impl Carrier for Unspliceable {
        fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.socket.receive(buffer)
        }

        fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.socket.send(bytes)
        }

        fn end_writing(&mut self) -> io::Result<()> {
            self.socket.end_writing()
        }

        fn bare_socket(&self) -> Option<BorrowedFd<'_>> {
            Some(self.refuses.as_fd())
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn bytes_in_a_pipe_that_cannot_be_spliced_are_copied_and_none_is_lost() {
        let path = std::env::temp_dir().join(format!("kohakuriver-unspliceable-{}", std::process::id()));
        let appended = File::options().append(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        let ((client, mut their_client), (vps, mut their_vps)) = (connection(), connection());
        let client_arrives = client.try_clone().unwrap();
        let (mut client, mut vps) =
            (side(client), Side::new(Box::new(Unspliceable { socket: vps, refuses: appended })));
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        let sent = bytes.clone();
        let sender = std::thread::spawn(move || {
            their_client.write_all(&sent).unwrap();
            their_client
        });
        let receiver = std::thread::spawn(move || {
            let mut received = Vec::new();
            their_vps.read_to_end(&mut received).unwrap();
            received
        });
        let (mut flow, mut tools, mut moved) = (Flow::behind(Vec::new()), Tools::new(Pipes::of_one_in(1)), 0);
        // More than one read takes, so a pipe is next.
        until_arrived(&client_arrives, 2 * READ);
        while moved < bytes.len() {
            (client.readable, vps.writable) = (true, true);
            let turn = flow.turn(&mut client, &mut vps, &mut tools, &mut moved);
            assert!(!matches!(turn, Turn::Ended(_)), "{turn:?}");
        }
        assert_eq!(moved, bytes.len());
        // The pipe was given up, with bytes in it.
        assert!(tools.pipes.take().is_none());
        drop((vps, sender.join().unwrap()));
        assert!(receiver.join().unwrap() == bytes);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_source_that_cannot_be_spliced_is_copied() {
        let ((client, mut their_client), (vps, mut their_vps)) = (connection(), connection());
        let client_arrives = client.try_clone().unwrap();
        // A folder gives no bytes to a splice.
        let refuses = File::open("/").unwrap();
        let (mut client, mut vps) = (Side::new(Box::new(Unspliceable { socket: client, refuses })), side(vps));
        their_client.write_all(&[7; 2 * READ]).unwrap();
        until_arrived(&client_arrives, 2 * READ);
        client.readable = true;
        let (mut flow, mut tools, mut moved) = (Flow::behind(Vec::new()), Tools::new(Pipes::of_one_in(1)), 0);
        assert_eq!(flow.turn(&mut client, &mut vps, &mut tools, &mut moved), Turn::Waits);
        assert_eq!(moved, 2 * READ);
        assert!(tools.pipes.take().is_none(), "it was not tried");
        their_vps.read_exact(&mut [0; 2 * READ]).unwrap();
    }

    /// A splice that meets it takes the error off the socket.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_reset_in_the_midst_of_a_burst_is_no_end() {
        let ((client, mut their_client), (vps, mut their_vps)) = (connection(), connection());
        let client_breaks = client.try_clone().unwrap();
        let (mut client, mut vps) = (side(client), side(vps));
        their_client.write_all(&[7; READ]).unwrap();
        until_arrived(&client_breaks, READ);
        sys::reset_on_close(&their_client).unwrap();
        drop(their_client);
        assert!(sys::poll(&mut [sys::entry(client_breaks.as_fd(), PollFlags::empty())], None).unwrap());
        let (mut flow, mut tools) = (Flow::behind(Vec::new()), Tools::new(Pipes::of_one_in(1)));
        assert_eq!(flow.turn(&mut client, &mut vps, &mut tools, &mut 0), Turn::Ended(End::SenderLost));
        their_vps.read_exact(&mut [0; READ]).unwrap();
        assert!(!flow.is_bulk());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_burst_that_its_receiver_holds_up_keeps_its_pipe() {
        let ((client, mut their_client), (vps, _their_vps)) = (connection(), connection());
        let (mut client, mut vps) = (side(client), side(vps));
        // One pipe in all.
        let (mut flow, mut tools) = (Flow::behind(Vec::new()), Tools::new(Pipes::of_one_in(usize::MAX)));
        assert!(!flow.is_bulk());
        their_client.set_nonblocking(true).unwrap();
        while vps.writable || !matches!(flow.held, Held::Pipe(_)) {
            let _ = their_client.write(&[7; 64 * 1024]);
            client.readable = true;
            let turn = flow.turn(&mut client, &mut vps, &mut tools, &mut 0);
            assert!(!matches!(turn, Turn::Ended(_)), "{turn:?}");
        }
        for _ in 0..2 {
            assert_eq!(flow.turn(&mut client, &mut vps, &mut tools, &mut 0), Turn::Waits);
            assert!(flow.is_bulk() && tools.pipes.take().is_none());
        }
        flow.release(&mut tools.pipes);
        assert!(!flow.is_bulk() && tools.pipes.take().is_some());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_burst_that_was_none_is_over_however_much_the_opposite_direction_moves() {
        let ((client, mut their_client), (vps, mut their_vps)) = (connection(), connection());
        let arrives = client.try_clone().unwrap();
        let (mut client, mut vps) = (side(client), side(vps));
        let (mut flow, mut tools) = (Flow::behind(Vec::new()), Tools::new(Pipes::of_one_in(1)));
        // One turn's bytes in both directions, after so many that the opposite direction has moved.
        let mut turn = |size: usize, mut moved: usize| {
            their_client.write_all(&vec![7; size]).unwrap();
            until_arrived(&arrives, size);
            client.readable = true;
            assert_eq!(flow.turn(&mut client, &mut vps, &mut tools, &mut moved), Turn::Waits);
            their_vps.read_exact(&mut vec![0; size]).unwrap();
            flow.is_bulk()
        };
        assert_eq!([turn(READ, 0), turn(10, READ)], [true, false]);
    }

    #[test]
    fn a_call_that_is_interrupted_is_repeated() {
        let ((client, mut their_client), (vps, mut their_vps)) = (connection(), connection());
        their_client.write_all(b"all of it").unwrap();
        assert!(sys::poll(&mut [sys::entry(client.as_fd(), PollFlags::IN)], None).unwrap());
        // Each second call fails.
        let side = |socket| {
            let (mut reads, mut writes) = (0, 0);
            let interrupts = |calls: &mut u32| {
                *calls += 1;
                if calls.is_multiple_of(2) { Ok(()) } else { Err(io::Error::from(io::ErrorKind::Interrupted)) }
            };
            Side::new(Box::new(Scripted {
                socket,
                receive: move |socket: &mut TcpStream, buffer: &mut [u8]| {
                    interrupts(&mut reads)?;
                    socket.receive(buffer)
                },
                send: move |socket: &mut TcpStream, bytes: &[u8]| {
                    interrupts(&mut writes)?;
                    socket.send(bytes)
                },
            }))
        };
        let (mut client, mut vps) = (side(client), side(vps));
        client.readable = true;
        let (mut flow, mut moved) = (Flow::behind(b"before ".to_vec()), 0);
        let turn = flow.turn(&mut client, &mut vps, &mut Tools::new(Pipes::none()), &mut moved);
        assert_eq!((turn, moved), (Turn::Waits, 16));
        drop(vps);
        let mut heard = String::new();
        their_vps.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "before all of it");
    }
}
