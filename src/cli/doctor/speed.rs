//! How fast the way is, once a login works: the round trip of one byte, and how much arrives in a moment.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::{ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::Check;
use super::case::Case;
use super::finding::Verdict;
use super::program;
use crate::sys;

/// How long a login and the first answer may take.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long one byte may take to come back.
const BYTE_LIMIT: Duration = Duration::from_secs(5);
/// How many round trips are measured; the middle one counts.
const TRIPS: usize = 5;
/// How long bytes are counted.
const MEASURE: Duration = Duration::from_secs(1);
/// Most bytes asked for.
const AMOUNT: usize = 64 * 1024 * 1024;

pub(super) const CHECKS: &[Check] = &[
    Check { name: "round-trip", of_vps: true, examine: round_trip },
    Check { name: "throughput", of_vps: true, examine: throughput },
];

const NO_LOGIN: &str = "no login works";

fn round_trip(case: &mut Case) -> (String, Verdict) {
    let tried = format!("{TRIPS} times one byte to `cat` on VPS {} and back", case.vps_name());
    let Some(command) = command(case, "cat") else { return (tried, Verdict::Skipped(NO_LOGIN.to_owned())) };
    let verdict = match measure_trips(command) {
        Ok(trips) => Verdict::Fine(format!(
            "{} (from {} to {})",
            shown(trips[TRIPS / 2]),
            shown(trips[0]),
            shown(trips[TRIPS - 1])
        )),
        Err(error) => Verdict::Skipped(format!("`cat` did not answer: {error}")),
    };
    (tried, verdict)
}

fn throughput(case: &mut Case) -> (String, Verdict) {
    let remote = format!("head -c {AMOUNT} /dev/zero");
    let tried = format!("`{remote}` on VPS {}, for {} s at most", case.vps_name(), MEASURE.as_secs());
    let Some(command) = command(case, &remote) else { return (tried, Verdict::Skipped(NO_LOGIN.to_owned())) };
    let verdict = match measure_amount(command) {
        Ok((bytes, took)) if bytes > 0 => {
            let rate = bytes as f64 / took.as_secs_f64() / 1e6;
            Verdict::Fine(format!("{rate:.1} MB/s ({:.1} MB in {:.1} s)", bytes as f64 / 1e6, took.as_secs_f64()))
        }
        Ok(_) => {
            Verdict::Skipped("nothing came: there is no `head` there, or a command of its own is forced".to_owned())
        }
        Err(error) => Verdict::Skipped(error.to_string()),
    };
    (tried, verdict)
}

fn command(case: &Case, remote: &str) -> Option<Command> {
    match &case.session {
        Some(Ok(session)) if case.login => Some(session.command(remote)),
        _ => None,
    }
}

fn shown(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// The times of [`TRIPS`] round trips, shortest first. One before them is the login's.
fn measure_trips(mut command: Command) -> io::Result<Vec<Duration>> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let ends = child.stdin.take().zip(child.stdout.take());
    let trips = match ends {
        Some((mut to, mut from)) => (0..=TRIPS)
            .zip(b'a'..)
            .map(|(trip, sent)| {
                let began = Instant::now();
                to.write_all(&[sent])?;
                let deadline = began + if trip == 0 { START_LIMIT } else { BYTE_LIMIT };
                if !sys::poll(&mut [sys::entry(from.as_fd(), PollFlags::IN)], Some(deadline))? {
                    return Err(io::Error::from(io::ErrorKind::TimedOut));
                }
                let mut answer = [0];
                from.read_exact(&mut answer)?;
                // A start-up file that prints would seem to answer before anything could.
                if answer != [sent] { Err(io::Error::other("something else did")) } else { Ok(began.elapsed()) }
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

/// How many bytes came, and in which time from the first one on.
fn measure_amount(mut command: Command) -> io::Result<(usize, Duration)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut out = child.stdout.take();
    let (mut bytes, mut first) = (0, None);
    let read = program::gather(out.as_mut(), None::<ChildStderr>, Instant::now() + START_LIMIT, |piece, _| {
        bytes += piece.len();
        first.get_or_insert_with(Instant::now).elapsed() < MEASURE
    });
    let took = first.map(|first: Instant| first.elapsed()).unwrap_or_default();
    drop(out);
    program::end(child, Instant::now());
    read?;
    // All of it may come in one piece, within no time that a clock can tell.
    Ok((bytes, took.max(Duration::from_micros(1))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::program::tests::shell;

    #[test]
    fn only_what_comes_back_counts_as_a_round_trip() {
        let trips = measure_trips(shell("exec cat")).unwrap();
        assert!(trips.len() == TRIPS && trips.is_sorted(), "{trips:?}");
        for script in ["echo welcome to the machine; exec cat", "exit 0"] {
            assert!(measure_trips(shell(script)).is_err(), "{script}");
        }
    }

    #[test]
    fn what_ends_before_time_is_over_is_counted_whole() {
        assert_eq!(measure_amount(shell("head -c 300000 /dev/zero")).unwrap().0, 300_000);
        assert_eq!(measure_amount(shell("exit 1")).unwrap().0, 0);
    }
}
