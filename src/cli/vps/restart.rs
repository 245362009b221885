//! `kohakuriver vps restart`.
//!
//! The Host restarts a container by re-creating it, and the new container allows logins without a key. The user is
//! warned before, and the login is tested afterwards. The new host key replaces the stored one. A virtual machine is only
//! reset.

use std::time::Duration;

use crate::api::{Client, Generation, Vps};
use crate::cli::host::block_on;
use crate::cli::ssh::config as ssh_config;
use crate::cli::terminal::ask::confirm;
use crate::cli::terminal::ui;
use crate::cli::vps::shared::change::Change;
use crate::cli::vps::shared::passwordless::{self, Verdict};
use crate::cli::vps::shared::recreated::KeysBefore;
use crate::cli::vps::shared::several::{Named, all_named, each};
use crate::cli::vps::shared::wait::{DEFAULT_WAIT, until_ssh_answers};
use crate::failure::Failure;
use crate::seconds;
use crate::settings::Settings;
use crate::target::TaskId;

/// How long to wait for sshd without `--wait`, to test the login without a key.
const CHECK_LIMIT: Duration = Duration::from_secs(30);

/// The Host's word for virtual machines.
const MACHINE: &str = "qemu";

#[derive(clap::Args, Debug)]
#[command(after_help = "\
The Host restarts a container (backend docker) by re-creating it. The new container lets everybody log in as root without \
a key, and may have another host key and SSH port. Afterwards this command tests whether such logins work. If a host key \
of the VPS was stored, the new one replaces it, and both fingerprints are printed.

Examples:
  kohakuriver vps restart trainer
  kohakuriver vps restart trainer --yes --wait 60")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) named: Named,
    /// Don't ask for confirmation
    #[arg(long, short = 'y')]
    yes: bool,
    /// Wait until its sshd answers, for at most SECONDS (300 if omitted)
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = DEFAULT_WAIT,
          value_parser = seconds::parse)]
    wait: Option<Duration>,
}

pub(crate) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let (client, vpses, generation) = arguments.named.find(settings)?;
    let has_container = !vpses.iter().all(is_machine);
    // Don't prompt if the Host lacks this call.
    if has_container && generation == Generation::Todays {
        let containers = if vpses.len() == 1 { "the container, which then lets" } else { "containers, which then let" };
        let warning = format!("The Host re-creates {containers} everybody log in as root without a key.");
        confirm(&format!("Restart {}? {warning}", all_named(&vpses)), arguments.yes)?;
    }
    each(&vpses, |vps| restart(settings, arguments, &client, generation, vps))
}

fn is_machine(vps: &Vps) -> bool {
    vps.backend.as_deref() == Some(MACHINE)
}

fn restart(
    settings: &Settings,
    arguments: &Arguments,
    client: &Client,
    generation: Generation,
    vps: &Vps,
) -> Result<(), Failure> {
    let (id, is_machine) = (vps.id, is_machine(vps));
    let keys = KeysBefore::of(settings, id);
    let message = block_on(Change::of("restart", id).ask(client.restart(generation, id)))?;
    ui::remark(&message);
    ssh_config::follow(settings);
    let limit = match arguments.wait {
        Some(limit) => limit,
        None if is_machine => return Ok(()),
        None => CHECK_LIMIT,
    };
    match block_on(until_ssh_answers(settings, client, id, limit)) {
        Ok(()) if is_machine => Ok(()),
        Ok(()) => report_container(settings, id, &keys),
        Err(failure) => {
            if !is_machine {
                ui::remark(&format!("warning: {}", unknown(id)));
                keys.warn();
            }
            // Without `--wait` only the restart was requested.
            if arguments.wait.is_some() || failure.is_interrupted() {
                return Err(failure);
            }
            ui::remark(failure.render("warning").trim_end());
            Ok(())
        }
    }
}

fn report_container(settings: &Settings, id: TaskId, keys: &KeysBefore) -> Result<(), Failure> {
    let tested = block_on(passwordless::check(settings, id))?;
    keys.follow(tested.host_key.as_ref());
    ui::remark(&match tested.verdict {
        Verdict::Open => format!(
            "warning: VPS {id} lets everybody who can reach the Host's SSH proxy log in as root without a key;\n  \
             log in with `kohakuriver vps connect {id}` and set a key and `PermitEmptyPasswords no`, or stop it with \
             `kohakuriver vps stop {id}`"
        ),
        Verdict::Closed => format!("VPS {id} answers, and refuses logins without a key"),
        Verdict::Unknown(why) => format!("warning: {}: {why}", unknown(id)),
    });
    Ok(())
}

fn unknown(id: TaskId) -> String {
    format!("it is unknown whether VPS {id} allows logins without a key")
}
