//! The terms that an admin sets for the gateway.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::gateway::decide::rules::RuleBook;
use crate::gateway::front::certificates::Certificates;
use crate::gateway::http::guard::Guard;
use crate::gateway::limits::Limits;
use crate::settings::ProxyAddress;

/// The terms of service: limits, rules and timeouts.
#[derive(Clone)]
pub(crate) struct Terms {
    /// How much the gateway holds at once.
    pub(crate) limits: Arc<Limits>,
    /// The clients that it serves and the Runners that it dials. A reload may change them.
    pub(crate) rules: Arc<RuleBook>,
    /// How long open tunnels have to finish after an order to stop.
    pub(crate) drain_timeout: Duration,
    /// Whether metrics count the tunnels and bytes of each user.
    pub(crate) metrics_by_user: bool,
    /// Whether a connection starts with a PROXY protocol header, which names the client's address.
    pub(crate) proxy_protocol: bool,
    /// The certificates of the TLS ports.
    pub(crate) certificates: Option<Arc<Certificates>>,
    /// Whether the TLS ports serve the Host API as well.
    pub(crate) api_proxy: bool,
    /// The networks of the trusted proxies. Without any, every peer is trusted.
    pub(crate) proxy_from: Vec<IpNet>,
    /// The name of the gateway among the others; `None` for that of its machine.
    pub(crate) gateway_name: Option<String>,
    /// The other gateways of the cluster.
    pub(crate) peers: Vec<ProxyAddress>,
    /// The ports where the Host's own SSH proxy may listen. It checks no token, so nobody is let through to it.
    pub(crate) host_ssh_proxy: [u16; 2],
    /// The guard that keeps web pages out of the admin's address and of the Host API.
    pub(crate) guard: Guard,
}
