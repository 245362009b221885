//! What a Host's API sends: lists and objects of VPSes and of Runners.

#![no_main]

use kohakuriver_proxy::api::{Node, Vps, choose, locate};
use kohakuriver_proxy_fuzz::check_text;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Ok(json) = serde_json::from_slice::<Value>(data) else { return };
    let objects = match json {
        Value::Array(objects) => objects,
        object => vec![object],
    };
    let all: Vec<Vps> = objects.iter().cloned().filter_map(|object| Vps::from_json(object).ok()).collect();
    let nodes: Vec<Node> = objects.into_iter().filter_map(|object| Node::from_json(object).ok()).collect();
    for node in &nodes {
        [Some(&node.hostname), Some(&node.url), node.last_heartbeat.as_ref()].into_iter().flatten().for_each(check);
    }
    for vps in &all {
        check_vps(vps);
        for node in nodes.iter().map(Some).chain([None]) {
            match locate(vps, node) {
                Ok(reach) => {
                    let node = node.expect("a Runner that is not known is not dialled");
                    assert!(vps.is_vps && node.online && reach.port > 0 && reach.id == vps.id, "{vps:?} {node:?}");
                    check(&reach.host);
                    assert!(!reach.host.is_empty() && !reach.host.contains(['[', ']', '/', '@', ' ']), "{reach:?}");
                }
                Err(refusal) => {
                    let digits = vps.id.to_string();
                    let texts = [Some(refusal.title(&digits)), refusal.detail(), refusal.hint(&digits)];
                    texts.iter().flatten().for_each(|text| assert!(!text.chars().any(char::is_control), "{text:?}"));
                }
            }
        }
        if let Some(name) = &vps.name {
            match choose(name, &all) {
                Ok(found) => assert!(found.is_vps, "{found:?}"),
                Err(refusal) => assert!(!(vps.is_vps && is_alone(name, &all)), "{name}: {refusal:?}"),
            }
        }
    }
});

fn check_vps(vps: &Vps) {
    let Vps { name, node, backend, owner, submitted_at, started_at, error_message, .. } = vps;
    [name, node, backend, owner, submitted_at, started_at, error_message].into_iter().flatten().for_each(check);
    check_text(vps.status.as_str());
    assert!(vps.ssh_port.number() != Some(0));
}

fn check(text: &String) {
    check_text(text);
    assert!(!text.is_empty());
}

fn is_alone(name: &str, all: &[Vps]) -> bool {
    all.iter().filter(|vps| vps.is_vps && vps.name.as_deref() == Some(name)).count() == 1
}
