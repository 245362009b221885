//! Tests of clients with TLS that have no counterpart without it.

use super::*;
use crate::carrier::Tls;
use crate::carrier::tests::until_arrived;
use std::os::fd::BorrowedFd;

/// A socket that stays open when its stream is ended, as those of some clients of TLS.
struct Keeps(std::net::TcpStream);

impl AsFd for Keeps {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Carrier for Keeps {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.receive(buffer)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes)
    }

    fn end_writing(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A client that keeps its connection, and the gateway's side.
async fn client() -> (End, Tls<std::net::TcpStream>) {
    let (client, inner) = pair().await;
    let (client, inner) = secured(Keeps(client.into_std().unwrap()), inner.into_std().unwrap());
    (End::new(Box::new(client)).unwrap(), inner)
}

#[tokio::test]
async fn a_stream_without_its_end_is_a_broken_connection() {
    let (relays, records) = (start(Engine::Tls, 1, None), Records::default());
    let sessions = Arc::new(Sessions::new(0, records.clone()));
    let (mut client, mut vps) = another(&relays, &sessions, b"").await;
    client.write_all(b"x").await.unwrap();
    timeout(PATIENCE, vps.read_exact(&mut [0])).await.unwrap().unwrap();
    rustix::net::shutdown(client.get_mut().as_fd(), rustix::net::Shutdown::Write).unwrap();
    assert!(was_reset(rest(&mut vps).await));
    ends(relays).await;
    assert_eq!(records.metrics.closed(Ending::ClientLost).value(), 1);
}

#[tokio::test]
async fn an_end_of_the_stream_that_leaves_the_connection_open_is_passed_on() {
    let relays = start(Engine::Tls, 1, None);
    let ((mut client, inner_client), (mut vps, inner_vps)) = (client().await, Engine::vps().await);
    relays.carry(Box::new(inner_client), inner_vps, nothing(), session(&Arc::default(), None));
    client.write_all(b"last words").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut vps).await.unwrap(), b"last words");
    vps.write_all(b"answer").await.unwrap();
    vps.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await.unwrap(), b"answer");
    assert_eq!(relays.count(), 1, "its connection is open");
    drop(client);
    ends(relays).await;
}

/// Its socket has room for less than a record.
async fn with_little_room() -> Connected {
    let (client, inner) = pair().await;
    rustix::net::sockopt::set_socket_recv_buffer_size(&client, 4096).unwrap();
    rustix::net::sockopt::set_socket_send_buffer_size(&inner, 4096).unwrap();
    let (client, inner) = secured(client.into_std().unwrap(), inner.into_std().unwrap());
    (End::new(Box::new(client)).unwrap(), Box::new(inner))
}

#[tokio::test]
async fn last_bytes_without_room_leave_after_both_streams_have_ended() {
    let relays = start(Engine::Tls, 1, None);
    let ((mut client, inner_client), (mut vps, inner_vps)) = (with_little_room().await, Engine::vps().await);
    let sessions = Arc::<Sessions>::default();
    relays.carry(inner_client, inner_vps, nothing(), session(&sessions, None));
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut vps).await.unwrap(), b"");
    vps.write_all(&[7; 16_000]).await.unwrap();
    drop(vps);
    // The client reads nothing before the relay has taken all of it.
    let taken = async {
        while sessions.totals().bytes_down < 16_000 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, taken).await.expect("the bytes are not taken");
    assert_eq!(rest(&mut client).await.unwrap(), [7; 16_000]);
    drop(client);
    ends(relays).await;
}

#[tokio::test]
async fn bytes_that_no_event_reports_are_carried() {
    let relays = start(Engine::Tls, 1, None);
    let ((mut client, mut inner_client), (mut vps, inner_vps)) = (client().await, Engine::vps().await);
    client.write_all(b"early").await.unwrap();
    // A record has 22 bytes beside those that it carries.
    until_arrived(&std::net::TcpStream::from(inner_client.as_fd().try_clone_to_owned().unwrap()), 5 + 22);
    assert_eq!(inner_client.receive(&mut [0]).unwrap(), 1);
    relays.carry(Box::new(inner_client), inner_vps, nothing(), session(&Arc::default(), None));
    timeout(PATIENCE, vps.read_exact(&mut [0; 4])).await.expect("the rest waits for an event").unwrap();
}

#[tokio::test]
async fn a_tunnel_that_the_gateway_ends_is_cut_off() {
    let relays = start(Engine::Tls, 1, None);
    let (mut client, _vps) = another(&relays, &Arc::default(), b"").await;
    relays.end_all(Ending::Stopped);
    assert!(is_cut_off(rest(&mut client).await));
}
