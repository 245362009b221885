//! `kohakuriver vps pause` and `vps resume`.

use crate::api::{Freeze, succeeded};
use crate::cli::host::denied::runner_failed;
use crate::cli::host::vps_cache;
use crate::cli::host::{ask_host, block_on, client, one_to_change, vps_ref};
use crate::cli::terminal::ui;
use crate::cli::vps::change::Change;
use crate::failure::Failure;
use crate::settings::Settings;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  kohakuriver vps pause trainer
  kohakuriver vps resume trainer")]
pub(crate) struct Arguments {
    /// Task id or name of the VPS
    #[arg(value_name = "VPS", add = vps_cache::candidates())]
    vps: String,
}

pub(crate) fn run(settings: &Settings, arguments: &Arguments, freeze: Freeze) -> Result<(), Failure> {
    let wanted = vps_ref(&arguments.vps)?;
    let client = client(settings)?;
    let (vps, generation) = ask_host(settings, one_to_change(&client, &wanted))?;
    let request = client.freeze(generation, vps.id, freeze);
    let message = block_on(Change::of(freeze.verb(), vps.id).ask(request))?;
    // The Host answers 200 even if its Runner failed; only the message shows that.
    if !succeeded(&message) {
        return Err(runner_failed(freeze, vps.id, &message, client.base()));
    }
    ui::remark(&message);
    Ok(())
}
