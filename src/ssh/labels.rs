//! The host name of each VPS in our configuration.
//!
//! The host name is `<name>.kohakuriver` where that name is unique. A Host allows any text as a name, and several VPSes
//! of one name: those all get `<name>-<last 4 digits of the id>`. A VPS gets its task id when its name can't be a literal
//! pattern of ssh_config(5), or reads as the id of another VPS.

use std::collections::HashMap;

use crate::ssh::ends::Ends;
use crate::target::{SSH_PORT, SUFFIX, Target, TaskId, VpsRef};

/// The number of digits of the task id behind a name that is not unique.
const ID_DIGITS: usize = 4;

/// Longest name that is used in a host name, in bytes.
const MAX_NAME: usize = 200;

/// The host name of a VPS in our configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Label {
    /// The VPS.
    pub id: TaskId,
    /// Its host name, with its cluster's end; unique among the labels of one call.
    pub host: String,
    /// Why the host name is not simply the name of the VPS.
    pub remark: Option<Remark>,
}

/// Why the host name of a VPS is not simply its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remark {
    /// Another VPS has the same name.
    Shared,
    /// The name can't be part of a host name.
    Unusable,
    /// The host name would be read as one with a cluster's name in it.
    HasCluster,
}

/// A label for each VPS, in the same order.
pub fn labels<'v>(vpses: impl IntoIterator<Item = (TaskId, Option<&'v str>)>, ends: &Ends) -> Vec<Label> {
    let vpses: Vec<(TaskId, Option<&str>)> = vpses.into_iter().collect();
    let is_free = |name: &str| is_usable(name) && !ends.has_cluster(name);
    let mut forms: Vec<Form> =
        vpses.iter().map(|(_, name)| if name.is_some_and(is_free) { Form::Name } else { Form::Id }).collect();
    // Each round makes at least one form longer, and task ids are unique, so the loop ends.
    loop {
        let hosts: Vec<String> =
            vpses.iter().zip(&forms).map(|((id, name), form)| form.host(*id, *name, ends)).collect();
        let mut count: HashMap<String, usize> = HashMap::new();
        for host in &hosts {
            // ssh converts host names to lower case.
            *count.entry(host.to_lowercase()).or_default() += 1;
        }
        let mut changed = false;
        for (form, host) in forms.iter_mut().zip(&hosts) {
            if count[&host.to_lowercase()] > 1 && *form != Form::Id {
                *form = form.longer();
                changed = true;
            }
        }
        if !changed {
            let remark = |name: Option<&str>, form| match (name, form) {
                (None | Some(""), _) | (_, Form::Name) => None,
                (Some(name), Form::Id) if !is_usable(name) => Some(Remark::Unusable),
                (Some(name), Form::Id) if ends.has_cluster(name) => Some(Remark::HasCluster),
                _ => Some(Remark::Shared),
            };
            let label = |((&(id, name), &form), host)| Label { id, host, remark: remark(name, form) };
            return vpses.iter().zip(&forms).zip(hosts).map(label).collect();
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Name,
    NameAndDigits,
    Id,
}

impl Form {
    fn longer(self) -> Self {
        if self == Self::Name { Self::NameAndDigits } else { Self::Id }
    }

    fn host(self, id: TaskId, name: Option<&str>, ends: &Ends) -> String {
        let (id, name) = (id.to_string(), name.unwrap_or_default());
        let digits = &id[id.len().saturating_sub(ID_DIGITS)..];
        match self {
            Self::Name => ends.host(name),
            Self::NameAndDigits => ends.host(&format!("{name}-{digits}")),
            Self::Id => ends.host(&id),
        }
    }
}

/// Whether `name` is a literal in a `Host` or `Match` line, and `<name>.kohakuriver` means the VPS of this name.
pub(super) fn is_usable(name: &str) -> bool {
    let is_allowed = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    let as_host = || Target::parse(&format!("{name}{SUFFIX}"), SSH_PORT);
    !name.is_empty()
        && name.len() <= MAX_NAME
        && !name.starts_with(['-', '.'])
        && name.chars().all(is_allowed)
        && as_host() == Ok(Target::Vps(VpsRef::Name(name.to_owned())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::Cluster;
    use crate::ssh::ends::tests::short;

    fn hosts(vpses: &[(&str, Option<&str>)]) -> Vec<(String, Option<Remark>)> {
        let vpses = vpses.iter().map(|(id, name)| (TaskId::parse(id).unwrap(), *name));
        labels(vpses, &short()).into_iter().map(|label| (label.host, label.remark)).collect()
    }

    #[test]
    fn unique_names_then_names_with_digits_then_ids() {
        use Remark::{Shared, Unusable};
        let twins = [("70001111", Some("dev")), ("70002222", Some("Dev")), ("70003333", Some("other")), ("7", None)];
        assert_eq!(
            hosts(&twins),
            [
                ("dev-1111.kohakuriver".into(), Some(Shared)),
                ("Dev-2222.kohakuriver".into(), Some(Shared)),
                ("other.kohakuriver".into(), None),
                ("7.kohakuriver".into(), None),
            ]
        );
        let nested = [("10001", Some("dev")), ("20001", Some("dev")), ("3", Some("dev-0001")), ("12", Some("dev"))];
        assert_eq!(
            hosts(&nested),
            ["10001.kohakuriver", "20001.kohakuriver", "dev-0001-3.kohakuriver", "dev-12.kohakuriver"]
                .map(|host| (host.to_owned(), Some(Shared)))
        );
        for name in [
            "a b",
            "*",
            "a?",
            "!a",
            "\"a",
            "#a",
            "a,b",
            "x\nProxyCommand evil",
            "%h",
            "77",
            "kohakuriver-9",
            "-a",
            ".a",
            &"a".repeat(201),
            "a=b",
        ] {
            assert_eq!(hosts(&[("42", Some(name))]), [("42.kohakuriver".into(), Some(Unusable))], "{name:?}");
        }
        assert_eq!(hosts(&[("42", Some("größe_2.x"))]), [("größe_2.x.kohakuriver".into(), None)]);
        let longest = "a".repeat(200);
        assert_eq!(hosts(&[("42", Some(&longest))]), [(format!("{longest}.kohakuriver"), None)]);
        assert_eq!(hosts(&[("42", Some(""))]), [("42.kohakuriver".into(), None)]);
    }

    #[test]
    fn a_host_name_of_another_cluster_is_not_taken() {
        let clusters = ["lab".parse().unwrap(), "work".parse().unwrap()];
        let ends = Ends::of(&Cluster::of(&clusters[1]), true, &clusters);
        let id = TaskId::parse("42").unwrap();
        let label = |name| labels([(id, Some(name))], &ends).remove(0);
        assert_eq!((label("x.lab").host.as_str(), label("x.lab").remark), ("42.kohakuriver", Some(Remark::HasCluster)));
        assert_eq!((label("x.labs").host.as_str(), label("x.labs").remark), ("x.labs.kohakuriver", None));
    }

    proptest! {
        #[test]
        fn each_label_is_unique_and_one_literal_word(
            names in proptest::collection::vec(proptest::option::of("(?s)[ab1]{0,2}|.{0,5}|dev|dev-[0-2]{4}"), 0..12)
        ) {
            let ids = (0_u64..).map(|n| TaskId::parse(&(n * 10_000 + n % 2).to_string()).unwrap());
            let labels = labels(ids.zip(names.iter().map(Option::as_deref)), &short());
            prop_assert_eq!(labels.len(), names.len());
            let mut seen: Vec<String> = labels.iter().map(|label| label.host.to_lowercase()).collect();
            seen.sort();
            seen.dedup();
            prop_assert_eq!(seen.len(), names.len());
            for label in labels {
                prop_assert!(label.host.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c)), "{}", label.host);
            }
        }
    }
}
