//! Moves bytes in bulk at one end of tunnels: one thread for all of its sockets.
//!
//! It stands for other machines, so its own part is as cheap as can be: bytes are sent from a buffer that stays in the
//! processor's cache, and thrown away unread. What is left of the processors belongs to whoever is measured. They are
//! not sent from a file: a stream of single pages is not what an sshd sends, and costs everybody on its way more.

use std::collections::HashMap;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::setpriority_process;
use rustix::thread::gettid;

/// Most bytes taken in one go, so that one tunnel doesn't keep the others waiting.
const CHUNK: usize = 1024 * 1024;
/// Most bytes sent in one go.
static ZEROS: [u8; 256 * 1024] = [0; 256 * 1024];
/// Behind everybody else (setpriority(2)).
const LAST: i32 = 19;
/// How often a mover without traffic looks whether it is to end.
const TICK: Duration = Duration::from_millis(50);
/// Most events taken at once.
const EVENTS: usize = 64;

/// How much of the processors a mover gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Share {
    /// As much as anybody else.
    Equal,
    /// The part that everybody else leaves: no load takes the processors of another machine.
    #[allow(dead_code, reason = "not every benchmark has somebody who types beside it")]
    Rest,
}

/// The work on a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    Send,
    Take,
}

struct Job {
    stream: TcpStream,
    work: Work,
    left: u64,
}

/// The function that gets a socket which has moved all its bytes, or can't.
pub(crate) type Done = Box<dyn Fn(TcpStream, Work, io::Result<()>) + Send>;

/// The thread, and what it is told through. It ends when this is dropped, and its sockets are closed.
pub(crate) struct Mover {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    epoll: OwnedFd,
    jobs: Mutex<HashMap<u64, Job>>,
    moved: AtomicU64,
    over: AtomicBool,
}

impl Mover {
    pub(crate) fn start(share: Share, done: Done) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            jobs: Mutex::default(),
            moved: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let moving = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            if share == Share::Rest {
                // Linux counts it for each thread. It may always be lowered.
                let _ = setpriority_process(Some(gettid()), LAST);
            }
            moving.run(&done);
        });
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Has `left` bytes moved through `stream`.
    pub(crate) fn add(&self, stream: TcpStream, work: Work, left: u64) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let flags = if work == Work::Send { epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
        let key = stream.as_raw_fd() as u64;
        let mut jobs = self.shared.jobs();
        epoll::add(&self.shared.epoll, &stream, epoll::EventData::new_u64(key), flags)?;
        jobs.insert(key, Job { stream, work, left });
        Ok(())
    }

    /// Closes all of its sockets, each after a last `word`.
    pub(crate) fn clear(&self, word: fn(&TcpStream)) {
        self.shared.jobs().drain().for_each(|(_, job)| word(&job.stream));
    }

    /// How many bytes it has moved so far.
    #[allow(dead_code, reason = "not every benchmark counts")]
    pub(crate) fn moved(&self) -> u64 {
        self.shared.moved.load(Ordering::Relaxed)
    }
}

impl Drop for Mover {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn jobs(&self) -> MutexGuard<'_, HashMap<u64, Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, done: &Done) {
        let tick = Timespec { tv_sec: 0, tv_nsec: TICK.as_nanos() as i64 };
        let mut buffer = vec![0; CHUNK];
        let mut events = Vec::with_capacity(EVENTS);
        while !self.over.load(Ordering::Relaxed) {
            events.clear();
            // Interrupted or not: what is ready is asked for again.
            let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&tick));
            for event in &events {
                self.turn(event.data.u64(), &mut buffer, done);
            }
        }
    }

    fn turn(&self, key: u64, buffer: &mut [u8], done: &Done) {
        let mut jobs = self.jobs();
        let Some(job) = jobs.get_mut(&key) else { return };
        let result = self.step(job, buffer);
        if job.left > 0 && result.is_ok() {
            return;
        }
        let Some(job) = jobs.remove(&key) else { return };
        // The next one to have this socket adds it to an epoll of its own.
        let _ = epoll::delete(&self.epoll, &job.stream);
        drop(jobs);
        done(job.stream, job.work, result);
    }

    fn step(&self, job: &mut Job, buffer: &mut [u8]) -> io::Result<()> {
        let most = job.left.min(CHUNK as u64) as usize;
        let moved = match job.work {
            Work::Send => rustix::net::send(&job.stream, &ZEROS[..most.min(ZEROS.len())], SendFlags::NOSIGNAL),
            // TRUNC on a TCP socket drops the bytes in the kernel instead of copying them.
            Work::Take => rustix::net::recv(&job.stream, &mut buffer[..most], RecvFlags::TRUNC).map(|(_, all)| all),
        };
        match moved {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(moved) => {
                job.left -= moved as u64;
                self.moved.fetch_add(moved as u64, Ordering::Relaxed);
                Ok(())
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
