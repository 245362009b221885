//! The long answers, as they are sent. Each is made once for a version of the inventory, and all its readers share it: a
//! reader that doesn't read costs a connection, and no copy.

use std::sync::{Arc, Mutex, Weak};

use hyper::body::Bytes;
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::task::{JoinError, spawn_blocking};

use super::objects;
use crate::gateway::decide::inventory::Cluster;
use crate::lock::lock;

/// An answer that names all VPSes or all Runners.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum List {
    Vps,
    CurrentVps,
    Nodes,
    Health,
}

impl List {
    pub(super) fn of(self, cluster: &Cluster) -> Value {
        match self {
            Self::Vps => objects::vps_list(cluster, true),
            Self::CurrentVps => objects::vps_list(cluster, false),
            Self::Nodes => objects::nodes(cluster),
            Self::Health => objects::health(cluster),
        }
    }
}

/// The lists of the version that was asked for last.
#[derive(Default)]
pub(super) struct Lists(Mutex<Arc<Version>>);

#[derive(Default)]
struct Version {
    of: Weak<Cluster>,
    made: [OnceCell<Bytes>; 4],
}

impl Lists {
    /// `list` of `cluster`. A thread for blocking calls makes it, while other readers of the same list wait.
    ///
    /// # Errors
    /// When that thread panics, or the runtime ends.
    pub(super) async fn get(&self, cluster: Arc<Cluster>, list: List) -> Result<Bytes, JoinError> {
        let version = self.version(&cluster);
        let make = || spawn_blocking(move || objects::sent(&list.of(&cluster)));
        version.made[list as usize].get_or_try_init(make).await.cloned()
    }

    fn version(&self, cluster: &Arc<Cluster>) -> Arc<Version> {
        let mut last = lock(&self.0);
        // The pointer keeps the address from being used again.
        if last.of.as_ptr() != Arc::as_ptr(cluster) {
            *last = Arc::new(Version { of: Arc::downgrade(cluster), ..Version::default() });
        }
        Arc::clone(&last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn the_readers_of_one_version_share_its_lists() {
        let cluster = |id: &str| {
            let text = json!({ "nodes": [], "vps": [{ "task_id": id, "status": "running" }] }).to_string();
            Arc::new(Cluster::parse(text.as_bytes()).unwrap())
        };
        let (lists, first) = (Lists::default(), cluster("1"));
        let get = |cluster: &Arc<Cluster>, list| lists.get(Arc::clone(cluster), list);
        let all = [List::Vps, List::CurrentVps, List::Nodes, List::Health];
        for list in all {
            let (one, other) = tokio::join!(get(&first, list), get(&first, list));
            let (one, other) = (one.unwrap(), other.unwrap());
            assert_eq!(one.as_ptr(), other.as_ptr(), "{list:?}");
            assert_eq!(one, objects::sent(&list.of(&first)));
        }
        drop(first);
        let second = get(&cluster("2"), List::Vps).await.unwrap();
        assert!(String::from_utf8_lossy(&second).contains("\"task_id\":\"2\""));
    }
}
