//! One direction of a tunnel.
//!
//! What arrives is read into the worker's own buffer and written at once: that is all that typing needs. A read that
//! fills the buffer begins a burst, and a burst goes through a pipe, inside the kernel, until its source is dry.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use mio::event::Event;
use mio::net::TcpStream;

use super::pipes::{Pipe, Pipes};
use crate::sys;

/// How much is read at once, in bytes; more than that is a burst.
pub(super) const READ: usize = 16 * 1024;
/// How much is read at once in a burst that has no pipe, in bytes.
const COPY: usize = 64 * 1024;
/// Most bytes that are spliced at once: what is moved in one go costs little more than half of it.
const SPLICE: usize = 1024 * 1024;
/// The same while somebody types, whose bytes would wait behind it on their way through the system.
const SPLICE_BESIDE_TYPING: usize = 512 * 1024;
/// How many moves are small after somebody has typed: some tens of milliseconds' worth.
const SMALL_MOVES: u32 = 1000;
/// How much a direction moves until others get their turn, in bytes; its last move may be larger.
pub(super) const TURN: usize = 128 * 1024;

/// What the flows of one thread share.
pub(super) struct Tools {
    pub(super) buffer: Box<[u8]>,
    pub(super) pipes: Pipes,
    typing: Arc<Typing>,
    /// What `typing` was when it was last looked at, and how many of the next moves are to be small.
    typed: u32,
    small_moves: u32,
}

/// Counts what people type, for all threads.
#[derive(Debug, Default)]
pub(super) struct Typing(AtomicU32);

impl Tools {
    pub(super) fn new(pipes: Pipes, typing: Arc<Typing>) -> Self {
        Self { buffer: vec![0; COPY].into(), pipes, typing, typed: 0, small_moves: 0 }
    }

    /// Somebody types, and waits for an answer.
    pub(super) fn note_typing(&self) {
        self.typing.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How much the next move may move.
    fn next_move(&mut self) -> usize {
        let typed = self.typing.0.load(Ordering::Relaxed);
        self.small_moves = if typed == self.typed { self.small_moves.saturating_sub(1) } else { SMALL_MOVES };
        self.typed = typed;
        if self.small_moves > 0 { SPLICE_BESIDE_TYPING } else { SPLICE }
    }
}

/// A socket, and what the event loop last said of it, minus what was found out since.
pub(super) struct Side {
    pub(super) stream: TcpStream,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// Its end has arrived, behind what can still be read.
    pub(super) ended: bool,
    /// It was reset, or found dead.
    pub(super) lost: bool,
    /// Its write half was shut from here.
    shut: bool,
    /// A write has met the reset. The system tells of it once, and whoever reads next finds an end.
    reset: bool,
}

impl Side {
    pub(super) fn new(stream: std::net::TcpStream) -> Self {
        let stream = TcpStream::from_std(stream);
        // Nobody has written to it yet but for a short answer; whether it can be read, the first event tells.
        Self { stream, readable: false, writable: true, ended: false, lost: false, shut: false, reset: false }
    }

    /// Notes what the event loop says.
    pub(super) fn note(&mut self, event: &Event) {
        self.lost |= event.is_error();
        // Nobody here has shut it, so the connection is dead; a splice may have swallowed the error.
        self.reset |= event.is_write_closed() && !self.shut;
        self.ended |= event.is_read_closed();
        self.readable |= event.is_readable() || self.ended || self.lost;
        self.writable |= event.is_writable() || self.lost;
    }
}

/// How a direction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// Its sender ended it, and that was passed on.
    Complete,
    /// Its sender is gone.
    SenderLost,
    /// Its receiver takes no more.
    ReceiverLost,
}

/// What a turn came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// A socket has to become ready first.
    Waits,
    /// There may be more to move.
    Unfinished,
    /// It is over.
    Over(End),
}

/// What one step came to.
enum Step {
    Moved(usize),
    Waits,
    Over(End),
}

/// What left its sender and hasn't reached its receiver.
enum Held {
    Nothing,
    /// The gateway's own answer, or what is left of it.
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
    end: Option<End>,
}

impl Flow {
    /// A direction that has `early` to write before anything it reads.
    pub(super) fn behind(early: Vec<u8>) -> Self {
        Self::holding(if early.is_empty() { Held::Nothing } else { Held::Bytes { bytes: early, written: 0 } })
    }

    /// One that has `answer` to write, which its sender has not sent.
    pub(super) fn answering(answer: &'static [u8]) -> Self {
        Self::holding(if answer.is_empty() { Held::Nothing } else { Held::Answer(answer) })
    }

    fn holding(held: Held) -> Self {
        Self { held, burst: false, end: None }
    }

    /// How it ended, if it has.
    pub(super) fn end(&self) -> Option<End> {
        self.end
    }

    /// Whether it is in the midst of moving much.
    pub(super) fn is_bulk(&self) -> bool {
        self.burst && self.end.is_none() || matches!(self.held, Held::Pipe(_))
    }

    /// Lets go of what it holds.
    pub(super) fn release(&mut self, pipes: &mut Pipes) {
        if let Held::Pipe(pipe) = std::mem::replace(&mut self.held, Held::Nothing) {
            pipes.give_back(pipe);
        }
    }

    /// Moves bytes until a side isn't ready, the turn is over or the direction is; how many is added to `moved`.
    pub(super) fn turn(&mut self, from: &mut Side, to: &mut Side, tools: &mut Tools, moved: &mut usize) -> Turn {
        let start = *moved;
        while *moved - start < TURN {
            match self.step(from, to, tools) {
                Step::Moved(bytes) => *moved += bytes,
                Step::Waits => {
                    // A burst that turned out to be none.
                    self.burst &= *moved - start >= READ;
                    return match (&self.held, from.lost, to.lost) {
                        // Nothing comes, and nothing could be written.
                        (Held::Nothing, _, true) => self.over(End::ReceiverLost, tools),
                        (Held::Answer(_) | Held::Bytes { .. } | Held::Pipe(_), true, _) => {
                            self.over(End::SenderLost, tools)
                        }
                        _ => Turn::Waits,
                    };
                }
                Step::Over(end) => return self.over(end, tools),
            }
        }
        Turn::Unfinished
    }

    fn over(&mut self, end: End, tools: &mut Tools) -> Turn {
        self.release(&mut tools.pipes);
        self.end = Some(end);
        Turn::Over(end)
    }

    fn step(&mut self, from: &mut Side, to: &mut Side, tools: &mut Tools) -> Step {
        match &mut self.held {
            Held::Pipe(pipe) if pipe.held > 0 => drain(pipe, to),
            Held::Pipe(_) => self.fill(from, to, tools),
            Held::Answer(answer) => match write(answer, to) {
                Step::Moved(more) => {
                    *answer = &answer[more..];
                    if answer.is_empty() {
                        self.held = Held::Nothing;
                    }
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
            Held::Nothing if self.burst && from.readable => match tools.pipes.take() {
                Some(pipe) => {
                    self.held = Held::Pipe(pipe);
                    self.fill(from, to, tools)
                }
                None => self.read(from, to, &mut tools.buffer),
            },
            Held::Nothing => self.read(from, to, &mut tools.buffer[..READ]),
        }
    }

    /// Reads into `buffer` and writes from it; what the receiver has no room for is kept.
    fn read(&mut self, from: &mut Side, to: &mut Side, buffer: &mut [u8]) -> Step {
        if !from.readable {
            return Step::Waits;
        }
        let bytes = match sys::receive(from.stream.as_fd(), buffer) {
            Ok(0) => return ended(from, to),
            Ok(bytes) => bytes,
            Err(error) => return unread(&error, from),
        };
        self.burst = bytes == buffer.len();
        // A read that leaves room has emptied the socket (epoll(7)); asking again would only say so once more.
        from.readable = self.burst || from.ended || from.lost;
        match write(&buffer[..bytes], to) {
            Step::Moved(written) if written == bytes => Step::Moved(bytes),
            Step::Over(end) => Step::Over(end),
            partly => {
                let written = if let Step::Moved(written) = partly { written } else { 0 };
                self.held = Held::Bytes { bytes: buffer[written..bytes].to_vec(), written: 0 };
                Step::Moved(written)
            }
        }
    }

    /// Fills the empty pipe. When the source is dry the pipe goes back.
    fn fill(&mut self, from: &mut Side, to: &mut Side, tools: &mut Tools) -> Step {
        let Held::Pipe(pipe) = &mut self.held else { return Step::Moved(0) };
        let step = if from.readable {
            match sys::splice(from.stream.as_fd(), pipe.write.as_fd(), tools.next_move()) {
                Ok(0) => ended(from, to),
                Ok(bytes) => {
                    pipe.held = bytes;
                    return Step::Moved(0);
                }
                Err(error) if sys::cannot_splice(&error) => {
                    tools.pipes.give_up();
                    Step::Moved(0)
                }
                Err(error) => unread(&error, from),
            }
        } else {
            Step::Waits
        };
        self.release(&mut tools.pipes);
        step
    }
}

/// Empties the pipe into the receiver.
fn drain(pipe: &mut Pipe, to: &mut Side) -> Step {
    if !to.writable {
        return Step::Waits;
    }
    match sys::splice(pipe.read.as_fd(), to.stream.as_fd(), pipe.held) {
        Ok(bytes) => {
            pipe.held -= bytes;
            Step::Moved(bytes)
        }
        Err(error) => unwritten(&error, to),
    }
}

fn write(bytes: &[u8], to: &mut Side) -> Step {
    if !to.writable {
        return Step::Waits;
    }
    match sys::send(to.stream.as_fd(), bytes) {
        Ok(written) => Step::Moved(written),
        Err(error) => unwritten(&error, to),
    }
}

/// Passes the end of a stream on.
fn ended(from: &Side, to: &mut Side) -> Step {
    if from.reset {
        return Step::Over(End::SenderLost);
    }
    // It fails only when the receiver is gone, which the opposite direction meets as well.
    let _ = to.stream.shutdown(Shutdown::Write);
    to.shut = true;
    Step::Over(End::Complete)
}

fn unread(error: &io::Error, from: &mut Side) -> Step {
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            from.readable = false;
            Step::Waits
        }
        io::ErrorKind::Interrupted => Step::Moved(0),
        _ => Step::Over(End::SenderLost),
    }
}

fn unwritten(error: &io::Error, to: &mut Side) -> Step {
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            to.writable = false;
            Step::Waits
        }
        io::ErrorKind::Interrupted => Step::Moved(0),
        kind => {
            // EPIPE follows an end that came before; without one, a splice that had moved something has swallowed the
            // error itself.
            to.reset |= match kind {
                io::ErrorKind::ConnectionReset => true,
                io::ErrorKind::BrokenPipe => !to.ended,
                _ => false,
            };
            Step::Over(End::ReceiverLost)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_are_small_for_a_while_after_somebody_has_typed() {
        let typing = Arc::<Typing>::default();
        let mut tools = Tools::new(Pipes::none(), Arc::clone(&typing));
        let mut sizes = |moves: u32| (0..moves).map(|_| tools.next_move()).collect::<Vec<_>>();
        assert_eq!(sizes(10), [SPLICE; 10]);
        typing.0.fetch_add(1, Ordering::Relaxed);
        let rest = sizes(SMALL_MOVES + 5);
        let (small, large) = rest.split_at(SMALL_MOVES as usize);
        assert!(small.iter().all(|&one| one == SPLICE_BESIDE_TYPING), "{small:?}");
        assert_eq!(large, [SPLICE; 5]);
    }
}
