//! `kohakuriver ssh forget`: removes a stored host key, since a re-created VPS has a new one.

use crate::api::Case;
use crate::cli::doctor::shown_line::editor_at;
use crate::cli::host::vps_cache;
use crate::cli::host::{ask_host, client, vps_ref};
use crate::cli::programs::host_keys::{self, HostKeys};
use crate::cli::programs::route::home;
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
        VpsRef::Name(name) => ask_host(settings, async {
            let client = client(settings)?;
            client.id_of(name, Case::Kept).await.map_err(|error| error.about(&vps, client.base()))
        })?,
    };
    let HostKeys { store: path, others } = HostKeys::of(settings, &home()?);
    host_keys::check(&path)?;
    let forgotten = KnownHosts::at(&path, &settings.cluster).forget(id).map_err(|error| {
        let failure = Failure::new(format!("cannot forget the host key of VPS {id}")).because(&error);
        failure.hint(match error {
            KnownHostsError::Run(_) => format!("install OpenSSH's client: `{}`", sys::INSTALL_SSH),
            _ => format!("remove the lines with {id} from {} by hand", path.display()),
        })
    })?;
    ui::remark(&if forgotten.is_any {
        format!("removed the host key of VPS {id}; the next connection stores the new one")
    } else {
        format!("there is no stored host key of VPS {id}")
    });
    for other in others
        .iter()
        .filter(|other| KnownHosts::at(*other, &settings.cluster).of(id).is_ok_and(|known| !known.is_empty()))
    {
        ui::remark(&format!("a key of VPS {id} stays in {}, which can't be written", other.display()));
    }
    for line in forgotten.patterns {
        ui::remark(&format!(
            "line {line} of {} stays: its pattern matches VPS {id}, and other hosts; if it has the old key, change it: `{}`",
            path.display(),
            editor_at(&path, line)
        ));
    }
    Ok(())
}
