//! The order in which a name's addresses are tried (RFC 8305 §4).

use std::net::SocketAddr;
use std::time::Duration;

/// Time after which an unanswered attempt gets company from the next address (recommended by RFC 8305 §8).
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// `addresses` with alternating families, so that a dead family costs one delay and not one for each of its addresses.
/// The resolver's first address (RFC 6724) stays first, and each family keeps its order.
pub fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let [first, _, ..] = addresses[..] else { return addresses };
    let (mut mine, mut other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first.is_ipv6());
    let mut order = Vec::with_capacity(mine.len() + other.len());
    let (mut mine, mut other) = (mine.drain(..), other.drain(..));
    loop {
        let pair = [mine.next(), other.next()];
        if pair == [None, None] {
            return order;
        }
        order.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(addresses: &[&str]) -> Vec<String> {
        let addresses = addresses.iter().map(|address| format!("{address}:1").parse().unwrap()).collect();
        interleave(addresses).iter().map(|address: &SocketAddr| address.ip().to_string()).collect()
    }

    #[test]
    fn families_alternate_from_the_resolvers_first_address_on() {
        assert_eq!(order(&["[::1]", "[::2]", "[::3]", "10.0.0.1"]), ["::1", "10.0.0.1", "::2", "::3"]);
        assert_eq!(order(&["10.0.0.1", "10.0.0.2", "[::1]", "[::2]"]), ["10.0.0.1", "::1", "10.0.0.2", "::2"]);
        assert_eq!(order(&["10.0.0.1"]), ["10.0.0.1"]);
        assert!(order(&[]).is_empty());
    }
}
