//! The fuzz targets of `contrib/fuzz`, over their seeds and over what a few changes make of those. What goes on for
//! minutes and is guided by coverage is cargo-fuzz's.
#![cfg(all(feature = "cli", feature = "gateway"))]
// clippy's `allow-unwrap-in-tests` doesn't reach the functions that tests share.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use fuzz::TARGETS;

#[path = "../contrib/fuzz/src/lib.rs"]
pub mod fuzz;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/fuzz")
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder().join("seeds").join(target);
    names(&folder).into_iter().map(|name| (format!("{target}/{name}"), fs::read(folder.join(&name)).unwrap())).collect()
}

#[test]
fn every_target_holds_over_its_seeds() {
    for (target, run) in TARGETS {
        for (name, seed) in seeds(target) {
            assert!(catch_unwind(|| run(&seed)).is_ok(), "{name}");
        }
    }
}

#[test]
fn every_target_is_built_described_and_seeded() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(target, _)| (*target).to_owned()).collect();
    assert_eq!(names(&folder().join("seeds")), targets);
    let programs: BTreeSet<String> = targets.iter().map(|target| format!("{target}.rs")).collect();
    assert_eq!(names(&folder().join("fuzz_targets")), programs);
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    for target in targets {
        let program = fs::read_to_string(folder().join(format!("fuzz_targets/{target}.rs"))).unwrap();
        assert!(program.contains(&format!("kohakuriver_proxy_fuzz::{target}::run(data)")), "{target}");
        assert!(manifest.contains(&format!("name = \"{target}\"\npath = \"fuzz_targets/{target}.rs\"\n")), "{target}");
        assert!(readme.contains(&format!("\n| `{target}` | ")), "{target}");
    }
}

/// A change that a network, or an attacker on it, may make.
#[derive(Clone, Debug)]
enum Change {
    Put(Index, u8),
    Cut(Index, Index),
    Repeat(Index, Index),
    Insert(Index, Vec<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    let word = select(vec![
        &b"\r\n"[..],
        b"\n",
        b"\r\n\r\n",
        b"\0",
        b"\x1b[2J",
        b"\xff",
        b"\xe2\x80\xae",
        b" ",
        b":",
        b"0",
        b"99999999999999999999",
        b"-1",
        b"null",
        b"{",
        b"]",
        b"\"",
        b"\\u001b[2J",
        b"chunked",
        b"HTTP/1.1 100 X\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"ERROR ",
        b"SUCCESS\n",
    ]);
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Put(at, byte)),
        (at(), at()).prop_map(|(from, to)| Change::Cut(from, to)),
        (at(), at()).prop_map(|(from, to)| Change::Repeat(from, to)),
        (at(), word).prop_map(|(at, word)| Change::Insert(at, word.to_vec())),
    ]
}

fn changed(seed: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for change in changes {
        let place = |index: &Index| index.index(bytes.len() + 1);
        let range = |one: &Index, other: &Index| {
            let (one, other) = (place(one), place(other));
            one.min(other)..one.max(other)
        };
        match change {
            Change::Put(at, byte) => {
                let at = place(at);
                bytes.get_mut(at).into_iter().for_each(|old| *old = *byte);
            }
            Change::Cut(from, to) => {
                bytes.drain(range(from, to));
            }
            Change::Repeat(from, to) => {
                let range = range(from, to);
                let piece = bytes[range.clone()].to_vec();
                bytes.splice(range.end..range.end, piece);
            }
            Change::Insert(at, word) => {
                let at = place(at);
                bytes.splice(at..at, word.iter().copied());
            }
        }
    }
    bytes
}

/// A value for any field of an object.
fn value() -> impl Strategy<Value = Value> {
    const KNOWN: [&str; 8] =
        ["", "vps", "running", "online", "anony", "n1", "7427000000000000001", "http://[::1]:8001"];
    let text = prop_oneof![
        "(?s).{0,12}",
        select(&KNOWN[..]).prop_map(str::to_owned),
        "[a\u{1b}\u{9b}\u{202e}\r\n]{1,4}",
        "x{290,310}",
    ];
    let number = prop_oneof![
        any::<i64>().prop_map(Value::from),
        (-1_i64..3).prop_map(Value::from),
        Just(json!(65_536)),
        Just(json!(22.5))
    ];
    let other = prop_oneof![any::<bool>().prop_map(Value::from), Just(Value::Null)];
    let leaf = prop_oneof![2 => text.prop_map(Value::from), 1 => number, 1 => other];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let name = select(vec!["hostname", "loc", "msg", "detail"]).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// An object as a Host may send it, each field as it should be or anything else.
fn object() -> impl Strategy<Value = Value> {
    let good = json!({
        "task_id": "7427000000000000001", "task_ids": ["8"], "task_type": "vps", "name": "n1", "status": "running",
        "assigned_node": "n1", "ssh_port": 22023, "error_message": "e", "started_at": "2026-11-23T12:06:55",
        "hostname": "n1", "url": "http://[::1]:8001", "last_heartbeat": "2026-11-23T12:07:00.5", "message": "done",
        "username": "alice", "role": "user", "token": "deadbeef", "id": 7, "user": "alice", "client": "[::1]:7",
        "node": "n1", "seconds": 61, "bytes_up": 3, "bytes_down": 5, "detail": "d",
    });
    let fields: Vec<String> = good.as_object().unwrap().keys().cloned().collect();
    prop::collection::vec((select(fields), prop::option::of(value())), 0..6).prop_map(move |changes| {
        let mut json = good.clone();
        for (field, value) in changes {
            let object = json.as_object_mut().unwrap();
            match value {
                Some(value) => object.insert(field, value),
                None => object.remove(&field),
            };
        }
        json
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_target_holds_over_changed_seeds(index: Index, changes in prop::collection::vec(change(), 1..6)) {
        for (target, run) in TARGETS {
            let seeds = seeds(target);
            run(&changed(&seeds[index.index(seeds.len())].1, &changes));
        }
    }

    #[test]
    fn whatever_a_host_tells_is_told_in_order(objects in prop::collection::vec(object(), 0..4)) {
        fuzz::host_api::run(&serde_json::to_vec(&objects).unwrap());
        objects.iter().for_each(|object| fuzz::host_api::run(&serde_json::to_vec(object).unwrap()));
    }
}
