//! Calls on a carrier that wait.

use std::io;

use crate::carrier::Carrier;
use crate::dial::{Interrupted, Watch};
use crate::sys::PollFlags;

/// The result of `call`, which is repeated after a wait for as long as it would block.
///
/// # Errors
/// When `watch` ends the wait. An error of the call itself is in the returned result.
pub fn until_done<T>(
    carrier: &mut dyn Carrier,
    wanted: PollFlags,
    watch: Watch<'_>,
    mut call: impl FnMut(&mut dyn Carrier) -> io::Result<T>,
) -> Result<io::Result<T>, Interrupted> {
    loop {
        match call(carrier) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                watch.wait_for(carrier.as_fd(), carrier.waits_for(wanted))?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return Ok(result),
        }
    }
}

/// Sends all of `bytes`.
///
/// # Errors
/// As for [`until_done`].
pub fn send_all(carrier: &mut dyn Carrier, mut bytes: &[u8], watch: Watch<'_>) -> Result<io::Result<()>, Interrupted> {
    while !bytes.is_empty() {
        match until_done(carrier, PollFlags::OUT, watch, |carrier| carrier.send(bytes))? {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(()))
}
