//! The calls of `src/api`, and the table: each has what the other has.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use super::*;
use crate::api::{Client, Freeze, Generation, Order};
use crate::secret::Token;
use crate::target::VpsRef;
use scene::Seen;

/// A Host that answers every call of our programs.
fn answer(seen: &Seen) -> hyper::Response<http_body_util::Full<hyper::body::Bytes>> {
    let task = json!({
        "task_id": "42", "task_type": "vps", "name": "trainer", "status": "running", "assigned_node": "node1",
        "ssh_port": 22, "owner_username": "alice",
    });
    let user = json!({ "username": "alice", "role": "user" });
    match seen.target.as_str() {
        "/api/nodes" => json(200, &json!([{ "hostname": "node1", "url": "http://10.0.0.1:8001", "status": "online" }])),
        "/api/vps/status" => json(403, &json!({ "detail": "Insufficient permissions. Required role: viewer" })),
        "/api/vps" | "/api/vps/my" => json(200, &json!([task])),
        "/api/status/42" => json(200, &task),
        "/api/auth/me" => json(200, &user),
        "/api/auth/login" => {
            let mut response = json(200, &json!({ "message": "ok", "user": user }));
            response.headers_mut().insert("set-cookie", "kohakuriver_session=abc; HttpOnly; Path=/".parse().unwrap());
            response
        }
        "/api/auth/tokens/create" => {
            assert_eq!(seen.fields["cookie"], "kohakuriver_session=abc");
            json(200, &json!({ "id": 7, "name": "laptop", "token": "t0ken" }))
        }
        "/api/vps/create" => json(200, &json!({ "message": "ok", "task_id": "42" })),
        _ => json(200, &json!({ "message": "done" })),
    }
}

#[tokio::test]
async fn every_call_of_our_programs_gets_through() {
    let host = Host::start(answer).await;
    let served = Served::start(proxy(&host.base, "")).await;
    let client = Client::new(&served.base, Some(Token::new("t0ken").unwrap())).unwrap();
    let id = VpsRef::parse("42").unwrap();
    let task_id = client.vps(&id).await.unwrap().id;
    client.list(true).await.unwrap();
    client.list(false).await.unwrap();
    client.nodes().await.unwrap();
    client.user().await.unwrap();
    // The description of a Host's software is not shown to the internet, and its absence is fine.
    assert_eq!(client.about().await.unwrap().software, None);
    let session = client.log_in("alice", "pw").await.unwrap();
    client.new_token(&session, "laptop").await.unwrap();
    client.revoke(7).await.unwrap();
    let generation = client.generation().await.unwrap();
    assert_eq!(generation, Generation::Todays);
    client.create(generation, &Order::default()).await.unwrap();
    client.stop(generation, task_id).await.unwrap();
    client.restart(generation, task_id).await.unwrap();
    client.freeze(generation, task_id, Freeze::Pause).await.unwrap();
    client.freeze(generation, task_id, Freeze::Resume).await.unwrap();
    let seen: BTreeSet<_> = host.seen().into_iter().map(|seen| pattern(&seen.method, &seen.target)).collect();
    let table: BTreeSet<_> = ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(seen, table);
}

fn pattern(method: &str, target: &str) -> String {
    let segment = |part: &str| if part.starts_with(|c: char| c.is_ascii_digit()) { "{id}" } else { part }.to_owned();
    format!("{method} {}", target.split('/').map(segment).collect::<Vec<_>>().join("/"))
}

/// The paths in the source of `src/api` that a Host of the older generation has, or that are another server's.
const NOT_PASSED: [&str; 5] = ["/submit", "/kill/{id}", "/openapi.json", "/sessions?gateways", "/sessions/{which}"];

/// A path that is written anywhere in `src/api` is in the table. A new call can't be forgotten.
#[test]
fn every_path_in_the_source_is_in_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api");
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_file() || path.ends_with("fake_host.rs") {
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        let source = source.split("mod tests {").next().unwrap();
        let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            found.extend(line.split('"').skip(1).step_by(2).filter(|text| is_path(text)).map(str::to_owned));
        }
    }
    let own: BTreeSet<_> = ROUTES.iter().map(|route| route.path.to_owned()).collect();
    for path in &found {
        let path = path.replace("{prefix}", "");
        let ids = path.replace("{token_id}", "{id}");
        let verbs = ["pause", "resume"].map(|verb| ids.replace("{}", verb));
        for path in verbs {
            let api = if path.starts_with("/api/") { path.clone() } else { format!("/api{path}") };
            assert!(own.contains(&api) || NOT_PASSED.contains(&path.as_str()), "{path} is not in the table");
        }
    }
    for path in NOT_PASSED {
        assert!(found.contains(path), "{path} is in no source any more");
    }
    assert!(found.len() > NOT_PASSED.len() + 10, "{found:?}");
}

fn is_path(text: &str) -> bool {
    let path = text.strip_prefix("{prefix}").unwrap_or(text);
    path.len() > 1
        && path.starts_with('/')
        && !path.starts_with("//")
        && !["/api", "/api{path}", "/auth/tokens"].contains(&path)
}
