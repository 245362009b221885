//! The VPSes with an ssh_config entry: those of this user that have SSH now.

use std::path::Path;

use crate::api::{Listing, Vps};
use crate::cli::host::client;
use crate::cli::host::vps::{ssh_port, unreadable_vpses};
use crate::failure::Failure;
use crate::settings::Settings;
use crate::ssh::keys;
use crate::ssh::labels::{Remark, labels};
use crate::ssh::stanzas::Entry;
use crate::text::excerpt;

/// The entries and what the user should know about them.
pub(crate) struct Listed {
    /// An entry for each VPS.
    pub(crate) entries: Vec<Entry>,
    /// Remarks for the user.
    pub(crate) remarks: Vec<String>,
    /// The VPSes themselves.
    pub(crate) vpses: Vec<Vps>,
}

/// The VPSes of this user that have SSH now.
pub(crate) async fn listed(settings: &Settings, home: &Path) -> Result<Listed, Failure> {
    let client = client(settings)?;
    let failed = |error: crate::api::ApiError| error.failure("cannot list your VPSes");
    let user = client.user().await.map_err(failed)?;
    let Listing { entries: mut vpses, unreadable } = client.list(false).await.map_err(failed)?;
    vpses.retain(|vps| {
        vps.is_vps && ssh_port(vps).is_some() && is_mine(vps, user.as_ref().map(|user| user.name.as_str()))
    });
    let (entries, mut remarks) = describe(&vpses, home);
    remarks.extend(unreadable_vpses(unreadable));
    Ok(Listed { entries, remarks, vpses })
}

/// The Host lists every VPS to every user. On a Host without users, every VPS counts as the user's.
fn is_mine(vps: &Vps, user: Option<&str>) -> bool {
    user.is_none_or(|user| vps.belongs_to(user))
}

fn describe(vpses: &[Vps], home: &Path) -> (Vec<Entry>, Vec<String>) {
    let mut remarks = Vec::new();
    let entries = labels(vpses.iter().map(|vps| (vps.id, vps.name.as_deref())))
        .into_iter()
        .zip(vpses)
        .map(|(label, vps)| {
            let name = excerpt(vps.name.as_deref().unwrap_or_default());
            let listed = format!("VPS {} is listed as {}", label.id, label.host);
            match label.remark {
                Some(Remark::Shared) => remarks.push(format!("{listed}: the name `{name}` is not unique")),
                Some(Remark::Unusable) => remarks.push(format!("{listed}: `{name}` is not a valid host name")),
                None => {}
            }
            let key = keys::resolve(None, label.id, Some(home)).unwrap_or_else(|failure| {
                remarks.push(failure.render("entry without a key").trim_end().to_owned());
                None
            });
            Entry { label, key }
        })
        .collect();
    (entries, remarks)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::host::vps::tests::vps;
    use crate::status::VpsStatus;

    #[test]
    fn a_user_has_the_vpses_that_are_owned_or_assigned() {
        let mut vps = vps(VpsStatus::Running);
        vps.json = json!({ "assignees": [{ "id": 3, "username": "bob", "display_name": null }] });
        for (user, mine) in [(None, true), (Some("alice"), true), (Some("bob"), true), (Some("eve"), false)] {
            assert_eq!(is_mine(&vps, user), mine, "{user:?}");
        }
        vps.json = json!({ "assignees": "?" });
        assert!(!is_mine(&vps, Some("bob")));
    }

    #[test]
    fn a_shared_name_gets_a_remark_and_names_are_escaped() {
        let twin = Vps { id: crate::target::TaskId::parse("7323718749301760001").unwrap(), ..vps(VpsStatus::Running) };
        let odd = Vps {
            id: crate::target::TaskId::parse("7").unwrap(),
            name: Some("a\x1b[2J\nb".into()),
            ..vps(VpsStatus::Running)
        };
        let (entries, remarks) = describe(&[vps(VpsStatus::Running), twin, odd], Path::new("/no/such/home"));
        let hosts: Vec<&str> = entries.iter().map(|entry| entry.label.host.as_str()).collect();
        assert_eq!(hosts, ["trainer-8192.kohakuriver", "trainer-0001.kohakuriver", "7.kohakuriver"]);
        assert_eq!(
            remarks,
            [
                "VPS 7323718749301768192 is listed as trainer-8192.kohakuriver: the name `trainer` is not unique",
                "VPS 7323718749301760001 is listed as trainer-0001.kohakuriver: the name `trainer` is not unique",
                "VPS 7 is listed as 7.kohakuriver: `a[2J b` is not a valid host name",
            ]
        );
    }
}
