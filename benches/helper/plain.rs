//! The measurements without ssh: the tunnel alone, to a VPS that does no cryptography.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::contestants::{Contestant, Mode};
use super::session::Session;
use super::{child, measures};
use crate::support::figures::{Figures, GIB, MIB, median};
use crate::support::stat;
use crate::support::vps::{Order, TAKEN};

/// How much is read and written in one go, in bytes: about what ssh asks for.
const CHUNK: usize = 128 * 1024;

/// The way to the VPS.
pub(crate) struct Way<'a> {
    /// The gateway.
    pub(crate) proxy: SocketAddr,
    /// The helpers' home.
    pub(crate) home: &'a Path,
}

impl Way<'_> {
    fn start(&self, contestant: &Contestant) -> Result<Session> {
        Session::start(contestant, self.proxy, self.home)
    }

    fn open(&self, contestant: &Contestant) -> Result<Session> {
        Session::open(contestant, self.proxy, self.home)
    }

    /// From exec to the VPS's first byte.
    pub(crate) fn first_byte(&self, who: &Contestant, round: usize, figures: &mut Figures) -> Result<()> {
        let began = Instant::now();
        let mut session = self.start(who)?;
        session.first_byte()?;
        let took = began.elapsed();
        session.close()?;
        figures.add(measures::FIRST_BYTE, who.name, round, took.as_secs_f64() * 1e3);
        child::reap_carriers()
    }

    /// `count` bytes to the VPS, to the last one's arrival there, and as many from it.
    pub(crate) fn bulk(&self, who: &Contestant, count: u64, round: usize, figures: &mut Figures) -> Result<()> {
        type Carry = fn(&mut Session, u64) -> Result<()>;
        let up = [measures::PLAIN_UP, measures::PLAIN_CPU_UP, measures::ALL_CPU_UP];
        let down = [measures::PLAIN_DOWN, measures::PLAIN_CPU_DOWN, measures::ALL_CPU_DOWN];
        for (carry, [speed, cpu, all_cpu]) in [(send as Carry, up), (take, down)] {
            let before = child::cpu_seconds_of_all()?;
            let mut session = self.open(who)?;
            let began = Instant::now();
            carry(&mut session, count)?;
            let took = began.elapsed().as_secs_f64();
            let spent = session.close()?;
            child::reap_carriers()?;
            let spent_by_all = child::cpu_seconds_of_all()? - before;
            figures.add(speed, who.name, round, count as f64 / MIB / took);
            if who.mode != Mode::Direct {
                figures.add(cpu, who.name, round, spent * GIB / count as f64);
            }
            figures.add(all_cpu, who.name, round, spent_by_all * GIB / count as f64);
        }
        Ok(())
    }

    /// The median of `count` single bytes there and back.
    pub(crate) fn round_trip(&self, who: &Contestant, count: u64, round: usize, figures: &mut Figures) -> Result<()> {
        let mut session = self.open(who)?;
        session.write_all(&Order::Echo(count).bytes())?;
        let mut times = Vec::with_capacity(count as usize);
        for number in 0..count {
            let sent = number as u8;
            let began = Instant::now();
            session.write_all(&[sent])?;
            let mut back = [0];
            session.read_exact(&mut back)?;
            times.push(began.elapsed().as_secs_f64() * 1e6);
            ensure!(back == [sent], "another byte came back");
        }
        session.close()?;
        figures.add(measures::ROUND_TRIP, who.name, round, median(times).context("no round trips")?);
        Ok(())
    }

    /// The memory of a helper whose tunnel is open and idle; nothing for one that is gone by then.
    pub(crate) fn memory(&self, who: &Contestant, round: usize, figures: &mut Figures) -> Result<()> {
        let session = self.open(who)?;
        if let Some(id) = session.helper_id() {
            for (name, measure) in [("Rss:", measures::RSS), ("Pss:", measures::PSS)] {
                figures.add(measure, who.name, round, stat::smaps(id, name)? / 1024.0);
            }
        }
        session.close()?;
        Ok(())
    }

    /// `count` tunnels opened at once, a byte sent through each while all are open. How many failed.
    pub(crate) fn crowd(&self, who: &Contestant, count: usize, round: usize, figures: &mut Figures) -> Result<()> {
        let started: Vec<_> = (0..count).map(|_| self.start(who)).collect();
        let opened: Vec<_> = started
            .into_iter()
            .map(|session| {
                let mut session = session?;
                session.first_byte()?;
                let mut rest = [0; crate::support::vps::BANNER.len() - 1];
                session.read_exact(&mut rest)?;
                session.write_all(&[&Order::Echo(1).bytes()[..], b"x"].concat())?;
                Ok(session)
            })
            .collect();
        let mut failures = 0;
        for session in opened {
            let echoed = session.and_then(|mut session: Session| {
                let mut back = [0];
                session.read_exact(&mut back)?;
                ensure!(back == *b"x", "another byte came back");
                session.close()
            });
            if let Err(error) = echoed {
                figures.fail(who.name, "one of many at once", &error);
                failures += 1;
            }
        }
        figures.add(measures::FAILURES, who.name, round, f64::from(failures));
        Ok(())
    }
}

/// Sends `count` bytes, and waits until the VPS has taken them.
fn send(session: &mut Session, count: u64) -> Result<()> {
    let buffer = vec![0; CHUNK];
    session.write_all(&Order::Take(count).bytes())?;
    let mut left = count;
    while left > 0 {
        let most = left.min(CHUNK as u64);
        session.write_all(&buffer[..most as usize])?;
        left -= most;
    }
    let mut answer = [0];
    session.read_exact(&mut answer)?;
    ensure!(answer == [TAKEN], "not its answer: {answer:?}");
    Ok(())
}

/// Has the VPS send `count` bytes, and takes them.
fn take(session: &mut Session, count: u64) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    session.write_all(&Order::Send(count).bytes())?;
    let mut left = count;
    while left > 0 {
        left = left.checked_sub(session.read(&mut buffer)? as u64).context("more bytes than were sent")?;
    }
    Ok(())
}
