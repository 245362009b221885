//! The alerts and the dashboard in contrib/gateway: a real Prometheus loads them and scrapes a real gateway, and Grafana's
//! own types hold for the dashboard.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;

use crate::support::certificates::Authority;
use crate::support::gateway::{Gateway, inventory, running};
use crate::support::home::{Home, set_mode};
use crate::support::host_api::{ASSIGNED, OWNER, host_api};
use crate::support::peers::{Peer, echo_server};
use crate::support::run::{DEADLINE, Process, Run};
use crate::support::scene::ID;
use crate::support::sshd::free_port;
use crate::support::tools::{grafana, tool};
use crate::support::tunnels::{asked_of, echoes, users_tunnel};
use crate::support::watched::{connect, curl, metric};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/gateway")
}

fn text(file: &str) -> String {
    fs::read_to_string(folder().join(file)).unwrap()
}

fn dashboard() -> Value {
    serde_json::from_str(&text("grafana/dashboard.json")).unwrap()
}

/// Every query of the dashboard, with its legend.
fn queries() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all: Vec<_> = targets.map(|target| (text(&target["expr"]), text(&target["legendFormat"]))).collect();
    assert!(all.len() > 30, "only {} queries are found", all.len());
    all
}

/// A query as Grafana sends it.
fn filled_in(query: &str) -> String {
    query.replace("$__rate_interval", "30s").replace("$instance", ".*")
}

/// A gateway with everything that has metrics: a Host, TLS, users with tunnels, and refusals.
struct Scene {
    gateway: Gateway,
    tunnels: Vec<TcpStream>,
    home: Home,
    _parts: (Peer, Peer, Authority),
}

impl Scene {
    fn new(options: &[&str]) -> Self {
        let (vps, authority) = (echo_server(), Authority::new());
        let mut owned = running(ID, vps.address.port());
        owned["owner_username"] = "owner1".into();
        let host = host_api(vec![owned]);
        let server = authority.home.secret("gateway.pem", &authority.server(1).pem);
        let tls = ["--tls-listen", "127.0.0.1:0", "--tls-cert", server.to_str().unwrap(), "--api-proxy"];
        let gateway = Gateway::with_host_api_and(&format!("http://{}", host.address), &[&tls[..], options].concat());
        let tunnels = [OWNER, ASSIGNED, OWNER].map(|token| users_tunnel(gateway.address, ID, token)).into();
        let scene = Self { gateway, tunnels, home: Home::new(), _parts: (vps, host, authority) };
        asked_of(scene.gateway.address, &connect(&format!("{ID}:22")));
        scene
    }

    fn page(&self) -> String {
        curl(&self.home, self.gateway.admin, "/metrics", &[]).text()
    }
}

/// A real Prometheus with the files of contrib/gateway, which scrapes this gateway.
struct Prometheus {
    address: SocketAddr,
    home: Home,
    _process: Process,
}

impl Prometheus {
    fn scraping(admin: SocketAddr) -> Self {
        let home = Home::new();
        home.write("alerts.yml", text("prometheus/alerts.yml"));
        let config = text("prometheus/prometheus.yml");
        let fast = config.replace("localhost:8003", &admin.to_string()).replace("_interval: 15s", "_interval: 1s");
        assert!(config.contains("localhost:8003") && fast.matches(": 1s").count() == 2, "{config}");
        let config = home.write("prometheus.yml", fast);
        let run = Run::new(tool("prometheus"), &home).arg("--config.file").arg(config).arg("--storage.tsdb.path");
        let run = run.arg(home.join("data")).args(["--web.listen-address", "127.0.0.1:0"]).deadline(600);
        let process = run.start();
        let address = process.wait_for("its address", DEADLINE, |seen| {
            let said = String::from_utf8_lossy(&seen.stderr).into_owned();
            let (_, address) = said.split_once("msg=\"Listening on\" address=")?;
            address.split_whitespace().next()?.parse().ok()
        });
        Self { address, home, _process: process }
    }

    fn ask(&self, path: &str, args: &[&str]) -> Value {
        let url = format!("http://{}/api/v1/{path}", self.address);
        let run = Run::new(tool("curl"), &self.home).args(["-sS", "--noproxy", "*", &url]).args(args);
        serde_json::from_str(&run.output().text()).unwrap_or_default()
    }

    /// The series of a query, once there are some.
    fn series(&self, query: &str) -> Vec<Value> {
        let end = Instant::now() + DEADLINE;
        loop {
            let answer = self.ask("query", &["--data-urlencode", &format!("query={query}")]);
            assert!(answer["status"] != "error", "{query}: {answer}");
            match answer["data"]["result"].as_array() {
                Some(series) if !series.is_empty() => return series.clone(),
                _ => assert!(Instant::now() < end, "{query} has no data: {answer}"),
            }
        }
    }
}

impl Prometheus {
    /// Waits until each rule was evaluated, without an error. None is about a healthy gateway.
    fn evaluates_every_rule(&self) {
        let end = Instant::now() + DEADLINE;
        loop {
            let rules = self.ask("rules", &[]);
            let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap();
            for rule in rules {
                assert!(rule["health"] != "err" && rule["state"] == "inactive", "{rule}");
            }
            if rules.iter().all(|rule| rule["health"] == "ok") {
                return;
            }
            assert!(Instant::now() < end, "some rules were never evaluated: {rules:?}");
        }
    }
}

#[test]
fn each_alert_fires_when_it_should_and_at_no_other_time() {
    let home = Home::new();
    let folder = folder().join("prometheus");
    let promtool = |args: &[&str]| Run::new(tool("promtool"), &home).args(args).output();
    promtool(&["check", "rules", folder.join("alerts.yml").to_str().unwrap()]).succeeds();
    promtool(&["test", "rules", folder.join("alerts_test.yml").to_str().unwrap()]).succeeds();
    let config = folder.join("prometheus.yml");
    promtool(&["check", "config", config.to_str().unwrap()]).succeeds();
    // None is left out of the tests.
    let (rules, tests) = (text("prometheus/alerts.yml"), text("prometheus/alerts_test.yml"));
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 8, "{alerts:?}");
    for alert in alerts {
        let cases = tests.split("- eval_time: ").filter(|case| case.contains(&format!("alertname: {alert}\n")));
        let (quiet, fires): (Vec<_>, Vec<_>) = cases.partition(|case| case.contains("exp_alerts: []"));
        assert!(!quiet.is_empty() && !fires.is_empty(), "{alert} has no test of both kinds");
    }
    // And a rule that is wrong fails them.
    home.write("alerts_test.yml", &tests);
    home.write("alerts.yml", rules.replace("> 0.85", "> 0.95"));
    promtool(&["test", "rules", home.join("alerts_test.yml").to_str().unwrap()]).exits(1).says(&["LimitNearlyMet"]);
}

/// The label names of each metric on a page.
fn labels(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::<_, BTreeSet<_>>::new();
    for sample in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = sample.split_once(['{', ' ']).unwrap();
        let names = all.entry(name.to_owned()).or_default();
        if sample.as_bytes()[name.len()] == b'{' {
            // A value may hold anything but an unescaped quote.
            let parts: Vec<_> = rest.replace("\\\"", "").split('"').step_by(2).map(str::to_owned).collect();
            let label = |part: &String| Some(part.trim_start_matches(',').strip_suffix('=')?.to_owned());
            names.extend(parts.iter().filter_map(label));
        }
    }
    all
}

/// The names in a query that begin as those of metrics do.
fn metrics_in(query: &str) -> BTreeSet<String> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_metric = |word: &&str| word.starts_with("kohakuriver_gateway_") || word.starts_with("process_");
    words.filter(is_metric).map(str::to_owned).collect()
}

/// The labels that a query needs: those that it matches, and those that it sums by.
fn labels_in(query: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let between = |open: &str, close: char| {
        let parts = query.split(open).skip(1).map(move |rest| rest.split(close).next().unwrap().to_owned());
        parts.collect::<Vec<_>>()
    };
    let names = between("by (", ')');
    found.extend(names.iter().flat_map(|names| names.split(',')).map(|name| name.trim().to_owned()));
    for matchers in between("{", '}') {
        let names = matchers.split('"').step_by(2).map(|part| part.trim_start_matches(',').trim().to_owned());
        found.extend(
            names.map(|part| part.trim_end_matches(['=', '~', '!']).to_owned()).filter(|name| !name.is_empty()),
        );
    }
    found
}

#[test]
fn every_query_of_the_alerts_and_of_the_dashboard_has_an_answer_from_a_real_gateway() {
    let mut scene = Scene::new(&["--metrics-by-user"]);
    let prometheus = Prometheus::scraping(scene.gateway.admin);
    let known = labels(&scene.page());
    let check_names = |query: &str| {
        let metrics = metrics_in(query);
        for metric in &metrics {
            assert!(known.contains_key(metric), "no gateway has {metric}: {query}");
        }
        // Prometheus adds the first two.
        for label in labels_in(query).iter().filter(|label| !["instance", "job"].contains(&label.as_str())) {
            assert!(metrics.iter().any(|metric| known[metric].contains(label)), "no {label} in {metrics:?}: {query}");
        }
        metrics
    };
    prometheus.series("up == 1");
    let rules = prometheus.ask("rules", &[]);
    let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() > 8, "{rules:?}");
    let mut used = BTreeSet::new();
    for rule in rules {
        let query = rule["query"].as_str().unwrap();
        used.extend(check_names(query));
        for annotation in rule["annotations"].as_object().unwrap().values() {
            // A label that is not there would be an empty place in a message.
            for label in
                annotation.as_str().unwrap().split("$labels.").skip(1).map(|rest| rest.split(' ').next().unwrap())
            {
                let is_known = metrics_in(query).iter().any(|metric| known[metric].contains(label));
                assert!(["instance", "job"].contains(&label) || is_known, "{label}: {rule}");
            }
        }
    }
    for (query, legend) in queries() {
        used.extend(check_names(&query));
        // Some rates need a tunnel that opens and closes while Prometheus looks.
        drop(scene.tunnels.pop());
        scene.tunnels.push(users_tunnel(scene.gateway.address, ID, OWNER));
        echoes(scene.tunnels.last_mut().unwrap()).unwrap();
        let series = prometheus.series(&filled_in(&query));
        for label in legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap()) {
            assert!(series.iter().any(|one| one["metric"][label].is_string()), "{query} has no {label}: {series:?}");
        }
    }
    prometheus.evaluates_every_rule();
    for metric in ["host_api_up", "certificate_expiry_timestamp_seconds", "user_tunnels", "setup_seconds_bucket"] {
        assert!(used.contains(&format!("kohakuriver_gateway_{metric}")), "{metric} is used nowhere");
    }
}

/// The names above are found by splitting text: this must find them.
#[test]
fn a_name_that_no_gateway_has_would_be_found() {
    let query =
        "sum by (le, shoe) (rate(kohakuriver_gateway_x_bucket{instance=~\"$i\",colour!=\"red\"}[5m])) / process_y{}";
    assert_eq!(metrics_in(query).into_iter().collect::<Vec<_>>(), ["kohakuriver_gateway_x_bucket", "process_y"]);
    assert_eq!(labels_in(query).into_iter().collect::<Vec<_>>(), ["colour", "instance", "le", "shoe"]);
    let page = "# HELP a A.\na{x=\"q\\\"b,c=\",y=\"2\"} 7\nb 1\n";
    let known = labels(page);
    assert_eq!(known["a"].iter().collect::<Vec<_>>(), ["x", "y"]);
    assert!(known["b"].is_empty() && known.len() == 2);
}

#[test]
fn the_dashboard_is_one_by_grafanas_own_types() {
    let types =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/dashboard.ts")).unwrap();
    let home = Home::new();
    std::os::unix::fs::symlink(grafana("node_modules"), home.join("node_modules")).unwrap();
    let compiled = |dashboard: &Value| {
        let file = home.write("dashboard.ts", format!("{types}{dashboard}\n"));
        let tsc = home.join("node_modules/typescript/bin/tsc");
        let run = Run::new(tool("node"), &home).arg(tsc).args(["--noEmit", "--strict", "--module", "esnext"]);
        run.args(["--moduleResolution", "bundler", "--skipLibCheck", "--types", ""]).arg(file).output()
    };
    compiled(&dashboard()).succeeds().prints_nothing();
    // The types find what is wrong: an unknown field, an unknown word, a missing number, and an option of a plugin.
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 4] = [
        ("colour", |dashboard| dashboard["colour"] = "red".into()),
        ("mode", |dashboard| dashboard["panels"][1]["fieldConfig"]["defaults"]["thresholds"]["mode"] = "much".into()),
        ("schemaVersion", |dashboard| drop(dashboard.as_object_mut().unwrap().remove("schemaVersion"))),
        ("graphMode", |dashboard| dashboard["panels"][1]["options"]["graphMode"] = "round".into()),
    ];
    for (what, change) in changes {
        let mut wrong = dashboard();
        change(&mut wrong);
        let outcome = compiled(&wrong);
        let is_found = !outcome.status.success() && outcome.text().contains("error TS");
        outcome.check(is_found, &format!("an error about {what}"));
    }
    // Rules that the types don't have.
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
    let mut taken = BTreeSet::new();
    for panel in panels {
        let of = |field: &str| panel["gridPos"][field].as_u64().unwrap();
        for (x, y) in (of("x")..of("x") + of("w")).flat_map(|x| (of("y")..of("y") + of("h")).map(move |y| (x, y))) {
            assert!(x < 24 && taken.insert((x, y)), "panels overlap: {}", panel["title"]);
        }
    }
}

#[test]
fn users_are_on_the_page_if_the_admin_wants_them_there() {
    let with = Scene::new(&["--metrics-by-user"]);
    let page = with.page();
    for (sample, value) in [
        ("user_tunnels{user=\"owner1\"}", 2.0),
        ("user_tunnels{user=\"assigned1\"}", 1.0),
        ("user_tunnels{user=\"\"}", 0.0),
        ("user_tunnel_bytes_total{user=\"owner1\",direction=\"up\"}", 8.0),
        ("host_api_up", 1.0),
    ] {
        assert_eq!(metric(&page, sample), value, "{sample}");
    }
    let mut with = with;
    with.tunnels.iter_mut().for_each(|tunnel| echoes(tunnel).unwrap());
    assert_eq!(metric(&with.page(), "user_tunnel_bytes_total{user=\"owner1\",direction=\"down\"}"), 16.0);
    assert!(!Scene::new(&[]).page().contains("_user_"));
}

/// Without a look-up: an idle gateway notices it by the scrapes.
#[test]
fn a_host_api_that_goes_is_on_the_page() {
    let host = host_api(vec![]);
    let home = Home::new();
    let gateway = Gateway::with_host_api(&format!("http://{}", host.address));
    let up = || metric(&curl(&home, gateway.admin, "/metrics", &[]).text(), "host_api_up");
    assert_eq!(up(), 1.0);
    // One question, however often it is scraped.
    let asked = host.accepted();
    (0..50).for_each(|_| assert_eq!(up(), 1.0));
    assert_eq!(host.accepted(), asked);
    host.finish();
    let end = Instant::now() + DEADLINE;
    while up() != 0.0 {
        assert!(Instant::now() < end, "nobody notices");
    }
    // Without a Host, nothing can be missing.
    let alone = Gateway::with_inventory(&inventory(&[]));
    assert_eq!(metric(&curl(&home, alone.admin, "/metrics", &[]).text(), "host_api_up"), 1.0);
}

/// The part of an nginx configuration for a gateway whose admin address is a UNIX socket.
#[test]
fn nginx_shows_the_metrics_of_an_admins_socket_and_nothing_else() {
    let home = Home::new();
    set_mode(home.path(), 0o755);
    let socket = home.join("admin.sock");
    let gateway = {
        let inventory = home.write("inventory.json", inventory(&[]).to_string());
        let run = Run::new(crate::support::tools::GATEWAY, &home).args(["--listen", "127.0.0.1:0", "--api-listen"]);
        let run = run.args(["127.0.0.1:0", "--admin", &format!("unix:{}", socket.display()), "--inventory"]);
        run.arg(inventory).deadline(600).start()
    };
    gateway.stderr_line("listening on ");
    // In its place, nginx's user is in the socket's group.
    set_mode(&socket, 0o666);
    let port = free_port();
    let config = text("prometheus/nginx.conf");
    let here = config.replace("/run/kohakuriver-gateway/admin.sock", socket.to_str().unwrap());
    let here = here.replace("127.0.0.1:8004", &format!("127.0.0.1:{port}"));
    let folder = home.path().display();
    let paths =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path {folder}/{kind};"));
    let main = format!(
        "daemon off;\npid {folder}/nginx.pid;\nerror_log stderr;\nevents {{ }}\nhttp {{ access_log off; {} {here} }}\n",
        paths.join(" ")
    );
    let nginx = Run::new(tool("nginx"), &home).args(["-e", "stderr", "-c"]).arg(home.write("nginx.conf", main));
    let _nginx = nginx.deadline(600).start();
    let address: SocketAddr = ([127, 0, 0, 1], port).into();
    let end = Instant::now() + DEADLINE;
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < end, "nginx does not start");
    }
    assert_eq!(metric(&curl(&home, address, "/metrics", &[]).text(), "tunnels"), 0.0);
    let status = |path: &str, args: &[&str]| {
        curl(&home, address, path, &[&["-o", "/dev/null", "-w", "%{http_code}"], args].concat()).text()
    };
    for (path, args, expected) in [
        ("/metrics", &["-X", "DELETE"][..], "403"),
        ("/sessions", &[], "404"),
        ("/sessions/1", &["-X", "DELETE"], "404"),
        ("/metrics/../sessions", &["--path-as-is"], "404"),
        ("/", &[], "404"),
    ] {
        assert_eq!(status(path, args), expected, "{path} {args:?}");
    }
}
