use super::*;
use std::collections::BTreeSet;

fn page(metrics: &Metrics) -> String {
    let mut page = Page::default();
    metrics.write(&mut page);
    page.text()
}

/// The value of the sample `name`, labels included.
fn value(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

#[test]
fn the_text_format_of_every_kind() {
    let mut page = Page::default();
    page.counter("a_total", "A.", [([("x", "q\"b\\s\nn"), ("y", "2")], 7)]);
    page.counter("b_total", "B.", [([], 1)]);
    page.gauge("c", "C.", &[], 0.5);
    page.gauges("d", "D.", [([("l", "m")], 3.0)]);
    let histogram = Histogram::new(&[0.01, 1.0]);
    // A bound belongs to its own bucket.
    for millis in [1, 10, 11, 1000, 1001] {
        histogram.observe(Duration::from_millis(millis));
    }
    page.histogram("e_seconds", "E.", &histogram);
    page.seconds("f_seconds_total", "F.", Duration::from_millis(1500));
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
# HELP f_seconds_total F.
# TYPE f_seconds_total counter
f_seconds_total 1.5
";
    assert_eq!(page.text(), expected);
}

#[test]
fn what_is_counted_stands_on_the_page() {
    let metrics = Metrics::default();
    metrics.accepted.add(4);
    metrics.handshakes.increment();
    metrics.opened(Protocol::Line).increment();
    metrics.closed(Ending::Idle).increment();
    metrics.refuse("not-found", "destination_not_found");
    metrics.refuse("incomplete-request", "http_request_error");
    metrics.looked_up(Lookup::Failed, Duration::from_secs(10));
    metrics.cache_stale.increment();
    metrics.limits.show("tunnels", 8, || 3, || 2);
    metrics.limits.show_of_each("head-bytes", 16384, || 5);
    let text = page(&metrics);
    for (name, expected) in [
        ("connections_accepted_total", 4.0),
        ("handshakes", 1.0),
        ("tunnels_opened_total{protocol=\"connect\"}", 0.0),
        ("tunnels_opened_total{protocol=\"line\"}", 1.0),
        ("tunnels_closed_total{ending=\"idle\"}", 1.0),
        ("tunnels_closed_total{ending=\"fault\"}", 0.0),
        ("requests_refused_total{reason=\"not-found\",error=\"destination_not_found\"}", 1.0),
        ("requests_refused_total{reason=\"incomplete-request\",error=\"http_request_error\"}", 1.0),
        ("requests_refused_total{reason=\"proxy-header\",error=\"http_request_error\"}", 0.0),
        ("requests_refused_total{reason=\"limit\",error=\"connection_limit_reached\"}", 0.0),
        ("host_lookups_total{outcome=\"failed\"}", 1.0),
        ("host_lookup_seconds_sum", 10.0),
        ("lookup_cache_total{result=\"stale\"}", 1.0),
        ("limit{limit=\"tunnels\"}", 8.0),
        ("limit_used{limit=\"tunnels\"}", 3.0),
        ("limit_met_total{limit=\"tunnels\"}", 2.0),
        ("limit{limit=\"head-bytes\"}", 16384.0),
        ("limit_met_total{limit=\"head-bytes\"}", 5.0),
        ("requests_refused_total{reason=\"head-too-slow\",error=\"http_request_error\"}", 0.0),
        ("requests_refused_total{reason=\"head-too-large\",error=\"http_request_error\"}", 0.0),
    ] {
        assert_eq!(value(&text, &format!("kohakuriver_gateway_{name}")), expected, "{name}");
    }
    metrics.handshakes.decrement();
    assert_eq!(value(&page(&metrics), "kohakuriver_gateway_handshakes"), 0.0);
}

#[test]
fn the_process_tells_of_itself() {
    let text = page(&Metrics::default());
    assert!(value(&text, "process_open_fds") >= 3.0);
    assert!(value(&text, "process_max_fds") >= value(&text, "process_open_fds"));
    assert!(value(&text, "process_resident_memory_bytes") > 1e6);
    assert!(value(&text, "process_cpu_seconds_total") > 0.0);
    let started = value(&text, "process_start_time_seconds");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - 60.0..=now).contains(&started), "{started} {now}");
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
