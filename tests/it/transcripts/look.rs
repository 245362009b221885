//! `vps list`, `vps status`, `vps sessions` and `node list`.

use serde_json::{Value, json};

use super::{host, id, shell};
use crate::support::peers::http_server;

#[test]
fn vps_list() {
    shell(&host()).shows(
        r#"
$ kohakuriver vps list
TASK ID              NAME      STATUS     NODE     SSH PORT  SUBMITTED      BACKEND  OWNER
7323718749301768192  trainer   running    node-up  22022     3 minutes ago  docker   operator1
7323718749301768193  notebook  paused     node-up  22022     3 minutes ago  docker   operator1
7323718749301768194  machine   running    node-up  22022     3 minutes ago  qemu     operator1
7323718749301768195  newcomer  assigning  node-up  -         3 minutes ago  docker   operator1
7323718749301768196  broken    failed     node-up  -         3 minutes ago  docker   operator1
7323718749301768198  console   running    node-up  -         3 minutes ago  docker   operator1
$ kohakuriver vps list --all
TASK ID              NAME      STATUS     NODE     SSH PORT  SUBMITTED      BACKEND  OWNER
7323718749301768192  trainer   running    node-up  22022     3 minutes ago  docker   operator1
7323718749301768193  notebook  paused     node-up  22022     3 minutes ago  docker   operator1
7323718749301768194  machine   running    node-up  22022     3 minutes ago  qemu     operator1
7323718749301768195  newcomer  assigning  node-up  -         3 minutes ago  docker   operator1
7323718749301768196  broken    failed     node-up  -         3 minutes ago  docker   operator1
7323718749301768197  gone      stopped    node-up  -         3 minutes ago  docker   operator1
7323718749301768198  console   running    node-up  -         3 minutes ago  docker   operator1
$ kohakuriver vps list | head -n 1
TASK ID              NAME      STATUS     NODE     SSH PORT  SUBMITTED      BACKEND  OWNER
$ kohakuriver vps list --json | tail -n 15
  },
  {
    "assigned_node": "node-up",
    "error_message": null,
    "name": "console",
    "owner_username": "operator1",
    "rejection_reason": null,
    "ssh_port": null,
    "started_at": null,
    "status": "running",
    "submitted_at": null,
    "task_id": "7323718749301768198",
    "vps_backend": "docker"
  }
]
$ kohakuriver vps list trainer
2> kohakuriver: unexpected argument 'trainer' found
2>   hint: see `kohakuriver vps list --help`
[exit status 2]
$ kohakuriver vps list --watch soon
2> kohakuriver: unexpected argument 'soon' found
2>   hint: see `kohakuriver vps list --help`
[exit status 2]
$ kohakuriver vps list -P 0
2> kohakuriver: invalid value '0' for '--port <PORT>'
2>   caused by: 0 is not in 1..=65535
2>   hint: see `kohakuriver vps list --help`
[exit status 2]
$ kohakuriver vps list --host no-such-host.invalid
2> kohakuriver: cannot list the VPSes
2>   caused by: the Host API at http://no-such-host.invalid:18000 can't be reached
2>   caused by: the name can't be resolved: Name or service not known
2>   hint: correct the Host's name: `kohakuriver config show` shows where it is set
[exit status 1]
"#,
    );
}

#[test]
fn vps_list_of_a_host_that_refuses() {
    let host = host();
    host.change(|state| state.auth = true);
    let shell = shell(&host);
    shell.shows(
        r#"
$ kohakuriver vps list
2> kohakuriver: cannot list the VPSes
2>   caused by: the Host wants a token, and got none or one it does not know
2>   hint: log in with `kohakuriver auth login`
[exit status 1]
$ KOHAKURIVER_TOKEN=expired kohakuriver vps list
2> kohakuriver: cannot list the VPSes
2>   caused by: the Host wants a token, and got none or one it does not know
2>   hint: correct KOHAKURIVER_TOKEN, or remove it with `unset KOHAKURIVER_TOKEN` and log in with `kohakuriver auth login`
[exit status 1]
"#,
    );
    for (answer, transcript) in [
        (
            (500, json!("Internal Server Error")),
            r#"
$ KOHAKURIVER_TOKEN=$OPERATOR kohakuriver vps list --all
2> kohakuriver: cannot list the VPSes
2>   caused by: the Host API at http://127.0.0.1:18000 answered 500: "Internal Server Error"
2>   hint: read the log on the Host: `journalctl -u kohakuriver-host`
[exit status 1]
"#,
        ),
        (
            (0, Value::Null),
            r#"
$ KOHAKURIVER_TOKEN=$OPERATOR kohakuriver vps list --all
2> kohakuriver: cannot list the VPSes
2>   caused by: the Host API at http://127.0.0.1:18000 can't be reached
2>   caused by: the connection ended before the answer was complete
2>   hint: check that the Host runs; `kohakuriver config show` shows where its address is set
[exit status 1]
"#,
        ),
        (
            (200, json!({ "hello": "world" })),
            r#"
$ KOHAKURIVER_TOKEN=$OPERATOR kohakuriver vps list --all
2> kohakuriver: cannot list the VPSes
2>   caused by: the Host API at http://127.0.0.1:18000 gave an unusable answer: the list of VPSes is not a JSON list
2>   hint: another server may listen there; `kohakuriver config show` shows where its address is set
[exit status 1]
"#,
        ),
    ] {
        host.change(|state| state.instead = Some(("/api/vps", answer.0, answer.1)));
        shell.shows(transcript);
    }
}

#[test]
fn vps_list_of_an_empty_host() {
    let host = host();
    host.change(|state| state.vpses.clear());
    shell(&host).shows(
        r#"
$ kohakuriver vps list
2> no VPS is running or starting; `kohakuriver vps list --all` includes those that have ended
$ kohakuriver vps list --all
2> there are no VPSes
$ kohakuriver vps list --json
[]
"#,
    );
}

#[test]
fn vps_status() {
    let host = host();
    let shell = shell(&host);
    shell.shows(
        r#"
$ kohakuriver vps status trainer
Task ID    7323718749301768192
Name       trainer
Status     running
Node       node-up
SSH Port   22022
Backend    docker
Owner      operator1
Submitted  3 minutes ago (2026-11-23 12:05:53)
Started    2 minutes ago (2026-11-23 12:06:53)
Connect    kohakuriver vps connect 7323718749301768192
Manual     ssh -p 22022 root@node-up
$ kohakuriver vps status newcomer
Task ID    7323718749301768195
Name       newcomer
Status     assigning
Node       node-up
SSH Port   -
Backend    docker
Owner      operator1
Submitted  3 minutes ago (2026-11-23 12:05:53)
Started    2 minutes ago (2026-11-23 12:06:53)
Connect    not possible: VPS 7323718749301768195 is starting (status: assigning)
Hint       wait for it with `kohakuriver vps connect 7323718749301768195 --wait`
$ kohakuriver vps status broken
Task ID    7323718749301768196
Name       broken
Status     failed
Node       node-up
SSH Port   -
Backend    docker
Owner      operator1
Submitted  3 minutes ago (2026-11-23 12:05:53)
Started    2 minutes ago (2026-11-23 12:06:53)
Message    the image "ubuntu" is not there
Connect    not possible: VPS 7323718749301768196 has failed
Hint       restart it with `kohakuriver vps restart 7323718749301768196`
$ kohakuriver vps status trainer --json
{
  "assigned_node": "node-up",
  "error_message": null,
  "name": "trainer",
  "owner_username": "operator1",
  "rejection_reason": null,
  "ssh_port": 22022,
  "started_at": null,
  "status": "running",
  "submitted_at": null,
  "task_id": "7323718749301768192",
  "vps_backend": "docker"
}
$ kohakuriver vps status
2> kohakuriver: the following required arguments were not provided: <VPS>
2>   hint: see `kohakuriver vps status --help`
[exit status 2]
"#,
    );
    host.change(|state| {
        state.vpses[1]["name"] = "trainer".into();
        state.instead =
            Some(("/api/status/7323718749301768192", 403, json!({ "detail": "Access denied to this task" })));
    });
    shell.shows(
        r#"
$ kohakuriver vps status trainer
2> kohakuriver: VPS trainer is not yours to reach
2>   caused by: the Host shows a VPS to its owner, its assignees and operators only
2>   caused by: the Host at http://127.0.0.1:18000 says so
2>   hint: ask an operator to assign it to you; `kohakuriver auth status` shows who you are
[exit status 1]
$ kohakuriver vps status 7323718749301768192
2> kohakuriver: VPS 7323718749301768192 is not yours to reach
2>   caused by: the Host shows a VPS to its owner, its assignees and operators only
2>   caused by: the Host at http://127.0.0.1:18000 says so
2>   hint: ask an operator to assign it to you; `kohakuriver auth status` shows who you are
[exit status 1]
"#,
    );
}

#[test]
fn vps_sessions() {
    let session = |number: u64, user: Value| {
        json!({ "id": number, "user": user, "client": "10.0.0.9:51234", "protocol": "connect", "task_id": id(2),
                "name": "trainer", "node": "node-up", "opened": "2026-11-23T12:05:53.532Z", "seconds": 4000 / number,
                "bytes_up": 52_428_800 / number, "bytes_down": 123 * number })
    };
    let sessions = json!([session(1, "alice".into()), session(12, Value::Null)]);
    let gateway = http_server(move |asked| match asked.path.as_str() {
        "/sessions?gateways" => (200, "application/json", sessions.to_string()),
        "/sessions/1" => (204, "application/json", String::new()),
        _ => (404, "application/problem+json", json!({ "title": "there is no such session" }).to_string()),
    });
    let host = host();
    let mut shell = shell(&host);
    shell.port(gateway.address.port(), "18003");
    shell.variable("KOHAKURIVER_GATEWAY_ADMIN", gateway.address.to_string());
    shell.shows(
        r#"
$ kohakuriver vps sessions
ID  USER   VPS                  NAME     SINCE   UP        DOWN     NODE     CLIENT
1   alice  7323718749301768192  trainer  1h 6m   50.0 MiB  123 B    node-up  10.0.0.9:51234
12  -      7323718749301768192  trainer  5m 33s  4.2 MiB   1.4 KiB  node-up  10.0.0.9:51234
$ kohakuriver vps sessions trainer
ID  USER   VPS                  NAME     SINCE   UP        DOWN     NODE     CLIENT
1   alice  7323718749301768192  trainer  1h 6m   50.0 MiB  123 B    node-up  10.0.0.9:51234
12  -      7323718749301768192  trainer  5m 33s  4.2 MiB   1.4 KiB  node-up  10.0.0.9:51234
$ kohakuriver vps sessions notebook
2> no open sessions of VPS 7323718749301768193
$ kohakuriver vps sessions notebook --json
[]
$ kohakuriver vps sessions --end 1
2> ended session 1
$ kohakuriver vps sessions --end 9
2> kohakuriver: cannot end session 9
2>   caused by: the gateway has no such session
2>   hint: list the open sessions with `kohakuriver vps sessions --admin 127.0.0.1:18003`
[exit status 1]
$ kohakuriver vps sessions --end first
2> kohakuriver: invalid value 'first' for '--end <SESSION>'
2>   caused by: it is neither ID nor GATEWAY/ID, as `kohakuriver vps sessions` lists them
2>   hint: see `kohakuriver vps sessions --help`
[exit status 2]
$ kohakuriver vps sessions nothing
2> kohakuriver: there is no VPS nothing
2>   caused by: the Host at http://127.0.0.1:18000 says so
2>   hint: see which there are with `kohakuriver vps list --all`
[exit status 1]
$ kohakuriver vps sessions --admin 127.0.0.1:1
2> kohakuriver: cannot list the sessions
2>   caused by: the gateway's admin address http://127.0.0.1:1 did not answer: Connection refused (os error 111)
2>   caused by: by default, only the gateway's own machine can reach that address
2>   hint: on the gateway's machine, check that it runs: `systemctl status kohakuriver-gateway`; elsewhere, give the Host with --host
[exit status 1]
$ kohakuriver vps sessions --admin 127.0.0.1:18000
2> kohakuriver: cannot list the sessions
2>   caused by: http://127.0.0.1:18000 answered 404: Not Found
2>   hint: give the gateway's admin address with --admin
[exit status 1]
"#,
    );
}

#[test]
fn node_list() {
    let host = host();
    let shell = shell(&host);
    shell.shows(
        r#"
$ kohakuriver node list
HOSTNAME   STATUS   URL                    LAST HEARTBEAT
node-up    online   http://127.0.0.1:8001  just now
node-down  offline  http://127.0.0.1:8001  -
$ kohakuriver node list --status offline
HOSTNAME   STATUS   URL                    LAST HEARTBEAT
node-down  offline  http://127.0.0.1:8001  -
$ kohakuriver node list --status up
2> kohakuriver: invalid value 'up' for '--status <online|offline>'
2>   caused by: possible values: online, offline
2>   hint: see `kohakuriver node list --help`
[exit status 2]
$ kohakuriver node list --json
[
  {
    "hostname": "node-up",
    "last_heartbeat": null,
    "status": "online",
    "url": "http://127.0.0.1:8001"
  },
  {
    "hostname": "node-down",
    "last_heartbeat": null,
    "status": "offline",
    "url": "http://127.0.0.1:8001"
  }
]
$ kohakuriver node list --watch
2> kohakuriver: unexpected argument '--watch' found
2>   hint: see `kohakuriver node list --help`
[exit status 2]
"#,
    );
    host.change(|state| state.instead = Some(("/api/nodes", 200, json!([]))));
    shell.shows(
        r#"
$ kohakuriver node list
2> there are no Runners
$ kohakuriver node list --status online
2> no Runner is online
"#,
    );
}
