//! Opens many tunnels at once, in one thread: to open them fast, or to hold them. It shares the processors with whoever
//! is measured, so it makes no call that it can do without.

use std::collections::HashMap;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use super::tunnel::{Asks, Entrance, LONGEST_ANSWER, is_open};
use crate::support::limits;

/// Longest time without one more open tunnel.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most events taken at once.
const EVENTS: usize = 256;

/// Tunnels on their way to being open.
pub(crate) struct Opener<'a> {
    entrance: &'a Entrance,
    epoll: OwnedFd,
    coming: HashMap<u64, Coming>,
}

struct Coming {
    stream: TcpStream,
    asked: bool,
    seen: Vec<u8>,
}

impl<'a> Opener<'a> {
    pub(crate) fn new(entrance: &'a Entrance) -> Result<Self> {
        Ok(Self { entrance, epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, coming: HashMap::new() })
    }

    /// Opens `count` tunnels, `at_once` at a time.
    pub(crate) fn open(mut self, count: usize, at_once: usize) -> Result<Vec<TcpStream>> {
        let mut open = Vec::with_capacity(count);
        while open.len() < count {
            while self.coming.len() < at_once.min(count - open.len()) {
                self.begin()?;
            }
            let more = self.wait().with_context(|| format!("with {} tunnels open", open.len()))?;
            // The next owners may wait for them in their own ways.
            more.iter().try_for_each(|stream| epoll::delete(&self.epoll, stream))?;
            open.extend(more);
        }
        Ok(open)
    }

    /// Opens tunnels, `at_once` at a time, and closes each as soon as it is open, for as long as `goes_on` says, which
    /// is told how many there were so far.
    pub(crate) fn open_and_close(mut self, at_once: usize, mut goes_on: impl FnMut(usize) -> bool) -> Result<()> {
        let mut count = 0;
        while goes_on(count) {
            while self.coming.len() < at_once {
                self.begin()?;
            }
            count += self.wait()?.into_iter().map(reset).count();
        }
        self.coming.into_values().map(|coming| coming.stream).for_each(reset);
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &self.entrance.address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error).context("cannot connect"),
        }
        let mut coming = Coming { stream: socket.into(), asked: false, seen: Vec::new() };
        // Nearby the connection is there by now.
        coming.ask(&self.entrance.request)?;
        let waits_for =
            if coming.asked { epoll::EventFlags::IN } else { epoll::EventFlags::IN | epoll::EventFlags::OUT };
        let key = coming.stream.as_raw_fd() as u64;
        epoll::add(&self.epoll, &coming.stream, epoll::EventData::new_u64(key), waits_for | epoll::EventFlags::ET)?;
        self.coming.insert(key, coming);
        Ok(())
    }

    /// Waits until at least one more is open.
    fn wait(&mut self) -> Result<Vec<TcpStream>> {
        let tick = Timespec { tv_sec: 1, tv_nsec: 0 };
        let end = Instant::now() + PATIENCE;
        let mut events = Vec::with_capacity(EVENTS);
        let mut open = Vec::new();
        while open.is_empty() {
            limits::check()?;
            ensure!(Instant::now() < end, "no tunnel more in {} s", PATIENCE.as_secs());
            events.clear();
            // Interrupted or not: what is ready is asked for again.
            let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&tick));
            for event in &events {
                let key = event.data.u64();
                let Some(coming) = self.coming.get_mut(&key) else { continue };
                if coming.turn(self.entrance.asks, &self.entrance.request)? {
                    open.extend(self.coming.remove(&key).map(|coming| coming.stream));
                }
            }
        }
        Ok(open)
    }
}

impl Coming {
    /// Sends the request, if the connection is there.
    fn ask(&mut self, request: &str) -> Result<()> {
        if !request.is_empty() {
            let sent = match rustix::net::send(&self.stream, request.as_bytes(), SendFlags::NOSIGNAL) {
                Err(Errno::AGAIN) => return Ok(()),
                other => other.context("cannot ask for a tunnel")?,
            };
            ensure!(sent == request.len(), "a socket that takes no request");
        }
        self.asked = true;
        Ok(())
    }

    /// Goes on as far as it can; whether the tunnel is open.
    fn turn(&mut self, asks: Asks, request: &str) -> Result<bool> {
        if !self.asked {
            self.ask(request)?;
            return Ok(false);
        }
        let mut buffer = [0; LONGEST_ANSWER];
        loop {
            let read = match rustix::net::recv(&self.stream, &mut buffer[..], RecvFlags::empty()) {
                Ok((_, read)) => read,
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error).context("it broke before the VPS's banner"),
            };
            ensure!(read > 0, "it ended: {:?}", String::from_utf8_lossy(&self.seen));
            self.seen.extend_from_slice(&buffer[..read]);
            let open = is_open(asks, &self.seen)?;
            // A read that leaves room has emptied the socket.
            if open || read < buffer.len() {
                return Ok(open);
            }
        }
    }
}

/// Closes at once, and leaves no port behind that waits for stray segments.
pub(crate) fn reset(stream: TcpStream) {
    // Without it the port waits; nothing else changes.
    let _ = sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
}
