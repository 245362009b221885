//! Facts from other parts of the gateway on a page of metrics: about the Host, certificates, and users.

use std::time::SystemTime;

use super::page::{Page, name};
use crate::gateway::words::session::UserTotals;

/// The facts at the time when the page is written.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// Whether the Host API answers; `None` if nobody knows yet.
    pub(crate) host_is_up: Option<bool>,
    /// The files of the certificates in force, and when these end.
    pub(crate) certificates: Vec<(String, SystemTime)>,
    /// The totals of each user, if they are counted.
    pub(crate) users: Option<Vec<UserTotals>>,
}

pub(super) fn write(page: &mut Page, beside: &Beside) {
    if let Some(is_up) = beside.host_is_up {
        page.value(name!("host_api_up"), "Whether the Host API answers.", u8::from(is_up));
    }
    let seconds = |time: &SystemTime| match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    };
    let certificates = beside.certificates.iter().map(|(file, until)| ([("file", file.as_str())], seconds(until)));
    page.samples(name!("certificate_expiry_timestamp_seconds"), "When a certificate in force ends.", certificates);
    if let Some(users) = &beside.users {
        write_users(page, users);
    }
}

/// The label is empty for all that have no place of their own: no user has an empty name.
fn write_users(page: &mut Page, users: &[UserTotals]) {
    fn user(totals: &UserTotals) -> (&'static str, &str) {
        ("user", totals.user.as_deref().unwrap_or_default())
    }
    page.samples(name!("user_tunnels"), "Open tunnels of a user.", users.iter().map(|of| ([user(of)], of.totals.open)));
    let bytes = users.iter().flat_map(|of| {
        let sample = |direction, bytes| ([user(of), ("direction", direction)], bytes);
        [sample("up", of.totals.bytes_up), sample("down", of.totals.bytes_down)]
    });
    page.samples(name!("user_tunnel_bytes_total"), "Bytes carried for a user.", bytes);
}
