//! Many who type, in one thread: each a byte a second.

use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::support::limits;
use crate::support::vps::Order;

/// How often each of them types.
const EVERY: Duration = Duration::from_secs(1);
/// Most events taken at once.
const EVENTS: usize = 256;
/// How long the last bytes are waited for.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Typists<'t> {
    tunnels: &'t [TcpStream],
    epoll: OwnedFd,
    /// When each of them has sent the byte that is on its way.
    sent: Vec<Option<Instant>>,
}

impl<'t> Typists<'t> {
    /// Has the VPS send back what comes through `tunnels`.
    pub(super) fn new(tunnels: &'t [TcpStream]) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (number, stream) in tunnels.iter().enumerate() {
            let order = Order::Echo(1_000).bytes();
            ensure!(rustix::net::send(stream, &order, SendFlags::NOSIGNAL)? == order.len(), "no room for an order");
            epoll::add(&epoll, stream, epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?;
        }
        Ok(Self { tunnels, epoll, sent: vec![None; tunnels.len()] })
    }

    /// Types for `window`, one after the other. Returns how long each byte took there and back, in ms.
    pub(super) fn run(&mut self, window: Duration) -> Result<Vec<f64>> {
        let pause = EVERY / u32::try_from(self.tunnels.len())?;
        let (began, mut times) = (Instant::now(), Vec::new());
        let mut next = began;
        for number in (0..self.tunnels.len()).cycle() {
            limits::check()?;
            while Instant::now() < next {
                self.take(next, &mut times)?;
            }
            if began.elapsed() >= window {
                break;
            }
            next += pause;
            // The one before may be late. It counts with its whole time.
            if self.sent[number].is_none() {
                self.sent[number] = Some(Instant::now());
                ensure!(
                    rustix::net::send(&self.tunnels[number], b"x", SendFlags::NOSIGNAL)? == 1,
                    "no room for a byte"
                );
            }
        }
        let end = Instant::now() + PATIENCE;
        while self.sent.iter().any(Option::is_some) {
            ensure!(Instant::now() < end, "a typed byte did not come back");
            self.take(end, &mut times)?;
        }
        Ok(times)
    }

    /// Takes what has come back, until `until` at the latest.
    fn take(&mut self, until: Instant, times: &mut Vec<f64>) -> Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() };
        let mut events = Vec::with_capacity(EVENTS);
        // Interrupted or not: what is ready is asked for again.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout));
        for event in &events {
            let number = event.data.u64() as usize;
            match rustix::net::recv(&self.tunnels[number], &mut [0; 16], RecvFlags::empty()) {
                Ok((_, 0)) => anyhow::bail!("a tunnel has ended"),
                Ok(_) => {
                    let sent = self.sent[number].take().context("a byte came back that nobody typed")?;
                    times.push(sent.elapsed().as_secs_f64() * 1e3);
                }
                Err(Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
