//! The frames of a resumable tunnel: how they read on the wire.
//!
//! ```text
//! kind (1 byte) | length (3 bytes, big-endian) | content
//! ```
//!
//! | kind | content | meaning |
//! |---|---|---|
//! | 0 DATA | 1 to 65,536 bytes | the next bytes of the stream |
//! | 1 ACK | 8 bytes, big-endian | the sender has delivered everything before this position |
//! | 2 EOF | none | the stream ends here. It takes one position, as a FIN does in TCP |
//! | 3 PING | none | asks for an ACK |
//! | 4 RESET | 1 byte: the reason | the session is over |

use crate::carrier::Reason;

/// The length of a frame's header, in bytes.
pub(super) const HEADER: usize = 4;
/// Most content of a DATA frame, in bytes.
pub(super) const MOST_DATA: usize = 64 * 1024;
/// The content of an ACK, in bytes.
const POSITION: usize = 8;
/// Most bytes of a frame without the content of DATA.
pub(super) const MOST_START: usize = HEADER + POSITION;

const DATA: u8 = 0;
const ACK: u8 = 1;
const EOF: u8 = 2;
const PING: u8 = 3;
const RESET: u8 = 4;

/// A frame other than DATA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Control {
    Ack(u64),
    Eof,
    Ping,
    Reset(Reason),
}

/// The header of a DATA frame.
pub(super) fn data_header(length: usize) -> [u8; HEADER] {
    header(DATA, length)
}

fn header(kind: u8, length: usize) -> [u8; HEADER] {
    // No frame is longer than three bytes can tell: see `MOST_DATA`.
    let [.., high, middle, low] = (length as u32).to_be_bytes();
    [kind, high, middle, low]
}

impl Control {
    /// Appends the frame to `wire`.
    pub(super) fn write(self, wire: &mut Vec<u8>) {
        match self {
            Self::Ack(position) => {
                wire.extend_from_slice(&header(ACK, POSITION));
                wire.extend_from_slice(&position.to_be_bytes());
            }
            Self::Eof => wire.extend_from_slice(&header(EOF, 0)),
            Self::Ping => wire.extend_from_slice(&header(PING, 0)),
            Self::Reset(reason) => {
                wire.extend_from_slice(&header(RESET, 1));
                wire.push(reason as u8);
            }
        }
    }
}

/// The next bytes of the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// So many bytes of the stream, which follow now.
    Data(usize),
    /// A whole frame.
    Control(Control),
    /// More bytes are needed.
    Incomplete,
}

/// A frame that no version of this protocol has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("its bytes are no frames of a resumable tunnel")]
pub struct Malformed;

/// Reads frames from pieces of any size.
#[derive(Default)]
pub(super) struct Reader {
    /// The start of a frame whose rest has not arrived.
    start: [u8; MOST_START],
    length: usize,
    /// How many bytes of a DATA frame are still to come.
    data: usize,
}

impl Reader {
    /// Reads the start of `wire`. Returns what it is, and how many bytes it took; the bytes of DATA are not among them.
    pub(super) fn read(&mut self, wire: &[u8]) -> Result<(Next, usize), Malformed> {
        if self.data > 0 {
            let most = self.data.min(wire.len());
            self.data -= most;
            return Ok((if most > 0 { Next::Data(most) } else { Next::Incomplete }, 0));
        }
        let mut taken = self.fill(wire, HEADER);
        if self.length < HEADER {
            return Ok((Next::Incomplete, taken));
        }
        let [kind, high, middle, low, ..] = self.start;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        let expected = match kind {
            DATA if (1..=MOST_DATA).contains(&length) => {
                (self.length, self.data) = (0, length);
                let (next, _) = self.read(&wire[taken..])?;
                return Ok((next, taken));
            }
            ACK => POSITION,
            EOF | PING => 0,
            RESET => 1,
            _ => return Err(Malformed),
        };
        if length != expected {
            return Err(Malformed);
        }
        taken += self.fill(&wire[taken..], HEADER + expected);
        if self.length < HEADER + expected {
            return Ok((Next::Incomplete, taken));
        }
        self.length = 0;
        let [_, _, _, _, content @ ..] = self.start;
        let control = match kind {
            ACK => Control::Ack(u64::from_be_bytes(content)),
            EOF => Control::Eof,
            PING => Control::Ping,
            _ => Control::Reset(Reason::of(content[0])),
        };
        Ok((Next::Control(control), taken))
    }

    /// How many bytes complete the start of the frame: all of it, but for the content of DATA.
    pub(super) fn missing(&self) -> usize {
        let content = match self.start[0] {
            _ if self.length < HEADER => 0,
            ACK => POSITION,
            _ => 1,
        };
        HEADER + content - self.length
    }

    /// How many bytes of a DATA frame are still to come.
    pub(super) fn data(&self) -> usize {
        self.data
    }

    /// So many bytes of the DATA frame were taken from the wire without this reader.
    pub(super) fn skip_data(&mut self, bytes: usize) {
        self.data -= bytes;
    }

    /// Takes bytes until the start of the frame has `wanted` of them. Returns how many.
    fn fill(&mut self, wire: &[u8], wanted: usize) -> usize {
        let most = wanted.saturating_sub(self.length).min(wire.len());
        self.start[self.length..self.length + most].copy_from_slice(&wire[..most]);
        self.length += most;
        most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames_as_they_read_on_the_wire() {
        for (control, expected) in [
            (Control::Ack(0x0102_0304_0506_0708), &[1, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8][..]),
            (Control::Eof, &[2, 0, 0, 0]),
            (Control::Ping, &[3, 0, 0, 0]),
            (Control::Reset(Reason::Left), &[4, 0, 0, 1, 0]),
            (Control::Reset(Reason::Malformed), &[4, 0, 0, 1, 7]),
        ] {
            let mut wire = Vec::new();
            control.write(&mut wire);
            assert_eq!(wire, expected);
            assert_eq!(Reader::default().read(&wire), Ok((Next::Control(control), wire.len())));
        }
        assert_eq!(data_header(MOST_DATA), [0, 1, 0, 0]);
        assert_eq!(data_header(3), [0, 0, 0, 3]);
        assert_eq!(Reader::default().read(&data_header(3)), Ok((Next::Incomplete, HEADER)));
        let other = Control::Reset(Reason::Other);
        assert_eq!(Reader::default().read(&[4, 0, 0, 1, 200]), Ok((Next::Control(other), 5)));
    }

    /// A read of more would take bytes of the stream along, and one of nothing would look like the end.
    #[test]
    fn so_much_is_missing_as_completes_the_start_of_a_frame() {
        for control in [Control::Ack(7), Control::Eof, Control::Ping, Control::Reset(Reason::Idle)] {
            let mut wire = Vec::new();
            control.write(&mut wire);
            for length in 0..wire.len() {
                let mut reader = Reader::default();
                assert_eq!(reader.read(&wire[..length]), Ok((Next::Incomplete, length)));
                let frame = if length < HEADER { HEADER } else { wire.len() };
                assert_eq!(reader.missing(), frame - length, "{control:?} after {length} bytes");
            }
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for wire in [
            &[5, 0, 0, 0][..],
            &[255; 4],
            &[0, 0, 0, 0],
            &[0, 1, 0, 1],
            &[1, 0, 0, 7],
            &[1, 1, 0, 8],
            &[2, 0, 0, 1],
            &[3, 0, 1, 0],
            &[4, 0, 0, 0],
            b"HTTP",
            b"SSH-",
        ] {
            assert_eq!(Reader::default().read(wire), Err(Malformed), "{wire:?}");
        }
    }

    proptest! {
        #[test]
        fn frames_in_pieces_are_read_as_in_one(
            frames in prop::collection::vec(prop_oneof![
                any::<u64>().prop_map(|at| Err(Control::Ack(at))),
                Just(Err(Control::Eof)),
                Just(Err(Control::Ping)),
                Just(Err(Control::Reset(Reason::Idle))),
                prop::collection::vec(any::<u8>(), 1..300).prop_map(Ok),
            ], 0..20),
            pieces in prop::collection::vec(1..50_usize, 1..40),
        ) {
            let mut wire = Vec::new();
            for frame in &frames {
                match frame {
                    Ok(data) => {
                        wire.extend_from_slice(&data_header(data.len()));
                        wire.extend_from_slice(data);
                    }
                    Err(control) => control.write(&mut wire),
                }
            }
            let (mut controls, mut data) = (Vec::new(), Vec::new());
            let (mut reader, mut rest, mut pieces) = (Reader::default(), &wire[..], pieces.iter().cycle());
            while !rest.is_empty() {
                let most = rest.len().min(*pieces.next().unwrap());
                let mut piece = &rest[..most];
                rest = &rest[most..];
                while !piece.is_empty() {
                    let (next, taken) = reader.read(piece).unwrap();
                    piece = &piece[taken..];
                    match next {
                        Next::Data(length) => {
                            data.extend_from_slice(&piece[..length]);
                            piece = &piece[length..];
                        }
                        Next::Control(control) => controls.push(control),
                        Next::Incomplete => prop_assert!(piece.is_empty()),
                    }
                }
            }
            let expected: Vec<u8> = frames.iter().flatten().flatten().copied().collect();
            prop_assert_eq!(data, expected);
            prop_assert_eq!(controls, frames.into_iter().filter_map(Result::err).collect::<Vec<_>>());
        }
    }
}
