//! `kohakuriver ssh forget`: the host key of a VPS that was re-created is not that of before.

use crate::cli::host::vps_cache;
use crate::cli::host::{ask_host, client, vps_ref};
use crate::cli::programs::route::home;
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::ssh::known_hosts::{KnownHosts, KnownHostsError};
use crate::ssh::options::known_hosts_path;
use crate::target::VpsRef;

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Task id or name of the VPS
    #[arg(value_name = "VPS", add = vps_cache::candidates())]
    vps: String,
}

pub(crate) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let vps = vps_ref(&arguments.vps)?;
    let id = match &vps {
        VpsRef::Id(id) => *id,
        VpsRef::Name(name) => ask_host(settings, async {
            let client = client(settings)?;
            client.id_of(name).await.map_err(|error| error.about(&vps, client.base()))
        })?,
    };
    let path = known_hosts_path(&home()?);
    let forgotten = KnownHosts::at(&path).forget(id).map_err(|error| {
        let failure = Failure::new(format!("cannot forget the host key of VPS {id}")).because(&error);
        failure.hint(match error {
            KnownHostsError::Run(_) => "install OpenSSH's client: `sudo apt install openssh-client`".to_owned(),
            _ => format!("take the lines with {id} out of {} by hand", path.display()),
        })
    })?;
    ui::remark(&if forgotten {
        format!("the host key of VPS {id} is forgotten; the next connection stores the one it finds")
    } else {
        format!("no host key of VPS {id} is stored")
    });
    Ok(())
}
