//! A Host with very many VPSes. Their list is read for each name that is not known yet, and takes many times its length
//! while it is read.

use std::fs;
use std::sync::{Condvar, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, name_of, running};
use crate::support::home::Home;
use crate::support::peers::{PEER_TIMEOUT, http_server};
use crate::support::run::Run;
use crate::support::tools::GATEWAY;
use crate::support::tunnels::asked_of;

/// About 4 MiB of them.
const VPSES: u64 = 30_000;
/// Names that are asked for at once.
const NAMES: u64 = 12;

/// Lets requests go on when all of them are there.
#[derive(Default)]
struct Meeting {
    came: Mutex<u64>,
    changed: Condvar,
}

impl Meeting {
    fn attend(&self) {
        let mut came = self.came.lock().unwrap();
        *came += 1;
        self.changed.notify_all();
        // A request may have been given up since.
        drop(self.changed.wait_timeout_while(came, PEER_TIMEOUT, |came| *came < NAMES).unwrap());
    }
}

/// The most memory that the gateway's process has had, in KiB.
fn peak(gateway: &Gateway) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn few_long_lists_are_in_memory_at_once() {
    let list: Value = (1..=VPSES).map(|id| running(&id.to_string(), 22)).collect();
    let (list, meeting) = (list.to_string(), Meeting::default());
    let alone = format!("/api/status/{}", NAMES + 1);
    let host = http_server(move |asked| {
        let gone = || (404, "application/json", json!({ "detail": "Task not found." }).to_string());
        match asked.path.as_str() {
            "/api/auth/me" => {
                (503, "application/json", json!({ "detail": "Authentication is not enabled" }).to_string())
            }
            path if *path == alone => gone(),
            path if path.starts_with("/api/status/") => {
                meeting.attend();
                gone()
            }
            _ => (200, "application/json", list.clone()),
        }
    });
    let home = Home::new();
    // Otherwise each thread keeps memory of its own for later.
    let run = Run::new(GATEWAY, &home).env("MALLOC_ARENA_MAX", "1");
    let gateway = Gateway::with_host_api_run(run, &format!("http://{}", host.address), &[]);
    let ask = &|id: u64| {
        let answer = asked_of(gateway.address, &format!("CONNECT {}:22 HTTP/1.1\r\n\r\n", name_of(&id.to_string())));
        // On a busy machine, the Host's answer may come too late.
        let is_late = answer.contains("the Host API gave no answer in time");
        assert!(answer.starts_with("HTTP/1.1 404 ") || is_late, "{answer}");
    };
    let none = peak(&gateway);
    ask(NAMES + 1);
    let of_one = peak(&gateway) - none;
    thread::scope(|scope| (1..=NAMES).for_each(|id| drop(scope.spawn(move || ask(id)))));
    let of_all = peak(&gateway) - none;
    assert!(of_all < 4 * of_one, "{of_all} KiB for {NAMES} lists, and {of_one} KiB for one");
}
