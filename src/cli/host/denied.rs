//! Changes that the Host refused: its reason, and a hint.

use crate::api::{ApiError, Freeze};
use crate::failure::Failure;
use crate::refusal::Refusal;
use crate::status::VpsStatus;
use crate::target::TaskId;

/// The failure for a call that should have changed something. `what` names the attempt, `vps` the VPS that it would have
/// changed.
pub(crate) fn denied(error: &ApiError, what: impl Into<String>, vps: Option<TaskId>) -> Failure {
    let named = vps.map_or_else(|| "VPS".to_owned(), |vps| vps.to_string());
    match error {
        ApiError::Status { base, status, detail } if *status < 500 || !detail.is_empty() => Failure::new(what)
            .cause(format!("the Host at {base} says: {detail}"))
            .maybe_hint(hint(*status, detail, &named)),
        ApiError::Refusal(refusal) if vps.is_some() => {
            let cause = refusal.detail().unwrap_or_else(|| refusal.title(&named));
            Failure::new(what).cause(cause).maybe_hint(refusal.hint(&named))
        }
        other => other.failure(what),
    }
}

/// The failure of a Runner that the Host reports with a success status.
pub(crate) fn runner_failed(freeze: Freeze, vps: TaskId, message: &str, base: &str) -> Failure {
    Failure::new(format!("cannot {} VPS {vps}", freeze.verb()))
        .cause(format!("the Host at {base} says: {message}"))
        .hint("see whether its Runner is online with `kohakuriver node list`")
}

fn hint(status: u16, detail: &str, vps: &str) -> Option<String> {
    if let Some(role) = detail.strip_prefix("Insufficient permissions. Required role: ") {
        let who = "`kohakuriver auth status` shows who you are";
        return Some(format!("ask an admin for the role {role}, or ask somebody who has it; {who}"));
    }
    if let Some(state) = state(detail) {
        let ended = state.is_final() && !matches!(state, VpsStatus::Failed | VpsStatus::Lost);
        return match (ended && detail.contains("cannot be"), state.is_starting()) {
            (true, _) if !detail.contains("restarted") => Some("the VPS has already ended".to_owned()),
            (_, true) => Refusal::Starting(state).hint(vps),
            (_, false) if state == VpsStatus::Running => {
                Some(format!("see its state with `kohakuriver vps status {vps}`"))
            }
            (_, false) => Refusal::Inactive(state).hint(vps),
        };
    }
    let nodes = ["node", "Node", "insufficient", "Failed to schedule"];
    match (status, detail) {
        (403, _) => Refusal::NotAllowed.hint(vps),
        (404, _) => Refusal::NotFound.hint(vps),
        (_, detail) if nodes.iter().any(|word| detail.contains(word)) => {
            Some("see which Runners are online with `kohakuriver node list`".to_owned())
        }
        (502, _) => Some("read the log on the Runner: `journalctl -u kohakuriver-runner`".to_owned()),
        (500.., _) => Some("read the log on the Host: `journalctl -u kohakuriver-host`".to_owned()),
        _ => None,
    }
}

/// The state that the Host names: `… (state: stopped)…`, or `Invalid command or task state: pause for stopped`.
fn state(detail: &str) -> Option<VpsStatus> {
    let after = match detail.split_once("(state: ") {
        Some((_, after)) => after,
        None => detail.strip_prefix("Invalid command or task state: ")?.split_once(" for ")?.1,
    };
    let state = after.split([')', ' ', '.']).next().filter(|state| !state.is_empty())?;
    Some(VpsStatus::parse(state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_hint() {
        for (status, detail, hint) in [
            (403, "Insufficient permissions. Required role: operator", "the role operator"),
            (403, "Access denied to this task", "assign it to you"),
            (404, "VPS not found.", "vps list --all"),
            (409, "VPS cannot be stopped (state: stopped)", "already ended"),
            (409, "Task cannot be killed (state: paused)", "vps resume 42"),
            (409, "VPS cannot be restarted (state: stopped). Must be running, paused, or failed.", "vps create"),
            (409, "VPS cannot be restarted (state: lost). Must be running, paused, or failed.", "node list"),
            (409, "VPS cannot be restarted (state: assigning). Must be running, paused, or failed.", "--wait"),
            (400, "Invalid command or task state: pause for paused", "vps resume 42"),
            (400, "Invalid command or task state: resume for running", "vps status 42"),
            (400, "Invalid command or task state: resume for stopped", "vps create"),
            (400, "Task has no assigned node.", "node list"),
            (503, "Assigned node 'node-down' is not online.", "node list"),
            (503, "No suitable node available for this VPS.", "node list"),
            (503, "node-up: insufficient cores (31 available, 999 required)", "node list"),
            (502, "Runner rejected VPS creation.", "kohakuriver-runner"),
            (500, "Failed to generate SSH keypair", "kohakuriver-host"),
        ] {
            let error = ApiError::Status { base: "http://head:8000".into(), status, detail: detail.into() };
            let text = denied(&error, "cannot do it to VPS 42", TaskId::parse("42")).render("p");
            let expected =
                format!("p: cannot do it to VPS 42\n  caused by: the Host at http://head:8000 says: {detail}\n");
            assert!(text.starts_with(&expected), "{text}");
            assert!(text.lines().last().unwrap().starts_with("  hint: ") && text.contains(hint), "{text}");
        }
    }
}
