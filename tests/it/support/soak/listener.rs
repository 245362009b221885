//! A port that can be made to fail, and to serve again.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::carry::reset;

/// How a port behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Serves,
    /// Connections are refused.
    Refuses,
    /// Connections are taken, and nothing is said.
    Mute,
    /// Connections are taken and reset.
    Resets,
    /// Nothing is answered, not even to the first packet: the queue of connections is full.
    Drops,
}

impl Mode {
    pub(crate) const ALL: [Self; 5] = [Self::Serves, Self::Refuses, Self::Mute, Self::Resets, Self::Drops];
}

/// A port of 127.0.0.1. Each change of its mode, also to the one it has, resets what goes through it.
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    mode: watch::Sender<Mode>,
    /// Keeps the port while it refuses: bound, and not listening.
    _keeper: TcpSocket,
}

fn bound(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Lets the keeper and the one that listens share the port.
    socket.set_reuseport(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    Ok(socket)
}

impl Listener {
    /// Hands each connection to `serve`, with a way to hear of the next change. The connection is reset when `serve` is
    /// still at it then.
    pub(crate) fn start<S, F>(serve: S) -> io::Result<Self>
    where
        S: Fn(TcpStream, watch::Receiver<Mode>) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let keeper = bound(0)?;
        let address = keeper.local_addr()?;
        let (mode, modes) = watch::channel(Mode::Serves);
        tokio::spawn(run(address.port(), modes, Arc::new(serve)));
        Ok(Self { address, mode, _keeper: keeper })
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn run<S, F>(port: u16, mut modes: watch::Receiver<Mode>, serve: Arc<S>)
where
    S: Fn(TcpStream, watch::Receiver<Mode>) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    /// Length of the queue of connections that were not accepted yet.
    const BACKLOG: u32 = 1024;
    /// Longer than a connection takes that is not dropped.
    const FILLS: Duration = Duration::from_millis(50);
    let mut backlog = BACKLOG;
    // Ends with the soak.
    let mut listener: Option<TcpListener> = None;
    loop {
        let mode = *modes.borrow_and_update();
        // A queue's length is fixed with its listener.
        if matches!(mode, Mode::Refuses | Mode::Drops) || backlog == 0 {
            listener = None;
        }
        backlog = if mode == Mode::Drops { 0 } else { BACKLOG };
        if mode != Mode::Refuses && listener.is_none() {
            listener = bound(port).and_then(|socket| socket.listen(backlog)).ok();
        }
        let mut held = Vec::new();
        if mode == Mode::Drops {
            // Unless somebody else is in the queue already.
            let full = timeout(FILLS, TcpStream::connect((Ipv4Addr::LOCALHOST, port))).await;
            held.extend(full.ok().and_then(Result::ok));
        }
        loop {
            let accepted = async {
                match &listener {
                    Some(listener) if mode != Mode::Drops => listener.accept().await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = modes.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                Ok((stream, _)) = accepted => match mode {
                    Mode::Serves => {
                        tokio::spawn(serve(stream, modes.clone()));
                    }
                    Mode::Mute => held.push(stream),
                    Mode::Resets | Mode::Refuses | Mode::Drops => reset(&stream),
                },
            }
        }
        held.iter().for_each(reset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::run::DEADLINE;

    #[tokio::test]
    async fn a_port_that_drops_answers_nobody_and_serves_again() {
        let listener = Listener::start(|_, _| async {}).unwrap();
        let connects = || timeout(Duration::from_millis(300), TcpStream::connect(listener.address));
        let drops = async {
            listener.set(Mode::Drops);
            while connects().await.is_ok() {}
        };
        timeout(DEADLINE, drops).await.expect("it answers");
        assert!(connects().await.is_err());
        let serves = async {
            listener.set(Mode::Serves);
            while !connects().await.is_ok_and(|connected| connected.is_ok()) {}
        };
        timeout(DEADLINE, serves).await.expect("it does not serve again");
    }
}
