//! Resumable tunnels: the field of their heads, and a stranger's frames, which arrive in pieces and over connections that
//! break.

use kohakuriver_proxy::handshake::resume::{Answered, Asked};
use kohakuriver_proxy::resume::Link;

/// Most unacknowledged bytes of the end.
const WINDOW: usize = 64 * 1024;
/// Most bytes that wait for the wire: a full window with its headers, and some short frames.
const MOST_UNSENT: usize = 2 * WINDOW;

/// Reads `data` as the field of a head, and behind the first byte as steps of one end of a tunnel.
pub fn run(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    if kind % 4 == 0 { check_field(rest) } else { check_frames(rest) }
}

/// What is read is what would be written.
fn check_field(value: &[u8]) {
    let asked = Asked::read(value);
    if let Some(asked) = asked {
        assert_eq!(Asked::read(asked.value().as_bytes()), Some(asked));
    }
    // A request that names a session must never open another one.
    let names_one = value.starts_with(b"v1; id=");
    assert!(!(names_one && matches!(asked, Some(Asked::New(_)))), "{asked:?}");
    if let Some(answered) = Answered::read(value) {
        assert_eq!(Answered::read(answered.value().as_bytes()), Some(answered));
    }
}

/// Each step is a byte for what happens, a byte for a length, and so many bytes.
fn check_frames(mut data: &[u8]) {
    let mut link = Link::default();
    while let [step, length, rest @ ..] = data {
        let (piece, rest) = rest.split_at(rest.len().min((*length).into()));
        data = rest;
        match step % 8 {
            0..=2 => {
                let mut buffer = piece.to_vec();
                let Ok(absorbed) = link.absorb(&mut buffer, piece.len()) else { return };
                assert!(absorbed.bytes <= piece.len());
                // Some of it is delivered now, the rest never.
                if step & 8 == 0 {
                    link.note_delivered(absorbed.bytes);
                    if link.is_at_end() {
                        link.note_end_delivered();
                    }
                }
            }
            3 => {
                let taken = link.take(piece, WINDOW);
                assert!(taken <= piece.len() && (taken == 0 || !link.has_ended()));
            }
            4 => {
                let unsent = link.unsent().len();
                assert!(unsent <= MOST_UNSENT, "{unsent}");
                link.note_sent(unsent.min(usize::from(*length)));
            }
            5 => link.end(),
            6 => {
                let mut position = [0; 8];
                position[8 - piece.len().min(8)..].copy_from_slice(&piece[..piece.len().min(8)]);
                if link.resume(u64::from_be_bytes(position)).is_err() {
                    return;
                }
            }
            _ => link = Link::unpack(&link.pack()),
        }
        assert!(link.cost() <= WINDOW, "{}", link.cost());
    }
}
