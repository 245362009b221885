//! The VPSes with an ssh_config entry: the newest of this user that have SSH now, or may have it soon.

use std::collections::HashSet;
use std::path::Path;

use crate::api::{ApiError, Client, Listing, Vps};
use crate::cli::host::vps::ssh_port;
use crate::cli::terminal::ui;
use crate::settings::Settings;
use crate::ssh::ends::Ends;
use crate::ssh::keys::{self, KeyNames};
use crate::ssh::labels::{Remark, labels};
use crate::ssh::spellings;
use crate::ssh::stanzas::{Entries, Entry};
use crate::target::TaskId;
use crate::text::excerpt;

/// Most VPSes with an entry. ssh reads the whole file for each connection to any machine.
const MOST: usize = 500;

/// The entries and what the user should know about them.
pub(crate) struct Listed {
    /// The entries that our files list.
    pub(crate) entries: Entries,
    /// Remarks for the user.
    pub(crate) remarks: Vec<String>,
    /// The VPSes themselves.
    pub(crate) vpses: Vec<Vps>,
}

/// The names of one cluster on this machine: the ends of its VPSes' host names, and the file names of their keys.
pub(crate) struct Kept {
    ends: Ends,
    keys: KeyNames,
}

impl Kept {
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            ends: Ends::of(&settings.cluster, settings.is_default, &settings.clusters),
            keys: KeyNames::of(&settings.cluster, settings.has_plain_keys()),
        }
    }
}

/// The VPSes of this user that have SSH.
pub(crate) async fn listed(client: &Client, home: &Path, kept: &Kept) -> Result<Listed, ApiError> {
    let user = client.user().await?;
    let Listing { entries: mut vpses, unreadable } = client.list(false).await?;
    let names: Vec<String> = vpses.iter().filter(|vps| vps.is_vps).filter_map(|vps| vps.name.clone()).collect();
    vpses.retain(|vps| vps.is_vps && may_have_ssh(vps) && is_mine(vps, user.as_ref().map(|user| user.name.as_str())));
    let mut listed = describe(vpses, &names, home, kept);
    listed.remarks.extend(ui::unreadable(unreadable, ["VPS", "VPSes"]));
    Ok(listed)
}

/// Before a VPS runs, the Host doesn't tell whether it has SSH.
fn may_have_ssh(vps: &Vps) -> bool {
    vps.status.is_starting() || ssh_port(vps).is_some()
}

/// The Host lists every VPS to every user. On a Host without users, every VPS counts as the user's.
fn is_mine(vps: &Vps, user: Option<&str>) -> bool {
    user.is_none_or(|user| vps.belongs_to(user))
}

impl Listed {
    /// No VPS: the keys on this machine only.
    pub(crate) fn nothing(home: &Path, kept: &Kept) -> Self {
        describe(Vec::new(), &[], home, kept)
    }
}

/// `names`: those of all VPSes of the Host.
fn describe(mut vpses: Vec<Vps>, names: &[String], home: &Path, kept: &Kept) -> Listed {
    let mut remarks = Vec::new();
    let labels = labels(vpses.iter().map(|vps| (vps.id, vps.name.as_deref())), &kept.ends);
    let newest = newest(&vpses);
    if newest.len() < vpses.len() {
        remarks.push(format!(
            "only your newest {MOST} VPSes are listed, of {}; ssh reaches the others by task id or name as well",
            vpses.len()
        ));
    }
    let labels: Vec<_> = labels.into_iter().filter(|label| newest.contains(&label.id)).collect();
    vpses.retain(|vps| newest.contains(&vps.id));
    let mut listed = Vec::new();
    for (label, vps) in labels.into_iter().zip(&vpses) {
        let name = excerpt(vps.name.as_deref().unwrap_or_default());
        let host = format!("VPS {} is listed as {}", label.id, label.host);
        match label.remark {
            Some(Remark::Shared) => remarks.push(format!("{host}: the name `{name}` is not unique")),
            Some(Remark::HasCluster) => remarks.push(format!("{host}: `{name}` ends like the name of a cluster")),
            Some(Remark::Unusable) => remarks.push(format!("{host}: `{name}` is not a valid host name")),
            None => {}
        }
        let key = keys::resolve(None, label.id, Some(home), &kept.keys).unwrap_or_else(|failure| {
            remarks.push(failure.render("entry without a key").trim_end().to_owned());
            None
        });
        listed.push(Entry { label, key });
    }
    let of_listed = vpses.iter().filter_map(|vps| Some((vps.id, vps.name.as_deref()?)));
    let beginnings = spellings::beginnings(of_listed, names.iter().map(String::as_str), &kept.ends);
    let mut unlisted = keys::found(home, &kept.keys);
    unlisted.retain(|(id, _)| !newest.contains(id));
    unlisted.truncate(MOST);
    let ends = kept.ends.clone();
    let entries = Entries { ends, listed, beginnings, unlisted, defaults: keys::defaults(home), more_keys: Vec::new() };
    Listed { entries, remarks, vpses }
}

/// The ids of the newest VPSes. A Host counts ids upwards.
fn newest(vpses: &[Vps]) -> HashSet<TaskId> {
    let mut ids: Vec<TaskId> = vpses.iter().map(|vps| vps.id).collect();
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids.into_iter().take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::host::vps::tests::vps;
    use crate::settings::{ConfigFile, Flags};
    use crate::status::VpsStatus;

    fn kept() -> Kept {
        Kept::of(&Settings::resolve(Flags::default(), &|_| None, ConfigFile::parse(b"{}").unwrap()).unwrap())
    }

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
        let Listed { entries, remarks, .. } =
            describe(vec![vps(VpsStatus::Running), twin, odd], &[], Path::new("/no/such/home"), &kept());
        let hosts: Vec<&str> = entries.listed.iter().map(|entry| entry.label.host.as_str()).collect();
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

    #[test]
    fn a_vps_that_starts_is_listed_and_one_without_ssh_is_not() {
        let without = Vps { ssh_port: crate::api::SshPort::None, ..vps(VpsStatus::Running) };
        assert!(may_have_ssh(&vps(VpsStatus::Assigning)) && may_have_ssh(&vps(VpsStatus::Paused)));
        assert!(!may_have_ssh(&without) && !may_have_ssh(&vps(VpsStatus::Stopped)));
    }

    #[test]
    fn of_too_many_the_newest_are_listed() {
        let id = |n: usize| TaskId::parse(&n.to_string()).unwrap();
        let many = |count: usize| {
            let one = |n| Vps { id: id(n), name: Some(format!("v{n}")), ..vps(VpsStatus::Running) };
            // The Host's own order is by time, but not surely.
            describe((0..count).rev().chain([count]).map(one).collect(), &[], Path::new("/no/such/home"), &kept())
        };
        let Listed { entries, remarks, vpses } = many(MOST + 2);
        assert_eq!((entries.listed.len(), vpses.len()), (MOST, MOST));
        assert!(entries.listed.iter().zip(&vpses).all(|(entry, vps)| entry.label.id == vps.id));
        assert_eq!(entries.listed.iter().map(|entry| entry.label.id).min(), Some(id(3)));
        assert_eq!(entries.beginnings.len(), MOST);
        let told = "only your newest 500 VPSes are listed, of 503; ssh reaches the others by task id or name as well";
        assert_eq!(remarks, [told]);
        assert!(many(MOST - 1).remarks.is_empty());
    }
}
