//! The VPS that a name means.
//!
//! An exact match comes first. The next is a match in another case, since ssh passes host names on in lower case. The last
//! is a prefix, as with the hash of a commit. Names are not unique on a Host, and a VPS that has ended keeps its name:
//! among VPSes of one name, those that have not ended count, then those of the caller, then the running ones of one owner.
//! So a name never leads to another user's VPS while the caller has one of that name.
//!
//! A name that ssh passes on has lost its case: then names that differ in case only are the same name.

use crate::api::model::Vps;
use crate::refusal::Refusal;
use crate::status::VpsStatus;
use crate::text::excerpt;

/// Most candidates that a refusal lists.
const MAX_CANDIDATES: usize = 8;

/// Whether a name is as its user typed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    /// As its user typed it.
    Kept,
    /// ssh has converted it to lower case.
    Lost,
}

/// The VPS among `all` that `name` means to the user called `caller`; without one, to anybody.
///
/// # Errors
/// [`Refusal::NotFound`], or [`Refusal::Ambiguous`] or [`Refusal::AmbiguousStart`] with the names and ids of the
/// candidates.
pub fn choose<'v>(name: &str, case: Case, all: &'v [Vps], caller: Option<&str>) -> Result<&'v Vps, Refusal> {
    let lower = name.to_lowercase();
    let named = |matches: &dyn Fn(&str) -> bool| -> Vec<&'v Vps> {
        all.iter().filter(|vps| vps.is_vps && vps.name.as_deref().is_some_and(matches)).collect()
    };
    let same = named(&|candidate| candidate.to_lowercase() == lower);
    if same.is_empty() {
        let longer = named(&|candidate| candidate.to_lowercase().starts_with(&lower));
        if longer.is_empty() {
            return Err(Refusal::NotFound);
        }
        return only_one(longer, caller).map_err(Refusal::AmbiguousStart);
    }
    // ssh passes a name on in lower case, so the case must not decide between two owners.
    let alive = narrowed(same, |vps| !has_ended(vps));
    let of_caller = match caller {
        Some(caller) if !have_one_owner(&alive) => narrowed(alive, |vps| vps.belongs_to(caller)),
        _ => alive,
    };
    let exact = |vps: &Vps| vps.name.as_deref() == Some(name);
    let is_clear = have_one_owner(&of_caller) || caller.is_some_and(|caller| of_caller[0].belongs_to(caller));
    let meant = if is_clear && case == Case::Kept { narrowed(of_caller, exact) } else { of_caller };
    only_one(meant, caller).map_err(Refusal::Ambiguous)
}

/// Whether a VPS can't be meant, if there is another one of its name. A lost one comes back with its Runner.
fn has_ended(vps: &Vps) -> bool {
    vps.status.is_final() && vps.status != VpsStatus::Lost
}

fn have_one_owner(vpses: &[&Vps]) -> bool {
    vpses.iter().all(|vps| vps.owner == vpses[0].owner)
}

/// The only VPS that `found` can mean; otherwise the list of all VPSes that it can mean. A prefix may match several names.
/// Then neither owners nor states decide, or the meaning of the prefix would change with them; only VPSes that have ended
/// are left out.
fn only_one<'v>(found: Vec<&'v Vps>, caller: Option<&str>) -> Result<&'v Vps, String> {
    let is_one_name = found.iter().all(|vps| vps.name == found[0].name);
    let mut candidates = narrowed(found, |vps| !has_ended(vps));
    if is_one_name && let Some(caller) = caller {
        candidates = narrowed(candidates, |vps| vps.belongs_to(caller));
    }
    let is_one_owner = have_one_owner(&candidates);
    if is_one_name && is_one_owner {
        candidates = narrowed(candidates, |vps| vps.status == VpsStatus::Running);
    }
    if let [only] = candidates[..] {
        return Ok(only);
    }
    let shown = candidates.iter().take(MAX_CANDIDATES);
    let owner = |vps: &Vps| match &vps.owner {
        Some(owner) if !is_one_owner => format!(", of {}", excerpt(owner)),
        _ => String::new(),
    };
    let one = |vps: &&Vps| {
        let name = excerpt(vps.name.as_deref().unwrap_or_default());
        format!("{name} ({}, {}{})", vps.id, vps.status, owner(vps))
    };
    let mut list: Vec<String> = shown.map(one).collect();
    if candidates.len() > MAX_CANDIDATES {
        list.push(format!("and {} more", candidates.len() - MAX_CANDIDATES));
    }
    Err(list.join(", "))
}

/// The candidates that `keep` is true of; all of them if that is none.
fn narrowed(candidates: Vec<&Vps>, keep: impl Fn(&Vps) -> bool) -> Vec<&Vps> {
    let kept: Vec<&Vps> = candidates.iter().copied().filter(|vps| keep(vps)).collect();
    if kept.is_empty() { candidates } else { kept }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn choose<'v>(name: &str, all: &'v [Vps], caller: Option<&str>) -> Result<&'v Vps, Refusal> {
        super::choose(name, Case::Kept, all, caller)
    }

    fn list(vpses: &[(&str, &str)]) -> Vec<Vps> {
        let object = |(n, (name, status)): (usize, &(&str, &str))| {
            let id = (n + 1).to_string();
            Vps::from_json(json!({ "task_id": id, "name": name, "status": status })).unwrap()
        };
        vpses.iter().enumerate().map(object).collect()
    }

    #[test]
    fn exact_names_then_other_case_then_prefixes() {
        let trainers: &[(&str, &str)] = &[("trainer", "stopped"), ("trainer", "running"), ("trainer-2", "running")];
        let twins: &[(&str, &str)] = &[("dev", "running"), ("dev", "running"), ("dev", "stopped")];
        let ended: &[(&str, &str)] = &[("old-a", "stopped"), ("old-b", "paused")];
        let Err(ambiguous) = choose("dev", &list(twins), None).map(|vps| vps.id) else { panic!("not ambiguous") };
        assert_eq!(ambiguous, Refusal::Ambiguous("dev (1, running), dev (2, running)".into()));
        for (name, all, expected) in [
            ("trainer", trainers, Some("2")),
            ("Trainer", trainers, Some("2")),
            ("trainer-", trainers, Some("3")),
            ("train", trainers, None),
            ("x", trainers, None),
            ("old", ended, Some("2")),
            ("OLD-A", ended, Some("1")),
            ("größe", &[("Größe", "running")], Some("1")),
            ("dev", &[("dev", "paused"), ("dev", "failed")], Some("1")),
        ] {
            let chosen = choose(name, &list(all), None).map(|vps| vps.id.to_string());
            assert_eq!(chosen.as_deref().ok(), expected, "{name}: {chosen:?}");
        }
        assert!(matches!(choose("train", &list(trainers), None), Err(Refusal::AmbiguousStart(_))));
        assert_eq!(choose("x", &list(trainers), None), Err(Refusal::NotFound));
    }

    /// The state of a VPS decides among VPSes of one name, and never between two names.
    #[test]
    fn a_prefix_of_two_names_stays_ambiguous_while_neither_has_ended() {
        let ids = |name: &str, all: &[(&str, &str)]| match choose(name, &list(all), None) {
            Ok(vps) => vps.id.to_string(),
            Err(Refusal::Ambiguous(candidates) | Refusal::AmbiguousStart(candidates)) => candidates,
            Err(other) => panic!("{other:?}"),
        };
        for (all, expected) in [
            ([("dev-a", "running"), ("dev-b", "paused")], "dev-a (1, running), dev-b (2, paused)"),
            ([("dev-a", "paused"), ("dev-b", "running")], "dev-a (1, paused), dev-b (2, running)"),
            ([("dev-a", "running"), ("dev-b", "pending")], "dev-a (1, running), dev-b (2, pending)"),
            ([("dev-a", "running"), ("dev-b", "stopped")], "1"),
            ([("dev-a", "failed"), ("dev-b", "paused")], "2"),
            ([("dev-a", "failed"), ("dev-b", "stopped")], "dev-a (1, failed), dev-b (2, stopped)"),
            ([("dev-a", "running"), ("dev-a", "paused")], "1"),
            ([("dev-a", "paused"), ("dev-a", "running")], "2"),
            ([("dev-a", "paused"), ("dev-a", "pending")], "dev-a (1, paused), dev-a (2, pending)"),
        ] {
            assert_eq!(ids("dev", &all), expected, "{all:?}");
        }
        // With the whole name, the running VPS of that name is meant, and other names don't matter.
        assert_eq!(ids("dev", &[("dev", "paused"), ("dev", "running"), ("dev-b", "running")]), "2");
        // Names that differ in case only are two names.
        assert_eq!(ids("DEV", &[("dev", "running"), ("Dev", "paused")]), "dev (1, running), Dev (2, paused)");
    }

    #[test]
    fn a_name_does_not_lead_to_another_users_vps_while_the_caller_has_one_of_it() {
        let vps = |id: &str, owner: &str, status: &str, assignee: &str| {
            let assignees = json!([{ "id": 3, "username": assignee }]);
            Vps::from_json(json!({
                "task_id": id, "name": "trainer", "status": status, "owner_username": owner, "assignees": assignees,
            }))
            .unwrap()
        };
        let theirs = || vps("2", "bob", "running", "x");
        for (mine, caller, expected) in [
            (vps("1", "alice", "paused", "x"), Some("alice"), Some("1")),
            (vps("1", "alice", "running", "x"), Some("alice"), Some("1")),
            (vps("1", "carol", "paused", "alice"), Some("alice"), Some("1")),
            // An ended one can't be meant; a lost one comes back.
            (vps("1", "alice", "stopped", "x"), Some("alice"), Some("2")),
            (vps("1", "alice", "lost", "x"), Some("alice"), Some("1")),
            (vps("1", "alice", "lost", "x"), None, None),
            // Neither is the caller's, or the caller is unknown.
            (vps("1", "carol", "paused", "x"), Some("alice"), None),
            (vps("1", "alice", "paused", "x"), None, None),
            (vps("1", "al\u{200b}ice", "paused", "x"), Some("alice"), None),
        ] {
            let all = [theirs(), mine];
            let chosen = choose("trainer", &all, caller).map(|vps| vps.id.to_string());
            assert_eq!(chosen.as_deref().ok(), expected, "{caller:?}: {chosen:?}");
            if let Err(Refusal::Ambiguous(text)) = chosen {
                assert!(text.starts_with("trainer (2, running, of bob), trainer (1, "), "{text}");
            }
        }
    }

    #[test]
    fn the_case_of_a_name_does_not_decide_between_owners() {
        let vps = |id: &str, name: &str, owner: &str| {
            Vps::from_json(json!({ "task_id": id, "name": name, "status": "running", "owner_username": owner }))
                .unwrap()
        };
        let all = [vps("1", "Trainer", "alice"), vps("2", "trainer", "bob"), vps("3", "TRAINER", "alice")];
        let id = |name: &str, caller| choose(name, &all, caller).map(|vps| vps.id.to_string()).ok();
        assert_eq!(id("trainer", Some("bob")).as_deref(), Some("2"));
        assert_eq!(id("Trainer", Some("bob")).as_deref(), Some("2"));
        assert_eq!(id("Trainer", Some("alice")).as_deref(), Some("1"));
        assert_eq!(id("trainer", Some("alice")), None);
        assert_eq!((id("trainer", None), id("trainer", Some("carol"))), (None, None));
    }

    #[test]
    fn a_name_that_lost_its_case_means_no_one_of_twins() {
        let of_ssh = |all: &[(&str, &str)]| {
            super::choose("dev", Case::Lost, &list(all), Some("x")).map(|vps| vps.id.to_string())
        };
        let both = Refusal::Ambiguous("dev (1, running), Dev (2, paused)".into());
        assert_eq!(of_ssh(&[("dev", "running"), ("Dev", "paused")]), Err(both));
        assert_eq!(of_ssh(&[("dev", "stopped"), ("Dev", "paused")]), Ok("2".into()));
        assert_eq!(of_ssh(&[("dev", "paused"), ("dev", "running")]), Ok("2".into()));
        assert_eq!(choose("dev", &list(&[("dev", "paused"), ("Dev", "running")]), None).unwrap().id.to_string(), "1");
    }

    #[test]
    fn commands_and_nameless_vpses_are_not_candidates() {
        let mut all = list(&[("dev", "running"), ("dev", "paused")]);
        all[0].is_vps = false;
        assert_eq!(choose("dev", &all, None).unwrap().id.to_string(), "2");
        all[1].name = None;
        assert_eq!(choose("dev", &all, None), Err(Refusal::NotFound));
    }

    #[test]
    fn a_long_list_of_candidates_is_cut() {
        let candidates = |count| match choose("dev", &list(&vec![("dev", "running"); count]), None) {
            Err(Refusal::Ambiguous(text)) => text,
            other => panic!("{other:?}"),
        };
        assert!(candidates(MAX_CANDIDATES).ends_with("dev (7, running), dev (8, running)"));
        let text = candidates(20);
        assert!(text.ends_with("dev (8, running), and 12 more"), "{text}");
    }

    #[test]
    fn owners_are_told_only_where_they_tell_vpses_apart() {
        let vps = |id: &str, owner: &str| {
            let json = json!({ "task_id": id, "name": "dev", "status": "running", "owner_username": owner });
            Vps::from_json(json).unwrap()
        };
        let of_one = choose("dev", &[vps("1", "bob"), vps("2", "bob")], None).map(|vps| vps.id);
        assert_eq!(of_one, Err(Refusal::Ambiguous("dev (1, running), dev (2, running)".into())));
        let of_two = choose("dev", &[vps("1", "bob"), vps("2", "eve")], None).map(|vps| vps.id);
        assert_eq!(of_two, Err(Refusal::Ambiguous("dev (1, running, of bob), dev (2, running, of eve)".into())));
    }
}
