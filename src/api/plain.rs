//! hyper-util's connector for plain connections, as the gateway and `kohakuriver` use it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

use crate::api::transport::CONNECT_LIMIT;
use crate::sys;

/// Connects without TLS and without a proxy.
pub(crate) fn connector() -> HttpConnector<SystemNames> {
    let mut connector = HttpConnector::new_with_resolver(SystemNames);
    connector.set_connect_timeout(Some(CONNECT_LIMIT));
    connector.set_nodelay(true);
    connector
}

/// The system's resolver, in tokio's threads for calls that block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemNames;

impl Service<Name> for SystemNames {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            // The connector sets the port.
            let found = tokio::task::spawn_blocking(move || sys::resolve(name.as_str(), 0)).await;
            Ok(found.map_err(io::Error::other)??.into_iter())
        })
    }
}
