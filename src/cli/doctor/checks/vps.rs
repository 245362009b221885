//! The Host's answer about the VPS and about its Runner.

use super::host_api::{Host, address};
use crate::api::{Located, Reach, Vps, needs_runner, online_runner, refused};
use crate::cli::doctor::check::{Check, Examined, Given, Missing};
use crate::cli::doctor::finding::Verdict;
use crate::cli::doctor::subject::Subject;
use crate::cli::host::find;
use crate::refusal::Refusal;
use crate::secret::Token;
use crate::settings::Settings;
use crate::target::authority;

/// Whether the VPS exists, belongs to the user, runs and has SSH.
pub(super) struct Described<'a> {
    pub(super) subject: &'a Subject,
    pub(super) settings: &'a Given<Settings>,
    pub(super) host: &'a Given<Host>,
    pub(super) token: &'a Option<Token>,
}

impl Check for Described<'_> {
    const NAME: &'static str = "vps";
    const NEEDS_VPS: bool = true;
    type Gives = Located;

    fn tried(&self) -> String {
        format!("VPS {} at {}", self.subject.vps_as_typed(), address(self.settings))
    }

    fn examine(&self) -> Result<Examined<Located>, Verdict> {
        let host = self.host.as_ref()?;
        let wanted = self.subject.vps.clone().ok_or(Missing("no VPS was named"))?;
        let found = host.ask(self.token.as_ref(), |client| async move { find(&client, &wanted).await });
        let found = found.map_err(|failure| Verdict::wrong(&failure, "kohakuriver vps list"))?;
        let verdict = match &found.reach {
            Err(refusal) if !is_runners(refusal) => {
                let id = found.vps.id.to_string();
                let failure = refused(refusal, &id, &host.base());
                // If somebody else has to change its state, the user can watch it.
                let watch = format!("kohakuriver vps status {id} --watch");
                let hint = failure.advice().filter(|hint| !hint.contains('`'));
                let hint = hint.map(|hint| format!("{hint}; watch its state with `{watch}`"));
                let failure = if hint.is_some() { failure.maybe_hint(hint) } else { failure };
                Verdict::wrong(&failure, watch)
            }
            _ => Verdict::Fine(describe(&found.vps)),
        };
        Ok(Examined::giving(verdict, found))
    }
}

/// Whether the Runner is the problem, which the next check reports.
fn is_runners(refusal: &Refusal) -> bool {
    let is_missing = matches!(refusal, Refusal::NoRunner | Refusal::RunnerOffline(_) | Refusal::RunnerUnknown(_));
    is_missing || matches!(refusal, Refusal::RunnerAddress(_))
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
    pub(super) vps: &'a Given<Located>,
}

impl Check for Runner<'_> {
    const NAME: &'static str = "runner";
    const NEEDS_VPS: bool = true;
    type Gives = Reach;

    fn tried(&self) -> String {
        let base = address(self.settings);
        match self.vps {
            Ok(Located { vps: Vps { node: Some(node), .. }, .. }) => format!("Runner {node} at {base}"),
            Ok(Located { vps, .. }) => format!("the Runner of VPS {} at {base}", vps.id),
            Err(_) => format!("the Runner of the VPS at {base}"),
        }
    }

    fn examine(&self) -> Result<Examined<Reach>, Verdict> {
        let found = self.vps.as_ref()?;
        let wrong = |refusal: &Refusal| {
            let failure = refused(refusal, &found.vps.id.to_string(), &address(self.settings));
            Err(Verdict::wrong(&failure, "kohakuriver node list"))
        };
        match &found.reach {
            Ok(reach) => {
                let sshd = authority(&reach.host, reach.port);
                let text = format!("{} is online; the VPS's sshd is at {sshd}", reach.node);
                Ok(Examined::giving(Verdict::Fine(text), reach.clone()))
            }
            Err(refusal) if is_runners(refusal) => wrong(refusal),
            // The VPS has a problem of its own; its Runner may have another one.
            Err(_) if found.vps.is_vps && needs_runner(&found.vps.status) => {
                match online_runner(&found.vps, found.node.as_ref()) {
                    Ok(node) => Ok(Verdict::Fine(format!("{} is online", node.hostname)).into()),
                    Err(refusal) => wrong(&refusal),
                }
            }
            Err(_) => Err(Missing("the VPS itself can't be reached").into()),
        }
    }
}
