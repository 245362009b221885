//! Bulk, each way, through one tunnel and through eight: how much, and what it costs the gateway's processes.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::getpgrp;

use super::contestants::Contestant;
use super::measures;
use super::process::cpu_seconds_of_threads;
use super::tunnel;
use crate::support::figures::{Figures, GIB, MIB, Measure};
use crate::support::limits;
use crate::support::mover::{Mover, Share, Work};
use crate::support::vps::{BANNER, Order, TAKEN};

/// How long bytes flow before they are counted: windows and buffers have grown by then.
const WARM_UP: Duration = Duration::from_millis(300);

/// Which way the bytes flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Up,
    Down,
}

/// Bytes that flow through tunnels, until this is dropped.
pub(crate) struct Flow {
    mover: Mover,
    failed: Arc<AtomicBool>,
    vps: SocketAddr,
}

impl Flow {
    /// Opens a tunnel for each of `ways` and lets bytes flow.
    pub(crate) fn start(who: &Contestant, vps: SocketAddr, share: Share, ways: &[Way]) -> Result<Self> {
        let failed = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&failed);
        let mover = Mover::start(share, Box::new(move |_, _, _| noted.store(true, Ordering::Relaxed)))?;
        let flow = Self { mover, failed, vps };
        for way in ways {
            let mut stream = tunnel::open(&who.entrance)?;
            let (order, work) = match way {
                Way::Up => (Order::Take(u64::MAX), Work::Send),
                Way::Down => (Order::Send(u64::MAX), Work::Take),
            };
            stream.write_all(&order.bytes())?;
            flow.mover.add(stream, work, u64::MAX)?;
        }
        Ok(flow)
    }

    pub(crate) fn moved(&self) -> Result<u64> {
        ensure!(!self.failed.load(Ordering::Relaxed), "a tunnel broke");
        Ok(self.mover.moved())
    }
}

impl Drop for Flow {
    /// Has the VPS end its side first: not everybody here tells it that the client has left.
    fn drop(&mut self) {
        let _ = stop(self.vps);
    }
}

fn stop(vps: SocketAddr) -> Result<()> {
    let mut stream = limits::connect(vps)?;
    stream.write_all(&Order::Stop.bytes())?;
    let mut answer = [0; BANNER.len() + 1];
    stream.read_exact(&mut answer)?;
    ensure!(answer.ends_with(&[TAKEN]), "not its answer");
    Ok(())
}

/// The tunnels, and where their figures go: the speed, the CPU of the server, and that of the two ends.
const FLOWS: [(Way, usize, [Measure; 3]); 4] = [
    (Way::Down, 1, [measures::DOWN_1, measures::CPU_DOWN_1, measures::ENDS_DOWN_1]),
    (Way::Up, 1, [measures::UP_1, measures::CPU_UP_1, measures::ENDS_UP_1]),
    (Way::Down, 8, [measures::DOWN_8, measures::CPU_DOWN_8, measures::ENDS_DOWN_8]),
    (Way::Up, 8, [measures::UP_8, measures::CPU_UP_8, measures::ENDS_UP_8]),
];

/// Counts for `window`, of each flow.
pub(crate) fn bulk(
    who: &Contestant,
    vps: SocketAddr,
    window: Duration,
    round: usize,
    figures: &mut Figures,
) -> Result<()> {
    for (way, tunnels, [speed, cpu, ends]) in FLOWS {
        let flow = Flow::start(who, vps, Share::Equal, &vec![way; tunnels])?;
        std::thread::sleep(WARM_UP);
        let (began, moved) = (Instant::now(), flow.moved()?);
        let spent = who.leader().map(cpu_seconds_of_threads).transpose()?;
        let spent_by_ends = cpu_seconds_of_threads(getpgrp())?;
        std::thread::sleep(window);
        let moved = (flow.moved()? - moved) as f64;
        let took = began.elapsed().as_secs_f64();
        ensure!(moved > 0.0, "nothing came through in {took:.1} s");
        figures.add(speed, who.kind.name(), round, moved / MIB / took);
        // The client and the VPS are in one group.
        figures.add(ends, who.kind.name(), round, (cpu_seconds_of_threads(getpgrp())? - spent_by_ends) * GIB / moved);
        if let (Some(leader), Some(spent)) = (who.leader(), spent) {
            figures.add(cpu, who.kind.name(), round, (cpu_seconds_of_threads(leader)? - spent) * GIB / moved);
        }
    }
    Ok(())
}
