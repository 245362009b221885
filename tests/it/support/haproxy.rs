//! A real HAProxy before several gateways, in TCP mode and by turns, as contrib/gateway/README.md has it.

use std::net::{SocketAddr, TcpListener};

use super::gateway::Gateway;
use super::home::Home;
use super::run::{Process, Run};
use super::tools::tool;

/// HAProxy before some gateways. It is given its listening socket, so it can be used from the start.
pub(crate) struct Haproxy {
    pub(crate) address: SocketAddr,
    _process: Process,
    _home: Home,
}

impl Haproxy {
    /// With `options` on each server's line.
    pub(crate) fn before<'a>(gateways: impl IntoIterator<Item = &'a Gateway>, options: &str) -> Self {
        let servers: String = (1..)
            .zip(gateways)
            .map(|(number, gateway)| format!("    server gateway{number} {} check {options}\n", gateway.address))
            .collect();
        let config = format!(
            "defaults\n    mode tcp\n    timeout connect 3s\n    timeout client 1h\n    timeout server 1h\n    \
             retries 3\n    option redispatch 1\n\
             listen ssh\n    bind fd@3\n    balance roundrobin\n    \
             default-server inter 200ms fall 2 rise 1\n{servers}"
        );
        let home = Home::new();
        let config = home.write("haproxy.cfg", config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let run = Run::new(tool("sh"), &home).args(["-c", "exec 3<&0 </dev/null; exec \"$@\"", "sh"]);
        let process = run.arg(tool("haproxy")).args(["-db", "-f"]).arg(config).stdin_from(listener).deadline(600);
        Self { address, _process: process.start(), _home: home }
    }
}
