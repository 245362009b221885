//! A Host API with authentication on, which answers as a real Host does: by whom it is asked, and in its shapes.

use serde_json::{Value, json};

use super::gateway::inventory;
use super::peers::{Asked, Peer, http_server};

/// The token of somebody who owns every VPS here.
pub(crate) const OWNER: &str = "0123456789abcdef-owner";
/// The token of somebody to whom every VPS here is assigned: a Host doesn't show them its status, only a list.
pub(crate) const ASSIGNED: &str = "0123456789abcdef-assigned";
/// The token of somebody who has to do with none of them.
pub(crate) const STRANGER: &str = "0123456789abcdef-stranger";

/// Serves these VPSes to whom they belong.
pub(crate) fn host_api(vps: Vec<Value>) -> Peer {
    http_server(move |asked| {
        let (status, body) = answer(&vps, asked);
        (status, "application/json", body.to_string())
    })
}

/// Serves these VPSes to everybody, as a Host without authentication does.
pub(crate) fn plain_host_api(vps: Vec<Value>) -> Peer {
    http_server(move |asked| {
        let owner = Asked { path: asked.path.clone(), authorization: format!("Bearer {OWNER}") };
        let (status, body) = answer(&vps, &owner);
        (status, "application/json", body.to_string())
    })
}

/// A Host takes whoever it doesn't know for an anonymous user, and says so with a 200.
fn user_of(token: &str) -> Value {
    let (id, name, role) = match token {
        OWNER => (2, "owner1", "user"),
        ASSIGNED => (3, "user1", "user"),
        STRANGER => (5, "stranger1", "user"),
        _ => (-1, "_anonymous", "anony"),
    };
    json!({ "id": id, "username": name, "display_name": null, "role": role, "is_active": true,
            "created_at": "2026-11-23T12:12:44.417463" })
}

/// What a Host with these VPSes answers: a status and a body.
pub(crate) fn answer(vps: &[Value], asked: &Asked) -> (u16, Value) {
    let detail = |status, text: &str| (status, json!({ "detail": text }));
    // The prefix is case sensitive, and whatever it doesn't know is anonymous, not wrong.
    let token = asked.authorization.strip_prefix("Bearer ").unwrap_or_default();
    let known = [OWNER, ASSIGNED, STRANGER].contains(&token);
    let listed = || {
        let extended = |vps: &Value| {
            let mut vps = vps.clone();
            vps.as_object_mut().unwrap().remove("task_type");
            vps["assignees"] = json!([{ "id": 3, "username": "user1", "display_name": null }]);
            vps
        };
        vps.iter().map(extended).collect::<Vec<_>>()
    };
    match asked.path.strip_prefix("/api") {
        Some("/auth/me") => (200, user_of(token)),
        Some("/nodes") => (200, inventory(&[])["nodes"].clone()),
        Some("/vps" | "/vps/status" | "/vps/my") if !known => detail(401, "Not authenticated"),
        Some("/vps" | "/vps/status") => detail(403, "Insufficient permissions. Required role: viewer"),
        Some("/vps/my") if token == ASSIGNED => (200, listed().into()),
        Some("/vps/my") => (200, json!([])),
        Some(path) => match path.strip_prefix("/status/").and_then(|id| vps.iter().find(|vps| vps["task_id"] == id)) {
            Some(_) if !known => detail(403, "Anonymous users cannot view task details"),
            Some(_) if token != OWNER => detail(403, "Access denied to this task"),
            Some(vps) => (200, vps.clone()),
            None if path.starts_with("/status/") => detail(404, "Task not found."),
            None => detail(404, "Not Found"),
        },
        None => detail(404, "Not Found"),
    }
}
