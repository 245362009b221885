//! The memory of idle tunnels, and whether a server can hold many of them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, Result, ensure};

use super::contestants::{Contestant, Kind};
use super::measures;
use super::opener::{Opener, reset};
use super::process::{open_files, rss_kib};
use super::tunnel;
use crate::support::figures::Figures;
use crate::support::limits::ONE_CONNECTION;
use crate::support::vps::Order;

/// How many tunnels are idle.
const IDLE: usize = 5_000;
/// The older Host opens some hundred a second.
const IDLE_OLDER_HOST: usize = 1_000;
/// How many must be held.
const HELD: usize = 10_000;
/// How many tunnels a server has had before its memory is first looked at: what the first one costs is not counted.
const BEFORE: usize = 100;
/// How many are opened at once.
const AT_ONCE: usize = 64;
/// Descriptors of a server that no tunnel has.
const OTHER_FILES: usize = 1_000;

/// Starts a server of `kind` and looks at it without and with tunnels.
pub(crate) fn idle(kind: Kind, vps: SocketAddr, round: usize, figures: &mut Figures) -> Result<()> {
    let who = Contestant::start(kind, vps)?;
    let leader = who.leader().context("no server")?;
    for _ in 0..BEFORE {
        reset(tunnel::open(&who.entrance)?);
    }
    let before = rss_kib(leader)?;
    let count = if kind == Kind::OlderHost { IDLE_OLDER_HOST } else { IDLE };
    if count != IDLE {
        figures.note(format!("{}: RSS at {count} tunnels, as it takes long to open more", kind.name()));
    }
    let tunnels = Opener::new(&who.entrance)?.open(count, AT_ONCE)?;
    figures.add(measures::RSS, kind.name(), round, (rss_kib(leader)? - before) / count as f64);
    tunnels.into_iter().for_each(reset);
    Ok(())
}

/// Holds as many tunnels as it can be asked for, then says a byte through each and counts those that don't say it back.
pub(crate) fn hold(kind: Kind, vps: SocketAddr, round: usize, figures: &mut Figures) -> Result<()> {
    let who = Contestant::start(kind, vps)?;
    let most = open_files().saturating_sub(OTHER_FILES) / 2;
    let count = HELD.min(most);
    if count < HELD {
        figures.note(format!("{count} tunnels held instead of {HELD}: a process may have {} open files", open_files()));
    }
    let tunnels = Opener::new(&who.entrance)?.open(count, AT_ONCE)?;
    let mut failures = 0;
    for stream in &tunnels {
        if let Err(error) = says_back(stream) {
            figures.fail(kind.name(), "one of many held", &error);
            failures += 1;
        }
    }
    figures.add(measures::FAILURES, kind.name(), round, f64::from(failures));
    tunnels.into_iter().for_each(reset);
    Ok(())
}

fn says_back(mut stream: &TcpStream) -> Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(ONE_CONNECTION))?;
    stream.write_all(&[&Order::Echo(1).bytes()[..], b"x"].concat())?;
    let mut back = [0];
    stream.read_exact(&mut back)?;
    ensure!(back == *b"x", "another byte came back");
    Ok(())
}
