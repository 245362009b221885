//! TLS of a client (RFC 8446): which server is trusted, as whom this program connects, and why a connection fails.
//!
//! There is no way to turn verification off. A server is trusted by the CAs of a file, by its public key, or by what the
//! system trusts; the system's certificates are read only when nothing else was named.
//!
//! This module does no network I/O: see [`crate::carrier::Tls`].

mod client;
mod fault;
mod pem;
#[cfg(test)]
pub(crate) mod tests;
mod verify;

pub use client::ClientConfig;
pub use fault::Fault;
pub use pem::{PemError, certificates, private_key, revocations};
pub use verify::{Presented, hash_of_key};

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The protocol inside TLS (RFC 7301): a CONNECT is HTTP/1.1.
pub const ALPN: &[u8] = b"http/1.1";

/// The cryptography of all connections.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
