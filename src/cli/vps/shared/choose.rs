//! The list of `vps connect` without a VPS.

use crate::api::{Caller, Vps};
use crate::cli::host::{ask_host, client};
use crate::cli::terminal::ask::choose as ask;
use crate::cli::terminal::table::{Column, table};
use crate::cli::terminal::ui::Look;
use crate::cluster::InMessages;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::target::TaskId;

const COLUMNS: [Column; 5] = [
    Column::cut("NAME", 0, 32),
    Column::whole("STATUS", 1),
    Column::cut("NODE", 3, 16),
    Column::whole("TASK ID", 2),
    Column::cut("OWNER", 4, 16),
];

/// Columns of the mark in front of each line.
const MARK: usize = 2;

/// Lets the user choose a VPS. The user's own VPSes come first.
pub(crate) fn choose(settings: &Settings) -> Result<TaskId, Failure> {
    let (mut vpses, caller) = ask_host(settings, async {
        let client = client(settings)?;
        let list = client.list(false).await.map_err(|error| error.failure("cannot list the VPSes"))?;
        Ok((list.entries, client.caller().await.ok()))
    })?;
    vpses.retain(|vps| !vps.status.is_final());
    if vpses.is_empty() {
        let failure = Failure::new("no VPS is running or starting");
        return Err(failure.hint("make one with `kohakuriver vps create --gen-ssh-key`"));
    }
    if let Some(Caller::User(user)) = &caller {
        vpses.sort_by_key(|vps| !vps.belongs_to(&user.name));
    }
    let rows: Vec<_> = vpses.iter().map(row).collect();
    let width = Look::of_stderr().width.map(|width| width.saturating_sub(MARK));
    let shown = table(COLUMNS, &rows, Look { width, colour: false });
    // Without the headers.
    let lines = shown.lines().skip(1).map(str::to_owned).collect();
    ask(&InMessages::get().message("Connect to which VPS?"), lines).map(|number| vpses[number].id)
}

fn row(vps: &Vps) -> [String; 5] {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    [text(&vps.name), vps.status.to_string(), text(&vps.node), vps.id.to_string(), text(&vps.owner)]
}
