//! `kohakuriver vps pause` and `vps resume`.

use super::change::Change;
use super::denied::runner_failed;
use super::{ask_host, block_on, client, one_to_change, ui, vps_cache, vps_ref};
use crate::api::{Freeze, succeeded};
use crate::failure::Failure;
use crate::settings::Settings;

#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// Task id or name of the VPS
    #[arg(value_name = "VPS", add = vps_cache::candidates())]
    vps: String,
}

pub(super) fn run(settings: &Settings, arguments: &Arguments, freeze: Freeze) -> Result<(), Failure> {
    let wanted = vps_ref(&arguments.vps)?;
    let client = client(settings)?;
    let (vps, generation) = ask_host(settings, one_to_change(&client, &wanted))?;
    let request = client.freeze(generation, vps.id, freeze);
    let message = block_on(Change::of(freeze.verb(), vps.id).ask(request))?;
    // A Host says OK as well when its Runner didn't do it.
    if !succeeded(&message) {
        return Err(runner_failed(freeze, vps.id, &message, client.base()));
    }
    ui::remark(&message);
    Ok(())
}
