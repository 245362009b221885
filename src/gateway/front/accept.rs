//! The accept loop: a bounded number of connections, a task for each, and faults that pass.
//!
//! At the limit of open files the system gives no connection out, and its client would wait in the queue for nothing.
//! So each loop keeps one descriptor spare: it is given up for as long as it takes to tell that client so.

use std::fs::File;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failure::Failure;
use crate::gateway::front::accepted::Accepted;
use crate::gateway::front::closing;
use crate::gateway::limits::MORE_FILES;
use crate::gateway::watch::metrics::Metrics;
use crate::gateway::watch::notices::{Matter, Notices};
use crate::refusal::Refusal;
use crate::sys;

/// How long to wait when the system has no descriptor or no memory for another connection.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(250);
/// Most clients that are turned away between two such pauses.
const TURNED_AWAY_AT_ONCE: usize = 256;

/// What the doors of the gateway share.
#[derive(Clone)]
pub(crate) struct Doors {
    /// The accept loops, which hold the listeners.
    accepting: TaskTracker,
    connections: TaskTracker,
    closed: CancellationToken,
    ended: CancellationToken,
    pub(crate) notices: Notices,
    pub(crate) metrics: Arc<Metrics>,
}

/// A descriptor for hard times; `None` when there was none left to put by.
struct Spare(Option<File>);

impl Spare {
    fn new() -> Self {
        // Any file will do; this one is everywhere.
        Self(File::open("/dev/null").ok())
    }
}

impl Doors {
    pub(crate) fn new(notices: Notices, metrics: Arc<Metrics>) -> Self {
        Self {
            accepting: TaskTracker::new(),
            connections: TaskTracker::new(),
            closed: CancellationToken::new(),
            ended: CancellationToken::new(),
            notices,
            metrics,
        }
    }

    /// Doors that close and end with these, and whose connections nobody waits for.
    pub(crate) fn aside(&self) -> Self {
        Self { connections: TaskTracker::new(), ..self.clone() }
    }

    /// Accepts on `listener` and runs `serve` for each connection, in a task of its own that ends with the gateway.
    /// A panic ends that task alone.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub(crate) fn open<F, S>(&self, listener: TcpListener, permits: Arc<Semaphore>, serve: S) -> io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
        S: Fn(Accepted, SocketAddr) -> F + Send + 'static,
    {
        let doors = self.clone();
        // The runtime's own listener puts each connection on the event loop. To that any socket is the same, so this
        // one waits as a stream.
        let listener = OwnedFd::from(listener.into_std()?);
        let listener = TcpStream::from_std(listener.into())?;
        let accepting = async move {
            let mut spare = Spare::new();
            loop {
                // The permit comes first: whoever can't be served yet waits in the listener's queue.
                let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
                let (stream, address) = doors.accept(&listener, &mut spare).await;
                // A task moves its work when it is made and when it ends, which is to be no more than a pointer.
                let connection = Box::pin(serve(stream, address));
                let task = async move {
                    connection.await;
                    drop(permit);
                };
                doors.connections.spawn(doors.ended.clone().run_until_cancelled_owned(task));
            }
        };
        self.accepting.spawn(self.closed.clone().run_until_cancelled_owned(accepting));
        Ok(())
    }

    /// Does `work` until the doors close.
    pub(crate) fn beside(&self, work: impl Future<Output = ()> + Send + 'static) {
        let work = self.closed.clone().run_until_cancelled_owned(work);
        self.accepting.spawn(work);
    }

    /// Closes the listeners. Who was accepted before goes on.
    pub(crate) async fn close(&self) {
        self.closed.cancel();
        self.accepting.close();
        self.accepting.wait().await;
    }

    /// Waits until no connection is left, once the doors are closed.
    pub(crate) async fn empty(&self) {
        self.connections.close();
        self.connections.wait().await;
    }

    /// Ends the connections that are left.
    pub(crate) async fn end(&self) {
        self.ended.cancel();
        self.empty().await;
    }

    async fn accept(&self, listener: &TcpStream, spare: &mut Spare) -> (Accepted, SocketAddr) {
        loop {
            match listener.async_io(Interest::READABLE, || sys::accept(listener)).await {
                Ok((stream, address)) => return (Accepted::Fresh(stream), address),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    let failure = Failure::new("no room for more connections: new ones are turned away");
                    let failure = failure.because(&error).hint(MORE_FILES);
                    self.notices.complain(Matter::Accept, &failure);
                    if sys::is_out_of_descriptors(&error) {
                        self.turn_away(listener, spare);
                    }
                    tokio::time::sleep(SHORTAGE_PAUSE).await;
                }
            }
        }
    }

    /// Tells those who wait in the queue that there is no room, as long as the spare descriptor can be had back.
    fn turn_away(&self, listener: &TcpStream, spare: &mut Spare) {
        let no_room = Refusal::Limit("it has no file descriptor left".to_owned());
        for _ in 0..TURNED_AWAY_AT_ONCE {
            if spare.0.take().is_none() {
                *spare = Spare::new();
                return;
            }
            // Never waits: the listener is on the event loop.
            let accepted = sys::accept(listener);
            let is_one = accepted.is_ok();
            if let Ok((client, _)) = accepted {
                self.metrics.turned_away.increment();
                closing::turn_away(client, &[], &no_room);
            }
            *spare = Spare::new();
            if !is_one {
                return;
            }
        }
    }
}

/// Linux hands out errors of a connection that died in the queue as errors of accept (accept(2), "Error handling").
fn is_of_one_connection(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    errno.is_some_and(|errno| {
        [
            Errno::CONNABORTED,
            Errno::CONNRESET,
            Errno::CONNREFUSED,
            Errno::INTR,
            Errno::PERM,
            Errno::PROTO,
            Errno::NOPROTOOPT,
            Errno::OPNOTSUPP,
            Errno::NETDOWN,
            Errno::NETUNREACH,
            Errno::HOSTDOWN,
            Errno::HOSTUNREACH,
            Errno::TIMEDOUT,
        ]
        .contains(&errno)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::watch::notices::tests::Heard;
    use tokio::io::AsyncReadExt;

    #[test]
    fn whose_error_it_is() {
        let of_one = |errno: Errno| is_of_one_connection(&errno.into());
        assert!(of_one(Errno::CONNABORTED) && of_one(Errno::HOSTUNREACH));
        assert!(!of_one(Errno::MFILE) && !of_one(Errno::NFILE) && !of_one(Errno::NOMEM));
        assert!(!is_of_one_connection(&io::Error::other("x")));
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_connection_only_and_the_number_is_bounded() {
        let notices = Notices::to(Heard::default());
        let doors = Doors::new(notices, Arc::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let permits = Arc::new(Semaphore::new(1));
        doors
            .open(listener, Arc::clone(&permits), |mut stream, _| async move {
                let byte = stream.read_u8().await.unwrap();
                assert_ne!(byte, b'!', "a panic on purpose");
            })
            .unwrap();
        // Each holds the only permit until it is gone, so the next is served after it alone.
        for byte in [b'!', b'a', b'!', b'b'] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, &[byte]).await.unwrap();
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        }
        let mut last = TcpStream::connect(address).await.unwrap();
        while doors.connections.is_empty() {
            tokio::task::yield_now().await;
        }
        doors.close().await;
        assert!(TcpStream::connect(address).await.is_err());
        // Who was accepted goes on, to its own end or that of the gateway.
        tokio::io::AsyncWriteExt::write_all(&mut last, b"c").await.unwrap();
        assert_eq!(last.read(&mut [0]).await.unwrap(), 0);
        doors.empty().await;
    }
}
