//! The Host API on a port that is shown to the internet: what users of VPSes need of it, and nothing else.
//!
//! Each request is matched against [`routes`]; the others never reach the Host. A request is passed on with the caller's
//! own token, so the Host decides on rights, as it does for a caller beside it. With an inventory in the place of a Host,
//! the gateway's own read-only API is served.
//!
//! | file | what |
//! |---|---|
//! | `routes` | which requests are passed on |
//! | `fields` | which of their fields, and of the answer's |
//! | `upstream` | the Host, and how long it may take |
//! | `answers` | the gateway's own answers |
//! | `connection` | HTTP/1.1 on a stream, within limits |
//!
//! # Promises
//! - The Host gets whole requests only: a slow client doesn't hold a connection to it.
//! - No token is in a log or in an answer of the gateway's own.
//!
//! This room knows `host_api`, `decide`, `limits` and `watch`. `front` hands its connections over.

mod answers;
mod connection;
mod fields;
mod routes;
#[cfg(test)]
mod tests;
mod upstream;

use std::net::IpAddr;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::ORIGIN;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tracing::debug;

use crate::gateway::decide::directory::Directory;
use crate::gateway::decide::rules::RuleBook;
use crate::gateway::host_api::InventoryApi;
use crate::gateway::limits::{Attempts, Turn, Turns};
use crate::gateway::watch::records::Records;
use answers::Unserved;
use routes::{BODY_LIMIT, Kind, Route};
use upstream::{Passed, Upstream};

/// Most logins of one client in a minute that the Host refuses.
const MOST_LOGINS: u32 = 5;
/// Most tokens that are created for one client in a minute: an office may have one address.
const MOST_TOKENS: u32 = 20;

/// Most connections of one client at a time: an office may have one address.
const MOST_OF_CLIENT: usize = 32;

/// A response: the gateway's own, or the Host's.
type Answer = Response<Either<Full<Bytes>, Passed>>;

/// The Host API, for everybody who reaches the port.
pub(crate) struct ApiProxy {
    source: Source,
    rules: Arc<RuleBook>,
    /// Logins that the Host has refused.
    logins: Attempts,
    /// Tokens that were created. A Host creates them for strangers, too.
    tokens: Attempts,
    /// One for each connection that is served.
    places: Arc<Turns>,
    records: Records,
}

enum Source {
    Host(Box<Upstream>),
    Inventory(InventoryApi),
}

impl ApiProxy {
    /// The API of what `directory` asks, for clients that `rules` allow.
    pub(crate) fn new(directory: &Directory, rules: Arc<RuleBook>, records: Records) -> Self {
        let source = match directory {
            Directory::Host(host) => Source::Host(Box::new(Upstream::new(host.base().to_owned()))),
            Directory::Inventory(inventory) => Source::Inventory(InventoryApi::new(Arc::clone(inventory))),
        };
        Self {
            source,
            rules,
            logins: Attempts::new(MOST_LOGINS),
            tokens: Attempts::new(MOST_TOKENS),
            places: Turns::new(Self::MOST_CONNECTIONS, MOST_OF_CLIENT),
            records,
        }
    }

    /// Most connections that are served at once.
    pub(crate) const MOST_CONNECTIONS: usize = 128;

    /// A place for a connection of the client at `ip`, if there is one.
    pub(crate) fn enter(&self, ip: IpAddr) -> Option<Turn> {
        self.places.take_at_once(ip)
    }

    /// Serves HTTP/1.1 on `stream` until its end. `received` are bytes that were read from it before: the start of its
    /// first request. `client` is the address of the client itself, which has a place: see [`ApiProxy::enter`].
    ///
    /// This limits how long a connection says nothing or accepts nothing, and how long it lives.
    pub(crate) async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin,
        received: Vec<u8>,
        client: IpAddr,
    ) {
        connection::serve(stream, received, |request| self.answer(request, client)).await;
    }

    async fn answer(&self, request: Request<Incoming>, client: IpAddr) -> Answer {
        let answer = match self.ask(request, client).await {
            Ok(answer) => answer,
            Err(unserved) => unserved.answer().map(Either::Left),
        };
        self.records.metrics.count_api_request(answer.status().as_u16());
        answer
    }

    async fn ask(&self, request: Request<Incoming>, client: IpAddr) -> Result<Answer, Unserved> {
        if self.rules.current().check_served(client).is_err() {
            debug!(%client, "API request refused: the address is not served");
            return Err(Unserved::Address(client));
        }
        if *request.method() != Method::GET && request.headers().contains_key(ORIGIN) {
            return Err(Unserved::WebPage);
        }
        match &self.source {
            Source::Inventory(api) => {
                let uri = request.uri();
                if uri.authority().is_some() {
                    return Err(Unserved::Path);
                }
                let query = uri.query().unwrap_or_default();
                Ok(api.answer(request.method(), uri.path(), query).await.map(Either::Left))
            }
            Source::Host(host) => {
                let (head, body) = request.into_parts();
                let route = routes::find(&head.method, &head.uri).inspect_err(|_| {
                    debug!(%client, method = %head.method, "API request refused: it is not passed on");
                })?;
                let answer = self.pass(host, route, &head, body, client).await;
                let status = answer.as_ref().map_or_else(Unserved::status, Response::status).as_u16();
                debug!(%client, method = %head.method, path = head.uri.path(), status, "API request");
                answer
            }
        }
    }

    async fn pass(
        &self,
        host: &Upstream,
        route: &Route,
        head: &Parts,
        body: Incoming,
        client: IpAddr,
    ) -> Result<Answer, Unserved> {
        // Before the body is read: a client that is refused need not send it.
        let login = match route.kind {
            Kind::Login => Some(self.logins.begin(client).map_err(Unserved::Logins)?),
            Kind::Token => self.tokens.begin(client).map(|_counts| None).map_err(Unserved::Tokens)?,
            Kind::Short | Kind::Work => None,
        };
        let body = whole(body, route.max_body()).await?;
        let response = host.send(route, head, body, client).await;
        let is_refused = |status| matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if let Some(login) = login
            && !response.as_ref().is_ok_and(|response| is_refused(response.status()))
        {
            self.logins.forgive(&login);
        }
        response.map(|response| response.map(Either::Right))
    }
}

/// The body of a request, of at most `most` bytes.
async fn whole(body: Incoming, most: usize) -> Result<Bytes, Unserved> {
    if body.size_hint().lower() > most as u64 {
        return Err(Unserved::Body(most));
    }
    match timeout(BODY_LIMIT, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Unserved::Body(most)),
        // The client has left, or its body is no HTTP: nobody reads this.
        Ok(Err(_)) => Err(Unserved::Incomplete),
        Err(_) => Err(Unserved::Slow),
    }
}
