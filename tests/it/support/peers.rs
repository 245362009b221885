//! Peers that do what real parts can't be made to do: proxies that answer as a test wants, ports that refuse or never
//! answer, and small servers behind a tunnel.

use std::any::Any;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with};

/// How long a peer waits for the other side's bytes before it counts as hung.
pub(crate) const PEER_TIMEOUT: Duration = Duration::from_secs(30);

/// A server on a free port that hands each connection to a closure, in a thread of its own. What goes wrong in the
/// closure fails the test: call [`Peer::finish`], or let it be dropped.
pub(crate) struct Peer {
    /// Its own address, or that of its front.
    pub(crate) address: SocketAddr,
    pub(super) own: SocketAddr,
    /// The front before the server, and the file of the front's CA.
    pub(super) front: Option<(Box<dyn Any + Send>, PathBuf)>,
    accepted: Arc<AtomicUsize>,
    errors: Arc<Mutex<Vec<String>>>,
    ends: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

/// The result of a [`Peer`]'s closure: an error fails the test.
pub(crate) type Served = anyhow::Result<()>;

impl Peer {
    pub(crate) fn serve(handler: impl Fn(TcpStream) -> Served + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let errors = Arc::new(Mutex::new(Vec::new()));
        let ends = Arc::new(AtomicBool::new(false));
        let handler = Arc::new(handler);
        let shared = (Arc::clone(&accepted), Arc::clone(&errors), Arc::clone(&ends));
        let acceptor = thread::spawn(move || {
            let (accepted, errors, ends) = shared;
            let mut workers = Vec::new();
            for stream in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    break;
                }
                let stream = stream.unwrap();
                accepted.fetch_add(1, Ordering::SeqCst);
                stream.set_read_timeout(Some(PEER_TIMEOUT)).unwrap();
                stream.set_nodelay(true).unwrap();
                let (handler, errors) = (Arc::clone(&handler), Arc::clone(&errors));
                workers.push(thread::spawn(move || match catch_unwind(AssertUnwindSafe(|| handler(stream))) {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => errors.lock().unwrap().push(format!("{error:#}")),
                    Err(_) => errors.lock().unwrap().push("it panicked; the message is above".to_owned()),
                }));
            }
            workers.into_iter().for_each(|worker| drop(worker.join()));
        });
        Self { address, own: address, front: None, accepted, errors, ends, acceptor: Some(acceptor) }
    }

    /// How many connections have come in.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Waits for the connections that are still open, and fails the test when one of them went wrong.
    #[track_caller]
    pub(crate) fn finish(mut self) {
        self.stop();
        self.report();
    }

    fn stop(&mut self) {
        if let Some(acceptor) = self.acceptor.take() {
            self.ends.store(true, Ordering::SeqCst);
            // Wakes the acceptor.
            drop(TcpStream::connect(self.own));
            drop(acceptor.join());
        }
    }

    #[track_caller]
    fn report(&self) {
        let errors = self.errors.lock().unwrap();
        assert!(errors.is_empty(), "a peer of the test went wrong: {}", errors.join("; "));
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if self.acceptor.is_some() && !thread::panicking() {
            self.stop();
            self.report();
        }
    }
}

/// Reads a request head to its empty line, a byte at a time, so that nothing behind it is taken.
pub(crate) fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// The next bytes must be these.
#[track_caller]
pub(crate) fn hears(from: &mut impl Read, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    from.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

/// The echo server at `port` of this machine answers.
pub(crate) fn echoes(port: u16) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(PEER_TIMEOUT)).unwrap();
    stream.write_all(b"forwarded").unwrap();
    hears(&mut stream, b"forwarded");
}

/// The text that a [`greeter`] sends.
pub(crate) const GREETING: &str = "SSH-2.0-Greeter\r\n";

/// A VPS that sends its greeting and ends its stream.
pub(crate) fn greeter() -> Peer {
    Peer::serve(|mut stream| {
        stream.write_all(GREETING.as_bytes())?;
        // The client may have reset the connection.
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
        Ok(())
    })
}

/// Says nothing until the client has gone.
pub(crate) fn silence(mut stream: TcpStream) -> Served {
    io::copy(&mut stream, &mut io::sink())?;
    Ok(())
}

/// A server that says nothing until its client has gone.
pub(crate) fn silent() -> Peer {
    Peer::serve(silence)
}

fn echo(mut stream: TcpStream) -> Served {
    let mut back = stream.try_clone()?;
    io::copy(&mut stream, &mut back)?;
    back.shutdown(Shutdown::Write)?;
    Ok(())
}

/// Sends back whatever comes, to the end.
pub(crate) fn echo_server() -> Peer {
    Peer::serve(echo)
}

/// The same, however long nothing comes.
pub(crate) fn lasting_echo_server() -> Peer {
    Peer::serve(|stream| {
        stream.set_read_timeout(None)?;
        echo(stream)
    })
}

/// The same for clients that may vanish.
pub(crate) fn patient_echo_server() -> Peer {
    Peer::serve(|mut stream| {
        let mut back = stream.try_clone()?;
        let _ = io::copy(&mut stream, &mut back).and_then(|_| back.shutdown(Shutdown::Write));
        Ok(())
    })
}

/// A request as [`http_server`]'s closure sees it.
pub(crate) struct Asked {
    pub(crate) path: String,
    /// The value of `Authorization`, or nothing.
    pub(crate) authorization: String,
}

/// An HTTP server that answers each request with a status, a content type and a body; each connection carries one.
pub(crate) fn http_server(answer: impl Fn(&Asked) -> (u16, &'static str, String) + Send + Sync + 'static) -> Peer {
    Peer::serve(move |mut stream| {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let mut authorization = String::new();
        for line in lines {
            let line = line?;
            if line.is_empty() {
                break;
            }
            if let Some(("authorization", value)) = line.to_ascii_lowercase().split_once(':') {
                authorization = line[line.len() - value.len()..].trim().to_owned();
            }
        }
        let Some(path) = first.split(' ').nth(1) else { return Ok(()) };
        let (status, kind, body) = answer(&Asked { path: path.to_owned(), authorization });
        let head = format!(
            "HTTP/1.1 {status} Answer\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes())?;
        Ok(())
    })
}

/// A port that refuses connections, and that no other program can take meanwhile: bound, but not listening.
pub(crate) struct RefusingPort {
    pub(crate) port: u16,
    socket: OwnedFd,
}

impl RefusingPort {
    pub(crate) fn new() -> Self {
        let (socket, port) = bound();
        Self { port, socket }
    }

    /// Refuses no connection from now on.
    pub(crate) fn listen(self) -> TcpListener {
        listen(&self.socket, 16).unwrap();
        self.socket.into()
    }
}

/// A port that never answers a connection attempt: its queue is full, so the kernel drops what comes.
pub(crate) struct MutePort {
    pub(crate) port: u16,
    _socket: OwnedFd,
    _queue: Vec<TcpStream>,
}

impl MutePort {
    pub(crate) fn new() -> Self {
        let (socket, port) = bound();
        listen(&socket, 0).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            queue.push(stream);
            assert!(queue.len() < 64, "the queue of a port with backlog 0 has no end");
        }
        Self { port, _socket: socket, _queue: queue }
    }
}

fn bound() -> (OwnedFd, u16) {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = SocketAddr::try_from(getsockname(&socket).unwrap()).unwrap();
    (socket, address.port())
}
