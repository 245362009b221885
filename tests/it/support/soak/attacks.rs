//! Attacks on the gateway, while its users do what they do: clients that take what they can get, signals without end, and
//! no file descriptor left.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use super::World;
use super::carry::{Ending, Plan, reset};
use crate::support::host_api::OPERATOR;
use crate::support::run::Process;

/// How many attackers there are of each kind. Each kind has an address of its own: shares are counted by address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attackers {
    /// Clients that send their request one byte a second.
    pub(crate) slow: usize,
    /// Tunnels whose client reads nothing.
    pub(crate) unread: usize,
    /// Connections that are reset, each second.
    pub(crate) resets: u32,
}

const SLOW_AT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const UNREAD_AT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const RESETS_AT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);
/// The longest pause before an attacker comes back, in milliseconds.
const BACK: u64 = 4_000;
/// How long a tunnel stays unread.
const UNREAD: Duration = Duration::from_secs(10);
/// The bytes that the VPS of an unread tunnel would send: more than any buffer on the way holds.
const UNREAD_BYTES: u64 = 64 << 20;
/// A small receive buffer, in bytes.
const SMALL: u32 = 4096;
/// The ids of unread tunnels are above all those of users.
const UNREAD_IDS: u64 = 1 << 60;
/// The pause between two SIGHUPs.
const RELOADS: Duration = Duration::from_millis(20);
/// The pause between two hand-overs.
const HAND_OVERS: Duration = Duration::from_millis(200);
/// How long the gateway has enough descriptors, and how long it has none.
const ENOUGH: Duration = Duration::from_millis(1_500);
const NONE: Duration = Duration::from_millis(200);
/// Fewer descriptors than a gateway has open that just listens.
const TOO_FEW: u64 = 8;

/// All clients that attack, until this is dropped.
pub(super) async fn clients(of: Attackers, world: Arc<World>, gateway: SocketAddr) {
    let mut all = JoinSet::new();
    for number in 0..of.slow {
        all.spawn(slow(gateway, number));
    }
    for number in 0..of.unread {
        all.spawn(unread(Arc::clone(&world), gateway, number));
    }
    let mut ticks = interval(Duration::from_secs(1) / of.resets);
    loop {
        ticks.tick().await;
        all.spawn(async move {
            // The result does not matter: the gateway may treat such a connection as it likes.
            let _ = reset_one(gateway).await;
        });
        while all.try_join_next().is_some() {}
    }
}

/// Comes back whenever it is dropped.
async fn slow(gateway: SocketAddr, number: usize) {
    let pause = Duration::from_millis(number as u64 * 7 % BACK);
    loop {
        sleep(pause).await;
        let _ = dribble(gateway).await;
    }
}

async fn dribble(gateway: SocketAddr) -> io::Result<()> {
    let mut stream = connect(SLOW_AT, gateway).await?;
    for byte in b"CONNECT 1:22 HTTP/1.1\r\n".iter().chain(std::iter::repeat(&b'x')) {
        stream.write_all(&[*byte]).await?;
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn unread(world: Arc<World>, gateway: SocketAddr, number: usize) {
    let pause = Duration::from_millis(number as u64 * 7 % BACK);
    let mut id = UNREAD_IDS + ((number as u64) << 20);
    loop {
        sleep(pause).await;
        id += 1;
        let _ = leave_unread(&world, gateway, id, number).await;
        world.awaited.forget(id);
    }
}

async fn leave_unread(world: &World, gateway: SocketAddr, id: u64, number: usize) -> io::Result<()> {
    let mut stream = connect(UNREAD_AT, gateway).await?;
    let vps = &world.ids[number % world.ids.len()];
    let plan = Plan { id, up: 0, down: UNREAD_BYTES, client: Ending::Orderly, vps: Ending::Orderly, typed: false };
    // Its VPS tells what it saw to nobody.
    drop(world.awaited.wait_for(id));
    let plan = serde_json::to_string(&plan)?;
    let request = format!("CONNECT {vps}:22 HTTP/1.1\r\nProxy-Authorization: Bearer {OPERATOR}\r\n\r\n{plan}\n");
    stream.write_all(request.as_bytes()).await?;
    stream.read_exact(&mut [0; b"HTTP/1.1 200".len()]).await?;
    sleep(UNREAD).await;
    Ok(())
}

async fn reset_one(gateway: SocketAddr) -> io::Result<()> {
    let mut stream = connect(RESETS_AT, gateway).await?;
    stream.write_all(b"CONNECT 7323718749301768100:22 HT").await
}

/// A connection that is reset at its end.
async fn connect(from: Ipv4Addr, gateway: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(SMALL)?;
    socket.bind((from, 0).into())?;
    let stream = socket.connect(gateway).await?;
    reset(&stream);
    Ok(stream)
}

/// Has the gateway read its files again, all the time.
pub(super) async fn reloads(process: Pid) {
    loop {
        signal(process, Signal::HUP);
        sleep(RELOADS).await;
    }
}

/// Takes the gateway's descriptors away for a moment, again and again. They are back when this is dropped.
pub(super) async fn shortages(process: Pid) {
    let shortage = Shortage { process, enough: limit(process, None) };
    loop {
        sleep(ENOUGH).await;
        limit(process, Some(Rlimit { current: Some(TOO_FEW), ..shortage.enough }));
        sleep(NONE).await;
        limit(process, Some(shortage.enough));
    }
}

struct Shortage {
    process: Pid,
    enough: Rlimit,
}

impl Drop for Shortage {
    fn drop(&mut self) {
        limit(self.process, Some(self.enough));
    }
}

/// The process's limit of open files, before it is set to `new`.
fn limit(process: Pid, new: Option<Rlimit>) -> Rlimit {
    match new {
        Some(new) => prlimit(Some(process), Resource::Nofile, new).unwrap(),
        None => {
            let text = std::fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
            let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
            Rlimit { current: numbers.next().flatten(), maximum: numbers.next().flatten() }
        }
    }
}

/// Processes that take the gateway's place, one after another.
pub(super) struct Processes<'g> {
    gateway: &'g Process,
    /// The one that serves.
    pub(super) serving: Pid,
    /// How many there have been.
    number: usize,
    is_ordered: bool,
}

impl<'g> Processes<'g> {
    pub(super) fn of(gateway: &'g Process) -> Self {
        Self { gateway, serving: gateway.id(), number: 1, is_ordered: false }
    }

    pub(super) async fn hand_over(&mut self) {
        loop {
            sleep(HAND_OVERS).await;
            self.is_ordered = true;
            // More than one order at a time.
            for _ in 0..3 {
                signal(self.serving, Signal::USR2);
            }
            self.follow().await;
        }
    }

    /// Waits until the hand-over that was ordered last, if there is one, has come about.
    pub(super) async fn follow(&mut self) {
        while self.is_ordered {
            let successor = self.gateway.try_wait_for(Duration::from_millis(1), |seen| {
                let text = String::from_utf8_lossy(&seen.stderr);
                let (id, _) = text.split("handed over to process ").nth(self.number)?.split_once(';')?;
                Pid::from_raw(id.parse().ok()?)
            });
            match successor {
                Ok(successor) => {
                    (self.serving, self.is_ordered) = (successor, false);
                    self.number += 1;
                }
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

fn signal(process: Pid, signal: Signal) {
    // It may have handed over and ended.
    let _ = kill_process(process, signal);
}
