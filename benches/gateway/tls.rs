//! TLS: how many tunnels are set up, with full handshakes and with resumed ones, and what an idle one takes.
//!
//! HAProxy has TLS in front of a gateway of ours without it. The clients verify no certificate: they share the processors
//! with whoever is measured.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Pid;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme, StreamOwned,
};

use super::background::Background;
use super::contestants::{Kind, OPTIONS, VPS};
use super::measures;
use super::opener::reset;
use super::process::{cpu_seconds, rss_kib};
use super::tunnel::{Asks, take_banner};
use crate::support::figures::Figures;
use crate::support::gateway::{Gateway, running};
use crate::support::limits;
use crate::support::proxies::Proxy;
use crate::support::secured::Certified;
use crate::support::turns::Contender;

/// How long tunnels are opened before they are counted.
const WARM_UP: Duration = Duration::from_millis(300);
/// How many are opened at once.
const AT_ONCE: usize = 32;
/// How many tunnels are idle.
const IDLE: usize = 5_000;
/// How many tunnels a server has had before its memory is first looked at.
const BEFORE: usize = 100;

/// A server with TLS, and what is behind it.
pub(crate) struct Secured {
    kind: Kind,
    address: SocketAddr,
    gateway: Gateway,
    haproxy: Option<Proxy>,
}

impl Contender for Secured {
    fn name(&self) -> &'static str {
        self.kind.name()
    }
}

/// The contestants.
pub(crate) const KINDS: [Kind; 2] = [Kind::Ours, Kind::Haproxy];

impl Secured {
    pub(crate) fn start(kind: Kind, certified: &Certified, vps: SocketAddr) -> Self {
        let (gateway, tls) = certified.gateway(&[running(VPS, vps.port())], &OPTIONS);
        let haproxy = (kind == Kind::Haproxy).then(|| certified.haproxy(gateway.address, IDLE + 1_000));
        Self { kind, address: haproxy.as_ref().map_or(tls, |haproxy| haproxy.address), gateway, haproxy }
    }

    /// The leader of what has TLS.
    fn leader(&self) -> Pid {
        self.haproxy.as_ref().map_or_else(|| self.gateway.process.id(), |haproxy| haproxy.process.id())
    }

    /// CPU of all between client and VPS.
    fn cpu_seconds(&self) -> Result<f64> {
        let haproxy = self.haproxy.as_ref().map(|haproxy| cpu_seconds(haproxy.process.id())).transpose()?;
        Ok(cpu_seconds(self.gateway.process.id())? + haproxy.unwrap_or_default())
    }

    /// Counts for `window`, once with full handshakes and once with resumed ones.
    pub(crate) fn setups(&self, window: Duration, round: usize, figures: &mut Figures) -> Result<()> {
        for (kind, rate, cpu) in [
            (HandshakeKind::Full, measures::TLS_FULL, measures::CPU_TLS_FULL),
            (HandshakeKind::Resumed, measures::TLS_RESUMED, measures::CPU_TLS_RESUMED),
        ] {
            let (opened, mut clients) = (Arc::new(AtomicUsize::new(0)), Background::default());
            for _ in 0..AT_ONCE {
                let (opened, address, config) = (Arc::clone(&opened), self.address, client(kind)?);
                let mut is_first = true;
                clients.repeat(move || {
                    let (stream, was) = open(address, &config)?;
                    reset(stream);
                    ensure!(was == kind || is_first, "the handshake was {was:?}");
                    is_first = false;
                    opened.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                });
            }
            thread::sleep(WARM_UP);
            let (began, before, spent) = (Instant::now(), opened.load(Ordering::Relaxed), self.cpu_seconds()?);
            thread::sleep(window);
            let count = (opened.load(Ordering::Relaxed) - before) as f64;
            let (took, spent) = (began.elapsed().as_secs_f64(), self.cpu_seconds()? - spent);
            clients.stop()?;
            ensure!(count > 0.0, "none was set up in {window:?}");
            figures.add(rate, self.kind.name(), round, count / took);
            figures.add(cpu, self.kind.name(), round, spent * 1e6 / count);
        }
        Ok(())
    }

    /// Looks at the memory of what has TLS, without tunnels and with them.
    pub(crate) fn idle(&self, round: usize, figures: &mut Figures) -> Result<()> {
        let config = client(HandshakeKind::Full)?;
        self.hold(BEFORE, &config)?.into_iter().for_each(reset);
        let before = rss_kib(self.leader())?;
        let tunnels = self.hold(IDLE, &config)?;
        figures.add(measures::TLS_RSS, self.kind.name(), round, (rss_kib(self.leader())? - before) / IDLE as f64);
        tunnels.into_iter().for_each(reset);
        Ok(())
    }

    fn hold(&self, count: usize, config: &Arc<ClientConfig>) -> Result<Vec<TcpStream>> {
        (0..count)
            .map(|_| {
                limits::check()?;
                Ok(open(self.address, config)?.0)
            })
            .collect()
    }
}

/// Opens a tunnel and takes the VPS's banner. What is left of it is its socket.
fn open(address: SocketAddr, config: &Arc<ClientConfig>) -> Result<(TcpStream, HandshakeKind)> {
    let session = ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost")?)?;
    let mut stream = StreamOwned::new(session, limits::connect(address)?);
    stream.write_all(format!("CONNECT {VPS}:22 HTTP/1.1\r\nHost: {VPS}:22\r\n\r\n").as_bytes())?;
    take_banner(&mut stream, Asks::Connect)?;
    let kind = stream.conn.handshake_kind().context("no handshake")?;
    Ok((stream.into_parts().1, kind))
}

/// A client with TLS 1.3, with or without the sessions that it has had before.
fn client(kind: HandshakeKind) -> Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified)).with_no_client_auth();
    if kind == HandshakeKind::Full {
        config.resumption = Resumption::disabled();
    }
    Ok(Arc::new(config))
}

/// Accepts each certificate.
#[derive(Debug)]
struct Unverified;

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
