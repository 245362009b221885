//! The helper's way to the gateway over TLS, beside the same without TLS and beside tunnels of others with it.
//!
//! A tunnel of others is a client and a server of theirs, which goes straight to the VPS. All have TLS 1.3 and the same
//! certificate (P-256), and the clients verify it.

use anyhow::{Context as _, Result};

use super::child;
use super::contestants::{Contestant, Mode};
use super::measures;
use super::plain::Way;
use super::ssh::Ssh;
use crate::support::figures::{Figures, Measure};
use crate::support::gateway::{Gateway, running};
use crate::support::home::Home;
use crate::support::mover::Share;
use crate::support::ours::helper;
use crate::support::proxies::Proxy;
use crate::support::report::{Bound, Target};
use crate::support::secured::Certified;
use crate::support::sshd::Sshd;
use crate::support::tools::tool;
use crate::support::turns::{Rounds, rounds, turns};
use crate::support::vps;

/// The name of these rows.
pub(crate) const NAME: &str = "tls";

pub(super) const PLAIN: &str = "plain";
const PLAIN_FD: &str = "plain fd";
pub(super) const TLS: &str = "tls";
const TLS_FD: &str = "tls fd";
/// A tunnel that survives its connection.
pub(super) const RESUMABLE: &str = "resumable";
pub(super) const TLS_RESUMABLE: &str = "tls resumable";
/// What `ssh config` writes for a cluster with TLS: a tunnel that survives its connection, with a passed socket.
const TLS_ENTRY: &str = "tls entry";
const STUNNEL: &str = "stunnel+nc";
const SOCAT: &str = "socat";

/// All of them, in the order of the table.
pub(crate) const NAMES: [&str; 7] = [PLAIN, PLAIN_FD, TLS, TLS_FD, TLS_ENTRY, STUNNEL, SOCAT];

/// The VPS that does no cryptography, and the one that is a real sshd.
const VPS: &str = "7323718749301768192";
const SSHD: &str = "7323718749301768193";

/// How much is done.
pub(crate) struct Effort {
    first_byte: Rounds,
    bulk: Rounds,
    ssh_bulk: Rounds,
    bytes: u64,
    ssh_bytes: u64,
}

pub(crate) const FULL: Effort = Effort {
    first_byte: rounds(100, 60),
    bulk: rounds(7, 120),
    ssh_bulk: rounds(7, 180),
    bytes: 512 << 20,
    ssh_bytes: 192 << 20,
};

pub(crate) const QUICK: Effort = Effort {
    first_byte: rounds(30, 10),
    bulk: rounds(3, 30),
    ssh_bulk: rounds(3, 40),
    bytes: 256 << 20,
    ssh_bytes: 128 << 20,
};

pub(crate) const TARGETS: [Target; 17] = {
    use Bound::{AtLeast, AtMost};
    use measures::*;
    const fn to(measure: Measure, contestant: &'static str, reference: &'static str, bound: Bound) -> Target {
        Target { measure, contestant, reference: Some(reference), bound }
    }
    [
        Target { measure: TLS_MORE, contestant: TLS, reference: None, bound: AtMost(2.5) },
        to(PLAIN_UP, TLS, STUNNEL, AtLeast(1.0)),
        to(PLAIN_UP, TLS, SOCAT, AtLeast(1.0)),
        to(PLAIN_DOWN, TLS, STUNNEL, AtLeast(1.0)),
        to(PLAIN_DOWN, TLS, SOCAT, AtLeast(1.0)),
        to(ALL_CPU_UP, TLS, STUNNEL, AtMost(0.9)),
        to(ALL_CPU_UP, TLS, SOCAT, AtMost(0.9)),
        to(ALL_CPU_DOWN, TLS, STUNNEL, AtMost(0.9)),
        to(ALL_CPU_DOWN, TLS, SOCAT, AtMost(0.9)),
        to(SSH_BULK_UP, TLS, PLAIN, AtLeast(0.8)),
        to(SSH_BULK_DOWN, TLS, PLAIN, AtLeast(0.8)),
        to(SSH_BULK_UP, TLS, PLAIN_FD, AtLeast(0.8)),
        to(SSH_BULK_DOWN, TLS, PLAIN_FD, AtLeast(0.8)),
        to(SSH_BULK_UP, TLS_FD, PLAIN_FD, AtLeast(0.8)),
        to(SSH_BULK_DOWN, TLS_FD, PLAIN_FD, AtLeast(0.8)),
        to(SSH_BULK_UP, TLS_ENTRY, PLAIN_FD, AtLeast(0.8)),
        to(SSH_BULK_DOWN, TLS_ENTRY, PLAIN_FD, AtLeast(0.8)),
    ]
};

/// Measures all of it.
pub(crate) fn measure(effort: &Effort, figures: &mut Figures) -> Result<()> {
    let (sshd, home, certified) = (Sshd::start(), Home::new(), Certified::new());
    let vps = vps::start(Share::Equal)?;
    let (gateway, tls) = certified.gateway(&[running(VPS, vps.port()), running(SSHD, sshd.port)], &[]);
    let ours = |vps| ours(&certified, &gateway, tls.port(), vps);
    let (theirs, _servers) = theirs(&certified, vps);
    let way = Way { proxy: gateway.address, home: home.path() };
    let everybody = [ours(VPS).to_vec(), theirs].concat();

    turns("first byte", effort.first_byte, &everybody, figures, |who, round, figures| {
        way.first_byte(who, round, figures)?;
        child::reap_carriers()
    })?;
    let median = |who| figures.median(measures::FIRST_BYTE, who).context("no first byte");
    let more = median(TLS)? - median(PLAIN)?;
    figures.add(measures::TLS_MORE, TLS, 0, more);
    turns("bulk without crypto of ssh", effort.bulk, &everybody, figures, |who, round, figures| {
        way.bulk_up(who, effort.bytes, round, figures)?;
        way.bulk_down(who, effort.bytes, round, figures)?;
        child::reap_carriers()
    })?;
    let under_ssh = ours(SSHD);
    let ssh = Ssh::new(&sshd, &under_ssh, &home, effort.ssh_bytes)?;
    turns("bulk under ssh", effort.ssh_bulk, &under_ssh, figures, |who, round, figures| {
        ssh.bulk_up(who, round, figures)?;
        ssh.bulk_down(who, round, figures)
    })
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
fn theirs(certified: &Certified, vps: std::net::SocketAddr) -> (Vec<Contestant>, Vec<Proxy>) {
    let server = certified.stunnel_server(vps);
    let client = certified.stunnel_client(server.address);
    let socat = certified.socat_server(vps);
    let nc = format!("127.0.0.1 {}", client.address.port());
    let ca = certified.ca.display();
    let openssl = format!(
        "- OPENSSL:127.0.0.1:{},cafile={ca},commonname=localhost,openssl-min-proto-version=TLS1.3",
        socat.address.port()
    );
    let contestant = |name, program, arguments: &str| Contestant::new(name, Mode::Stdio, VPS, program, arguments);
    let contestants = vec![contestant(STUNNEL, tool("nc"), &nc), contestant(SOCAT, tool("socat"), &openssl)];
    (contestants, vec![server, client, socat])
}
