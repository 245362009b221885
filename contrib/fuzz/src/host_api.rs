//! What a Host's API sends: lists and objects of VPSes and of Runners, users, tokens, and what it says to an order.
//! What a gateway tells its admin is read here too.

use kohakuriver_proxy::api::{
    Audience, Caller, Case, Created, NewToken, Node, Reader, SshPort, Tunnel, Vps, choose, locate,
};
use serde_json::Value;

use super::check_text;

/// Reads `data` as JSON of the Host API.
pub fn run(data: &[u8]) {
    let Ok(json) = serde_json::from_slice::<Value>(data) else { return };
    check_detail(data, &json);
    let objects = match json {
        Value::Array(objects) => objects,
        object => vec![object],
    };
    objects.iter().for_each(check_others);
    let all: Vec<Vps> = objects.iter().cloned().filter_map(|object| Vps::from_json(object).ok()).collect();
    let nodes: Vec<Node> = objects.into_iter().filter_map(|object| Node::from_json(object).ok()).collect();
    for node in &nodes {
        check_name(&node.hostname);
        check([&node.url].into_iter().chain(&node.last_heartbeat));
    }
    for vps in &all {
        check_vps(vps);
        nodes.iter().map(Some).chain([None]).for_each(|node| check_reach(vps, node));
        if let Some(name) = &vps.name {
            match choose(name, Case::Kept, &all, None) {
                Ok(found) => assert!(found.is_vps, "{found:?}"),
                Err(refusal) => assert!(!(vps.is_vps && is_alone(name, &all)), "{name}: {refusal:?}"),
            }
        }
    }
}

/// What a refusal with this body says.
fn check_detail(body: &[u8], json: &Value) {
    let head = format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\n\r\n", body.len());
    let answer = Reader::default().take(&[head.as_bytes(), body].concat(), "http://head:8000");
    let answer = answer.expect("it is HTTP").expect("it is complete");
    assert_eq!(answer.json.as_ref(), Some(json));
    check_text(&answer.detail());
}

fn check_vps(vps: &Vps) {
    let Vps { name, node, backend, owner, submitted_at, started_at, error_message, rejection_reason, .. } = vps;
    check([backend, submitted_at, started_at, error_message, rejection_reason].into_iter().flatten());
    [name, node, owner].into_iter().flatten().for_each(|name| check_name(name));
    check_text(vps.status.as_str());
    match &vps.ssh_port {
        SshPort::None => {}
        SshPort::At(port) => assert!(*port > 0),
        SshPort::Impossible(text) => check([text]),
    }
}

fn check_reach(vps: &Vps, node: Option<&Node>) {
    match locate(vps, node, Audience::OPERATOR) {
        Ok(reach) => {
            let node = node.expect("a Runner that is not known is not dialled");
            assert!(vps.is_vps && node.online && reach.port > 0 && reach.id == vps.id, "{vps:?} {node:?}");
            check([&reach.host]);
            assert!(!reach.host.contains(['[', ']', '/', '@', ' ']), "{reach:?}");
        }
        Err(refusal) => {
            let digits = vps.id.to_string();
            let texts = [Some(refusal.title(&digits)), refusal.detail(), refusal.hint(&digits)];
            texts.iter().flatten().for_each(|text| assert!(!text.chars().any(char::is_control), "{text:?}"));
        }
    }
}

fn check_others(json: &Value) {
    if let Some(Caller::User(user)) = Caller::from_json(json) {
        check_name(&user.name);
        check_text(user.role.name());
    }
    if let Some(created) = Created::from_json(json) {
        check_text(&created.message);
        created.node.iter().for_each(|node| check_text(node));
    }
    if let Some(new) = NewToken::from_json(json, "laptop") {
        let token = new.token.expose();
        // It goes into a header field.
        assert!(!token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()), "{token:?}");
    }
    if let Some(tunnel) = Tunnel::from_json(json) {
        [&tunnel.client, &tunnel.node].into_iter().chain(&tunnel.user).for_each(|text| check_text(text));
        assert_eq!(&tunnel.json, json);
    }
}

/// A name has escapes instead of control characters, and is never cut: it identifies somebody or something.
fn check_name(name: &str) {
    assert!(!name.is_empty() && !name.chars().any(char::is_control), "{name:?}");
}

/// Texts that are there say something.
fn check<'t>(texts: impl IntoIterator<Item = &'t String>) {
    for text in texts {
        check_text(text);
        assert!(!text.is_empty());
    }
}

fn is_alone(name: &str, all: &[Vps]) -> bool {
    all.iter().filter(|vps| vps.is_vps && vps.name.as_deref() == Some(name)).count() == 1
}
