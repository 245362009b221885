//! The ends of the host names of one cluster's VPSes.
//!
//! The ends of the default cluster need no name in them: `trainer.kohakuriver` and `trainer.work.kohakuriver` are one VPS. A
//! VPS of the default cluster that is called `trainer.lab` gives way to `trainer` of the cluster `lab`, and is reached by
//! the longer one.

use crate::cluster::{Cluster, ClusterName};
use crate::target::SUFFIX;

/// The ends, and what they leave to other clusters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ends {
    /// All of them; the first one is the one in the list of hosts.
    all: Vec<String>,
    /// The ends that have a cluster's name in them, where the shortest end is one without.
    longer: Vec<String>,
}

impl Ends {
    /// The ends of `cluster`, beside the clusters `others`.
    pub fn of(cluster: &Cluster, is_default: bool, others: &[ClusterName]) -> Self {
        // A Host that is nobody's cluster has no entries beside those of clusters.
        let is_short = is_default || cluster.name().is_none();
        let names = others.iter().map(ClusterName::as_str).chain(cluster.name());
        let longer = names.filter(|_| is_short).map(|name| format!(".{name}{SUFFIX}")).collect();
        Self { all: cluster.suffixes(is_short), longer }
    }

    /// The host name for the list of hosts.
    pub fn host(&self, name: &str) -> String {
        format!("{name}{}", self.all.first().map_or(SUFFIX, String::as_str))
    }

    /// Patterns for all host names with `name`, which may be a pattern itself.
    pub fn patterns(&self, name: &str) -> Vec<String> {
        self.all.iter().map(|end| format!("{name}{end}")).collect()
    }

    /// Whether the host name for the list would be read as one with a cluster's name in it.
    pub fn has_cluster(&self, name: &str) -> bool {
        let host = self.host(name).to_lowercase();
        self.longer.iter().any(|end| host.ends_with(end))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The ends of the only cluster, without its long ones, to keep expectations short.
    pub(in crate::ssh) fn short() -> Ends {
        Ends { all: vec![SUFFIX.to_owned()], longer: Vec::new() }
    }

    #[test]
    fn a_name_that_ends_like_a_cluster_is_left_to_it() {
        let names = ["lab", "work"].map(|name| name.parse().unwrap());
        let work = Ends::of(&Cluster::of(&names[1]), true, &names);
        assert_eq!(work.host("trainer"), "trainer.kohakuriver");
        assert_eq!(work.patterns("t*"), ["t*.kohakuriver", "t*.work.kohakuriver"]);
        assert!(work.has_cluster("trainer.Lab") && !work.has_cluster("lab") && work.has_cluster("a.work"));
        let lab = Ends::of(&Cluster::of(&names[0]), false, &names);
        assert_eq!(lab.host("trainer"), "trainer.lab.kohakuriver");
        assert_eq!(lab.patterns("*"), ["*.lab.kohakuriver"]);
        assert!(!lab.has_cluster("a.work"));
    }
}
