//! `kohakuriver ssh forget`: removes a stored host key, since a re-created VPS has a new one.

use std::path::PathBuf;

use crate::cli::host::{ask_host, id_of, vps_cache, vps_ref};
use crate::cli::programs::host_keys::{self, HostKeys};
use crate::cli::programs::route::{home, install_ssh};
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::ssh::known_hosts::{KnownHosts, KnownHostsError};
use crate::sys;
use crate::target::VpsRef;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
A VPS that was re-created has a new host key, which ssh refuses until the old one is forgotten.

Examples:
  kohakuriver ssh forget trainer")]
pub(crate) struct Arguments {
    /// Task id or name of the VPS
    #[arg(value_name = "VPS", add = vps_cache::candidates())]
    pub(super) vps: String,
}

pub(crate) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let vps = vps_ref(&settings.cluster, &arguments.vps)?;
    let id = match &vps {
        VpsRef::Id(id) => *id,
        VpsRef::Name(_) => ask_host(settings, id_of(settings, &vps))?,
    };
    let HostKeys { store: path, others } = HostKeys::of(settings, &home()?);
    host_keys::check(&path)?;
    let forgotten = KnownHosts::at(&path, &settings.cluster).forget(id).map_err(|error| {
        let failure = Failure::new(format!("cannot forget the host key of VPS {id}")).because(&error);
        failure.hint(match error {
            KnownHostsError::Run(_) => install_ssh(),
            _ => format!("remove the lines with {id} from {} by hand", path.display()),
        })
    })?;
    ui::remark(&if forgotten.is_any {
        format!("removed the host key of VPS {id}; the next connection stores the new one")
    } else {
        format!("there is no stored host key of VPS {id}")
    });
    let has_key =
        |other: &&PathBuf| KnownHosts::at(*other, &settings.cluster).of(id).is_ok_and(|known| !known.is_empty());
    for other in others.iter().filter(has_key) {
        ui::remark(&format!("a key of VPS {id} stays in {}, which can't be written", other.display()));
    }
    for line in forgotten.patterns {
        ui::remark(&format!(
            "line {line} of {} stays: its pattern matches VPS {id}, and other hosts; if it has the old key, change it: `{}`",
            path.display(),
            sys::edit_at(&path, line)
        ));
    }
    Ok(())
}
