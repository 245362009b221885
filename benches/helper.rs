//! The ProxyCommand helper beside what people use today, and beside nothing at all.
//!
//! All of them go through the same gateway, in turns, to a VPS of the benchmark's own that does no cryptography, and to
//! a real sshd (to which `direct` goes straight when it is ssh that is measured). `cargo bench --bench helper` prints a
//! table and writes `target/bench/helper.json`; `-- --quick` does so in less time and less exactly.
//!
//! `-- tls` measures the same over TLS instead, beside stunnel and socat, and `-- resume` tunnels that survive their
//! connection beside the same that don't.
//!
//! It tells what it measures; that a target is missed is no failure of the run. It reads /proc, so it needs Linux.

#[cfg(target_os = "linux")]
#[path = "helper/mod.rs"]
mod parts;
#[cfg(target_os = "linux")]
mod support;

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("this benchmark reads /proc, so it runs on Linux only");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::time::{Duration, Instant};

    use anyhow::{Context as _, Result, bail};
    use serde_json::json;

    use crate::parts::contestants::{self, Contestant, DIRECT, FDPASS, NC, STDIO};
    use crate::parts::plain::Way;
    use crate::parts::ssh::Ssh;
    use crate::parts::{child, measures, overseen, resume, tls};
    use crate::support::figures::{Figures, MIB, Measure};
    use crate::support::gateway::{Gateway, inventory, running};
    use crate::support::home::Home;
    use crate::support::mover::Share;
    use crate::support::ours::{helper, measure_instead};
    use crate::support::report::{Bound, Report, Target, folder};
    use crate::support::sshd::Sshd;
    use crate::support::turns::{Rounds, rounds, turns};
    use crate::support::{limits, vps};

    /// How much is done.
    struct Effort {
        first_byte: Rounds,
        ssh_true: Rounds,
        plain_bulk: Rounds,
        ssh_bulk: Rounds,
        round_trip: Rounds,
        crowd: Rounds,
        plain_bytes: u64,
        ssh_bytes: u64,
        round_trips: u64,
    }

    const FULL: Effort = Effort {
        first_byte: rounds(200, 40),
        ssh_true: rounds(30, 80),
        plain_bulk: rounds(7, 90),
        ssh_bulk: rounds(7, 120),
        round_trip: rounds(5, 25),
        crowd: rounds(10, 60),
        plain_bytes: 768 << 20,
        ssh_bytes: 192 << 20,
        round_trips: 4000,
    };

    const QUICK: Effort = Effort {
        first_byte: rounds(30, 5),
        ssh_true: rounds(5, 10),
        plain_bulk: rounds(3, 15),
        ssh_bulk: rounds(3, 30),
        round_trip: rounds(3, 5),
        crowd: rounds(1, 5),
        plain_bytes: 256 << 20,
        ssh_bytes: 128 << 20,
        round_trips: 1000,
    };

    /// Longest time for a whole run.
    const WHOLE_RUN: Duration = Duration::from_secs(7 * 60 + 45);
    /// How many connections are opened at once.
    const CROWD: usize = 100;
    /// How often memory is looked at; it hardly changes.
    const MEMORY: Rounds = rounds(5, 10);
    /// The VPS that does no cryptography.
    const PLAIN: &str = "7323718749301768192";
    /// The VPS that is a real sshd.
    const SSHD: &str = "7323718749301768193";

    const TARGETS: [Target; 20] = {
        use Bound::{AtLeast, AtMost};
        use measures::*;
        const fn to(measure: Measure, contestant: &'static str, reference: &'static str, bound: Bound) -> Target {
            Target { measure, contestant, reference: Some(reference), bound }
        }
        const fn alone(measure: Measure, contestant: &'static str, most: f64) -> Target {
            Target { measure, contestant, reference: None, bound: AtMost(most) }
        }
        [
            to(SSH_BULK_UP, FDPASS, DIRECT, AtLeast(0.92)),
            to(SSH_BULK_DOWN, FDPASS, DIRECT, AtLeast(1.0)),
            to(SSH_CPU_UP, FDPASS, DIRECT, AtMost(1.0)),
            to(SSH_CPU_DOWN, FDPASS, DIRECT, AtMost(1.0)),
            to(SSH_BULK_UP, STDIO, NC, AtLeast(1.2)),
            to(SSH_BULK_DOWN, STDIO, NC, AtLeast(1.15)),
            to(PLAIN_CPU_UP, STDIO, NC, AtMost(0.3)),
            to(PLAIN_CPU_DOWN, STDIO, NC, AtMost(0.25)),
            to(PLAIN_UP, STDIO, NC, AtLeast(1.7)),
            to(PLAIN_DOWN, STDIO, NC, AtLeast(2.5)),
            to(FIRST_BYTE, STDIO, NC, AtMost(0.7)),
            to(FIRST_BYTE, FDPASS, NC, AtMost(0.7)),
            to(SSH_TRUE, STDIO, DIRECT, AtMost(0.75)),
            to(SSH_TRUE, FDPASS, DIRECT, AtMost(0.75)),
            to(ROUND_TRIP, STDIO, NC, AtMost(1.0)),
            to(ROUND_TRIP, FDPASS, NC, AtMost(0.8)),
            alone(RSS, STDIO, 2.5),
            alone(BINARY_SIZE, STDIO, 1.25),
            alone(FAILURES, STDIO, 0.0),
            alone(FAILURES, FDPASS, 0.0),
        ]
    };

    pub(super) fn main() -> Result<()> {
        let asked = read_arguments()?;
        let began = Instant::now();
        limits::start(WHOLE_RUN, overseen::end_overdue)?;
        child::adopt_orphans()?;
        match asked.set {
            Set::Tls => return over_tls(&asked, began),
            Set::Resume => return resumable(&asked, began),
            Set::Peers => {}
        }
        let effort = if asked.is_quick { &QUICK } else { &FULL };

        let (sshd, home) = (Sshd::start(), Home::new());
        let vps = [running(PLAIN, vps::start(Share::Equal)?.port()), running(SSHD, sshd.port)];
        let gateway = Gateway::with_inventory(&inventory(&vps));
        let (plain, missing) = contestants::all(gateway.address, PLAIN);
        let (under_ssh, _) = contestants::all(gateway.address, SSHD);
        let way = Way { proxy: gateway.address, home: home.path() };
        let ssh = Ssh::new(&sshd, &under_ssh, &home, effort.ssh_bytes)?;

        let mut figures = Figures::default();
        missing.iter().for_each(|name| figures.note(format!("{name} is not installed, so it is not measured")));
        figures.add(measures::BINARY_SIZE, STDIO, 0, fs::metadata(helper())?.len() as f64 / MIB);
        // What was measured before an interruption, or before the time was over, is told all the same.
        let outcome = measure(effort, &way, &ssh, (&plain, &under_ssh), &mut figures);

        let names: Vec<_> = plain.iter().map(|who| who.name).collect();
        tell(&asked, &figures, &names, &TARGETS, began)?;
        outcome
    }

    fn over_tls(asked: &Asked, began: Instant) -> Result<()> {
        let mut figures = Figures::default();
        let effort = if asked.is_quick { &tls::QUICK } else { &tls::FULL };
        let outcome = tls::measure(effort, &mut figures);
        tell(asked, &figures, &tls::NAMES, &tls::TARGETS, began)?;
        outcome
    }

    fn resumable(asked: &Asked, began: Instant) -> Result<()> {
        let mut figures = Figures::default();
        let effort = if asked.is_quick { &resume::QUICK } else { &resume::FULL };
        let outcome = resume::measure(effort, &mut figures);
        tell(asked, &figures, &resume::NAMES, &resume::TARGETS, began)?;
        outcome
    }

    /// Prints the table and writes the file.
    fn tell(
        asked: &Asked,
        figures: &Figures,
        contestants: &[&'static str],
        targets: &[Target],
        began: Instant,
    ) -> Result<()> {
        let conditions = json!({
            "quick": asked.is_quick, "helper": helper(), "seconds": began.elapsed().as_secs(),
            "cpus": std::thread::available_parallelism()?.get(),
            "kernel": fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        });
        let report = Report { figures, measures: &measures::ALL, contestants, targets, conditions };
        print!("{}", report.table());
        let name = match asked.set {
            Set::Peers => "helper.json",
            Set::Tls => "helper-tls.json",
            Set::Resume => "helper-resume.json",
        };
        println!("{} s; all samples in {}", began.elapsed().as_secs(), report.write_json(&folder(), name)?.display());
        Ok(())
    }

    /// Everything, the longest part last.
    fn measure(
        effort: &Effort,
        way: &Way<'_>,
        ssh: &Ssh<'_>,
        (plain, under_ssh): (&[Contestant], &[Contestant]),
        f: &mut Figures,
    ) -> Result<()> {
        turns("first byte", effort.first_byte, plain, f, |who, round, f| way.first_byte(who, round, f))?;
        turns("round trip", effort.round_trip, plain, f, |who, round, f| {
            way.round_trip(who, effort.round_trips, round, f)
        })?;
        turns("memory", MEMORY, plain, f, |who, round, f| way.memory(who, round, f))?;
        turns("bulk without crypto", effort.plain_bulk, plain, f, |who, round, f| {
            way.bulk_up(who, effort.plain_bytes, round, f)?;
            way.bulk_down(who, effort.plain_bytes, round, f)
        })?;
        turns("ssh host true", effort.ssh_true, under_ssh, f, |who, round, f| ssh.run_true(who, round, f))?;
        turns("many at once", effort.crowd, plain, f, |who, round, f| way.crowd(who, CROWD, round, f))?;
        turns("bulk under ssh", effort.ssh_bulk, under_ssh, f, |who, round, f| {
            ssh.bulk_up(who, round, f)?;
            ssh.bulk_down(who, round, f)
        })
    }

    /// What the command line asks for.
    struct Asked {
        is_quick: bool,
        set: Set,
    }

    /// What is measured.
    enum Set {
        /// The helpers of others.
        Peers,
        Tls,
        Resume,
    }

    fn read_arguments() -> Result<Asked> {
        let mut asked = Asked { is_quick: false, set: Set::Peers };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--helper" => measure_instead(&arguments.next().context("--helper needs a file")?)?,
                "--quick" => asked.is_quick = true,
                tls::NAME => asked.set = Set::Tls,
                resume::NAME => asked.set = Set::Resume,
                // Cargo adds it.
                "--bench" => {}
                _ => bail!("unknown argument {argument:?}; there are --helper FILE, --quick, tls and resume"),
            }
        }
        Ok(asked)
    }
}
