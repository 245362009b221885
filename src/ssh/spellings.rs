//! The host names by which users call a VPS, besides the one in its entry.
//!
//! Pure: ids and names in, patterns of ssh_config(5) out. They are for `Match originalhost`, which compares without case;
//! `Host` does not.

use std::collections::BTreeMap;

use crate::ssh::ends::Ends;
use crate::ssh::labels::is_usable;
use crate::target::TaskId;

/// The prefixes that a task id may have in a host name.
const BEFORE_ID: [&str; 3] = ["", "kohakuriver-", "kohakuriver-vps-"];

/// A name, with patterns for it and for those of its beginnings that no other name has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Beginning {
    /// The patterns.
    pub patterns: Vec<String>,
    /// The VPSes of the name: more than one where it is not unique.
    pub ids: Vec<TaskId>,
}

/// The host names with a task id in them.
pub fn of_id(id: TaskId, ends: &Ends) -> Vec<String> {
    BEFORE_ID.iter().flat_map(|start| ends.patterns(&format!("{start}{id}"))).collect()
}

/// The patterns for the names of `wanted` and for their beginnings, while the Host has VPSes of the names `all`. A VPS that
/// is created later may match as well.
pub fn beginnings<'n>(
    wanted: impl IntoIterator<Item = (TaskId, &'n str)>,
    all: impl IntoIterator<Item = &'n str>,
    ends: &Ends,
) -> Vec<Beginning> {
    let mut names: BTreeMap<String, Vec<TaskId>> = all.into_iter().map(|name| (name.to_lowercase(), vec![])).collect();
    for (id, name) in wanted.into_iter().filter(|(_, name)| is_usable(name)) {
        names.entry(name.to_lowercase()).or_default().push(id);
    }
    // The names with the longest common beginning stand beside each other.
    let names: Vec<(String, Vec<TaskId>)> = names.into_iter().collect();
    let mut found = Vec::new();
    for (at, (name, ids)) in names.iter().enumerate().filter(|(_, (_, ids))| !ids.is_empty()) {
        let beside = [at.checked_sub(1), Some(at + 1)].into_iter().flatten().filter_map(|at| names.get(at));
        let shared = beside.map(|(other, _)| common(name, other)).chain([like_an_id(name)]).max().unwrap_or_default();
        let mut patterns = ends.patterns(name);
        let shortest: String = name.chars().take(shared + 1).collect();
        if shortest.len() < name.len() {
            patterns.extend(ends.patterns(&format!("{shortest}*")));
        }
        found.push(Beginning { patterns, ids: ids.clone() });
    }
    found
}

/// The length of the beginning that `name` shares with a host name that has a task id.
fn like_an_id(name: &str) -> usize {
    let digits = |rest: &str| rest.bytes().take_while(u8::is_ascii_digit).count();
    let shared =
        |start: &&str| name.strip_prefix(*start).map_or(common(name, start), |rest| start.len() + digits(rest));
    BEFORE_ID.iter().map(shared).max().unwrap_or_default()
}

/// The length of the beginning that both share.
fn common(one: &str, other: &str) -> usize {
    one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ssh::ends::tests::short;

    fn id(number: u64) -> TaskId {
        TaskId::parse(&number.to_string()).unwrap()
    }

    fn patterns(wanted: &str, others: &[&str]) -> Vec<String> {
        let found = beginnings([(id(1), wanted)], others.iter().copied(), &short());
        found.into_iter().flat_map(|beginning| beginning.patterns).collect()
    }

    #[test]
    fn the_shortest_beginning_that_no_other_name_has() {
        for (name, others, expected) in [
            ("trainer", &[][..], &["trainer.kohakuriver", "t*.kohakuriver"][..]),
            ("Trainer", &["tester"], &["trainer.kohakuriver", "tr*.kohakuriver"]),
            ("trainer", &["TRAIN"], &["trainer.kohakuriver", "traine*.kohakuriver"]),
            ("train", &["trainer"], &["train.kohakuriver"]),
            ("trainer", &["trainer", "x"], &["trainer.kohakuriver", "t*.kohakuriver"]),
            ("größe", &["grün"], &["größe.kohakuriver", "grö*.kohakuriver"]),
            ("t", &[], &["t.kohakuriver"]),
            // These would match ids.
            ("7x-long", &[], &["7x-long.kohakuriver", "7x*.kohakuriver"]),
            ("kube", &[], &["kube.kohakuriver", "ku*.kohakuriver"]),
            ("kohakuriver-vpn", &[], &["kohakuriver-vpn.kohakuriver"]),
            ("kohakuriver-a1", &[], &["kohakuriver-a1.kohakuriver", "kohakuriver-a*.kohakuriver"]),
            // These can't be typed.
            ("a b", &[], &[]),
            ("77", &[], &[]),
            ("a*", &[], &[]),
        ] {
            assert_eq!(patterns(name, others), expected, "{name} {others:?}");
        }
        let twins = beginnings([(id(1), "dev"), (id(2), "Dev")], ["dev", "Dev", "x"], &short());
        let patterns = ["dev.kohakuriver", "d*.kohakuriver"].map(str::to_owned).into();
        assert_eq!(twins, [Beginning { patterns, ids: vec![id(1), id(2)] }]);
        assert_eq!(
            of_id(id(4), &short()),
            ["4.kohakuriver", "kohakuriver-4.kohakuriver", "kohakuriver-vps-4.kohakuriver"]
        );
    }

    proptest! {
        /// No pattern matches another name, or an id.
        #[test]
        fn no_other_name_begins_so(names in proptest::collection::vec("[abk1]{1,3}|kohakuriver-[v1a]?[a1]?", 1..8)) {
            let all: Vec<String> = names.into_iter().collect();
            let wanted = all.iter().enumerate().map(|(n, name)| (id(n as u64), name.as_str()));
            for beginning in beginnings(wanted, all.iter().map(String::as_str), &short()) {
                let own = beginning.patterns[0].clone();
                let Some(start) = beginning.patterns.get(1).and_then(|pattern| pattern.strip_suffix("*.kohakuriver"))
                else { continue };
                prop_assert!(own.starts_with(start) && !"kohakuriver-1".starts_with(start), "{}", start);
                prop_assert!(start.bytes().any(|byte| !byte.is_ascii_digit()));
                for name in &all {
                    prop_assert!(!name.starts_with(start) || format!("{name}.kohakuriver") == own, "{} {}", name, start);
                }
            }
        }
    }
}
