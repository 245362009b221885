//! A Host API with authentication on. It answers as a real Host does, according to the user who asks.

use serde_json::{Value, json};

use super::gateway::inventory;
use super::peers::{Asked, Peer, http_server};

/// The token of a user who owns every VPS here.
pub(crate) const OWNER: &str = "0123456789abcdef-owner";
/// The token of a user to whom every VPS here is assigned. A Host shows this user a list, but not a VPS's status.
pub(crate) const ASSIGNED: &str = "0123456789abcdef-assigned";
/// The token of a user without any VPS here.
pub(crate) const STRANGER: &str = "0123456789abcdef-stranger";

/// The token of an operator. No VPS here is owned by the operator.
pub(crate) const OPERATOR: &str = "0123456789abcdef-operator";
/// The token of an admin. No VPS here is owned by the admin.
pub(crate) const ADMIN: &str = "0123456789abcdef-host-admin";
/// The token of a viewer, who may see everything and log in to nothing.
pub(crate) const VIEWER: &str = "0123456789abcdef-viewer";

/// The users, each with their token, name and role.
const USERS: [(&str, &str, &str); 6] = [
    (OWNER, "owner1", "user"),
    (ASSIGNED, "assigned1", "user"),
    (STRANGER, "stranger1", "user"),
    (OPERATOR, "operator1", "operator"),
    (VIEWER, "viewer1", "viewer"),
    (ADMIN, "admin1", "admin"),
];

/// Serves these VPSes to their users.
pub(crate) fn host_api(vps: Vec<Value>) -> Peer {
    http_server(move |asked| {
        let (status, body) = answer(&vps, asked);
        (status, "application/json", body.to_string())
    })
}

/// Serves these VPSes to everybody, as a Host without authentication does.
pub(crate) fn plain_host_api(vps: Vec<Value>) -> Peer {
    host_of(inventory(&vps))
}

/// Serves the VPSes and the nodes of `inventory` to everybody.
pub(crate) fn host_of(inventory: Value) -> Peer {
    let vps = inventory["vps"].as_array().unwrap().clone();
    http_server(move |asked| {
        if asked.path == "/api/nodes" {
            return (200, "application/json", inventory["nodes"].to_string());
        }
        if asked.path == "/api/auth/me" {
            let detail = json!({ "detail": "Authentication is not enabled on this server" });
            return (503, "application/json", detail.to_string());
        }
        let owner = Asked { path: asked.path.clone(), authorization: format!("Bearer {OWNER}") };
        let (status, body) = answer(&vps, &owner);
        (status, "application/json", body.to_string())
    })
}

/// The answer of a Host with these VPSes: a status and a body.
pub(crate) fn answer(vps: &[Value], asked: &Asked) -> (u16, Value) {
    let detail = |status, text: &str| (status, json!({ "detail": text }));
    // The prefix is case sensitive, and whatever it doesn't know is anonymous, not wrong.
    let token = asked.authorization.strip_prefix("Bearer ").unwrap_or_default();
    let user = USERS.iter().find(|(known, ..)| *known == token);
    let (known, role) = (user.is_some(), user.map_or("anony", |(.., role)| role));
    let listed = || {
        let extended = |vps: &Value| {
            let mut vps = vps.clone();
            vps.as_object_mut().unwrap().remove("task_type");
            vps["assignees"] = json!([{ "id": 3, "username": "assigned1", "display_name": null }]);
            vps
        };
        vps.iter().map(extended).collect::<Vec<_>>()
    };
    match asked.path.strip_prefix("/api") {
        Some("/auth/status") => (200, json!({ "auth_enabled": true, "session_expire_hours": 720 })),
        Some("/auth/me") => {
            let name = user.map_or("_anonymous", |(_, name, _)| name);
            let me = json!({ "id": 1, "username": name, "display_name": null, "role": role, "is_active": true });
            (200, me)
        }
        Some("/nodes") => (200, inventory(&[])["nodes"].clone()),
        Some("/vps" | "/vps/status" | "/vps/my") if !known => detail(401, "Not authenticated"),
        // Every user sees every VPS in the list. Its status is shown only to users who may reach it.
        Some("/vps" | "/vps/status") => (200, listed().into()),
        Some("/vps/my") if role == "viewer" => detail(403, "Insufficient permissions. Required role: user"),
        Some("/vps/my") if token == ASSIGNED => (200, listed().into()),
        Some("/vps/my") => (200, json!([])),
        Some(path) => match path.strip_prefix("/status/").and_then(|id| vps.iter().find(|vps| vps["task_id"] == id)) {
            Some(_) if !known => detail(403, "Anonymous users cannot view task details"),
            Some(_) if role == "user" && token != OWNER => detail(403, "Access denied to this task"),
            Some(vps) => {
                let mut vps = vps.clone();
                // An inventory need not say it.
                vps.as_object_mut().unwrap().entry("task_type").or_insert("vps".into());
                (200, vps)
            }
            None if path.starts_with("/status/") => detail(404, "Task not found."),
            None => detail(404, "Not Found"),
        },
        None => detail(404, "Not Found"),
    }
}
