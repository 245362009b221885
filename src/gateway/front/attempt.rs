//! One client's attempt to get a tunnel, with a record of each step.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use tracing::debug;

use crate::api::Reach;
use crate::gateway::carry::session::{OpenSession, Sessions};
use crate::gateway::decide::rules::Rules;
use crate::gateway::limits::Permit;
use crate::gateway::watch::audit::Refused;
use crate::gateway::watch::records::Records;
use crate::gateway::words::client_fault::ClientFault;
use crate::gateway::words::session::{Facts, Protocol, Transport};
use crate::handshake::request::Request;
use crate::refusal::Refusal;
use crate::target::TaskId;
use crate::text::excerpt;

/// A client that wants a tunnel. It counts as a handshake until it is dropped.
pub(super) struct Attempt<'g> {
    records: &'g Records,
    client: SocketAddr,
    transport: Transport,
    begun: Instant,
    request: Option<(Protocol, String)>,
    /// The name in the certificate of the client.
    certified: Option<String>,
    /// The user, once that is known.
    user: Option<Arc<str>>,
}

impl<'g> Attempt<'g> {
    /// The connection of `client` was accepted.
    pub(super) fn new(records: &'g Records, client: SocketAddr, transport: Transport) -> Self {
        records.metrics.accepted(transport).increment();
        records.metrics.handshakes.increment();
        debug!(%client, transport = transport.name(), "connection accepted");
        Self { records, client, transport, begun: Instant::now(), request: None, certified: None, user: None }
    }

    /// A proxy in front of the gateway may have named the client.
    pub(super) fn note_client(&mut self, client: SocketAddr) {
        if self.client != client {
            debug!(proxy = %self.client, %client, "client named by a proxy");
            self.client = client;
        }
    }

    /// The client's address and port.
    pub(super) fn client(&self) -> SocketAddr {
        self.client
    }

    /// The client's address.
    pub(super) fn address(&self) -> IpAddr {
        self.client.ip()
    }

    /// The user whose certificate the client has.
    pub(super) fn certified_user(&self, rules: &Rules) -> Option<Arc<str>> {
        rules.user_of_certificate(self.certified.as_deref()?)
    }

    /// The client has shaken hands with a certificate of this name.
    pub(super) fn note_certificate(&mut self, name: Option<String>) {
        if let Some(name) = &name {
            debug!(client = %self.client, name = excerpt(name), "certificate verified");
        }
        self.certified = name;
    }

    /// The Host, if there is one, has named the caller, or not. Returns the user: without one of the Host, the one whose
    /// certificate the client has.
    pub(super) fn note_user(&mut self, of_host: Option<Arc<str>>, rules: &Rules) -> Option<Arc<str>> {
        self.user = of_host.or_else(|| self.certified_user(rules));
        self.user.clone()
    }

    /// The request is complete.
    pub(super) fn note_request(&mut self, request: &Request) {
        let (protocol, target) = match request {
            Request::Connect(connect) => (Protocol::Connect, connect.as_sent.clone()),
            Request::Line(line) => (Protocol::Line, excerpt(&line.digits)),
            Request::Sessions(_) => return debug!(client = %self.client, "request about sessions read"),
        };
        debug!(client = %self.client, protocol = protocol.name(), target, "request read");
        self.request = Some((protocol, target));
    }

    /// The VPS's address is known.
    pub(super) fn note_location(&self, reach: &Reach) {
        debug!(client = %self.client, vps = %reach.id, node = &*reach.node, host = reach.host, port = reach.port, "VPS located");
    }

    /// The client gets its tunnel.
    pub(super) fn open(&self, sessions: &Arc<Sessions>, reach: &Reach, permit: Permit) -> OpenSession {
        self.records.metrics.setup.observe(self.begun.elapsed());
        sessions.open(self.facts(reach.id, reach.name.clone(), Arc::clone(&reach.node)), permit)
    }

    /// The client's bytes go to the gateway of this name, which has its session.
    pub(super) fn pass_on(&self, sessions: &Arc<Sessions>, vps: TaskId, to: &str, permit: Permit) -> OpenSession {
        sessions.open(self.facts(vps, None, format!("gateway {to}").into()), permit)
    }

    fn facts(&self, vps: TaskId, name: Option<Arc<str>>, node: Arc<str>) -> Facts {
        let protocol = self.request.as_ref().map_or(Protocol::Connect, |(protocol, _)| *protocol);
        Facts { user: self.user.clone(), client: self.client, transport: self.transport, protocol, vps, name, node }
    }

    /// The request is refused.
    pub(super) fn refuse(&self, refusal: &Refusal) {
        self.record_end((refusal.reason(), refusal.proxy_error()), refusal.detail());
    }

    /// The client has no TLS on a TLS port. It is counted, but not audited: a scan must not fill the audit log.
    pub(super) fn is_insecure(&self, fault: ClientFault, detail: &str) {
        let (reason, error) = fault.labels();
        self.records.metrics.count_refused((reason, error));
        debug!(client = %self.client, reason, detail, "refused");
    }

    /// The client gets no tunnel because of its own fault.
    pub(super) fn fail(&self, fault: ClientFault) {
        self.record_end(fault.labels(), fault.detail());
    }

    fn record_end(&self, labels: (&'static str, &'static str), detail: Option<String>) {
        self.records.metrics.count_refused(labels);
        let (reason, _) = labels;
        debug!(client = %self.client, reason, detail, "refused");
        let refused = Refused {
            user: self.user.as_deref(),
            client: self.client,
            transport: self.transport,
            protocol: self.request.as_ref().map(|(protocol, _)| *protocol),
            target: self.request.as_ref().map(|(_, target)| target.as_str()),
            reason,
            detail,
            took: self.begun.elapsed(),
        };
        self.records.audit.refused(&refused);
        self.records.refusals.add(&refused);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.records.metrics.handshakes.decrement();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::decide::rules::{RuleBook, Sources};
    use crate::gateway::watch::audit::tests::{audit, lines};
    use crate::gateway::watch::metrics::tests::page;

    #[test]
    fn the_user_of_a_certificate_counts_where_the_host_names_none() {
        let folder = tempfile::tempdir().unwrap();
        let map = folder.path().join("users");
        std::fs::write(&map, "laptop alice\n").unwrap();
        let mapped = Sources { tls_user_map: Some(map), ..Sources::default() };
        let [plain, mapped] = [Sources::default(), mapped].map(|sources| RuleBook::open(sources).unwrap().current());
        let records = Records::default();
        for (certified, of_host, rules, expected) in [
            (None, None, &plain, None),
            (Some("laptop"), None, &plain, Some("laptop")),
            (Some("lap\u{1b}top"), None, &plain, Some("laptop")),
            (Some("laptop"), None, &mapped, Some("alice")),
            (Some("other"), None, &mapped, None),
            (Some("laptop"), Some("bob"), &mapped, Some("bob")),
            (Some("laptop"), Some("bob"), &plain, Some("bob")),
        ] {
            let mut attempt = Attempt::new(&records, "10.0.0.9:51234".parse().unwrap(), Transport::Tls);
            attempt.note_certificate(certified.map(str::to_owned));
            let user = attempt.note_user(of_host.map(Arc::from), rules);
            assert_eq!(user.as_deref(), expected, "{certified:?} {of_host:?}");
        }
        assert_eq!(records.metrics.accepted(Transport::Tls).value(), 7);
    }

    #[test]
    fn a_client_without_tls_is_counted_but_not_audited() {
        let (audit, written) = audit();
        let records = Records { audit: audit.clone(), ..Records::default() };
        let attempt = Attempt::new(&records, "10.0.0.9:51234".parse().unwrap(), Transport::Tls);
        attempt.is_insecure(ClientFault::Plain, "its first byte starts no TLS");
        attempt.fail(ClientFault::Incomplete);
        let text = page(&records.metrics);
        for reason in ["plain-on-tls-port", "incomplete-request"] {
            assert!(text.contains(&format!("reason=\"{reason}\",error=\"http_request_error\"}} 1\n")), "{text}");
        }
        let lines = lines(&audit, &written);
        assert!(lines.len() == 1 && lines[0]["reason"] == "incomplete-request", "{lines:?}");
    }
}
