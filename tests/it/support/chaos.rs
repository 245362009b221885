//! A bad network: a relay before a port that breaks, swallows and refuses connections as a test wants.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_linger;

use super::random::Random;
use super::run::DEADLINE;

/// How much one direction holds, in bytes.
const HELD: usize = 64 * 1024;
/// The pause between two tries to reach the server, while the network carries nothing new.
const AGAIN: Duration = Duration::from_millis(10);

/// How a connection breaks, for both of its ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cut {
    Reset,
    End,
}

/// The network. All connections through it are cut at its end.
pub(crate) struct Chaos {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    server: SocketAddr,
    /// Nothing is carried.
    hole: bool,
    /// Connections up to this number are forgotten: nothing of them is carried any more.
    forgotten: usize,
    refuses: bool,
    ends: bool,
    accepted: usize,
    /// How many connections a cut has broken.
    cut: usize,
    open: Vec<Open>,
    lives: Option<Lives>,
    carried: u64,
}

/// A connection.
struct Open {
    number: usize,
    /// A byte here makes it look at the state.
    wake: UnixStream,
    cut: Option<Cut>,
}

/// How long connections live, in bytes of both directions.
struct Lives {
    random: Random,
    left: usize,
    first: u64,
    others: [u64; 2],
}

impl Chaos {
    /// Before this server.
    pub(crate) fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            server,
            hole: false,
            forgotten: 0,
            refuses: false,
            ends: false,
            accepted: 0,
            cut: 0,
            open: Vec::new(),
            lives: None,
            carried: 0,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let own = Arc::clone(&shared);
        let acceptor = thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let mut state = own.lock();
                if state.ends {
                    break;
                }
                state.accepted += 1;
                own.changed.notify_all();
                if state.refuses {
                    reset(client);
                    continue;
                }
                let (wake, woken) = UnixStream::pair().unwrap();
                let number = state.accepted;
                state.open.push(Open { number, wake, cut: None });
                drop(state);
                let own = Arc::clone(&own);
                // It ends with its connection.
                thread::spawn(move || own.carry(number, client, woken));
            }
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.shared.lock();
        let changed = change(&mut state);
        state.open.iter_mut().for_each(|open| drop(open.wake.write_all(b"x")));
        changed
    }

    /// Breaks all connections.
    pub(crate) fn cut(&self, how: Cut) {
        self.change(|state| state.open.iter_mut().for_each(|open| open.cut = Some(how)));
    }

    /// Carries nothing from now on, in either direction; sockets stay open.
    pub(crate) fn stops(&self) {
        self.change(|state| state.hole = true);
    }

    /// Carries again, also what was held back.
    pub(crate) fn goes_on(&self) {
        self.change(|state| state.hole = false);
    }

    /// Carries nothing more of the connections that are open now, as a router does that has forgotten them.
    pub(crate) fn forgets(&self) {
        self.change(|state| state.forgotten = state.accepted);
    }

    /// Whether new connections are reset at once.
    pub(crate) fn refuses(&self, refuses: bool) {
        self.change(|state| state.refuses = refuses);
    }

    /// Leads new connections to another server.
    pub(crate) fn leads_to(&self, server: SocketAddr) {
        self.change(|state| state.server = server);
    }

    /// From now on breaks so many connections, each after a number of bytes: the next one after `first`, so that it opens
    /// its tunnel, and the others after a random number up to one of two limits. The small one breaks heads.
    pub(crate) fn breaks(&self, connections: usize, seed: u64, first: u64, others: [u64; 2]) {
        self.change(|state| state.lives = Some(Lives { random: Random::new(seed), left: connections, first, others }));
    }

    /// How many connections were cut.
    pub(crate) fn cuts(&self) -> usize {
        self.shared.lock().cut
    }

    /// How many bytes were carried, both ways together.
    pub(crate) fn carried(&self) -> u64 {
        self.shared.lock().carried
    }

    #[track_caller]
    fn waits_until(&self, what: &str, is_so: impl Fn(&State) -> bool) {
        let state = self.shared.lock();
        let wait = self.shared.changed.wait_timeout_while(state, DEADLINE, |state| !is_so(state));
        assert!(!wait.unwrap().1.timed_out(), "the network waits in vain for {what}");
    }

    /// Waits until so many connections have come.
    #[track_caller]
    pub(crate) fn waits_for(&self, connections: usize) {
        self.waits_until(&format!("connection {connections}"), |state| state.accepted >= connections);
    }

    /// Waits until so many more bytes were carried.
    #[track_caller]
    pub(crate) fn carries(&self, bytes: u64) {
        let until = self.carried() + bytes;
        self.waits_until(&format!("{bytes} bytes"), |state| state.carried >= until);
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        self.change(|state| {
            state.ends = true;
            state.open.iter_mut().for_each(|open| open.cut = Some(Cut::Reset));
        });
        // Wakes the acceptor.
        drop(TcpStream::connect(self.address));
        self.acceptor.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Carries one connection until it ends.
    fn carry(&self, number: usize, client: TcpStream, mut woken: UnixStream) {
        let life = {
            let mut state = self.lock();
            state.lives.as_mut().and_then(Lives::next)
        };
        woken.set_nonblocking(true).unwrap();
        let how = match self.reach(number, &mut woken) {
            Ok(server) => {
                let how = self.pump(number, [&client, &server], &mut woken, life);
                end(server, how);
                how
            }
            Err(how) => Some(how),
        };
        end(client, how);
        let mut state = self.lock();
        state.open.retain(|open| open.number != number);
        state.cut += usize::from(how.is_some());
        self.changed.notify_all();
    }

    /// Whether the network carries this connection now. An error if the network cuts it.
    fn look(&self, number: usize) -> Result<bool, Cut> {
        let state = self.lock();
        let own = state.open.iter().find(|open| open.number == number);
        match own.and_then(|open| open.cut) {
            Some(cut) => Err(cut),
            None => Ok(!state.hole && number > state.forgotten),
        }
    }

    /// The connection to the server, once the network carries something.
    fn reach(&self, number: usize, woken: &mut UnixStream) -> Result<TcpStream, Cut> {
        while !self.look(number)? {
            wait(&mut [PollFd::new(&*woken, PollFlags::IN)], AGAIN);
            drain(woken);
        }
        let server = self.lock().server;
        let stream = TcpStream::connect(server).map_err(|_| Cut::Reset)?;
        stream.set_nodelay(true).unwrap();
        Ok(stream)
    }

    /// Moves bytes both ways until both have ended. A cut is returned.
    fn pump(
        &self,
        number: usize,
        ends: [&TcpStream; 2],
        woken: &mut UnixStream,
        life: Option<(u64, Cut)>,
    ) -> Option<Cut> {
        ends.iter().for_each(|end| end.set_nonblocking(true).unwrap());
        let (mut ways, mut moved) = ([Way::new(), Way::new()], 0);
        loop {
            let carries = match self.look(number) {
                Ok(carries) => carries,
                Err(cut) => return Some(cut),
            };
            if carries {
                for (at, way) in ways.iter_mut().enumerate() {
                    let most = life.map_or(u64::MAX, |(bytes, _)| bytes - moved);
                    match way.step(ends[at], ends[1 - at], most) {
                        Ok(0) => {}
                        Ok(bytes) => {
                            moved += bytes;
                            self.lock().carried += bytes;
                            self.changed.notify_all();
                        }
                        Err(_) => return Some(Cut::Reset),
                    }
                    if let Some((bytes, how)) = life
                        && moved >= bytes
                    {
                        return Some(how);
                    }
                }
                if ways.iter().all(Way::is_over) {
                    return None;
                }
            }
            let flags = |at: usize| if carries { ways[at].reads() | ways[1 - at].writes() } else { PollFlags::empty() };
            let mut fds = vec![PollFd::new(&*woken, PollFlags::IN)];
            fds.extend(
                [0, 1].into_iter().filter(|&at| !flags(at).is_empty()).map(|at| PollFd::new(ends[at], flags(at))),
            );
            wait(&mut fds, DEADLINE);
            drain(woken);
        }
    }
}

impl Lives {
    fn next(&mut self) -> Option<(u64, Cut)> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let bytes = match std::mem::take(&mut self.first) {
            0 => {
                let most = *self.random.pick(&self.others);
                1 + self.random.below(most)
            }
            first => first,
        };
        Some((bytes, *self.random.pick(&[Cut::Reset, Cut::End])))
    }
}

/// One direction.
struct Way {
    held: Vec<u8>,
    ended: bool,
    passed_on: bool,
}

impl Way {
    fn new() -> Self {
        Self { held: Vec::new(), ended: false, passed_on: false }
    }

    fn is_over(&self) -> bool {
        self.passed_on
    }

    fn reads(&self) -> PollFlags {
        if self.ended || !self.held.is_empty() { PollFlags::empty() } else { PollFlags::IN }
    }

    fn writes(&self) -> PollFlags {
        if self.held.is_empty() { PollFlags::empty() } else { PollFlags::OUT }
    }

    /// Moves up to so many bytes. Returns how many.
    fn step(&mut self, mut from: &TcpStream, mut to: &TcpStream, most: u64) -> io::Result<u64> {
        if self.held.is_empty() && !self.ended {
            let mut buffer = vec![0; HELD];
            match from.read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(read) => self.held.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if self.held.is_empty() {
            if self.ended && !std::mem::replace(&mut self.passed_on, true) {
                // The other end may have gone.
                let _ = to.shutdown(Shutdown::Write);
            }
            return Ok(0);
        }
        let length = self.held.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        match to.write(&self.held[..length]) {
            Ok(written) => {
                self.held.drain(..written);
                Ok(written as u64)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }
}

fn wait(fds: &mut [PollFd<'_>], most: Duration) {
    // An interruption is one more turn.
    let _ = poll(fds, Some(&Timespec::try_from(most).unwrap()));
}

fn drain(woken: &mut UnixStream) {
    while let Ok(1..) = woken.read(&mut [0; 64]) {}
}

fn end(stream: TcpStream, how: Option<Cut>) {
    if how == Some(Cut::Reset) {
        reset(stream);
    }
}

fn reset(stream: TcpStream) {
    // The other end may have gone.
    let _ = set_socket_linger(&stream, Some(Duration::ZERO));
    drop(stream);
}
