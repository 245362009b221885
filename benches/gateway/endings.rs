//! Tunnels that end in every way there is, and what is left of them in the server: its descriptors.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::contestants::{Contestant, Kind};
use super::opener::reset;
use super::{measures, tunnel};
use crate::support::figures::Figures;
use crate::support::limits;
use crate::support::processes::{descriptors, falls_to};
use crate::support::vps::Order;

/// How many tunnels there are.
const TUNNELS: usize = 10_000;
/// The older Host opens some hundred a second.
const TUNNELS_OLDER_HOST: usize = 500;
/// How many at once.
const AT_ONCE: usize = 16;
/// How many bytes a tunnel carries where it matters.
const BYTES: usize = 1_000;
/// How long a server has before its descriptors are first counted, as some open more once they serve.
const BEFORE: Duration = Duration::from_millis(500);
/// How long it has to close them.
const SETTLES: Duration = Duration::from_secs(20);

/// How a tunnel ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Ending {
    /// The VPS ends, then the client.
    Clean,
    /// The client ends first and still reads.
    ClientHalf,
    /// The VPS ends first, and the client still writes.
    VpsHalf,
    ClientReset,
    VpsReset,
    /// The client is gone while bytes flow.
    Killed,
    /// The client is gone before it has said all of its request.
    Early,
}

impl Ending {
    const ALL: [Self; 7] =
        [Self::Clean, Self::ClientHalf, Self::VpsHalf, Self::ClientReset, Self::VpsReset, Self::Killed, Self::Early];
}

/// Starts a server of `kind` and counts its descriptors before and after.
pub(crate) fn endings(kind: Kind, vps: SocketAddr, round: usize, figures: &mut Figures) -> Result<()> {
    let who = Contestant::start(kind, vps)?;
    let leader = who.leader().context("no server")?;
    thread::sleep(BEFORE);
    let before = descriptors(leader);
    let count = if kind == Kind::OlderHost { TUNNELS_OLDER_HOST } else { TUNNELS };
    if count != TUNNELS {
        figures.note(format!("{}: descriptors after {count} tunnels, as it takes long to open more", kind.name()));
    }
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    let ending = Ending::ALL[number % Ending::ALL.len()];
                    if limits::check().is_err() {
                        break;
                    }
                    if let Err(error) = end(&who, ending) {
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.entry(ending).or_insert((0, error)).0 += 1;
                    }
                }
            });
        }
    });
    limits::check()?;
    for (ending, (failures, error)) in failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        let what = format!("{failures} of {count} tunnels, those that end by {ending:?}");
        match kind {
            Kind::Ours => figures.fail(kind.name(), &what, &error),
            _ => figures.note(format!("{}: {what}: {error:#}", kind.name())),
        }
    }
    let after = falls_to(before, SETTLES, || descriptors(leader));
    figures.add(measures::DESCRIPTORS, kind.name(), round, after.saturating_sub(before) as f64);
    Ok(())
}

fn end(who: &Contestant, ending: Ending) -> Result<()> {
    // The older Host passes no end on, so nobody waits for one there.
    let passes_ends = who.kind != Kind::OlderHost;
    if let Ending::Early = ending {
        let mut stream = TcpStream::connect(who.entrance.address)?;
        stream.write_all(&who.entrance.request.as_bytes()[..who.entrance.request.len() / 2])?;
        return Ok(());
    }
    let mut stream = tunnel::open(&who.entrance)?;
    let order = match ending {
        Ending::Clean | Ending::VpsHalf => Order::End(BYTES as u64),
        Ending::ClientHalf | Ending::ClientReset => Order::Echo(u64::MAX),
        Ending::VpsReset => Order::Reset(BYTES as u64),
        Ending::Killed | Ending::Early => Order::Send(1 << 20),
    };
    stream.write_all(&order.bytes())?;
    let mut buffer = [0; BYTES];
    match ending {
        Ending::Clean | Ending::VpsHalf => {
            stream.read_exact(&mut buffer)?;
            if passes_ends {
                ensure!(stream.read(&mut buffer)? == 0, "more bytes than were sent");
            }
            if let Ending::VpsHalf = ending {
                // A VPS that has ended may be gone altogether.
                drop(stream.write_all(&buffer));
            }
        }
        Ending::ClientHalf => {
            stream.write_all(&buffer)?;
            stream.shutdown(Shutdown::Write)?;
            // The older Host may leave at once, and the rest is lost.
            if passes_ends {
                stream.read_exact(&mut buffer)?;
                ensure!(stream.read(&mut buffer)? == 0, "more bytes than were sent");
            }
        }
        Ending::ClientReset => reset(stream),
        Ending::VpsReset if passes_ends => {
            if let Err(error) = std::io::copy(&mut stream, &mut std::io::sink()) {
                ensure!(error.kind() != ErrorKind::WouldBlock, "no end came");
            }
        }
        Ending::VpsReset => {}
        Ending::Killed | Ending::Early => stream.read_exact(&mut buffer)?,
    }
    Ok(())
}
