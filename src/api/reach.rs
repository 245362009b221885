//! The address of a VPS, or the reason why it can't be reached: facts in, verdict out.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::Uri;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use crate::api::caller::Caller;
use crate::api::error::ApiError;
use crate::api::model::{Node, SshPort, Vps};
use crate::api::pooled::Client;
use crate::refusal::{BOOT_GRACE, Refusal, Rescue, Rights, State};
use crate::status::VpsStatus;
use crate::target::{TaskId, VpsRef, without_brackets};

/// Seconds of a quarter of an hour.
const QUARTER: i64 = 15 * 60;

/// The farthest time zone from UTC, in seconds.
const MOST_AHEAD: i64 = 14 * 60 * 60;

/// Seconds by which two clocks may differ. One that is off by more could pass for another time zone.
const CLOCKS_DIFFER: i64 = 5 * 60;

/// Longest name of a VPS that a tunnel keeps, in characters. A Host takes longer ones.
const LONGEST_NAME: usize = 100;

/// The address of a VPS's sshd.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reach {
    /// The VPS.
    pub id: TaskId,
    /// Its name, if it has one, cut at 100 characters.
    pub name: Option<Arc<str>>,
    /// Its Runner's host name, as the Host knows it.
    pub node: Arc<str>,
    /// The Runner's name or address, without brackets.
    pub host: String,
    /// The port of the VPS's sshd on the Runner.
    pub port: u16,
    /// The VPS started less than [`BOOT_GRACE`] ago, so its sshd may not listen yet. `None` if the start is unknown.
    pub booting: Option<bool>,
}

/// The reader of a verdict, as far as its hint depends on the reader.
#[derive(Clone, Copy, Debug)]
pub struct Audience {
    /// The reader's rights, if known.
    pub rights: Option<Rights>,
    /// The Host has a call that restarts a VPS. The older generation has none.
    pub has_restart: bool,
}

impl Audience {
    /// One who may do everything.
    pub const OPERATOR: Self = Self { rights: Some(Rights::All), has_restart: true };
    /// One who reads what a stand-alone gateway says of its VPSes.
    pub const STAND_ALONE: Self = Self { rights: Some(Rights::StandAlone), has_restart: true };
}

/// Whether a Runner has to do with a VPS in this state: it runs there, is about to, or can come back.
pub fn needs_runner(status: &VpsStatus) -> bool {
    let can_come_back = matches!(status, VpsStatus::Failed | VpsStatus::Lost);
    can_come_back || status.is_starting() || matches!(status, VpsStatus::Running | VpsStatus::Paused)
}

/// The Runner of `vps`, if it is online. `node` is what the Host knows by its name.
///
/// # Errors
/// Why there is none.
pub fn online_runner<'n>(vps: &Vps, node: Option<&'n Node>) -> Result<&'n Node, Refusal> {
    match (&vps.node, node) {
        (None, _) => Err(Refusal::NoRunner),
        (Some(name), None) => Err(Refusal::RunnerUnknown(name.clone())),
        (Some(name), Some(node)) if !node.online => Err(Refusal::RunnerOffline(Some(name.clone()))),
        (Some(_), Some(node)) => Ok(node),
    }
}

/// The address of `vps`. `node` is its Runner; `None` when the Host doesn't know it. Only a hint depends on `audience`.
///
/// The Runner comes before the state: nobody can resume or wait for a VPS whose Runner is gone, and a Host leaves a
/// paused VPS paused then. The other checks are in the order of the Host's own SSH proxy, so both give the same reason.
///
/// # Errors
/// The first reason why it can't be reached.
pub fn locate(vps: &Vps, node: Option<&Node>, audience: Audience) -> Result<Reach, Refusal> {
    if !vps.is_vps {
        return Err(Refusal::NotVps);
    }
    let runner = online_runner(vps, node);
    let state = || State {
        status: vps.status.clone(),
        message: vps.message().map(str::to_owned),
        rights: audience.rights,
        rescue: match &runner {
            _ if vps.status == VpsStatus::Failed && !audience.has_restart => Rescue::Nothing,
            Ok(_) => Rescue::Runner,
            Err(Refusal::RunnerOffline(_)) => Rescue::AbsentRunner,
            Err(_) => Rescue::Nothing,
        },
    };
    match (&vps.status, &runner) {
        (VpsStatus::Running, _) => {}
        // A VPS that starts may wait for a Runner to be chosen.
        (status, Ok(_) | Err(Refusal::NoRunner)) if status.is_starting() => return Err(Refusal::Starting(state())),
        (status, Err(refusal)) if status.is_starting() || *status == VpsStatus::Paused => return Err(refusal.clone()),
        // The port of a paused VPS accepts connections but never answers, so refuse at once.
        _ => return Err(Refusal::Inactive(state())),
    }
    let Some(name) = &vps.node else { return Err(Refusal::NoRunner) };
    let port = match &vps.ssh_port {
        SshPort::At(port) => *port,
        SshPort::None => return Err(Refusal::NoSshPort(audience.rights)),
        SshPort::Impossible(text) => {
            return Err(Refusal::HostApi(format!("it says that the SSH port of task {} is {text}", vps.id)));
        }
    };
    let node = runner?;
    let Some(host) = host_of(&node.url) else { return Err(Refusal::RunnerAddress(name.clone())) };
    let booting = age(vps, node).map(|age| age < BOOT_GRACE);
    Ok(Reach { id: vps.id, name: short_name(vps), node: name.as_str().into(), host, port, booting })
}

fn short_name(vps: &Vps) -> Option<Arc<str>> {
    let name = vps.name.as_deref()?;
    let end = name.char_indices().nth(LONGEST_NAME).map_or(name.len(), |(end, _)| end);
    Some(name[..end].into())
}

/// A VPS, as the Host describes it.
#[derive(Clone, Debug)]
pub struct Located {
    /// The VPS.
    pub vps: Vps,
    /// Its Runner, if that matters in its state and the Host knows it.
    pub node: Option<Node>,
    /// The address of the VPS, or the reason why it can't be reached.
    pub reach: Result<Reach, Refusal>,
}

impl Client {
    /// The VPS that `vps` names, its Runner, and where it is reached. `caller` is who asks, if that is known already.
    ///
    /// # Errors
    /// The errors of [`Api::vps`](crate::api::Api::vps).
    pub async fn find(&self, vps: &VpsRef, caller: Option<&Caller>) -> Result<Located, ApiError> {
        let vps = self.vps(vps).await?;
        let node = if needs_runner(&vps.status) { self.runner_of(&vps).await? } else { None };
        let reach = self.reach(&vps, node.as_ref(), caller).await;
        Ok(Located { vps, node, reach })
    }

    /// [`locate`], with a hint for the caller. The Host is asked who that is only if the hint depends on it.
    ///
    /// # Errors
    /// The first reason why it can't be reached.
    pub async fn reach(&self, vps: &Vps, node: Option<&Node>, caller: Option<&Caller>) -> Result<Reach, Refusal> {
        let rights = caller.map(|caller| caller.rights(vps));
        let audience = Audience { rights, has_restart: !self.is_of_older_host() };
        match locate(vps, node, audience) {
            Err(refusal) if rights.is_none() && refusal.depends_on_rights() => {
                // Nobody has fewer rights on an older Host, which would log the question as an error.
                let rights = match audience.has_restart {
                    true => self.caller().await.ok().map(|caller| caller.rights(vps)),
                    false => Some(Rights::All),
                };
                locate(vps, node, Audience { rights, ..audience })
            }
            verdict => verdict,
        }
    }
}

/// The host of `scheme://host[:port][/…]`, without brackets.
fn host_of(url: &str) -> Option<String> {
    let url: Uri = url.parse().ok()?;
    url.scheme()?;
    let bare = without_brackets(url.host()?);
    // The grammar of a URL allows brackets inside a name.
    (!bare.is_empty() && !bare.contains(['[', ']'])).then(|| bare.to_owned())
}

/// The time from the start of the VPS to its Runner's last heartbeat. Both times come from the Host's clock, so neither
/// a time zone nor our own clock is needed to compare them.
fn age(vps: &Vps, node: &Node) -> Option<Duration> {
    Some(elapsed(host_time(vps.started_at.as_deref()?)?, host_time(node.last_heartbeat.as_deref()?)?))
}

/// How long ago `time` was by the Host's clock. A Host names no time zone, but the last heartbeat of an online Runner
/// is recent, so the newest heartbeat stands for now. `None` when no Runner is online or `time` is not a time.
pub fn ago(time: &str, nodes: &[Node]) -> Option<Duration> {
    Some(elapsed(host_time(time)?, newest_heartbeat(nodes)?))
}

/// A Host's time in RFC 3339, with the time zone that the Host has `now`. The newest heartbeat stands for the Host's clock,
/// and zones differ by quarters of an hour. `None` when no Runner is online, when the clocks differ by more than five
/// minutes besides, or when `time` is not a time.
pub fn with_zone(time: &str, nodes: &[Node], now: Timestamp) -> Option<String> {
    if time.parse::<Timestamp>().is_ok() {
        return Some(time.to_owned());
    }
    let ahead = newest_heartbeat(nodes)?.duration_since(TimeZone::UTC.to_datetime(now)).as_secs();
    let quarters = (ahead + QUARTER / 2).div_euclid(QUARTER);
    let seconds = quarters.checked_mul(QUARTER)?;
    if seconds.abs() > MOST_AHEAD || (ahead - seconds).abs() > CLOCKS_DIFFER {
        return None;
    }
    let offset = Offset::from_seconds(seconds.try_into().ok()?).ok()?;
    let timestamp = offset.to_timestamp(host_time(time)?).ok()?;
    Some(timestamp.display_with_offset(offset).to_string())
}

fn newest_heartbeat(nodes: &[Node]) -> Option<DateTime> {
    let heartbeat = |node: &Node| host_time(node.last_heartbeat.as_deref()?);
    nodes.iter().filter(|node| node.online).filter_map(heartbeat).max()
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

    fn located(vps: &Vps, node: Option<&Node>) -> Result<Reach, Refusal> {
        locate(vps, node, Audience::OPERATOR)
    }

    #[test]
    fn each_reason_in_the_order_of_the_hosts_checks() {
        let up = node("http://10.0.0.7:8001", "online", None);
        let down = node("http://10.0.0.7:8001", "offline", None);
        let bare = node("10.0.0.7:8001", "online", None);
        let state = |status: &str, rescue| State {
            status: VpsStatus::parse(status),
            message: None,
            rights: Some(Rights::All),
            rescue,
        };
        let inactive = |status: &str| Refusal::Inactive(state(status, Rescue::Runner));
        let starting = |status: &str| Refusal::Starting(state(status, Rescue::Runner));
        for (changes, node, refusal) in [
            (json!({ "task_type": "command", "status": "stopped" }), Some(&up), Refusal::NotVps),
            (
                json!({ "status": "stopped", "assigned_node": null }),
                Some(&up),
                Refusal::Inactive(state("stopped", Rescue::Nothing)),
            ),
            (json!({ "status": "paused" }), Some(&up), inactive("paused")),
            (json!({ "status": "rejected" }), Some(&up), inactive("rejected")),
            (json!({ "status": "hibernating" }), Some(&up), inactive("hibernating")),
            (json!({ "status": "pending", "ssh_port": 2222 }), Some(&up), starting("pending")),
            (json!({ "status": "assigning" }), Some(&up), starting("assigning")),
            (
                json!({ "status": "pending_approval", "assigned_node": null }),
                None,
                Refusal::Inactive(state("pending_approval", Rescue::Nothing)),
            ),
            (json!({ "assigned_node": null, "ssh_port": 0 }), None, Refusal::NoRunner),
            (json!({ "ssh_port": 0 }), None, Refusal::NoSshPort(Some(Rights::All))),
            (json!({ "ssh_port": null }), Some(&up), Refusal::NoSshPort(Some(Rights::All))),
            (
                json!({ "ssh_port": 70000 }),
                Some(&up),
                Refusal::HostApi("it says that the SSH port of task 42 is 70000".into()),
            ),
            (json!({ "ssh_port": 70000, "status": "paused" }), Some(&up), inactive("paused")),
            (json!({}), None, Refusal::RunnerUnknown("node-up".into())),
            (json!({}), Some(&down), Refusal::RunnerOffline(Some("node-up".into()))),
        ] {
            assert_eq!(located(&vps(changes.clone()), node), Err(refusal), "{changes}");
        }
        assert_eq!(located(&vps(json!({})), Some(&bare)), Err(Refusal::RunnerAddress("node-up".into())));
    }

    #[test]
    fn a_missing_runner_comes_before_a_state_that_depends_on_it() {
        let (up, down) = (node("http://a:1", "online", None), node("http://a:1", "offline", None));
        for (status, depends) in [
            ("paused", true),
            ("pending", true),
            ("assigning", true),
            ("running", true),
            ("failed", false),
            ("lost", false),
            ("stopped", false),
            ("pending_approval", false),
            ("hibernating", false),
        ] {
            let reason = |node| located(&vps(json!({ "status": status })), node).map_err(|refusal| refusal.reason());
            let runners = |reason| if depends { reason } else { "inactive" };
            assert_eq!(reason(Some(&down)), Err(runners("runner-offline")), "{status}");
            assert_eq!(reason(None), Err(runners("runner-unknown")), "{status}");
            assert_ne!(reason(Some(&up)).err(), Some("runner-offline"), "{status}");
            let nowhere = located(&vps(json!({ "status": status, "assigned_node": null })), None).unwrap_err();
            let expected = if status == "running" || status == "paused" { "no-runner" } else { nowhere.reason() };
            assert_eq!(nowhere.reason(), expected, "{status}");
        }
    }

    #[test]
    fn a_restart_is_named_only_where_the_host_makes_it() {
        let (up, down) = (node("http://a:1", "online", None), node("http://a:1", "offline", None));
        let older = Audience { has_restart: false, ..Audience::OPERATOR };
        let hint = |status: &str, node: Option<&Node>, audience| {
            locate(&vps(json!({ "status": status })), node, audience).unwrap_err().hint("42").unwrap()
        };
        assert!(hint("failed", Some(&up), Audience::OPERATOR).contains("vps restart 42"));
        assert!(hint("failed", Some(&up), older).contains("vps create"));
        assert!(hint("failed", Some(&down), Audience::OPERATOR).contains("node list"));
        assert!(hint("failed", None, Audience::OPERATOR).contains("vps create"));
        assert!(hint("lost", Some(&down), Audience::OPERATOR).contains("node list"));
        assert!(hint("lost", Some(&up), Audience::OPERATOR).contains("is online again"));
        assert!(hint("lost", None, Audience::OPERATOR).contains("vps create"));
    }

    #[test]
    fn the_hosts_reason_is_kept() {
        for (status, expected) in
            [("failed", Some("OOM: too small")), ("rejected", Some("not now")), ("assigning", Some("OOM: too small"))]
        {
            let up = node("http://a:1", "online", None);
            let vps =
                vps(json!({ "status": status, "error_message": "OOM: too\nsmall", "rejection_reason": "not now" }));
            assert_eq!(located(&vps, Some(&up)).unwrap_err().message(), expected, "{status}");
        }
        let empty = vps(json!({ "status": "failed", "error_message": "" }));
        assert_eq!(located(&empty, None).unwrap_err().message(), None);
    }

    #[tokio::test]
    async fn the_host_is_asked_who_calls_only_if_the_hint_depends_on_it() {
        let host = FakeHost::start().await;
        let client = Client::new(&host.base, None).unwrap();
        let id = VpsRef::parse("42").unwrap();
        let task = |status: &str| json!({ "task_id": "42", "status": status, "assigned_node": "node-up", "ssh_port": 22, "owner_username": "u" });
        host.on("/api/nodes", 200, json!([{ "hostname": "node-up", "url": "http://a:1", "status": "online" }]));
        for (user, role, expected) in [
            ("u", "user", Rights::Own),
            ("v", "user", Rights::LogIn),
            ("v", "viewer", Rights::Look),
            ("v", "auditor", Rights::Look),
            ("v", "operator", Rights::All),
            ("v", "admin", Rights::All),
            ("v", "anony", Rights::Nothing),
        ] {
            host.on("/api/status/42", 200, task("paused"));
            host.on("/api/auth/me", 200, json!({ "username": user, "role": role }));
            let Err(Refusal::Inactive(state)) = client.find(&id, None).await.unwrap().reach else { panic!("{user}") };
            assert_eq!(state.rights, Some(expected), "{user} {role}");
        }
        host.on("/api/status/42", 200, task("running"));
        host.seen();
        assert!(client.find(&id, None).await.unwrap().reach.is_ok());
        assert_eq!(host.seen(), ["/api/status/42", "/api/nodes"]);
        host.on("/api/status/42", 200, task("stopped"));
        let caller = Caller::Everyone { stand_alone: false };
        assert!(client.find(&id, Some(&caller)).await.unwrap().reach.is_err());
        assert_eq!(host.seen(), ["/api/status/42"]);

        // An older Host has no users, and would log the question as an error.
        host.forget();
        host.on("/status/42", 200, task("paused")).on("/vps/status", 200, json!([task("paused")]));
        host.on("/nodes", 200, json!([{ "hostname": "node-up", "url": "http://a:1", "status": "online" }]));
        let Err(Refusal::Inactive(state)) = client.find(&id, None).await.unwrap().reach else { panic!() };
        assert_eq!(state.rights, Some(Rights::All));
        assert!(host.seen().iter().all(|path| !path.contains("auth")));
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
        let reach = located(&vps(json!({})), Some(&node("http://[::1]:8001", "online", None))).unwrap();
        assert_eq!((reach.host.as_str(), reach.port, &*reach.node), ("::1", 22023, "node-up"));
        assert_eq!(reach.booting, None);
    }

    #[test]
    fn a_long_name_is_cut() {
        let name = |name: Value| {
            let vps = vps(json!({ "name": name }));
            located(&vps, Some(&node("http://[::1]:8001", "online", None))).unwrap().name.map(|name| name.to_string())
        };
        assert_eq!(name(json!("train")).as_deref(), Some("train"));
        assert_eq!(name(Value::Null), None);
        assert_eq!(name(json!("\u{e9}".repeat(100))), Some("\u{e9}".repeat(100)));
        assert_eq!(name(json!("\u{e9}".repeat(101))), Some("\u{e9}".repeat(100)));
    }

    #[test]
    fn booting_is_decided_by_the_hosts_clock() {
        for (heartbeat, booting) in [
            (Some("2026-11-23T12:00:00"), Some(true)),
            (Some("2026-11-23T12:04:59.999999"), Some(true)),
            (Some("2026-11-23T12:05:00"), Some(false)),
            (Some("2026-11-23T11:59:58"), Some(true)),
            (Some("2026-11-24T12:00:01"), Some(false)),
            (Some("yesterday"), None),
            (None, None),
        ] {
            let node = node("http://10.0.0.7:8001", "online", heartbeat);
            assert_eq!(located(&vps(json!({})), Some(&node)).unwrap().booting, booting, "{heartbeat:?}");
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
    fn a_hosts_time_gets_the_zone_of_its_clock() {
        let now: Timestamp = "2026-11-23T11:00:00Z".parse().unwrap();
        for (heartbeat, zone) in [
            ("2026-11-23T11:00:02", "+00:00"),
            ("2026-11-23T10:59:41.5", "+00:00"),
            ("2026-11-23T11:59:58", "+01:00"),
            // The clocks differ by three minutes.
            ("2026-11-23T16:33:00", "+05:30"),
            ("2026-11-23T03:00:01", "-08:00"),
            // The farthest zone, and the most by which clocks may differ.
            ("2026-11-24T01:05:00", "+14:00"),
        ] {
            let nodes = [node("http://10.0.0.7:8001", "online", Some(heartbeat))];
            let told = with_zone("2026-07-01T12:05:53.5", &nodes, now);
            assert_eq!(told.unwrap(), format!("2026-07-01T12:05:53.5{zone}"), "{heartbeat}");
            assert_eq!(with_zone("soon", &nodes, now), None);
            let late = [node("http://10.0.0.7:8001", "online", Some("2026-11-24T11:00:00"))];
            assert_eq!(with_zone("2026-07-01T12:05:53.5", &late, now), None);
            assert_eq!(with_zone("2026-07-01T12:05:53Z", &nodes, now).as_deref(), Some("2026-07-01T12:05:53Z"));
        }
        let wrong = [node("http://10.0.0.7:8001", "online", Some("2026-11-23T11:08:00"))];
        assert_eq!(with_zone("2026-07-01T12:05:53", &wrong, now), None);
        let silent = [node("http://10.0.0.7:8001", "offline", Some("2026-11-23T11:00:02"))];
        assert_eq!(with_zone("2026-07-01T12:05:53", &silent, now), None);
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
