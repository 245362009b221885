//! The fuzz targets, one module each, and their common parts: how a fuzzer's bytes become a message that arrives in two
//! pieces, and the promises of every reader of the handshake.
//!
//! libFuzzer is not needed here: the package's own tests run the targets over their seeds.

pub mod answer;
pub mod api_answer;
pub mod host_api;
pub mod problem;
pub mod proxy_protocol;
pub mod request;
pub mod resume;
pub mod socks5;
pub mod tls;

use kohakuriver_proxy::handshake::Step;
use kohakuriver_proxy::text::MAX_EXCERPT;

/// Runs a fuzzer's bytes through a reader; panics where the reader breaks a promise.
pub type Target = fn(&[u8]);

/// Every target, with its name.
pub const TARGETS: [(&str, Target); 9] = [
    ("answer", answer::run),
    ("api_answer", api_answer::run),
    ("host_api", host_api::run),
    ("problem", problem::run),
    ("proxy_protocol", proxy_protocol::run),
    ("request", request::run),
    ("resume", resume::run),
    ("socks5", socks5::run),
    ("tls", tls::run),
];

/// Longest generated message, in bytes: beyond every limit of the readers.
const MAX_MESSAGE: usize = 160 * 1024;

/// Longest message of which every prefix is tried; a longer message is cut in one place.
const SHORT: usize = 96;

/// A message that arrives in two pieces.
pub struct Message {
    /// The whole message.
    pub bytes: Vec<u8>,
    /// The end of its first piece.
    pub cut: usize,
}

impl Message {
    /// The first four bytes are parameters: two for the cut, one for the number of times that the end of the rest is
    /// repeated, one for the length of that end. So small inputs reach the limits for large messages.
    pub fn new(data: &[u8]) -> Option<Self> {
        let (&[low, high, times, length], rest) = data.split_first_chunk()?;
        let mut bytes = rest.to_vec();
        let piece = &rest[rest.len().saturating_sub(length.into())..];
        // Mostly 0 times, since long messages take long; else up to 4,096 times.
        for _ in 0..usize::from(times.saturating_sub(191)).pow(2) {
            if piece.is_empty() || bytes.len() + piece.len() > MAX_MESSAGE {
                break;
            }
            bytes.extend_from_slice(piece);
        }
        let at = usize::from(u16::from_le_bytes([low, high]));
        let cut = at * (bytes.len() + 1) / (usize::from(u16::MAX) + 1);
        Some(Self { bytes, cut })
    }

    /// The prefixes to try: all of them for a short message.
    fn cuts(&self) -> Vec<usize> {
        if self.bytes.len() <= SHORT { (0..self.bytes.len()).collect() } else { vec![self.cut] }
    }
}

/// The promises of a reader of the handshake:
/// - the reader takes no byte that hasn't arrived;
/// - "incomplete" means that every byte so far belongs to the message, since a driver has taken them off the socket;
/// - a complete message stays the same when more bytes arrive behind it; `same` compares;
/// - a message longer than `limit` is never incomplete.
pub fn check_reader<T: std::fmt::Debug>(
    message: &Message,
    limit: usize,
    read: impl Fn(&[u8]) -> Step<T>,
    same: fn(&T, &T) -> bool,
) -> Step<T> {
    let whole = read(&message.bytes);
    match &whole {
        Step::Incomplete => assert!(message.bytes.len() <= limit, "{} bytes are incomplete", message.bytes.len()),
        Step::Done(_, eaten) => assert!(*eaten <= message.bytes.len(), "{whole:?}"),
    }
    for cut in message.cuts() {
        match (read(&message.bytes[..cut]), &whole) {
            (Step::Incomplete, Step::Incomplete) => {}
            (Step::Incomplete, Step::Done(_, eaten)) => assert!(*eaten > cut, "cut at {cut}: {whole:?}"),
            (Step::Done(value, eaten), Step::Done(of_whole, eaten_of_whole)) => {
                assert!(eaten <= cut && eaten <= *eaten_of_whole, "cut at {cut}: {value:?}, {whole:?}");
                assert!(same(&value, of_whole), "cut at {cut}: {value:?}, {whole:?}");
            }
            (done, Step::Incomplete) => panic!("cut at {cut}: {done:?}, and then incomplete"),
        }
    }
    whole
}

/// `text` must be one line that is safe for a terminal, and not too long.
pub fn check_text(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(text.chars().count() <= MAX_EXCERPT + 1, "{text:?}");
}
