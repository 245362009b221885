//! Connections of the pooled transport over a route: with TLS, or through a proxy on the way.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::task::spawn_blocking;
use tower_service::Service;

use crate::api::error::OffRoute;
use crate::api::transport::CONNECT_LIMIT;
use crate::carrier::{Asynchronous, Carrier};
use crate::dial::{DialError, Watch};
use crate::route::{self, Route, RouteError};
use crate::settings::Origin;

/// Connects to one origin.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) origin: Origin,
    pub(super) route: Route,
}

type Routed = TokioIo<Asynchronous<Box<dyn Carrier>>>;

type Connecting = Pin<Box<dyn Future<Output = Result<Routed, OffRoute>> + Send>>;

impl Service<Uri> for Connector {
    type Response = Routed;
    type Error = OffRoute;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OffRoute>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Connecting {
        let Self { origin, route } = self.clone();
        let (of_message, upstream) = (origin.clone(), route.upstream.clone());
        Box::pin(async move {
            let connected = connect(origin, route).await;
            connected.map_err(|error| OffRoute { error, origin: of_message, upstream })
        })
    }
}

async fn connect(origin: Origin, route: Route) -> Result<Routed, RouteError> {
    let failed = |error: io::Error| RouteError::Dial(DialError::Connect(vec![error.to_string()]));
    let connecting = spawn_blocking(move || route::connect(&origin, &route, Watch::at_most(CONNECT_LIMIT)));
    let carrier = connecting.await.map_err(|_| failed(io::ErrorKind::Interrupted.into()))??;
    Ok(TokioIo::new(Asynchronous::new(carrier).map_err(failed)?))
}

impl Connection for Asynchronous<Box<dyn Carrier>> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
