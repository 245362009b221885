//! The engine from a resumable tunnel to a pipe: bulk is spliced out of its frames, and everything before it is copied.
//!
//! Most tunnels never move bulk, and a spliced frame takes one read more, for its header alone. After the first splice the
//! engine doesn't return to copying: Linux then refuses to write to that pipe without waiting, so a copy would go page by
//! page.

use std::io;

use super::copy::Copy;
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
            && self.copy.is_empty()
            && let Some(step) = self.splice(from, to, waits)?
        {
            return Ok(step);
        }
        let step = self.copy.step(from, to, waits)?;
        self.splices |= self.can_splice && matches!(step, Step::Moved(BULK..));
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
    use crate::resume::{Resumable, Role, Supplied, Supply, Want};
    use crate::sys::{AsFd as _, BorrowedFd, PollFlags};
    use std::io::{ErrorKind, Read as _};
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

    /// Steps until the tunnel has brought everything that it can bring now.
    fn deliver(frames: &mut Frames, tunnel: &mut dyn Carrier, pipe: BorrowedFd<'_>) {
        let mut waits = Waits::Source;
        loop {
            let step = frames.step(&mut Port::Carrier(tunnel), &mut Port::Inherited(Inherited::new(pipe)), waits);
            match step.unwrap() {
                Step::Moved(_) => {}
                Step::MovedAll(_) => waits = Waits::Source,
                Step::Blocked(Waits::Sink) => {
                    sys::poll(&mut [sys::entry(pipe, PollFlags::OUT)], None).unwrap();
                    waits = Waits::Sink;
                }
                Step::Blocked(_) => return,
                Step::End | Step::Unfit => panic!("an open tunnel into a pipe"),
            }
        }
    }

    #[test]
    fn bulk_is_spliced_out_of_its_frames() {
        let [mut helper, mut gateway] = tunnel();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let received = std::thread::spawn(move || {
            let mut received = Vec::new();
            reader.read_to_end(&mut received).unwrap();
            received
        });
        let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
        let (mut frames, mut sent) = (Frames::new(bytes[..3].to_vec()), 3);
        while sent < bytes.len() {
            match gateway.send(&bytes[sent..]) {
                Ok(taken) => sent += taken,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            deliver(&mut frames, &mut helper, writer.as_fd());
            // Acknowledgements make room.
            assert_eq!(gateway.receive(&mut [0; 64]).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
        assert!(frames.splices);
        let typed = b"ls";
        for key in typed.chunks(1) {
            assert_eq!(gateway.send(key).unwrap(), 1);
            sys::poll(&mut [sys::entry(helper.as_fd(), PollFlags::IN)], None).unwrap();
            deliver(&mut frames, &mut helper, writer.as_fd());
        }
        drop(writer);
        assert!(received.join().unwrap() == [&bytes, &typed[..]].concat());
    }
}
