//! `kohakuriver vps status`.

use crate::api::{Node, Vps, ago};
use crate::cli::host::vps::ssh_port;
use crate::cli::host::vps_cache;
use crate::cli::host::{client, one_vps, the_host, vps_ref};
use crate::cli::terminal::ui;
use crate::cli::vps::list::as_json;
use crate::cli::vps::watch::{self, View, WatchFlags};
use crate::failure::Failure;
use crate::settings::Settings;
use crate::ssh::options::DEFAULT_USER;
use crate::ssh::quote::shell_line;
use crate::status::VpsStatus;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
The JSON has the keys task_id (a string), name, status, assigned_node, ssh_port, vps_backend, owner_username, \
submitted_at, started_at and error_message. A missing value is null; ssh_port is null unless the VPS is running or paused. \
Times are ISO 8601 in the Host's local time.

Examples:
  kohakuriver vps status trainer
  kohakuriver vps status 7323718749301768192 --json")]
pub(crate) struct Arguments {
    /// Task id or name of the VPS
    #[arg(value_name = "VPS", add = vps_cache::candidates())]
    vps: String,
    #[command(flatten)]
    watch: WatchFlags,
}

pub(crate) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let wanted = vps_ref(&arguments.vps)?;
    let client = client(settings)?;
    watch::show(&arguments.watch, &the_host(settings), async || {
        let vps = one_vps(&client, &wanted).await?;
        if arguments.watch.json {
            return Ok(View::Json(as_json(&vps)));
        }
        // Nodes are needed for the ages only.
        let nodes = client.nodes().await.map(|nodes| nodes.entries).unwrap_or_default();
        Ok(View::Text(ui::fields(&describe(&vps, &nodes))))
    })
}

fn describe(vps: &Vps, nodes: &[Node]) -> Vec<(&'static str, String)> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let time = |time: &Option<String>| {
        let Some(time) = time else { return String::new() };
        match ui::ago(ago(time, nodes)) {
            Some(ago) => format!("{ago} ({})", ui::time(time)),
            None => ui::time(time),
        }
    };
    let mut fields = vec![
        ("Task ID", vps.id.to_string()),
        ("Name", text(&vps.name)),
        ("Status", vps.status.to_string()),
        ("Node", text(&vps.node)),
        ("SSH Port", port(vps)),
        ("Backend", text(&vps.backend)),
        ("Owner", text(&vps.owner)),
        ("Submitted", time(&vps.submitted_at)),
        ("Started", time(&vps.started_at)),
    ];
    if let Some(message) = vps.error_message.as_ref().filter(|message| !message.is_empty()) {
        fields.push(("Message", message.clone()));
    }
    if let (Some(port), Some(node)) = (ssh_port(vps), &vps.node) {
        fields.push(("Connect", format!("kohakuriver vps connect {}", vps.id)));
        fields.push(("Manual", manual_command(port, node)));
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
    use super::*;
    use crate::api::SshPort;
    use crate::cli::host::vps::tests::vps;

    #[test]
    fn a_running_vps_shows_both_ways_to_connect() {
        assert_eq!(
            ui::fields(&describe(&vps(VpsStatus::Running), &[])),
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
    fn a_vps_that_is_not_running_shows_no_way_to_connect() {
        let assigning = Vps { error_message: Some("Provisioning VM...\x1b[2J".into()), ..vps(VpsStatus::Assigning) };
        let text = ui::fields(&describe(&assigning, &[]));
        assert!(text.contains("SSH Port   -\n") && text.contains("Message    Provisioning VM...[2J\n"), "{text}");
        assert!(!text.contains("Connect") && !text.contains("Manual"), "{text}");
    }

    #[test]
    fn a_vps_without_ssh_says_so() {
        let text = ui::fields(&describe(&Vps { ssh_port: SshPort::None, ..vps(VpsStatus::Running) }, &[]));
        assert!(text.contains("SSH Port   none: it was created without SSH\n"), "{text}");
        assert!(!text.contains("Connect") && !text.contains("Manual"), "{text}");
    }

    #[test]
    fn a_node_name_is_quoted_for_the_shell() {
        assert_eq!(manual_command(7, "n1;id"), "ssh -p 7 'root@n1;id'");
    }
}
