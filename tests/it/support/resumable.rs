//! A client of resumable tunnels that writes its heads itself, and no frame that nobody asks for.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};

use kohakuriver_proxy::handshake::connect::{self, Answer, Login};
use kohakuriver_proxy::handshake::resume::{Answered, Asked};
use kohakuriver_proxy::handshake::{MAX_HEAD, Step};
use kohakuriver_proxy::resume::{Exchange, Key, SessionId};
use kohakuriver_proxy::secret::Token;

use super::watched::send;

/// A session with its last connection.
pub(crate) struct Session {
    pub(crate) address: SocketAddr,
    pub(crate) target: String,
    pub(crate) token: Option<Token>,
    pub(crate) id: SessionId,
    pub(crate) key: Key,
    /// How long it lives without a connection, in seconds.
    pub(crate) keep: u64,
    pub(crate) stream: TcpStream,
}

impl Session {
    /// Opens a tunnel, which must be resumable.
    pub(crate) fn open(address: SocketAddr, target: &str, token: Option<&str>) -> Self {
        let (exchange, token) = (Exchange::new().unwrap(), token.map(|token| Token::new(token).unwrap()));
        let asked = Asked::New(exchange.public());
        let (answer, stream) = ask(address, &connect::request(target, token.as_ref().map(Login::Bearer), Some(asked)));
        let Answer::Established(Some(Answered::New { id, key, keep, .. })) = answer else { panic!("{answer:?}") };
        let key = exchange.with_gateway(&key, id).unwrap();
        Self { address, target: target.to_owned(), token, id, key, keep, stream }
    }

    /// The head of try number `n` to continue from `delivered`.
    pub(crate) fn head(&self, n: u64, delivered: u64) -> Vec<u8> {
        self.head_with(Asked::to_continue(self.id, &self.key, n, delivered))
    }

    /// A head that asks for something else.
    pub(crate) fn head_with(&self, asked: Asked) -> Vec<u8> {
        connect::request(&self.target, self.token.as_ref().map(Login::Bearer), Some(asked))
    }

    /// The connection over which the session goes on.
    #[track_caller]
    pub(crate) fn continued(&self, n: u64, delivered: u64) -> TcpStream {
        let (answer, stream) = self.resume(n, delivered);
        assert!(matches!(answer, Answer::Established(Some(Answered::Continued(_)))), "try {n}: {answer:?}");
        stream
    }

    /// The answer to that try, and its connection.
    pub(crate) fn resume(&self, n: u64, delivered: u64) -> (Answer, TcpStream) {
        ask(self.address, &self.head(n, delivered))
    }
}

/// Sends a head, and reads the head of the answer and nothing behind it.
pub(crate) fn ask(address: SocketAddr, head: &[u8]) -> (Answer, TcpStream) {
    let mut stream = send(address, head);
    let mut answer = Vec::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.extend(byte);
        assert!(answer.len() <= MAX_HEAD);
        if let Step::Done(answer, _) = connect::read(&answer) {
            return (answer, stream);
        }
    }
}

/// The content of the next DATA frame. Others before it are passed over.
pub(crate) fn next_data(stream: &mut TcpStream) -> Vec<u8> {
    loop {
        let mut header = [0; 4];
        stream.read_exact(&mut header).unwrap();
        let [kind, length @ ..] = header;
        let mut content = vec![0; u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize];
        stream.read_exact(&mut content).unwrap();
        if kind == 0 {
            return content;
        }
    }
}
