//! Tables on terminals: which columns a narrow terminal shows, and colour.

use serde_json::{Value, json};

use crate::support::gateway::NODE;
use crate::support::home::Home;
use crate::support::life_host::{LifeHost, vps};
use crate::support::peers::http_server;
use crate::support::terminal::{lines, on_a_terminal};

const ID: &str = "7323718749301768192";
const LONG_NAME: &str = "a-name-that-goes-on-and-on-and-on-and-on";

/// A Host with VPSes with these last digits of the id, names and states.
fn host(vpses: &[(u8, &str, &str)]) -> LifeHost {
    let host = LifeHost::start(22022);
    for (digit, name, status) in vpses {
        let mut vps = vps(status, "docker", if *status == "running" { 22022 } else { 0 });
        vps["task_id"] = format!("732371874930176819{digit}").into();
        vps["name"] = json!(name);
        host.change(|state| state.vpses.push(vps));
    }
    host
}

fn usual() -> LifeHost {
    host(&[(2, "trainer", "running"), (3, "notebook-of-alice", "assigning"), (4, "", "failed")])
}

/// The output of `args` on a terminal of this width. `gateway` is the port of the admin address.
fn shown(api: u16, gateway: u16, args: &str, width: u16) -> String {
    let home = Home::new();
    let run = on_a_terminal(&home, api, (width, 24), "dumb", args);
    let outcome = run.env("KOHAKURIVER_GATEWAY_ADMIN", format!("127.0.0.1:{gateway}")).output();
    let lines = lines(&outcome);
    for line in &lines {
        assert!(columns(line) <= usize::from(width), "{width}: {line}");
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Terminal columns of the texts in these tests.
fn columns(line: &str) -> usize {
    line.chars().map(|c| if ('\u{2e80}'..='\u{a4cf}').contains(&c) { 2 } else { 1 }).sum()
}

#[track_caller]
fn check(seen: &str, expected: &str) {
    assert!(seen == expected.trim_start(), "expected\n{}\nand saw\n{seen}", expected.trim_start());
}

#[test]
fn vps_list_keeps_the_most_important_columns() {
    let host = usual();
    let list = |width| shown(host.peer.address.port(), 1, "vps list --all", width);
    check(
        &list(120),
        "
TASK ID              NAME               STATUS     NODE     SSH PORT  SUBMITTED      BACKEND  OWNER
7323718749301768192  trainer            running    node-up  22022     3 minutes ago  docker   operator1
7323718749301768193  notebook-of-alice  assigning  node-up  -         3 minutes ago  docker   operator1
7323718749301768194  -                  failed     node-up  -         3 minutes ago  docker   operator1
",
    );
    check(
        &list(100),
        "
TASK ID              NAME               STATUS     NODE     SSH PORT  SUBMITTED      OWNER …
7323718749301768192  trainer            running    node-up  22022     3 minutes ago  operator1
7323718749301768193  notebook-of-alice  assigning  node-up  -         3 minutes ago  operator1
7323718749301768194  -                  failed     node-up  -         3 minutes ago  operator1
",
    );
    check(
        &list(80),
        "
TASK ID              NAME               STATUS     NODE     OWNER …
7323718749301768192  trainer            running    node-up  operator1
7323718749301768193  notebook-of-alice  assigning  node-up  operator1
7323718749301768194  -                  failed     node-up  operator1
",
    );
    check(
        &list(60),
        "
TASK ID              NAME               STATUS     NODE …
7323718749301768192  trainer            running    node-up
7323718749301768193  notebook-of-alice  assigning  node-up
7323718749301768194  -                  failed     node-up
",
    );
    check(
        &list(40),
        "
TASK ID              NAME      STATUS …
7323718749301768192  trainer   running
7323718749301768193  noteboo…  assigning
7323718749301768194  -         failed
",
    );
}

#[test]
fn a_long_name_displaces_other_columns_and_wide_characters_count_twice() {
    let host = host(&[(2, "a-trainer-of-thirty-two-columns-", "running"), (3, "訓練機", "paused")]);
    let list = |width| shown(host.peer.address.port(), 1, "vps list", width);
    check(
        &list(80),
        "
TASK ID              NAME                              STATUS   NODE …
7323718749301768192  a-trainer-of-thirty-two-columns-  running  node-up
7323718749301768193  訓練機                            paused   node-up
",
    );
    check(
        &list(40),
        "
TASK ID              NAME        STATUS
7323718749301768192  a-trainer…  running
7323718749301768193  訓練機      paused
",
    );
    host.change(|state| state.vpses[0]["name"] = LONG_NAME.into());
    host.change(|state| state.vpses[1]["name"] = "訓練機の名前は長い長い".into());
    check(
        &list(80),
        "
TASK ID              NAME                                      STATUS   NODE …
7323718749301768192  a-name-that-goes-on-and-on-and-on-and-on  running  node-up
7323718749301768193  訓練機の名前は長い長い                    paused   node-up
",
    );
    check(
        &list(39),
        "
TASK ID              NAME       STATUS
7323718749301768192  a-name-t…  running
7323718749301768193  訓練機の…  paused
",
    );
    // A pipe gets whole lines.
    let outcome = host.run(&Home::new(), &["vps", "list"]).output();
    outcome.succeeds().check(outcome.text().contains(&format!("{LONG_NAME}  running  {NODE}")), "all of it");
}

#[test]
fn an_id_is_never_cut() {
    let host = usual();
    let mut widths = 0;
    for width in 1..=130 {
        // Every width at which the table changes, and some others.
        if width > 45 && width % 7 > 0 {
            continue;
        }
        widths += 1;
        let text = shown(host.peer.address.port(), 1, "vps list --all", width);
        assert_eq!(text.lines().count(), 4, "{width}: {text}");
        assert_eq!(text.contains(ID), width >= 19, "{width}: {text}");
        assert!(text.contains(ID) || !text.contains("73237"), "{width}: {text}");
        assert_eq!(text.contains("assigning"), width >= 30, "{width}: {text}");
    }
    assert!(widths > 50);
}

#[test]
fn node_list_keeps_the_most_important_columns() {
    let api = http_server(|_| {
        let nodes = json!([
            { "hostname": "gpu-node-01.cluster.example.org", "url": "http://10.20.30.41:8001", "status": "online",
              "last_heartbeat": "2026-11-23T12:08:53.532229" },
            { "hostname": "node2", "url": "http://10.20.30.42:8001", "status": "offline",
              "last_heartbeat": "2026-11-21T12:08:53.532229" },
        ]);
        (200, "application/json", nodes.to_string())
    });
    let list = |width| shown(api.address.port(), 1, "node list", width);
    let whole = "
HOSTNAME                         STATUS   URL                      LAST HEARTBEAT
gpu-node-01.cluster.example.org  online   http://10.20.30.41:8001  just now
node2                            offline  http://10.20.30.42:8001  2 days ago
";
    check(&list(120), whole);
    check(
        &list(80),
        "
HOSTNAME                         STATUS   LAST HEARTBEAT …
gpu-node-01.cluster.example.org  online   just now
node2                            offline  2 days ago
",
    );
    check(
        &list(40),
        "
HOSTNAME                         STATUS
gpu-node-01.cluster.example.org  online
node2                            offline
",
    );
    check(
        &list(20),
        "
HOSTNAME     STATUS
gpu-node-0…  online
node2        offline
",
    );
}

/// The answer of a gateway with two sessions of these users.
fn sessions(users: [Value; 2]) -> Value {
    let [first, second] = users;
    json!([
        { "id": 7, "user": first, "client": "10.0.0.9:51234", "protocol": "connect", "task_id": ID, "name": "trainer",
          "node": "node1", "opened": "2026-11-23T12:05:53.532Z", "seconds": 4000, "bytes_up": 52_428_800, "bytes_down": 123_456_789 },
        { "id": 12, "user": second, "client": "10.0.0.10:51235", "protocol": "line", "task_id": ID, "name": "trainer",
          "node": "node1", "opened": "2026-11-23T12:05:53.532Z", "seconds": 61, "bytes_up": 3, "bytes_down": 5 },
    ])
}

#[test]
fn vps_sessions_keeps_the_most_important_columns() {
    let gateway = http_server(|_| (200, "application/json", sessions(["alice".into(), "bob".into()]).to_string()));
    let list = |width| shown(1, gateway.address.port(), "vps sessions", width);
    check(
        &list(100),
        "
ID  USER   VPS                  NAME     SINCE  UP        DOWN       NODE   CLIENT
7   alice  7323718749301768192  trainer  1h 6m  50.0 MiB  117.7 MiB  node1  10.0.0.9:51234
12  bob    7323718749301768192  trainer  1m 1s  3 B       5 B        node1  10.0.0.10:51235
",
    );
    check(
        &list(80),
        "
ID  USER   VPS                  NAME     SINCE  UP        DOWN …
7   alice  7323718749301768192  trainer  1h 6m  50.0 MiB  117.7 MiB
12  bob    7323718749301768192  trainer  1m 1s  3 B       5 B
",
    );
    check(
        &list(40),
        "
ID  USER   VPS                  NAME …
7   alice  7323718749301768192  trainer
12  bob    7323718749301768192  trainer
",
    );
    // On a Host without users there is room for the addresses.
    let nobody = http_server(|_| (200, "application/json", sessions([Value::Null, Value::Null]).to_string()));
    check(
        &shown(1, nobody.address.port(), "vps sessions", 81),
        "
ID  VPS                  NAME     SINCE  UP        DOWN       CLIENT …
7   7323718749301768192  trainer  1h 6m  50.0 MiB  117.7 MiB  10.0.0.9:51234
12  7323718749301768192  trainer  1m 1s  3 B       5 B        10.0.0.10:51235
",
    );
}

#[test]
fn vps_status_wraps_long_lines() {
    let (home, host) = (Home::new(), usual());
    for width in [20, 40, 80] {
        let run = on_a_terminal(&home, host.peer.address.port(), (width, 24), "dumb", "vps status trainer");
        let text = lines(&run.output()).join("\n");
        assert!(text.contains(&format!("Connect    kohakuriver vps connect {ID}\n")), "{width}: {text}");
    }
}

#[test]
fn only_terminals_get_colour() {
    let (home, host) = (Home::new(), usual());
    let shown = |kind: &str| on_a_terminal(&home, host.peer.address.port(), (120, 24), kind, "vps list --all");
    let text = shown("xterm").output().succeeds().text();
    for (colour, state) in [(32, "running"), (33, "assigning"), (31, "failed")] {
        assert!(text.contains(&format!("\x1b[{colour}m{state}\x1b[0m")), "{text:?}");
    }
    // The same words in the same places.
    let plain = shown("dumb").output().succeeds().text();
    let uncoloured = [32, 33, 31].iter().fold(text, |text, code| text.replace(&format!("\x1b[{code}m"), ""));
    assert_eq!(uncoloured.replace("\x1b[0m", ""), plain);
    for run in
        [shown("xterm").env("NO_COLOR", "1"), shown("dumb"), host.run(&home, &["vps", "list"]).env("TERM", "xterm")]
    {
        let text = run.output().succeeds().text();
        assert!(text.contains("running") && !text.contains('\x1b'), "{text:?}");
    }
    // An empty NO_COLOR counts as unset.
    assert!(shown("xterm").env("NO_COLOR", "").output().text().contains("\x1b[32m"));
    // Every table colours its states.
    let nodes = on_a_terminal(&home, host.peer.address.port(), (80, 24), "xterm", "node list").output();
    let text = nodes.succeeds().text();
    assert!(text.contains("\x1b[32monline\x1b[0m") && text.contains("\x1b[31moffline\x1b[0m"), "{text:?}");
}
