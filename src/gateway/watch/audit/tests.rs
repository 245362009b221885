use super::*;
use crate::gateway::carry::session::Sessions;
use crate::gateway::carry::session::tests::tunnel;
use crate::gateway::tests::PATIENCE;
use crate::gateway::watch::notices::tests::Heard;
use crate::gateway::watch::records::Records;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::SystemTime;

/// An audit log, and what is written into it.
pub(crate) fn audit() -> (Audit, Heard) {
    audit_that_rests(REST)
}

/// The same, which gathers lines for so long.
pub(crate) fn audit_that_rests(rest: Duration) -> (Audit, Heard) {
    let heard = Heard::default();
    let sink = heard.clone();
    let open: Open = Box::new(move || Ok(Box::new(sink.clone())));
    (Audit(Some(Arc::new(Outlet::start("test", rest, open, Box::new(|_, _| {})).unwrap()))), heard)
}

/// The lines so far, without their times.
pub(crate) fn lines(audit: &Audit, heard: &Heard) -> Vec<Value> {
    audit.finish(PATIENCE);
    let line = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let time = line.as_object_mut().unwrap().remove("time").unwrap();
        let time = humantime::parse_rfc3339(time.as_str().unwrap()).unwrap();
        assert!(SystemTime::now().duration_since(time).unwrap() < PATIENCE);
        assert!(line.as_object_mut().unwrap().get("seconds").is_none_or(Value::is_number));
        line.as_object_mut().unwrap().remove("seconds");
        line
    };
    heard.text().lines().map(line).collect()
}

#[test]
fn a_tunnel_has_a_line_when_it_opens_and_when_it_closes() {
    let (audit, heard) = audit();
    let sessions = Arc::new(Sessions::new(0, Records { audit: audit.clone(), ..Records::default() }));
    let session = tunnel(&sessions, Some("alice"));
    session.up.fetch_add(3, Ordering::Relaxed);
    session.down.fetch_add(5, Ordering::Relaxed);
    session.close(Ending::ClientLost);
    drop(tunnel(&sessions, None));
    let opened = json!({
        "event": "opened", "process": std::process::id(), "session": 1, "user": "alice",
        "client": "10.0.0.9:51234", "transport": "tcp", "protocol": "connect", "task_id": "7323718749301768192",
        "name": "train", "node": "node1",
    });
    let mut closed = opened.clone();
    let more = json!({ "event": "closed", "bytes_up": 3, "bytes_down": 5, "reason": "client-lost" });
    closed.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let lines = lines(&audit, &heard);
    assert_eq!(lines[..2], [opened, closed]);
    assert_eq!((&lines[2]["user"], &lines[3]["reason"], lines.len()), (&Value::Null, &json!("fault"), 4));
    assert!(heard.text().starts_with("{\"time\":\""), "{}", heard.text());
}

#[test]
fn a_tunnel_has_a_line_each_time_its_client_goes_or_comes_or_its_process_changes() {
    let (audit, heard) = audit();
    let sessions = Arc::new(Sessions::new(0, Records::default()));
    let session = tunnel(&sessions, Some("alice"));
    audit.parked(&session);
    let away = session.change_away(|away| {
        away.client = "10.0.0.8:7".parse().unwrap();
        away.moves += 1;
    });
    audit.resumed(&session, away);
    // The client is lost at the address that it came from last.
    audit.parked(&session);
    audit.handed_over(&session);
    let lines = lines(&audit, &heard);
    let told: Vec<_> = lines.iter().map(|line| (&line["event"], &line["client"], &line["moves"])).collect();
    let expected = [
        ("parked", "10.0.0.9:51234", Value::Null),
        ("resumed", "10.0.0.8:7", json!(1)),
        ("parked", "10.0.0.8:7", Value::Null),
        ("handed-over", "10.0.0.9:51234", Value::Null),
    ];
    let expected = expected.map(|(event, client, moves)| (json!(event), json!(client), moves));
    assert!(told.into_iter().eq(expected.iter().map(|(event, client, moves)| (event, client, moves))), "{lines:?}");
    assert!(lines.iter().all(|line| line["user"] == "alice" && line["session"] == 1), "{lines:?}");
}

#[test]
fn text_from_a_client_is_printable() {
    let (audit, heard) = audit();
    let target = "a\u{9b}2Jb\u{202e}";
    audit.refused(&Refused {
        user: None,
        client: "[::1]:7".parse().unwrap(),
        transport: Transport::Tls,
        protocol: Some(Protocol::Line),
        target: Some(target),
        reason: "bad-request",
        detail: Some(format!("c\x07{}", "x".repeat(10_000))),
        took: Duration::from_millis(1500),
    });
    let lines = lines(&audit, &heard);
    assert!(heard.text().contains(r#""target":"a\u009b2Jb\u202e""#), "{}", heard.text());
    let detail = format!("c{}…", "x".repeat(299));
    assert_eq!(
        lines,
        [json!({
            "event": "refused", "user": null, "client": "[::1]:7", "transport": "tls", "protocol": "line", "target": target,
            "reason": "bad-request", "detail": detail,
        })]
    );
    assert!(heard.text().ends_with(",\"seconds\":1.5}\n"));
}

#[test]
fn a_file_is_private_appended_to_and_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let [path, moved] = ["audit.log", "audit.log.1"].map(|name| folder.path().join(name));
    let metrics = Arc::new(Metrics::default());
    let open = || Audit::open(&AuditLog::File(path.clone()), &Notices::default(), &metrics).unwrap();
    let count = || std::fs::read_to_string(&path).unwrap().lines().count();
    let note = |audit: &Audit| {
        let sessions = Arc::new(Sessions::new(0, Records { audit: audit.clone(), ..Records::default() }));
        drop(tunnel(&sessions, None));
        audit.finish(PATIENCE);
    };
    note(&open());
    let audit = open();
    note(&audit);
    assert_eq!(count(), 4);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    // logrotate renames the file like this.
    std::fs::rename(&path, &moved).unwrap();
    note(&audit);
    audit.reopen();
    note(&audit);
    assert_eq!(count(), 2);
    assert_eq!(std::fs::read_to_string(moved).unwrap().lines().count(), 6);
    assert_eq!(metrics.audit_lost.value(), 0);
}

#[test]
fn a_file_that_can_not_be_opened_is_an_error_at_the_start() {
    let metrics = Arc::new(Metrics::default());
    let missing = AuditLog::File("/no/such/folder/audit.log".into());
    let failure = Audit::open(&missing, &Notices::default(), &metrics).err().unwrap();
    let text = failure.render("p");
    assert!(text.starts_with("p: cannot write the audit log to /no/such/folder/audit.log\n  caused by: "), "{text}");
}

#[test]
fn lost_lines_are_counted_and_cause_one_warning() {
    let heard = Heard::default();
    let metrics = Arc::new(Metrics::default());
    // Always full, on Linux.
    let full = AuditLog::File("/dev/full".into());
    let audit = Audit::open(&full, &Notices::to(heard.clone()), &metrics).unwrap();
    let sessions = Arc::new(Sessions::new(0, Records { audit: audit.clone(), ..Records::default() }));
    for _ in 0..3 {
        drop(tunnel(&sessions, None));
        audit.finish(PATIENCE);
    }
    assert_eq!(metrics.audit_lost.value(), 6);
    let text = heard.text();
    assert_eq!(text.matches("audit lines to /dev/full are lost cause=\"").count(), 1, "{text}");
}

#[test]
fn destinations_as_typed() {
    for (typed, expected) in
        [("off", AuditLog::Off), ("-", AuditLog::Stdout), ("./off", AuditLog::File("./off".into()))]
    {
        assert_eq!(AuditLog::from(typed), expected);
    }
}
