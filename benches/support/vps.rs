//! A VPS that does no cryptography: what stands between it and the client is all that is measured.
//!
//! It says an SSH banner at once, as an sshd does, and then takes commands: a letter and a count in eight bytes, big
//! end first. Its own part is as cheap as can be, since it stands for another machine: bytes are sent from the page
//! cache and thrown away unread.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::Result;
use rustix::fs::MemfdFlags;
use rustix::net::RecvFlags;

/// What it says first.
pub(crate) const BANNER: &[u8] = b"SSH-2.0-bench\r\n";
/// Its answer once it has taken everything it was told to take.
pub(crate) const TAKEN: u8 = b'k';
/// Most bytes moved in one go.
const CHUNK: usize = 1024 * 1024;

/// What it can be told.
#[derive(Clone, Copy)]
pub(crate) enum Order {
    /// Send this many bytes.
    Send(u64),
    /// Take this many bytes, then say [`TAKEN`].
    Take(u64),
    /// Send back this many bytes, one at a time.
    Echo(u64),
}

impl Order {
    pub(crate) fn bytes(self) -> [u8; 9] {
        let (letter, count) = match self {
            Self::Send(count) => (b's', count),
            Self::Take(count) => (b't', count),
            Self::Echo(count) => (b'e', count),
        };
        let mut bytes = [letter; 9];
        bytes[1..].copy_from_slice(&count.to_be_bytes());
        bytes
    }

    fn read(stream: &mut TcpStream) -> io::Result<Self> {
        let mut bytes = [0; 9];
        stream.read_exact(&mut bytes)?;
        let count = bytes[1..].iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        match bytes[0] {
            b's' => Ok(Self::Send(count)),
            b't' => Ok(Self::Take(count)),
            b'e' => Ok(Self::Echo(count)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Starts it on a free port of 127.0.0.1. It serves until the process ends.
pub(crate) fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // The standard library's backlog of 128 is enough for a hundred connections at once.
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that leaves in the middle is its own report.
            thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(BANNER)?;
    loop {
        match Order::read(&mut stream)? {
            Order::Send(count) => send(&stream, count)?,
            Order::Take(count) => {
                take(&stream, count)?;
                stream.write_all(&[TAKEN])?;
            }
            Order::Echo(count) => {
                let mut byte = [0];
                for _ in 0..count {
                    stream.read_exact(&mut byte)?;
                    stream.write_all(&byte)?;
                }
            }
        }
    }
}

fn send(stream: &TcpStream, mut count: u64) -> io::Result<()> {
    let zeros = rustix::fs::memfd_create("zeros", MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(zeros);
    file.write_all(&vec![0; CHUNK])?;
    while count > 0 {
        let mut offset = 0;
        let sent = rustix::fs::sendfile(stream, &file, Some(&mut offset), count.min(CHUNK as u64) as usize)?;
        if sent == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        count -= sent as u64;
    }
    Ok(())
}

fn take(stream: &TcpStream, mut count: u64) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    while count > 0 {
        let most = count.min(CHUNK as u64) as usize;
        // TRUNC on a TCP socket drops the bytes in the kernel instead of copying them.
        let taken = rustix::net::recv(stream, &mut buffer[..most], RecvFlags::TRUNC)?.1;
        if taken == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        count -= taken as u64;
    }
    Ok(())
}
