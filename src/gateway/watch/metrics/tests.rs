use super::*;
use crate::gateway::limits::Wanted;
use crate::gateway::words::session::UserTotals;
use crate::handshake::request::TooLarge;
use std::collections::BTreeSet;

pub(crate) fn page(metrics: &Metrics) -> String {
    metrics.page(Totals::default(), 0, &Limits::of(&Wanted::default()), &Beside::default())
}

/// The value of the sample `name`, labels included.
fn value(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

#[test]
fn the_text_format_of_every_kind() {
    let mut page = Page::default();
    page.samples("a_total", "A.", [([("x", "q\"b\\s\nn"), ("y", "2")], 7)]);
    page.value("b_total", "B.", 1);
    page.value("c", "C.", 0.5);
    page.samples("d", "D.", [([("l", "m")], 3.0)]);
    let histogram = Histogram::new(&[0.01, 1.0]);
    // A bound belongs to its own bucket.
    for millis in [1, 10, 11, 1000, 1001] {
        histogram.observe(Duration::from_millis(millis));
    }
    page.histogram("e_seconds", "E.", &histogram.times());
    let expected = "\
# HELP a_total A.
# TYPE a_total counter
a_total{x=\"q\\\"b\\\\s\\nn\",y=\"2\"} 7
# HELP b_total B.
# TYPE b_total counter
b_total 1
# HELP c C.
# TYPE c gauge
c 0.5
# HELP d D.
# TYPE d gauge
d{l=\"m\"} 3
# HELP e_seconds E.
# TYPE e_seconds histogram
e_seconds_bucket{le=\"0.01\"} 2
e_seconds_bucket{le=\"1\"} 4
e_seconds_bucket{le=\"+Inf\"} 5
e_seconds_sum 2.023
e_seconds_count 5
";
    assert_eq!(page.text(), expected);
}

#[test]
fn every_count_is_on_the_page() {
    let metrics = Metrics::default();
    metrics.accepted(Transport::Tls).add(4);
    metrics.handshakes.increment();
    metrics.opened(Protocol::Line, Transport::Tls).increment();
    metrics.closed(Ending::Idle).increment();
    metrics.count_refused(("not-found", "destination_not_found"));
    metrics.count_refused(("incomplete-request", "http_request_error"));
    metrics.looked_up(Lookup::Failed, Duration::from_secs(10));
    (0..2).for_each(|_| metrics.looked_up(Lookup::Refused, Duration::ZERO));
    (0..3).for_each(|_| metrics.looked_up(Lookup::Found, Duration::ZERO));
    metrics.cache_stale.increment();
    metrics.cache_hits.add(2);
    metrics.cache_misses.add(3);
    metrics.turned_away.add(4);
    metrics.audit_lost.add(5);
    metrics.log_lost.add(6);
    metrics.replay_bytes.set(9);
    metrics.replay_bytes.set(7);
    [204, 204, 599].into_iter().for_each(|status| metrics.count_session_request(status));
    metrics.setup.observe(Duration::from_secs(2));
    metrics.life.observe(Duration::from_secs(3));
    let limits = Limits::of(&Wanted { tunnels: 1, ..Wanted::default() });
    let admit = || limits.tunnels.admit([127, 0, 0, 1].into(), None);
    let _permit = admit().unwrap();
    assert!(admit().is_err() && admit().is_err());
    limits.heads.count_too_large(TooLarge::Bytes(16384));
    let text = metrics.page(Totals { open: 3, bytes_up: 4, bytes_down: 5 }, 6, &limits, &Beside::default());
    for (name, expected) in [
        ("connections_accepted_total{transport=\"tls\"}", 4.0),
        ("connections_accepted_total{transport=\"tcp\"}", 0.0),
        ("handshakes", 1.0),
        ("tunnels_opened_total{protocol=\"connect\",transport=\"tls\"}", 0.0),
        ("tunnels_opened_total{protocol=\"line\",transport=\"tcp\"}", 0.0),
        ("tunnels_opened_total{protocol=\"line\",transport=\"tls\"}", 1.0),
        ("tunnels_closed_total{ending=\"idle\"}", 1.0),
        ("tunnels_closed_total{ending=\"fault\"}", 0.0),
        ("requests_refused_total{reason=\"not-found\",error=\"destination_not_found\"}", 1.0),
        ("requests_refused_total{reason=\"incomplete-request\",error=\"http_request_error\"}", 1.0),
        ("requests_refused_total{reason=\"proxy-header\",error=\"http_request_error\"}", 0.0),
        ("requests_refused_total{reason=\"limit\",error=\"connection_limit_reached\"}", 0.0),
        ("host_lookups_total{outcome=\"failed\"}", 1.0),
        ("host_lookups_total{outcome=\"refused\"}", 2.0),
        ("host_lookups_total{outcome=\"found\"}", 3.0),
        ("lookup_cache_total{result=\"hit\"}", 2.0),
        ("lookup_cache_total{result=\"miss\"}", 3.0),
        ("connections_turned_away_total", 4.0),
        ("log_lines_lost_total{log=\"audit\"}", 5.0),
        ("log_lines_lost_total{log=\"messages\"}", 6.0),
        ("replay_bytes", 7.0),
        ("session_requests_total{code=\"200\"}", 0.0),
        ("session_requests_total{code=\"204\"}", 2.0),
        ("session_requests_total{code=\"other\"}", 1.0),
        ("setup_seconds_sum", 2.0),
        ("tunnel_seconds_sum", 3.0),
        ("host_lookup_seconds_sum", 10.0),
        ("lookup_cache_total{result=\"stale\"}", 1.0),
        ("tunnels", 3.0),
        ("older_tunnels", 6.0),
        ("tunnel_bytes_total{direction=\"up\"}", 4.0),
        ("tunnel_bytes_total{direction=\"down\"}", 5.0),
        ("limit{limit=\"tunnels\"}", 1.0),
        ("limit_used{limit=\"tunnels\"}", 1.0),
        ("limit_met_total{limit=\"tunnels\"}", 2.0),
        ("limit{limit=\"handshakes\"}", 1024.0),
        ("limit_used{limit=\"handshakes\"}", 0.0),
        ("limit{limit=\"head-bytes\"}", 16384.0),
        ("limit_met_total{limit=\"head-bytes\"}", 1.0),
        ("limit_met_total{limit=\"head-fields\"}", 0.0),
        ("requests_refused_total{reason=\"head-too-slow\",error=\"http_request_error\"}", 0.0),
        ("requests_refused_total{reason=\"head-too-large\",error=\"http_request_error\"}", 0.0),
    ] {
        assert_eq!(value(&text, &format!("kohakuriver_gateway_{name}")), expected, "{name}");
    }
    metrics.handshakes.decrement();
    assert_eq!(value(&page(&metrics), "kohakuriver_gateway_handshakes"), 0.0);
}

#[test]
fn what_others_know_is_on_the_page_and_a_user_is_no_label_of_another() {
    let totals = |open| Totals { open, bytes_up: 1, bytes_down: 2 };
    let user = |user: Option<&str>, open| UserTotals { user: user.map(Into::into), totals: totals(open) };
    let until = SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_072_353);
    let beside = Beside {
        host_is_up: Some(false),
        certificates: vec![
            ("/etc/a\"b.pem".to_owned(), until),
            ("old.pem".to_owned(), SystemTime::UNIX_EPOCH - Duration::from_secs(5)),
        ],
        users: Some(vec![user(Some("a\"} 7\nx"), 3), user(None, 4)]),
    };
    let limits = Limits::of(&Wanted::default());
    let text = Metrics::default().page(Totals::default(), 0, &limits, &beside);
    for (name, expected) in [
        ("host_api_up", 0.0),
        ("certificate_expiry_timestamp_seconds{file=\"/etc/a\\\"b.pem\"}", 1_764_072_353.0),
        ("certificate_expiry_timestamp_seconds{file=\"old.pem\"}", -5.0),
        ("user_tunnels{user=\"a\\\"} 7\\nx\"}", 3.0),
        ("user_tunnels{user=\"\"}", 4.0),
        ("user_tunnel_bytes_total{user=\"\",direction=\"up\"}", 1.0),
        ("user_tunnel_bytes_total{user=\"\",direction=\"down\"}", 2.0),
    ] {
        assert_eq!(value(&text, &format!("kohakuriver_gateway_{name}")), expected, "{name}");
    }
    let without = page(&Metrics::default());
    assert!(!without.contains("_user_") && !without.contains("host_api_up"), "{without}");
}

#[test]
fn the_numbers_of_the_process() {
    let text = page(&Metrics::default());
    assert!(value(&text, "process_open_fds") >= 3.0);
    assert!(value(&text, "process_max_fds") >= value(&text, "process_open_fds"));
    assert!(value(&text, "process_resident_memory_bytes") > 1e6);
    assert!(value(&text, "process_cpu_seconds_total") > 0.0);
    let started = value(&text, "process_start_time_seconds");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - 60.0..=now).contains(&started), "{started} {now}");
}

#[test]
fn every_reason_for_a_refusal_is_counted() {
    let metrics = Metrics::default();
    let labels: Vec<_> = Refusal::reasons().into_iter().chain(ClientFault::LABELS).collect();
    labels.iter().for_each(|labels| metrics.count_refused(*labels));
    let text = page(&metrics);
    for (reason, error) in labels {
        let name = format!("kohakuriver_gateway_requests_refused_total{{reason=\"{reason}\",error=\"{error}\"}}");
        assert_eq!(value(&text, &name), 1.0, "{reason}");
    }
}

/// The rules of Prometheus for names, and that no family is written twice.
#[test]
fn names_follow_the_conventions() {
    let text = page(&Metrics::default());
    let kinds: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let helps = text.lines().filter(|line| line.starts_with("# HELP ") && line.ends_with('.')).count();
    assert!(kinds.len() > 15 && helps == kinds.len(), "{text}");
    let names: BTreeSet<_> = kinds.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), kinds.len(), "{text}");
    for (name, kind) in kinds {
        assert!(name.starts_with("kohakuriver_gateway_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        assert!(kind != "histogram" || name.ends_with("_seconds"), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
    }
}
