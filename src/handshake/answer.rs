//! The gateway's answers, in either protocol.

use serde_json::json;

use super::problem::PROBLEM_JSON;
use super::request::Request;
use super::resume::{self, Answered, Asked};
use crate::refusal::Refusal;
use crate::status::VpsStatus;
use crate::target::TaskId;
use crate::text::{self, without_nulls};

/// The acceptance of a CONNECT: no body and no length, the stream starts at the next byte (RFC 9110 §9.3.6).
pub const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// The program that answers, and its version (RFC 9110 §10.2.4).
pub(super) const SERVER: &str = concat!("kohakuriver-gateway/", env!("CARGO_PKG_VERSION"));

/// The acceptance of the line protocol.
pub const SUCCESS: &[u8] = b"SUCCESS\n";

/// The acceptance of a CONNECT whose tunnel is resumable.
pub fn established(resume: Answered) -> Vec<u8> {
    let value = resume.value();
    format!("HTTP/1.1 200 Connection established\r\n{}: {value}\r\n\r\n", resume::FIELD).into_bytes()
}

/// The refusal of `request`, in its own protocol.
pub fn refuse(request: &Request, refusal: &Refusal) -> Vec<u8> {
    match request {
        Request::Connect(connect) => match &connect.target {
            Ok(vps) if matches!(connect.resume, Some(Asked::Continue { .. })) && refusal.ends_session() => {
                over(refusal, &vps.to_string())
            }
            Ok(vps) => refused(refusal, &vps.to_string()),
            Err(_) => {
                let host = connect.as_sent.rsplit_once(':').map_or(connect.as_sent.as_str(), |(host, _)| host);
                refused(refusal, host)
            }
        },
        Request::Line(line) => match (line.target, refusal) {
            (Err(text), Refusal::BadRequest(_)) => line_error(text),
            _ => line_error(&refusal.line(&line.digits)),
        },
        Request::Sessions(_) => refused(refusal, ""),
    }
}

/// The refusal of a CONNECT: a status, `Proxy-Status` (RFC 9209) and problem details (RFC 9457). `vps` is how the
/// client named it.
pub fn refused(refusal: &Refusal, vps: &str) -> Vec<u8> {
    refused_with(refusal, vps, "")
}

/// The refusal of a CONNECT that would continue a session which is over.
pub fn over(refusal: &Refusal, vps: &str) -> Vec<u8> {
    refused_with(refusal, vps, &format!("{}: {}\r\n", resume::FIELD, Answered::Over.value()))
}

fn refused_with(refusal: &Refusal, vps: &str, fields: &str) -> Vec<u8> {
    let status = refusal.http_status();
    let body = without_nulls(json!({
        "title": refusal.title(vps),
        "status": status,
        // A client may also have named it by something that is no id.
        "task_id": TaskId::parse(vps).map(|id| id.to_string()),
        "detail": refusal.detail(),
        "vps_status": refusal.vps_status().map(VpsStatus::as_str),
        "hint": refusal.hint(vps),
    }));
    let mut all = format!("Proxy-Status: kohakuriver-gateway; error={}\r\n{fields}", refusal.proxy_error());
    if status == 407 {
        all += "Proxy-Authenticate: Bearer realm=\"kohakuriver\"\r\n";
        // Stock clients can send a token only as the password of Basic.
        all += "Proxy-Authenticate: Basic realm=\"kohakuriver\"\r\n";
    }
    if let Some(seconds) = refusal.retry_after() {
        all += &format!("Retry-After: {seconds}\r\n");
    }
    with_body(status, PROBLEM_JSON, &all, &text::json(&body.to_string()))
}

/// An answer with a body of this `kind`, and with these `fields`, each with its line end. The connection closes behind it.
pub(super) fn with_body(status: u16, kind: &str, fields: &str, body: &str) -> Vec<u8> {
    let (reason, length) = (reason_phrase(status), body.len());
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nServer: {SERVER}\r\n{fields}Content-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    (head + body).into_bytes()
}

/// The refusal of the line protocol.
pub fn line_error(text: &str) -> Vec<u8> {
    format!("ERROR {text}\n").into_bytes()
}

fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        407 => "Proxy Authentication Required",
        409 => "Conflict",
        410 => "Gone",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Gateway Timeout",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::connect::{self, Answer};
    use crate::handshake::problem::{self, Explanation};
    use crate::handshake::request::{self, MaxSize};
    use crate::handshake::{Step, line};
    use crate::refusal::{Rights, State};
    use crate::resume::SessionId;
    use crate::status::VpsStatus;

    #[test]
    fn our_own_client_reads_it() {
        let state = State { rights: Some(Rights::Own), ..VpsStatus::Paused.into() };
        let bytes = refused(&Refusal::Inactive(state), "42");
        let Step::Done(Answer::Refused(refused), eaten) = connect::read(&bytes) else { panic!("no refusal") };
        assert_eq!(refused.status_line(), "409 Conflict");
        assert!(problem::is_complete(&refused, &bytes[eaten..]));
        let Explanation::Problem { title, hint, vps_status, .. } = problem::explain(&refused, &bytes[eaten..]) else {
            panic!("no problem details")
        };
        assert_eq!(title, "VPS 42 is paused");
        assert_eq!(hint.as_deref(), Some("resume it with `kohakuriver vps resume 42`"));
        assert_eq!(vps_status.as_deref(), Some("paused"));
    }

    #[test]
    fn task_id_is_an_id_or_absent() {
        for (vps, id) in [
            ("42", json!("42")),
            ("trainer", json!(null)),
            ("example.org", json!(null)),
            ("99999999999999999999", json!(null)),
            ("", json!(null)),
        ] {
            let bytes = refused(&Refusal::NotFound, vps);
            let body = bytes.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
            let body: serde_json::Value = serde_json::from_slice(&bytes[body..]).unwrap();
            assert_eq!(body["task_id"], id, "{vps}");
        }
    }

    #[test]
    fn each_request_is_refused_in_its_own_protocol() {
        let bad = || Refusal::BadRequest("x".into());
        for (sent, refusal, part) in [
            ("CONNECT trainer:22 HTTP/1.1\r\n\r\n", Refusal::NotFound, "\"title\":\"there is no VPS trainer\""),
            ("CONNECT 42:80 HTTP/1.1\r\n\r\n", Refusal::PortNotOffered(80), "\"title\":\"VPS 42 offers port 22 only"),
            ("CONNECT 42 HTTP/1.1\r\n\r\n", bad(), "\"task_id\":\"42\""),
            ("REQUEST_TUNNEL 0042\n", Refusal::NotFound, "ERROR Task 0042 not found.\n"),
            ("REQUEST_TUNNEL x\n", bad(), "ERROR Invalid task ID format.\n"),
            ("REQUEST_TUNNEL x\n", Refusal::LineNotServed, "ERROR This gateway takes no REQUEST_TUNNEL: "),
            ("REQUEST_TUNNEL 42\n", bad(), "ERROR Invalid request format.\n"),
        ] {
            let Step::Done(Ok(request), _) = request::read(sent.as_bytes(), MaxSize::DEFAULT, &[]) else {
                panic!("{sent}")
            };
            let answer = String::from_utf8(refuse(&request, &refusal)).unwrap();
            let is_line = matches!(request, Request::Line(_));
            assert!(answer.starts_with(if is_line { part } else { "HTTP/1.1 4" }), "{sent}: {answer}");
            assert!(answer.contains(part), "{sent}: {answer}");
        }
    }

    #[test]
    fn each_status_has_its_own_fields() {
        let text = |refusal: Refusal| String::from_utf8(refused(&refusal, "42")).unwrap();
        for (refusal, status) in [
            (Refusal::BadRequest("x".into()), "400 Bad Request"),
            (Refusal::NotAllowed, "403 Forbidden"),
            (Refusal::NotFound, "404 Not Found"),
            (Refusal::TokenNeeded, "407 Proxy Authentication Required"),
            (Refusal::NoSshPort(None), "409 Conflict"),
            (Refusal::HostApi("down".into()), "502 Bad Gateway"),
            (Refusal::NoRunner, "503 Service Unavailable"),
            (Refusal::ConnectionTimeout, "504 Gateway Timeout"),
        ] {
            let answer = text(refusal.clone());
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\nServer: kohakuriver-gateway/")), "{answer}");
            assert_eq!(answer.contains("Proxy-Authenticate"), refusal == Refusal::TokenNeeded, "{answer}");
        }
        let login = text(Refusal::TokenNeeded);
        assert!(login.contains("\r\nProxy-Authenticate: Bearer realm=\"kohakuriver\"\r\n"));
        let starting = text(Refusal::Starting(VpsStatus::Pending.into()));
        assert!(starting.contains("\r\nRetry-After: 2\r\n"));
        assert!(starting.contains("\r\nProxy-Status: kohakuriver-gateway; error=destination_unavailable\r\n"));
    }

    #[test]
    fn our_own_client_reads_the_grant_of_a_resumable_tunnel() {
        let granted = Answered::New { id: SessionId([1; 16]), key: [2; 32], keep: 900, window: 4_194_304 };
        let bytes = established(granted);
        assert_eq!(connect::read(&bytes), Step::Done(Answer::Established(Some(granted)), bytes.len()));
    }

    #[test]
    fn a_session_is_called_over_only_where_the_client_would_continue_one_and_never_can() {
        let new = Asked::New([3; 32]);
        let to_continue = Asked::Continue { id: SessionId([1; 16]), delivered: 0, n: 1, mac: [2; 32], passed: false };
        for (asked, refusal, expected) in [
            (to_continue, Refusal::NotAllowed, Some(Answered::Over)),
            (to_continue, Refusal::NoRunner, None),
            (new, Refusal::NotAllowed, None),
        ] {
            let head = format!("CONNECT 42:22 HTTP/1.1\r\n{}: {}\r\n\r\n", resume::FIELD, asked.value());
            let Step::Done(Ok(request), _) = request::read(head.as_bytes(), MaxSize::DEFAULT, &[]) else {
                panic!("{head}")
            };
            let answer = connect::read(&refuse(&request, &refusal));
            let Step::Done(Answer::Refused(refused), _) = answer else { panic!("{answer:?}") };
            assert_eq!((refused.status, refused.resume), (refusal.http_status(), expected), "{head}");
        }
    }

    #[test]
    fn the_line_protocol_reads_back() {
        assert_eq!(line::read(SUCCESS), Step::Done(line::Answer::Success, SUCCESS.len()));
        let error = line_error("Task 42 not found.");
        assert_eq!(line::read(&error), Step::Done(line::Answer::Error("Task 42 not found.".into()), error.len()));
        assert_eq!(connect::read(ESTABLISHED), Step::Done(Answer::Established(None), ESTABLISHED.len()));
    }
}
