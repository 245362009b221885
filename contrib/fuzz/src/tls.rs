//! TLS: a message between both ends, its records damaged on the way, and a stranger's bytes in place of records.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::UnbufferedServerConnection;

use super::request::same as same_request;
use super::{Message, answer};
use kohakuriver_proxy::carrier::{Carrier, Tls};
use kohakuriver_proxy::dial::Watch;
use kohakuriver_proxy::handshake::request::{self, MaxSize};
use kohakuriver_proxy::handshake::{Step, connect};
use kohakuriver_proxy::route::{ExchangeError, exchange};
use kohakuriver_proxy::settings::{Pins, Trust};
use kohakuriver_proxy::sys::{AsFd, BorrowedFd};
use kohakuriver_proxy::tls::{ALPN, ClientConfig, hash_of_key, provider};

const HOST: &str = "gpu.example";

/// A server with a certificate of its own, and a client that knows its key.
static ENDS: LazyLock<(Arc<ServerConfig>, ClientConfig)> = LazyLock::new(|| {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![HOST.to_owned()]).unwrap().self_signed(&key).unwrap();
    let pins = Pins::of_hash(&hash_of_key(certificate.der()).unwrap());
    let client = ClientConfig::load(&Trust { pins: Some(pins), ..Trust::default() }).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    server.alpn_protocols = vec![ALPN.to_vec()];
    (Arc::new(server), client)
});

/// A carrier has a descriptor. Nobody waits for this one, since all bytes are there before they are read.
static DESCRIPTOR: LazyLock<UdpSocket> = LazyLock::new(|| UdpSocket::bind("127.0.0.1:0").unwrap());

/// The bytes on their way in one direction.
#[derive(Default)]
struct Way {
    bytes: VecDeque<u8>,
    is_ended: bool,
}

type SharedWay = Arc<Mutex<Way>>;

/// A carrier in memory.
struct Memory {
    incoming: SharedWay,
    outgoing: SharedWay,
}

impl AsFd for Memory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        DESCRIPTOR.as_fd()
    }
}

impl Carrier for Memory {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut way = self.incoming.lock().unwrap();
        if way.bytes.is_empty() && !way.is_ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        io::Read::read(&mut way.bytes, buffer)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.lock().unwrap().bytes.extend(bytes);
        Ok(bytes.len())
    }

    fn end_writing(&mut self) -> io::Result<()> {
        self.outgoing.lock().unwrap().is_ended = true;
        Ok(())
    }
}

/// Both ends of a connection, and the ways between them.
struct Pair {
    client: Tls<Memory>,
    server: Tls<Memory>,
    to_client: SharedWay,
    to_server: SharedWay,
}

impl Pair {
    /// Before the handshake.
    fn new() -> Self {
        let (to_client, to_server) = (SharedWay::default(), SharedWay::default());
        let below = |incoming: &SharedWay, outgoing: &SharedWay| Memory {
            incoming: Arc::clone(incoming),
            outgoing: Arc::clone(outgoing),
        };
        let session = UnbufferedServerConnection::new(Arc::clone(&ENDS.0)).unwrap();
        Self {
            client: Tls::client(below(&to_client, &to_server), &ENDS.1, HOST).unwrap(),
            server: Tls::server(below(&to_server, &to_client), session, Vec::new()),
            to_client,
            to_server,
        }
    }

    /// After the handshake.
    fn connected() -> Self {
        let mut pair = Self::new();
        for _ in 0..3 {
            for end in [&mut pair.client, &mut pair.server] {
                if let Err(error) = end.handshake() {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                }
            }
        }
        assert!(!pair.client.session().is_handshaking() && !pair.server.session().is_handshaking());
        pair
    }
}

/// Carries `data` through TLS, undamaged and damaged.
pub fn run(data: &[u8]) {
    let Some(message) = Message::new(data) else { return };
    arrives_at_the_server(&message);
    is_an_answer(&message);
    is_a_request(&message);
    is_damaged(&message);
    is_a_record(&message);
}

fn send(end: &mut Tls<Memory>, message: &Message) {
    for mut piece in [&message.bytes[..message.cut], &message.bytes[message.cut..]] {
        while !piece.is_empty() {
            piece = &piece[end.send(piece).unwrap()..];
        }
    }
}

/// All that can be read, and how it ends.
fn rest(end: &mut Tls<Memory>) -> (Vec<u8>, io::Result<()>) {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 1000]);
    loop {
        match end.receive(&mut buffer) {
            Ok(0) => return (bytes, Ok(())),
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (bytes, Err(error)),
        }
    }
}

/// No byte is lost or added, and the end is an end.
fn arrives_at_the_server(message: &Message) {
    let mut pair = Pair::connected();
    send(&mut pair.client, message);
    pair.client.end_writing().unwrap();
    let (bytes, end) = rest(&mut pair.server);
    assert!(bytes == message.bytes && end.is_ok(), "{} of {} bytes, {end:?}", bytes.len(), message.bytes.len());
}

/// The answer is what it is without TLS, and every byte behind it is still there.
fn is_an_answer(message: &Message) {
    let mut pair = Pair::connected();
    send(&mut pair.server, message);
    pair.server.end_writing().unwrap();
    let watch = Watch { ssh: None, signal: None, deadline: Instant::now() + Duration::from_secs(60), beside: None };
    match (exchange(&mut pair.client, b"CONNECT", connect::read, watch), connect::read(&message.bytes)) {
        (Err(ExchangeError::ClosedEarly | ExchangeError::CutOff), Step::Incomplete) => {}
        (Ok((answer, mut stream)), Step::Done(of_whole, end)) => {
            assert!(answer::same_answer(&answer, &of_whole), "{answer:?}, {of_whole:?}");
            let (more, closed) = rest(&mut pair.client);
            stream.extend(more);
            // A text that is cut off may be shorter.
            assert!(message.bytes.ends_with(&stream) && message.bytes.len() - stream.len() <= end && closed.is_ok());
        }
        (over_tls, plain) => panic!("{over_tls:?} over TLS, {plain:?} without"),
    }
}

/// The request is what it is without TLS, however the records and the reads split it, and every byte behind it is still
/// there.
fn is_a_request(message: &Message) {
    let mut pair = Pair::connected();
    send(&mut pair.client, message);
    pair.client.end_writing().unwrap();
    let read = |bytes: &[u8]| request::read(bytes, MaxSize::DEFAULT, &["gpu-head".to_owned()]);
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; message.cut.clamp(16, 1000)]);
    let over_tls = loop {
        match read(&bytes) {
            Step::Incomplete => {}
            done => break done,
        }
        match pair.server.receive(&mut buffer) {
            Ok(0) => break Step::Incomplete,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}"),
        }
    };
    match (over_tls, read(&message.bytes)) {
        (Step::Incomplete, Step::Incomplete) => assert!(bytes == message.bytes),
        (Step::Done(over_tls, eaten), Step::Done(plain, of_whole)) => {
            assert!(same_request(&over_tls, &plain) && eaten <= of_whole, "{over_tls:?} over TLS, {plain:?} without");
            let (more, end) = rest(&mut pair.server);
            bytes.extend(more);
            assert!(bytes == message.bytes && end.is_ok(), "{} of {} bytes", bytes.len(), message.bytes.len());
        }
        (over_tls, plain) => panic!("{over_tls:?} over TLS, {plain:?} without"),
    }
}

/// Damage, and an end without close_notify, cost the rest of the message, and are no end of it.
fn is_damaged(message: &Message) {
    for is_cut in [true, false] {
        let mut pair = Pair::connected();
        send(&mut pair.server, message);
        {
            let mut way = pair.to_client.lock().unwrap();
            let at = message.cut * way.bytes.len() / (message.bytes.len() + 1);
            match is_cut {
                true => way.bytes.truncate(at),
                false => way.bytes[at] ^= 1 << (message.cut % 8),
            }
            way.is_ended = true;
        }
        let (bytes, end) = rest(&mut pair.client);
        assert!(message.bytes.starts_with(&bytes) && end.is_err(), "{} bytes, {end:?}", bytes.len());
    }
}

/// What is no record of the other end never becomes plaintext, the end of a direction or a handshake.
fn is_a_record(message: &Message) {
    let strangers = |way: &SharedWay| {
        let mut way = way.lock().unwrap();
        way.bytes.extend(&message.bytes);
        way.is_ended = true;
    };
    let mut pair = Pair::connected();
    strangers(&pair.to_client);
    strangers(&pair.to_server);
    for end in [&mut pair.client, &mut pair.server] {
        let (bytes, end) = rest(end);
        assert!(bytes.is_empty() && end.is_err(), "{} bytes, {end:?}", bytes.len());
    }
    let mut pair = Pair::new();
    strangers(&pair.to_client);
    strangers(&pair.to_server);
    for end in [&mut pair.client, &mut pair.server] {
        assert!(end.handshake().is_err_and(|error| error.kind() != ErrorKind::WouldBlock));
    }
}
