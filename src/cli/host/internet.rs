//! Whether a server is in the internet, as seen from here.

use std::time::Duration;

use crate::dial::{Watch, is_private, resolve};
use crate::settings::Origin;

/// Time limit for the look-up of a server's addresses.
const LIMIT: Duration = Duration::from_secs(3);

/// Whether one of the server's addresses is of the internet. One without an address counts as near: who connects to it
/// will report that.
pub(crate) fn has_public_address(server: &Origin) -> bool {
    let addresses = resolve(&server.host, server.port, Watch::at_most(LIMIT)).unwrap_or_default();
    addresses.iter().any(|address| !is_private(address.ip()))
}
