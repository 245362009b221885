//! The bytes of a tunnel, both ways.
//!
//! # The rules
//! - Each direction stands on its own: one may be over while the other goes on. The end of one is passed on by shutting
//!   the write half of its receiver, once everything that came before it is written.
//! - The tunnel is over when both directions are.
//! - A reset of one side resets the other, so that neither takes a cut-off stream for a complete one. What the dead
//!   side sent before is still delivered. As in any TCP connection, a reset may overtake bytes that are under way.
//! - A side that ended its direction and then takes no more has left. The other one gets an orderly end first, so that
//!   the last words arrive, and a reset when it hasn't closed in a while: some clients (nc) wait for ever after an end.
//! - A reset is noticed while a direction is idle, and while it is stuck on a receiver that takes nothing.
//! - A buffer exists only while a direction has bytes to move, so an idle tunnel costs two sockets and one small task.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::coop::consume_budget;

use crate::gateway::closing;
use crate::gateway::session::Session;

/// How much is read at once, in bytes. What one tunnel holds in memory is at most twice this.
const BUFFER: usize = 64 * 1024;

/// How a direction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// Its sender ended it, and that was passed on.
    Complete,
    /// Its sender is gone.
    SenderLost,
    /// Its receiver takes no more.
    ReceiverLost,
}

/// How the tunnel ended, as far as its sockets still have to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// Both sides know.
    Over,
    /// This side must see a reset.
    Reset(Side),
    /// This side must see an orderly end, then a reset if it doesn't close.
    Close(Side),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Client,
    Vps,
}

/// Carries bytes between `client` and `vps` until the tunnel is over. `early` is what the client has sent already.
pub(super) async fn relay(client: TcpStream, vps: TcpStream, early: Vec<u8>, session: &Session) {
    let outcome = both_ways(&client, &vps, early, session).await;
    let stream = |side| if side == Side::Client { client } else { vps };
    match outcome {
        Outcome::Over => {}
        Outcome::Reset(side) => reset(&stream(side)),
        Outcome::Close(side) => {
            let mut stream = stream(side);
            if !closing::finish(&mut stream).await {
                reset(&stream);
            }
        }
    }
}

/// Makes the end of `stream` a reset.
fn reset(stream: &TcpStream) {
    // Nothing can be done if it fails: then the other side gets an end instead.
    let _ = stream.set_zero_linger();
}

async fn both_ways(client: &TcpStream, vps: &TcpStream, early: Vec<u8>, session: &Session) -> Outcome {
    // Both are kept until they end by themselves: a direction that is dropped could have read bytes it hasn't written.
    let mut up = std::pin::pin!(one_way(client, vps, early, &session.up));
    let mut down = std::pin::pin!(one_way(vps, client, Vec::new(), &session.down));
    let (mut up_end, mut down_end) = (None, None);
    loop {
        let (ended, sides) = tokio::select! {
            end = &mut up, if up_end.is_none() => {
                up_end = Some(end);
                ((end, down_end), (Side::Client, Side::Vps))
            }
            end = &mut down, if down_end.is_none() => {
                down_end = Some(end);
                ((end, up_end), (Side::Vps, Side::Client))
            }
        };
        if let Some(outcome) = judge(ended, sides) {
            return outcome;
        }
    }
}

/// What the end of a direction means, given how the opposite one ended, if it has. `None`: go on with that one.
fn judge((end, opposite): (End, Option<End>), (sender, receiver): (Side, Side)) -> Option<Outcome> {
    match (end, opposite) {
        (End::SenderLost, _) => Some(Outcome::Reset(receiver)),
        (End::Complete, None) => None,
        (End::Complete, Some(End::Complete)) => Some(Outcome::Over),
        // The sender of this direction was found dead by the opposite one, which had nowhere to write; now all it
        // had sent before is delivered.
        (End::Complete, Some(_)) => Some(Outcome::Reset(receiver)),
        // The receiver may have sent something before it died: the opposite direction delivers that, and then meets
        // the same death.
        (End::ReceiverLost, None) => None,
        (End::ReceiverLost, Some(End::Complete)) => Some(Outcome::Close(sender)),
        (End::ReceiverLost, Some(_)) => Some(Outcome::Over),
    }
}

async fn one_way(from: &TcpStream, to: &TcpStream, early: Vec<u8>, carried: &AtomicU64) -> End {
    let mut buffer = early;
    loop {
        if let Err(end) = write_all(&buffer, from, to).await {
            return end;
        }
        carried.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        buffer.clear();
        buffer.reserve_exact(BUFFER);
        match from.try_read_buf(&mut buffer) {
            Ok(0) => {
                // It fails only when the receiver is gone, which the opposite direction meets as well.
                let _ = rustix::net::shutdown(to, rustix::net::Shutdown::Write);
                return End::Complete;
            }
            // A fast sender must not keep the thread from the other tunnels.
            Ok(_) => consume_budget().await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                buffer = Vec::new();
                tokio::select! {
                    biased;
                    ready = from.readable() => if ready.is_err() { return End::SenderLost },
                    _ = to.ready(Interest::ERROR) => return End::ReceiverLost,
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return End::SenderLost,
        }
    }
}

async fn write_all(mut bytes: &[u8], from: &TcpStream, to: &TcpStream) -> Result<(), End> {
    while !bytes.is_empty() {
        match to.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::select! {
                biased;
                ready = to.writable() => if ready.is_err() { return Err(End::ReceiverLost) },
                _ = from.ready(Interest::ERROR) => return Err(End::SenderLost),
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(End::ReceiverLost),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    /// Longer than anything here takes; a test that meets it has failed.
    const PATIENCE: Duration = Duration::from_secs(20);

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(near, listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    /// A client, a VPS, and the relay between them.
    async fn tunnel(early: &[u8]) -> (TcpStream, TcpStream, JoinHandle<()>) {
        let ((client, inner_client), (inner_vps, vps)) = (pair().await, pair().await);
        let early = early.to_vec();
        let relay = async move {
            let session = crate::gateway::session::tests::tunnel(&std::sync::Arc::default(), None);
            relay(inner_client, inner_vps, early, &session).await;
        };
        (client, vps, tokio::spawn(relay))
    }

    async fn ends(relay: JoinHandle<()>) {
        timeout(PATIENCE, relay).await.expect("the relay does not end").unwrap();
    }

    async fn rest(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("no end comes").map(|_| bytes)
    }

    fn was_reset<T: std::fmt::Debug>(result: io::Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
    }

    #[tokio::test]
    async fn early_bytes_come_first_and_each_end_is_passed_on_alone() {
        let (mut client, mut vps, relay) = tunnel(b"early ").await;
        client.write_all(b"late").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(rest(&mut vps).await.unwrap(), b"early late");
        // The other direction goes on.
        vps.write_all(b"answer").await.unwrap();
        vps.shutdown().await.unwrap();
        assert_eq!(rest(&mut client).await.unwrap(), b"answer");
        ends(relay).await;
    }

    #[tokio::test]
    async fn the_vps_may_end_first() {
        let (mut client, mut vps, relay) = tunnel(b"").await;
        vps.write_all(b"bye").await.unwrap();
        vps.shutdown().await.unwrap();
        assert_eq!(rest(&mut client).await.unwrap(), b"bye");
        client.write_all(b"still here").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(rest(&mut vps).await.unwrap(), b"still here");
        ends(relay).await;
    }

    #[tokio::test]
    async fn much_both_ways_at_once_to_slow_readers() {
        let data: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
        let (client, vps, relay) = tunnel(b"").await;
        let one = |stream: TcpStream| {
            let data = data.clone();
            async move {
                let (mut read, mut write) = stream.into_split();
                let writer = tokio::spawn(async move {
                    write.write_all(&data).await.unwrap();
                    write.shutdown().await.unwrap();
                });
                let mut got = Vec::new();
                let mut piece = [0; 1000];
                while let n @ 1.. = read.read(&mut piece).await.unwrap() {
                    got.extend_from_slice(&piece[..n]);
                }
                writer.await.unwrap();
                got
            }
        };
        let (at_client, at_vps) = timeout(PATIENCE, async { tokio::join!(one(client), one(vps)) }).await.unwrap();
        assert!(at_client == data && at_vps == data);
        ends(relay).await;
    }

    #[tokio::test]
    async fn a_reset_is_passed_on_as_one_in_either_direction() {
        let (client, mut vps, relay) = tunnel(b"").await;
        client.set_zero_linger().unwrap();
        drop(client);
        assert!(was_reset(rest(&mut vps).await));
        ends(relay).await;

        let (mut client, vps, relay) = tunnel(b"").await;
        vps.set_zero_linger().unwrap();
        drop(vps);
        assert!(was_reset(rest(&mut client).await));
        ends(relay).await;
    }

    #[tokio::test]
    async fn a_reset_is_noticed_while_the_receiver_takes_nothing() {
        let (client, mut vps, relay) = tunnel(b"").await;
        // Until nothing more fits between here and there.
        while let Ok(Ok(())) = timeout(Duration::from_millis(200), client.writable()).await {
            let _ = client.try_write(&[7; 65536]);
        }
        client.set_zero_linger().unwrap();
        drop(client);
        ends(relay).await;
        assert!(was_reset(rest(&mut vps).await));
    }

    #[tokio::test]
    async fn a_client_that_ended_and_is_then_gone_is_noticed_while_idle() {
        let (mut client, mut vps, relay) = tunnel(b"").await;
        client.shutdown().await.unwrap();
        assert_eq!(rest(&mut vps).await.unwrap(), b"");
        client.set_zero_linger().unwrap();
        drop(client);
        // The VPS says nothing, and doesn't close; the relay waits no longer than it must.
        ends(relay).await;
        assert!(vps.write_all(b"x").await.is_err());
    }

    #[tokio::test]
    async fn a_client_that_waits_for_ever_after_an_end_gets_a_reset() {
        let (mut client, vps, relay) = tunnel(b"").await;
        drop(vps);
        assert_eq!(rest(&mut client).await.unwrap(), b"");
        client.write_all(b"hello?").await.unwrap();
        ends(relay).await;
        assert!(client.write_all(b"hello?").await.is_err());
    }

    #[tokio::test]
    async fn what_was_said_before_everything_closed_arrives() {
        let (mut client, mut vps, relay) = tunnel(b"").await;
        vps.write_all(b"last words").await.unwrap();
        drop(vps);
        // The client doesn't know yet, and goes on talking to somebody who has left.
        for _ in 0..20 {
            if client.write_all(b"hello?").await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let mut words = [0; 10];
        timeout(PATIENCE, client.read_exact(&mut words)).await.unwrap().unwrap();
        assert_eq!(&words, b"last words");
        drop(client);
        ends(relay).await;
    }

    #[test]
    fn every_pair_of_ends() {
        use End::{Complete, ReceiverLost, SenderLost};
        let up = (Side::Client, Side::Vps);
        for (end, opposite, expected) in [
            (Complete, None, None),
            (Complete, Some(Complete), Some(Outcome::Over)),
            (Complete, Some(ReceiverLost), Some(Outcome::Reset(Side::Vps))),
            (SenderLost, None, Some(Outcome::Reset(Side::Vps))),
            (SenderLost, Some(Complete), Some(Outcome::Reset(Side::Vps))),
            (SenderLost, Some(ReceiverLost), Some(Outcome::Reset(Side::Vps))),
            (ReceiverLost, None, None),
            (ReceiverLost, Some(Complete), Some(Outcome::Close(Side::Client))),
            (ReceiverLost, Some(ReceiverLost), Some(Outcome::Over)),
        ] {
            assert_eq!(judge((end, opposite), up), expected, "{end:?} {opposite:?}");
        }
    }
}
