//! Somebody who types, beside tunnels that carry bulk: how long a byte takes there and back, and how much is carried
//! meanwhile.
//!
//! The ends of the bulk get what everybody else leaves of the processors. Else a byte mostly waits for them, which are
//! on other machines in truth, and not for whoever is measured.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::contestants::Contestant;
use super::throughput::{Flow, Way};
use super::{measures, tunnel};
use crate::support::figures::{Figures, MIB};
use crate::support::mover::Share;
use crate::support::vps::Order;

/// How long bytes flow before anything is measured.
const WARM_UP: Duration = Duration::from_millis(300);
/// The pause between two bytes.
const PAUSE: Duration = Duration::from_micros(500);
/// The tunnels that carry bulk.
const BULK: [Way; 4] = [Way::Down, Way::Up, Way::Down, Way::Up];
/// Fewer round trips say nothing of the slowest hundredth.
const LEAST_ROUND_TRIPS: usize = 200;

/// Types for `window`, longer where that is too little. The VPS at `vps` leaves the processors to others as well.
pub(crate) fn beside(
    who: &Contestant,
    vps: SocketAddr,
    window: Duration,
    round: usize,
    figures: &mut Figures,
) -> Result<()> {
    let mut typed = tunnel::open(&who.entrance)?;
    typed.write_all(&Order::Echo(u64::MAX).bytes())?;
    let flow = Flow::start(who, vps, Share::Rest, &BULK)?;
    std::thread::sleep(WARM_UP);
    let (began, moved) = (Instant::now(), flow.moved()?);
    let mut times = Vec::new();
    while began.elapsed() < window || times.len() < LEAST_ROUND_TRIPS {
        crate::support::limits::check()?;
        let sent = times.len() as u8;
        let asked = Instant::now();
        typed.write_all(&[sent])?;
        let mut back = [0];
        typed.read_exact(&mut back)?;
        times.push(asked.elapsed().as_secs_f64() * 1e6);
        ensure!(back == [sent], "another byte came back");
        std::thread::sleep(PAUSE);
    }
    let carried = (flow.moved()? - moved) as f64 / MIB / began.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    let at = |hundredths: usize| times.get(times.len() * hundredths / 100).copied().context("no round trips");
    let name = who.kind.name();
    figures.add(measures::BESIDE_P99, name, round, at(99)?);
    figures.add(measures::BESIDE_P50, name, round, at(50)?);
    figures.add(measures::BESIDE_BULK, name, round, carried);
    Ok(())
}
