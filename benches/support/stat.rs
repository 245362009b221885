//! The data of processes in /proc.

use std::fs;

use anyhow::{Context as _, Result};
use rustix::process::Pid;

/// The processes in the group of `leader`.
pub(crate) fn group(leader: Pid) -> Result<Vec<Pid>> {
    let leader = leader.to_string();
    Ok(processes()?.filter(|(_, fields)| fields[2] == leader).map(|(process, _)| process).collect())
}

/// Every process with its fields, as [`stat`] has them. One that has ended meanwhile is left out.
pub(crate) fn processes() -> Result<impl Iterator<Item = (Pid, Vec<String>)>> {
    Ok(fs::read_dir("/proc")?.filter_map(|entry| {
        let process = entry.ok()?.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
        Some((process, stat(process).ok()?))
    }))
}

/// Seconds of as many ticks as these fields hold together.
pub(crate) fn seconds(fields: &[String]) -> Result<f64> {
    let ticks: u64 = fields.iter().map(|field| field.parse::<u64>()).sum::<Result<_, _>>()?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The fields of /proc/<pid>/stat (proc_pid_stat(5)) from the third on: what is before holds the program's name.
pub(crate) fn stat(process: Pid) -> Result<Vec<String>> {
    /// As far as anything here reads.
    const FIELDS: usize = 15;
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let rest = text.rsplit_once(')').context("a line of another form")?.1;
    let fields: Vec<_> = rest.split_whitespace().map(str::to_owned).collect();
    anyhow::ensure!(fields.len() > FIELDS, "a short line: {text}");
    Ok(fields)
}

/// A field of /proc/<pid>/smaps_rollup (proc_pid_smaps(5)), in KiB.
pub(crate) fn smaps(process: Pid, name: &str) -> Result<f64> {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kibibytes.with_context(|| format!("{path} has no line {name}"))
}
