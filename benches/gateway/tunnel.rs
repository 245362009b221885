//! A tunnel from its client's side.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Result, ensure};

use crate::support::limits;
use crate::support::vps::BANNER;

/// Longest answer, with the banner.
pub(crate) const LONGEST_ANSWER: usize = 2048;

/// How a tunnel is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asks {
    Connect,
    Line,
    /// The address is the VPS's.
    Nothing,
}

/// Where tunnels are opened.
pub(crate) struct Entrance {
    pub(crate) address: SocketAddr,
    pub(crate) asks: Asks,
    /// The client's request for a tunnel.
    pub(crate) request: String,
}

/// Opens a tunnel and takes the VPS's banner. What comes next is what was ordered.
pub(crate) fn open(entrance: &Entrance) -> Result<TcpStream> {
    let mut stream = limits::connect(entrance.address)?;
    stream.write_all(entrance.request.as_bytes())?;
    take_banner(&mut stream, entrance.asks)?;
    Ok(stream)
}

/// Takes the answer that opens a tunnel, and the VPS's banner behind it.
pub(crate) fn take_banner(stream: &mut impl Read, asks: Asks) -> Result<()> {
    let mut seen = [0; LONGEST_ANSWER];
    let mut have = 0;
    while !is_open(asks, &seen[..have])? {
        let read = stream.read(&mut seen[have..])?;
        ensure!(read > 0, "it ended before the VPS's banner: {:?}", String::from_utf8_lossy(&seen[..have]));
        have += read;
    }
    Ok(())
}

/// Whether the VPS's banner has come, all of it, behind the answer that opens a tunnel.
pub(crate) fn is_open(asks: Asks, seen: &[u8]) -> Result<bool> {
    let yes: &[&[u8]] = match asks {
        Asks::Connect => &[b"HTTP/1.1 200 ", b"HTTP/1.0 200 "],
        Asks::Line => &[b"SUCCESS\n"],
        Asks::Nothing => &[b"SSH-"],
    };
    let agrees = |start: &&[u8]| seen.iter().zip(start.iter()).all(|(a, b)| a == b);
    ensure!(yes.iter().any(agrees) && seen.len() < LONGEST_ANSWER, "no tunnel: {:?}", String::from_utf8_lossy(seen));
    Ok(seen.ends_with(BANNER))
}
