//! The Host API, as the page and `GET /status` show it.

use std::time::SystemTime;

use serde::Serialize;

use crate::gateway::decide::directory::{Checked, Directory};

/// Whether the Host API answers. Times are RFC 3339.
#[derive(Serialize, PartialEq, Debug)]
pub(super) struct HostApi {
    /// `host` or `inventory`.
    source: &'static str,
    /// The base of its URLs; `null` for an inventory.
    pub(super) address: Option<String>,
    /// `null` until there is an answer, or none in time.
    pub(super) reachable: Option<bool>,
    /// Why it can't be reached.
    pub(super) why: Option<String>,
    /// When it was asked last.
    asked: Option<String>,
    /// When it last gave a usable answer to this question.
    pub(super) answered: Option<String>,
}

impl HostApi {
    pub(super) async fn of(directory: &Directory) -> Self {
        let time = |at: Option<SystemTime>| at.map(|at| humantime::format_rfc3339_seconds(at).to_string());
        match directory {
            Directory::Host(host) => {
                let Checked { asked, answered, why } = host.checked().await;
                Self {
                    source: "host",
                    address: Some(host.base().to_owned()),
                    reachable: asked.map(|_| why.is_none()),
                    why,
                    asked: time(asked),
                    answered: time(answered),
                }
            }
            // The last good version is always there.
            Directory::Inventory(_) => Self {
                source: "inventory",
                address: None,
                reachable: Some(true),
                why: None,
                asked: None,
                answered: None,
            },
        }
    }
}
