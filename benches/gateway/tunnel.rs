//! A tunnel from its client's side.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Result, ensure};

use crate::support::limits::ONE_CONNECTION;
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
    /// What a client says for a tunnel.
    pub(crate) request: String,
}

/// Opens a tunnel and takes the VPS's banner. What comes next is what was ordered.
pub(crate) fn open(entrance: &Entrance) -> Result<TcpStream> {
    let Entrance { address, asks, request } = entrance;
    let mut stream = TcpStream::connect(address)?;
    // Every wait has an end.
    stream.set_read_timeout(Some(ONE_CONNECTION))?;
    stream.set_write_timeout(Some(ONE_CONNECTION))?;
    stream.set_nodelay(true)?;
    stream.write_all(request.as_bytes())?;
    let mut seen = [0; LONGEST_ANSWER];
    let mut have = 0;
    while !is_open(*asks, &seen[..have])? {
        let read = stream.read(&mut seen[have..])?;
        ensure!(read > 0, "it ended before the VPS's banner: {:?}", String::from_utf8_lossy(&seen[..have]));
        have += read;
    }
    Ok(stream)
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
