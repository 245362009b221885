//! `kohakuriver vps stop`: the end of a VPS. A Host can't start one again, so it is asked first.

use super::ask::confirm;
use super::denied::denied;
use super::{block_on, client, named, one_vps, ssh_config, ui, vps_cache, vps_ref};
use crate::failure::Failure;
use crate::settings::Settings;

#[derive(clap::Args, Debug)]
#[command(after_help = "A stopped VPS can't be started again: make a new one with `kohakuriver vps create`.")]
pub(super) struct Arguments {
    /// Task id or name of the VPS
    #[arg(value_name = "VPS", add = vps_cache::candidates())]
    vps: String,
    /// Don't ask
    #[arg(long, short = 'y')]
    yes: bool,
}

pub(super) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let wanted = vps_ref(&arguments.vps)?;
    let client = client(settings)?;
    let vps = block_on(one_vps(&client, &wanted))?;
    confirm(&format!("Stop VPS {}? A stopped VPS can't be started again.", named(&vps)), arguments.yes)?;
    let message = block_on(async {
        let said = client.stop(vps.id).await;
        said.map_err(|error| denied(&error, format!("cannot stop VPS {}", vps.id), Some(&vps.id.to_string())))
    })?;
    ui::remark(&message);
    ssh_config::follow(settings);
    Ok(())
}
