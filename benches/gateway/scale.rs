//! Figures for growing numbers of tunnels: memory, processor time, the time of a typed byte and the rate of set-ups,
//! for one gateway, for three behind HAProxy, and for HAProxy alone.
//!
//! Of all tunnels, nine in ten are idle, one in ten types a byte a second, and one in a thousand carries 10 MiB/s.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kohakuriver_proxy::sys::raise_open_files;
use rustix::process::Pid;
use serde::Serialize;
use serde_json::json;

use super::background::Background;
use super::contestants::{Contestant, Kind, Server, haproxy, serves};
use super::far_end::Vps;
use super::opener::{Opener, reset};
use super::process::{cpu_seconds, open_files, rss_kib};
use super::tunnel::Entrance;
use super::typists::Typists;
use crate::support::limits;
use crate::support::plot::{Line, Panel, plot};
use crate::support::proxies::start;
use crate::support::report::folder;
use crate::support::vps::{Order, TAKEN};

/// The argument that asks for this benchmark.
pub(crate) const NAME: &str = "scale";
/// Longest time for everything.
const WHOLE_RUN: Duration = Duration::from_secs(20 * 60);
/// The numbers of tunnels; the last one is as many as a process may have files for.
const STEPS: [usize; 4] = [1_000, 2_000, 4_000, 8_000];
/// Descriptors of a server that no tunnel has: pipes, and connections for a moment.
const OTHER_FILES: usize = 1_000;
/// How many are opened at once.
const AT_ONCE: usize = 32;
/// One tunnel in so many types, and one in so many carries bulk.
const TYPES: usize = 10;
const CARRIES: usize = 1_000;
/// The bytes that a tunnel with bulk moves in each pause, and the pause.
const PIECE: usize = 1024 * 1024;
const PAUSE: Duration = Duration::from_millis(100);
/// How long the mix runs before it is measured, and while it is.
const WARM_UP: Duration = Duration::from_secs(2);
const WINDOW: Duration = Duration::from_secs(10);
/// How long set-ups are counted.
const SETUPS: Duration = Duration::from_secs(3);
/// The memory of a tunnel may differ by so much from one step to the next.
const CONSTANT_WITHIN: f64 = 0.1;

/// One of those who are measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Setting {
    One,
    Three,
    Haproxy,
}

impl Setting {
    const ALL: [Self; 3] = [Self::One, Self::Three, Self::Haproxy];

    fn name(self) -> &'static str {
        match self {
            Self::One => "one gateway",
            Self::Three => "three gateways behind HAProxy",
            Self::Haproxy => "HAProxy alone",
        }
    }

    /// Starts the servers. The first one is where clients connect.
    fn start(self, vps: SocketAddr) -> Result<Vec<Contestant>> {
        match self {
            Self::One => Ok(vec![Contestant::start(Kind::Ours, vps)?]),
            Self::Haproxy => Ok(vec![Contestant::start(Kind::HaproxySplice, vps)?]),
            Self::Three => {
                let gateways: Vec<_> = (0..3).map(|_| Contestant::start(Kind::Ours, vps)).collect::<Result<_>>()?;
                let addresses: Vec<_> = gateways.iter().map(|gateway| gateway.entrance.address).collect();
                let kind = Kind::Ours;
                let entrance = |address| kind.entrance(address, vps);
                let proxy = start(
                    |process, address| serves(process, &entrance(address)),
                    |home, port| haproxy(home, port, &addresses, true),
                );
                let front = Contestant { kind, entrance: entrance(proxy.address), server: Server::Proxy(proxy) };
                Ok([vec![front], gateways].into_iter().flatten().collect())
            }
        }
    }
}

/// The figures with so many tunnels.
#[derive(Serialize)]
struct Step {
    tunnels: usize,
    memory_mib: f64,
    /// Memory of one of the tunnels that this step has more than the one before.
    memory_of_one_kib: Option<f64>,
    /// Of one processor.
    cpu_percent: f64,
    typed_p50_ms: f64,
    typed_p99_ms: f64,
    setups_per_s: f64,
}

pub(crate) fn main() -> Result<()> {
    raise_open_files();
    limits::start(WHOLE_RUN, |_| {})?;
    let most = open_files().saturating_sub(OTHER_FILES) / 2;
    let numbers: Vec<usize> = STEPS.into_iter().filter(|&step| step < most).chain([most]).collect();
    let mut measured = Vec::new();
    for setting in Setting::ALL {
        println!("{}", setting.name());
        println!("  tunnels  memory, MiB  of one more, KiB   CPU, %  typed p50, ms  typed p99, ms  set-ups, 1/s");
        let steps = measure(setting, &numbers)?;
        println!("  the memory of one more tunnel: {}", constancy(&steps));
        measured.push((setting.name(), steps));
    }
    let folder = folder();
    std::fs::create_dir_all(&folder)?;
    let (samples, picture) = (folder.join("scale.json"), folder.join("scale.svg"));
    let open_files = open_files();
    let all: Vec<_> = measured.iter().map(|(name, steps)| json!({ "setting": name, "steps": steps })).collect();
    std::fs::write(&samples, serde_json::to_string_pretty(&json!({ "open_files": open_files, "measured": all }))?)?;
    std::fs::write(&picture, plot(&panels(&measured), "open tunnels"))?;
    println!("a process may have {open_files} open files; samples in {}", samples.display());
    println!("the plot is {}", picture.display());
    Ok(())
}

fn measure(setting: Setting, numbers: &[usize]) -> Result<Vec<Step>> {
    // A VPS of its own for each: the last one's connections are on their way out.
    let vps = Vps::start()?;
    let servers = setting.start(vps.address)?;
    let entrance = &servers.first().context("a server")?.entrance;
    let leaders: Vec<Pid> = servers.iter().filter_map(Contestant::leader).collect();
    let sum = |of: fn(Pid) -> Result<f64>| leaders.iter().map(|leader| of(*leader)).sum::<Result<f64>>();
    // The memory that the first burst of set-ups takes belongs to no tunnel.
    setups(entrance)?;
    let (mut before, mut steps) = (None, Vec::new());
    let mut tunnels = Vec::new();
    for &number in numbers {
        tunnels.extend(Opener::new(entrance)?.open(number - tunnels.len(), AT_ONCE)?);
        let (idle, typing) = tunnels.split_at_mut(number - number / TYPES);
        let mix = carry_bulk(idle, number / CARRIES)?;
        let mut typists = Typists::new(typing)?;
        typists.run(WARM_UP)?;
        // Bulk and typing have begun before the first look, too: their first use takes memory of its own.
        let memory = sum(rss_kib)?;
        let (cpu, began) = (sum(cpu_seconds)?, Instant::now());
        let mut times = typists.run(WINDOW)?;
        let cpu = (sum(cpu_seconds)? - cpu) / began.elapsed().as_secs_f64() * 100.0;
        drop(typists);
        mix.stop()?;
        times.sort_by(f64::total_cmp);
        let at = |hundredths: usize| times.get(times.len() * hundredths / 100).copied().context("nobody has typed");
        let step = Step {
            tunnels: number,
            memory_mib: memory / 1024.0,
            memory_of_one_kib: before.map(|(fewer, less)| (memory - less) / (number - fewer) as f64),
            cpu_percent: cpu,
            typed_p50_ms: at(50)?,
            typed_p99_ms: at(99)?,
            setups_per_s: setups(entrance)?,
        };
        println!(
            "  {:7} {:12.1} {:>17} {:8.1} {:14.3} {:14.3} {:13.0}",
            step.tunnels,
            step.memory_mib,
            step.memory_of_one_kib.map_or("-".to_owned(), |kib| format!("{kib:.2}")),
            step.cpu_percent,
            step.typed_p50_ms,
            step.typed_p99_ms,
            step.setups_per_s
        );
        before = Some((number, memory));
        steps.push(step);
    }
    tunnels.into_iter().for_each(reset);
    Ok(steps)
}

/// How many set-ups a second there are beside the tunnels that are open.
fn setups(entrance: &Entrance) -> Result<f64> {
    let (began, mut count) = (Instant::now(), 0);
    Opener::new(entrance)?.open_and_close(AT_ONCE, |so_far| {
        count = so_far;
        began.elapsed() < SETUPS
    })?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

/// Has the first `count` of `tunnels` carry bulk, down and up in turns, each at its own pace.
fn carry_bulk(tunnels: &[TcpStream], count: usize) -> Result<Background> {
    let mut mix = Background::default();
    for stream in tunnels.iter().take(count) {
        let mut stream = stream.try_clone()?;
        stream.set_nonblocking(false)?;
        limits::bound(&stream)?;
        let (mut piece, mut next) = (vec![0; PIECE], Instant::now());
        mix.repeat(move || {
            stream.write_all(&Order::Send(PIECE as u64).bytes())?;
            stream.read_exact(&mut piece)?;
            stream.write_all(&Order::Take(PIECE as u64).bytes())?;
            stream.write_all(&piece)?;
            let mut answer = [0];
            stream.read_exact(&mut answer)?;
            ensure!(answer == [TAKEN], "another answer came");
            // Two pieces.
            next += 2 * PAUSE;
            thread::sleep(next.saturating_duration_since(Instant::now()));
            Ok(())
        });
    }
    Ok(mix)
}

/// Whether each further tunnel takes as much memory, however many there are.
fn constancy(steps: &[Step]) -> String {
    let all: Vec<f64> = steps.iter().filter_map(|step| step.memory_of_one_kib).collect();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let worst = all.iter().map(|kib| (kib / mean - 1.0).abs()).fold(0.0, f64::max);
    let verdict = if worst <= CONSTANT_WITHIN { "reached" } else { "MISSED" };
    format!("{mean:.2} KiB, constant within {:.0} % (target: ≤ 10 %), {verdict}", worst * 100.0)
}

fn panels(measured: &[(&'static str, Vec<Step>)]) -> Vec<Panel> {
    let panel = |title, of: fn(&Step) -> f64| {
        let points = |steps: &[Step]| steps.iter().map(|step| (step.tunnels as f64, of(step))).collect();
        let lines = measured.iter().map(|(name, steps)| Line { name, points: points(steps) }).collect();
        Panel { title, lines }
    };
    vec![
        panel("memory, MiB", |step| step.memory_mib),
        panel("CPU of the mix, % of one processor", |step| step.cpu_percent),
        panel("a typed byte there and back, p99, ms", |step| step.typed_p99_ms),
        panel("set-ups, 1/s", |step| step.setups_per_s),
    ]
}
