//! One connection, from its first byte to its last: request, lookup, dial, answer, relay.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::Reach;
use crate::gateway::attempt::Attempt;
use crate::gateway::directory::Directory;
use crate::gateway::incoming::{self, Incoming};
use crate::gateway::notices::Notices;
use crate::gateway::relay::Relays;
use crate::gateway::session::{Ending, Sessions};
use crate::gateway::{Terms, closing, dial};
use crate::handshake::answer;
use crate::handshake::request::{Connect, Line, Request};
use crate::refusal::Refusal;
use crate::secret::Token;
use crate::sys;
use crate::target::VpsRef;

/// What every connection needs to know of the gateway.
pub(super) struct Gateway {
    directory: Arc<Directory>,
    sessions: Arc<Sessions>,
    /// The addresses it listens on.
    own: Vec<SocketAddr>,
    tunnels: Arc<Semaphore>,
    terms: Terms,
    relays: Arc<Relays>,
}

/// A way to a VPS, and the right to use it.
struct Way {
    reach: Reach,
    vps: TcpStream,
    permit: OwnedSemaphorePermit,
}

impl Gateway {
    pub(super) fn new(
        directory: Arc<Directory>,
        sessions: Arc<Sessions>,
        own: Vec<SocketAddr>,
        terms: Terms,
        relays: Arc<Relays>,
    ) -> Self {
        let tunnels = Arc::new(Semaphore::new(terms.max_tunnels));
        let free = Arc::clone(&tunnels);
        let used = move || terms.max_tunnels.saturating_sub(free.available_permits()) as u64;
        sessions.records().metrics.limits.show("tunnels", terms.max_tunnels as u64, used);
        Self { directory, own, tunnels, terms, sessions, relays }
    }

    /// Reads again what an admin may have changed.
    pub(super) fn reload(&self, notices: &Notices) {
        self.directory.reload(notices);
    }

    /// Serves `client`, which comes from `address`, until it is gone, or until it has a tunnel.
    pub(super) async fn serve(&self, mut client: TcpStream, address: SocketAddr) {
        // On Linux the listener is tuned instead. It fails only when the client has gone again already.
        if !cfg!(target_os = "linux") && sys::tune(&client).is_err() {
            return;
        }
        let mut attempt = Attempt::new(&self.sessions, address);
        let (address, came) = incoming::read(&mut client, address, self.terms.proxy_protocol).await;
        attempt.comes_from(address);
        let (request, early) = match came {
            Incoming::Request(request, early) => (request, early),
            Incoming::Broken(answer) => {
                attempt.incomplete();
                return closing::answer(client, &answer).await;
            }
            Incoming::Nobody => return,
        };
        attempt.asks(&request);
        let way = match &request {
            Request::Connect(connect) => self.connect(connect, &attempt).await,
            Request::Line(line) => self.line(line, &attempt).await,
        };
        let Way { reach, vps, permit } = match way {
            Ok(way) => way,
            Err(answer) => return closing::answer(client, &answer).await,
        };
        let session = attempt.open(&reach, permit);
        drop(attempt);
        let yes = if matches!(request, Request::Connect(_)) { answer::ESTABLISHED } else { answer::SUCCESS };
        if closing::write(&mut client, yes).await {
            self.relays.carry(client, vps, early, session);
        } else {
            session.close(Ending::ClientLost);
        }
    }

    /// The way that a CONNECT asks for, or the answer that says why there is none.
    async fn connect(&self, connect: &Connect, attempt: &Attempt<'_>) -> Result<Way, Vec<u8>> {
        let vps = match &connect.target {
            Ok(vps) => vps,
            Err(refusal) => {
                attempt.refuse(refusal);
                let host = connect.as_sent.rsplit_once(':').map_or(connect.as_sent.as_str(), |(host, _)| host);
                return Err(answer::refused(refusal, host));
            }
        };
        let way = self.open(vps, connect.token.clone(), attempt).await;
        way.inspect_err(|refusal| attempt.refuse(refusal))
            .map_err(|refusal| answer::refused(&refusal, &vps.to_string()))
    }

    /// The same for the line protocol, which has no token.
    async fn line(&self, line: &Line, attempt: &Attempt<'_>) -> Result<Way, Vec<u8>> {
        let id = line.target.map_err(|text| {
            attempt.refuse(&Refusal::BadRequest(text.to_owned()));
            answer::line_error(text)
        })?;
        let way = self.open(&VpsRef::Id(id), None, attempt).await;
        way.inspect_err(|refusal| attempt.refuse(refusal))
            .map_err(|refusal| answer::line_error(&refusal.line(&line.digits)))
    }

    async fn open(&self, vps: &VpsRef, token: Option<Token>, attempt: &Attempt<'_>) -> Result<Way, Refusal> {
        let reach = self.directory.reach(vps, token, &self.sessions.records().metrics).await?;
        attempt.located(&reach);
        let Ok(permit) = Arc::clone(&self.tunnels).try_acquire_owned() else {
            return Err(Refusal::Limit(format!("it carries no more than {} tunnels at once", self.terms.max_tunnels)));
        };
        let dialled = dial::dial(&reach.host, reach.port, &self.own).await;
        let vps = dialled.map_err(|error| error.refusal(&reach))?;
        sys::tune(&vps).map_err(|error| Refusal::Unreachable(format!("its connection broke at once: {error}")))?;
        Ok(Way { reach, vps, permit })
    }
}
