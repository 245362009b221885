//! The parts of any HTTP/1 answer: its head, and how its body ends (RFC 9112).

use std::borrow::Cow;

/// How a body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Framing {
    /// `Content-Length`, in bytes.
    Length(usize),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// With the end of the connection.
    #[default]
    Close,
}

impl Framing {
    /// Whether `body`, as far as it has arrived, is complete.
    pub(crate) fn is_complete(self, body: &[u8]) -> bool {
        match self {
            Self::Length(length) => body.len() >= length,
            Self::Chunked => dechunk(body).1,
            Self::Close => false,
        }
    }

    /// The data of a body, which may be incomplete.
    pub(crate) fn data(self, body: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Length(length) => Cow::Borrowed(&body[..body.len().min(length)]),
            Self::Chunked => Cow::Owned(dechunk(body).0),
            Self::Close => Cow::Borrowed(body),
        }
    }
}

/// Parses a whole head, its empty line included, and passes it to `read`; `None` when it is not HTTP.
pub(crate) fn parse<T>(head: &[u8], read: impl FnOnce(u16, &httparse::Response<'_, '_>) -> T) -> Option<T> {
    // There are at most as many fields as lines, and the length of a head limits those.
    let lines = head.iter().filter(|&&b| b == b'\n').count();
    let mut fields = vec![httparse::EMPTY_HEADER; lines];
    let mut response = httparse::Response::new(&mut fields);
    let mut config = httparse::ParserConfig::default();
    // A malformed field is the server's fault, and no reason to refuse its answer.
    config.ignore_invalid_headers_in_responses(true).allow_obsolete_multiline_headers_in_responses(true);
    match config.parse_response(&mut response, head) {
        Ok(httparse::Status::Complete(_)) => Some(read(response.code.unwrap_or(0), &response)),
        Ok(httparse::Status::Partial) | Err(_) => None,
    }
}

/// The value of a field, in lower case.
pub(crate) fn field(response: &httparse::Response<'_, '_>, name: &str) -> Option<String> {
    let field = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
    Some(String::from_utf8_lossy(field.value).trim().to_ascii_lowercase())
}

/// How the body behind a head ends.
pub(crate) fn framing(response: &httparse::Response<'_, '_>) -> Framing {
    match field(response, "transfer-encoding") {
        Some(coding) if coding.ends_with("chunked") => Framing::Chunked,
        Some(_) => Framing::Close,
        None => field(response, "content-length").and_then(|n| n.parse().ok()).map_or(Framing::Close, Framing::Length),
    }
}

/// The data of a chunked body (RFC 9112 §7.1), and whether it is at its end: after the last chunk, or after bytes that
/// are no chunk.
fn dechunk(mut body: &[u8]) -> (Vec<u8>, bool) {
    let mut data = Vec::new();
    while let Ok(httparse::Status::Complete((head, size))) = httparse::parse_chunk_size(body) {
        if size == 0 {
            return (data, true);
        }
        let rest = &body[head..];
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(rest.len());
        data.extend_from_slice(&rest[..size]);
        // A CRLF follows the data.
        body = rest.get(size + 2..).unwrap_or_default();
    }
    let broken = httparse::parse_chunk_size(body).is_err();
    (data, broken)
}
