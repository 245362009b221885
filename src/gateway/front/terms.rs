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
pub struct Terms {
    /// How much the gateway holds at once.
    pub limits: Arc<Limits>,
    /// The clients that it serves and the Runners that it dials. A reload may change them.
    pub rules: Arc<RuleBook>,
    /// How long open tunnels have to finish after an order to stop.
    pub drain_timeout: Duration,
    /// Whether metrics count the tunnels and bytes of each user.
    pub metrics_by_user: bool,
    /// Whether a connection starts with a PROXY protocol header, which names the client's address.
    pub proxy_protocol: bool,
    /// The certificates of the TLS ports.
    pub certificates: Option<Arc<Certificates>>,
    /// Whether the TLS ports serve the Host API as well.
    pub api_proxy: bool,
    /// The networks of the trusted proxies. Without any, every peer is trusted.
    pub proxy_from: Vec<IpNet>,
    /// The name of the gateway among the others; `None` for that of its machine.
    pub gateway_name: Option<String>,
    /// The other gateways of the cluster.
    pub peers: Vec<ProxyAddress>,
    /// The ports where the Host's own SSH proxy may listen. It checks no token, so nobody is let through to it.
    pub host_ssh_proxy: [u16; 2],
    /// The guard that keeps web pages out of the admin's address and of the Host API.
    pub(crate) guard: Guard,
}
