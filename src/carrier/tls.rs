//! TLS over another carrier, for either end of a connection.
//!
//! - close_notify is the end of one direction, and is followed by the end of the carrier below. An end below without
//!   close_notify is a broken connection (RFC 8446 §6.1): bytes may be missing.
//! - A write may leave bytes here that the carrier below has no room for. [`Carrier::waits_for`] then asks for room, and
//!   each call tries to send them first.
//!
//! The session has no buffers of its own. All sessions of a thread share a buffer for the records of one call; a
//! connection keeps only what is incomplete, unread or unsent, so an idle one keeps nothing.

use std::cell::Cell;
use std::io;

use rustls::CommonState;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

use super::Carrier;
use crate::sys::{AsFd, BorrowedFd, PollFlags};
use crate::text::excerpt;
use crate::tls::{ClientConfig, Fault};

/// Most plaintext that is encrypted at once: what a relay writes at once, and the header that a layer above may put in front
/// of it.
const MOST: usize = 64 * 1024 + 16;
/// Room for the records of [`MOST`] bytes. Most bytes that are read from below at once, and most of an incomplete message.
const RECORDS: usize = MOST + 1024;
/// The least that is read from below at once.
const SMALL: usize = 4096;
/// The header of a record (RFC 8446 §5.1). Its last two bytes are the length of the rest.
const HEADER: usize = 5;
/// The least by which a record's rest is longer than its plaintext: a tag, and in TLS 1.3 a type.
const OVERHEAD: usize = 17;
/// The type of a record with an alert, which has two bytes.
const ALERT: u8 = 0x15;

thread_local! {
    /// The records of one call.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Calls `call` with the thread's buffer, as it was left. A layer below gets another one.
fn with_buffer<T>(call: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut buffer = BUFFER.take();
    buffer.resize(RECORDS, 0);
    let result = call(&mut buffer);
    BUFFER.set(buffer);
    result
}

/// Most reads from below in one call. A peer can send records without end that hold nothing for the reader: empty ones,
/// and new keys.
const MOST_READS: usize = 16;

/// A connection with TLS.
pub struct Tls<S: Carrier> {
    session: Session,
    below: S,
    /// Bytes from below that the session has not taken yet: the start of a record or a message, or what the last reader
    /// had no room for.
    wire: Vec<u8>,
    /// Plaintext that the last reader had no room for.
    unread: Vec<u8>,
    /// Records that the carrier below has had no room for.
    unsent: Vec<u8>,
    sent: usize,
    /// Names the certificate of the server in messages.
    client: Option<ClientConfig>,
    /// Whether anything has come from below.
    heard: bool,
    /// close_notify has come.
    closed: bool,
    /// The end of the carrier below has come.
    ended: bool,
    /// The session has failed.
    fault: Option<Fault>,
    /// This end has ended its stream.
    shut: Shut,
    /// The next end is a reset: no close_notify may hide that.
    aborted: bool,
    /// Why nothing can be written below any more.
    broken: Option<io::ErrorKind>,
}

/// How far the end of this stream has got.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shut {
    No,
    /// close_notify waits for room below.
    Asked,
    Done,
}

enum Session {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// The plaintext for the session to encrypt, after it has processed all complete records.
enum Write<'w> {
    Nothing,
    /// Encrypts the plaintext, and appends the records to the buffer.
    Bytes(&'w [u8], &'w mut Vec<u8>),
    CloseNotify,
}

/// The buffers that a session fills: plaintext from the peer, and records for the peer.
struct Output<'o> {
    /// The reader's buffer. Plaintext goes into it until it is full.
    buffer: &'o mut [u8],
    read: usize,
    /// Plaintext that `buffer` has no room for.
    unread: &'o mut Vec<u8>,
    /// Messages of the session's own.
    messages: &'o mut Vec<u8>,
    /// close_notify has come.
    closed: &'o mut bool,
    /// How many bytes were written as [`Write`] says.
    written: usize,
}

/// Whether a record is an alert: by its type or, as TLS 1.3 hides that, by its length. No other message is so short.
fn is_alert(record: &[u8]) -> bool {
    record.first() == Some(&ALERT) || record.len() == HEADER + 2 + OVERHEAD
}

/// Whether to call the session again.
enum Next {
    Again,
    /// The session needs more bytes, or has done all it can do.
    Stop,
}

impl Session {
    /// Makes the session take records from the start of `wire`. Returns how many bytes it has taken.
    fn take(
        &mut self,
        wire: &mut [u8],
        mut write: Write<'_>,
        output: &mut Output<'_>,
    ) -> (usize, Result<(), rustls::Error>) {
        let mut taken = 0;
        loop {
            // A reader that has got something gets the next record in its next call, if it is too long now.
            if output.read > 0 && !output.has_room_for(&wire[taken..]) {
                return (taken, Ok(()));
            }
            let rest = &mut wire[taken..];
            let (more, next) = match self {
                Self::Client(session) => output.step(session.process_tls_records(rest), &mut write),
                Self::Server(session) => output.step(session.process_tls_records(rest), &mut write),
            };
            taken += more;
            match next {
                Ok(Next::Again) => {}
                Ok(Next::Stop) => return (taken, Ok(())),
                Err(error) => {
                    self.alert(&mut wire[taken..], output);
                    return (taken, Err(error));
                }
            }
        }
    }

    /// Fetches what a session that has failed says: its alert, and what comes before that. One more call would take the
    /// bad record a second time.
    fn alert(&mut self, rest: &mut [u8], output: &mut Output<'_>) {
        loop {
            let start = output.messages.len();
            let (_, next) = match self {
                Self::Client(session) => output.step(session.process_tls_records(rest), &mut Write::Nothing),
                Self::Server(session) => output.step(session.process_tls_records(rest), &mut Write::Nothing),
            };
            if !matches!(next, Ok(Next::Again)) || is_alert(&output.messages[start..]) {
                return;
            }
        }
    }

    fn state(&self) -> &CommonState {
        match self {
            Self::Client(session) => session,
            Self::Server(session) => session,
        }
    }
}

impl Output<'_> {
    /// Whether the plaintext of the first record in `wire` fits. TLS 1.2 may have a few bytes less than this assumes.
    fn has_room_for(&self, wire: &[u8]) -> bool {
        match wire.first_chunk::<HEADER>() {
            Some(&[.., high, low]) => {
                usize::from(u16::from_be_bytes([high, low])) <= self.buffer.len() - self.read + OVERHEAD
            }
            // The session will ask for more.
            None => true,
        }
    }

    fn step<Data>(
        &mut self,
        status: UnbufferedStatus<'_, '_, Data>,
        write: &mut Write<'_>,
    ) -> (usize, Result<Next, rustls::Error>) {
        let mut taken = status.discard;
        let next = status.state.and_then(|state| match state {
            ConnectionState::ReadTraffic(mut records) => {
                while let Some(record) = records.next_record() {
                    let record = record?;
                    taken += record.discard;
                    self.give(record.payload);
                }
                Ok(Next::Again)
            }
            ConnectionState::EncodeTlsData(mut message) => {
                append(
                    self.messages,
                    |room| message.encode(room),
                    |error| match error {
                        EncodeError::InsufficientSize(needed) => Some(needed.required_size),
                        EncodeError::AlreadyEncoded => None,
                    },
                );
                Ok(Next::Again)
            }
            ConnectionState::TransmitTlsData(sent) => {
                sent.done();
                Ok(Next::Again)
            }
            ConnectionState::PeerClosed => {
                *self.closed = true;
                Ok(Next::Again)
            }
            ConnectionState::WriteTraffic(mut traffic) => {
                match std::mem::replace(write, Write::Nothing) {
                    Write::Nothing => return Ok(Next::Stop),
                    Write::Bytes(bytes, records) => {
                        self.written = traffic.encrypt(bytes, records).map_err(exhausted)?;
                    }
                    Write::CloseNotify => {
                        append(
                            self.messages,
                            |room| traffic.queue_close_notify(room),
                            |error| match error {
                                EncryptError::InsufficientSize(needed) => Some(needed.required_size),
                                EncryptError::EncryptExhausted => None,
                            },
                        );
                    }
                }
                // A key may have to be changed.
                Ok(Next::Again)
            }
            // No configuration here takes early data.
            _ => Ok(Next::Stop),
        });
        (taken, next)
    }

    fn give(&mut self, plaintext: &[u8]) {
        let room = &mut self.buffer[self.read..];
        // Earlier plaintext in `unread` must reach the reader before this plaintext.
        let most = if self.unread.is_empty() { room.len().min(plaintext.len()) } else { 0 };
        room[..most].copy_from_slice(&plaintext[..most]);
        self.read += most;
        self.unread.extend_from_slice(&plaintext[most..]);
    }
}

fn exhausted(error: EncryptError) -> rustls::Error {
    rustls::Error::General(error.to_string())
}

/// Appends to `bytes` what `write` writes. `needed` tells how much room it needs from the error of a try without room.
fn append<E>(
    bytes: &mut Vec<u8>,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
    needed: impl Fn(E) -> Option<usize>,
) {
    let start = bytes.len();
    // Room for most messages.
    bytes.resize(start + SMALL, 0);
    let written = write(&mut bytes[start..]).or_else(|error| match needed(error) {
        Some(more) => {
            bytes.resize(start + more, 0);
            write(&mut bytes[start..])
        }
        None => Ok(0),
    });
    bytes.truncate(start + written.unwrap_or_default());
}

impl<S: Carrier> Tls<S> {
    /// The client's end, before its handshake. `host` is the name that the server's certificate must have.
    ///
    /// # Errors
    /// When `host` can't be the name in a certificate.
    pub fn client(below: S, config: &ClientConfig, host: &str) -> Result<Self, Fault> {
        Ok(Self::new(Session::Client(config.connect(host)?), below, Some(config.clone()), Vec::new()))
    }

    /// The server's end, before its handshake. `first` are bytes of the client that were read before.
    pub fn server(below: S, session: UnbufferedServerConnection, first: Vec<u8>) -> Self {
        Self::new(Session::Server(session), below, None, first)
    }

    fn new(session: Session, below: S, client: Option<ClientConfig>, wire: Vec<u8>) -> Self {
        Self {
            session,
            below,
            wire,
            unread: Vec::new(),
            unsent: Vec::new(),
            sent: 0,
            client,
            heard: false,
            closed: false,
            ended: false,
            fault: None,
            shut: Shut::No,
            aborted: false,
            broken: None,
        }
    }

    /// Continues the handshake. `WouldBlock` asks for another call, once the carrier below is ready for what
    /// [`Tls::handshake_waits_for`] tells.
    ///
    /// # Errors
    /// The errors of the carrier below, and a [`Fault`].
    pub fn handshake(&mut self) -> io::Result<()> {
        loop {
            self.take_kept(Write::Nothing, &mut [])?;
            self.flush_all()?;
            if !self.session.state().is_handshaking() {
                return Ok(());
            }
            if self.ended {
                // A server of another protocol also closes the connection at this point.
                return Err(if self.heard { Fault::CutOff.into_error() } else { io::ErrorKind::UnexpectedEof.into() });
            }
            self.read_below(&mut [])?;
        }
    }

    /// The events to wait for during the handshake.
    pub fn handshake_waits_for(&self) -> PollFlags {
        self.below.waits_for(if self.unsent.is_empty() { PollFlags::IN } else { PollFlags::OUT })
    }

    /// The TLS session, for its facts.
    pub fn session(&self) -> &CommonState {
        self.session.state()
    }

    /// Makes the session take what is kept here. Returns the number of bytes in `buffer`, and that of written ones.
    fn take_kept(&mut self, write: Write<'_>, buffer: &mut [u8]) -> io::Result<(usize, usize)> {
        let mut wire = std::mem::take(&mut self.wire);
        let result = self.take(&mut wire, write, buffer);
        let taken = result.as_ref().map_or(wire.len(), |(taken, ..)| *taken);
        wire.drain(..taken);
        if !wire.is_empty() {
            self.wire = wire;
        }
        result.map(|(_, read, written)| (read, written))
    }

    /// Reads from below, and has the session take that. Returns the number of bytes in `buffer`.
    fn read_below(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        with_buffer(|records| {
            let kept = self.wire.len();
            // As much as `buffer` has room for, as far as the sizes of records tell.
            let most = (kept + SMALL.max(buffer.len() + buffer.len() / 64 + 64)).min(RECORDS);
            if kept >= most {
                return Err(self.fail(Fault::Other("a message is too large".to_owned())));
            }
            let read = self.below.receive(&mut records[kept..most])?;
            if read == 0 {
                self.ended = true;
                return Ok(0);
            }
            records[..kept].copy_from_slice(&self.wire);
            self.wire = Vec::new();
            let records = &mut records[..kept + read];
            let (taken, read, _) = self.take(records, Write::Nothing, buffer)?;
            self.wire.extend_from_slice(&records[taken..]);
            Ok(read)
        })
    }

    /// Makes the session take records from the start of `wire`. Returns how many bytes it has taken, the number of bytes in
    /// `buffer`, and that of written ones.
    fn take(&mut self, wire: &mut [u8], write: Write<'_>, buffer: &mut [u8]) -> io::Result<(usize, usize, usize)> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone().into_error());
        }
        if !self.heard && !wire.is_empty() {
            self.heard = true;
            if !starts_as_tls(wire) {
                return Err(self.fail(Fault::not_tls(wire)));
            }
        }
        let (unread, messages, closed) = (&mut self.unread, &mut self.unsent, &mut self.closed);
        let mut output = Output { buffer, read: 0, unread, messages, closed, written: 0 };
        let (taken, result) = self.session.take(wire, write, &mut output);
        let (read, written) = (output.read, output.written);
        match result {
            Ok(()) => Ok((taken, read, written)),
            Err(error) => {
                let fault = match &self.client {
                    Some(client) => match Fault::from_error(&error, client.presented()) {
                        // The first bytes of the server were TLS.
                        Fault::NotTls(_) => Fault::Other("it stopped speaking TLS".to_owned()),
                        fault => fault,
                    },
                    // Its words are about a server.
                    None => Fault::Other(excerpt(&error.to_string())),
                };
                let error = self.fail(fault);
                // The alert that says why.
                let _ = self.flush_all();
                // The records before the bad one were authentic, so the reader still gets their plaintext.
                if read > 0 { Ok((wire.len(), read, written)) } else { Err(error) }
            }
        }
    }

    fn fail(&mut self, fault: Fault) -> io::Error {
        self.fault = Some(fault.clone());
        fault.into_error()
    }

    /// Sends everything that waits here.
    fn flush_all(&mut self) -> io::Result<()> {
        if let Some(kind) = self.broken {
            return Err(kind.into());
        }
        while self.sent < self.unsent.len() {
            let sent = self.below.send(&self.unsent[self.sent..]);
            self.sent += self.note_sent(sent)?;
        }
        if self.sent > 0 {
            (self.unsent, self.sent) = (Vec::new(), 0);
        }
        if self.shut == Shut::Asked {
            self.shut = Shut::Done;
            self.below.end_writing()?;
        }
        Ok(())
    }

    fn note_sent(&mut self, sent: io::Result<usize>) -> io::Result<usize> {
        match sent {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                self.broken = Some(error.kind());
                Err(error)
            }
            sent => sent,
        }
    }

    /// Sends records, and keeps those that the carrier below has no room for.
    fn send_records(&mut self, records: &[u8]) -> io::Result<()> {
        let sent = if self.unsent.is_empty() { self.below.send(records) } else { Ok(0) };
        let sent = match self.note_sent(sent) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            sent => sent?,
        };
        self.unsent.extend_from_slice(&records[sent..]);
        if sent == records.len() { Ok(()) } else { self.flush() }
    }
}

/// The first bytes of the records of TLS (RFC 8446 §5.1).
const IS_TLS: std::ops::RangeInclusive<u8> = 0x14..=0x17;

/// Whether `bytes` may be the start of a connection with TLS.
pub fn starts_as_tls(bytes: &[u8]) -> bool {
    bytes.first().is_none_or(|byte| IS_TLS.contains(byte))
}

impl<S: Carrier> AsFd for Tls<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.below.as_fd()
    }
}

impl<S: Carrier> Carrier for Tls<S> {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for _ in 0..MOST_READS {
            // A failed write must not hide plaintext that has arrived.
            let _ = self.flush();
            if !self.unread.is_empty() {
                let most = self.unread.len().min(buffer.len());
                buffer[..most].copy_from_slice(&self.unread[..most]);
                self.unread.drain(..most);
                if self.unread.is_empty() {
                    self.unread = Vec::new();
                }
                return Ok(most);
            }
            let mut read = match self.wire.is_empty() && self.fault.is_none() {
                true => 0,
                false => self.take_kept(Write::Nothing, buffer)?.0,
            };
            if read == 0 && self.unread.is_empty() {
                if self.closed {
                    return Ok(0);
                }
                if self.ended {
                    return Err(Fault::CutOff.into_error());
                }
                read = self.read_below(buffer)?;
            }
            if read > 0 {
                return Ok(read);
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.shut != Shut::No {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.flush_all()?;
        let bytes = &bytes[..bytes.len().min(MOST)];
        with_buffer(|records| {
            let (_, written) = self.take_kept(Write::Bytes(bytes, records), &mut [])?;
            if written == 0 && !bytes.is_empty() {
                // Before the handshake is over.
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.send_records(&records[..written])?;
            Ok(bytes.len())
        })
    }

    fn end_writing(&mut self) -> io::Result<()> {
        if self.shut == Shut::No {
            // A session that has failed has sent an alert.
            let _ = self.take_kept(Write::CloseNotify, &mut []);
            self.shut = Shut::Asked;
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.flush_all() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            flushed => flushed,
        }
    }

    fn waits_for(&self, wanted: PollFlags) -> PollFlags {
        let is_held = !self.unsent.is_empty() && self.broken.is_none();
        let held = if is_held { PollFlags::OUT } else { PollFlags::empty() };
        self.below.waits_for(wanted | held)
    }

    fn reset_on_close(&mut self) {
        self.aborted = true;
        self.below.reset_on_close();
    }
}

impl<S: Carrier> Drop for Tls<S> {
    /// A connection that is closed in order says so, as far as that is possible without waiting.
    fn drop(&mut self) {
        if !self.aborted && !self.session.state().is_handshaking() {
            let _ = self.end_writing();
        }
    }
}

#[cfg(test)]
mod tests;
