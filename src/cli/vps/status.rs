//! `kohakuriver vps status`.

use crate::api::{Caller, Client, Listing, Node, Reach, Role, User, Vps, ago, hint_here};
use crate::cli::host::vps::ssh_port;
use crate::cli::host::{client, one_vps, remember_host, the_host, vps_cache, vps_ref};
use crate::cli::terminal::ui;
use crate::cli::vps::list::as_json;
use crate::cli::vps::shared::watch::{self, View, WatchFlags};
use crate::cluster::InMessages;
use crate::failure::Failure;
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::ssh::options::DEFAULT_USER;
use crate::ssh::quote::shell_line;
use crate::status::VpsStatus;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
The JSON has the keys task_id (a string), name, status, assigned_node, ssh_port, vps_backend, owner_username, \
submitted_at, started_at, error_message and rejection_reason. A missing value is null; ssh_port is null unless the VPS is running or paused. \
Times are in RFC 3339, or null while no Runner is online: the Host's time zone is then unknown.

Examples:
  kohakuriver vps status trainer
  kohakuriver vps status 7323718749301768192 --json")]
pub(crate) struct Arguments {
    /// Task id or name of the VPS
    #[arg(value_name = "VPS", add = vps_cache::candidates())]
    pub(super) vps: String,
    #[command(flatten)]
    watch: WatchFlags,
}

pub(crate) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let wanted = vps_ref(&settings.cluster, &arguments.vps)?;
    let client = client(settings)?;
    watch::show(&arguments.watch, &the_host(settings), async || {
        let vps = one_vps(&client, &wanted).await?;
        let listed = client.nodes().await;
        if arguments.watch.json {
            return Ok(View::Json(as_json(&vps, &listed.map(|list| list.entries).unwrap_or_default())));
        }
        // Without the nodes, only the ages and the Runner are unknown.
        let Ok(Listing { entries: nodes, .. }) = listed else {
            return Ok(View::Text(ui::fields(&describe(&vps, &[], None))));
        };
        let reach = client.reach(&vps, nodes.iter().find(|node| node.runs(&vps)), None).await;
        let reach = match reach {
            Ok(reach) => allowed(&client, reach).await,
            refused => refused,
        };
        Ok(View::Text(ui::fields(&describe(&vps, &nodes, Some(&reach)))))
    })?;
    remember_host(settings);
    Ok(())
}

/// `reach`, unless the role of the user may log in to no VPS. A Host shows all of them to such a user.
async fn allowed(client: &Client, reach: Reach) -> Result<Reach, Refusal> {
    // An older Host has no roles, and would log the question as an error.
    if client.is_of_older_host() {
        return Ok(reach);
    }
    match client.caller().await {
        Ok(Caller::User(User { role: role @ (Role::Viewer | Role::Other(_)), .. })) => {
            Err(Refusal::RoleTooLow(role.to_string()))
        }
        _ => Ok(reach),
    }
}

/// `reach` is where the VPS is reached, or why it isn't, if that is known.
fn describe(vps: &Vps, nodes: &[Node], reach: Option<&Result<Reach, Refusal>>) -> Vec<(&'static str, String)> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let time = |time: &Option<String>| {
        let Some(time) = time else { return String::new() };
        match ui::ago(ago(time, nodes)) {
            Some(ago) => format!("{ago} ({})", ui::time(time)),
            None => ui::time(time),
        }
    };
    let cluster = InMessages::get();
    let mut fields: Vec<(&str, String)> = cluster.name.iter().map(|name| ("Cluster", name.clone())).collect();
    fields.extend([
        ("Task ID", vps.id.to_string()),
        ("Name", text(&vps.name)),
        ("Status", vps.status.to_string()),
        ("Node", text(&vps.node)),
        ("SSH Port", port(vps)),
        ("Backend", text(&vps.backend)),
        ("Owner", text(&vps.owner)),
        ("Submitted", time(&vps.submitted_at)),
        ("Started", time(&vps.started_at)),
    ]);
    if let Some(message) = vps.message() {
        fields.push(("Message", message.to_owned()));
    }
    let id = vps.id.to_string();
    match reach {
        Some(Ok(reach)) => {
            fields.push(("Connect", cluster.hint(&format!("kohakuriver vps connect {id}"))));
            fields.push(("Manual", manual_command(reach.port, &reach.node)));
        }
        Some(Err(refusal)) => {
            fields.push(("Connect", format!("not possible: {}", refusal.title(&id))));
            fields.extend(hint_here(refusal, &id).map(|hint| ("Hint", cluster.hint(&hint))));
        }
        None => {}
    }
    fields
}

/// The port of sshd; for a running VPS without one, the reason.
fn port(vps: &Vps) -> String {
    match (ssh_port(vps), &vps.status) {
        (Some(port), _) => port.to_string(),
        (None, VpsStatus::Running | VpsStatus::Paused) => "none: it was created without SSH".to_owned(),
        (None, _) => String::new(),
    }
}

/// The command to connect without the gateway, from a place that reaches the Runner. The node's name comes from the
/// network and users paste this line, so the name is quoted for the shell.
fn manual_command(port: u16, node: &str) -> String {
    let login = format!("{DEFAULT_USER}@{node}");
    shell_line(["ssh", "-p", &port.to_string(), &login]).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::{Audience, SshPort, locate};
    use crate::cli::host::vps::tests::vps;

    /// The fields of `vps` on a Runner that is online, or not.
    fn fields(vps: &Vps, online: bool) -> String {
        let node = Node {
            hostname: "node1".into(),
            url: "http://10.0.0.7:8001".into(),
            online,
            last_heartbeat: None,
            json: json!({ "hostname": "node1" }),
        };
        ui::fields(&describe(vps, &[], Some(&locate(vps, Some(&node), Audience::OPERATOR))))
    }

    #[test]
    fn a_running_vps_shows_both_ways_to_connect() {
        assert_eq!(
            fields(&vps(VpsStatus::Running), true),
            "Task ID    7323718749301768192\n\
             Name       trainer\n\
             Status     running\n\
             Node       node1\n\
             SSH Port   32768\n\
             Backend    -\n\
             Owner      alice\n\
             Submitted  2026-11-23 12:05:53\n\
             Started    -\n\
             Connect    kohakuriver vps connect 7323718749301768192\n\
             Manual     ssh -p 32768 root@node1\n"
        );
    }

    #[test]
    fn a_vps_without_a_way_to_connect_shows_why_and_what_helps() {
        let message = Some("Provisioning VM...\x1b[2J".into());
        for (vps, online, shown) in [
            (
                Vps { error_message: message, ..vps(VpsStatus::Assigning) },
                true,
                &["SSH Port   -\n", "Message    Provisioning VM...[2J\n", "is starting", "--wait`\n"][..],
            ),
            (vps(VpsStatus::Paused), true, &["is paused\n", "Hint       resume it with"]),
            (vps(VpsStatus::Paused), false, &["the Runner of VPS 7323718749301768192 is offline\n", "node list`\n"]),
            (vps(VpsStatus::Running), false, &["the Runner of VPS 7323718749301768192 is offline\n", "node list`\n"]),
            (
                Vps { rejection_reason: Some("no GPUs left".into()), ..vps(VpsStatus::Rejected) },
                true,
                &["Message    no GPUs left\n", "was rejected\n"],
            ),
            (
                Vps { ssh_port: SshPort::None, ..vps(VpsStatus::Running) },
                true,
                &["SSH Port   none: it was created without SSH\n", "has no SSH"],
            ),
        ] {
            let text = fields(&vps, online);
            assert!(shown.iter().all(|part| text.contains(part)), "{text}");
            assert!(text.contains("Connect    not possible: ") && !text.contains("Manual"), "{text}");
        }
        assert!(!ui::fields(&describe(&vps(VpsStatus::Running), &[], None)).contains("Connect"));
    }

    #[test]
    fn a_node_name_is_quoted_for_the_shell() {
        assert_eq!(manual_command(7, "n1;id"), "ssh -p 7 'root@n1;id'");
    }
}
