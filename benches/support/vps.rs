//! A VPS that does no cryptography: what stands between it and the client is all that is measured.
//!
//! It says an SSH banner at once, as an sshd does, and then takes orders: a letter and a count in eight bytes, big end
//! first. One thread serves all connections, and another one those that move bytes in bulk. It resets a connection
//! that its client ends without having ordered an end or an echo: none of the ports between the two is to wait for
//! stray segments then, or there would soon be none left.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::net::SocketFlags;
use rustix::net::sockopt::{set_socket_linger, set_tcp_nodelay};

use super::mover::{Mover, Share, Work};

/// The VPS's first words.
pub(crate) const BANNER: &[u8] = b"SSH-2.0-bench\r\n";
/// Its answer once it has taken everything it was told to take.
pub(crate) const TAKEN: u8 = b'k';
/// Length of the queue of connections that were not accepted yet; the system has a limit of its own.
const BACKLOG: i32 = 4096;
/// Most events taken at once.
const EVENTS: usize = 256;
/// The listener's mark among the events; no descriptor has this number.
const LISTENER: u64 = u64::MAX;

/// An order to the VPS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// Send this many bytes.
    Send(u64),
    /// Take this many bytes, then say [`TAKEN`].
    Take(u64),
    /// Send back this many bytes, one at a time.
    Echo(u64),
    /// Send this many bytes, then end the own direction and wait for the client's end.
    End(u64),
    /// Send this many bytes, then reset the connection.
    Reset(u64),
    /// Reset all connections that send or take bytes, then say [`TAKEN`].
    Stop,
}

/// Bytes of an order.
const ORDER: usize = 9;

impl Order {
    pub(crate) fn bytes(self) -> [u8; ORDER] {
        let (letter, count) = match self {
            Self::Send(count) => (b's', count),
            Self::Take(count) => (b't', count),
            Self::Echo(count) => (b'e', count),
            Self::End(count) => (b'f', count),
            Self::Reset(count) => (b'r', count),
            Self::Stop => (b'q', 0),
        };
        let mut bytes = [letter; ORDER];
        bytes[1..].copy_from_slice(&count.to_be_bytes());
        bytes
    }

    fn read(bytes: [u8; ORDER]) -> Option<Self> {
        let count = bytes[1..].iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        match bytes[0] {
            b's' => Some(Self::Send(count)),
            b't' => Some(Self::Take(count)),
            b'e' => Some(Self::Echo(count)),
            b'f' => Some(Self::End(count)),
            b'r' => Some(Self::Reset(count)),
            b'q' => Some(Self::Stop),
            _ => None,
        }
    }
}

/// Starts it on a free port of 127.0.0.1; its bulk has this share of the processors. It serves until the process ends.
pub(crate) fn start(share: Share) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // The standard library's own is 128, fewer than come at once here.
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    // Accepted sockets inherit the option.
    set_tcp_nodelay(&listener, true)?;
    let address = listener.local_addr()?;
    let talks = Arc::new(Talks { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, open: Mutex::default() });
    epoll::add(&talks.epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let back = Arc::clone(&talks);
    let mover = Mover::start(
        share,
        Box::new(move |mut stream, work, result| {
            if work == Work::Take && result.is_ok() && stream.write_all(&[TAKEN]).is_err() || result.is_err() {
                return end(&stream);
            }
            // A client that leaves in the middle is its own report.
            let _ = back.add(Talk::new(stream));
        }),
    )?;
    thread::spawn(move || talks.run(&listener, &mover));
    Ok(address)
}

/// A connection and what it waits for.
struct Talk {
    stream: TcpStream,
    order: [u8; ORDER],
    have: usize,
    /// So many bytes are still to be sent back.
    echo: u64,
    /// Whether the end is to be an orderly one.
    orderly: bool,
}

/// The next step of a connection after a turn.
enum Next {
    Wait,
    Move(Work, u64),
    Stop,
    Over,
}

impl Talk {
    fn new(stream: TcpStream) -> Self {
        Self { stream, order: [0; ORDER], have: 0, echo: 0, orderly: false }
    }

    fn turn(&mut self) -> io::Result<Next> {
        let mut buffer = [0; 4096];
        loop {
            let most = match self.echo {
                0 => ORDER - self.have,
                left => left.min(buffer.len() as u64) as usize,
            };
            let read = match self.stream.read(&mut buffer[..most]) {
                Ok(0) => return Ok(Next::Over),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Next::Wait),
                Err(error) => return Err(error),
            };
            if self.echo > 0 {
                self.stream.write_all(&buffer[..read])?;
                self.echo -= read as u64;
                continue;
            }
            self.order[self.have..self.have + read].copy_from_slice(&buffer[..read]);
            self.have += read;
            if self.have < ORDER {
                continue;
            }
            self.have = 0;
            let order = Order::read(self.order);
            self.orderly = matches!(order, Some(Order::Echo(_) | Order::End(_)));
            match order.ok_or(io::ErrorKind::InvalidData)? {
                Order::Send(count) => return Ok(Next::Move(Work::Send, count)),
                Order::Take(count) => return Ok(Next::Move(Work::Take, count)),
                Order::Stop => return Ok(Next::Stop),
                Order::Echo(count) => self.echo = count,
                Order::End(count) => {
                    self.stream.write_all(&vec![0; count as usize])?;
                    self.stream.shutdown(std::net::Shutdown::Write)?;
                }
                Order::Reset(count) => {
                    self.stream.write_all(&vec![0; count as usize])?;
                    return Ok(Next::Over);
                }
            }
        }
    }
}

/// All connections that aren't moving bytes in bulk.
struct Talks {
    epoll: OwnedFd,
    open: Mutex<HashMap<u64, Talk>>,
}

impl Talks {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Talk>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, talk: Talk) -> io::Result<()> {
        let key = talk.stream.as_raw_fd() as u64;
        let mut open = self.open();
        epoll::add(&self.epoll, &talk.stream, epoll::EventData::new_u64(key), epoll::EventFlags::IN)?;
        open.insert(key, talk);
        Ok(())
    }

    fn run(&self, listener: &TcpListener, mover: &Mover) {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            events.clear();
            // Interrupted or not: what is ready is asked for again.
            let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), None);
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept(listener),
                    key => self.turn(key, mover),
                }
            }
        }
    }

    fn accept(&self, listener: &TcpListener) {
        while let Ok(socket) = rustix::net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            let mut stream = TcpStream::from(socket);
            // A client that is gone already is its own report.
            let _ = stream.write_all(BANNER).and_then(|()| self.add(Talk::new(stream)));
        }
    }

    fn turn(&self, key: u64, mover: &Mover) {
        let mut open = self.open();
        let Some(talk) = open.get_mut(&key) else { return };
        let next = talk.turn().unwrap_or(Next::Over);
        match next {
            Next::Wait => return,
            Next::Stop => {
                mover.clear(end);
                // A client that doesn't wait for it is its own report.
                let _ = talk.stream.write_all(&[TAKEN]);
                return;
            }
            Next::Move(..) | Next::Over => {}
        }
        let Some(Talk { stream, orderly, .. }) = open.remove(&key) else { return };
        drop(open);
        match next {
            Next::Move(work, count) => {
                let _ = epoll::delete(&self.epoll, &stream);
                let _ = mover.add(stream, work, count);
            }
            _ if !orderly => end(&stream),
            _ => {}
        }
    }
}

/// Has the connection reset when it is closed.
fn end(stream: &TcpStream) {
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
}
