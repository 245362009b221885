//! Lists the open tunnels that a caller may see, and ends one of them: those of this process, of the processes before it,
//! and of the other gateways of the cluster.
//!
//! ```text
//!  admin ──▶ roster ──▶ sessions    the tunnels of this process
//!  front ──▶        ──▶ previous    a line to each process before it
//!                   ──▶ others      a request to the port for tunnels of each other gateway
//! ```
//! The caller has been judged before: [`Scope`] says which tunnels they may see. A gateway that another one asks tells about
//! itself only, so no question goes round in circles.
//!
//! # Promises
//! - A gateway or a process that is silent, or that lies, costs its own rows and at most [`others::LIMIT`] or two seconds.
//! - A row names its gateway, which has the row's number once.
//!
//! `admin` and `front` use this room.

pub(crate) mod others;
pub(crate) mod previous;
pub(crate) mod proof;
mod row;
mod scope;

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;

use crate::gateway::carry::session::{EndTunnel, Sessions};
use crate::gateway::watch::session_list;
use crate::gateway::words::session::EndedBy;
use crate::handshake::session_ref::{SessionRef, is_gateway_name};
use crate::secret::Token;
use crate::settings::DEFAULT_SSH_PROXY_PORT;
use crate::sys;
use others::{Others, Question};
use previous::PreviousProcesses;
pub(crate) use row::GatewaySummary;
pub(crate) use scope::Scope;

/// Knows the open tunnels.
pub(crate) struct Roster {
    /// The name of this gateway.
    pub(crate) name: String,
    /// The tunnels of this process.
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) end: EndTunnel,
    pub(crate) previous: PreviousProcesses,
    pub(crate) others: Others,
}

/// The gateways to ask.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reach<'a> {
    /// This one.
    Here,
    /// The others, too.
    Everywhere {
        /// The caller's token, with which the others judge for themselves. Without one they get a proof of this gateway.
        token: Option<&'a Token>,
        /// The address of the caller, if it has one.
        from: Option<SocketAddr>,
    },
}

/// Open tunnels, and the gateways that they are of.
pub(crate) struct Listing {
    /// Each is a JSON object.
    pub(crate) rows: Vec<String>,
    /// This gateway first.
    pub(crate) gateways: Vec<GatewaySummary>,
}

/// The result of an attempt to end a tunnel.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    Yes,
    /// No such tunnel, or one of somebody else: the caller learns no difference.
    No,
    /// The tunnel may be at one of these gateways, which gave no answer. Holds each with the reason.
    Unknown(String),
}

/// The name of a gateway without a name: its machine's, with the first of its `ports` unless that is the usual one. So two
/// gateways of one machine have different names.
pub(crate) fn default_name(ports: &[u16]) -> String {
    let mut name: String = sys::host_name().chars().filter(|c| is_gateway_name(&c.to_string())).take(50).collect();
    if name.is_empty() {
        name.push_str("gateway");
    }
    match ports.first() {
        None | Some(&DEFAULT_SSH_PROXY_PORT) => name,
        Some(port) => format!("{name}:{port}"),
    }
}

/// The words for [`Ended::Unknown`].
pub(crate) fn no_answer(silent: &str) -> String {
    format!("the gateway that may have this session gave no answer: {silent}")
}

impl Listing {
    /// The rows as a JSON array.
    pub(crate) fn rows(&self) -> String {
        format!("[{}]", self.rows.join(","))
    }

    /// The rows and the gateways as a JSON object.
    pub(crate) fn with_gateways(&self) -> String {
        let gateways = serde_json::to_string(&self.gateways).unwrap_or_default();
        format!("{{\"gateways\":{gateways},\"sessions\":{}}}", self.rows())
    }
}

impl Roster {
    /// The open tunnels, the oldest of each process first.
    pub(crate) async fn list(&self, scope: &Scope, reach: Reach<'_>) -> Listing {
        let others = async {
            match reach {
                Reach::Here => Vec::new(),
                Reach::Everywhere { token, from } => self.others.ask(&Question::list(scope, token, from)).await,
            }
        };
        let (here, others) = tokio::join!(self.here(scope), others);
        let mut listing = Listing {
            gateways: vec![GatewaySummary { name: self.name.clone(), sessions: here.len(), error: None }],
            rows: here,
        };
        for (origin, answer) in others {
            let (gateway, rows) = row::of_gateway(&origin.authority(), answer, scope, &listing.gateways);
            listing.gateways.push(gateway);
            listing.rows.extend(rows);
        }
        listing
    }

    async fn here(&self, scope: &Scope) -> Vec<String> {
        let mut rows = Vec::new();
        for list in self.previous.sessions().await {
            let Ok(Value::Array(list)) = serde_json::from_str(&list) else { continue };
            rows.extend(list.into_iter().filter_map(|row| row::own(row, scope, &self.name)));
        }
        let own = self.sessions.snapshot();
        let own = own.iter().filter(|session| scope.includes(session.facts.user.as_deref()));
        rows.extend(own.map(|session| session_list::row(session, &self.name)));
        rows
    }

    /// Ends a tunnel.
    pub(crate) async fn end(&self, which: &SessionRef, scope: &Scope, reach: Reach<'_>) -> Ended {
        if which.gateway.as_ref().is_none_or(|gateway| *gateway == self.name) {
            return if self.end_here(which.id, scope).await { Ended::Yes } else { Ended::No };
        }
        let Reach::Everywhere { token, from } = reach else { return Ended::No };
        let mut silent = Vec::new();
        for (origin, answer) in self.others.ask(&Question::end(which, scope, token, from)).await {
            match answer {
                Ok(answer) if answer.status == 204 => return Ended::Yes,
                Ok(answer) if answer.status == 404 => {}
                answer => silent.push(format!("{}: {}", origin.authority(), row::why(answer))),
            }
        }
        if silent.is_empty() { Ended::No } else { Ended::Unknown(silent.join("; ")) }
    }

    async fn end_here(&self, id: u64, scope: &Scope) -> bool {
        let by = if *scope == Scope::All { EndedBy::Admin } else { EndedBy::User };
        match self.sessions.with_id(id) {
            Some(session) => scope.includes(session.facts.user.as_deref()) && (self.end)(id, by),
            None => self.previous_has(id, scope).await && self.previous.end(id, by).await,
        }
    }

    /// Whether the caller may end this tunnel of a process before this one.
    async fn previous_has(&self, id: u64, scope: &Scope) -> bool {
        if *scope == Scope::All {
            return true;
        }
        let lists = self.previous.sessions().await;
        let lists = lists.iter().filter_map(|list| serde_json::from_str::<Vec<Value>>(list).ok());
        let mut rows = lists.flatten();
        rows.any(|row| row["id"].as_u64() == Some(id) && scope.includes(row["user"].as_str()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::gateway::carry::session::tests::tunnel;
    use crate::gateway::decide::rules::{RuleBook, Sources};
    use crate::gateway::words::session::Ending;

    /// The roster of a gateway with these tunnels.
    pub(crate) fn roster(sessions: &Arc<Sessions>) -> Roster {
        let open = Arc::clone(sessions);
        Roster {
            name: "gw1".to_owned(),
            sessions: Arc::clone(sessions),
            end: Arc::new(move |id, by| open.ask_to_end(id, by)),
            previous: PreviousProcesses::default(),
            others: Others::new(Vec::new(), false, Arc::new(RuleBook::open(Sources::default()).unwrap())),
        }
    }

    #[tokio::test]
    async fn a_user_sees_and_ends_own_tunnels_and_no_others() {
        let sessions = Arc::new(Sessions::default());
        let open = [Some("alice"), Some("bob"), None].map(|user| tunnel(&sessions, user));
        let roster = roster(&sessions);
        let alice = Scope::User("alice".into());
        let listing = roster.list(&alice, Reach::Here).await;
        let rows: Vec<Value> = serde_json::from_str(&listing.rows()).unwrap();
        assert_eq!((rows.len(), &rows[0]["id"], &rows[0]["gateway"]), (1, &1.into(), &"gw1".into()));
        assert_eq!(roster.list(&Scope::All, Reach::Here).await.rows.len(), 3);
        for (id, gateway, expected) in
            [(2, None, Ended::No), (3, None, Ended::No), (9, None, Ended::No), (1, Some("gw2"), Ended::No)]
        {
            let which = SessionRef { gateway: gateway.map(str::to_owned), id };
            assert_eq!(roster.end(&which, &alice, Reach::Here).await, expected, "{which}");
        }
        assert!(open.iter().all(|session| session.asked_to_end().is_none()));
        for (at, scope, ending) in [(0, alice, Ending::EndedByUser), (1, Scope::All, Ending::Ended)] {
            let which = SessionRef { gateway: Some("gw1".to_owned()), id: at + 1 };
            assert_eq!(roster.end(&which, &scope, Reach::Here).await, Ended::Yes);
            assert_eq!(open[at as usize].asked_to_end(), Some(ending));
        }
    }
}
