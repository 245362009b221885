//! The helper's way to the gateway over TLS, beside the same without TLS and beside tunnels of others with it.
//!
//! A tunnel of others is a client and a server of theirs, which goes straight to the VPS. All have TLS 1.3 and the same
//! certificate (P-256), and the clients verify it.

use std::net::SocketAddr;

use anyhow::Result;

use super::contestants::{Contestant, Measured, Mode};
use super::measures;
use super::stage::{self, Effort, SSHD, Stage};
use crate::support::figures::Figures;
use crate::support::gateway::Gateway;
use crate::support::ours::helper;
use crate::support::proxies::Proxy;
use crate::support::report::{Bound, Target};
use crate::support::secured::Certified;
use crate::support::tools::tool;
use crate::support::turns::rounds;

pub(super) const PLAIN: &str = "plain";
const PLAIN_FD: &str = "plain fd";
pub(super) const TLS: &str = "tls";
const TLS_FD: &str = "tls fd";
/// The entry of `ssh config` for a cluster with TLS: a tunnel that survives its connection, with a passed socket.
const TLS_ENTRY: &str = "tls entry";
const STUNNEL: &str = "stunnel+nc";
const SOCAT: &str = "socat";

/// All of them, in the order of the table.
const NAMES: [&str; 7] = [PLAIN, PLAIN_FD, TLS, TLS_FD, TLS_ENTRY, STUNNEL, SOCAT];

const FULL: Effort = Effort {
    first_byte: rounds(100, 60),
    bulk: rounds(7, 120),
    ssh_bulk: rounds(7, 180),
    bytes: 512 << 20,
    ssh_bytes: 192 << 20,
    ..Effort::NONE
};

const QUICK: Effort = Effort {
    first_byte: rounds(30, 10),
    bulk: rounds(3, 30),
    ssh_bulk: rounds(3, 40),
    bytes: 256 << 20,
    ssh_bytes: 128 << 20,
    ..Effort::NONE
};

const TARGETS: [Target; 17] = {
    use Bound::{AtLeast, AtMost};
    use measures::*;
    [
        Target::alone(TLS_MORE, TLS, AtMost(2.5)),
        Target::to(PLAIN_UP, TLS, STUNNEL, AtLeast(1.0)),
        Target::to(PLAIN_UP, TLS, SOCAT, AtLeast(1.0)),
        Target::to(PLAIN_DOWN, TLS, STUNNEL, AtLeast(1.0)),
        Target::to(PLAIN_DOWN, TLS, SOCAT, AtLeast(1.0)),
        Target::to(ALL_CPU_UP, TLS, STUNNEL, AtMost(0.9)),
        Target::to(ALL_CPU_UP, TLS, SOCAT, AtMost(0.9)),
        Target::to(ALL_CPU_DOWN, TLS, STUNNEL, AtMost(0.9)),
        Target::to(ALL_CPU_DOWN, TLS, SOCAT, AtMost(0.9)),
        Target::to(SSH_BULK_UP, TLS, PLAIN, AtLeast(0.8)),
        Target::to(SSH_BULK_DOWN, TLS, PLAIN, AtLeast(0.8)),
        Target::to(SSH_BULK_UP, TLS, PLAIN_FD, AtLeast(0.8)),
        Target::to(SSH_BULK_DOWN, TLS, PLAIN_FD, AtLeast(0.8)),
        Target::to(SSH_BULK_UP, TLS_FD, PLAIN_FD, AtLeast(0.8)),
        Target::to(SSH_BULK_DOWN, TLS_FD, PLAIN_FD, AtLeast(0.8)),
        Target::to(SSH_BULK_UP, TLS_ENTRY, PLAIN_FD, AtLeast(0.8)),
        Target::to(SSH_BULK_DOWN, TLS_ENTRY, PLAIN_FD, AtLeast(0.8)),
    ]
};

pub(super) fn measure(is_quick: bool, figures: &mut Figures) -> Result<Measured> {
    let (stage, certified) = (Stage::new()?, Certified::new());
    let (gateway, tls) = certified.gateway(&stage.vps(), &[]);
    let ours = |vps| ours(&certified, &gateway, tls.port(), vps);
    let (theirs, _servers) = theirs(&certified, stage.plain);
    let everybody = [ours(stage::PLAIN).to_vec(), theirs].concat();
    let effort = if is_quick { &QUICK } else { &FULL };
    let outcome = stage.measure(effort, gateway.address, (&everybody, &ours(SSHD)), figures);
    let median = |who| figures.median(measures::FIRST_BYTE, who);
    if let (Some(with), Some(without)) = (median(TLS), median(PLAIN)) {
        figures.add(measures::TLS_MORE, TLS, 0, with - without);
    }
    Ok((NAMES.to_vec(), &TARGETS, outcome))
}

/// Our helper, piping and with a passed socket, without TLS and with it.
fn ours(certified: &Certified, gateway: &Gateway, tls: u16, vps: &'static str) -> [Contestant; 5] {
    let plain = gateway.address;
    let secured = format!("--proxy https://localhost:{tls} --ca-file {}", certified.ca.display());
    [
        (PLAIN, Mode::Stdio, format!("--no-resume --proxy {plain} {vps} 22")),
        (PLAIN_FD, Mode::Fdpass, format!("--fdpass --proxy {plain} {vps} 22")),
        (TLS, Mode::Stdio, format!("--no-resume {secured} {vps} 22")),
        (TLS_FD, Mode::Fdpass, format!("--no-resume --fdpass {secured} {vps} 22")),
        (TLS_ENTRY, Mode::Fdpass, format!("--fdpass {secured} {vps} 22")),
    ]
    .map(|(name, mode, arguments)| Contestant::new(name, mode, vps, helper().into(), &arguments))
}

/// The tunnels of others, and their servers.
fn theirs(certified: &Certified, vps: SocketAddr) -> (Vec<Contestant>, Vec<Proxy>) {
    let server = certified.stunnel_server(vps);
    let client = certified.stunnel_client(server.address);
    let socat = certified.socat_server(vps);
    let nc = format!("127.0.0.1 {}", client.address.port());
    let ca = certified.ca.display();
    let openssl = format!(
        "- OPENSSL:127.0.0.1:{},cafile={ca},commonname=localhost,openssl-min-proto-version=TLS1.3",
        socat.address.port()
    );
    let contestant =
        |name, program, arguments: &str| Contestant::new(name, Mode::Stdio, stage::PLAIN, program, arguments);
    let contestants = vec![contestant(STUNNEL, tool("nc"), &nc), contestant(SOCAT, tool("socat"), &openssl)];
    (contestants, vec![server, client, socat])
}
