//! `kohakuriver vps stop`: stops VPSes. The Host can't start them again, so the user must confirm.

use crate::cli::host::block_on;
use crate::cli::ssh::config as ssh_config;
use crate::cli::terminal::ask::confirm;
use crate::cli::terminal::ui;
use crate::cli::vps::shared::change::Change;
use crate::cli::vps::shared::several::{Named, all_named, each};
use crate::failure::Failure;
use crate::settings::Settings;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
A stopped VPS can't be started again. Create a new one with `kohakuriver vps create`.

Examples:
  kohakuriver vps stop trainer notebook
  kohakuriver vps stop 7323718749301768192 --yes")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) named: Named,
    /// Don't ask for confirmation
    #[arg(long, short = 'y')]
    yes: bool,
}

pub(crate) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let (client, vpses, generation) = arguments.named.find(settings)?;
    confirm(&format!("Stop {}? A stopped VPS can't be started again.", all_named(&vpses)), arguments.yes)?;
    let stopped = each(&vpses, |vps| {
        let message = block_on(Change::of("stop", vps.id).ask(client.stop(generation, vps.id)))?;
        ui::remark(&message);
        Ok(())
    });
    ssh_config::follow(settings);
    stopped
}
