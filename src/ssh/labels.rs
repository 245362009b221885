//! Under which host name each VPS is listed.
//!
//! `<name>.kohakuriver` where that says which one is meant. Names are what people typed, and a Host neither keeps them
//! apart nor limits their letters: VPSes of one name all get `<name>-<last 4 of the id>`, and one whose name can't be a
//! literal pattern of ssh_config(5), or would read as another VPS's id, is listed by its task id.

use std::collections::HashMap;

use crate::target::{SSH_PORT, SUFFIX, Target, TaskId, VpsRef};

/// How many digits of the task id tell VPSes of one name apart.
const ID_DIGITS: usize = 4;

/// Longest name that becomes a host name, in bytes.
const MAX_NAME: usize = 200;

/// The host name of a VPS in our configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Label {
    /// The VPS.
    pub id: TaskId,
    /// Its host name, with `.kohakuriver`; unique among those of one call.
    pub host: String,
    /// Why it is not simply its name.
    pub remark: Option<Remark>,
}

/// Why a VPS is not listed by its name alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remark {
    /// Another VPS has the same name.
    Shared,
    /// The name can't be a host name.
    Unfit,
}

/// A label for each VPS, in the order they came.
pub fn labels<'v>(vpses: impl IntoIterator<Item = (TaskId, Option<&'v str>)>) -> Vec<Label> {
    let vpses: Vec<(TaskId, Option<&str>)> = vpses.into_iter().collect();
    let mut forms: Vec<Form> =
        vpses.iter().map(|(_, name)| if name.is_some_and(is_fit) { Form::Name } else { Form::Id }).collect();
    // Each round makes at least one form longer, and task ids differ, so it comes to an end.
    loop {
        let hosts: Vec<String> = vpses.iter().zip(&forms).map(|((id, name), form)| form.host(*id, *name)).collect();
        let mut count: HashMap<String, usize> = HashMap::new();
        for host in &hosts {
            // ssh writes host names in small letters before it passes them on.
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
                (Some(name), Form::Id) if !is_fit(name) => Some(Remark::Unfit),
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

    fn host(self, id: TaskId, name: Option<&str>) -> String {
        let (id, name) = (id.to_string(), name.unwrap_or_default());
        let digits = &id[id.len().saturating_sub(ID_DIGITS)..];
        match self {
            Self::Name => format!("{name}{SUFFIX}"),
            Self::NameAndDigits => format!("{name}-{digits}{SUFFIX}"),
            Self::Id => format!("{id}{SUFFIX}"),
        }
    }
}

/// Whether `name` can stand in a `Host` line and in front of `.kohakuriver`, and then means itself.
fn is_fit(name: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    let as_host = || Target::parse(&format!("{name}{SUFFIX}"), SSH_PORT);
    !name.is_empty()
        && name.len() <= MAX_NAME
        && !name.starts_with(['-', '.'])
        && name.chars().all(fits)
        && as_host() == Ok(Target::Vps(VpsRef::Name(name.to_owned())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hosts(vpses: &[(&str, Option<&str>)]) -> Vec<(String, Option<Remark>)> {
        let vpses = vpses.iter().map(|(id, name)| (TaskId::parse(id).unwrap(), *name));
        labels(vpses).into_iter().map(|label| (label.host, label.remark)).collect()
    }

    #[test]
    fn names_where_they_tell_vpses_apart() {
        use Remark::{Shared, Unfit};
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
            hosts(&nested).into_iter().map(|(host, _)| host).collect::<Vec<_>>(),
            ["10001.kohakuriver", "20001.kohakuriver", "dev-0001-3.kohakuriver", "dev-12.kohakuriver"]
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
            "a=b",
        ] {
            assert_eq!(hosts(&[("42", Some(name))]), [("42.kohakuriver".into(), Some(Unfit))], "{name:?}");
        }
        assert_eq!(hosts(&[("42", Some("größe_2.x"))]), [("größe_2.x.kohakuriver".into(), None)]);
        assert_eq!(hosts(&[("42", Some(""))]), [("42.kohakuriver".into(), None)]);
    }

    proptest! {
        #[test]
        fn every_label_is_another_and_is_one_harmless_word(
            names in proptest::collection::vec(proptest::option::of("(?s)[ab1]{0,2}|.{0,5}|dev|dev-[0-2]{4}"), 0..12)
        ) {
            let ids = (0_u64..).map(|n| TaskId::parse(&(n * 10_000 + n % 2).to_string()).unwrap());
            let labels = labels(ids.zip(names.iter().map(Option::as_deref)));
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
