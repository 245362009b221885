//! `kohakuriver cluster list`: which clusters, where, as whom, and which is the default one. It asks no network.

use serde_json::{Value, json};

use crate::cli::files::tokens::Files;
use crate::cli::host::every_cluster;
use crate::cli::terminal::table::{Column, table};
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::settings::{Flags, Settings, Source};
use crate::tokens;

const COLUMNS: [Column; 5] = [
    Column::whole("NAME", 0),
    Column::whole("DEFAULT", 3),
    Column::whole("HOST API", 1),
    Column::whole("SSH PROXY", 4),
    Column::cut("USER", 2, 16),
];

#[derive(clap::Args, Debug)]
#[command(after_help = "\
USER is the user of the stored token, as the Host called it at the login. The JSON is an array of objects with the keys \
name, default, host_api, ssh_proxy, logged_in and username. A missing value is null.

Examples:
  kohakuriver cluster list
  kohakuriver cluster list --json | jq -r '.[].name'")]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(flags: &Flags, arguments: &Arguments) -> Result<(), Failure> {
    let mut clusters = every_cluster(flags)?;
    clusters.retain(|settings| settings.host.source != Source::Default);
    if clusters.is_empty() && !arguments.json {
        ui::remark("no cluster is stored; add one with `kohakuriver login HOST`");
        return Ok(());
    }
    let files = Files::of_user()?;
    let listed: Vec<_> = clusters.iter().map(|settings| Listed::of(settings, &files)).collect::<Result<_, _>>()?;
    if arguments.json {
        return ui::print(&ui::json(&listed.iter().map(Listed::json).collect()));
    }
    let rows: Vec<_> = listed.iter().map(Listed::row).collect();
    ui::print(&table(COLUMNS, &rows, ui::Look::of_stdout()))
}

struct Listed<'s> {
    settings: &'s Settings,
    logged_in: bool,
    user: Option<String>,
}

impl<'s> Listed<'s> {
    fn of(settings: &'s Settings, files: &Files) -> Result<Self, Failure> {
        let found = tokens::of(settings)?;
        let record = found.as_ref().and_then(|found| files.record(&settings.api_url(), found.source.path()?));
        let user = record.and_then(|record| record["username"].as_str().map(str::to_owned));
        Ok(Self { settings, logged_in: found.is_some(), user })
    }

    fn row(&self) -> [String; 5] {
        let user = match (&self.user, self.logged_in) {
            (Some(user), _) => user.clone(),
            (None, true) => "(a token)".to_owned(),
            (None, false) => String::new(),
        };
        let mark = if self.settings.is_default { "yes" } else { "" };
        let Settings { cluster, .. } = self.settings;
        [cluster.to_string(), mark.to_owned(), self.settings.api_url(), self.settings.ssh_proxy().as_typed(), user]
    }

    fn json(&self) -> Value {
        let Settings { cluster, is_default, .. } = self.settings;
        json!({
            "name": cluster.name(), "default": is_default, "host_api": self.settings.api_url(),
            "ssh_proxy": self.settings.ssh_proxy().as_typed(), "logged_in": self.logged_in, "username": self.user,
        })
    }
}
