//! The fields of a request's head, and the token in one of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::secret::Token;

/// The values of all fields of this name.
pub(super) fn values<'r>(request: &httparse::Request<'_, 'r>, name: &str) -> Vec<&'r [u8]> {
    let named = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
    named.map(|field| field.value).collect()
}

/// The token in `Bearer <token>` (RFC 6750) or `Basic <user:token>` (RFC 7617). Anything else counts as no token.
pub(super) fn credentials(value: &[u8]) -> Option<Token> {
    let value = std::str::from_utf8(value).ok()?.trim();
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Token::new(rest).ok();
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(rest.trim()).ok()?).ok()?;
    Token::new(decoded.split_once(':')?.1).ok()
}
