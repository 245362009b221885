//! Many bytes, and many sessions at once, over the ssh of a test.

use serde_json::Value;

use super::gateway::Gateway;
use super::home::Home;
use super::pattern::pattern;
use super::run::{DEADLINE, Process, Run};
use super::scene::Mode;
use super::tools::sha256;
use super::watched::curl;

/// 32 MiB.
const BULK: usize = 32 << 20;

/// Moves much data through `ssh`: up, down, and both ways at once.
#[track_caller]
pub(crate) fn bulk_both_ways(home: &Home, what: &str, ssh: impl Fn() -> Run) {
    let data = home.write("data", pattern(BULK));
    let sum = sha256(&data);
    let (there, down) = (home.join("there"), home.join("down"));
    let ssh = |remote: &str| ssh().arg(remote).deadline(300);
    ssh(&format!("cat > {}", there.display())).stdin_file(&data).output().succeeds().says_nothing();
    assert_eq!(sha256(&there), sum, "{what}");
    ssh(&format!("cat {}", there.display())).stdout_file(&down).output().succeeds().says_nothing();
    assert_eq!(sha256(&down), sum, "{what}");
    ssh("cat").stdin_file(&data).stdout_file(&down).output().succeeds().says_nothing();
    assert_eq!(sha256(&down), sum, "{what}");
}

/// Opens a hundred sessions through `ssh` and this gateway, then says something in each, and ends it. Returns them as
/// the gateway listed them.
#[track_caller]
pub(crate) fn a_hundred_at_once(gateway: &Gateway, ssh: impl Fn(Mode) -> Run) -> Vec<Value> {
    let start = |number: usize| {
        let run = ssh(Mode::BOTH[number % 2]).arg(format!("echo in {number}; cat"));
        run.stdin_open().deadline(300).start()
    };
    let mut sessions: Vec<Process> = (0..100).map(start).collect();
    for (number, session) in sessions.iter().enumerate() {
        let greeting = format!("in {number}\n");
        session.wait_for(&greeting, 2 * DEADLINE, |seen| (seen.stdout == greeting.as_bytes()).then_some(()));
    }
    let listed = curl(&Home::new(), gateway.admin, "/sessions", &[]).text();
    for (number, session) in sessions.iter_mut().enumerate() {
        session.types(&format!("{number} out\n"));
    }
    for (number, session) in sessions.into_iter().enumerate() {
        session.finish().succeeds().prints(&format!("in {number}\n{number} out\n")).says_nothing();
    }
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.len(), 100);
    listed
}
