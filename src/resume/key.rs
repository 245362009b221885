//! The key that proves that a new connection belongs to a session.
//!
//! Both ends make the session's key by a key exchange (X25519, RFC 7748) in the heads that open the tunnel, so the key
//! itself never travels. An eavesdropper can't resume a session of others, also where the connection has no TLS. Who can
//! change what travels there can break a tunnel without TLS anyway, and its content is ssh's, which has keys of its own.
//!
//! ```text
//! key = HMAC-SHA256(X25519(…), "kohakuriver resume v1" | id | public key of the client | of the gateway)
//! mac = HMAC-SHA256(key, id | n | position)
//! ```

use std::fmt;

use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::hex::hex;

/// The length of a public key, in bytes.
pub const PUBLIC: usize = 32;
/// The length of a MAC, in bytes.
pub const MAC: usize = 32;
/// The public half of a key exchange.
pub type Public = [u8; PUBLIC];
/// Proves that its sender has the key.
pub type Mac = [u8; MAC];

const LABEL: &[u8] = b"kohakuriver resume v1";

/// Names a session of a gateway. It is no secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub [u8; 16]);

impl SessionId {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn random() -> Result<Self, NoRandom> {
        let mut id = [0; 16];
        SystemRandom::new().fill(&mut id).map_err(|_| NoRandom)?;
        Ok(Self(id))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(self.0))
    }
}

/// The system has no random bytes.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandom;

/// One end's half of a key exchange.
pub struct Exchange {
    private: EphemeralPrivateKey,
    public: Public,
}

impl Exchange {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn new() -> Result<Self, NoRandom> {
        let private = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).map_err(|_| NoRandom)?;
        let computed = private.compute_public_key().map_err(|_| NoRandom)?;
        let public = computed.as_ref().try_into().map_err(|_| NoRandom)?;
        Ok(Self { private, public })
    }

    /// The half for the other end.
    pub fn public(&self) -> Public {
        self.public
    }

    /// The client's key, from the half of the gateway. `None` if that is none.
    pub fn with_gateway(self, gateway: &Public, id: SessionId) -> Option<Key> {
        let client = self.public;
        self.agree(gateway, id, &client, gateway)
    }

    /// The gateway's key, from the half of the client. `None` if that is none.
    pub fn with_client(self, client: &Public, id: SessionId) -> Option<Key> {
        let gateway = self.public;
        self.agree(client, id, client, &gateway)
    }

    fn agree(self, peer: &Public, id: SessionId, client: &Public, gateway: &Public) -> Option<Key> {
        agree_ephemeral(self.private, &UnparsedPublicKey::new(&X25519, peer), |shared| {
            let message = [LABEL, &id.0, client, gateway].concat();
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, shared), &message);
            let mut key = [0; 32];
            key.copy_from_slice(tag.as_ref());
            Key(key)
        })
        .ok()
    }
}

/// The key of a session.
#[derive(Clone)]
pub struct Key([u8; 32]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// A key that another process has passed on.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for another process.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Proves the try number `n` to resume the session `id` from `delivered`.
    pub fn sign(&self, id: SessionId, n: u64, delivered: u64) -> Mac {
        let tag = hmac::sign(&self.hmac(), &message(id, n, delivered));
        let mut mac = [0; MAC];
        mac.copy_from_slice(tag.as_ref());
        mac
    }

    /// Whether `mac` is that of [`Key::sign`]. The time does not depend on how much of it is right.
    pub fn verifies(&self, id: SessionId, n: u64, delivered: u64, mac: &Mac) -> bool {
        hmac::verify(&self.hmac(), &message(id, n, delivered), mac).is_ok()
    }

    fn hmac(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }
}

fn message(id: SessionId, n: u64, delivered: u64) -> Vec<u8> {
    [&id.0[..], &n.to_be_bytes(), &delivered.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_have_the_same_key_and_nobody_else_has() {
        let id = SessionId([7; 16]);
        let (client, gateway, other) = (Exchange::new().unwrap(), Exchange::new().unwrap(), Exchange::new().unwrap());
        let (of_client, of_gateway) = (client.public(), gateway.public());
        let key = client.with_gateway(&of_gateway, id).unwrap();
        let same = gateway.with_client(&of_client, id).unwrap();
        let foreign = other.with_client(&of_client, id).unwrap();
        let mac = key.sign(id, 1, 2);
        assert!(same.verifies(id, 1, 2, &mac) && !foreign.verifies(id, 1, 2, &mac));
        for (id, n, delivered) in [(SessionId([8; 16]), 1, 2), (id, 2, 2), (id, 1, 3)] {
            assert!(!same.verifies(id, n, delivered, &mac));
        }
        assert_eq!(Key::from_bytes(*key.expose()).sign(id, 1, 2), mac);
        assert_eq!(format!("{key:?}"), "Key(…)");
        assert_eq!(format!("{id:?}"), "07".repeat(16));
    }

    /// Points of small order would make a key that everybody knows (RFC 7748 §6.1).
    #[test]
    fn a_half_that_makes_no_secret_is_refused() {
        for public in [[0; 32], {
            let mut one = [0; 32];
            one[0] = 1;
            one
        }] {
            assert!(Exchange::new().unwrap().with_client(&public, SessionId([0; 16])).is_none());
        }
    }
}
