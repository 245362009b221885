//! What the Host says about the VPS and about its Runner.

use super::host_api::{Host, address};
use crate::api::{Node, Reach, Vps, locate, refused};
use crate::cli::doctor::check::{Check, Examined, Given, Missing};
use crate::cli::doctor::finding::Verdict;
use crate::cli::doctor::subject::Subject;
use crate::refusal::Refusal;
use crate::secret::Token;
use crate::settings::Settings;
use crate::target::{TaskId, authority};

/// Whether the VPS exists, belongs to the user, runs and has SSH.
pub(super) struct Described<'a> {
    pub(super) subject: &'a Subject,
    pub(super) settings: &'a Given<Settings>,
    pub(super) host: &'a Given<Host>,
    pub(super) token: &'a Option<Token>,
}

/// The VPS and its Runner, as the Host describes them.
pub(super) struct Description {
    vps: Vps,
    node: Option<Node>,
}

impl Description {
    pub(super) fn id(&self) -> TaskId {
        self.vps.id
    }

    fn locate(&self) -> Result<Reach, Refusal> {
        locate(&self.vps, self.node.as_ref())
    }
}

impl Check for Described<'_> {
    const NAME: &'static str = "vps";
    const NEEDS_VPS: bool = true;
    type Gives = Description;

    fn tried(&self) -> String {
        format!("VPS {} at {}", self.subject.vps_as_typed(), address(self.settings))
    }

    fn examine(&self) -> Result<Examined<Description>, Missing> {
        let host = self.host.as_ref()?;
        let wanted = self.subject.vps.clone().ok_or(Missing("no VPS was named"))?;
        let found = host.ask(self.token.as_ref(), |client| async move {
            let vps = client.vps(&wanted).await.map_err(|error| error.about(&wanted, client.base()))?;
            let node = client.runner_of(&vps).await.map_err(|error| error.about(&wanted, client.base()))?;
            Ok(Description { vps, node })
        });
        let found = match found {
            Ok(found) => found,
            Err(failure) => return Ok(Verdict::wrong(&failure, "kohakuriver vps list").into()),
        };
        let verdict = match found.locate() {
            Err(refusal) if !is_runners(&refusal) => {
                let id = found.vps.id.to_string();
                Verdict::wrong(&refused(&refusal, &id, &host.base()), format!("kohakuriver vps status {id}"))
            }
            _ => Verdict::Fine(describe(&found.vps)),
        };
        Ok(Examined::giving(verdict, found))
    }
}

/// Whether the Runner is the problem, which the next check reports.
fn is_runners(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::NoRunner | Refusal::RunnerOffline(_) | Refusal::RunnerAddress(_))
}

fn describe(vps: &Vps) -> String {
    let mut text = format!("{} is {}", vps.id, vps.status);
    for (name, value) in [("name", &vps.name), ("owner", &vps.owner), ("backend", &vps.backend)] {
        if let Some(value) = value {
            text += &format!(", {name} {value}");
        }
    }
    text
}

/// Whether the VPS's Runner is online.
pub(super) struct Runner<'a> {
    pub(super) settings: &'a Given<Settings>,
    pub(super) vps: &'a Given<Description>,
}

impl Check for Runner<'_> {
    const NAME: &'static str = "runner";
    const NEEDS_VPS: bool = true;
    type Gives = Reach;

    fn tried(&self) -> String {
        let base = address(self.settings);
        match self.vps {
            Ok(Description { vps: Vps { node: Some(node), .. }, .. }) => format!("Runner {node} at {base}"),
            Ok(Description { vps, .. }) => format!("the Runner of VPS {} at {base}", vps.id),
            Err(_) => format!("the Runner of the VPS at {base}"),
        }
    }

    fn examine(&self) -> Result<Examined<Reach>, Missing> {
        let found = self.vps.as_ref()?;
        match found.locate() {
            Ok(reach) => {
                let sshd = authority(&reach.host, reach.port);
                let text = format!("{} is online; the VPS's sshd is at {sshd}", reach.node);
                Ok(Examined::giving(Verdict::Fine(text), reach))
            }
            Err(refusal) if is_runners(&refusal) => {
                let failure = refused(&refusal, &found.vps.id.to_string(), &address(self.settings));
                Ok(Verdict::wrong(&failure, "kohakuriver node list").into())
            }
            Err(_) => Err(Missing("the VPS itself can't be reached")),
        }
    }
}
