//! Tunnels that survive their connection: what they cost the gateway, and how soon many of them are back.
//!
//! Bulk goes through a helper for each tunnel, since it is the other end of the frames. Only the gateway's processor time
//! is counted.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use kohakuriver_proxy::handshake::connect::{self, Answer};
use kohakuriver_proxy::handshake::resume::{Answered, Asked};
use kohakuriver_proxy::handshake::{MAX_HEAD, Step};
use kohakuriver_proxy::resume::{Exchange, Key, SessionId};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use super::background::Background;
use super::contestants::{Contestant, Kind, VPS};
use super::measures;
use super::opener::reset;
use super::process::{cpu_seconds, rss_kib};
use super::tunnel;
use crate::support::figures::{Figures, GIB, median};
use crate::support::limits::{self, ONE_CONNECTION};
use crate::support::mover::{Mover, Share, Work};
use crate::support::ours::helper;
use crate::support::vps::{BANNER, Order};

/// How long bytes flow before they are counted.
const WARM_UP: Duration = Duration::from_millis(300);
/// How many tunnels are idle.
const IDLE: usize = 5_000;
/// How many tunnels a server has had before its memory is first looked at.
const BEFORE: usize = 100;
/// How many tunnels lose their connections at once.
const PARKED: usize = 500;
/// How many others are set up meanwhile, and without that.
const OTHERS: usize = 200;
/// How many strangers try to continue sessions at a time, of how many addresses each, and for how long.
const STRANGERS: u8 = 8;
const ADDRESSES: u64 = 250;
const FLOOD: Duration = Duration::from_secs(2);
/// From one try of a stranger to the next one. All strangers together make somewhat more than 10,000 tries a second.
const PAUSE: Duration = Duration::from_micros(760);

/// A helper in front of a TCP connection: its stdin and its stdout.
struct Helped {
    stream: TcpStream,
    helper: Child,
}

impl Helped {
    fn open(gateway: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut stream = TcpStream::connect(listener.local_addr()?)?;
        let (theirs, _) = listener.accept()?;
        let mut command = Command::new(helper());
        command.args(["--resume", "--proxy", &gateway.to_string(), VPS]).env_clear();
        command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs.try_clone()?)));
        let helper = command.stdout(Stdio::from(std::os::fd::OwnedFd::from(theirs))).spawn()?;
        stream.set_read_timeout(Some(ONE_CONNECTION))?;
        let mut banner = [0; BANNER.len()];
        stream.read_exact(&mut banner)?;
        ensure!(banner == BANNER, "another banner");
        Ok(Self { stream, helper })
    }
}

impl Drop for Helped {
    fn drop(&mut self) {
        let _ = self.helper.kill();
        let _ = self.helper.wait();
    }
}

/// The processor time of the gateway for a GiB each way, through a resumable tunnel.
pub(crate) fn bulk(who: &Contestant, window: Duration, round: usize, figures: &mut Figures) -> Result<()> {
    let leader = who.leader().context("no server")?;
    for (order, work, cpu) in [
        (Order::Send(u64::MAX), Work::Take, measures::RESUME_CPU_DOWN),
        (Order::Take(u64::MAX), Work::Send, measures::RESUME_CPU_UP),
    ] {
        let mover = Mover::start(Share::Equal, Box::new(|_, _, _| {}))?;
        let (mut stream, helped) = if who.kind == Kind::Ours {
            let helped = Helped::open(who.entrance.address)?;
            (helped.stream.try_clone()?, Some(helped))
        } else {
            (tunnel::open(&who.entrance)?, None)
        };
        stream.write_all(&order.bytes())?;
        mover.add(stream, work, u64::MAX)?;
        std::thread::sleep(WARM_UP);
        let (moved, spent) = (mover.moved(), cpu_seconds(leader)?);
        std::thread::sleep(window);
        let (moved, spent) = ((mover.moved() - moved) as f64, cpu_seconds(leader)? - spent);
        ensure!(moved > 0.0, "nothing came through");
        figures.add(cpu, who.kind.name(), round, spent * GIB / moved);
        drop((helped, mover));
    }
    Ok(())
}

/// A session, as a client sees it that speaks no frame by itself.
struct Session {
    id: SessionId,
    key: Key,
    stream: TcpStream,
}

impl Session {
    fn open(gateway: SocketAddr) -> Result<Self> {
        limits::check()?;
        let exchange = Exchange::new()?;
        let (answer, stream) = ask(gateway, &head(Asked::New(exchange.public())))?;
        let Answer::Established(Some(Answered::New { id, key, .. })) = answer else {
            bail!("not resumable: {answer:?}")
        };
        Ok(Self { id, key: exchange.with_gateway(&key, id).context("no key")?, stream })
    }

    fn come_back(&mut self, gateway: SocketAddr, n: u64) -> Result<()> {
        let (answer, stream) = ask(gateway, &head(Asked::to_continue(self.id, &self.key, n, BANNER.len() as u64)))?;
        ensure!(matches!(answer, Answer::Established(Some(Answered::Continued(0)))), "not continued: {answer:?}");
        self.stream = stream;
        Ok(())
    }
}

fn head(asked: Asked) -> Vec<u8> {
    connect::request(&format!("{VPS}:22"), None, Some(asked))
}

fn ask(gateway: SocketAddr, head: &[u8]) -> Result<(Answer, TcpStream)> {
    let mut stream = limits::connect(gateway)?;
    stream.write_all(head)?;
    let mut seen = vec![0; 2048];
    let mut have = 0;
    loop {
        let read = stream.read(&mut seen[have..])?;
        ensure!(read > 0 && have < MAX_HEAD, "no answer");
        have += read;
        if let Step::Done(answer, _) = connect::read(&seen[..have]) {
            return Ok((answer, stream));
        }
    }
}

/// The memory of an idle resumable tunnel.
pub(crate) fn idle(vps: SocketAddr, round: usize, figures: &mut Figures) -> Result<()> {
    let who = Contestant::start(Kind::Ours, vps)?;
    let leader = who.leader().context("no server")?;
    let hold = |count: usize| (0..count).map(|_| Session::open(who.entrance.address)).collect::<Result<Vec<_>>>();
    drop(hold(BEFORE)?);
    let before = rss_kib(leader)?;
    let sessions = hold(IDLE)?;
    figures.add(measures::RESUME_RSS, who.kind.name(), round, (rss_kib(leader)? - before) / IDLE as f64);
    drop(sessions);
    Ok(())
}

/// Many tunnels lose their connections at once, and come back at once: how long that takes, and what it means for
/// others.
pub(crate) fn come_back(vps: SocketAddr, round: usize, figures: &mut Figures) -> Result<()> {
    let who = Contestant::start(Kind::Ours, vps)?;
    let gateway = who.entrance.address;
    let mut sessions = (0..PARKED).map(|_| Session::open(gateway)).collect::<Result<Vec<_>>>()?;
    let alone = set_up(&who)?;
    for session in &mut sessions {
        let dead = std::mem::replace(&mut session.stream, TcpStream::connect(gateway)?);
        reset(dead);
    }
    let began = Instant::now();
    let (back, beside) = std::thread::scope(|scope| {
        let others = scope.spawn(|| set_up(&who));
        let clients: Vec<_> =
            sessions.iter_mut().map(|session| scope.spawn(move || session.come_back(gateway, 1).is_ok())).collect();
        let back = clients.into_iter().map(|client| client.join().unwrap_or(false)).filter(|is| *is).count();
        (back, others.join())
    });
    let took = began.elapsed().as_secs_f64();
    let beside = beside.map_err(|_| anyhow::anyhow!("a client panicked"))??;
    figures.add(measures::RESUME_LOST, who.kind.name(), round, (PARKED - back) as f64);
    figures.add(measures::RESUME_BACK, who.kind.name(), round, took);
    figures.add(measures::RESUME_OTHERS, who.kind.name(), round, beside / alone);
    Ok(())
}

/// Strangers try to continue sessions that they don't have: how many tries that is, and what it means for others.
pub(crate) fn beside_wrong_tries(vps: SocketAddr, round: usize, figures: &mut Figures) -> Result<()> {
    let who = Contestant::start(Kind::Ours, vps)?;
    let gateway = who.entrance.address;
    let alone = set_up(&who)?;
    let (tries, mut strangers) = (Arc::new(AtomicUsize::new(0)), Background::default());
    for stranger in 0..STRANGERS {
        let (tries, mut n, mut next) = (Arc::clone(&tries), 0, Instant::now());
        strangers.repeat(move || {
            wrong_try(Ipv4Addr::new(127, 1, stranger, (n % ADDRESSES) as u8), gateway, n)?;
            tries.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            (n, next) = (n + 1, next + PAUSE);
            Ok(())
        });
    }
    // The first tries of each address look for the session; later ones meet the limit of failures.
    std::thread::sleep(WARM_UP);
    let (before, began) = (tries.load(Ordering::Relaxed), Instant::now());
    let beside = set_up(&who)?;
    while began.elapsed() < FLOOD {
        set_up(&who)?;
    }
    let tries = (tries.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64();
    strangers.stop()?;
    figures.add(measures::RESUME_WRONG, who.kind.name(), round, tries);
    figures.add(measures::RESUME_BESIDE_WRONG, who.kind.name(), round, beside / alone);
    Ok(())
}

fn wrong_try(from: Ipv4Addr, gateway: SocketAddr, n: u64) -> Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddr::from((from, 0)))?;
    rustix::net::connect(&socket, &gateway)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(ONE_CONNECTION))?;
    stream.write_all(&head(Asked::to_continue(SessionId([7; 16]), &Key::from_bytes([7; 32]), n, 0)))?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    ensure!(matches!(&start[9..], b"410" | b"503"), "another answer: {}", String::from_utf8_lossy(&start));
    reset(stream);
    Ok(())
}

/// The median time of a set-up, in seconds.
fn set_up(who: &Contestant) -> Result<f64> {
    let mut times = Vec::with_capacity(OTHERS);
    for _ in 0..OTHERS {
        let began = Instant::now();
        reset(tunnel::open(&who.entrance)?);
        times.push(began.elapsed().as_secs_f64());
    }
    median(times).context("no set-up")
}
