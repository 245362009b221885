//! The proof of a gateway that asks another one about sessions: both have the same `--admin-token-file`.
//!
//! ```text
//! Authorization: KohakuRiver-Gateway time=1764072353; for=616c696365; mac=<64 hexadecimal digits>
//! ```
//! `for` is the user whose sessions are asked for, in hexadecimal, or `*` for everybody's. The MAC is HMAC-SHA256 over the
//! request's first line without its version, the time and `for`, with the token as its key. So no secret crosses the
//! network, and a proof is good for one request and for [`WINDOW`]. Whoever hears it can send it again in that time: a
//! list goes to somebody who has just heard it anyway, and a tunnel that is ended can't be ended again, since the first
//! line names its gateway.

use std::time::{Duration, SystemTime};

use ring::hmac;

use super::scope::Scope;
use crate::handshake::sessions::PROOF_SCHEME;
use crate::hex::{hex, unhex};
use crate::secret::Token;

/// How far the clocks of two gateways may be apart.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);

/// The sign of everybody's sessions.
const EVERYBODY: &str = "*";

/// The value of `Authorization` for a request that begins with `line`, such as `GET /sessions?here`.
pub(super) fn prove(key: &Token, line: &str, scope: &Scope, now: SystemTime) -> String {
    let (time, whom) = (
        seconds(now),
        match scope {
            Scope::All => EVERYBODY.to_owned(),
            Scope::User(user) => hex(user.as_bytes()),
        },
    );
    let mac = hmac::sign(&of(key), &message(line, time, &whom));
    format!("{PROOF_SCHEME} time={time}; for={whom}; mac={}", hex(mac.as_ref()))
}

/// The sessions that this proof lets a gateway ask for. `proof` is the proof without its scheme, and `line` the first line
/// of the request that it came with.
///
/// # Errors
/// Why it may not.
pub(crate) fn check(key: Option<&Token>, proof: &str, line: &str, now: SystemTime) -> Result<Scope, String> {
    let key = key.ok_or("this gateway has no --admin-token-file, and so believes no other gateway")?;
    let (time, whom, mac) = read(proof).ok_or("its proof can't be read")?;
    hmac::verify(&of(key), &message(line, time, &whom), &mac)
        .map_err(|_| "the two gateways have different tokens in their --admin-token-file")?;
    let apart = seconds(now).abs_diff(time);
    if apart > WINDOW.as_secs() {
        let most = WINDOW.as_secs();
        return Err(format!("the clocks of the two gateways are {apart} s apart, and {most} s is the most"));
    }
    if whom == EVERYBODY {
        return Ok(Scope::All);
    }
    let user = unhex(&whom).and_then(|user| String::from_utf8(user).ok());
    user.map(|user| Scope::User(user.into())).ok_or_else(|| "its proof can't be read".to_owned())
}

fn read(proof: &str) -> Option<(u64, String, Vec<u8>)> {
    let mut parts = proof.split(';').map(str::trim);
    let mut next = |name: &str| parts.next()?.strip_prefix(name)?.strip_prefix('=');
    Some((next("time")?.parse().ok()?, next("for")?.to_owned(), unhex(next("mac")?)?))
}

fn of(key: &Token) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes())
}

fn message(line: &str, time: u64, whom: &str) -> Vec<u8> {
    format!("kohakuriver-gateway sessions v1\n{line}\n{time}\n{whom}").into_bytes()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINE: &str = "DELETE /sessions/gw2/7?here";

    #[test]
    fn a_proof_holds_for_one_request_and_a_minute() {
        let (key, other) = (Token::new("sekrit").unwrap(), Token::new("another").unwrap());
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_072_353);
        for scope in [Scope::All, Scope::User("alice".into()), Scope::User("größe; x".into()), Scope::User("*".into())]
        {
            let sent = prove(&key, LINE, &scope, now);
            let proof = sent.strip_prefix("KohakuRiver-Gateway ").unwrap();
            assert!(!sent.contains("sekrit"), "{sent}");
            let check = |key, line, now| check(key, proof, line, now);
            for seconds in [0, 60] {
                let (later, before) = (now + Duration::from_secs(seconds), now - Duration::from_secs(seconds));
                assert_eq!(check(Some(&key), LINE, later), Ok(scope.clone()));
                assert_eq!(check(Some(&key), LINE, before), Ok(scope.clone()));
            }
            for (key, line, seconds, why) in [
                (None, LINE, 0, "this gateway has no --admin-token-file"),
                (Some(&other), LINE, 0, "have different tokens"),
                (Some(&key), "DELETE /sessions/gw2/8?here", 0, "have different tokens"),
                (Some(&key), LINE, 61, "are 61 s apart, and 60 s is the most"),
            ] {
                let error = check(key, line, now + Duration::from_secs(seconds)).unwrap_err();
                assert!(error.contains(why), "{line}: {error}");
            }
        }
    }

    #[test]
    fn what_is_no_proof_is_refused() {
        let key = Token::new("sekrit").unwrap();
        let now = SystemTime::UNIX_EPOCH;
        let good = prove(&key, LINE, &Scope::User("alice".into()), now);
        let good = good.strip_prefix("KohakuRiver-Gateway ").unwrap();
        for broken in ["", "x", "time=1", "time=0; for=*; mac=zz", "for=*; time=0; mac=00", &good[..good.len() - 1]] {
            assert!(check(Some(&key), broken, LINE, now).is_err(), "{broken}");
        }
        for changed in [good.replace("time=0", "time=1"), good.replace("for=616c696365", "for=*")] {
            assert!(check(Some(&key), &changed, LINE, now).unwrap_err().contains("different tokens"), "{changed}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_proof_by_chance(
            proof in "(time=[0-9+-]{0,21})?;? ?(for=[0-9a-fA-F*;]{0,9})?;? ?(mac=([0-9a-f]{64}|[0-9a-g]{0,9}))?|\\PC*",
        ) {
            let key = Token::new("sekrit").unwrap();
            let error = check(Some(&key), &proof, LINE, SystemTime::UNIX_EPOCH).unwrap_err();
            prop_assert!(!error.contains(char::is_control), "{}", error);
        }
    }
}
