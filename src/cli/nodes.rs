//! `kohakuriver node list`.

use serde_json::{Value, json};

use super::{block_on, client, ui};
use crate::api::Node;
use crate::failure::Failure;
use crate::settings::Settings;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
The JSON is an array; each Runner has the keys hostname, status (online or offline), url and last_heartbeat.")]
pub(super) struct Arguments {
    /// List only the Runners of this status
    #[arg(long, short = 's', value_name = "online|offline", value_parser = ["online", "offline"])]
    status: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let mut nodes = block_on(async {
        let client = client(settings)?;
        client.nodes().await.map_err(|error| error.failure("cannot list the Runners"))
    })?;
    if let Some(wanted) = &arguments.status {
        nodes.retain(|node| status(node) == wanted);
    }
    if arguments.json {
        return ui::print(&ui::json(&Value::Array(nodes.iter().map(as_json).collect())));
    }
    if nodes.is_empty() {
        ui::remark(&match &arguments.status {
            Some(status) => format!("no Runner is {status}"),
            None => "the Host knows no Runner".to_owned(),
        });
        return Ok(());
    }
    let rows: Vec<_> = nodes.iter().map(row).collect();
    ui::print(&ui::table(["HOSTNAME", "STATUS", "URL", "LAST HEARTBEAT"], &rows, ui::terminal_width()))
}

fn status(node: &Node) -> &'static str {
    if node.online { "online" } else { "offline" }
}

fn row(node: &Node) -> [String; 4] {
    [
        node.hostname.clone(),
        status(node).to_owned(),
        node.url.clone(),
        node.last_heartbeat.as_deref().map(ui::time).unwrap_or_default(),
    ]
}

/// A Runner for scripts, with the Host's own keys.
fn as_json(node: &Node) -> Value {
    json!({
        "hostname": node.hostname,
        "status": status(node),
        "url": node.url,
        "last_heartbeat": node.last_heartbeat,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_and_its_json() {
        let node = Node {
            hostname: "node1".into(),
            url: "http://10.0.0.7:8001".into(),
            online: false,
            last_heartbeat: Some("2026-11-23T12:05:53.53".into()),
            json: Value::Null,
        };
        assert_eq!(row(&node), ["node1", "offline", "http://10.0.0.7:8001", "2026-11-23 12:05:53"].map(str::to_owned));
        let expected = json!({
            "hostname": "node1",
            "status": "offline",
            "url": "http://10.0.0.7:8001",
            "last_heartbeat": "2026-11-23T12:05:53.53",
        });
        assert_eq!(as_json(&node), expected);
    }
}
