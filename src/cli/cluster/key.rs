//! The key of a Host whose certificate no CA has signed: shown once, and asked about, as ssh does.

use std::time::Duration;

use crate::cli::terminal::ask::confirm;
use crate::cli::terminal::ui;
use crate::cluster::ClusterName;
use crate::dial::Watch;
use crate::failure::Failure;
use crate::route::{self, Route};
use crate::settings::{Flags, Pins, Settings, Trust};

/// Time limit for the handshake.
const LIMIT: Duration = Duration::from_secs(10);

/// Asks about the key of the Host in `flags`, if nothing else says whether it is trusted. With a yes, the flags have it.
/// `typed` is the cluster that was named on the command line.
pub(super) fn pin_unknown(flags: Flags, typed: Option<&ClusterName>) -> Result<Flags, Failure> {
    let settings = Settings::load(flags.clone())?;
    if !settings.scheme.has_tls() || settings.tls.ca_file.is_some() || settings.tls.pinned_key.is_some() {
        return Ok(flags);
    }
    let Some(pin) = unknown_key(&settings) else { return Ok(flags) };
    let host = settings.host_as_typed();
    let cluster = typed.map(|name| format!(" --cluster {name}")).unwrap_or_default();
    ui::remark(&format!("no CA that is trusted here has signed the certificate of {host}; its key is {pin}"));
    confirm("Is that the key that the cluster's admin has told you?", false).map_err(|failure| {
        failure.cause(format!("the key of {host} is not known")).hint(format!(
            "ask the cluster's admin for the file of its CA, and name it with `--ca-file FILE`; or, if this is its key, \
             `kohakuriver login {host}{cluster} --pinned-key '{pin}'`"
        ))
    })?;
    let trust = Trust { pins: Some(pin), ..flags.trust };
    Ok(Flags { trust, ..flags })
}

/// The key of a Host that is not trusted for want of a CA. Other failures are met by the login.
fn unknown_key(settings: &Settings) -> Option<Pins> {
    let api = settings.api();
    route::connect(&api, &Route::of(settings, &api).ok()?, Watch::at_most(LIMIT)).err()?.unknown_key()
}
