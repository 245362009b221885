//! A child process and the CPU time that it took, to the nanosecond.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions, waitid, waitpid};

use super::overseen;
use crate::support::stat::{self, stat};

/// A child that leads a process group of its own. The group is killed, and the child reaped, when this is dropped.
pub(crate) struct Overseen {
    child: Child,
    reaped: bool,
}

/// The record of a child that has ended.
pub(crate) struct Remains {
    /// CPU time in seconds.
    pub(crate) cpu: f64,
    /// Whether it ended by itself with status 0.
    pub(crate) succeeded: bool,
}

/// Makes orphans of this process's children its own children, so that their CPU time can be read too.
pub(crate) fn adopt_orphans() -> Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

impl Overseen {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let child = command.process_group(0).spawn().with_context(|| format!("cannot run {command:?}"))?;
        overseen::oversee(Pid::from_child(&child));
        Ok(Self { child, reaped: false })
    }

    pub(crate) fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Kills it and counts what it took.
    pub(crate) fn kill(self) -> Result<Remains> {
        overseen::kill(self.id());
        self.wait()
    }

    /// Waits for its end, and leaves it there to be counted.
    pub(crate) fn wait_for_end(&self) -> Result<()> {
        wait_unreaped(self.id())
    }

    /// Waits for its end and counts what it took.
    pub(crate) fn wait(mut self) -> Result<Remains> {
        self.wait_for_end()?;
        let cpu = cpu_seconds(self.id())?;
        Ok(Remains { cpu, succeeded: self.reap()? })
    }

    /// As [`Overseen::wait`], for an ssh: counts its ProxyCommand too. An ssh that was handed a socket has reaped it;
    /// else it ends without waiting for it, and it becomes our child (see [`adopt_orphans`]).
    pub(crate) fn wait_with_proxy_command(mut self) -> Result<Remains> {
        let own = self.id();
        self.wait_for_end()?;
        overseen::hasten(own);
        let mut cpu = cpu_seconds(own)? + reaped_cpu_seconds(own)?;
        for orphan in orphans(own)? {
            wait_unreaped(orphan)?;
            cpu += cpu_seconds(orphan)?;
            waitpid(Some(orphan), WaitOptions::empty())?;
        }
        Ok(Remains { cpu, succeeded: self.reap()? })
    }

    fn reap(&mut self) -> Result<bool> {
        overseen::kill(self.id());
        overseen::forget(self.id());
        self.reaped = true;
        Ok(self.child.wait()?.success())
    }
}

impl Drop for Overseen {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = self.reap();
        }
    }
}

/// Waits for the end of a child and leaves it there: what /proc says of it is complete only now, and gone once it is
/// reaped.
fn wait_unreaped(child: Pid) -> Result<()> {
    rustix::io::retry_on_intr(|| waitid(WaitId::Pid(child), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT))?;
    Ok(())
}

/// Time on a CPU, of the main thread; none of the programs here works in another one.
fn cpu_seconds(process: Pid) -> Result<f64> {
    let path = format!("/proc/{process}/schedstat");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse::<u64>().ok());
    Ok(nanoseconds.with_context(|| format!("{path} says {text:?}"))? as f64 / 1e9)
}

/// CPU time of the children that `process` has reaped; in ticks, so only good for what is small beside the rest.
fn reaped_cpu_seconds(process: Pid) -> Result<f64> {
    stat::seconds(&stat(process)?[13..15])
}

/// CPU time of all processes that this one has started, and that those have started, whether they have ended or not; in
/// ticks. One that has ended must have been reaped.
pub(crate) fn cpu_seconds_of_all() -> Result<f64> {
    let alive: Result<Vec<f64>> = descendants()?
        .into_iter()
        .filter_map(|process| stat(process).ok())
        .map(|s| stat::seconds(&s[11..15]))
        .collect();
    Ok(alive?.into_iter().sum::<f64>() + reaped_cpu_seconds(rustix::process::getpid())?)
}

fn descendants() -> Result<Vec<Pid>> {
    let all: Vec<_> = stat::processes()?.collect();
    let mut found = vec![rustix::process::getpid()];
    let mut next = 0;
    while let Some(parent) = found.get(next).map(Pid::to_string) {
        found.extend(all.iter().filter(|(_, fields)| fields[1] == parent).map(|(process, _)| *process));
        next += 1;
    }
    Ok(found.split_off(1))
}

/// Waits for the helpers' children that carry a tunnel for ssh. They are in no group of ours, and end soon after it.
pub(crate) fn reap_carriers() -> Result<()> {
    let own = rustix::process::getpid().to_string();
    for process in descendants()? {
        let words = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        // Of one that has ended there are no words.
        let has_ended = || stat(process).is_ok_and(|stat| stat[0] == "Z" && stat[1] == own);
        if words.split(|&byte| byte == 0).nth(1) == Some(b"--carry") || words.is_empty() && has_ended() {
            waitpid(Some(process), WaitOptions::empty())?;
        }
    }
    Ok(())
}

/// The children of ours that are in the group of `leader` without being it.
fn orphans(leader: Pid) -> Result<Vec<Pid>> {
    let own = rustix::process::getpid().to_string();
    // It may have ended since; then it was nobody's of ours.
    let ours = |process: &Pid| stat(*process).is_ok_and(|stat| stat[1] == own);
    Ok(stat::group(leader)?.into_iter().filter(|process| *process != leader && ours(process)).collect())
}
