//! The field `KohakuRiver-Resume` in the heads of a CONNECT: it asks for a resumable tunnel, grants one, and resumes one.
//!
//! | in | value | meaning |
//! |---|---|---|
//! | request | `v1; key=K` | a resumable tunnel, please. K is the client's half of the key exchange |
//! | 200 | `v1; id=I; key=K; keep=S; window=B` | frames follow. The session lives S seconds without a connection |
//! | request | `v1; id=I; recv=P; n=N; mac=M` | continue session I. The client has delivered everything before position P |
//! | request | the same and `; passed` | the same, from another gateway, which passes its client on |
//! | 200 | `v1; recv=P` | it continues, and the gateway has delivered everything before position P |
//! | a refusal | `v1; over` | the session is over: another try would be refused, too |
//!
//! I, K and M are hexadecimal, the others decimal. A 200 without the field means plain bytes. Unknown parameters and
//! versions are ignored, as unknown fields are.

use crate::hex::{hex, unhex};
use crate::resume::{Key, Mac, Public, SessionId};

/// The field's name.
pub const FIELD: &str = "KohakuRiver-Resume";

/// The request of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// A resumable tunnel.
    New(Public),
    /// To continue a session.
    Continue {
        /// The session.
        id: SessionId,
        /// The position up to which the client has delivered the gateway's stream.
        delivered: u64,
        /// Counts the client's tries. A smaller or the same number is a repetition.
        n: u64,
        /// Proves that the client has the key.
        mac: Mac,
        /// Another gateway passes the client on.
        passed: bool,
    },
    /// The field names a session, and can't be read otherwise.
    Unreadable,
}

/// The answer of a gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answered {
    /// A new session.
    New {
        /// The session.
        id: SessionId,
        /// The gateway's half of the key exchange.
        key: Public,
        /// How long the session lives without a connection, in seconds.
        keep: u64,
        /// Most bytes of the client that the gateway takes without an acknowledgement.
        window: u64,
    },
    /// The session continues. The position up to which the gateway has delivered the client's stream.
    Continued(u64),
    /// The session is over.
    Over,
}

impl Asked {
    /// The try number `n` to continue the session `id`.
    pub fn to_continue(id: SessionId, key: &Key, n: u64, delivered: u64) -> Self {
        Self::Continue { id, delivered, n, mac: key.sign(id, n, delivered), passed: false }
    }

    /// The value of the field.
    pub fn value(&self) -> String {
        match self {
            Self::New(key) => format!("v1; key={}", hex(key)),
            Self::Continue { id, delivered, n, mac, passed } => {
                let passed = if *passed { "; passed" } else { "" };
                format!("v1; id={id:?}; recv={delivered}; n={n}; mac={}{passed}", hex(mac))
            }
            Self::Unreadable => "v1; id".to_owned(),
        }
    }

    /// Reads the value of the field. `None` asks for nothing that this version knows.
    pub fn read(value: &[u8]) -> Option<Self> {
        let parameters = Parameters::of(value)?;
        if parameters.has("id") {
            let read = || {
                Some(Self::Continue {
                    id: SessionId(parameters.bytes("id")?),
                    delivered: parameters.number("recv")?,
                    n: parameters.number("n")?,
                    mac: parameters.bytes("mac")?,
                    passed: parameters.has("passed"),
                })
            };
            return Some(read().unwrap_or(Self::Unreadable));
        }
        parameters.bytes("key").map(Self::New)
    }
}

impl Answered {
    /// The value of the field.
    pub fn value(&self) -> String {
        match self {
            Self::New { id, key, keep, window } => {
                format!("v1; id={id:?}; key={}; keep={keep}; window={window}", hex(key))
            }
            Self::Continued(delivered) => format!("v1; recv={delivered}"),
            Self::Over => "v1; over".to_owned(),
        }
    }

    /// Reads the value of the field. `None` grants nothing that this version knows.
    pub fn read(value: &[u8]) -> Option<Self> {
        let parameters = Parameters::of(value)?;
        if parameters.has("over") {
            return Some(Self::Over);
        }
        if !parameters.has("id") {
            return parameters.number("recv").map(Self::Continued);
        }
        Some(Self::New {
            id: SessionId(parameters.bytes("id")?),
            key: parameters.bytes("key")?,
            keep: parameters.number("keep")?,
            window: parameters.number("window")?,
        })
    }
}

/// The parameters of a value of version 1.
struct Parameters<'v>(Vec<(&'v str, &'v str)>);

impl<'v> Parameters<'v> {
    fn of(value: &'v [u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(value).ok()?.split(';').map(str::trim);
        (parts.next() == Some("v1"))
            .then(|| Self(parts.map(|part| part.split_once('=').unwrap_or((part, ""))).collect()))
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn get(&self, name: &str) -> Option<&'v str> {
        self.0.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
    }

    fn number(&self, name: &str) -> Option<u64> {
        let digits = self.get(name)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    }

    fn bytes<const N: usize>(&self, name: &str) -> Option<[u8; N]> {
        unhex(self.get(name)?)?.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: SessionId = SessionId([0xab; 16]);

    #[test]
    fn what_each_end_writes_the_other_end_reads() {
        let to_continue = |passed| Asked::Continue { id: ID, delivered: u64::MAX, n: 7, mac: [0x0f; 32], passed };
        let of_client = format!("v1; id={}; recv={}; n=7; mac={}", "ab".repeat(16), u64::MAX, "0f".repeat(32));
        for (asked, text) in [
            (Asked::New([1; 32]), format!("v1; key={}", "01".repeat(32))),
            (to_continue(false), of_client.clone()),
            (to_continue(true), of_client + "; passed"),
            (Asked::Unreadable, "v1; id".to_owned()),
        ] {
            assert_eq!(asked.value(), text);
            assert_eq!(Asked::read(text.as_bytes()), Some(asked));
        }
        let new = Answered::New { id: ID, key: [2; 32], keep: 900, window: 4_194_304 };
        let keys = ("ab".repeat(16), "02".repeat(32));
        for (answered, text) in [
            (new, format!("v1; id={}; key={}; keep=900; window=4194304", keys.0, keys.1)),
            (Answered::Continued(12), "v1; recv=12".to_owned()),
            (Answered::Over, "v1; over".to_owned()),
        ] {
            assert_eq!(answered.value(), text);
            assert_eq!(Answered::read(text.as_bytes()), Some(answered));
        }
    }

    #[test]
    fn what_asks_for_nothing_and_what_cannot_be_read() {
        let key = "01".repeat(32);
        for value in ["", "v1", "v2; key=00", "v1; key=01", "v1; key=zz", "V1", "\u{fffd}"] {
            assert_eq!(Asked::read(value.as_bytes()), None, "{value}");
            assert_eq!(Answered::read(value.as_bytes()), None, "{value}");
        }
        assert_eq!(Asked::read(b"\xff"), None);
        assert_eq!(Asked::read(format!(" v1 ;new=1;key={key}").as_bytes()), Some(Asked::New([1; 32])));
        // A request that names a session must never open another one.
        let (id, mac) = ("ab".repeat(16), "0f".repeat(32));
        for value in [
            "v1; id=ab; key=00".to_owned(),
            format!("v1; id={id}; recv=-1; n=1; mac={mac}"),
            format!("v1; id={id}; recv=+1; n=1; mac={mac}"),
            format!("v1; id={id}; recv=18446744073709551616; n=1; mac={mac}"),
            format!("v1; id={id}; recv=; n=1; mac={mac}"),
            format!("v1; id={id}; recv=1; n=1; mac={mac}00"),
            format!("v1; id={id}; recv=1; n=1"),
            format!("v1; key={key}; id={id}"),
        ] {
            assert_eq!(Asked::read(value.as_bytes()), Some(Asked::Unreadable), "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_value_is_a_panic(value in prop::collection::vec(any::<u8>(), 0..200)) {
            let with_version = [b"v1; ".as_slice(), &value].concat();
            for value in [&value, &with_version] {
                let _ = (Asked::read(value), Answered::read(value));
            }
        }
    }
}
