//! `kohakuriver vps pause` and `vps resume`.

use super::denied::{denied, runner_failed};
use super::{block_on, client, one_vps, ui, vps_cache, vps_ref};
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
    block_on(async {
        let id = one_vps(&client, &wanted).await?.id;
        let what = format!("cannot {} VPS {id}", freeze.verb());
        let said = client.freeze(id, freeze).await;
        let message = said.map_err(|error| denied(&error, what, Some(&id.to_string())))?;
        // A Host says OK as well when its Runner didn't do it.
        if !succeeded(&message) {
            return Err(runner_failed(freeze, &id.to_string(), &message, client.base()));
        }
        ui::remark(&message);
        Ok(())
    })
}
