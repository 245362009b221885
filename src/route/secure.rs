//! TLS on top of a connection.

use std::io;
use std::time::Instant;

use super::error::RouteError;
use crate::carrier::{Carrier, Tls};
use crate::dial::Watch;
use crate::sys::AsFd as _;
use crate::tls::ClientConfig;

/// Puts TLS on top of `below`, to the server called `host`.
pub(super) fn secure<C: Carrier>(
    below: C,
    config: &ClientConfig,
    host: &str,
    watch: Watch<'_>,
) -> Result<Tls<C>, RouteError> {
    let mut carrier = Tls::client(below, config, host).map_err(|fault| RouteError::Handshake(fault.into_error()))?;
    loop {
        match carrier.handshake() {
            Ok(()) => return Ok(carrier),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                watch.wait_for(carrier.as_fd(), carrier.handshake_waits_for())?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => watch.pause(Instant::now())?,
            Err(error) => return Err(RouteError::Handshake(error)),
        }
    }
}
