//! A line as JSON, written field by field.
//!
//! A serializer looks at each byte of each name and each value, which takes several times the processor: a gateway
//! writes two lines for each tunnel. The names here are plain, and so are almost all values.

use std::fmt::{Display, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use crate::text::json;

/// Room for a usual line, in bytes.
const ROOM: usize = 384;

/// A line that is being written.
pub(super) struct Line(String);

impl Line {
    /// A line about `event`, which is now.
    pub(super) fn new(event: &'static str) -> Self {
        let mut line = String::with_capacity(ROOM);
        line += "{\"time\":\"";
        Self(line)
            .shown(humantime::format_rfc3339_millis(SystemTime::now()))
            .raw("\",\"event\":\"")
            .raw(event)
            .raw("\"")
    }

    /// One of our words, which have nothing to escape.
    pub(super) fn word(self, name: &'static str, value: &'static str) -> Self {
        self.name(name).raw("\"").raw(value).raw("\"")
    }

    /// An address or a number as a text.
    pub(super) fn plain(self, name: &'static str, value: impl Display) -> Self {
        self.name(name).raw("\"").shown(value).raw("\"")
    }

    /// Any text.
    pub(super) fn text(self, name: &'static str, value: Option<&str>) -> Self {
        let line = self.name(name);
        match value {
            None => line.raw("null"),
            Some(value) if value.bytes().all(is_plain) => line.raw("\"").raw(value).raw("\""),
            // A text has nothing that JSON can't express.
            Some(value) => line.raw(&json(&serde_json::to_string(value).unwrap_or_default())),
        }
    }

    pub(super) fn number(self, name: &'static str, value: u64) -> Self {
        self.name(name).shown(value)
    }

    pub(super) fn client(self, client: SocketAddr) -> Self {
        self.plain("client", client)
    }

    /// A duration, to the millisecond.
    pub(super) fn seconds(mut self, value: Duration) -> Self {
        self = self.name("seconds");
        let _ = write!(self.0, "{:?}", value.as_millis() as f64 / 1000.0);
        self
    }

    /// The whole line, with a line feed.
    pub(super) fn end(self) -> String {
        self.raw("}\n").0
    }

    fn name(self, name: &'static str) -> Self {
        self.raw(",\"").raw(name).raw("\":")
    }

    fn shown(mut self, value: impl Display) -> Self {
        // A text takes all.
        let _ = write!(self.0, "{value}");
        self
    }

    fn raw(mut self, text: &str) -> Self {
        self.0 += text;
        self
    }
}

/// Whether a byte of a text is in JSON as it is, and on a terminal as well.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_line_is_json_whatever_its_texts_are() {
        for text in ["", "alice", "a\"b\\c", "a\u{1b}[2J\u{9b}\u{202e}\u{7f}\n", "日本 ü", "\u{e0041}"] {
            let line = Line::new("opened")
                .text("user", Some(text))
                .text("name", None)
                .client("[::1]:7".parse().unwrap())
                .number("session", u64::MAX)
                .seconds(Duration::from_micros(1_500_999))
                .end();
            let read: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(
                (&read["user"], &read["name"], &read["client"]),
                (&text.into(), &Value::Null, &"[::1]:7".into())
            );
            assert_eq!((&read["session"], &read["event"]), (&u64::MAX.into(), &"opened".into()));
            assert!(line.ends_with(",\"seconds\":1.5}\n") && line.starts_with("{\"time\":\"20"), "{line}");
            assert!(line.trim_end().chars().all(|c| !c.is_control() && c != '\u{202e}' && c != '\u{e0041}'), "{line}");
        }
        for (seconds, shown) in [(0.0, "0.0"), (0.004, "0.004"), (197.485, "197.485"), (1e9, "1000000000.0")] {
            let line = Line::new("closed").seconds(Duration::from_secs_f64(seconds)).end();
            assert!(line.ends_with(&format!(":{shown}}}\n")), "{line}");
        }
    }
}
