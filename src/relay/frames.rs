//! The engine from a resumable tunnel to a pipe: bulk is spliced out of its frames, and everything before it is copied.
//!
//! Most tunnels never move bulk, and a spliced frame takes one read more, for its header alone. After the first splice the
//! engine doesn't return to copying: Linux then refuses to write to that pipe without waiting, so a copy would go page by
//! page.

use std::io;

use super::copy::{Copy, PIPE_TO_SSH};
use super::port::{BULK, Port};
use super::splice::{self, Network};
use super::step::{Broken, Step, Waits};
use crate::sys;

pub(super) struct Frames {
    copy: Copy,
    /// Whether frames are spliced: bulk was moved.
    splices: bool,
    /// Whether the system splices for these two, as far as is known.
    can_splice: bool,
}

impl Frames {
    /// Whether it is made for these two.
    pub(super) fn serves(source: &Port<'_>, sink: &Port<'_>) -> bool {
        match (source, sink) {
            (Port::Carrier(carrier), Port::Inherited(sink)) => {
                sys::CAN_SPLICE && carrier.lasting().is_some() && sink.is_pipe()
            }
            _ => false,
        }
    }

    /// An engine that writes `early` before anything it reads.
    pub(super) fn new(early: Vec<u8>) -> Self {
        Self { copy: Copy::new(early), splices: false, can_splice: true }
    }

    /// `waits` names the side that was reported ready.
    pub(super) fn step(&mut self, from: &mut Port<'_>, to: &mut Port<'_>, waits: Waits) -> Result<Step, Broken> {
        if self.splices
            && self.copy.held() == 0
            && let Some(step) = self.splice(from, to, waits)?
        {
            return Ok(step);
        }
        let step = self.copy.step(from, to, waits)?;
        // The size of a read decides, not that of a write: before Linux 6.5, a write to ssh's pipe is a page at most.
        if !self.splices && self.can_splice && self.copy.held() >= BULK {
            self.splices = true;
            to.enlarge_pipe(PIPE_TO_SSH);
        }
        Ok(step)
    }

    /// Splices a part of a frame. `None` if only a read can get on.
    fn splice(&mut self, from: &mut Port<'_>, to: &Port<'_>, waits: Waits) -> Result<Option<Step>, Broken> {
        let (Port::Carrier(carrier), Port::Inherited(sink)) = (from, to) else { return Ok(None) };
        let (source, length) = match carrier.spliceable() {
            Ok(Some(next)) => next,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Some(Step::Blocked(Waits::Source))),
            Ok(None) | Err(_) => return Ok(None),
        };
        match splice::once(source, sink.descriptor, length, Network::Source, waits) {
            Ok(Step::MovedAll(bytes)) => {
                carrier.note_spliced(bytes);
                self.copy.note_other_write();
                // Another frame may follow at once.
                Ok(Some(if bytes == length { Step::Moved(bytes) } else { Step::MovedAll(bytes) }))
            }
            Ok(Step::Blocked(Waits::Source)) => {
                carrier.note_spliced(0);
                Ok(Some(Step::Blocked(Waits::Source)))
            }
            Ok(step @ (Step::Blocked(_) | Step::Moved(_))) => Ok(Some(step)),
            Ok(Step::Unfit) => {
                (self.splices, self.can_splice) = (false, false);
                Ok(None)
            }
            // The connection has ended, and not the tunnel.
            Ok(Step::End) | Err(Broken::Source(_)) => Ok(None),
            Err(broken) => Err(broken),
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::super::port::Inherited;
    use super::*;
    use crate::carrier::Carrier;
    use crate::carrier::tests::connection;
    use crate::carrier::tests::until_arrived;
    use crate::resume::{Resumable, Role, Supplied, Supply, Want};
    use crate::sys::{AsFd, BorrowedFd, PollFlags};
    use std::collections::VecDeque;
    use std::io::{ErrorKind, PipeReader, PipeWriter, Read as _, Write as _};
    use std::net::TcpStream;
    use std::time::{Duration, Instant};

    /// There is one connection, and never another.
    struct NoOther;

    impl Supply for NoOther {
        fn want(&mut self, _: Want, _: Instant) {}

        fn next(&mut self) -> Supplied {
            Supplied::Nothing
        }
    }

    /// Both ends of a resumable tunnel: the helper's and the gateway's.
    fn tunnel() -> [Resumable<NoOther>; 2] {
        let (near, far) = connection();
        far.set_nonblocking(true).unwrap();
        [(Role::Client, near), (Role::Gateway, far)].map(|(role, below)| {
            Resumable::new(role, Box::new(below), Vec::new(), Vec::new(), Duration::from_secs(60), NoOther)
        })
    }

    /// Steps until the tunnel has brought everything that it can bring now. Returns how many bytes were spliced.
    fn deliver(frames: &mut Frames, tunnel: &mut dyn Carrier, pipe: BorrowedFd<'_>) -> usize {
        let (mut waits, mut spliced) = (Waits::Source, 0);
        loop {
            let held_nothing = frames.copy.held() == 0;
            let step = frames.step(&mut Port::Carrier(tunnel), &mut Port::Inherited(Inherited::new(pipe)), waits);
            match step.unwrap() {
                // A copy of nothing reads, and moves nothing yet.
                Step::Moved(bytes) if held_nothing => spliced += bytes,
                Step::Moved(_) => {}
                Step::MovedAll(bytes) => (waits, spliced) = (Waits::Source, spliced + bytes),
                Step::Blocked(Waits::Sink) => {
                    sys::poll(&mut [sys::entry(pipe, PollFlags::OUT)], None).unwrap();
                    waits = Waits::Sink;
                }
                Step::Blocked(_) => return spliced,
                Step::End | Step::Unfit => panic!("an open tunnel into a pipe"),
            }
        }
    }

    #[test]
    fn bulk_is_spliced_out_of_its_frames() {
        let [helper, mut gateway] = tunnel();
        // As the helper has it.
        let mut helper: Box<dyn Carrier> = Box::new(helper);
        let (mut reader, writer) = std::io::pipe().unwrap();
        let received = std::thread::spawn(move || {
            let mut received = Vec::new();
            reader.read_to_end(&mut received).unwrap();
            received
        });
        let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
        let (mut frames, mut sent, mut spliced) = (Frames::new(bytes[..3].to_vec()), 3, 0);
        while sent < bytes.len() {
            match gateway.send(&bytes[sent..]) {
                Ok(taken) => sent += taken,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            spliced += deliver(&mut frames, &mut helper, writer.as_fd());
            // Acknowledgements make room.
            assert_eq!(gateway.receive(&mut [0; 64]).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
        assert!(frames.splices && spliced > bytes.len() / 2, "{spliced} bytes were spliced");
        let typed = b"ls";
        for key in typed.chunks(1) {
            assert_eq!(gateway.send(key).unwrap(), 1);
            sys::poll(&mut [sys::entry(helper.as_fd(), PollFlags::IN)], None).unwrap();
            deliver(&mut frames, &mut helper, writer.as_fd());
        }
        drop(writer);
        assert!(received.join().unwrap() == [&bytes, &typed[..]].concat());
    }

    #[test]
    fn a_boxed_carrier_lasts_and_is_spliced_as_the_one_inside() {
        let [helper, mut gateway] = tunnel();
        let mut boxed: Box<dyn Carrier> = Box::new(helper);
        let carrier: &mut dyn Carrier = &mut boxed;
        assert!(carrier.lasting().is_some() && carrier.lasting_mut().is_some());
        assert_eq!(gateway.send(b"ab").unwrap(), 2);
        sys::poll(&mut [sys::entry(carrier.as_fd(), PollFlags::IN)], None).unwrap();
        for left in [2, 1] {
            let (socket, length) = carrier.spliceable().unwrap().unwrap();
            assert_eq!(length, left);
            assert_eq!(sys::receive(socket, &mut [0]).unwrap(), 1);
            carrier.note_spliced(1);
        }
        assert_eq!(carrier.spliceable().unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn it_serves_a_carrier_that_lasts_and_a_pipe_that_ssh_reads() {
        let ([mut lasting, _gateway], (mut bare, _peer)) = (tunnel(), connection());
        let (other, (_reader, pipe)) = (bare.try_clone().unwrap(), std::io::pipe().unwrap());
        let inherited = |descriptor| Port::Inherited(Inherited::new(descriptor));
        let (pipe, other) = (inherited(pipe.as_fd()), inherited(other.as_fd()));
        let (lasting, bare) = (Port::Carrier(&mut lasting), Port::Carrier(&mut bare));
        assert!(Frames::serves(&lasting, &pipe));
        for (source, sink) in
            [(&lasting, &other), (&bare, &pipe), (&pipe, &lasting), (&other, &pipe), (&lasting, &bare)]
        {
            assert!(!Frames::serves(source, sink));
        }
    }

    /// A carrier that says what a test wants of the frames in its socket.
    struct Scripted {
        socket: TcpStream,
        frames: VecDeque<io::Result<Option<usize>>>,
        /// How many bytes were spliced each time.
        noted: Vec<usize>,
        /// The result of each read.
        receives: Result<usize, ErrorKind>,
    }

    impl AsFd for Scripted {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.socket.as_fd()
        }
    }

    impl Carrier for Scripted {
        fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let bytes = self.receives?;
            buffer[..bytes].fill(b'r');
            Ok(bytes)
        }

        fn send(&mut self, _: &[u8]) -> io::Result<usize> {
            unreachable!("it is only read")
        }

        fn end_writing(&mut self) -> io::Result<()> {
            Ok(())
        }

        fn spliceable(&mut self) -> io::Result<Option<(BorrowedFd<'_>, usize)>> {
            let next = self.frames.pop_front().unwrap_or(Ok(None))?;
            Ok(next.map(|length| (self.socket.as_fd(), length)))
        }

        fn note_spliced(&mut self, bytes: usize) {
            self.noted.push(bytes);
        }
    }

    /// An engine with the carrier and the pipe that it is between.
    struct Rig {
        engine: Frames,
        carrier: Scripted,
        reader: PipeReader,
        writer: PipeWriter,
        _peer: TcpStream,
    }

    impl Rig {
        /// A relay that has moved bulk, and has `early` to write. `content` is in the socket.
        fn new(early: &[u8], content: &[u8]) -> Self {
            let ((socket, mut peer), (reader, writer)) = (connection(), std::io::pipe().unwrap());
            peer.write_all(content).unwrap();
            until_arrived(&socket, content.len());
            let receives = Err(ErrorKind::ConnectionReset);
            let carrier = Scripted { socket, frames: VecDeque::new(), noted: Vec::new(), receives };
            let engine = Frames { copy: Copy::new(early.to_vec()), splices: true, can_splice: true };
            Self { engine, carrier, reader, writer, _peer: peer }
        }

        /// A step, before which the carrier tells of `frame`. The sink was reported ready.
        fn step(&mut self, frame: io::Result<Option<usize>>) -> Result<Step, Broken> {
            self.carrier.frames = VecDeque::from([frame]);
            let sink = Inherited::new(self.writer.as_fd());
            self.engine.step(&mut Port::Carrier(&mut self.carrier), &mut Port::Inherited(sink), Waits::Sink)
        }

        fn written(self) -> Vec<u8> {
            let Self { mut reader, writer, .. } = self;
            drop(writer);
            let mut written = Vec::new();
            reader.read_to_end(&mut written).unwrap();
            written
        }
    }

    #[test]
    fn what_was_read_before_is_written_before_a_frame_is_spliced() {
        let mut rig = Rig::new(b"early, ", b"frame");
        assert!(matches!(rig.step(Ok(Some(5))), Ok(Step::Moved(7))));
        assert!(matches!(rig.step(Ok(Some(5))), Ok(Step::Moved(5))));
        assert_eq!(rig.carrier.noted, [5]);
        assert_eq!(rig.written(), b"early, frame");
    }

    #[test]
    fn a_carrier_that_has_no_more_of_a_frame_is_waited_for() {
        let mut rig = Rig::new(b"", b"one, two");
        // Another frame may be there after a whole one, and nothing after a part.
        assert!(matches!(rig.step(Ok(Some(5))), Ok(Step::Moved(5))));
        assert!(matches!(rig.step(Ok(Some(100))), Ok(Step::MovedAll(3))));
        assert!(matches!(rig.step(Ok(Some(97))), Ok(Step::Blocked(Waits::Source))));
        // Its reads fail, so none is tried.
        assert!(matches!(rig.step(Err(ErrorKind::WouldBlock.into())), Ok(Step::Blocked(Waits::Source))));
        assert_eq!(rig.carrier.noted, [5, 3, 0]);
        assert_eq!(rig.written(), b"one, two");
    }

    /// A read tells how the carrier has ended, and what it holds.
    #[test]
    fn a_carrier_without_a_frame_to_splice_is_read() {
        let mut rig = Rig::new(b"", b"");
        for frame in [Ok(None), Err(ErrorKind::ConnectionReset.into()), Err(ErrorKind::Interrupted.into())] {
            assert!(
                matches!(rig.step(frame), Err(Broken::Source(error)) if error.kind() == ErrorKind::ConnectionReset)
            );
        }
        rig.carrier.receives = Ok(3);
        assert!(matches!(rig.step(Ok(None)), Ok(Step::Moved(0))));
        assert!(matches!(rig.step(Ok(None)), Ok(Step::Moved(3))));
        assert_eq!(rig.written(), b"rrr");
    }

    /// The splice may have filled it, and ssh's pipe is one that a write waits for.
    #[test]
    fn a_pipe_that_was_spliced_into_is_waited_for_before_it_is_written() {
        let mut rig = Rig::new(b"", b"frame");
        rig.carrier.receives = Ok(1);
        assert!(matches!(rig.step(Ok(Some(5))), Ok(Step::Moved(5))));
        assert!(matches!(rig.step(Ok(None)), Ok(Step::Moved(0))));
        assert!(matches!(rig.step(Ok(None)), Ok(Step::Blocked(Waits::Sink))));
        assert!(matches!(rig.step(Ok(None)), Ok(Step::Moved(1))));
        assert_eq!(rig.written(), b"framer");
    }

    #[test]
    fn frames_are_spliced_after_bulk_and_only_where_that_works() {
        for (bytes, can_splice, splices) in [(BULK - 1, true, false), (BULK, true, true), (BULK, false, false)] {
            let mut rig = Rig::new(b"", b"");
            rig.engine = Frames { can_splice, ..Frames::new(Vec::new()) };
            rig.carrier.receives = Ok(bytes);
            assert!(!rig.engine.splices);
            assert!(matches!(rig.step(Ok(None)), Ok(Step::Moved(0))));
            assert_eq!(rig.engine.splices, splices, "{bytes} bytes, can splice: {can_splice}");
            // A Linux before 6.5 takes less than this at once.
            let mut moved = 0;
            while moved < bytes {
                match rig.step(Ok(None)) {
                    Ok(Step::Moved(part)) if part > 0 => moved += part,
                    Ok(Step::Blocked(Waits::Sink)) => {}
                    _ => panic!("after {moved} bytes of {bytes}"),
                }
            }
            assert!(rig.written() == vec![b'r'; bytes]);
        }
    }
}
