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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_is_a_whole_one_of_http() {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let list = text(listed("[]"));
        assert!(list.starts_with("HTTP/1.1 200 OK\r\n") && list.ends_with("\r\nConnection: close\r\n\r\n[]"), "{list}");
        assert!(list.contains("\r\nCache-Control: no-store\r\n"), "{list}");
        let end = text(ended());
        assert!(end.starts_with("HTTP/1.1 204 No Content\r\n") && end.ends_with("\r\n\r\n"), "{end}");
        for (status, line) in [(401, "401 Unauthorized"), (405, "405 Method Not Allowed"), (410, "410 Gone")] {
            let refusal = text(refused(status, "why", None, "X-Own: 1\r\n"));
            assert!(refusal.starts_with(&format!("HTTP/1.1 {line}\r\n")), "{refusal}");
            assert!(refusal.contains("\r\nX-Own: 1\r\n") && refusal.contains(r#""detail":"why""#), "{refusal}");
            assert_eq!(
                refusal.matches("\r\nWWW-Authenticate: ").count(),
                if status == 401 { 2 } else { 0 },
                "{refusal}"
            );
        }
    }
}
