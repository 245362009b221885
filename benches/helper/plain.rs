//! What is measured without ssh: the tunnel alone, to a VPS that does no cryptography.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::contestants::{Contestant, Mode};
use super::session::Session;
use super::{child, measures};
use crate::support::figures::{Figures, GIB, MIB, Measure};
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
        Ok(())
    }

    /// `count` bytes to the VPS, to the last one's arrival there.
    pub(crate) fn bulk_up(&self, who: &Contestant, count: u64, round: usize, figures: &mut Figures) -> Result<()> {
        let spent = child::cpu_seconds_of_all()?;
        let mut session = self.open(who)?;
        let buffer = vec![0; CHUNK];
        let began = Instant::now();
        session.write_all(&Order::Take(count).bytes())?;
        let mut left = count;
        while left > 0 {
            let most = left.min(CHUNK as u64);
            session.write_all(&buffer[..most as usize])?;
            left -= most;
        }
        let mut answer = [0];
        session.read_exact(&mut answer)?;
        let took = began.elapsed().as_secs_f64();
        ensure!(answer == [TAKEN], "not its answer: {answer:?}");
        figures.add(measures::PLAIN_UP, who.name, round, count as f64 / MIB / took);
        self.close_bulk(session, who, measures::PLAIN_CPU_UP, count, round, figures)?;
        child::reap_carriers()?;
        let spent = child::cpu_seconds_of_all()? - spent;
        figures.add(measures::ALL_CPU_UP, who.name, round, spent * GIB / count as f64);
        Ok(())
    }

    /// `count` bytes from the VPS.
    pub(crate) fn bulk_down(&self, who: &Contestant, count: u64, round: usize, figures: &mut Figures) -> Result<()> {
        let spent = child::cpu_seconds_of_all()?;
        let mut session = self.open(who)?;
        let mut buffer = vec![0; CHUNK];
        let began = Instant::now();
        session.write_all(&Order::Send(count).bytes())?;
        let mut left = count;
        while left > 0 {
            left = left.checked_sub(session.read(&mut buffer)? as u64).context("more bytes than were sent")?;
        }
        let took = began.elapsed().as_secs_f64();
        figures.add(measures::PLAIN_DOWN, who.name, round, count as f64 / MIB / took);
        self.close_bulk(session, who, measures::PLAIN_CPU_DOWN, count, round, figures)?;
        child::reap_carriers()?;
        let spent = child::cpu_seconds_of_all()? - spent;
        figures.add(measures::ALL_CPU_DOWN, who.name, round, spent * GIB / count as f64);
        Ok(())
    }

    fn close_bulk(
        &self,
        session: Session,
        who: &Contestant,
        measure: Measure,
        count: u64,
        round: usize,
        figures: &mut Figures,
    ) -> Result<()> {
        let cpu = session.close()?;
        if who.mode != Mode::Direct {
            figures.add(measure, who.name, round, cpu * GIB / count as f64);
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
        let median = crate::support::figures::median(times).context("no round trips")?;
        figures.add(measures::ROUND_TRIP, who.name, round, median);
        Ok(())
    }

    /// The memory of a helper whose tunnel is open and idle; nothing for one that is gone by then.
    pub(crate) fn memory(&self, who: &Contestant, round: usize, figures: &mut Figures) -> Result<()> {
        let session = self.open(who)?;
        if let Some(id) = session.helper_id() {
            for (name, measure) in [("Rss:", measures::RSS), ("Pss:", measures::PSS)] {
                figures.add(measure, who.name, round, stat::smaps(child::pid(id)?, name)? / 1024.0);
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
