//! `kohakuriver vps list`.

use std::cell::Cell;

use clap::builder::PossibleValuesParser;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::{ApiError, Client, Node, Vps, ago, with_zone};
use crate::cli::host::vps::ssh_port;
use crate::cli::host::{Unlisted, client, remember_host, the_host, vps_cache};
use crate::cli::terminal::table::{Column, table_of};
use crate::cli::terminal::ui;
use crate::cli::vps::shared::watch::{self, View, WatchFlags};
use crate::failure::Failure;
use crate::settings::Settings;
use crate::status::VpsStatus;

/// Before the others, with the VPSes of all clusters.
const CLUSTER: Column = Column::whole("CLUSTER", 2);

/// The columns. In 80 columns all but the last three fit beside a usual name. Owner and time tell similar VPSes apart.
/// The SSH port is only for a manual connection, and `vps status` shows it too.
const COLUMNS: [Column; 8] = [
    Column::whole("TASK ID", 0),
    Column::cut("NAME", 2, 32),
    Column::whole("STATUS", 1),
    Column::cut("NODE", 3, 16),
    Column::whole("SSH PORT", 6),
    Column::whole("SUBMITTED", 5),
    Column::whole("BACKEND", 7),
    Column::cut("OWNER", 4, 16),
];

#[derive(clap::Args, Debug)]
#[command(after_help = "\
The JSON is an array of objects as `kohakuriver vps status --json` prints them. A narrow terminal shows fewer columns; a \
pipe or a file gets all of them.

Examples:
  kohakuriver vps list --all
  kohakuriver vps list --mine --status running,paused
  kohakuriver vps list --watch 5
  kohakuriver vps stop $(kohakuriver vps list --mine -q)
  kohakuriver vps list --json | jq -r '.[].name'")]
pub(crate) struct Arguments {
    /// Include VPSes that have ended
    #[arg(long, short = 'a')]
    all: bool,
    /// List the VPSes of all your clusters
    #[arg(long, conflicts_with = "quiet")]
    pub(super) all_clusters: bool,
    /// List only VPSes that you own or are assigned to
    #[arg(long)]
    mine: bool,
    /// List only VPSes with one of these statuses
    #[arg(long, short = 's', value_name = "STATUS", value_delimiter = ',',
          value_parser = PossibleValuesParser::new(VpsStatus::spellings()), hide_possible_values = true)]
    status: Vec<String>,
    /// Print task ids only
    #[arg(long, short = 'q', conflicts_with_all = ["json", "watch"])]
    quiet: bool,
    #[command(flatten)]
    watch: WatchFlags,
}

pub(crate) fn run(clusters: &[Settings], arguments: &Arguments) -> Result<(), Failure> {
    let clients: Vec<(&Settings, Client)> =
        clusters.iter().map(|settings| Ok((settings, client(settings)?))).collect::<Result<_, Failure>>()?;
    let whom = match clusters {
        [settings] => the_host(settings),
        several => format!("{} Hosts", several.len()),
    };
    // Reported at the end: earlier it would land inside a redrawn table.
    let (unreadable, everybodys) = (Cell::new(0), Cell::new(false));
    let unlisted = Unlisted::default();
    watch::show(&arguments.watch, &whom, async || {
        let all = unlisted.list(&clients, async |client| arguments.listed(client).await).await?;
        unreadable.set(all.iter().map(|(_, listed)| listed.unreadable).sum());
        everybodys.set(everybodys.get() || all.iter().any(|(_, listed)| listed.is_everybodys));
        Ok(arguments.view(&all))
    })?;
    if let Some(remark) = ui::unreadable(unreadable.get(), ["VPS", "VPSes"]) {
        ui::remark(&remark);
    }
    if everybodys.get() {
        ui::remark("the Host has no users, so the VPSes of everybody are listed as yours");
    }
    clusters.iter().filter(|settings| !unlisted.has(settings)).for_each(remember_host);
    unlisted.tell()
}

/// The VPSes of one cluster.
struct Listed {
    vpses: Vec<Vps>,
    /// Needed for times only.
    nodes: Vec<Node>,
    unreadable: usize,
    is_everybodys: bool,
}

impl Arguments {
    /// Whether VPSes that have ended have to be asked for.
    fn asks_for_all(&self) -> bool {
        self.all || self.status.iter().any(|status| VpsStatus::parse(status).is_final())
    }

    async fn listed(&self, client: &Client) -> Result<Listed, Failure> {
        let cannot = |error: ApiError| error.failure("cannot list the VPSes");
        let list = client.list(self.asks_for_all()).await.map_err(cannot)?;
        let (mut vpses, mut is_everybodys) = (list.entries, false);
        vps_cache::keep(client.base(), &vpses);
        if self.mine {
            match client.user().await.map_err(cannot)? {
                Some(user) => vpses.retain(|vps| vps.belongs_to(&user.name)),
                None => is_everybodys = true,
            }
        }
        vpses.retain(|vps| self.status.is_empty() || self.status.iter().any(|status| status == vps.status.as_str()));
        let needs_nodes = !self.quiet && !vpses.is_empty();
        let nodes = if needs_nodes { client.nodes().await.map(|nodes| nodes.entries) } else { Ok(Vec::new()) };
        Ok(Listed { vpses, nodes: nodes.unwrap_or_default(), unreadable: list.unreadable, is_everybodys })
    }

    fn view(&self, all: &[(&Settings, Listed)]) -> View {
        let each = || all.iter().flat_map(|(settings, list)| list.vpses.iter().map(move |vps| (settings, list, vps)));
        if self.quiet {
            return View::Text(each().map(|(.., vps)| format!("{}\n", vps.id)).collect());
        }
        if self.watch.json {
            let json = |(settings, list, vps): (&&Settings, &Listed, &Vps)| {
                let mut json = as_json(vps, &list.nodes);
                if self.all_clusters {
                    json["cluster"] = settings.cluster.name().into();
                }
                json
            };
            return View::Json(each().map(json).collect());
        }
        if each().next().is_none() {
            return View::Nothing(self.nothing().to_owned());
        }
        let cluster = |settings: &Settings| self.all_clusters.then(|| settings.cluster.to_string());
        let rows =
            each().map(|(settings, list, vps)| cluster(settings).into_iter().chain(row(vps, &list.nodes)).collect());
        let rows: Vec<Vec<String>> = rows.collect();
        let columns: Vec<Column> = self.all_clusters.then_some(CLUSTER).into_iter().chain(COLUMNS).collect();
        View::Text(table_of(&columns, &rows, ui::Look::of_stdout()))
    }

    /// The meaning of an empty list.
    fn nothing(&self) -> &'static str {
        if !self.status.is_empty() {
            "no VPS has such a status; see all of them with `kohakuriver vps list --all`"
        } else if self.mine && self.all {
            "you have no VPSes"
        } else if self.mine {
            "none of your VPSes is running or starting; `kohakuriver vps list --mine --all` includes those that have ended"
        } else if self.all {
            "there are no VPSes"
        } else {
            "no VPS is running or starting; `kohakuriver vps list --all` includes those that have ended"
        }
    }
}

fn row(vps: &Vps, nodes: &[Node]) -> [String; 8] {
    let submitted = |time: &String| ui::ago(ago(time, nodes)).unwrap_or_else(|| ui::time(time));
    [
        vps.id.to_string(),
        vps.name.clone().unwrap_or_default(),
        vps.status.to_string(),
        vps.node.clone().unwrap_or_default(),
        ssh_port(vps).map(|port| port.to_string()).unwrap_or_default(),
        vps.submitted_at.as_ref().map(submitted).unwrap_or_default(),
        vps.backend.clone().unwrap_or_default(),
        vps.owner.clone().unwrap_or_default(),
    ]
}

/// A VPS for scripts, with the Host's own keys. Every key is present, even if the Host omitted the value.
pub(crate) fn as_json(vps: &Vps, nodes: &[Node]) -> Value {
    let time = |time: &Option<String>| time.as_ref().and_then(|time| with_zone(time, nodes, Timestamp::now()));
    json!({
        "task_id": vps.id.to_string(),
        "name": vps.name,
        "status": vps.status.as_str(),
        "assigned_node": vps.node,
        "ssh_port": ssh_port(vps),
        "vps_backend": vps.backend,
        "owner_username": vps.owner,
        "submitted_at": time(&vps.submitted_at),
        "started_at": time(&vps.started_at),
        "error_message": vps.error_message,
        "rejection_reason": vps.rejection_reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::SshPort;
    use crate::cli::host::vps::tests::vps;

    #[test]
    fn a_row_has_a_port_only_if_sshd_runs() {
        assert_eq!(
            row(&vps(VpsStatus::Running), &[]),
            ["7323718749301768192", "trainer", "running", "node1", "32768", "2026-11-23 12:05:53", "", "alice"]
                .map(str::to_owned)
        );
        assert_eq!(row(&vps(VpsStatus::Pending), &[])[4], "");
        assert_eq!(row(&Vps { ssh_port: SshPort::None, ..vps(VpsStatus::Running) }, &[])[4], "");
    }

    #[test]
    fn json_has_every_key_and_string_ids() {
        assert_eq!(
            as_json(&Vps { rejection_reason: Some("no GPUs left".into()), ..vps(VpsStatus::Paused) }, &[]),
            json!({
                "task_id": "7323718749301768192",
                "name": "trainer",
                "status": "paused",
                "assigned_node": "node1",
                "ssh_port": 32768,
                "vps_backend": null,
                "owner_username": "alice",
                // Without a Runner that is online, the Host's time zone is unknown.
                "submitted_at": null,
                "started_at": null,
                "error_message": null,
                "rejection_reason": "no GPUs left",
            })
        );
    }
}
