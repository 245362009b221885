//! Which VPS a name means.
//!
//! An exact match comes first. The next is a match in another case, since ssh passes host names on in lower case. The last
//! is a prefix, as with the hash of a commit. Names are not unique on a Host, and a VPS that has ended keeps its name:
//! among VPSes of one name, a running one wins, then one that has not ended.

use crate::api::model::Vps;
use crate::refusal::Refusal;
use crate::status::VpsStatus;

/// Most candidates that a refusal lists.
const MAX_CANDIDATES: usize = 8;

/// The VPS among `all` that `name` means.
///
/// # Errors
/// [`Refusal::NotFound`], or [`Refusal::Ambiguous`] with the names and ids of the candidates.
pub fn choose<'v>(name: &str, all: &'v [Vps]) -> Result<&'v Vps, Refusal> {
    let lower = name.to_lowercase();
    let levels: [&dyn Fn(&str) -> bool; 3] =
        [&|candidate| candidate == name, &|candidate| candidate.to_lowercase() == lower, &|candidate| {
            candidate.to_lowercase().starts_with(&lower)
        }];
    for matches in levels {
        let found: Vec<&Vps> =
            all.iter().filter(|vps| vps.is_vps && vps.name.as_deref().is_some_and(matches)).collect();
        if !found.is_empty() {
            return only_one(found);
        }
    }
    Err(Refusal::NotFound)
}

/// The only VPS that `found` can mean. A prefix may match several names. Then a running VPS does not win over a paused one,
/// or the meaning of the prefix would change with their states; only VPSes that have ended are left out.
fn only_one(found: Vec<&Vps>) -> Result<&Vps, Refusal> {
    let same_name = found.iter().all(|vps| vps.name == found[0].name);
    let narrower: [&dyn Fn(&&&Vps) -> bool; 2] =
        [&|vps| same_name && vps.status == VpsStatus::Running, &|vps| !vps.status.is_final()];
    let mut candidates = found;
    for keep in narrower {
        let kept: Vec<&Vps> = candidates.iter().filter(keep).copied().collect();
        if !kept.is_empty() {
            candidates = kept;
        }
    }
    if let [only] = candidates[..] {
        return Ok(only);
    }
    let shown = candidates.iter().take(MAX_CANDIDATES);
    let mut list: Vec<String> =
        shown.map(|vps| format!("{} ({}, {})", vps.name.as_deref().unwrap_or_default(), vps.id, vps.status)).collect();
    if candidates.len() > MAX_CANDIDATES {
        list.push(format!("and {} more", candidates.len() - MAX_CANDIDATES));
    }
    Err(Refusal::Ambiguous(list.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
        let Err(ambiguous) = choose("dev", &list(twins)).map(|vps| vps.id) else { panic!("not ambiguous") };
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
            let chosen = choose(name, &list(all)).map(|vps| vps.id.to_string());
            assert_eq!(chosen.as_deref().ok(), expected, "{name}: {chosen:?}");
        }
        assert!(matches!(choose("train", &list(trainers)), Err(Refusal::Ambiguous(_))));
        assert_eq!(choose("x", &list(trainers)), Err(Refusal::NotFound));
    }

    /// The state of a VPS decides among VPSes of one name, and never between two names.
    #[test]
    fn a_prefix_of_two_names_stays_ambiguous_while_neither_has_ended() {
        let ids = |name: &str, all: &[(&str, &str)]| match choose(name, &list(all)) {
            Ok(vps) => vps.id.to_string(),
            Err(Refusal::Ambiguous(candidates)) => candidates,
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
    fn commands_and_nameless_vpses_are_not_candidates() {
        let mut all = list(&[("dev", "running"), ("dev", "paused")]);
        all[0].is_vps = false;
        assert_eq!(choose("dev", &all).unwrap().id.to_string(), "2");
        all[1].name = None;
        assert_eq!(choose("dev", &all), Err(Refusal::NotFound));
    }

    #[test]
    fn a_long_list_of_candidates_is_cut() {
        let candidates = |count| match choose("dev", &list(&vec![("dev", "running"); count])) {
            Err(Refusal::Ambiguous(text)) => text,
            other => panic!("{other:?}"),
        };
        assert!(candidates(MAX_CANDIDATES).ends_with("dev (7, running), dev (8, running)"));
        let text = candidates(20);
        assert!(text.ends_with("dev (8, running), and 12 more"), "{text}");
    }
}
