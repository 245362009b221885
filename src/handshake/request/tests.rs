use super::*;
use proptest::prelude::*;

const MOST: MaxSize = MaxSize::DEFAULT;

fn read(bytes: &[u8]) -> Step<Result<Request, TooLarge>> {
    super::read(bytes, MOST, &["localhost".to_owned(), "gpu-head".to_owned()])
}

fn connect(head: &str) -> Connect {
    match read(head.as_bytes()) {
        Step::Done(Ok(Request::Connect(connect)), eaten) => {
            assert_eq!(eaten, head.len(), "{head:?}");
            connect
        }
        other => panic!("{head:?}: {other:?}"),
    }
}

fn id(digits: &str) -> VpsRef {
    VpsRef::Id(TaskId::parse(digits).unwrap())
}

#[test]
fn a_request_for_a_path_is_told_by_its_start() {
    for (bytes, has_path) in [
        (&b"GET /api/vps HTTP/1.1\r\n"[..], true),
        (b"DELETE /a", true),
        (b"GET /sessionsx", true),
        // This may still be a request about sessions.
        (b"DELETE /", false),
        (b"GET /sess", false),
        (b"GET /sessions HTTP/1.1\r\n", false),
        (b"DELETE /sessions/7", false),
        (b"GET ", false),
        (b"GET", false),
        (b"", false),
        (b" /", false),
        (b" /api/vps", false),
        (b"CONNECT 42:22 HTTP/1.1\r\n", false),
        (b"REQUEST_TUNNEL 42\n", false),
        (b"GET http://x/ HTTP/1.1\r\n", false),
        (b"get /api HTTP/1.1\r\n", false),
    ] {
        assert_eq!(starts_with_path(bytes), has_path, "{}", bytes.escape_ascii());
    }
}

#[test]
fn what_stock_clients_send() {
    for (head, target) in [
        ("CONNECT 42:22 HTTP/1.1\r\nHost: 42:22\r\n\r\n", id("42")),
        ("CONNECT 42:22 HTTP/1.0\r\n\r\n", id("42")),
        ("CONNECT 42.kohakuriver:22 HTTP/1.1\r\nProxy-Connection: keep-alive\r\n\r\n", id("42")),
        ("CONNECT kohakuriver-vps-42:22 HTTP/1.0\n\n", id("42")),
        ("CONNECT trainer:22 HTTP/1.1\r\n\r\n", VpsRef::Name("trainer".into())),
    ] {
        assert_eq!(connect(head).target, Ok(target), "{head:?}");
    }
}

#[test]
fn tokens_as_bearer_and_as_a_password() {
    for (value, token) in [
        ("Bearer sekrit", Some("sekrit")),
        ("bearer sekrit", Some("sekrit")),
        ("Basic dXNlcjpzZWtyaXQ=", Some("sekrit")),
        ("Basic !!!", None),
        ("Digest x", None),
        ("Bearer ", None),
    ] {
        let head = format!("CONNECT 42:22 HTTP/1.1\r\nProxy-Authorization: {value}\r\n\r\n");
        assert_eq!(connect(&head).token.as_ref().map(Token::expose), token, "{value}");
    }
}

#[test]
fn a_token_in_a_wrong_place_is_not_quoted() {
    let token = "0123456789abcdef".repeat(4);
    for (request, quoted) in [
        (format!("CONNECT me:{token}@42:22 HTTP/1.1\r\n\r\n"), "`…@42:22` has a user"),
        (format!("CONNECT {token}@42:22 HTTP/1.1\r\n\r\n"), "`…@42:22` has a user"),
        (format!("CONNECT a@{token}@42 HTTP/1.1\r\n\r\n"), "`…@42` has a user"),
        (format!("Bearer {token}\r\n"), "`Bearer …` is not an HTTP request"),
        (format!("Proxy-Authorization: Bearer {token}\r\n"), "`Proxy-Authorization: …` is not an HTTP request"),
        (format!("{token}\r\n"), "`012345…` is not an HTTP request"),
        (format!("me:{token}@h 42\r\n"), "`…@h …` is not an HTTP request"),
        (format!("{token} / HTTP/1.1\r\n\r\n"), "CONNECT, not 012345…"),
        (format!("REQUEST_TUNNEL 42 {token}\n"), "42 …"),
        (format!("REQUEST_TUNNEL {token}\n"), "012345…"),
        (format!("REQUEST_TUNNEL\t{token}\n"), "012345…"),
        (format!("REQUEST_TUNNEL{token}\n"), "012345…"),
    ] {
        let Step::Done(Ok(read), _) = read(request.as_bytes()) else { panic!("{request}") };
        let text = format!("{read:?}");
        assert!(text.contains(quoted) && !text.contains(&token[..16]), "{request}: {text}");
    }
}

#[test]
fn one_empty_line_before_a_connect_is_skipped() {
    for start in ["\r\n", "\n"] {
        assert_eq!(connect(&format!("{start}CONNECT 42:22 HTTP/1.1\r\n\r\n")).target, Ok(id("42")), "{start:?}");
        let line = format!("{start}REQUEST_TUNNEL 42\n");
        assert!(matches!(connect(&line).target, Err(Refusal::BadRequest(_))), "a Host takes none either");
    }
    for part in ["\r", "\r\n", "\n", "\r\nCONNECT 42:22 HTTP/1.1\r\n"] {
        assert!(matches!(read(part.as_bytes()), Step::Incomplete), "{part:?}");
    }
}

#[test]
fn fields_that_a_connect_may_not_have() {
    for (fields, why) in [
        ("Host: 42.kohakuriver:22\r\nhost: 42.kohakuriver:22", "more than one Host field"),
        ("Content-Length: 0", "has no content"),
        ("content-length: 5\r\nContent-Length: 6", "has no content"),
        ("Transfer-Encoding: chunked", "has no content"),
        ("Proxy-Authorization: Bearer a\r\nproxy-authorization: Bearer b", "more than one Proxy-Auth"),
    ] {
        let target = connect(&format!("CONNECT 42.kohakuriver:22 HTTP/1.1\r\n{fields}\r\n\r\n")).target;
        let is_why = |refusal: &Refusal| matches!(refusal, Refusal::BadRequest(text) if text.contains(why));
        assert!(target.as_ref().is_err_and(is_why), "{fields}: {target:?}");
    }
}

#[test]
fn a_host_field_names_the_vps_or_the_proxy() {
    let long = format!("{}.example", "x".repeat(250));
    let fits = |target: &str, host: &str| {
        let target = connect(&format!("CONNECT {target}:22 HTTP/1.1\r\nHost: {host}\r\n\r\n")).target;
        let error = target.as_ref().err().map(|refusal| refusal.detail().unwrap_or_default());
        assert!(error.as_ref().is_none_or(|why| why.contains("its Host field names neither")), "{host}: {error:?}");
        error.is_none()
    };
    for host in [
        // The VPS, in each way to write it.
        "42",
        "42:22",
        "42:",
        "0042:22",
        "42.",
        "42.:22",
        "42.kohakuriver",
        " 42.KohakuRiver:22 ",
        "42.kohakuriver.:22",
        "kohakuriver-vps-42:22",
        // The proxy: what proxytunnel sends is its `-p` without the port.
        "",
        "127.0.0.1",
        "127.0.0.1:8002",
        "[::1]:8002",
        "::1",
        "fe80::1%eth0",
        "localhost",
        "GPU-head:8002",
        "gpu-head.",
        "gpu.lab.example:8002",
        "gpu.lab.example.",
        "42.kohakuriver.example.org:22",
    ] {
        assert!(fits("42.kohakuriver", host), "{host}");
    }
    for host in [
        "43",
        "43:22",
        "43.:22",
        "43..:22",
        "43.kohakuriver:22",
        "43.kohakuriver.:22",
        "kohakuriver-43",
        "42:23",
        "42.kohakuriver:8002",
        "42:22:22",
        "42:65558",
        "42:+22",
        "42:x",
        "42 43",
        "42,43",
        "me@42:22",
        "trainer",
        "trainer.KOHAKURIVER",
        "gpu-head2",
        ".",
        "..",
        ".42",
        "42..kohakuriver",
        "1.42",
        "gpu..example",
        ":22",
        "[42]",
        "[::1",
        "-x.example",
        "\u{ff14}\u{ff12}",
        "43:22:a.b",
        "43.kohakuriver:22:x.y",
        "43.kohakuriver%x.y",
        "[43.x]:22",
        "43,.x",
        "*.*",
        "(43).x",
        "a.b;c",
        "43|.x",
        "http://42:22",
        &long,
    ] {
        assert!(!fits("42.kohakuriver", host), "{host}");
    }
    assert!(fits("trainer", "Trainer.kohakuriver:22") && fits("größe", "größe"));
    assert!(!fits("trainer", "trainer2") && !fits("trainer", "42"));
    // The address that curl makes of `42` is no VPS, and that is the error.
    let target = connect("CONNECT 0.0.0.42:22 HTTP/1.1\r\nHost: 0.0.0.42:22\r\n\r\n").target;
    assert!(matches!(&target, Err(Refusal::BadRequest(why)) if why.contains("is not a VPS")), "{target:?}");
    let latin1 = [&b"CONNECT 42:22 HTTP/1.1\r\nHost: 42\xe4\r\n\r\n"[..]].concat();
    let Step::Done(Ok(Request::Connect(request)), _) = read(&latin1) else { panic!("no CONNECT") };
    assert!(matches!(request.target, Err(Refusal::BadRequest(_))));
}

#[test]
fn targets_that_look_the_same_stay_different_in_logs() {
    for (target, shown) in [
        ("trainer:22", "trainer:22".to_owned()),
        ("trai\u{202e}ner:22", r"trai\u{202e}ner:22".to_owned()),
        (&"x".repeat(400), format!("{}…", "x".repeat(MAX_EXCERPT))),
    ] {
        assert_eq!(connect(&format!("CONNECT {target} HTTP/1.1\r\n\r\n")).as_sent, shown);
    }
}

#[test]
fn only_a_vps_and_only_port_22() {
    for target in ["127.0.0.1:22", "[::1]:22", "example.org:22", "169.254.169.254:80", "42", "42:", "42:x", "42:+22"] {
        let refusal = connect(&format!("CONNECT {target} HTTP/1.1\r\n\r\n")).target.unwrap_err();
        assert!(matches!(refusal, Refusal::BadRequest(_)), "{target}: {refusal:?}");
    }
    let refusal = connect("CONNECT 00007323718749301768192:22 HTTP/1.1\r\n\r\n").target.unwrap_err();
    assert!(matches!(&refusal, Refusal::BadRequest(why) if why.contains("at most 19 digits")), "{refusal:?}");
    let refusal = connect("CONNECT 42:80 HTTP/1.1\r\n\r\n").target.unwrap_err();
    assert_eq!(refusal, Refusal::PortNotOffered(80));
}

#[test]
fn a_request_that_is_no_connect_is_answered_at_once() {
    for head in ["SSH-2.0-OpenSSH_9.2\r\n", "\r\n\r\n", "\n\n", "\r\nhello\n", "hello\n", "x\n"] {
        assert!(matches!(connect(head).target, Err(Refusal::BadRequest(_))), "{head:?}");
    }
    for head in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT 42:22 HTTP/1.1\r\nbad field\r\n\r\n"] {
        assert!(matches!(connect(head).target, Err(Refusal::BadRequest(_))), "{head:?}");
    }
}

#[test]
fn limits_hold() {
    let fields = |n: usize| format!("CONNECT 42:22 HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(n));
    assert!(connect(&fields(MOST.fields)).target.is_ok());
    let too_large = |text: &str, most| match super::read(text.as_bytes(), most, &[]) {
        Step::Done(Err(too_large), eaten) => {
            assert_eq!(eaten, text.len());
            Some(too_large)
        }
        _ => None,
    };
    assert_eq!(too_large(&fields(MOST.fields + 1), MOST), Some(TooLarge::Fields(100)));
    let bytes = Some(TooLarge::Bytes(16 * 1024));
    assert_eq!(too_large(&format!("CONNECT 42:22 HTTP/1.1\r\nA: {}", "x".repeat(MOST.bytes)), MOST), bytes);
    let whole = format!("CONNECT 42:22 HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(MOST.bytes));
    assert_eq!(too_large(&whole, MOST), bytes);
    for start in ["", "REQUEST_TUNNEL "] {
        assert_eq!(too_large(&(start.to_owned() + &"x".repeat(MOST.bytes + 1)), MOST), bytes);
    }
    let line = format!("REQUEST_TUNNEL {}42\n", "0".repeat(MOST.bytes));
    assert_eq!(too_large(&line, MOST), bytes);
    // And what else they are set to.
    let most = MaxSize { bytes: 200, fields: 2 };
    assert_eq!((too_large(&fields(2), most), too_large(&fields(3), most)), (None, Some(TooLarge::Fields(2))));
    assert_eq!(too_large(&"x".repeat(201), most), Some(TooLarge::Bytes(200)));
    assert_eq!(super::read(&[b'x'; 200], most, &[]), Step::Incomplete);
}

#[test]
fn the_line_protocol_as_hosts_take_it() {
    let ok = |digits: &str| Ok(TaskId::parse(digits).unwrap());
    for (line, target, digits) in [
        ("REQUEST_TUNNEL 42\n", ok("42"), "42"),
        ("REQUEST_TUNNEL 42\r\n", ok("42"), "42"),
        ("REQUEST_TUNNEL  \t42  \n", ok("42"), "42"),
        // Hosts accept leading zeros here, and here alone: 23 digits and more are one id.
        ("REQUEST_TUNNEL 00007323718749301768192\n", ok("7323718749301768192"), "00007323718749301768192"),
        ("REQUEST_TUNNEL 0000000000000000000000042\n", ok("42"), "0000000000000000000000042"),
        ("REQUEST_TUNNEL 0\n", ok("0"), "0"),
        ("REQUEST_TUNNEL \n", Err(INVALID_ID), ""),
        ("REQUEST_TUNNEL\n", Err(INVALID_FORMAT), ""),
        ("REQUEST_TUNNEL42\n", Err(INVALID_FORMAT), "42"),
        ("REQUEST_TUNNEL -1\n", Err(INVALID_ID), "-1"),
        ("REQUEST_TUNNEL 1 2\n", Err(INVALID_ID), "1 …"),
        ("REQUEST_TUNNEL ٤٢\n", Err(INVALID_ID), "٤٢"),
        ("REQUEST_TUNNEL 9223372036854775808\n", Err(INTERNAL_ERROR), "9223372036854775808"),
    ] {
        let bytes = [line.as_bytes(), b"SSH-2.0-x\r\n"].concat();
        let expected = Request::Line(Line { target, digits: digits.into() });
        assert_eq!(read(&bytes), Step::Done(Ok(expected), line.len()), "{line:?}");
        for cut in 0..line.len() {
            assert_eq!(read(&bytes[..cut]), Step::Incomplete, "{line:?} cut at {cut}");
        }
    }
}

proptest! {
    #[test]
    fn a_split_changes_nothing(fields in 0usize..100, lf in any::<bool>()) {
        let end = if lf { "\n" } else { "\r\n" };
        let mut head = format!("CONNECT 42:22 HTTP/1.1{end}");
        for n in 0..fields {
            head += &format!("X-Field-{n}: value{end}");
        }
        head += end;
        let whole = read(head.as_bytes());
        prop_assert!(matches!(&whole, Step::Done(_, eaten) if *eaten == head.len()));
        for cut in 0..head.len() {
            prop_assert_eq!(read(&head.as_bytes()[..cut]), Step::Incomplete);
        }
    }

    #[test]
    fn no_bytes_make_it_panic_or_eat_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for start in [&b""[..], b"CONNECT ", b"REQUEST_TUNNEL ", b"CONNECT 42:22 HTTP/1.1\r\n"] {
            let bytes = [start, bytes.as_slice()].concat();
            if let Step::Done(_, eaten) = read(&bytes) {
                prop_assert!(eaten <= bytes.len());
            }
        }
    }
}
