//! Resumable tunnels on their way from one process to the next one.
//!
//! Each is a message: the connection to the VPS, with one byte beside it, then the length of a JSON text in four bytes,
//! big-endian, and the text. The receiver answers with one byte once it carries the tunnel. Only then the sender closes the
//! connection of the client, which comes again and finds its session.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::gateway::carry::relay::{PackedState, PackedTunnel};
use crate::gateway::front::connection::Gateway;
use crate::gateway::words::session::{Facts, Protocol, Session, Transport};
use crate::sys::{self, AsFd, OwnedFd};
use crate::target::TaskId;

/// The byte beside a connection to a VPS.
const VPS: u8 = b'v';
/// How long the receiver has for one tunnel.
const LIMIT: Duration = Duration::from_secs(5);
/// How often the tunnels of this process are looked for.
const SWEEPS: usize = 3;
/// Longest text: what a tunnel may hold, and more.
const LONGEST: u32 = 32 * 1024 * 1024;

/// A tunnel as a text.
#[derive(Serialize, Deserialize)]
struct Moving {
    id: u64,
    user: Option<String>,
    client: SocketAddr,
    transport: String,
    vps: String,
    name: Option<String>,
    node: String,
    age_ms: u64,
    bytes: (u64, u64),
    /// The address of the client's last connection, and how often it has come again.
    away: (SocketAddr, u64),
    state: PackedState,
}

/// Passes the resumable tunnels of this process on to its successor. Returns how many it took.
pub(crate) fn give(gateway: &Gateway, socket: OwnedFd) -> usize {
    let socket = UnixStream::from(socket);
    gateway.resumables.set_leaving();
    let mut given = 0;
    let mut ready = socket.set_read_timeout(Some(LIMIT)).and_then(|()| socket.set_write_timeout(Some(LIMIT)));
    // A tunnel that is on its way from one thread to another is missed the first time.
    for tunnel in (0..SWEEPS).flat_map(|_| gateway.relays.pack()) {
        // After an error, the place of the next message in the stream is unknown.
        ready = ready.map_err(|error| error.kind().into()).and_then(|()| give_one(&socket, tunnel));
        match &ready {
            Ok(()) => given += 1,
            Err(error) => {
                let failure = Failure::new("a resumable tunnel could not be handed over, and has ended");
                gateway.records.notices.fault(&failure.because(error));
            }
        }
    }
    given
}

fn give_one(mut socket: &UnixStream, tunnel: PackedTunnel) -> io::Result<()> {
    let PackedTunnel { state, vps, client, session, counted } = tunnel;
    let facts = &session.facts;
    let away = session.away().map_or((facts.client, 0), |away| (away.client, away.moves));
    let moving = Moving {
        id: session.id,
        user: facts.user.as_deref().map(str::to_owned),
        client: facts.client,
        transport: facts.transport.name().to_owned(),
        vps: facts.vps.to_string(),
        name: facts.name.as_deref().map(str::to_owned),
        node: facts.node.to_string(),
        age_ms: u64::try_from(session.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        bytes: session.bytes(),
        away,
        state,
    };
    let text = serde_json::to_string(&moving).map_err(io::Error::other)?;
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    sys::pass_descriptor(socket.as_fd(), vps.as_fd(), VPS)?;
    socket.write_all(&length.to_be_bytes())?;
    socket.write_all(text.as_bytes())?;
    socket.read_exact(&mut [0])?;
    session.hand_over();
    drop((vps, client, counted));
    Ok(())
}

/// Takes the tunnels that come on `socket`, until its end.
pub(crate) fn take_all(gateway: &Gateway, socket: OwnedFd) {
    let mut socket = UnixStream::from(socket);
    loop {
        match take_one(gateway, &mut socket) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                let failure = Failure::new("a resumable tunnel could not be taken over");
                gateway.records.notices.fault(&failure.because(&error));
                break;
            }
        }
    }
    gateway.resumables.set_arriving(false);
}

fn take_one(gateway: &Gateway, socket: &mut UnixStream) -> io::Result<bool> {
    let Some((_, vps)) = sys::receive_descriptor(socket.as_fd())? else { return Ok(false) };
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; length as usize];
    socket.read_exact(&mut text)?;
    let moving: Moving = serde_json::from_slice(&text).map_err(io::Error::other)?;
    carry_on(gateway, moving, TcpStream::from(vps))?;
    socket.write_all(&[VPS])?;
    Ok(true)
}

fn carry_on(gateway: &Gateway, moving: Moving, vps: TcpStream) -> io::Result<()> {
    let Moving { id, user, client, transport, vps: task, name, node, age_ms, bytes, away, state } = moving;
    let user: Option<Arc<str>> = user.map(Into::into);
    let transport = Transport::ALL.into_iter().find(|known| known.name() == transport);
    let facts = Facts {
        user: user.clone(),
        client,
        transport: transport.unwrap_or(Transport::Tcp),
        protocol: Protocol::Connect,
        vps: TaskId::parse(&task).ok_or(io::ErrorKind::InvalidData)?,
        name: name.map(Into::into),
        node: node.into(),
    };
    let session = Session::taken_over(id, facts, Duration::from_millis(age_ms), bytes);
    session.change_away(|own| (own.client, own.moves) = away);
    let permit = gateway.terms.limits.tunnels.take_over(client.ip(), user);
    let session = gateway.roster.sessions.take_over(session, permit);
    let (before, _) = sys::socket_pair()?;
    // To the system, it is a stream socket as any other.
    let before = Box::new(TcpStream::from(before));
    let client = gateway.resumables.unpack(&state.client, before, &session)?;
    gateway.relays.carry_on(state, client, Box::new(vps), session);
    Ok(())
}
