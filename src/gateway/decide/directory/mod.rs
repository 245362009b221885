//! The address of a VPS, and whether this caller may reach it: the answer of the Host, or of the inventory.

pub(crate) mod cache;
mod host;
mod host_state;
pub(crate) mod host_tls;
mod lookup;

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::api::Caller;
use crate::failure::Failure;
use crate::gateway::decide::inventory::Inventory;
use crate::gateway::watch::metrics::Metrics;
use crate::gateway::watch::notices::Notices;
use crate::refusal::Refusal;
use crate::target::VpsRef;

pub(crate) use host::HostDirectory;
pub(crate) use host_state::{Checked, HostState};
pub(crate) use lookup::{Admission, Requester};

/// The source of what the gateway knows about VPSes.
pub(crate) enum Directory {
    /// A Host. It also decides who may reach which VPS.
    Host(Box<HostDirectory>),
    /// A file. Everyone may reach each VPS in it.
    Inventory(Arc<Inventory>),
}

impl Directory {
    /// Reads the inventory again and reports the outcome. For a Host there is nothing to read.
    pub(crate) fn reload(&self, notices: &Notices) {
        let Self::Inventory(inventory) = self else { return notices.say("reloaded") };
        match inventory.reload() {
            Ok(count) => notices.say(&format!("reloaded; the inventory has {count} VPSes")),
            Err(error) => {
                let what = "the inventory is refused; the last good one stays";
                notices.fault(&Failure::new(what).because(&error));
            }
        }
    }

    /// The address of `vps`, if `requester` may reach it.
    pub(crate) async fn reach(
        &self,
        vps: &VpsRef,
        requester: &Requester,
        metrics: &Metrics,
    ) -> Result<Admission, Refusal> {
        match self {
            Self::Host(host) => host.reach(vps, requester, metrics).await,
            Self::Inventory(inventory) => {
                Ok(Admission { reach: inventory.current().await.reach(vps)?, known_from: None })
            }
        }
    }

    /// The caller, as the Host sees it.
    pub(crate) async fn caller(&self, requester: &Requester, metrics: &Metrics) -> Result<Caller, Refusal> {
        match self {
            Self::Host(host) => host.caller(requester, metrics).await,
            Self::Inventory(_) => Ok(Caller::Everyone { stand_alone: true }),
        }
    }

    /// A new answer after a dial to `admission` failed: a VPS that was restarted has another port. `None` when
    /// `admission` is new itself.
    pub(crate) async fn reach_anew(
        &self,
        vps: &VpsRef,
        requester: &Requester,
        admission: &Admission,
        metrics: &Metrics,
    ) -> Option<Result<Admission, Refusal>> {
        match (self, admission.known_from) {
            (Self::Host(host), Some(known_from)) => {
                host.invalidate(vps, requester, known_from);
                Some(host.reach(vps, requester, metrics).await)
            }
            _ => None,
        }
    }

    /// The name or address of the Host API, and its port, if a Host is asked.
    pub(crate) fn host_api(&self) -> Option<(String, u16)> {
        match self {
            Self::Host(host) => host.address(),
            Self::Inventory(_) => None,
        }
    }

    /// Whether a lookup could succeed now; else why not.
    pub(crate) async fn ready(&self) -> Result<(), String> {
        match self {
            Self::Host(host) => host.ready().await,
            // The last good version is always there.
            Self::Inventory(_) => Ok(()),
        }
    }

    /// Tells the admin when the Host goes down and when it is back. Never returns for a Host. An inventory is always there.
    pub(crate) async fn watch(&self) {
        if let Self::Host(host) = self {
            host.watch().await;
        }
    }

    /// Whether everyone may reach every VPS; `None` when the Host can't be asked.
    pub(crate) async fn is_open_to_everyone(&self, metrics: &Metrics) -> Option<bool> {
        let own = Requester::with(Ipv4Addr::LOCALHOST.into(), None);
        self.caller(&own, metrics).await.ok().map(|caller| matches!(caller, Caller::Everyone { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Client;
    use crate::gateway::decide::inventory::tests::Scene;
    use std::time::Duration;

    #[test]
    fn a_reload_says_what_it_has_read() {
        let scene = Scene::new(r#"{ "nodes": [], "vps": [{ "task_id": "1", "status": "running" }] }"#);
        let notices = Notices::to(scene.heard.clone());
        let client = Client::new("http://127.0.0.1:1", None).unwrap();
        Directory::Host(Box::new(HostDirectory::new(client, Duration::ZERO))).reload(&notices);
        let directory = Directory::Inventory(Arc::clone(&scene.inventory));
        assert_eq!(directory.host_api(), None);
        directory.reload(&notices);
        scene.write("{");
        directory.reload(&notices);
        let text = scene.heard.text();
        let said =
            ["reloaded\n", "reloaded; the inventory has 1 VPSes\n", "the inventory is refused; the last good one"];
        assert!(said.iter().all(|said| text.matches(said).count() == 1), "{text}");
    }
}
