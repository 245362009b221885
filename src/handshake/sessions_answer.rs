//! The gateway's answers to requests about [`super::sessions`].

use serde_json::json;

use super::answer::{SERVER, with_body};
use super::problem::PROBLEM_JSON;
use crate::text::{self, without_nulls};

/// The answer with a list, a text in JSON.
pub fn listed(list: &str) -> Vec<u8> {
    with_body(200, "application/json", "Cache-Control: no-store\r\n", &text::json(list))
}

/// The answer that a session ends now.
pub fn ended() -> Vec<u8> {
    format!("HTTP/1.1 204 No Content\r\nServer: {}\r\nConnection: close\r\n\r\n", SERVER).into_bytes()
}

/// A refusal: problem details (RFC 9457).
pub fn refused(status: u16, detail: &str, hint: Option<&str>, fields: &str) -> Vec<u8> {
    let title = "the gateway did not do what was asked about sessions";
    let body = without_nulls(json!({ "title": title, "status": status, "detail": detail, "hint": hint }));
    let login = match status {
        // Stock clients can send a token only as the password of Basic.
        401 => "WWW-Authenticate: Bearer realm=\"kohakuriver\"\r\nWWW-Authenticate: Basic realm=\"kohakuriver\"\r\n",
        _ => "",
    };
    with_body(status, PROBLEM_JSON, &format!("{fields}{login}"), &text::json(&body.to_string()))
}
