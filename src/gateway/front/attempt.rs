//! One client's attempt to get a tunnel, with a record of each step.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use tracing::debug;

use crate::api::Reach;
use crate::gateway::carry::session::{OpenSession, Sessions};
use crate::gateway::limits::Permit;
use crate::gateway::watch::audit::Refused;
use crate::gateway::watch::records::Records;
use crate::gateway::words::client_fault::ClientFault;
use crate::gateway::words::session::{Facts, Protocol};
use crate::handshake::request::Request;
use crate::refusal::Refusal;
use crate::text::excerpt;

/// A client that wants a tunnel. It counts as a handshake until it is dropped.
pub(super) struct Attempt<'g> {
    records: &'g Records,
    client: SocketAddr,
    begun: Instant,
    request: Option<(Protocol, String)>,
    /// The user that the Host knows the caller as, once that is known.
    pub(super) user: Option<Arc<str>>,
}

impl<'g> Attempt<'g> {
    /// The connection of `client` was accepted.
    pub(super) fn new(records: &'g Records, client: SocketAddr) -> Self {
        records.metrics.accepted.increment();
        records.metrics.handshakes.increment();
        debug!(%client, "connection accepted");
        Self { records, client, begun: Instant::now(), request: None, user: None }
    }

    /// A proxy in front of the gateway may have named the client.
    pub(super) fn note_client(&mut self, client: SocketAddr) {
        if self.client != client {
            debug!(proxy = %self.client, %client, "client named by a proxy");
            self.client = client;
        }
    }

    /// The client's address.
    pub(super) fn address(&self) -> IpAddr {
        self.client.ip()
    }

    /// The request is complete.
    pub(super) fn note_request(&mut self, request: &Request) {
        let (protocol, target) = match request {
            Request::Connect(connect) => (Protocol::Connect, connect.as_sent.clone()),
            Request::Line(line) => (Protocol::Line, excerpt(&line.digits)),
        };
        debug!(client = %self.client, protocol = protocol.name(), target, "request read");
        self.request = Some((protocol, target));
    }

    /// The VPS's address is known.
    pub(super) fn note_location(&self, reach: &Reach) {
        debug!(client = %self.client, vps = %reach.id, node = reach.node, host = reach.host, port = reach.port, "VPS located");
    }

    /// The client gets its tunnel.
    pub(super) fn open(&self, sessions: &Arc<Sessions>, reach: &Reach, permit: Permit) -> OpenSession {
        let facts = Facts {
            user: self.user.clone(),
            client: self.client,
            protocol: self.request.as_ref().map_or(Protocol::Connect, |(protocol, _)| *protocol),
            vps: reach.id,
            node: reach.node.as_str().into(),
        };
        self.records.metrics.setup.observe(self.begun.elapsed());
        sessions.open(facts, permit)
    }

    /// The request is refused.
    pub(super) fn refuse(&self, refusal: &Refusal) {
        self.record_end((refusal.reason(), refusal.proxy_error()), refusal.detail());
    }

    /// The client gets no tunnel because of its own fault.
    pub(super) fn fail(&self, fault: ClientFault) {
        self.record_end(fault.labels(), fault.detail());
    }

    fn record_end(&self, labels: (&'static str, &'static str), detail: Option<String>) {
        self.records.metrics.count_refused(labels);
        let (reason, _) = labels;
        debug!(client = %self.client, reason, detail, "refused");
        self.records.audit.refused(&Refused {
            user: self.user.as_deref(),
            client: self.client,
            protocol: self.request.as_ref().map(|(protocol, _)| *protocol),
            target: self.request.as_ref().map(|(_, target)| target.as_str()),
            reason,
            detail,
            took: self.begun.elapsed(),
        });
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.records.metrics.handshakes.decrement();
    }
}
