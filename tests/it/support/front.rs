//! TLS before a server of the tests: each end and each reset of one side becomes that of the other.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::set_socket_linger;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::certificates::{Authority, Issued};
use super::home::set_mode;
use super::peers::{Peer, RefusingPort};

/// The first layer that a client meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Front {
    /// The server itself.
    Plain,
    /// TLS.
    Tls,
    /// TLS that sends each byte in a record of its own.
    Bytes,
    /// TLS that ends without close_notify, as if it was cut off on the way.
    Cut,
}

/// A port with TLS before another port.
pub(crate) struct TlsFront {
    pub(crate) address: SocketAddr,
    /// Bytes that clients have sent inside TLS.
    heard: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

/// The settings of a server with this certificate.
pub(crate) fn server_config(own: &Issued) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    builder.with_single_cert(vec![own.der.clone()], key_of(own)).unwrap()
}

/// The same, for clients with a certificate of this CA that is not one of the `revoked`.
pub(crate) fn strict_config(own: &Issued, clients: &Authority, revoked: &[u64]) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(clients.certificate()).unwrap();
    let list = CertificateRevocationListDer::from_pem_slice(clients.revoke(revoked).as_bytes()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let verifier = verifier.with_crls([list]).build().unwrap();
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    builder.with_client_cert_verifier(verifier).with_single_cert(vec![own.der.clone()], key_of(own)).unwrap()
}

fn key_of(own: &Issued) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap()
}

impl TlsFront {
    /// Before the server at `inner`.
    pub(crate) fn new(inner: SocketAddr, config: ServerConfig, front: Front) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (heard, ends) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let shared = (Arc::clone(&heard), Arc::clone(&ends), Arc::new(config));
        let acceptor = thread::spawn(move || {
            let (heard, ends, config) = shared;
            for outer in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    break;
                }
                let session = ServerConnection::new(Arc::clone(&config)).unwrap();
                let (outer, heard) = (outer.unwrap(), Arc::clone(&heard));
                // The clients and the server end it.
                thread::spawn(move || Pump::run(outer, inner, session, front, &heard));
            }
        });
        Self { address, heard, ends, acceptor: Some(acceptor) }
    }

    /// How many bytes clients have sent inside TLS.
    pub(crate) fn heard(&self) -> usize {
        self.heard.load(Ordering::SeqCst)
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        drop(TcpStream::connect(self.address));
        self.acceptor.take().map(JoinHandle::join);
    }
}

/// A server's address, and the file of the CA for it if it has TLS.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) ca: Option<PathBuf>,
}

impl Place {
    /// The options of a program that connects to it.
    pub(crate) fn words(&self) -> Vec<String> {
        let proxy = |url: String| vec!["--proxy".to_owned(), url];
        match &self.ca {
            None => proxy(self.address.to_string()),
            Some(ca) => {
                [proxy(format!("https://{}", self.address)), vec!["--ca-file".to_owned(), ca.display().to_string()]]
                    .concat()
            }
        }
    }
}

impl From<SocketAddr> for Place {
    fn from(address: SocketAddr) -> Self {
        Self { address, ca: None }
    }
}

impl Peer {
    /// Puts a front before it.
    pub(crate) fn behind(mut self, front: Front) -> Self {
        if let Some(own) = OwnFront::new(self.own, front) {
            self.address = own.tls.address;
            let ca = own.authority.file.clone();
            self.front = Some((Box::new(own), ca));
        }
        self
    }
}

impl From<&Peer> for Place {
    fn from(peer: &Peer) -> Self {
        Self { address: peer.address, ca: peer.front.as_ref().map(|(_, ca)| ca.clone()) }
    }
}

impl RefusingPort {
    /// Where it is.
    pub(crate) fn place(&self) -> Place {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)).into()
    }
}

/// TLS before a peer, and the CA of its certificate.
pub(crate) struct OwnFront {
    pub(crate) tls: TlsFront,
    pub(crate) authority: Authority,
}

impl OwnFront {
    pub(crate) fn new(inner: SocketAddr, front: Front) -> Option<Self> {
        let authority = (front != Front::Plain).then(Authority::new)?;
        // A helper that another user runs reads the CA.
        set_mode(authority.home.path(), 0o711);
        let tls = TlsFront::new(inner, server_config(&authority.server(1)), front);
        Some(Self { tls, authority })
    }
}

/// One connection.
struct Pump {
    outer: TcpStream,
    inner: TcpStream,
    session: ServerConnection,
    front: Front,
    /// Bytes of the client that the server has not taken yet.
    up: Vec<u8>,
    up_ended: bool,
    down_ended: bool,
}

impl Pump {
    /// Serves one client, and ends the other side in the way that one side has ended.
    fn run(mut outer: TcpStream, inner: SocketAddr, mut session: ServerConnection, front: Front, heard: &AtomicUsize) {
        outer.set_nodelay(true).unwrap();
        while session.is_handshaking() {
            if session.complete_io(&mut outer).is_err() {
                return;
            }
        }
        let Ok(inner) = TcpStream::connect(inner) else { return };
        inner.set_nodelay(true).unwrap();
        outer.set_nonblocking(true).unwrap();
        inner.set_nonblocking(true).unwrap();
        session.set_buffer_limit(None);
        let mut pump = Self { outer, inner, session, front, up: Vec::new(), up_ended: false, down_ended: false };
        if pump.carry(heard).is_err() {
            for socket in [&pump.outer, &pump.inner] {
                let _ = set_socket_linger(socket, Some(Duration::ZERO));
            }
        }
    }

    fn carry(&mut self, heard: &AtomicUsize) -> io::Result<()> {
        loop {
            // Bytes that came with the end of the handshake are in the session already.
            self.take_up(heard)?;
            self.give()?;
            if self.up_ended && self.down_ended && self.up.is_empty() && !self.session.wants_write() {
                return Ok(());
            }
            let flags = |is_in: bool, is_out: bool| {
                let part = |is: bool, flag| if is { flag } else { PollFlags::empty() };
                part(is_in, PollFlags::IN) | part(is_out, PollFlags::OUT)
            };
            let outer = flags(!self.up_ended && self.up.is_empty(), self.session.wants_write());
            let inner = flags(!self.down_ended && !self.session.wants_write(), !self.up.is_empty());
            let mut fds = [
                PollFd::from_borrowed_fd(self.outer.as_fd(), outer),
                PollFd::from_borrowed_fd(self.inner.as_fd(), inner),
            ];
            rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
            let [outer, inner] = [fds[0].revents(), fds[1].revents()];
            if outer.contains(PollFlags::IN) {
                self.read_outer()?;
            } else if outer.contains(PollFlags::ERR) {
                return Err(self.outer.take_error()?.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()));
            }
            if inner.contains(PollFlags::IN) {
                self.read_inner()?;
            } else if inner.contains(PollFlags::ERR) {
                return Err(self.inner.take_error()?.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()));
            }
        }
    }

    fn read_outer(&mut self) -> io::Result<()> {
        match self.session.read_tls(&mut self.outer) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        self.session.process_new_packets().map(drop).map_err(io::Error::other)
    }

    /// An end without close_notify is an error.
    fn take_up(&mut self, heard: &AtomicUsize) -> io::Result<()> {
        let mut bytes = [0; 16 * 1024];
        while !self.up_ended {
            match self.session.reader().read(&mut bytes) {
                Ok(0) => self.up_ended = true,
                Ok(read) => {
                    heard.fetch_add(read, Ordering::SeqCst);
                    self.up.extend_from_slice(&bytes[..read]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read_inner(&mut self) -> io::Result<()> {
        let mut bytes = [0; 16 * 1024];
        match self.inner.read(&mut bytes) {
            Ok(0) => {
                self.down_ended = true;
                if self.front != Front::Cut {
                    self.session.send_close_notify();
                }
                Ok(())
            }
            Ok(read) => {
                let size = if self.front == Front::Bytes { 1 } else { read };
                bytes[..read].chunks(size).try_for_each(|record| self.session.writer().write_all(record))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn give(&mut self) -> io::Result<()> {
        let waits = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.outer) {
                Ok(_) => {}
                Err(error) if waits(&error) => break,
                Err(error) => return Err(error),
            }
        }
        if self.down_ended && !self.session.wants_write() {
            let _ = self.outer.shutdown(Shutdown::Write);
        }
        while !self.up.is_empty() {
            match self.inner.write(&self.up) {
                Ok(written) => drop(self.up.drain(..written)),
                Err(error) if waits(&error) => break,
                Err(error) => return Err(error),
            }
        }
        if self.up_ended && self.up.is_empty() {
            let _ = self.inner.shutdown(Shutdown::Write);
        }
        Ok(())
    }
}
