//! The contract of a carrier, for the real one and for one with a layer in between.

use super::*;
use crate::tls::Fault;
use crate::tls::tests::Authority;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

/// A carrier that can't leave bytes in its socket: it reads ahead and gives out a few bytes at a time.
///
/// So its descriptor is silent while bytes are left, as below TLS, and no read fills a buffer.
pub(crate) struct ReadAhead {
    socket: TcpStream,
    held: std::collections::VecDeque<u8>,
}

/// Most bytes of one read: no answer's head fits in.
const PIECE: usize = 1000;

impl ReadAhead {
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self { socket, held: std::collections::VecDeque::new() }
    }
}

impl AsFd for ReadAhead {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Carrier for ReadAhead {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.held.is_empty() {
            let mut ahead = [0; 64 * 1024];
            let bytes = self.socket.read(&mut ahead)?;
            self.held.extend(&ahead[..bytes]);
        }
        let most = buffer.len().min(PIECE);
        self.held.read(&mut buffer[..most])
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.send(&bytes[..bytes.len().min(PIECE)])
    }

    fn end_writing(&mut self) -> io::Result<()> {
        self.socket.end_writing()
    }
}

/// A carrier that is no bare socket, and reads and writes as a test wants it to.
pub(crate) struct Scripted<R, W> {
    pub(crate) socket: TcpStream,
    pub(crate) receive: R,
    pub(crate) send: W,
}

impl<R, W> AsFd for Scripted<R, W> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<R, W> Carrier for Scripted<R, W>
where
    R: FnMut(&mut TcpStream, &mut [u8]) -> io::Result<usize> + Send + 'static,
    W: FnMut(&mut TcpStream, &[u8]) -> io::Result<usize> + Send + 'static,
{
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (self.receive)(&mut self.socket, buffer)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.send)(&mut self.socket, bytes)
    }

    fn end_writing(&mut self) -> io::Result<()> {
        self.socket.end_writing()
    }
}

/// A connection: our end, which doesn't wait, and the peer's.
pub(crate) fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    ours.set_nonblocking(true).unwrap();
    let (peer, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(LIMIT)).unwrap();
    (ours, peer)
}

/// Waits until so many bytes have arrived that nobody has read yet. A reset that is sent before that can overtake them.
pub(crate) fn until_arrived(socket: &TcpStream, bytes: usize) {
    let (deadline, mut seen) = (Instant::now() + LIMIT, vec![0; bytes]);
    while sys::peek(socket.as_fd(), &mut seen).unwrap_or(0) < bytes {
        assert!(Instant::now() < deadline, "{bytes} bytes do not arrive");
        std::thread::yield_now();
    }
}

/// The calling thread, for [`is_idle`].
#[cfg(target_os = "linux")]
pub(crate) fn this_thread() -> String {
    rustix::thread::gettid().as_raw_nonzero().to_string()
}

/// Whether a thread takes next to no processor time. Compared with this one, which calculates meanwhile: a thread that
/// spins gets about as much.
#[cfg(target_os = "linux")]
pub(crate) fn is_idle(thread: &str) -> bool {
    /// In nanoseconds.
    const CALCULATED: u64 = 200_000_000;
    let taken = |thread: &str| -> u64 {
        let schedstat = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap();
        schedstat.split_whitespace().next().unwrap().parse().unwrap()
    };
    let own = this_thread();
    let (before, own_before) = (taken(thread), taken(&own));
    while taken(&own) - own_before < CALCULATED {
        std::hint::black_box((0..10_000).sum::<u64>());
    }
    taken(thread) - before < CALCULATED / 10
}

/// Waits as the contract says, then calls again.
pub(super) fn until_done<T>(
    carrier: &mut dyn Carrier,
    wanted: PollFlags,
    mut call: impl FnMut(&mut dyn Carrier) -> io::Result<T>,
) -> io::Result<T> {
    loop {
        match call(carrier) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut entries = [sys::entry(carrier.as_fd(), carrier.waits_for(wanted))];
                assert!(sys::poll(&mut entries, Some(Instant::now() + LIMIT)).unwrap(), "never ready");
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// A carrier as a peer that waits.
pub(crate) struct Waiting(pub(crate) Box<dyn Carrier>);

impl Read for Waiting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        until_done(&mut *self.0, PollFlags::IN, |carrier| carrier.receive(buffer))
    }
}

impl Write for Waiting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        until_done(&mut *self.0, PollFlags::OUT, |carrier| carrier.send(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        until_done(&mut *self.0, PollFlags::OUT, |carrier| {
            carrier.flush()?;
            if carrier.waits_for(PollFlags::empty()).is_empty() {
                Ok(())
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            }
        })
    }
}

fn keeps_the_contract(make: fn(TcpStream, TcpStream) -> [Box<dyn Carrier>; 2]) {
    let (ours, theirs) = connection();
    theirs.set_nonblocking(true).unwrap();
    let [mut carrier, peer] = make(ours, theirs);
    let mut peer = Waiting(peer);
    assert_eq!(carrier.receive(&mut [0; 10]).unwrap_err().kind(), io::ErrorKind::WouldBlock);

    let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let sent = bytes.clone();
    let echo = std::thread::spawn(move || {
        peer.write_all(&sent).unwrap();
        peer.flush().unwrap();
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).unwrap();
        // The end of our stream is not the end of the peer's.
        peer.write_all(b"the reply").unwrap();
        peer.flush().unwrap();
        heard
    });
    let mut received = Vec::new();
    let mut buffer = [0; 5000];
    while received.len() < bytes.len() {
        let read = until_done(&mut *carrier, PollFlags::IN, |carrier| carrier.receive(&mut buffer)).unwrap();
        received.extend_from_slice(&buffer[..read]);
    }
    assert!(received == bytes);
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        rest = &rest[until_done(&mut *carrier, PollFlags::OUT, |carrier| carrier.send(rest)).unwrap()..];
    }
    carrier.end_writing().unwrap();
    let mut reply = Vec::new();
    loop {
        match until_done(&mut *carrier, PollFlags::IN, |carrier| carrier.receive(&mut buffer)).unwrap() {
            0 => break,
            read => reply.extend_from_slice(&buffer[..read]),
        }
    }
    assert_eq!(reply, b"the reply");
    assert!(echo.join().unwrap() == bytes);
    assert_eq!(carrier.send(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe, "and no SIGPIPE");
}

#[test]
fn every_carrier_keeps_the_contract() {
    keeps_the_contract(|ours, theirs| [Box::new(ours), Box::new(theirs)]);
    keeps_the_contract(|ours, theirs| [Box::new(ReadAhead::new(ours)), Box::new(theirs)]);
    keeps_the_contract(|ours, theirs| {
        let (ours, theirs) = secured(ours, theirs);
        [Box::new(ours), Box::new(theirs)]
    });
    keeps_the_contract(|ours, theirs| {
        let (ours, theirs) = secured(ours, theirs);
        [Box::new(theirs), Box::new(ours)]
    });
    // As through a proxy with TLS.
    keeps_the_contract(|ours, theirs| {
        let (ours, theirs) = secured(ours, theirs);
        let (ours, theirs) = secured(ours, theirs);
        [Box::new(ours), Box::new(theirs)]
    });
}

/// Both ends with TLS on top, after their handshake.
pub(crate) fn secured<C: Carrier, S: Carrier>(client: C, server: S) -> (Tls<C>, Tls<S>) {
    let authority = Authority::new();
    let mut client = Tls::client(client, &authority.client(), "gpu.example").unwrap();
    let mut server = Tls::server(server, authority.session(&["gpu.example"]), Vec::new());
    shake_hands(&mut client, &mut server);
    (client, server)
}

/// The handshake of two ends with each other.
pub(crate) fn shake_hands<C: Carrier, S: Carrier>(client: &mut Tls<C>, server: &mut Tls<S>) {
    let deadline = Instant::now() + LIMIT;
    let (mut is_client_done, mut is_server_done) = (false, false);
    while !(is_client_done && is_server_done) {
        is_client_done |= has_shaken_hands(client);
        is_server_done |= has_shaken_hands(server);
        assert!(Instant::now() < deadline, "the handshake does not end");
    }
    // The server's tickets have arrived.
    while client.session().wants_read()
        && matches!(client.receive(&mut [0]), Err(error) if error.kind() != io::ErrorKind::WouldBlock)
    {}
}

fn has_shaken_hands<C: Carrier>(end: &mut Tls<C>) -> bool {
    match end.handshake() {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    }
}

pub(super) fn fault(result: io::Result<usize>) -> Fault {
    let error = result.unwrap_err();
    Fault::of(&error).unwrap_or_else(|| panic!("{error}")).clone()
}

#[test]
fn an_end_without_close_notify_is_a_broken_connection() {
    for (is_cut, is_reset) in [(true, false), (false, false), (false, true)] {
        let (ours, theirs) = connection();
        theirs.set_nonblocking(true).unwrap();
        let (mut ours, mut theirs) = secured(ours, theirs);
        if is_cut {
            rustix::net::shutdown(&theirs, rustix::net::Shutdown::Write).unwrap();
        } else if is_reset {
            theirs.reset_on_close();
            drop(theirs);
        } else {
            // Closed in order, though its stream was not ended before.
            drop(theirs);
        }
        let read = until_done(&mut ours, PollFlags::IN, |carrier| carrier.receive(&mut [0]));
        match (is_cut, is_reset) {
            (true, _) => assert_eq!(fault(read), Fault::CutOff),
            (_, true) => assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset),
            _ => assert_eq!(read.unwrap(), 0),
        }
    }
}

#[test]
fn a_server_without_tls_is_told_by_its_first_line() {
    let (ours, mut theirs) = connection();
    let mut client = Tls::client(ours, &Authority::new().client(), "gpu.example").unwrap();
    theirs.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap();
    let result = loop {
        match client.handshake() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => break result,
        }
    };
    assert_eq!(fault(result.map(|()| 0)), Fault::NotTls("SSH-2.0-OpenSSH_9.2".into()));
}

#[test]
fn a_tcp_stream_is_a_bare_socket_and_leaves_what_is_peeked_at() {
    let (mut carrier, mut peer) = connection();
    peer.write_all(b"left").unwrap();
    drop(peer);
    let mut seen = [0; 10];
    let socket = carrier.bare_socket().unwrap();
    sys::poll(&mut [sys::entry(socket, PollFlags::IN)], None).unwrap();
    assert_eq!(sys::peek(socket, &mut seen).unwrap(), 4);
    let mut taken = [0; 10];
    assert_eq!(carrier.receive(&mut taken).unwrap(), 4);
    assert_eq!((&seen[..4], &taken[..4]), (&b"left"[..], &b"left"[..]));
    assert!(ReadAhead::new(carrier).bare_socket().is_none());
}

/// Records can hold nothing for their reader, and a peer can send them without end.
#[test]
fn one_call_reads_a_bounded_part_of_what_holds_nothing_for_the_caller() {
    let (ours, theirs) = connection();
    theirs.set_nonblocking(true).unwrap();
    let (arrives, reads) = (ours.try_clone().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&reads);
    // A byte at a time.
    let slow = Scripted {
        socket: ours,
        receive: move |socket: &mut TcpStream, buffer: &mut [u8]| {
            counted.fetch_add(1, Ordering::Relaxed);
            socket.receive(&mut buffer[..1])
        },
        send: TcpStream::send,
    };
    let (mut slow, mut theirs) = secured(slow, theirs);
    assert_eq!(theirs.send(&[7; 1000]).unwrap(), 1000);
    until_arrived(&arrives, 1000);
    reads.store(0, Ordering::Relaxed);
    assert_eq!(slow.receive(&mut [0; 1000]).unwrap_err().kind(), io::ErrorKind::Interrupted);
    assert!((1..100).contains(&reads.load(Ordering::Relaxed)));
    assert_eq!(until_done(&mut slow, PollFlags::IN, |carrier| carrier.receive(&mut [0; 1000])).unwrap(), 1000);
}

/// A peer that always has something ready must not keep the thread from all others.
#[cfg(any(feature = "cli", feature = "gateway"))]
#[tokio::test]
async fn a_carrier_that_is_always_ready_lets_other_tasks_run() {
    use tokio::io::AsyncReadExt as _;
    for interrupts in [true, false] {
        let endless = Scripted {
            socket: connection().0,
            receive: move |_: &mut TcpStream, _: &mut [u8]| {
                if interrupts { Err(io::ErrorKind::Interrupted.into()) } else { Ok(1) }
            },
            send: TcpStream::send,
        };
        let mut stream = Asynchronous::new(endless).unwrap();
        let reads = async { while stream.read(&mut [0]).await.is_ok() {} };
        assert!(tokio::time::timeout(Duration::from_millis(20), reads).await.is_err());
    }
}

/// The result of one poll of a future, which may be polled again.
#[cfg(any(feature = "cli", feature = "gateway"))]
async fn polled<F: Future>(future: &mut std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context))).await
}

/// The event loop believes that a socket is ready until it is told otherwise.
#[cfg(any(feature = "cli", feature = "gateway"))]
#[tokio::test]
async fn a_reader_without_bytes_waits_instead_of_trying_again_and_again() {
    use std::pin::pin;
    use tokio::io::AsyncReadExt as _;
    let ((ours, mut peer), tries) = (connection(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&tries);
    let receive = move |socket: &mut TcpStream, buffer: &mut [u8]| {
        counted.fetch_add(1, Ordering::Relaxed);
        socket.receive(buffer)
    };
    let mut stream = Asynchronous::new(Scripted { socket: ours, receive, send: TcpStream::send }).unwrap();
    let mut byte = [0];
    for _ in 0..2 {
        tries.store(0, Ordering::Relaxed);
        assert!(polled(&mut pin!(stream.read(&mut byte))).await.is_pending());
        assert!((1..10).contains(&tries.load(Ordering::Relaxed)), "{tries:?} tries");
        // The event loop learns of the byte before the reader does.
        let (read, ()) = tokio::join!(stream.read(&mut byte), async { peer.write_all(b"x").unwrap() });
        assert_eq!(read.unwrap(), 1);
    }
}

#[cfg(any(feature = "cli", feature = "gateway"))]
#[tokio::test]
async fn a_flush_ends_once_everything_that_a_layer_holds_is_sent() {
    use std::pin::pin;
    use std::sync::atomic::AtomicBool;
    use tokio::io::AsyncWriteExt as _;
    let ((ours, theirs), is_full) = (connection(), Arc::new(AtomicBool::new(false)));
    theirs.set_nonblocking(true).unwrap();
    let fills = Arc::clone(&is_full);
    let send = move |socket: &mut TcpStream, bytes: &[u8]| {
        if fills.load(Ordering::Relaxed) { Err(io::ErrorKind::WouldBlock.into()) } else { socket.send(bytes) }
    };
    let (ours, theirs) = secured(Scripted { socket: ours, receive: TcpStream::receive, send }, theirs);
    let mut stream = Asynchronous::new(ours).unwrap();
    is_full.store(true, Ordering::Relaxed);
    stream.write_all(b"held").await.unwrap();
    let mut flush = pin!(stream.flush());
    assert!(polled(&mut flush).await.is_pending());
    is_full.store(false, Ordering::Relaxed);
    flush.await.unwrap();
    let mut heard = [0; 4];
    Waiting(Box::new(theirs)).read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"held");
}

/// A task that has used its share has to come again, and a socket whose two streams have ended can't be ended once more.
#[tokio::test]
async fn an_end_is_sent_once_though_a_task_has_to_come_again_for_it() {
    use std::pin::Pin;
    use std::task::Poll;
    use tokio::io::AsyncWrite as _;
    use tokio::task::coop;

    let (socket, peer) = connection();
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(sys::poll(&mut [sys::entry(socket.as_fd(), PollFlags::IN)], Some(Instant::now() + LIMIT)).unwrap());
    let mut stream = Asynchronous::new(socket).unwrap();
    let mut is_first = true;
    std::future::poll_fn(|context| {
        let is_tired = std::mem::take(&mut is_first);
        while is_tired && let Poll::Ready(share) = coop::poll_proceed(context) {
            share.made_progress();
        }
        let ended = Pin::new(&mut stream).poll_shutdown(context);
        assert_eq!(ended.is_pending(), is_tired);
        ended
    })
    .await
    .unwrap();
    assert_eq!((&peer).read(&mut [0]).unwrap(), 0);
}
