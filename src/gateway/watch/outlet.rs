//! Lines for a file or a pipe that may be slow, full or gone.
//!
//! A caller with a line never waits: the line goes into a queue of bounded size, and a separate thread writes the queue
//! out. A line that doesn't fit, or that can't be written, is lost; a callback receives how many.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::lock::lock;

/// Most bytes that may wait in the queue: some thousand lines.
const MAX_WAITING: usize = 1024 * 1024;

/// Opens the sink of the lines. A later call opens it again.
pub(crate) type Open = Box<dyn FnMut() -> io::Result<Box<dyn Write + Send>> + Send>;

/// Receives how many lines are lost, and why. It is also called on the thread that has the line, so it must not wait.
pub(crate) type Lost = Box<dyn Fn(u64, &io::Error) + Send + Sync>;

/// A queue of lines, and the thread that writes them, which ends with it.
pub(crate) struct Outlet(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    lost: Lost,
}

#[derive(Default)]
struct Queue {
    lines: Vec<u8>,
    count: u64,
    /// The thread is writing the lines that it took out of the queue.
    writing: bool,
    reopen: bool,
    ended: bool,
}

impl Outlet {
    /// Opens the sink and starts the thread `name`.
    ///
    /// # Errors
    /// When the sink can't be opened or the thread can't be started.
    pub(crate) fn start(name: &str, mut open: Open, lost: Lost) -> io::Result<Self> {
        let sink = open()?;
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new(), lost });
        let writer = Arc::clone(&shared);
        thread::Builder::new().name(name.to_owned()).spawn(move || writer.write_all(sink, open))?;
        Ok(Self(shared))
    }

    /// Queues `line`, which ends in a line feed.
    pub(crate) fn push(&self, line: &[u8]) {
        {
            let mut queue = lock(&self.0.queue);
            if queue.lines.len() + line.len() <= MAX_WAITING {
                queue.lines.extend_from_slice(line);
                queue.count += 1;
                self.0.changed.notify_all();
                return;
            }
        }
        (self.0.lost)(1, &io::Error::other("the reader is too slow"));
    }

    /// Opens the sink again before the next line, for log rotation.
    pub(crate) fn reopen(&self) {
        lock(&self.0.queue).reopen = true;
        self.0.changed.notify_all();
    }

    /// Waits until everything queued is written, for `limit` at most.
    pub(crate) fn finish(&self, limit: Duration) {
        let busy = |queue: &mut Queue| queue.count > 0 || queue.writing;
        drop(self.0.changed.wait_timeout_while(lock(&self.0.queue), limit, busy));
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        lock(&self.0.queue).ended = true;
        self.0.changed.notify_all();
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outlet")
    }
}

impl Shared {
    fn write_all(&self, mut sink: Box<dyn Write + Send>, mut open: Open) {
        let mut lines = Vec::new();
        // An error may have cut a line off. The next line must not look like the rest of that line.
        let mut torn = false;
        loop {
            let (count, reopen) = {
                let mut queue = lock(&self.queue);
                queue.writing = false;
                self.changed.notify_all();
                let idle = |queue: &mut Queue| queue.count == 0 && !queue.reopen && !queue.ended;
                let mut queue = self.changed.wait_while(queue, idle).unwrap_or_else(PoisonError::into_inner);
                if queue.count == 0 && queue.ended {
                    return;
                }
                lines.clear();
                std::mem::swap(&mut lines, &mut queue.lines);
                queue.writing = true;
                (std::mem::take(&mut queue.count), std::mem::take(&mut queue.reopen))
            };
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::watch::notices::tests::Heard;
    use std::io::Read;
    use std::sync::mpsc::{Receiver, channel};

    /// Longer than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(20);

    type Losses = Receiver<(u64, String)>;

    fn outlet(open: impl FnMut() -> io::Result<Box<dyn Write + Send>> + Send + 'static) -> (Outlet, Losses) {
        let (sender, losses) = channel();
        let lost = move |count, error: &io::Error| drop(sender.send((count, error.to_string())));
        (Outlet::start("test", Box::new(open), Box::new(lost)).unwrap(), losses)
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
