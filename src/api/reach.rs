//! Where a VPS is reached, or why it isn't: facts in, verdict out.

use std::time::{Duration, SystemTime};

use hyper::Uri;

use crate::api::{Client, Node, SshPort, Vps};
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
    /// The port of the VPS's sshd there.
    pub port: u16,
    /// The VPS started less than [`BOOT_GRACE`] ago, so its sshd may not listen yet.
    pub booting: bool,
}

/// Where `vps` is reached. `node` is its Runner, `None` when the Host doesn't know it. The checks stand in the order
/// of the Host's own SSH proxy, so both say the same of one VPS.
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
        // A paused VPS's port accepts, and then nothing ever answers: better said at once.
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
    // The URL's own grammar lets brackets stand in the middle of a name.
    (!bare.is_empty() && !bare.contains(['[', ']'])).then(|| bare.to_owned())
}

/// Both times were written by the same Host's clock, so they compare without a zone, and without our own clock.
fn is_booting(vps: &Vps, node: &Node) -> bool {
    age(vps, node).is_some_and(|age| age < BOOT_GRACE)
}

/// How long before its Runner's last heartbeat the VPS was started.
fn age(vps: &Vps, node: &Node) -> Option<Duration> {
    let since = |time: &Option<String>| time.as_deref().and_then(naive_time);
    Some(since(&node.last_heartbeat)?.saturating_sub(since(&vps.started_at)?))
}

/// How long ago `time` was by the Host's own clock, which a Host tells no zone of: the last heartbeat of a Runner that
/// is online is from just now. `None` when it can't be told.
pub fn ago(time: &str, nodes: &[Node]) -> Option<Duration> {
    let heartbeat = |node: &Node| node.last_heartbeat.as_deref().and_then(naive_time);
    let now = nodes.iter().filter(|node| node.online).filter_map(heartbeat).max()?;
    // A heartbeat is a few seconds old.
    Some(now.saturating_sub(naive_time(time)?))
}

/// When a VPS was started, by our own clock: a Host tells its local time and no zone, but its Runner's last heartbeat
/// is from just now. `None` when it can't be told.
pub async fn started_at(client: &Client, id: TaskId) -> Option<SystemTime> {
    let vps = client.vps(&VpsRef::Id(id)).await.ok()?;
    let node = client.runner_of(&vps).await.ok()?.filter(|node| node.online)?;
    SystemTime::now().checked_sub(age(&vps, &node)?)
}

/// `2026-11-23T12:05:55.570203` as the time since the year 0; the fraction may be missing.
fn naive_time(text: &str) -> Option<Duration> {
    let (date, time) = text.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let (whole, fraction) = time.split_once('.').unwrap_or((time, ""));
    let [hour, minute, second] = numbers(whole, ':')?;
    let in_range = year >= 1 && (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60;
    if !in_range || second > 60 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // The year is taken to begin in March, so that the leap day is its last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    let micros: u64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    Some(Duration::from_secs(((days * 24 + hour) * 60 + minute) * 60 + second) + Duration::from_micros(micros))
}

/// Three numbers, as a date and a time of day have them.
fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let mut parts = text.split(separator);
    let mut next = || {
        let digits = parts.next().filter(|part| part.len() <= 4 && part.bytes().all(|b| b.is_ascii_digit()))?;
        digits.parse().ok()
    };
    let found = [next()?, next()?, next()?];
    parts.next().is_none().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn every_reason_in_the_order_of_the_hosts_checks() {
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
            (json!({ "status": "pending_approval" }), None, starting("pending_approval")),
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
    fn booting_is_told_by_the_hosts_own_clock() {
        for (heartbeat, booting) in [
            (Some("2026-11-23T12:00:59.999999"), true),
            (Some("2026-11-23T12:01:00"), false),
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
    fn how_long_ago_is_told_by_the_last_heartbeat() {
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
    fn times_as_hosts_write_them() {
        let apart = |a: &str, b: &str| naive_time(b).unwrap() - naive_time(a).unwrap();
        assert_eq!(apart("2026-12-31T23:59:59.5", "2027-01-01T00:00:00"), Duration::from_millis(500));
        assert_eq!(apart("2024-02-28T00:00:00", "2024-03-01T00:00:00"), Duration::from_secs(2 * 86_400));
        assert_eq!(apart("2026-02-28T00:00:00", "2026-03-01T00:00:00"), Duration::from_secs(86_400));
        for text in
            ["", "2026-11-23", "2026-11-23T12:00", "2026-13-01T00:00:00", "a-b-cTd:e:f", "2026-11-23T12:00:00.x"]
        {
            assert_eq!(naive_time(text), None, "{text}");
        }
    }
}
