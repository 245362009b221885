//! Changes that the Host refused: its reason, and a hint.

use crate::api::{ApiError, Freeze, hint_here};
use crate::failure::Failure;
use crate::refusal::{ASK_THE_GATEWAYS_ADMIN, Refusal, Rights, State};
use crate::status::VpsStatus;
use crate::target::TaskId;

/// The failure for a call that should have changed something. `attempt` names it in words that fit after `cannot`, `vps`
/// is the VPS that it would have changed.
pub(crate) fn denied(error: &ApiError, attempt: &str, vps: Option<TaskId>) -> Failure {
    let named = vps.map_or_else(|| "VPS".to_owned(), |vps| vps.to_string());
    let what = format!("cannot {attempt}");
    match error {
        ApiError::Status { base, status, detail } if *status < 500 || !detail.is_empty() => Failure::new(what)
            .cause(format!("the Host at {base} says: {detail}"))
            .maybe_hint(hint(*status, detail, attempt, &named)),
        ApiError::Refusal(refusal) if vps.is_some() => {
            let cause = refusal.detail().unwrap_or_else(|| refusal.title(&named));
            Failure::new(what).cause(cause).maybe_hint(hint_here(refusal, &named))
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

fn hint(status: u16, detail: &str, attempt: &str, vps: &str) -> Option<String> {
    if let Some(state) = state(detail) {
        return in_state(state, attempt, vps);
    }
    let nodes = ["node", "Node", "insufficient", "Failed to schedule"];
    match (status, detail) {
        (403, detail) => Some(ask(detail, attempt)),
        (404, _) => Refusal::NotFound.hint(vps),
        (405, _) => Some(ASK_THE_GATEWAYS_ADMIN.to_owned()),
        // Only operators get this far.
        (_, "VPS has no assigned node.") => Refusal::Inactive(operators(VpsStatus::Stopped)).hint(vps),
        (_, detail) if nodes.iter().any(|word| detail.contains(word)) => {
            Some("see which Runners are online with `kohakuriver node list`".to_owned())
        }
        (502, _) => Some("read the log on the Runner: `journalctl -u kohakuriver-runner`".to_owned()),
        (500.., _) => Some("read the log on the Host: `journalctl -u kohakuriver-host`".to_owned()),
        _ => None,
    }
}

/// The hint that names the person to ask. Owners may pause and resume, operators may do everything.
fn ask(detail: &str, attempt: &str) -> String {
    let who = match detail.strip_prefix("Insufficient permissions. Required role: ") {
        Some("admin") => "an admin",
        Some("operator") => "an operator",
        _ => "its owner or an operator",
    };
    format!("ask {who} to {attempt}; `kohakuriver auth status` shows who you are")
}

/// The hint for a state in which the Host refuses `attempt`.
fn in_state(state: VpsStatus, attempt: &str, vps: &str) -> Option<String> {
    use VpsStatus::{Assigning, Failed, Lost, Other, Paused, Pending, PendingApproval, Running};
    let verb = attempt.split(' ').next().unwrap_or_default();
    let own_words = match (verb, &state) {
        (_, Pending | Assigning) => return Refusal::Starting(state.into()).hint(vps),
        ("pause", Paused) => "it is paused already",
        ("resume", Running) => "it runs already; if it takes no login, an operator can restart it",
        ("stop", Failed) => "the VPS has already ended",
        // Only operators get this far.
        ("restart", _) => return Refusal::Inactive(operators(state)).hint(vps),
        (_, Paused) => return Refusal::Inactive(operators(state)).hint(vps),
        (_, Failed | Lost | PendingApproval | Other(_)) => return Refusal::Inactive(state.into()).hint(vps),
        ("stop", _) => "the VPS has already ended",
        _ => "it has ended, and a Host can't start it again",
    };
    Some(own_words.to_owned())
}

/// This state for a reader who may do everything.
fn operators(status: VpsStatus) -> State {
    State { rights: Some(Rights::All), ..status.into() }
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
        for (attempt, status, detail, hint) in [
            (
                "create the VPS",
                403,
                "Insufficient permissions. Required role: operator",
                "an operator to create the VPS",
            ),
            ("stop VPS 42", 403, "Insufficient permissions. Required role: operator", "ask an operator to stop VPS 42"),
            (
                "pause VPS 42",
                403,
                "Insufficient permissions. Required role: user",
                "ask its owner or an operator to pause",
            ),
            // An assignee.
            ("pause VPS 42", 403, "Access denied to this task", "ask its owner or an operator to pause VPS 42"),
            ("stop VPS 42", 404, "VPS not found.", "vps list --all"),
            ("resume VPS 42", 405, "Method Not Allowed", "inventory"),
            ("stop VPS 42", 409, "VPS cannot be stopped (state: stopped)", "already ended"),
            ("stop VPS 42", 409, "VPS cannot be stopped (state: failed)", "already ended"),
            ("stop VPS 42", 409, "VPS cannot be stopped (state: lost)", "node list"),
            ("stop VPS 42", 409, "VPS cannot be stopped (state: pending_approval)", "an operator can approve it"),
            ("stop VPS 42", 409, "Task cannot be killed (state: paused)", "vps resume 42"),
            ("restart VPS 42", 409, "VPS cannot be restarted (state: stopped). Must be running.", "vps create"),
            ("restart VPS 42", 409, "VPS cannot be restarted (state: lost). Must be running.", "node list"),
            ("restart VPS 42", 409, "VPS cannot be restarted (state: assigning). Must be running.", "--wait"),
            ("restart VPS 42", 400, "VPS has no assigned node.", "vps create --gen-ssh-key"),
            ("pause VPS 42", 400, "Invalid command or task state: pause for paused", "paused already"),
            ("pause VPS 42", 400, "Invalid command or task state: pause for failed", "vps status 42"),
            ("pause VPS 42", 400, "Invalid command or task state: pause for hibernating", "what this state means"),
            ("resume VPS 42", 400, "Invalid command or task state: resume for running", "runs already"),
            ("resume VPS 42", 400, "Invalid command or task state: resume for stopped", "can't start it again"),
            ("pause VPS 42", 400, "Task has no assigned node.", "node list"),
            ("restart VPS 42", 503, "Assigned node 'node-down' is not online.", "node list"),
            ("create the VPS", 503, "No suitable node available for this VPS.", "node list"),
            ("create the VPS", 503, "node-up: insufficient cores (31 available, 999 required)", "node list"),
            ("create the VPS", 502, "Runner rejected VPS creation.", "kohakuriver-runner"),
            ("create the VPS", 500, "Failed to generate SSH keypair", "kohakuriver-host"),
        ] {
            let error = ApiError::Status { base: "http://head:8000".into(), status, detail: detail.into() };
            let text = denied(&error, attempt, TaskId::parse("42")).render("p");
            let expected = format!("p: cannot {attempt}\n  caused by: the Host at http://head:8000 says: {detail}\n");
            assert!(text.starts_with(&expected), "{text}");
            assert!(text.lines().last().unwrap().starts_with("  hint: ") && text.contains(hint), "{text}");
        }
    }
}
