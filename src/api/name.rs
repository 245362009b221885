//! Which VPS a name means.
//!
//! The exact name first. Then the same letters in another case, since ssh writes the host name it passes on in small
//! ones. Then the one name that begins so, as with a commit's hash. Names are not unique on a Host, and VPSes that
//! have ended keep theirs: among VPSes of one name, one that runs wins, then one that hasn't ended.

use crate::api::Vps;
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
            return best(found);
        }
    }
    Err(Refusal::NotFound)
}

/// The one that is most alive. A prefix may have found several names; which of them is alive must not decide what it
/// means, except that those that have ended can't be meant.
fn best(found: Vec<&Vps>) -> Result<&Vps, Refusal> {
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
    fn what_a_name_means() {
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

    #[test]
    fn a_long_list_is_cut() {
        let many = vec![("dev", "running"); 20];
        let Err(Refusal::Ambiguous(text)) = choose("dev", &list(&many)) else { panic!("not ambiguous") };
        assert!(text.ends_with("dev (8, running), and 12 more"), "{text}");
    }
}
