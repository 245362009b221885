//! `kohakuriver vps stop`: stops a VPS. The Host can't start it again, so the user must confirm.

use crate::cli::host::vps_cache;
use crate::cli::host::{ask_host, block_on, client, named, one_to_change, vps_ref};
use crate::cli::ssh::config as ssh_config;
use crate::cli::terminal::ask::confirm;
use crate::cli::terminal::ui;
use crate::cli::vps::change::Change;
use crate::failure::Failure;
use crate::settings::Settings;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
A stopped VPS can't be started again. Create a new one with `kohakuriver vps create`.

Examples:
  kohakuriver vps stop trainer
  kohakuriver vps stop 7323718749301768192 --yes")]
pub(crate) struct Arguments {
    /// Task id or name of the VPS
    #[arg(value_name = "VPS", add = vps_cache::candidates())]
    vps: String,
    /// Don't ask for confirmation
    #[arg(long, short = 'y')]
    yes: bool,
}

pub(crate) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let wanted = vps_ref(&arguments.vps)?;
    let client = client(settings)?;
    let (vps, generation) = ask_host(settings, one_to_change(&client, &wanted))?;
    confirm(&format!("Stop VPS {}? A stopped VPS can't be started again.", named(&vps)), arguments.yes)?;
    let message = block_on(Change::of("stop", vps.id).ask(client.stop(generation, vps.id)))?;
    ui::remark(&message);
    ssh_config::follow(settings);
    Ok(())
}
