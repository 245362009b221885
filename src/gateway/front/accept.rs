//! The accept loops: a bounded number of connections, a task for each, and errors that pass.
//!
//! At the limit of open files the system gives out no connection, and the client would wait in the queue without an answer. So
//! each loop keeps one spare descriptor. It is given up for the moment that it takes to refuse that client.

use std::fs::File;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failure::Failure;
use crate::gateway::front::certificates::Certificates;
use crate::gateway::front::client::Client;
use crate::gateway::front::closing;
use crate::gateway::limits::MORE_FILES;
use crate::gateway::watch::notices::RateLimitKey;
use crate::gateway::watch::records::Records;
use crate::refusal::Refusal;
use crate::sys::{self, AsFd, BorrowedFd, LocalListener, LocalStream, OwnedFd};

/// The pause when the system has no descriptor or no memory for another connection.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(250);
/// Most clients that are turned away between two such pauses.
const TURNED_AWAY_AT_ONCE: usize = 256;

/// The accept loops of the gateway and the connections that they accepted. Clones share them.
#[derive(Clone)]
pub(crate) struct AcceptLoops {
    /// The tasks that hold the listeners.
    loops: TaskTracker,
    connections: TaskTracker,
    closed: CancellationToken,
    ended: CancellationToken,
    records: Records,
}

/// A listening socket, as an accept loop sees it.
pub(crate) trait Listener: AsFd + Send + Sync + 'static {
    /// A client that has connected, with what is known of it.
    type Accepted: Send + 'static;

    /// Accepts the next client.
    fn next(&self) -> impl Future<Output = io::Result<Self::Accepted>> + Send;

    /// Refuses the client behind `socket` without waiting.
    fn refuse(&self, socket: OwnedFd, why: &Refusal);
}

impl Listener for TcpListener {
    type Accepted = (Client, SocketAddr);

    async fn next(&self) -> io::Result<Self::Accepted> {
        self.accept().await.map(|(stream, address)| (Client::new(stream), address))
    }

    fn refuse(&self, socket: OwnedFd, why: &Refusal) {
        if let Ok(stream) = TcpStream::from_std(socket.into()) {
            closing::turn_away(&mut Client::new(stream), &[], why);
        }
    }
}

/// A listener whose clients have to start with TLS.
pub(crate) struct TlsListener {
    pub(crate) socket: TcpListener,
    pub(crate) certificates: Arc<Certificates>,
}

impl AsFd for TlsListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Listener for TlsListener {
    type Accepted = (Client, SocketAddr);

    async fn next(&self) -> io::Result<Self::Accepted> {
        let (stream, address) = self.socket.accept().await?;
        Ok((Client::before_tls(stream, Arc::clone(&self.certificates)), address))
    }

    fn refuse(&self, socket: OwnedFd, why: &Refusal) {
        if let Ok(stream) = TcpStream::from_std(socket.into()) {
            closing::turn_away(&mut Client::before_tls(stream, Arc::clone(&self.certificates)), &[], why);
        }
    }
}

impl Listener for LocalListener {
    type Accepted = LocalStream;

    async fn next(&self) -> io::Result<Self::Accepted> {
        self.accept().await.map(|(stream, _)| stream)
    }

    fn refuse(&self, _: OwnedFd, _: &Refusal) {}
}

/// A spare descriptor; `None` if there was none left to keep.
struct Spare(Option<File>);

impl Spare {
    fn new() -> Self {
        // Any file will do. This one exists everywhere.
        Self(File::open(sys::NULL_FILE).ok())
    }
}

impl AcceptLoops {
    pub(crate) fn new(records: Records) -> Self {
        Self {
            loops: TaskTracker::new(),
            connections: TaskTracker::new(),
            closed: CancellationToken::new(),
            ended: CancellationToken::new(),
            records,
        }
    }

    /// Accept loops that close and end together with these, but whose connections [`AcceptLoops::idle`] doesn't wait
    /// for.
    pub(crate) fn without_drain(&self) -> Self {
        Self { connections: TaskTracker::new(), ..self.clone() }
    }

    /// Accepts on `listener`, and runs `serve` for each connection in a task that ends with the gateway at the latest. A
    /// panic ends that task alone.
    pub(crate) fn start<L, F, S>(&self, listener: L, permits: Arc<Semaphore>, serve: S)
    where
        L: Listener,
        F: Future<Output = ()> + Send + 'static,
        S: Fn(L::Accepted) -> F + Send + 'static,
    {
        let accept = self.clone();
        let accepting = async move {
            let mut spare = Spare::new();
            loop {
                // The permit comes first: a client that can't be served yet waits in the listener's queue.
                let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
                let client = accept.accept(&listener, &mut spare).await;
                // A task moves its future when it starts and when it ends. A box makes that a pointer.
                let connection = Box::pin(serve(client));
                let task = async move {
                    connection.await;
                    drop(permit);
                };
                accept.connections.spawn(accept.ended.clone().run_until_cancelled_owned(task));
            }
        };
        self.spawn_until_closed(accepting);
    }

    /// Runs `work` until the listeners close.
    pub(crate) fn spawn_until_closed(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.loops.spawn(self.closed.clone().run_until_cancelled_owned(work));
    }

    /// Closes the listeners. Accepted connections stay.
    pub(crate) async fn close(&self) {
        self.closed.cancel();
        self.loops.close();
        self.loops.wait().await;
    }

    /// Waits until no connection is left, once the listeners are closed.
    pub(crate) async fn idle(&self) {
        self.connections.close();
        self.connections.wait().await;
    }

    /// Ends the connections that are left.
    pub(crate) async fn end(&self) {
        self.ended.cancel();
        self.idle().await;
    }

    async fn accept<L: Listener>(&self, listener: &L, spare: &mut Spare) -> L::Accepted {
        loop {
            match listener.next().await {
                Ok(accepted) => return accepted,
                Err(error) if sys::is_of_one_connection(&error) => {}
                Err(error) => {
                    let failure = Failure::new("no room for more connections: new ones are turned away");
                    let failure = failure.because(&error).hint(MORE_FILES);
                    self.records.notices.warn_limited(RateLimitKey::Accept, &failure);
                    if sys::is_out_of_descriptors(&error) {
                        self.turn_away(listener, spare);
                    }
                    tokio::time::sleep(SHORTAGE_PAUSE).await;
                }
            }
        }
    }

    /// Refuses the clients in the queue, as long as the spare descriptor can be had back.
    fn turn_away<L: Listener>(&self, listener: &L, spare: &mut Spare) {
        let no_room = Refusal::Limit("it has no file descriptor left".to_owned());
        for _ in 0..TURNED_AWAY_AT_ONCE {
            if spare.0.take().is_none() {
                *spare = Spare::new();
                return;
            }
            // `accept` never waits: a listener on the event loop is non-blocking.
            let accepted = sys::accept(listener);
            let is_one = accepted.is_ok();
            if let Ok(socket) = accepted {
                self.records.metrics.turned_away.increment();
                listener.refuse(socket, &no_room);
            }
            *spare = Spare::new();
            if !is_one {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::front::certificates::tests::Scene;
    use crate::gateway::tests::PATIENCE;
    use crate::gateway::watch::notices::Notices;
    use crate::gateway::watch::notices::tests::Heard;
    use rustix::io::Errno;
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A listener that meets these errors before it accepts anything.
    struct Failing {
        listener: TcpListener,
        errors: Errors,
    }

    type Errors = Arc<Mutex<VecDeque<Errno>>>;

    impl AsFd for Failing {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.listener.as_fd()
        }
    }

    impl Listener for Failing {
        type Accepted = <TcpListener as Listener>::Accepted;

        async fn next(&self) -> io::Result<Self::Accepted> {
            let error = self.errors.lock().unwrap().pop_front();
            match error {
                Some(errno) => Err(errno.into()),
                None => self.listener.next().await,
            }
        }

        fn refuse(&self, socket: OwnedFd, why: &Refusal) {
            self.listener.refuse(socket, why);
        }
    }

    /// Clients that wait in the queue of a listener.
    async fn waiting<const N: usize>(listener: &TcpListener) -> [TcpStream; N] {
        let mut clients = Vec::new();
        for _ in 0..N {
            clients.push(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
        }
        #[cfg(target_os = "linux")]
        {
            // A client's last packet may still be under way: the system tells how many are in the queue (proc_net_tcp).
            let port = format!(":{:04X} ", listener.local_addr().unwrap().port());
            let queue = format!(" 0A 00000000:{N:08X} ");
            let is_full = |table: &str| table.lines().any(|line| line.contains(&port) && line.contains(&queue));
            while !is_full(&std::fs::read_to_string("/proc/net/tcp").unwrap()) {
                tokio::task::yield_now().await;
            }
        }
        clients.try_into().unwrap()
    }

    /// The answers to clients that connect before an accept loop meets `errors`, and the admin's notices then. A client
    /// that is accepted is sent `served`.
    async fn met_by<const N: usize>(errors: &[Errno]) -> ([String; N], String) {
        let heard = Heard::default();
        let loops = AcceptLoops::new(Records { notices: Notices::to(heard.clone()), ..Records::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut clients = waiting::<N>(&listener).await;
        let listener = Failing { listener, errors: Arc::new(Mutex::new(errors.iter().copied().collect())) };
        loops.start(listener, Arc::new(Semaphore::new(8)), |(mut client, _)| async move {
            client.write_all(b"served").await.unwrap();
        });
        let mut texts = [(); N].map(|()| String::new());
        for (client, text) in clients.iter_mut().zip(&mut texts) {
            tokio::time::timeout(PATIENCE, client.read_to_string(text)).await.expect("it waits in the queue").unwrap();
        }
        let turned_away = texts.iter().filter(|text| *text != "served").count();
        assert_eq!(loops.records.metrics.turned_away.value(), turned_away as u64);
        loops.close().await;
        (texts, heard.text())
    }

    #[tokio::test]
    async fn a_connection_that_died_in_the_queue_is_passed_over() {
        let (texts, heard) = met_by(&[Errno::CONNABORTED, Errno::HOSTUNREACH]).await;
        assert_eq!((texts, heard.as_str()), (["served"; 2].map(str::to_owned), ""));
    }

    #[tokio::test]
    async fn at_the_limit_of_open_files_all_waiting_clients_are_told_and_the_next_are_served() {
        let ([first, second], heard) = met_by(&[Errno::MFILE]).await;
        for text in [first, second] {
            assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("no file descriptor left"), "{text}");
        }
        assert!(heard.contains("no room for more connections") && heard.contains(MORE_FILES), "{heard}");
    }

    #[tokio::test]
    async fn without_memory_for_a_connection_clients_wait_and_are_served_later() {
        let (texts, heard) = met_by(&[Errno::NOMEM]).await;
        assert_eq!(texts, ["served"; 2]);
        assert!(heard.contains("no room for more connections"), "{heard}");
    }

    #[tokio::test]
    async fn a_client_of_a_tls_port_that_is_turned_away_gets_an_alert() {
        let loops = AcceptLoops::new(Records::default());
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let [mut client] = waiting::<1>(&socket).await;
        let certificates = Scene::new().open(false);
        loops.turn_away(&TlsListener { socket, certificates }, &mut Spare::new());
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        // An alert that is fatal (RFC 8446 §6).
        assert!(answer.starts_with(&[0x15, 3]) && answer[5] == 2, "{answer:?}");
    }

    /// A descriptor that can't be had back must not be taken from the connections that are served.
    #[tokio::test]
    async fn nobody_is_turned_away_without_a_spare_descriptor() {
        let loops = AcceptLoops::new(Records::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = waiting::<1>(&listener).await;
        let mut spare = Spare(None);
        loops.turn_away(&listener, &mut spare);
        assert_eq!(loops.records.metrics.turned_away.value(), 0);
        // A spare descriptor is there again.
        loops.turn_away(&listener, &mut spare);
        assert_eq!(loops.records.metrics.turned_away.value(), 1);
        assert!(spare.0.is_some());
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_connection_only_and_the_number_is_bounded() {
        let loops = AcceptLoops::new(Records::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (permits, errors) = (Arc::new(Semaphore::new(1)), Errors::default());
        let listener = Failing { listener, errors: Arc::clone(&errors) };
        loops.start(listener, Arc::clone(&permits), |(mut client, _)| async move {
            let byte = client.read_u8().await.unwrap();
            assert_ne!(byte, b'!', "a panic on purpose");
        });
        // Each holds the only permit until it is gone, so the next is served after it alone.
        for byte in [b'!', b'a', b'!', b'b'] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&[byte]).await.unwrap();
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        }
        let mut last = TcpStream::connect(address).await.unwrap();
        while loops.connections.is_empty() {
            tokio::task::yield_now().await;
        }
        loops.close().await;
        // Its port may be another program's by now, so a connection is no proof.
        assert_eq!(Arc::strong_count(&errors), 1, "the listener is open");
        // An accepted connection lasts until its own end or that of the gateway.
        last.write_all(b"c").await.unwrap();
        assert_eq!(last.read(&mut [0]).await.unwrap(), 0);
        loops.idle().await;
    }

    /// An admin's connection must not hold up the end of the gateway.
    #[tokio::test]
    async fn a_drain_waits_for_connections_but_not_for_those_without_drain() {
        let loops = AcceptLoops::new(Records::default());
        let mut addresses = Vec::new();
        for accepts in [&loops, &loops.without_drain()] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            accepts.start(listener, Arc::new(Semaphore::new(8)), |(mut client, _)| async move {
                client.write_u8(b'x').await.unwrap();
                let _ = client.read_u8().await;
            });
        }
        let mut clients = Vec::new();
        for address in addresses {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.read_u8().await.unwrap();
            clients.push(client);
        }
        loops.close().await;
        let mut idle = std::pin::pin!(loops.idle());
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut idle).await.is_err());
        drop(clients.remove(0));
        tokio::time::timeout(Duration::from_secs(20), idle).await.expect("it waits for the other");
        loops.end().await;
        let end = tokio::time::timeout(PATIENCE, clients[0].read(&mut [0])).await;
        assert_eq!(end.expect("a connection outlives the gateway").unwrap(), 0);
    }
}
