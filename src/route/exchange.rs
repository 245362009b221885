//! One request and its answer over a carrier, with a deadline.

use std::io;
use std::time::{Duration, Instant};

use crate::carrier::Carrier;
use crate::dial::{Interrupted, Watch};
use crate::handshake::Step;
use crate::handshake::connect::Refused;
use crate::handshake::problem;
use crate::sys::{self, PollFlags};
use crate::tls::Fault;

/// How long to wait for the rest of a refusal's body.
const BODY_LIMIT: Duration = Duration::from_secs(2);

/// Most bytes read at once.
const CHUNK: usize = 4096;

/// Why no whole answer came.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The wait for it was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The connection broke before it was complete.
    #[error(transparent)]
    Broke(io::Error),
    /// The server closed before it said anything.
    #[error("it closed the connection without an answer")]
    ClosedEarly,
    /// The server closed in the middle of it.
    #[error("it closed the connection in the middle of its answer")]
    CutOff,
}

/// Sends `request` and reads the answer. Gives back the answer and the bytes behind it that had to be read with it.
///
/// From a bare socket no such byte is read: it is peeked at, and only the answer is taken. So ssh can be given the
/// socket, with the whole stream in it.
///
/// # Errors
/// When no whole answer came.
pub fn exchange<T>(
    carrier: &mut dyn Carrier,
    request: &[u8],
    read: fn(&[u8]) -> Step<T>,
    watch: Watch<'_>,
) -> Result<(T, Vec<u8>), ExchangeError> {
    if let Err(error) = send_all(carrier, request, watch)? {
        return Err(ExchangeError::Broke(last_words(carrier).unwrap_or(error)));
    }
    if let Some(socket) = carrier.bare_socket() {
        // Nothing has arrived yet, most likely, so a first try would be one call more.
        watch.wait_for(socket, PollFlags::IN)?;
    }
    let mut answer = Vec::new();
    loop {
        let seen = answer.len();
        answer.resize(seen + CHUNK, 0);
        let mut is_left = false;
        let arrived = until_done(carrier, PollFlags::IN, watch, |carrier| match carrier.bare_socket() {
            Some(socket) => {
                is_left = true;
                sys::peek(socket, &mut answer[seen..])
            }
            None => carrier.receive(&mut answer[seen..]),
        })?;
        let arrived = match arrived {
            Ok(0) if seen == 0 => return Err(ExchangeError::ClosedEarly),
            Ok(0) => return Err(ExchangeError::CutOff),
            Ok(arrived) => arrived,
            Err(error) => return Err(ExchangeError::Broke(error)),
        };
        answer.truncate(seen + arrived);
        let step = read(&answer);
        let end = if let Step::Done(_, end) = &step { *end } else { answer.len() };
        if is_left {
            take(carrier, end.saturating_sub(seen), watch)?;
            answer.truncate(end);
        }
        if let Step::Done(value, end) = step {
            return Ok((value, answer.split_off(end)));
        }
    }
}

/// Why a server with TLS has closed the connection, if it has said so before.
fn last_words(carrier: &mut dyn Carrier) -> Option<io::Error> {
    carrier.receive(&mut [0]).err().filter(|error| Fault::of(error).is_some())
}

/// Takes `count` bytes that a peek has seen.
fn take(carrier: &mut dyn Carrier, mut count: usize, watch: Watch<'_>) -> Result<(), ExchangeError> {
    let mut scratch = [0; CHUNK];
    while count > 0 {
        let most = count.min(CHUNK);
        match until_done(carrier, PollFlags::IN, watch, |carrier| carrier.receive(&mut scratch[..most]))? {
            Ok(0) => return Err(ExchangeError::CutOff),
            Ok(taken) => count -= taken,
            Err(error) => return Err(ExchangeError::Broke(error)),
        }
    }
    Ok(())
}

/// The result of `call`, which is repeated after a wait for as long as it would block.
///
/// # Errors
/// When `watch` ends the wait. An error of the call itself is in the returned result.
pub fn until_done<T>(
    carrier: &mut dyn Carrier,
    wanted: PollFlags,
    watch: Watch<'_>,
    mut call: impl FnMut(&mut dyn Carrier) -> io::Result<T>,
) -> Result<io::Result<T>, Interrupted> {
    loop {
        match call(carrier) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                watch.wait_for(carrier.as_fd(), carrier.waits_for(wanted))?;
            }
            // The call is repeated. The deadline, ssh and signals are looked at first.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => watch.pause(Instant::now())?,
            result => return Ok(result),
        }
    }
}

/// Sends all of `bytes`.
///
/// # Errors
/// As for [`until_done`].
pub fn send_all(carrier: &mut dyn Carrier, mut bytes: &[u8], watch: Watch<'_>) -> Result<io::Result<()>, Interrupted> {
    while !bytes.is_empty() {
        match until_done(carrier, PollFlags::OUT, watch, |carrier| carrier.send(bytes))? {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(()))
}

/// The body of a refusal that begins with `body`, as far as it comes soon. It only explains, so no error matters.
pub fn read_body(carrier: &mut dyn Carrier, mut body: Vec<u8>, refused: &Refused, watch: Watch<'_>) -> Vec<u8> {
    let watch = Watch { deadline: watch.deadline.min(Instant::now() + BODY_LIMIT), ..watch };
    let mut chunk = [0; CHUNK];
    while !problem::is_complete(refused, &body) {
        match until_done(carrier, PollFlags::IN, watch, |carrier| carrier.receive(&mut chunk)) {
            Ok(Ok(read @ 1..)) => body.extend_from_slice(&chunk[..read]),
            _ => break,
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::tests::{ReadAhead, connection};
    use crate::handshake::connect;
    use std::io::{Read as _, Write as _};

    const LIMIT: Duration = Duration::from_secs(20);
    const STREAM: &[u8] = b"SSH-2.0-banner\r\n";

    /// A server that answers `request` with a head of 3,000 bytes, and with the stream in the same segment.
    fn answer() -> Vec<u8> {
        let field = format!("Field: {}\r\n", "x".repeat(100));
        let head = format!("HTTP/1.1 200 OK\r\n{}\r\n", field.repeat(30));
        [head.as_bytes(), STREAM].concat()
    }

    fn exchanged(carrier: &mut dyn Carrier, request: &[u8]) -> Vec<u8> {
        let (answer, early) = exchange(carrier, request, connect::read, Watch::at_most(LIMIT)).unwrap();
        assert!(matches!(answer, connect::Answer::Established(None)));
        early
    }

    #[test]
    fn a_call_is_repeated_until_it_has_a_result() {
        use io::ErrorKind as E;
        let ((mut socket, mut server), (mut quiet, _peer)) = (connection(), connection());
        server.write_all(b"x").unwrap();
        let watch = Watch::at_most(LIMIT);
        let mut results = vec![Ok(7), Err(E::WouldBlock), Err(E::Interrupted), Err(E::Interrupted)];
        let call = |_: &mut dyn Carrier| results.pop().unwrap().map_err(io::Error::from);
        assert_eq!(until_done(&mut socket, PollFlags::IN, watch, call).unwrap().unwrap(), 7);
        let failed = until_done(&mut socket, PollFlags::IN, watch, |_| Err::<(), _>(E::BrokenPipe.into()));
        assert_eq!(failed.unwrap().unwrap_err().kind(), E::BrokenPipe);
        let soon = Watch::at_most(Duration::from_millis(5));
        let waits = until_done(&mut quiet, PollFlags::IN, soon, |_| Err::<(), _>(E::WouldBlock.into()));
        assert!(matches!(waits, Err(Interrupted::Deadline)));
    }

    #[test]
    fn a_bare_socket_keeps_every_byte_behind_the_answer() {
        let (mut socket, mut server) = connection();
        server.write_all(&answer()).unwrap();
        assert_eq!(exchanged(&mut socket, b"a request"), b"");
        let mut heard = [0; 9];
        server.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"a request");
        let mut stream = [0; 100];
        assert_eq!(socket.receive(&mut stream).unwrap(), STREAM.len());
        assert_eq!(&stream[..STREAM.len()], STREAM);
    }

    #[test]
    fn bytes_behind_the_answer_are_returned_if_they_cannot_be_left() {
        let (socket, mut server) = connection();
        let mut carrier = ReadAhead::new(socket);
        server.write_all(&answer()).unwrap();
        // More than the carrier sends at once.
        let request = vec![b'r'; 3000];
        let early = exchanged(&mut carrier, &request);
        let mut heard = vec![0; request.len()];
        server.read_exact(&mut heard).unwrap();
        assert_eq!(heard, request);
        let mut stream = early.clone();
        let mut chunk = [0; 100];
        while let Ok(bytes) = carrier.receive(&mut chunk) {
            stream.extend_from_slice(&chunk[..bytes]);
        }
        assert!(!early.is_empty());
        assert_eq!(stream, STREAM);
    }
}
