//! The body of a refusal, which explains it.
//!
//! Our own gateway sends problem details (RFC 9457) with additional members; other proxies send HTML or plain text, and
//! its first line is shown.

use serde_json::Value;

use super::connect::Refused;
use crate::text::excerpt;

/// Longest body that is read, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// The media type of problem details.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The explanation in a refusal's body, each text printable and cut.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Explanation {
    /// Problem details, of a gateway of this project or of another RFC 9457 server.
    Problem {
        /// The problem.
        title: String,
        /// Further details.
        detail: Option<String>,
        /// One step that helps.
        hint: Option<String>,
        /// The VPS's state, when the gateway names it.
        vps_status: Option<String>,
    },
    /// The first line of a text.
    Text(String),
    /// No explanation.
    Nothing,
}

/// Whether `body`, as far as it has arrived, is complete.
pub fn is_complete(refused: &Refused, body: &[u8]) -> bool {
    // Chunk extensions may have any length, and carry no text.
    body.len() >= MAX_BODY || refused.body.is_complete(body)
}

/// Reads the body of a refusal, which may be incomplete.
pub fn explain(refused: &Refused, body: &[u8]) -> Explanation {
    let data = refused.body.data(body);
    if refused.content_type == PROBLEM_JSON {
        return problem(&data).unwrap_or(Explanation::Nothing);
    }
    let text = String::from_utf8_lossy(&data);
    let html = refused.content_type.contains("html") || text.trim_start().starts_with('<');
    let text = if html { strip_html(&text) } else { text.into_owned() };
    match text.lines().map(excerpt).find(|line| !line.is_empty()) {
        Some(line) => Explanation::Text(line),
        None => Explanation::Nothing,
    }
}

fn problem(body: &[u8]) -> Option<Explanation> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let member = |name: &str| value.get(name).and_then(Value::as_str).map(excerpt).filter(|text| !text.is_empty());
    Some(Explanation::Problem {
        title: member("title")?,
        detail: member("detail"),
        hint: member("hint"),
        vps_status: member("vps_status"),
    })
}

/// The text of a small HTML page: tags become line ends, `style` and `script` are removed with their content, and the
/// few entities that proxies use are replaced.
fn strip_html(html: &str) -> String {
    // Computed once: a page may have thousands of styles.
    let lower = html.to_ascii_lowercase();
    let mut text = String::new();
    let mut at = 0;
    while let Some(tag) = html[at..].find('<') {
        text += &html[at..at + tag];
        text.push('\n');
        let tag = at + tag + 1;
        let Some(length) = html[tag..].find('>') else { return text };
        at = tag + length + 1;
        for (name, close) in [("style", "</style"), ("script", "</script")] {
            if lower[tag..].starts_with(name) {
                at = lower[at..].find(close).map_or(html.len(), |end| at + end);
            }
        }
    }
    text += &html[at..];
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&nbsp;", " ").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::http::Framing;
    use proptest::prelude::*;

    fn refused(content_type: &str, body: Framing) -> Refused {
        Refused { status: 409, content_type: content_type.into(), body, ..Refused::default() }
    }

    #[test]
    fn problem_details_of_a_gateway() {
        let body =
            br#"{"title":"VPS 42 is paused","status":409,"detail":"d","hint":"h\u001b[2J","vps_status":"paused"}"#;
        let refused = refused(PROBLEM_JSON, Framing::Length(body.len()));
        assert!(is_complete(&refused, body) && !is_complete(&refused, &body[1..]));
        assert_eq!(
            explain(&refused, body),
            Explanation::Problem {
                title: "VPS 42 is paused".into(),
                detail: Some("d".into()),
                hint: Some("h[2J".into()),
                vps_status: Some("paused".into()),
            }
        );
        for broken in [&b"{"[..], b"[]", b"{\"title\":7}", b""] {
            assert_eq!(explain(&refused, broken), Explanation::Nothing);
        }
    }

    #[test]
    fn the_first_line_of_other_proxies_bodies() {
        for (content_type, body, line) in [
            ("text/plain", "\r\n  Access denied.\r\nmore", "Access denied."),
            ("", "no type", "no type"),
            (
                "text/html",
                "<html><head><STYLE type=x>body { a: b }</STYLE><title>ERROR: 403 &amp; out</title></head></html>",
                "ERROR: 403 & out",
            ),
            ("", "<!DOCTYPE html>\n<h1>Forbidden</h1>", "Forbidden"),
        ] {
            assert_eq!(
                explain(&refused(content_type, Framing::Close), body.as_bytes()),
                Explanation::Text(line.into()),
                "{body}"
            );
        }
        assert_eq!(explain(&refused("text/html", Framing::Close), b"<html></html>"), Explanation::Nothing);
    }

    #[test]
    fn chunked_bodies() {
        let body = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
        let refused = refused("text/plain", Framing::Chunked);
        assert_eq!(explain(&refused, body), Explanation::Text("hello world".into()));
        assert!(is_complete(&refused, body) && !is_complete(&refused, &body[..12]));
        assert!(is_complete(&refused, b"no chunk size\r\n"));
    }

    #[test]
    fn every_body_has_a_limit() {
        let endless_extension = [b"5;".as_slice(), &[b'x'; MAX_BODY]].concat();
        for framing in [Framing::Close, Framing::Chunked, Framing::Length(usize::MAX)] {
            let refused = refused("text/plain", framing);
            assert!(is_complete(&refused, &endless_extension), "{framing:?}");
            assert!(is_complete(&refused, &endless_extension[..65_536]), "{framing:?}");
            assert!(!is_complete(&refused, &endless_extension[..65_535]), "{framing:?}");
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200), html in any::<bool>()) {
            for framing in [Framing::Close, Framing::Chunked, Framing::Length(50)] {
                let refused = refused(if html { "text/html" } else { PROBLEM_JSON }, framing);
                is_complete(&refused, &body);
                explain(&refused, &body);
            }
        }
    }
}
