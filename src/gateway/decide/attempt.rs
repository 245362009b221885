//! A client's way from its connection to a yes or a no, counted and noted at every step.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use tracing::debug;

use crate::api::Reach;
use crate::gateway::carry::session::{Facts, OpenSession, Protocol, Sessions};
use crate::gateway::front::incoming::Broken;
use crate::gateway::limits::Permit;
use crate::gateway::watch::audit::Refused;
use crate::handshake::request::Request;
use crate::refusal::Refusal;
use crate::text::excerpt;

/// One client that wants a tunnel. It counts as a handshake until it is dropped.
pub(crate) struct Attempt<'g> {
    sessions: &'g Arc<Sessions>,
    client: SocketAddr,
    begun: Instant,
    asked: Option<(Protocol, String)>,
    /// Who the Host says the caller is, once that is known.
    pub(crate) user: Option<Arc<str>>,
}

impl<'g> Attempt<'g> {
    /// The connection of `client` was accepted.
    pub(crate) fn new(sessions: &'g Arc<Sessions>, client: SocketAddr) -> Self {
        let metrics = &sessions.records().metrics;
        metrics.accepted.increment();
        metrics.handshakes.increment();
        debug!(%client, "connection accepted");
        Self { sessions, client, begun: Instant::now(), asked: None, user: None }
    }

    /// A proxy before the gateway says whose connection it is.
    pub(crate) fn comes_from(&mut self, client: SocketAddr) {
        if self.client != client {
            debug!(proxy = %self.client, %client, "client named by a proxy");
            self.client = client;
        }
    }

    /// Where it comes from.
    pub(crate) fn address(&self) -> IpAddr {
        self.client.ip()
    }

    /// Its request is complete.
    pub(crate) fn asks(&mut self, request: &Request) {
        let (protocol, target) = match request {
            Request::Connect(connect) => (Protocol::Connect, connect.as_sent.clone()),
            Request::Line(line) => (Protocol::Line, excerpt(&line.digits)),
        };
        debug!(client = %self.client, protocol = protocol.name(), target, "request read");
        self.asked = Some((protocol, target));
    }

    /// It is known where the VPS is.
    pub(crate) fn located(&self, reach: &Reach) {
        debug!(client = %self.client, vps = %reach.id, node = reach.node, host = reach.host, port = reach.port, "VPS located");
    }

    /// It gets its tunnel.
    pub(crate) fn open(&self, reach: &Reach, permit: Permit) -> OpenSession {
        let facts = Facts {
            user: self.user.clone(),
            client: self.client,
            protocol: self.asked.as_ref().map_or(Protocol::Connect, |(protocol, _)| *protocol),
            vps: reach.id,
            node: reach.node.as_str().into(),
        };
        self.sessions.records().metrics.setup.observe(self.begun.elapsed());
        self.sessions.open(facts, permit)
    }

    /// It gets none.
    pub(crate) fn refuse(&self, refusal: &Refusal) {
        self.no((refusal.reason(), refusal.proxy_error()), refusal.detail());
    }

    /// Nothing that came can be taken for a request.
    pub(crate) fn broken(&self, why: Broken) {
        self.no(why.labels(), why.detail());
    }

    fn no(&self, (reason, error): (&'static str, &'static str), detail: Option<String>) {
        let records = self.sessions.records();
        records.metrics.refuse(reason, error);
        debug!(client = %self.client, reason, detail, "refused");
        records.audit.refused(&Refused {
            user: self.user.as_deref(),
            client: self.client,
            protocol: self.asked.as_ref().map(|(protocol, _)| *protocol),
            target: self.asked.as_ref().map(|(_, target)| target.as_str()),
            reason,
            detail,
            took: self.begun.elapsed(),
        });
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.sessions.records().metrics.handshakes.decrement();
    }
}
