//! `kohakuriver vps pause` and `vps resume`.

use crate::api::{Freeze, succeeded};
use crate::cli::host::block_on;
use crate::cli::host::denied::runner_failed;
use crate::cli::terminal::ui;
use crate::cli::vps::shared::change::Change;
use crate::cli::vps::shared::several::{Named, each};
use crate::failure::Failure;
use crate::settings::Settings;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  kohakuriver vps pause trainer
  kohakuriver vps resume trainer")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) named: Named,
}

pub(crate) fn run(settings: &Settings, arguments: &Arguments, freeze: Freeze) -> Result<(), Failure> {
    let (client, vpses, generation) = arguments.named.find(settings)?;
    each(&vpses, |vps| {
        let request = client.freeze(generation, vps.id, freeze);
        let message = block_on(Change::of(freeze.verb(), vps.id).ask(request))?;
        // The Host answers 200 even if its Runner failed; only the message shows that.
        if !succeeded(&message) {
            return Err(runner_failed(freeze, vps.id, &message, client.base()));
        }
        ui::remark(&message);
        Ok(())
    })
}
