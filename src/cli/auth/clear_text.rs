//! A warning before a secret crosses the internet in clear text.

use crate::cli::host::internet::has_public_address;
use crate::cli::terminal::ui;
use crate::settings::{Scheme, Settings};

/// Warns if the Host's API is plain HTTP at an address of the internet. Networks at home and at work are left alone.
pub(super) fn warn(settings: &Settings) {
    let api = settings.api();
    if api.scheme == Scheme::Http && has_public_address(&api) {
        ui::remark(&format!(
            "warning: {api} is in the internet and has no TLS, so others can read your password and your token on the way; \
             its admin can set TLS up (`kohakuriver-gateway --help`, --tls-listen), and you log in with \
             `kohakuriver login https://{}`",
            api.host
        ));
    }
}
