//! `kohakuriver vps restart`.
//!
//! A Host restarts a container by making it anew, and sets the new one up for logins without a key. That is said
//! before, and looked at afterwards. A virtual machine is only reset.

use std::time::Duration;

use crate::api::Generation;
use crate::cli::host::vps_cache;
use crate::cli::host::{ask_host, block_on, client, named, one_to_change, vps_ref};
use crate::cli::ssh::config as ssh_config;
use crate::cli::terminal::ask::confirm;
use crate::cli::terminal::ui;
use crate::cli::vps::change::Change;
use crate::cli::vps::passwordless::{self, Verdict};
use crate::cli::vps::wait::{DEFAULT_WAIT, until_ssh_answers};
use crate::failure::Failure;
use crate::seconds;
use crate::settings::Settings;
use crate::target::TaskId;

/// How long sshd is waited for without `--wait`, to see how it lets people in.
const CHECK_PATIENCE: Duration = Duration::from_secs(30);

/// What the Host calls virtual machines.
const MACHINE: &str = "qemu";

#[derive(clap::Args, Debug)]
#[command(after_help = "\
A Host restarts a container (the backend docker) by making it anew, in the mode that lets everybody in as root without a \
key; its host key and its SSH port may be new, too. Whether it takes such logins is looked at afterwards.")]
pub(crate) struct Arguments {
    /// Task id or name of the VPS
    #[arg(value_name = "VPS", add = vps_cache::candidates())]
    vps: String,
    /// Don't ask
    #[arg(long, short = 'y')]
    yes: bool,
    /// Wait until its sshd answers, for 300 seconds unless told otherwise
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = DEFAULT_WAIT,
          value_parser = seconds::parse)]
    wait: Option<Duration>,
}

pub(crate) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let wanted = vps_ref(&arguments.vps)?;
    let client = client(settings)?;
    let (vps, generation) = ask_host(settings, one_to_change(&client, &wanted))?;
    let (id, is_machine) = (vps.id, vps.backend.as_deref() == Some(MACHINE));
    // Nobody says yes to what an older Host can't do.
    if !is_machine && generation == Generation::Todays {
        let anew = "The Host makes a container anew, and lets everybody in as root without a key then.";
        confirm(&format!("Restart VPS {}? {anew}", named(&vps)), arguments.yes)?;
    }
    let message = block_on(Change::of("restart", id).ask(client.restart(generation, id)))?;
    ui::remark(&message);
    ssh_config::follow(settings);
    let patience = match arguments.wait {
        Some(patience) => patience,
        None if is_machine => return Ok(()),
        None => CHECK_PATIENCE,
    };
    match block_on(until_ssh_answers(settings, &client, id, patience)) {
        Ok(()) if is_machine => Ok(()),
        Ok(()) => tell_who_gets_in(settings, id),
        Err(failure) => {
            if !is_machine {
                ui::remark(&format!("warning: {}", unknown(id)));
            }
            // Without `--wait` all that was asked for is done.
            if arguments.wait.is_some() || failure.is_interrupted() {
                return Err(failure);
            }
            ui::remark(failure.render("warning").trim_end());
            Ok(())
        }
    }
}

fn tell_who_gets_in(settings: &Settings, id: TaskId) -> Result<(), Failure> {
    ui::remark(&match block_on(passwordless::check(settings, id))? {
        Verdict::Open => format!(
            "warning: VPS {id} takes logins as root without a key, from everybody who reaches the Host's SSH proxy;\n  \
             set a key and `PermitEmptyPasswords no` in it (`kohakuriver vps connect {id}`), or end it with \
             `kohakuriver vps stop {id}`"
        ),
        Verdict::Closed => format!("VPS {id} answers, and takes no login without a key"),
        Verdict::Unknown(why) => format!("warning: {}: {why}", unknown(id)),
    });
    Ok(())
}

fn unknown(id: TaskId) -> String {
    format!("whether VPS {id} takes logins without a key is unknown")
}
