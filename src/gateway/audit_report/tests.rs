use super::*;
use clap::{Args as _, Command, FromArgMatches as _};
use serde_json::{Value, json};

/// The arguments, and what is printed for `log`, with the note about lines that were left out.
fn report(options: &str, log: &[u8]) -> (String, Option<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    std::fs::write(&path, log).unwrap();
    let words = ["audit"].into_iter().chain(options.split_whitespace()).map(str::to_owned);
    let matches = Arguments::augment_args(Command::new("audit").disable_help_flag(true))
        .try_get_matches_from(words.chain([path.display().to_string()]));
    let arguments = Arguments::from_arg_matches(&matches.unwrap()).unwrap();
    let mut out = Vec::new();
    let note = make(&arguments, &mut out).unwrap();
    let place = folder.path().display().to_string() + "/";
    (String::from_utf8(out).unwrap(), note.map(|note| note.replace(&place, "")))
}

fn rows(options: &str, log: &str) -> Vec<Value> {
    let (text, note) = report(&format!("--json {options}"), log.as_bytes());
    assert_eq!(note, None);
    serde_json::from_str(&text).unwrap()
}

/// A line at so many seconds after noon.
fn line(event: &str, second: u64, process: u32, session: u64, more: &Value) -> String {
    let mut line = json!({
        "time": format!("2026-11-23T12:{:02}:{:02}.000Z", second / 60, second % 60), "event": event, "process": process,
        "session": session, "user": "alice", "client": "10.0.0.9:51234", "transport": "tcp", "protocol": "connect",
        "task_id": "42", "name": "trainer", "node": "node1",
    });
    line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    line.to_string() + "\n"
}

fn opened(second: u64, process: u32, session: u64, more: &Value) -> String {
    line("opened", second, process, session, more)
}

/// A tunnel that was open for `seconds`.
fn closed(second: u64, process: u32, session: u64, seconds: u64, more: &Value) -> String {
    let mut end = json!({ "seconds": seconds, "bytes_up": 10, "bytes_down": 2000, "reason": "complete" });
    end.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    line("closed", second, process, session, &end)
}

fn refused(second: u64, more: &Value) -> String {
    let mut line = json!({
        "time": format!("2026-11-23T12:{:02}:{:02}.000Z", second / 60, second % 60), "event": "refused", "user": null,
        "client": "[::ffff:10.0.0.7]:4000", "transport": "tls", "protocol": "connect", "target": "trainer.kohakuriver:22",
        "reason": "not-found", "detail": null, "seconds": 0.004,
    });
    line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    line.to_string() + "\n"
}

#[test]
fn both_lines_of_a_tunnel_are_one_row() {
    let none = json!({});
    let log = [opened(0, 7, 1, &none), opened(1, 7, 2, &none), closed(60, 7, 1, 60, &none)].concat();
    let expected = json!({
        "event": "closed", "opened": "2026-11-23T12:00:00.000Z", "closed": "2026-11-23T12:01:00.000Z", "user": "alice",
        "task_id": "42", "name": "trainer", "node": "node1", "client": "10.0.0.9:51234", "transport": "tcp",
        "protocol": "connect", "seconds": 60.0, "bytes_up": 10, "bytes_down": 2000, "reason": "complete",
    });
    let rows = rows("", &log);
    assert_eq!(rows[0], expected);
    assert_eq!((&rows[1]["event"], &rows[1]["closed"], rows.len()), (&json!("opened"), &Value::Null, 2));
}

#[test]
fn a_tunnel_that_was_handed_over_is_one_row() {
    let none = json!({});
    let moved = json!({ "client": "10.0.0.8:1" });
    let log = [
        opened(0, 7, 1, &none),
        line("parked", 2, 7, 1, &moved),
        line("handed-over", 3, 7, 1, &none),
        line("resumed", 4, 8, 1, &moved),
        line("handed-over", 5, 8, 1, &none),
        closed(60, 9, 1, 60, &none),
        // Another one, which a third process has.
        opened(61, 7, 2, &none),
        line("handed-over", 62, 7, 2, &none),
    ];
    let rows = rows("", &log.concat());
    let seen: Vec<_> = rows.iter().map(|row| (row["event"].as_str().unwrap(), &row["opened"])).collect();
    let at = |time: &str| json!(format!("2026-11-23T{time}.000Z"));
    assert_eq!(seen, [("closed", &at("12:00:00")), ("opened", &at("12:01:01"))]);
}

#[test]
fn a_number_that_is_used_again_is_another_tunnel() {
    let none = json!({});
    let log = [opened(0, 1, 1, &none), opened(10, 1, 1, &none), closed(20, 1, 1, 10, &none)].concat();
    let closed: Vec<_> = rows("", &log).into_iter().map(|row| row["closed"].clone()).collect();
    assert_eq!(closed, [Value::Null, json!("2026-11-23T12:00:20.000Z")]);
}

#[test]
fn refused_requests_are_in_no_list_of_tunnels() {
    let log = [refused(1, &json!({})), closed(60, 7, 1, 60, &json!({}))].concat();
    assert_eq!(rows("", &log).len(), 1);
    let expected = json!({
        "event": "refused", "opened": "2026-11-23T12:00:01.000Z", "closed": null, "user": null, "task_id": null,
        "name": "trainer", "node": null, "client": "[::ffff:10.0.0.7]:4000", "transport": "tls", "protocol": "connect",
        "seconds": null, "bytes_up": 0, "bytes_down": 0, "reason": "not-found",
    });
    assert_eq!(rows("--event refused", &log), [expected]);
}

/// A log that begins in the midst of a tunnel, as after a rotation.
#[test]
fn an_end_without_a_start_is_a_row() {
    let rows = rows("", &closed(60, 7, 9, 3600, &json!({})));
    assert_eq!((rows.len(), &rows[0]["opened"]), (1, &json!("2026-11-23T11:01:00.000Z")));
}

#[test]
fn each_filter() {
    let log = [
        closed(100, 7, 1, 50, &json!({ "client": "10.0.0.1:1", "reason": "idle" })),
        closed(200, 7, 2, 50, &json!({ "user": null, "task_id": "43", "name": null, "node": "node2" })),
        refused(300, &json!({})),
        refused(301, &json!({ "target": "43:22", "user": "bob", "reason": "limit", "client": "[2001:db8::7]:9" })),
        opened(400, 7, 3, &json!({ "user": "bob" })),
    ]
    .concat();
    let count = |options: &str| {
        let sums = rows(&format!("--by user {options}"), &log);
        let sum = |field: &str| sums.iter().map(|row| row[field].as_u64().unwrap()).sum::<u64>();
        (sum("sessions"), sum("refused"))
    };
    for (options, expected) in [
        ("", (3, 2)),
        ("--user alice", (1, 0)),
        ("--user -", (1, 1)),
        ("--user bob --user alice", (2, 1)),
        ("--vps trainer", (2, 1)),
        ("--vps 42", (2, 0)),
        ("--vps 43", (1, 1)),
        ("--vps train", (0, 0)),
        ("--node node2", (1, 0)),
        ("--client 10.0.0.0/24", (3, 1)),
        ("--client 10.0.0.7", (0, 1)),
        ("--client 2001:db8::/32", (0, 1)),
        ("--reason idle --reason limit", (1, 1)),
        // A tunnel that was open then counts.
        ("--since 2026-11-23T12:01:41Z", (2, 2)),
        ("--since 2026-11-23T12:01:40Z", (3, 2)),
        ("--until 2026-11-23T12:00:49Z", (0, 0)),
        ("--until 2026-11-23T12:00:50Z", (1, 0)),
        ("--since 2026-11-23T12:05:01Z --until 2026-11-23T12:05:01Z", (0, 1)),
        ("--since 2026-11-23T23:00:00Z", (1, 0)),
        ("--event refused", (0, 2)),
        ("--event closed", (2, 0)),
        ("--event opened --since 2026-11-23T23:00:00Z", (0, 0)),
        ("--event closed --until 2026-11-23T12:01:00Z", (0, 0)),
    ] {
        assert_eq!(count(options), expected, "{options}");
    }
}

#[test]
fn sums_for_each_user_vps_client_node_and_reason() {
    let log = [
        closed(100, 7, 1, 50, &json!({ "bytes_up": u64::MAX })),
        closed(200, 7, 2, 150, &json!({ "client": "10.0.0.9:2", "reason": "idle" })),
        opened(210, 7, 3, &json!({ "user": "bob" })),
        refused(300, &json!({})),
    ]
    .concat();
    let (table, _) = report("--by user", log.as_bytes());
    assert_eq!(
        table,
        "USER   SESSIONS  OPEN  REFUSED  SECONDS  LONGEST     BYTES UP  BYTES DOWN\n\
         alice         2     0        0   3m 20s   2m 30s  16384.0 PiB     3.9 KiB\n\
         bob           1     1        0      0ms      0ms          0 B         0 B\n\
         -             0     0        1      0ms      0ms          0 B         0 B\n\
         (all)         3     1        1   3m 20s   2m 30s  16384.0 PiB     3.9 KiB\n"
    );
    for (by, keys) in [
        ("vps", json!(["42", "trainer"])),
        ("client", json!(["10.0.0.9", "10.0.0.7"])),
        ("node", json!(["node1", null])),
        ("reason", json!([null, "complete", "idle", "not-found"])),
    ] {
        let rows = rows(&format!("--by {by}"), &log);
        assert_eq!(rows.iter().map(|row| row[by].clone()).collect::<Value>(), keys, "{by}");
        assert_eq!(rows.iter().map(|row| row["sessions"].as_u64().unwrap()).sum::<u64>(), 3, "{by}");
    }
    let (csv, _) = report("--by vps --csv", log.as_bytes());
    assert_eq!(
        csv,
        "vps,name,sessions,open,refused,seconds,longest,bytes_up,bytes_down\r\n\
         42,trainer,3,1,0,200,150,18446744073709551615,4000\r\n\
         trainer,,0,0,1,0,0,0,0\r\n"
    );
}

#[test]
fn text_of_a_log_reaches_neither_a_terminal_nor_a_spreadsheet_as_a_command() {
    let odd = "\u{1b}[2J\u{202e}\u{9b}";
    let log = closed(60, 7, 1, 1, &json!({ "name": odd, "user": "=1+2,\"x\"", "node": "@SUM", "reason": "-x" }));
    let (table, _) = report("", log.as_bytes());
    let (csv, _) = report("--csv", log.as_bytes());
    let (json, _) = report("--json", log.as_bytes());
    for text in [&table, &csv, &json] {
        let is_safe = |c: char| !c.is_control() && c != '\u{202e}' || c == '\n' || c == '\r';
        assert!(text.chars().all(is_safe), "{text:?}");
    }
    assert!(table.contains(r"\u{1b}[2J\u{202e}\u{9b}"), "{table}");
    assert!(csv.contains("\"'=1+2,\"\"x\"\"\"") && csv.contains(",'@SUM,") && csv.ends_with(",'-x\r\n"), "{csv}");
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()[0]["name"], odd);
}

#[test]
fn lines_of_something_else_are_left_out_and_the_first_is_named() {
    let good = closed(60, 7, 1, 1, &json!({}));
    let long = format!("{{\"time\":\"{}\"}}\n", "x".repeat(200_000));
    let wrong = [
        "2026-11-23T12:00:00Z  INFO listening on 127.0.0.1:8002\n",
        "{\"time\":\"2026-11-23T12:00:00Z\",\"event\":\"opened\"",
        "{}\n",
        "[1]\n",
        "\u{0}\n",
        &long,
        &good.replace("\"closed\"", "\"renamed\""),
        &good.replace("10.0.0.9:51234", "10.0.0.9"),
        &good.replace("2026-11-23T", "23.11.2026 "),
        &good.replace("\"seconds\":1", "\"seconds\":-1"),
        &good.replace("\"seconds\":1", "\"seconds\":1e300"),
        &good.replace("\"bytes_up\":10", "\"bytes_up\":-1"),
    ];
    for wrong in wrong {
        let log = [&good, "\n", wrong.trim_end(), "\n", &good].concat();
        let (text, note) = report("--json", log.as_bytes());
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap().as_array().unwrap().len(), 2, "{wrong}");
        let note = note.unwrap();
        assert!(note.starts_with("one line was left out, line 3 of audit.log: it"), "{note}");
    }
    let (_, note) = report("", &[b"\xff\xfe\n".repeat(2), good.into_bytes()].concat());
    assert_eq!(note.unwrap(), "2 lines were left out; the first one is line 1 of audit.log: it is not JSON");
}

#[test]
fn an_empty_log_has_headers_or_an_empty_list() {
    assert_eq!(report("--json", b"").0, "[]\n");
    assert!(report("--csv", b"").0.starts_with("event,opened,"));
    assert!(report("", b"").0.starts_with("EVENT  OPENED  CLOSED  "));
    assert!(report("--by user", b"").0.contains("(all)"));
}

#[test]
fn sizes_for_people() {
    let log = |bytes: u64| closed(60, 7, 1, 1, &json!({ "bytes_down": bytes }));
    for (bytes, shown) in
        [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_048_575, "1.0 MiB"), (5 << 30, "5.0 GiB")]
    {
        let (table, _) = report("", log(bytes).as_bytes());
        assert!(table.contains(&format!(" {shown}  complete")), "{bytes}: {table}");
    }
}
