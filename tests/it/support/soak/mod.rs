//! A soak test: many users who act at random, a Host API and Runners that fail at random, and one gateway between
//! them that must get no byte wrong, keep nothing and never fall over.
//!
//! The Host and the VPSes are this process's own, since real ones can't be made to fail like this. What is done is the
//! same for the same seed; in which order it happens is not.

mod attacks;
mod carry;
mod host;
mod listener;
mod pattern;
mod runner;
mod user;
mod verdict;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{sleep, timeout};

use self::host::{Answers, Host};
use self::listener::{Listener, Mode};
use self::runner::Awaited;
use self::user::{Done, User};
use super::gateway::{Gateway, running};
use super::processes::{descriptors, falls_to, sockets};
use super::random::Random;
use super::run::DEADLINE;

pub(crate) use attacks::Attackers;
pub(crate) use carry::{Ending, Plan, Received, Report, Saw, Sent};
pub(crate) use verdict::verdict;

/// How many VPSes there are.
const VPS: usize = 6;
/// Longest time for one thing that a user does: longer than any of the gateway's own limits, one after the other.
const STUCK: Duration = Duration::from_secs(120);
/// How long everything has to work again once nothing fails any more.
const RECOVERY: Duration = Duration::from_secs(30);
/// How long descriptors have to be closed at the end.
const SETTLES: Duration = Duration::from_secs(30);
/// How long a VPS has to tell of a plan that may have been lost on its way.
const GRACE: Duration = Duration::from_secs(3);
/// The most memory a gateway may ever take: so much, and so much for each user, in KiB.
const MEMORY: (u64, u64) = (32 * 1024, 256);
/// Most connections without a tunnel at a time.
const HANDSHAKES: usize = 1024;
/// Longest pause between two things that a user does, in milliseconds.
const PAUSE: u64 = 400;
/// How many faults are shown; the others are counted.
const TOLD: usize = 20;

/// The settings of a soak.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Soak {
    /// Decides everything that is done.
    pub(crate) seed: u64,
    pub(crate) users: usize,
    pub(crate) length: Length,
    /// Whether the Host has authentication on.
    pub(crate) logins: bool,
    /// Most bytes each way through one tunnel. Only more than all buffers on the way hold makes anybody wait.
    pub(crate) largest: u64,
    /// The clients that attack the gateway meanwhile. Without attackers, the Host and Runners fail instead.
    pub(crate) attackers: Option<Attackers>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Length {
    #[allow(dead_code, reason = "the long soak uses it")]
    Time(Duration),
    /// So many things for each user.
    Operations(usize),
}

/// The gateway's surroundings: the Host, the Runners and the VPSes.
struct World {
    logins: bool,
    largest: u64,
    grace: Duration,
    ids: Vec<String>,
    runners: Vec<Listener>,
    host: Host,
    awaited: Arc<Awaited>,
}

/// The results of a soak.
#[derive(Debug)]
pub(crate) struct Findings {
    soak: Soak,
    pub(crate) operations: usize,
    pub(crate) tunnels: usize,
    bytes: u64,
    refused: BTreeMap<(u16, String), usize>,
    /// The gateway's errors; there should be none.
    pub(crate) faults: Vec<String>,
    /// Sockets and descriptors, before and after.
    open: [(usize, usize); 2],
    /// The most memory the gateway took, in KiB.
    peak: u64,
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.soak)?;
        writeln!(
            f,
            "{} things done, {} tunnels, {} MiB; refused, by status: {:?}; sockets and descriptors {:?} before, {:?} \
             after; at most {} KiB of memory",
            self.operations,
            self.tunnels,
            self.bytes >> 20,
            self.refused,
            self.open[0],
            self.open[1],
            self.peak,
        )?;
        self.faults.iter().take(TOLD).try_for_each(|fault| writeln!(f, "FAULT: {fault}"))?;
        write!(f, "{} faults", self.faults.len())
    }
}

/// The counters of a running soak.
#[derive(Default)]
struct Count {
    operations: AtomicUsize,
    tunnels: AtomicUsize,
    bytes: AtomicUsize,
    refused: Mutex<BTreeMap<(u16, String), usize>>,
    faults: Mutex<Vec<String>>,
    over: AtomicBool,
}

impl Count {
    fn done(&self, done: &Done) {
        self.operations.fetch_add(1, Ordering::Relaxed);
        self.tunnels.fetch_add(usize::from(done.tunnel), Ordering::Relaxed);
        self.bytes.fetch_add(done.bytes as usize, Ordering::Relaxed);
        if let Some(refused) = &done.refused {
            *self.refused.lock().unwrap().entry(refused.clone()).or_default() += 1;
        }
    }

    fn fault(&self, fault: String) {
        self.faults.lock().unwrap().push(fault);
    }
}

/// Runs it, with these options more for the gateway. `interrupted` says whether to end before the time.
pub(crate) fn run(soak: Soak, options: &[&str], interrupted: fn() -> bool) -> Findings {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let world = Arc::new(runtime.block_on(async { World::start(&soak) }));
    let mut gateway = Gateway::with_host_api_and(&world.host.base(), &[&["--relay-threads", "1"], options].concat());
    let process = gateway.process.id();
    let count = Arc::new(Count::default());
    // Descriptors that the gateway opens once are open after the first tunnels.
    runtime.block_on(recover(&world, gateway.address, &count, 1));
    let before = (steady(|| sockets(process)), steady(|| descriptors(process)));
    let scene =
        Scene { soak, world: Arc::clone(&world), gateway: gateway.address, count: Arc::clone(&count), interrupted };
    match soak.attackers {
        None => runtime.block_on(scene.live(0, failures(soak.seed, &world))),
        Some(attackers) => {
            runtime.block_on(scene.attacked(1, attackers, attacks::reloads(process)));
            scene.nobody_was_refused();
            let no_files = async { tokio::join!(attacks::reloads(process), attacks::shortages(process)) };
            runtime.block_on(scene.attacked(2, attackers, no_files));
        }
    }
    runtime.block_on(recover(&world, gateway.address, &count, 2));
    let after =
        (falls_to(before.0, SETTLES, || sockets(process)), falls_to(before.1, SETTLES, || descriptors(process)));
    if after.0 > before.0 || after.1 > before.1 {
        count.fault(format!("the gateway had {before:?} sockets and descriptors, and has {after:?}"));
    }
    let mut serving = process;
    if let Some(attackers) = soak.attackers {
        count.refused.lock().unwrap().clear();
        let mut processes = attacks::Processes::of(&gateway.process);
        runtime.block_on(scene.attacked(3, attackers, processes.hand_over()));
        let settled = async { timeout(SETTLES, processes.follow()).await };
        runtime.block_on(settled).expect("the last hand-over does not end");
        serving = processes.serving;
        scene.nobody_was_refused();
        runtime.block_on(recover(&world, gateway.address, &count, 3));
    }
    let peak = peak_kib(serving);
    let clients = soak.users + soak.attackers.map_or(0, |attackers| attackers.slow.min(HANDSHAKES) + attackers.unread);
    let most = MEMORY.0 + MEMORY.1 * clients as u64;
    if peak > most {
        count.fault(format!("the gateway took {peak} KiB of memory, more than {most}"));
    }
    world.awaited.strange().into_iter().for_each(|strange| count.fault(strange));
    // Ends in order, whatever it has been through, and has never panicked.
    kill_process(serving, Signal::TERM).unwrap();
    gateway.process.extend(DEADLINE);
    let outcome = gateway.process.finish();
    outcome.exits(0).check(!outcome.stderr.contains("cannot hand over"), "hand-overs that succeed");
    let faults = std::mem::take(&mut *count.faults.lock().unwrap());
    let refused = std::mem::take(&mut *count.refused.lock().unwrap());
    Findings {
        soak,
        operations: count.operations.load(Ordering::Relaxed),
        tunnels: count.tunnels.load(Ordering::Relaxed),
        bytes: count.bytes.load(Ordering::Relaxed) as u64,
        refused,
        faults,
        open: [before, after],
        peak,
    }
}

impl World {
    fn start(soak: &Soak) -> Self {
        let awaited = Arc::new(Awaited::default());
        let runners: Vec<_> = (0..VPS).map(|_| runner::start(&awaited).unwrap()).collect();
        let ids: Vec<_> = (0..VPS).map(|number| format!("73237187493017681{number:02}")).collect();
        let vps = ids.iter().zip(&runners).map(|(id, runner)| running(id, runner.address.port())).collect();
        let host = Host::start(vps, soak.logins).unwrap();
        Self { logins: soak.logins, largest: soak.largest, grace: GRACE, ids, runners, host, awaited }
    }

    /// Lets the Host or a Runner fail, or serve again.
    fn change(&self, random: &mut Random) {
        // Well in most cases, or no user would ever get a tunnel.
        let mode = if random.percent(75) { Mode::Serves } else { *random.pick(&Mode::ALL) };
        match random.below(VPS as u64 + 2) as usize {
            runner if runner < VPS => self.runners[runner].set(mode),
            _ => {
                self.host.set(if random.percent(75) { Answers::Well } else { *random.pick(&Answers::ALL) });
                self.host.listener.set(mode);
            }
        }
    }

    fn mend(&self) {
        self.runners.iter().chain([&self.host.listener]).for_each(|listener| listener.set(Mode::Serves));
        self.host.set(Answers::Well);
    }
}

/// Everything that a part of a soak needs.
struct Scene {
    soak: Soak,
    world: Arc<World>,
    gateway: SocketAddr,
    count: Arc<Count>,
    interrupted: fn() -> bool,
}

impl Scene {
    /// All users at once, and what happens meanwhile.
    async fn live(&self, part: usize, meanwhile: impl Future) {
        let Self { soak, world, gateway, count, interrupted } = self;
        count.over.store(false, Ordering::Relaxed);
        let first = part * soak.users;
        let users: Vec<_> = (first..first + soak.users)
            .map(|number| tokio::spawn(use_it(*soak, number, Arc::clone(world), *gateway, Arc::clone(count))))
            .collect();
        let all = async {
            for user in users {
                if let Err(error) = user.await {
                    count.fault(format!("a user fell over: {error}"));
                }
            }
        };
        let clock = async {
            let began = Instant::now();
            loop {
                let over = matches!(soak.length, Length::Time(time) if began.elapsed() >= time);
                if over || interrupted() {
                    count.over.store(true, Ordering::Relaxed);
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = all => {}
            () = async { tokio::join!(meanwhile, clock); } => {}
        }
        world.mend();
    }

    /// The same among attackers, who have all come by the time that users do.
    async fn attacked(&self, part: usize, attackers: Attackers, storm: impl Future) {
        let clients = attacks::clients(attackers, Arc::clone(&self.world), self.gateway);
        self.live(part, async { tokio::join!(clients, storm) }).await;
    }

    /// No attack may cost a user a tunnel.
    fn nobody_was_refused(&self) {
        let refused = self.count.refused.lock().unwrap().clone();
        if refused.keys().any(|(status, _)| *status >= 500) {
            self.count.fault(format!("users were refused: {refused:?}"));
        }
    }
}

/// Lets the Host and Runners fail.
async fn failures(seed: u64, world: &World) {
    let mut random = Random::new(seed);
    loop {
        world.change(&mut random);
        sleep(Duration::from_millis(20 + random.below(300))).await;
    }
}

/// One user's life.
async fn use_it(soak: Soak, number: usize, world: Arc<World>, gateway: SocketAddr, count: Arc<Count>) {
    let mut user = user(number + 1, soak.seed);
    let mut done = 0;
    while !count.over.load(Ordering::Relaxed) && !matches!(soak.length, Length::Operations(all) if done >= all) {
        match timeout(STUCK, user.act(&world, gateway)).await {
            Ok(Ok(done)) => count.done(&done),
            Ok(Err(fault)) => count.fault(format!("user {number}, thing {done}: {fault}")),
            Err(_) => count.fault(format!(
                "user {number}, thing {done}: stuck for {} s, waiting for {}, {:?}",
                STUCK.as_secs(),
                user.at,
                user.report
            )),
        }
        done += 1;
        // Nobody comes back at once.
        sleep(Duration::from_millis(user.random.below(PAUSE))).await;
    }
}

fn user(number: usize, seed: u64) -> User {
    // Each user has an own address: limits for one client are tested elsewhere.
    let address = Ipv4Addr::new(127, 1, (number >> 8) as u8, number as u8);
    let random = Random::new(seed ^ (number as u64) << 40);
    User { address, random, next_id: (number as u64) << 32, at: String::new(), report: Report::default() }
}

/// Waits until every VPS is reached, since what failed may be remembered for a while.
async fn recover(world: &World, gateway: SocketAddr, count: &Count, phase: u64) {
    let mut user = user(0, phase);
    user.next_id = phase << 24;
    for vps in &world.ids {
        let end = Instant::now() + RECOVERY;
        loop {
            let outcome = timeout(STUCK, user.plain_tunnel(world, gateway, vps)).await;
            match outcome {
                Ok(Ok(Done { tunnel: true, .. })) => break,
                _ if Instant::now() < end => sleep(Duration::from_millis(100)).await,
                other => {
                    let other = other.map(|done| done.map(|done| done.refused));
                    count.fault(format!("nothing fails any more, and VPS {vps} is not reached: {other:?}"));
                    break;
                }
            }
        }
    }
}

/// Waits until a count stays the same for a while.
fn steady(count: impl Fn() -> usize) -> usize {
    const FOR: Duration = Duration::from_millis(500);
    let end = Instant::now() + SETTLES;
    let (mut last, mut since) = (count(), Instant::now());
    while since.elapsed() < FOR && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
        let now = count();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

/// The most memory that a process has had, in KiB.
fn peak_kib(process: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap()
}
