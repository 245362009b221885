//! Lines for a file or a pipe that may be slow, full or gone.
//!
//! A caller with a line never waits: the line goes into a queue of bounded size, and a separate thread writes the queue
//! out. A line that doesn't fit, or that can't be written, is lost; a callback receives how many.
//!
//! Waking the thread and writing to a file take far more of a processor than a line itself. So the first line after a
//! silence is written at once, and then the thread rests: it writes what has come meanwhile by one write. A rest ends
//! early when [`ENOUGH`] bytes wait, and when somebody wants the sink to be complete or to be opened again.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::lock::lock;

/// Most bytes that may wait in the queue: some thousand lines.
const MAX_WAITING: usize = 1024 * 1024;
/// Bytes that are worth a write of their own. Few enough that the queue has room left for what comes during that write.
const ENOUGH: usize = 64 * 1024;

/// Opens the sink of the lines. A later call opens it again.
pub(crate) type Open = Box<dyn FnMut() -> io::Result<Box<dyn Write + Send>> + Send>;

/// Receives how many lines are lost, and why. It is also called on the thread that has the line, so it must not wait.
pub(crate) type Lost = Box<dyn Fn(u64, &io::Error) + Send + Sync>;

/// A queue of lines, and the thread that writes them, which ends with it.
pub(crate) struct Outlet(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// The thread has something to do before its rest is over.
    work: Condvar,
    /// The thread has written what it took.
    written: Condvar,
    /// How long the thread rests after a write.
    rest: Duration,
    lost: Lost,
}

#[derive(Default)]
struct Queue {
    lines: Vec<u8>,
    count: u64,
    writer: Writer,
    /// How many wait until everything is written.
    awaited: usize,
    reopen: bool,
    ended: bool,
}

/// The state of the thread.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Writer {
    /// Writes, or has been woken to do so. Looks at the queue afterwards, so nobody needs to wake the thread.
    #[default]
    Busy,
    /// Wrote a moment ago, and lets lines gather.
    Resting,
    /// Waits for the next line.
    Idle,
}

impl Queue {
    /// Adds a line if it fits. Returns whether the thread has to be woken for it.
    fn add(&mut self, line: &[u8]) -> Result<bool, ()> {
        if self.lines.len() + line.len() > MAX_WAITING {
            return Err(());
        }
        self.lines.extend_from_slice(line);
        self.count += 1;
        let wakes = match self.writer {
            Writer::Busy => false,
            Writer::Resting => self.lines.len() >= ENOUGH,
            Writer::Idle => true,
        };
        if wakes {
            self.writer = Writer::Busy;
        }
        Ok(wakes)
    }

    fn is_urgent(&self) -> bool {
        self.reopen || self.ended || self.awaited > 0
    }
}

impl Outlet {
    /// Opens the sink and starts the thread `name`, which rests for so long after each write.
    ///
    /// # Errors
    /// When the sink can't be opened or the thread can't be started.
    pub(crate) fn start(name: &str, rest: Duration, mut open: Open, lost: Lost) -> io::Result<Self> {
        let sink = open()?;
        let (queue, work, written) = Default::default();
        let shared = Arc::new(Shared { queue, work, written, rest, lost });
        let writer = Arc::clone(&shared);
        thread::Builder::new().name(name.to_owned()).spawn(move || writer.write_all(sink, open))?;
        Ok(Self(shared))
    }

    /// Queues `line`, which ends in a line feed.
    pub(crate) fn push(&self, line: &[u8]) {
        let added = lock(&self.0.queue).add(line);
        match added {
            // A notification is a system call, even if nobody waits.
            Ok(true) => self.0.work.notify_one(),
            Ok(false) => {}
            Err(()) => (self.0.lost)(1, &io::Error::other("the reader is too slow")),
        }
    }

    /// Opens the sink again before the next line, for log rotation.
    pub(crate) fn reopen(&self) {
        lock(&self.0.queue).reopen = true;
        self.0.work.notify_one();
    }

    /// Waits until everything queued is written, for `limit` at most.
    pub(crate) fn finish(&self, limit: Duration) {
        let busy = |queue: &mut Queue| queue.count > 0 || queue.writer == Writer::Busy;
        let mut queue = lock(&self.0.queue);
        queue.awaited += 1;
        self.0.work.notify_one();
        let (mut queue, _) =
            self.0.written.wait_timeout_while(queue, limit, busy).unwrap_or_else(PoisonError::into_inner);
        queue.awaited -= 1;
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        lock(&self.0.queue).ended = true;
        self.0.work.notify_one();
    }
}

/// The lines that the thread takes out of the queue at once.
struct Batch {
    count: u64,
    reopen: bool,
}

impl Shared {
    fn write_all(&self, mut sink: Box<dyn Write + Send>, mut open: Open) {
        let mut lines = Vec::new();
        // An error may have cut a line off. The next line must not look like the rest of that line.
        let mut torn = false;
        while let Some(Batch { count, reopen }) = self.take(&mut lines) {
            if reopen {
                match open() {
                    Ok(opened) => (sink, torn) = (opened, false),
                    // The old sink is better than none.
                    Err(error) => (self.lost)(0, &error),
                }
            }
            let start = if torn && count > 0 { sink.write_all(b"\n") } else { Ok(()) };
            match start.and_then(|()| sink.write_all(&lines)).and_then(|()| sink.flush()) {
                Ok(()) => torn = torn && count == 0,
                Err(error) => {
                    torn = true;
                    (self.lost)(count, &error);
                }
            }
            self.rest();
        }
    }

    /// Lets lines gather for a while.
    fn rest(&self) {
        let mut queue = lock(&self.queue);
        queue.writer = Writer::Resting;
        self.written.notify_all();
        let rests =
            |queue: &mut Queue| queue.writer == Writer::Resting && queue.lines.len() < ENOUGH && !queue.is_urgent();
        if !self.rest.is_zero() {
            drop(self.work.wait_timeout_while(queue, self.rest, rests));
        }
    }

    /// Waits for something to do. `None` at the end.
    fn take(&self, lines: &mut Vec<u8>) -> Option<Batch> {
        let mut queue = self.wait();
        queue.writer = Writer::Busy;
        if queue.count == 0 && queue.ended {
            return None;
        }
        lines.clear();
        std::mem::swap(lines, &mut queue.lines);
        Some(Batch { count: std::mem::take(&mut queue.count), reopen: std::mem::take(&mut queue.reopen) })
    }

    fn wait(&self) -> MutexGuard<'_, Queue> {
        let mut queue = lock(&self.queue);
        let idle = |queue: &mut Queue| queue.count == 0 && !queue.reopen && !queue.ended;
        if idle(&mut queue) {
            queue.writer = Writer::Idle;
            self.written.notify_all();
        }
        self.work.wait_while(queue, idle).unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::tests::PATIENCE;
    use crate::gateway::watch::notices::tests::Heard;
    use std::io::Read;
    use std::sync::mpsc::{Receiver, channel};

    type Losses = Receiver<(u64, String)>;

    fn outlet(open: impl FnMut() -> io::Result<Box<dyn Write + Send>> + Send + 'static) -> (Outlet, Losses) {
        outlet_that_rests(Duration::from_millis(1), open)
    }

    fn outlet_that_rests(
        rest: Duration,
        open: impl FnMut() -> io::Result<Box<dyn Write + Send>> + Send + 'static,
    ) -> (Outlet, Losses) {
        let (sender, losses) = channel();
        let lost = move |count, error: &io::Error| drop(sender.send((count, error.to_string())));
        (Outlet::start("test", rest, Box::new(open), Box::new(lost)).unwrap(), losses)
    }

    /// Passes on what each write gets.
    struct Batches(std::sync::mpsc::Sender<String>);

    impl Write for Batches {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(String::from_utf8_lossy(bytes).into_owned()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// An outlet whose rest nobody lives to see the end of, and its batches.
    fn sleepy() -> (Outlet, Receiver<String>) {
        let (sender, batches) = channel();
        let open = move || Ok(Box::new(Batches(sender.clone())) as Box<dyn Write + Send>);
        (outlet_that_rests(Duration::from_secs(3600), open).0, batches)
    }

    #[test]
    fn a_line_after_a_silence_is_written_at_once_and_those_behind_it_by_one_write() {
        let (outlet, batches) = sleepy();
        outlet.push(b"first\n");
        assert_eq!(batches.recv_timeout(PATIENCE).unwrap(), "first\n");
        for n in 0..100 {
            outlet.push(format!("{n}\n").as_bytes());
        }
        let rested = batches.recv_timeout(Duration::from_millis(50));
        assert!(rested.is_err(), "the thread doesn't rest: {rested:?}");
        outlet.finish(PATIENCE);
        assert!(!lock(&outlet.0.queue).is_urgent(), "the thread never rests again");
        assert_eq!(batches.try_recv().unwrap(), (0..100).map(|n| format!("{n}\n")).collect::<String>());
        outlet.push(b"last\n");
        drop(outlet);
        assert_eq!(batches.recv_timeout(PATIENCE).unwrap(), "last\n");
    }

    #[test]
    fn a_rest_ends_with_many_lines_and_when_the_sink_is_opened_again() {
        let (outlet, batches) = sleepy();
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        outlet.push(&line);
        batches.recv_timeout(PATIENCE).unwrap();
        for _ in 0..ENOUGH / line.len() {
            outlet.push(&line);
        }
        assert_eq!(batches.recv_timeout(PATIENCE).unwrap().len(), ENOUGH);
        outlet.push(b"last\n");
        outlet.reopen();
        assert_eq!(batches.recv_timeout(PATIENCE).unwrap(), "last\n");
    }

    #[test]
    fn a_rest_ends_by_itself() {
        let (sender, batches) = channel();
        let open = move || Ok(Box::new(Batches(sender.clone())) as Box<dyn Write + Send>);
        let (outlet, _) = outlet_that_rests(Duration::from_millis(20), open);
        for line in ["one\n", "two\n"] {
            outlet.push(line.as_bytes());
            assert_eq!(batches.recv_timeout(PATIENCE).unwrap(), line);
        }
    }

    #[test]
    fn lines_come_out_in_order_and_the_end_waits_for_them() {
        let heard = Heard::default();
        let sink = heard.clone();
        let (outlet, losses) = outlet(move || Ok(Box::new(sink.clone())));
        for n in 0..1000 {
            outlet.push(format!("{n}\n").as_bytes());
        }
        let begun = std::time::Instant::now();
        outlet.finish(PATIENCE);
        assert!(begun.elapsed() < PATIENCE, "nothing is left to wait for");
        assert_eq!(heard.text(), (0..1000).map(|n| format!("{n}\n")).collect::<String>());
        drop(outlet);
        assert!(losses.iter().next().is_none());
    }

    #[test]
    fn a_sink_that_takes_nothing_loses_lines_and_delays_nobody() {
        let (mut reader, writer) = io::pipe().unwrap();
        let (outlet, losses) = outlet(move || Ok(Box::new(writer.try_clone()?)));
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        // More than a pipe, the batch being written and the queue hold together.
        let pushed = 3 * 1024;
        for _ in 0..pushed {
            outlet.push(&line);
        }
        outlet.finish(Duration::from_millis(1));
        let reading = thread::spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            bytes
        });
        outlet.finish(PATIENCE);
        drop(outlet);
        let lost: u64 = losses
            .iter()
            .map(|(count, why)| {
                assert_eq!(why, "the reader is too slow");
                count
            })
            .sum();
        let written = reading.join().unwrap();
        // The queue holds 1 MiB.
        assert!(lost > 0 && lost <= pushed - 1024, "{lost} lines");
        assert!(written.chunks(1024).all(|chunk| chunk == line));
        assert_eq!(written.len() as u64 / 1024 + lost, pushed);
    }

    /// Takes `room` bytes, then no more until it is opened again.
    struct Full {
        room: usize,
        heard: Heard,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(self.room);
            if fits == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= fits;
            self.heard.write(&bytes[..fits])
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_can_not_be_written_are_counted_and_a_reopened_sink_takes_the_next_line() {
        let heard = Heard::default();
        let sink = heard.clone();
        let mut rooms = vec![6, 1000, 3].into_iter();
        let open = move || match rooms.next() {
            Some(1000) => Err(io::Error::other("no such file")),
            Some(room) => Ok(Box::new(Full { room, heard: sink.clone() }) as Box<dyn Write + Send>),
            None => Ok(Box::new(sink.clone()) as Box<dyn Write + Send>),
        };
        let (outlet, losses) = outlet(open);
        let push = |line: &str| {
            outlet.push(line.as_bytes());
            outlet.finish(PATIENCE);
        };
        push("one\n");
        push("two\n");
        assert_eq!(losses.recv_timeout(PATIENCE).unwrap().0, 1);
        // Opening the sink again fails, and the old one stays.
        outlet.reopen();
        assert_eq!(losses.recv_timeout(PATIENCE).unwrap(), (0, "no such file".to_owned()));
        push("three\n");
        assert_eq!(losses.recv_timeout(PATIENCE).unwrap().0, 1);
        outlet.reopen();
        push("four\n");
        assert_eq!(losses.recv_timeout(PATIENCE).unwrap().0, 1);
        outlet.reopen();
        push("five\n");
        assert_eq!(heard.text(), "one\ntwfoufive\n");
    }

    #[test]
    fn a_line_after_a_cut_off_line_starts_a_new_line() {
        /// Fails once, in the middle of the second write.
        struct Hiccup(Heard, u32);
        impl Write for Hiccup {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.1 += 1;
                match self.1 {
                    2 => self.0.write(&bytes[..2]),
                    3 => Err(io::ErrorKind::StorageFull.into()),
                    _ => self.0.write(bytes),
                }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let heard = Heard::default();
        let sink = heard.clone();
        let (outlet, losses) = outlet(move || Ok(Box::new(Hiccup(sink.clone(), 0))));
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            outlet.push(line.as_bytes());
            outlet.finish(PATIENCE);
        }
        assert_eq!(heard.text(), "one\ntw\nthree\nfour\n");
        assert_eq!(losses.recv_timeout(PATIENCE).unwrap().0, 1);
    }
}
