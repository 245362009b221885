//! The upstream proxy: the proxy on the way to a cluster, such as that of an office network. As typed; nothing is
//! connected here.

mod environment;
mod no_proxy;
mod proxy;

pub use environment::{proxies_of, upstream_for};
pub use proxy::{ProxyScheme, UpstreamProxy, UpstreamProxyError, UpstreamSetting};
