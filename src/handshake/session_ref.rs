//! One session of a cluster, as a person and a path name it: `17`, or `gpu-head/17` where there are several gateways.

use std::fmt;
use std::str::FromStr;

/// Longest name of a gateway, in bytes.
const LONGEST_NAME: usize = 64;

/// One session. Each gateway has numbers of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionRef {
    /// The name of its gateway; `None` for the one that is asked, or the only one.
    pub gateway: Option<String>,
    /// Its number there.
    pub id: u64,
}

/// Whether `text` can be the name of a gateway. Such a name needs no escapes in a path, on a terminal or in HTML.
pub fn is_gateway_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(is_plain)
}

impl fmt::Display for SessionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.gateway {
            Some(gateway) => write!(f, "{gateway}/{}", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

impl FromStr for SessionRef {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (gateway, id) = match text.rsplit_once('/') {
            Some((gateway, id)) => (Some(gateway), id),
            None => (None, text),
        };
        let digits = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        match id.parse() {
            Ok(id) if digits && gateway.is_none_or(is_gateway_name) => {
                Ok(Self { gateway: gateway.map(str::to_owned), id })
            }
            _ => Err("it is neither ID nor GATEWAY/ID, as `kohakuriver vps sessions` lists them"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_a_number_or_a_gateway_with_a_number() {
        for (text, gateway, id) in [
            ("17", None, 17),
            ("gpu-head/17", Some("gpu-head"), 17),
            ("10.0.0.2:8002/1", Some("10.0.0.2:8002"), 1),
            ("[::1]:8002/18446744073709551615", Some("[::1]:8002"), u64::MAX),
        ] {
            let read: SessionRef = text.parse().unwrap();
            assert_eq!((read.gateway.as_deref(), read.id), (gateway, id));
            assert_eq!(read.to_string(), text);
        }
        let long = format!("{}/1", "x".repeat(65));
        for text in ["", "x", "-1", "+1", "/1", "a/", "a/b/1", "a b/1", "a%2f/1", "18446744073709551616", &long] {
            assert!(text.parse::<SessionRef>().is_err(), "{text}");
        }
    }
}
