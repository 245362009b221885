//! `kohakuriver node list`.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::{Listing, Node, ago, with_zone};
use crate::cli::host::{ask_host, client};
use crate::cli::terminal::table::{Column, table};
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::settings::Settings;

/// The columns. A URL is for admins, and useless when cut.
const COLUMNS: [Column; 4] = [
    Column::cut("HOSTNAME", 0, 32),
    Column::whole("STATUS", 1),
    Column::whole("URL", 4),
    Column::whole("LAST HEARTBEAT", 3),
];

#[derive(clap::Args, Debug)]
#[command(after_help = "\
The JSON is an array of objects with the keys hostname, status (online or offline), url and last_heartbeat (RFC 3339, or \
null while no Runner is online: the Host's time zone is then unknown).

Examples:
  kohakuriver node list
  kohakuriver node list --status online --json")]
pub(crate) struct Arguments {
    /// List only the Runners with this status
    #[arg(long, short = 's', value_name = "online|offline", value_parser = ["online", "offline"], hide_possible_values = true)]
    status: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let Listing { entries: all, unreadable } = ask_host(settings, async {
        let client = client(settings)?;
        client.nodes().await.map_err(|error| error.failure("cannot list the Runners"))
    })?;
    if let Some(remark) = ui::unreadable(unreadable, ["Runner", "Runners"]) {
        ui::remark(&remark);
    }
    let wanted = |node: &&Node| arguments.status.as_ref().is_none_or(|wanted| status(node) == wanted);
    let nodes: Vec<&Node> = all.iter().filter(wanted).collect();
    if arguments.json {
        return ui::print(&ui::json(&nodes.iter().map(|node| as_json(node, &all)).collect()));
    }
    if nodes.is_empty() {
        ui::remark(&match &arguments.status {
            Some(status) => format!("no Runner is {status}"),
            None => "there are no Runners".to_owned(),
        });
        return Ok(());
    }
    let rows: Vec<_> = nodes.iter().map(|node| row(node, &all)).collect();
    ui::print(&table(COLUMNS, &rows, ui::Look::of_stdout()))
}

fn status(node: &Node) -> &'static str {
    if node.online { "online" } else { "offline" }
}

fn row(node: &Node, all: &[Node]) -> [String; 4] {
    let heard = |time: &String| ui::ago(ago(time, all)).unwrap_or_else(|| ui::time(time));
    [
        node.hostname.clone(),
        status(node).to_owned(),
        node.url.clone(),
        node.last_heartbeat.as_ref().map(heard).unwrap_or_default(),
    ]
}

/// A Runner for scripts, with the Host's own keys.
fn as_json(node: &Node, all: &[Node]) -> Value {
    json!({
        "hostname": node.hostname,
        "status": status(node),
        "url": node.url,
        "last_heartbeat": node.last_heartbeat.as_ref().and_then(|time| with_zone(time, all, Timestamp::now())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_as_row_and_as_json() {
        let node = Node {
            hostname: "node1".into(),
            url: "http://10.0.0.7:8001".into(),
            online: false,
            last_heartbeat: Some("2026-11-23T12:05:53.53".into()),
            json: Value::Null,
        };
        assert_eq!(
            row(&node, &[]),
            ["node1", "offline", "http://10.0.0.7:8001", "2026-11-23 12:05:53"].map(str::to_owned)
        );
        let expected = json!({
            "hostname": "node1",
            "status": "offline",
            "url": "http://10.0.0.7:8001",
            // Without a Runner that is online, the Host's time zone is unknown.
            "last_heartbeat": null,
        });
        assert_eq!(as_json(&node, &[]), expected);
    }
}
