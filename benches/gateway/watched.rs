//! Somebody who types while the gateway is watched: by open pages, of which some never read, and by a Prometheus that
//! asks ten times a second. A peer of the gateway is down meanwhile.
//!
//! The first pages get streams of events. The others ask from time to time, as the gateway tells them to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::background::Background;
use super::contestants::{Contestant, Kind, OPTIONS, VPS};
use super::measures;
use super::opener::Opener;
use super::typists::Typists;
use crate::support::figures::Figures;
use crate::support::gateway::{Gateway, inventory, running};
use crate::support::limits;

/// How many pages are open. How many of them have streams, as many as a gateway gives; and how many of those never read.
const PAGES: usize = 200;
const STREAMS: usize = 32;
const MUTE: usize = 8;
/// How often a page without a stream asks.
const PAGE: Duration = Duration::from_secs(30);
/// How many tunnels there are. Each of them types.
const TUNNELS: usize = 200;
/// How many are opened at once.
const AT_ONCE: usize = 32;
/// The pause between two questions for the metrics.
const SCRAPE: Duration = Duration::from_millis(100);
/// How long they watch before anything is measured.
const WARM_UP: Duration = Duration::from_secs(2);
/// Nobody listens there.
const PEER: &str = "127.0.0.1:1";

/// Types for `window` without and with watchers.
pub(super) fn watched(vps: SocketAddr, window: Duration, round: usize, figures: &mut Figures) -> Result<()> {
    let options = [&OPTIONS[..], &["--peers", PEER]].concat();
    let gateway = Gateway::with_inventory_and(&inventory(&[running(VPS, vps.port())]), &options);
    let admin = gateway.admin;
    let who = Contestant::of(gateway, vps);
    let tunnels = Opener::new(&who.entrance)?.open(TUNNELS, AT_ONCE)?;
    let mut typists = Typists::new(&tunnels)?;
    typists.run(WARM_UP)?;
    let alone = p99(typists.run(window)?)?;
    let (_mute, watchers) = watch(admin)?;
    typists.run(WARM_UP)?;
    let beside = p99(typists.run(window)?)?;
    watchers.stop()?;
    let name = Kind::Ours.name();
    figures.add(measures::WATCHED_ALONE, name, round, alone * 1e3);
    figures.add(measures::WATCHED, name, round, beside * 1e3);
    figures.add(measures::WATCHED_RATIO, name, round, beside / alone);
    Ok(())
}

fn p99(mut times: Vec<f64>) -> Result<f64> {
    times.sort_by(f64::total_cmp);
    times.get(times.len() * 99 / 100).copied().context("nobody has typed")
}

/// All who watch. The first ones are open, and nobody reads them.
fn watch(admin: SocketAddr) -> Result<(Vec<TcpStream>, Background)> {
    let mute = (0..MUTE).map(|_| ask(admin, "/events")).collect::<Result<_>>()?;
    let mut pages: Vec<_> = (MUTE..STREAMS).map(|_| ask(admin, "/events")).collect::<Result<_>>()?;
    let (mut watchers, mut buffer) = (Background::default(), vec![0; 64 * 1024]);
    watchers.repeat(move || {
        // Each of them gets something about every second.
        for page in &mut pages {
            ensure!(page.read(&mut buffer)? > 0, "a page was closed");
        }
        Ok(())
    });
    for (path, pause) in [("/metrics", SCRAPE), ("/page.json", PAGE / (PAGES - STREAMS) as u32)] {
        let mut next = Instant::now();
        watchers.repeat(move || {
            let mut page = Vec::new();
            ask(admin, path)?.read_to_end(&mut page)?;
            ensure!(page.starts_with(b"HTTP/1.1 200"), "no answer to {path}");
            next += pause;
            thread::sleep(next.saturating_duration_since(Instant::now()));
            Ok(())
        });
    }
    Ok((mute, watchers))
}

fn ask(admin: SocketAddr, path: &str) -> Result<TcpStream> {
    let mut stream = limits::connect(admin)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")?;
    Ok(stream)
}
