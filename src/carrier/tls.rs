//! TLS over another carrier, for either end of a connection.
//!
//! - close_notify is the end of one direction, and is followed by the end of the carrier below. An end below without
//!   close_notify is a broken connection (RFC 8446 §6.1): bytes may be missing.
//! - A write may leave bytes here that the carrier below has no room for. [`Carrier::waits_for`] then asks for room, and
//!   each call tries to send them first.

use std::io::{self, Read, Write};

use rustls::Connection;

use super::Carrier;
use crate::sys::{AsFd, BorrowedFd, PollFlags};
use crate::text::excerpt;
use crate::tls::{ClientConfig, Fault};

/// Most bytes that are read from below at once in a burst: some records of TLS.
const BURST: usize = 64 * 1024;
/// What rustls reads by itself at once. A read of this size begins a burst.
const SMALL: usize = 4096;
/// Most plaintext that is encrypted at once.
const MOST: usize = 64 * 1024;
/// Most reads from below in one call. A peer can send records without end that hold nothing for the reader: empty ones,
/// and new keys.
const MOST_READS: usize = 16;

/// A connection with TLS.
pub struct Tls<S: Carrier> {
    session: Connection,
    below: S,
    /// Bytes from below that the session has not taken yet, in a burst.
    wire: Vec<u8>,
    taken: usize,
    burst: bool,
    /// Names the certificate of the server in messages.
    client: Option<ClientConfig>,
    /// Whether anything has come from below.
    heard: bool,
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

impl<S: Carrier> Tls<S> {
    /// The client's end, before its handshake. `host` is the name that the server's certificate must have.
    ///
    /// # Errors
    /// When `host` can't be the name in a certificate.
    pub fn client(below: S, config: &ClientConfig, host: &str) -> Result<Self, Fault> {
        Ok(Self::new(config.connect(host)?.into(), below, Some(config.clone()), Vec::new()))
    }

    /// The server's end, before its handshake. `first` are bytes of the client that were read before.
    pub fn server(below: S, session: rustls::ServerConnection, first: Vec<u8>) -> Self {
        Self::new(session.into(), below, None, first)
    }

    fn new(session: Connection, below: S, client: Option<ClientConfig>, wire: Vec<u8>) -> Self {
        Self {
            session,
            below,
            wire,
            taken: 0,
            burst: false,
            client,
            heard: false,
            shut: Shut::No,
            aborted: false,
            broken: None,
        }
    }

    /// Continues the handshake. `WouldBlock` asks for another call, once the carrier below is ready for what
    /// [`Tls::handshake_waits_for`] tells.
    ///
    /// # Errors
    /// Those of the carrier below, and a [`Fault`].
    pub fn handshake(&mut self) -> io::Result<()> {
        loop {
            self.flush_all()?;
            if !self.session.is_handshaking() {
                return Ok(());
            }
            if self.fill()? == 0 {
                // What a server that wants something else does, too.
                return Err(if self.heard { Fault::CutOff.into_error() } else { io::ErrorKind::UnexpectedEof.into() });
            }
        }
    }

    /// The events to wait for during the handshake.
    pub fn handshake_waits_for(&self) -> PollFlags {
        self.below.waits_for(if self.session.wants_write() { PollFlags::OUT } else { PollFlags::IN })
    }

    /// The TLS session, for its facts.
    pub fn session(&self) -> &Connection {
        &self.session
    }

    /// Gives the session bytes from below; returns how many. 0 is the end of the carrier below.
    fn fill(&mut self) -> io::Result<usize> {
        if self.taken == self.wire.len() {
            (self.wire, self.taken) = (Vec::new(), 0);
            // The first bytes of a server tell whether it speaks TLS at all.
            if self.burst || !self.heard {
                self.read_below(if self.burst { BURST } else { SMALL })?;
            }
        }
        let mut next = &self.wire[self.taken..];
        let read = if next.is_empty() && self.heard && !self.burst {
            // rustls's own buffer takes the little that typing needs.
            let read = self.session.read_tls(&mut Below(&mut self.below))?;
            self.burst = read == SMALL;
            read
        } else {
            self.session.read_tls(&mut next)?
        };
        self.taken = self.wire.len() - next.len();
        self.process(read)
    }

    fn read_below(&mut self, size: usize) -> io::Result<()> {
        let mut bytes = vec![0; size];
        match self.below.receive(&mut bytes) {
            Ok(read) => {
                bytes.truncate(read);
                self.wire = bytes;
                Ok(())
            }
            Err(error) => {
                self.burst = false;
                Err(error)
            }
        }
    }

    fn process(&mut self, read: usize) -> io::Result<usize> {
        if !self.heard && read > 0 {
            self.heard = true;
            if !starts_as_tls(&self.wire) {
                return Err(Fault::not_tls(&self.wire).into_error());
            }
        }
        match self.session.process_new_packets() {
            Ok(_) => Ok(read),
            Err(error) => {
                // The alert that says why.
                let _ = self.flush_all();
                let fault = match &self.client {
                    Some(client) => Fault::from_error(&error, client.presented()),
                    // Its words are about a server.
                    None => Fault::Other(excerpt(&error.to_string())),
                };
                Err(fault.into_error())
            }
        }
    }

    /// Sends everything that waits here.
    fn flush_all(&mut self) -> io::Result<()> {
        if let Some(kind) = self.broken {
            return Err(kind.into());
        }
        while self.session.wants_write() {
            match self.session.write_tls(&mut Below(&mut self.below)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(error) => {
                    self.broken = Some(error.kind());
                    return Err(error);
                }
            }
        }
        if self.shut == Shut::Asked {
            self.shut = Shut::Done;
            self.below.end_writing()?;
        }
        Ok(())
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
            // What has arrived can be read, also if nothing can be written any more.
            let _ = self.flush();
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Fault::CutOff.into_error()),
                read => return read,
            }
            self.fill()?;
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.shut != Shut::No {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.flush_all()?;
        let taken = self.session.writer().write(&bytes[..bytes.len().min(MOST)])?;
        self.flush()?;
        Ok(taken)
    }

    fn end_writing(&mut self) -> io::Result<()> {
        if self.shut == Shut::No {
            self.session.send_close_notify();
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
        let is_held = self.session.wants_write() && self.broken.is_none();
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
        if !self.aborted && !self.session.is_handshaking() {
            let _ = self.end_writing();
        }
    }
}

/// The carrier below, as rustls reads and writes it.
struct Below<'c, S>(&'c mut S);

impl<S: Carrier> Read for Below<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.receive(buffer)
    }
}

impl<S: Carrier> Write for Below<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
