//! Where a VPS is reached, or why it isn't: facts in, verdict out.

use std::time::{Duration, SystemTime};

use hyper::Uri;
use jiff::civil::DateTime;

use crate::api::model::{Node, SshPort, Vps};
use crate::api::pooled::Client;
use crate::refusal::{BOOT_GRACE, Refusal};
use crate::status::VpsStatus;
use crate::target::{TaskId, VpsRef};

/// The address of a VPS's sshd.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reach {
    /// The VPS.
    pub id: TaskId,
    /// Its Runner's host name, as the Host knows it.
    pub node: String,
    /// The Runner's name or address, without brackets.
    pub host: String,
    /// The port of the VPS's sshd on the Runner.
    pub port: u16,
    /// The VPS started less than [`BOOT_GRACE`] ago, so its sshd may not listen yet.
    pub booting: bool,
}

/// Where `vps` is reached. `node` is its Runner; `None` when the Host doesn't know it. The checks are in the order of
/// the Host's own SSH proxy, so both give the same reason.
///
/// # Errors
/// The first reason why it can't be reached.
pub fn locate(vps: &Vps, node: Option<&Node>) -> Result<Reach, Refusal> {
    if !vps.is_vps {
        return Err(Refusal::NotVps);
    }
    match &vps.status {
        VpsStatus::Running => {}
        status if status.is_starting() => return Err(Refusal::Starting(status.clone())),
        // The port of a paused VPS accepts connections but never answers, so refuse at once.
        status => return Err(Refusal::Inactive(status.clone())),
    }
    let Some(name) = &vps.node else { return Err(Refusal::NoRunner) };
    let port = match &vps.ssh_port {
        SshPort::At(port) => *port,
        SshPort::None => return Err(Refusal::NoSshPort),
        SshPort::Impossible(text) => {
            return Err(Refusal::HostApi(format!("it says that the SSH port of task {} is {text}", vps.id)));
        }
    };
    let Some(node) = node.filter(|node| node.online) else { return Err(Refusal::RunnerOffline(Some(name.clone()))) };
    let Some(host) = host_of(&node.url) else { return Err(Refusal::RunnerAddress(name.clone())) };
    Ok(Reach { id: vps.id, node: name.clone(), host, port, booting: is_booting(vps, node) })
}

/// The host of `scheme://host[:port][/…]`, without brackets.
fn host_of(url: &str) -> Option<String> {
    let url: Uri = url.parse().ok()?;
    url.scheme()?;
    let host = url.host()?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    // The grammar of a URL allows brackets inside a name.
    (!bare.is_empty() && !bare.contains(['[', ']'])).then(|| bare.to_owned())
}

/// Both times come from the Host's clock, so neither a time zone nor our own clock is needed to compare them.
fn is_booting(vps: &Vps, node: &Node) -> bool {
    age(vps, node).is_some_and(|age| age < BOOT_GRACE)
}

/// The time from the start of the VPS to its Runner's last heartbeat.
fn age(vps: &Vps, node: &Node) -> Option<Duration> {
    Some(elapsed(host_time(vps.started_at.as_deref()?)?, host_time(node.last_heartbeat.as_deref()?)?))
}

/// How long ago `time` was by the Host's clock. A Host names no time zone, but the last heartbeat of an online Runner
/// is recent, so the newest heartbeat stands for now. `None` when no Runner is online or `time` is not a time.
pub fn ago(time: &str, nodes: &[Node]) -> Option<Duration> {
    let heartbeat = |node: &Node| host_time(node.last_heartbeat.as_deref()?);
    let now = nodes.iter().filter(|node| node.online).filter_map(heartbeat).max()?;
    Some(elapsed(host_time(time)?, now))
}

/// When a VPS was started, by our own clock. A Host gives its local time without a zone, but the last heartbeat of the
/// Runner is recent. `None` when it can't be found out.
pub async fn started_at(client: &Client, id: TaskId) -> Option<SystemTime> {
    let vps = client.vps(&VpsRef::Id(id)).await.ok()?;
    let node = client.runner_of(&vps).await.ok()?.filter(|node| node.online)?;
    SystemTime::now().checked_sub(age(&vps, &node)?)
}

/// The time between the two; zero when `end` is the earlier one, since a heartbeat is a few seconds old.
fn elapsed(start: DateTime, end: DateTime) -> Duration {
    end.duration_since(start).try_into().unwrap_or_default()
}

/// Reads a Host's local time, such as `2026-11-23T12:05:55.570203`.
fn host_time(text: &str) -> Option<DateTime> {
    // The parser also accepts a date alone.
    if text.contains('T') { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fake_host::FakeHost;
    use serde_json::{Value, json};

    fn vps(changes: Value) -> Vps {
        let mut object = json!({
            "task_id": "42", "task_type": "vps", "status": "running", "assigned_node": "node-up", "ssh_port": 22023,
            "started_at": "2026-11-23T12:00:00"
        });
        object.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        Vps::from_json(object).unwrap()
    }

    fn node(url: &str, status: &str, heartbeat: Option<&str>) -> Node {
        let object = json!({ "hostname": "node-up", "url": url, "status": status, "last_heartbeat": heartbeat });
        Node::from_json(object).unwrap()
    }

    #[test]
    fn each_reason_in_the_order_of_the_hosts_checks() {
        let up = node("http://10.0.0.7:8001", "online", None);
        let down = node("http://10.0.0.7:8001", "offline", None);
        let bare = node("10.0.0.7:8001", "online", None);
        let inactive = |status: &str| Refusal::Inactive(VpsStatus::parse(status));
        let starting = |status: &str| Refusal::Starting(VpsStatus::parse(status));
        let offline = || Refusal::RunnerOffline(Some("node-up".into()));
        for (changes, node, refusal) in [
            (json!({ "task_type": "command", "status": "stopped" }), Some(&up), Refusal::NotVps),
            (json!({ "status": "stopped", "assigned_node": null }), Some(&up), inactive("stopped")),
            (json!({ "status": "paused" }), Some(&up), inactive("paused")),
            (json!({ "status": "rejected" }), Some(&up), inactive("rejected")),
            (json!({ "status": "hibernating" }), Some(&up), inactive("hibernating")),
            (json!({ "status": "pending", "ssh_port": 2222 }), Some(&up), starting("pending")),
            (json!({ "status": "assigning" }), Some(&up), starting("assigning")),
            (json!({ "status": "pending_approval" }), None, inactive("pending_approval")),
            (json!({ "assigned_node": null, "ssh_port": 0 }), None, Refusal::NoRunner),
            (json!({ "ssh_port": 0 }), None, Refusal::NoSshPort),
            (json!({ "ssh_port": null }), Some(&up), Refusal::NoSshPort),
            (
                json!({ "ssh_port": 70000 }),
                Some(&up),
                Refusal::HostApi("it says that the SSH port of task 42 is 70000".into()),
            ),
            (json!({ "ssh_port": 70000, "status": "paused" }), Some(&up), inactive("paused")),
            (json!({}), None, offline()),
            (json!({}), Some(&down), offline()),
        ] {
            assert_eq!(locate(&vps(changes.clone()), node), Err(refusal), "{changes}");
        }
        assert_eq!(locate(&vps(json!({})), Some(&bare)), Err(Refusal::RunnerAddress("node-up".into())));
    }

    #[test]
    fn the_host_of_a_runners_address() {
        for (url, host) in [
            ("http://10.0.0.7:8001", Some("10.0.0.7")),
            ("http://127.0.0.1/", Some("127.0.0.1")),
            ("http://[::1]:8001", Some("::1")),
            ("https://runner-1.lab:8001/x?y", Some("runner-1.lab")),
            ("http://node_1:8001", Some("node_1")),
            ("127.0.0.1:8001", None),
            ("http://", None),
            ("http://a b:1", None),
            ("http://127.0n[ms.0.1:c]s.0.1:c", None),
            ("", None),
        ] {
            assert_eq!(host_of(url).as_deref(), host, "{url}");
        }
        let reach = locate(&vps(json!({})), Some(&node("http://[::1]:8001", "online", None))).unwrap();
        assert_eq!((reach.host.as_str(), reach.port, reach.node.as_str()), ("::1", 22023, "node-up"));
        assert!(!reach.booting);
    }

    #[test]
    fn booting_is_decided_by_the_hosts_clock() {
        for (heartbeat, booting) in [
            (Some("2026-11-23T12:00:00"), true),
            (Some("2026-11-23T12:04:59.999999"), true),
            (Some("2026-11-23T12:05:00"), false),
            (Some("2026-11-23T11:59:58"), true),
            (Some("2026-11-24T12:00:01"), false),
            (Some("yesterday"), false),
            (None, false),
        ] {
            let node = node("http://10.0.0.7:8001", "online", heartbeat);
            assert_eq!(locate(&vps(json!({})), Some(&node)).unwrap().booting, booting, "{heartbeat:?}");
        }
    }

    #[test]
    fn the_newest_heartbeat_of_an_online_runner_is_now() {
        let nodes = [
            node("http://a:1", "online", Some("2026-11-23T12:00:30")),
            node("http://a:1", "online", Some("2026-11-23T12:01:00")),
            node("http://a:1", "offline", Some("2026-11-23T13:00:00")),
            node("http://a:1", "online", None),
        ];
        for (time, seconds) in [
            ("2026-11-23T12:00:00", Some(60)),
            ("2026-11-23T12:01:03", Some(0)),
            ("2026-11-22T12:01:00", Some(86_400)),
            ("soon", None),
        ] {
            assert_eq!(ago(time, &nodes), seconds.map(Duration::from_secs), "{time}");
        }
        assert_eq!(ago("2026-11-23T12:00:00", &nodes[2..]), None);
    }

    #[test]
    fn times_across_the_ends_of_days_months_and_years() {
        let day = 86_400_000;
        for (start, end, milliseconds) in [
            ("2026-12-31T23:59:59.5", "2027-01-01T00:00:00", 500),
            ("2026-11-30T23:59:59", "2026-12-01T00:00:01", 2_000),
            ("2026-10-31T12:00:00", "2026-11-01T12:00:00", day),
            ("2026-01-31T00:00:00", "2026-03-01T00:00:00", 29 * day),
            ("2026-02-28T00:00:00", "2026-03-01T00:00:00", day),
            ("2024-02-28T00:00:00", "2024-03-01T00:00:00", 2 * day),
            ("2000-02-28T00:00:00", "2000-03-01T00:00:00", 2 * day),
            ("2100-02-28T00:00:00", "2100-03-01T00:00:00", day),
            ("2026-01-01T00:00:00", "2027-01-01T00:00:00", 365 * day),
            ("2026-11-23T12:05:55.000001", "2026-11-23T12:05:55.001001", 1),
            ("2026-12-01T00:00:00", "2026-11-30T23:59:59", 0),
        ] {
            let nodes = [node("http://a:1", "online", Some(end))];
            assert_eq!(ago(start, &nodes), Some(Duration::from_millis(milliseconds)), "{start} {end}");
        }
    }

    #[test]
    fn texts_that_are_not_a_time() {
        for text in
            ["", "2026-11-23", "2026-13-01T00:00:00", "2026-02-29T00:00:00", "a-b-cTd:e:f", "2026-11-23T12:00:00.x"]
        {
            assert_eq!(host_time(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn the_start_of_a_vps_by_our_own_clock() {
        let host = FakeHost::start().await;
        let client = Client::new(&host.base, None).unwrap();
        let task = json!({
            "task_id": "42", "task_type": "vps", "status": "running", "assigned_node": "node-up", "ssh_port": 22023,
            "started_at": "2026-11-30T23:00:00"
        });
        let nodes = |status: &str| json!([{ "hostname": "node-up", "url": "http://a:1", "status": status, "last_heartbeat": "2026-12-01T01:00:00" }]);
        host.on("/api/status/42", 200, task).on("/api/nodes", 200, nodes("online"));
        let id = TaskId::parse("42").unwrap();
        let before = SystemTime::now();
        let started = started_at(&client, id).await.unwrap() + Duration::from_secs(2 * 3600);
        assert!((before..=SystemTime::now()).contains(&started));
        host.on("/api/nodes", 200, nodes("offline"));
        assert_eq!(started_at(&client, id).await, None);
    }
}
