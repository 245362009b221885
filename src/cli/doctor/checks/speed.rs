//! How fast the connection is, once a login works: the round trip of one byte, and the throughput.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cli::doctor::check::{Check, Examined, Given, Missing};
use crate::cli::doctor::finding::Verdict;
use crate::cli::doctor::session::Session;
use crate::cli::programs::program;
use crate::sys::{self, AsFd, PollFlags};

/// How long a login and the first answer may take.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long one byte may take to come back.
const BYTE_LIMIT: Duration = Duration::from_secs(5);
/// How many round trips are measured; the report shows the median.
const TRIPS: usize = 5;
/// How long bytes are counted.
const MEASURE: Duration = Duration::from_secs(1);
/// Most bytes that are requested.
const AMOUNT: usize = 64 * 1024 * 1024;

pub(super) struct RoundTrip<'a> {
    /// The VPS, for messages.
    pub(super) name: &'a str,
    pub(super) login: &'a Given<()>,
    pub(super) session: &'a Given<Session>,
}

impl Check for RoundTrip<'_> {
    const NAME: &'static str = "round-trip";
    const NEEDS_VPS: bool = true;
    type Gives = ();

    fn tried(&self) -> String {
        format!("one byte to `cat` on VPS {} and back, {TRIPS} times", self.name)
    }

    fn examine(&self) -> Result<Examined<()>, Verdict> {
        (*self.login)?;
        let trips = measure_trips(self.session.as_ref()?.command("cat"))
            .map_err(|error| Verdict::Skipped(format!("`cat` did not answer: {error}")))?;
        let [shortest, median, longest] = [0, TRIPS / 2, TRIPS - 1].map(|at| shown(trips[at]));
        Ok(Verdict::Fine(format!("{median} (from {shortest} to {longest})")).into())
    }
}

pub(super) struct Throughput<'a> {
    /// The VPS, for messages.
    pub(super) name: &'a str,
    pub(super) login: &'a Given<()>,
    pub(super) session: &'a Given<Session>,
}

fn zeros() -> String {
    format!("head -c {AMOUNT} /dev/zero")
}

impl Check for Throughput<'_> {
    const NAME: &'static str = "throughput";
    const NEEDS_VPS: bool = true;
    type Gives = ();

    fn tried(&self) -> String {
        format!("`{}` on VPS {}, for at most {} s", zeros(), self.name, MEASURE.as_secs())
    }

    fn examine(&self) -> Result<Examined<()>, Verdict> {
        (*self.login)?;
        let (bytes, took) = measure_amount(self.session.as_ref()?.command(&zeros()))
            .map_err(|error| Verdict::Skipped(error.to_string()))?;
        if bytes == 0 {
            return Err(Missing("no byte came: the VPS has no `head`, or its sshd runs another command").into());
        }
        let (megabytes, seconds) = (bytes as f64 / 1e6, took.as_secs_f64());
        Ok(Verdict::Fine(format!("{:.1} MB/s ({megabytes:.1} MB in {seconds:.1} s)", megabytes / seconds)).into())
    }
}

fn shown(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// The times of [`TRIPS`] round trips, shortest first. One more before them takes as long as the login, and is left out.
fn measure_trips(mut command: Command) -> io::Result<Vec<Duration>> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let ends = child.stdin.take().zip(program::pipes(&mut child)?[0].take());
    let trips = match ends {
        Some((mut to, from)) => (0..=TRIPS)
            .zip(b'a'..)
            .map(|(trip, sent)| {
                let began = Instant::now();
                to.write_all(&[sent])?;
                let deadline = began + if trip == 0 { START_LIMIT } else { BYTE_LIMIT };
                if !sys::poll(&mut [sys::entry(from.as_fd(), PollFlags::IN)], Some(deadline))? {
                    return Err(io::Error::from(io::ErrorKind::TimedOut));
                }
                let mut answer = [0];
                if sys::read(from.as_fd(), &mut answer)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                // A start-up file that prints would otherwise look like an answer.
                if answer != [sent] { Err(io::Error::other("another byte came back")) } else { Ok(began.elapsed()) }
            })
            .collect(),
        None => Err(io::ErrorKind::BrokenPipe.into()),
    };
    program::end(child, Instant::now() + BYTE_LIMIT);
    let mut trips: Vec<Duration> = trips?;
    trips.remove(0);
    trips.sort_unstable();
    Ok(trips)
}

/// How many bytes came, and the time from the first one on.
fn measure_amount(mut command: Command) -> io::Result<(usize, Duration)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut out = program::pipes(&mut child)?;
    let (mut bytes, mut first) = (0, None);
    let read = program::gather(&mut out, Instant::now() + START_LIMIT, |_, piece| {
        bytes += piece.len();
        first.get_or_insert_with(Instant::now).elapsed() < MEASURE
    });
    let took = first.map(|first: Instant| first.elapsed()).unwrap_or_default();
    drop(out);
    program::end(child, Instant::now());
    read?;
    // All bytes may come in one piece, in less time than the clock can measure.
    Ok((bytes, took.max(Duration::from_micros(1))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::programs::program::tests::shell;

    #[test]
    fn only_the_sent_byte_counts_as_an_answer() {
        let trips = measure_trips(shell("exec cat")).unwrap();
        assert!(trips.len() == TRIPS && trips.is_sorted(), "{trips:?}");
        for script in ["echo welcome to the machine; exec cat", "exit 0"] {
            assert!(measure_trips(shell(script)).is_err(), "{script}");
        }
    }

    #[test]
    fn all_bytes_before_an_early_end_are_counted() {
        assert_eq!(measure_amount(shell("head -c 300000 /dev/zero")).unwrap().0, 300_000);
        assert_eq!(measure_amount(shell("exit 1")).unwrap().0, 0);
    }
}
