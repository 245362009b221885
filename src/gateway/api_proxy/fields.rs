//! The fields of requests and answers that are passed on. All others stay here, and with them those of one connection
//! (RFC 9110 §7.6.1), those that only a trusted proxy may send, and the admin's token of a Host.

use std::net::IpAddr;

use hyper::header::{
    ACCEPT, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE, DATE, HeaderMap, HeaderName, HeaderValue,
    LOCATION, RETRY_AFTER, SET_COOKIE, USER_AGENT, WWW_AUTHENTICATE,
};

/// The fields of a request. A Host knows its callers by the first two.
const OF_REQUEST: [HeaderName; 5] = [AUTHORIZATION, COOKIE, ACCEPT, CONTENT_TYPE, USER_AGENT];
/// The fields of an answer. Its length is known from its body.
const OF_ANSWER: [HeaderName; 8] =
    [ALLOW, CACHE_CONTROL, CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The fields of the request to the Host, for one of `client` with these fields.
pub(super) fn of_request(given: &HeaderMap, client: IpAddr) -> HeaderMap {
    let mut fields = kept(given, &OF_REQUEST);
    // The client's own `X-Forwarded-For` is not trusted.
    if let Ok(address) = HeaderValue::try_from(client.to_string()) {
        fields.insert(FORWARDED_FOR, address);
    }
    fields.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
    fields
}

/// The fields of the answer to the client, for one of the Host with these fields.
pub(super) fn of_answer(given: &HeaderMap) -> HeaderMap {
    kept(given, &OF_ANSWER)
}

fn kept(given: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for name in names {
        for value in given.get_all(name) {
            fields.append(name, value.clone());
        }
    }
    for secret in [AUTHORIZATION, COOKIE, SET_COOKIE] {
        if let hyper::header::Entry::Occupied(mut values) = fields.entry(secret) {
            values.iter_mut().for_each(|value| value.set_sensitive(true));
        }
    }
    fields
}
