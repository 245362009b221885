//! What the Host says of the VPS: it exists, is a VPS, is ours to reach, runs, and has SSH; and its Runner is online.

use super::Check;
use super::case::Case;
use super::finding::Verdict;
use crate::api::{locate, refused};
use crate::refusal::Refusal;

pub(super) const CHECKS: &[Check] =
    &[Check { name: "vps", of_vps: true, examine: vps }, Check { name: "runner", of_vps: true, examine: runner }];

fn vps(case: &mut Case) -> (String, Verdict) {
    let Some(asked) = case.asked.clone() else {
        return ("the VPS".to_owned(), Verdict::Skipped("none was named".to_owned()));
    };
    let base = case.base().unwrap_or_default();
    let tried = format!("VPS {asked} at {base}");
    if !case.api {
        return (tried, Verdict::Skipped("the Host API does not answer".to_owned()));
    }
    let wanted = asked.clone();
    let found = case.ask(|client| async move {
        let vps = client.vps(&wanted).await.map_err(|error| error.about(&wanted, client.base()))?;
        let node = client.runner_of(&vps).await.map_err(|error| error.about(&wanted, client.base()))?;
        Ok((vps, node))
    });
    let (vps, node) = match found {
        Ok(found) => found,
        Err(failure) => return (tried, Verdict::wrong(&failure, "kohakuriver vps list")),
    };
    let located = locate(&vps, node.as_ref());
    let mut text = format!("{} is {}", vps.id, vps.status);
    for (name, value) in [("called", &vps.name), ("owned by", &vps.owner), ("a VPS of", &vps.backend)] {
        if let Some(value) = value {
            text += &format!(", {name} {value}");
        }
    }
    let id = vps.id.to_string();
    case.vps = Some(vps);
    case.node = node;
    case.reachable = located.is_ok();
    let verdict = match located {
        // The Runner is the next check's.
        Ok(_) | Err(Refusal::NoRunner | Refusal::RunnerOffline(_) | Refusal::RunnerAddress(_)) => Verdict::Fine(text),
        Err(refusal) => Verdict::wrong(&refused(&refusal, &id, &base), format!("kohakuriver vps status {id}")),
    };
    (tried, verdict)
}

fn runner(case: &mut Case) -> (String, Verdict) {
    let Some(vps) = &case.vps else {
        return ("its Runner".to_owned(), Verdict::Skipped("nothing is known of the VPS".to_owned()));
    };
    let base = case.base().unwrap_or_default();
    let tried = match &vps.node {
        Some(node) => format!("Runner {node} at {base}"),
        None => format!("the Runner of VPS {} at {base}", vps.id),
    };
    let verdict = match locate(vps, case.node.as_ref()) {
        Ok(reach) => Verdict::Fine(format!(
            "{} is online; sshd is at {}",
            reach.node,
            crate::target::authority(&reach.host, reach.port)
        )),
        Err(refusal @ (Refusal::NoRunner | Refusal::RunnerOffline(_) | Refusal::RunnerAddress(_))) => {
            Verdict::wrong(&refused(&refusal, &vps.id.to_string(), &base), "kohakuriver node list")
        }
        Err(_) => Verdict::Skipped("the VPS can't be reached anyway".to_owned()),
    };
    (tried, verdict)
}
