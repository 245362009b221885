//! A short soak, with and without authentication at the Host, and that a soak notices what it is there for.
//!
//! `cargo bench --bench gateway -- soak` runs a long one.

use crate::support::heavy;
use crate::support::soak::{Attackers, Ending, Length, Plan, Received, Report, Saw, Sent, Soak, run, verdict};

fn short(seed: u64, logins: bool) {
    let _heavy = heavy();
    let soak = Soak { seed, users: 40, length: Length::Operations(12), logins, largest: 2_000_000, attackers: None };
    let findings = run(soak, &[], || false);
    println!("{findings}");
    assert!(findings.faults.is_empty(), "{findings}");
    assert!(findings.operations == 40 * 12 && findings.tunnels > 100, "too little was done: {findings}");
}

#[test]
fn a_short_soak_with_authentication() {
    short(1, true);
}

#[test]
fn a_short_soak_without_authentication() {
    short(2, false);
}

/// Slow clients, tunnels that are not read, resets, a full disk below the audit log, no descriptors, SIGHUP and SIGUSR2
/// without end.
#[test]
fn users_do_not_notice_attacks() {
    let _heavy = heavy();
    let attackers = Attackers { slow: 300, unread: 40, resets: 100 };
    let length = Length::Operations(4);
    let soak = Soak { seed: 3, users: 20, length, logins: true, largest: 2_000_000, attackers: Some(attackers) };
    let findings = run(soak, &["--audit-log", "/dev/full", "--max-handshakes-per-client", "128"], || false);
    println!("{findings}");
    assert!(findings.faults.is_empty(), "{findings}");
    assert!(findings.operations == 3 * 20 * 4 && findings.tunnels > 80, "too little was done: {findings}");
}

#[test]
fn each_fault_is_noticed() {
    let plan = |client, vps| Plan { id: 1, up: 10, down: 10, client, vps, typed: false };
    let report = |sent, end, count, saw| Report {
        sent: Sent { count: sent, end, reset: false },
        received: Received { count, wrong: false, saw },
        killed: false,
    };
    let (orderly, early) = (Ending::Orderly, Ending::AfterSent(5));
    let whole = report(10, true, 10, Saw::End);
    assert_eq!(verdict(&plan(orderly, orderly), &whole, Some(&whole)), Ok(()));
    let killed = Report { killed: true, ..report(7, false, 3, Saw::Nothing) };
    assert_eq!(verdict(&plan(orderly, orderly), &report(9, false, 6, Saw::Reset), Some(&killed)), Ok(()));
    assert!(verdict(&plan(early, orderly), &report(5, false, 2, Saw::Nothing), None).is_err());
    assert_eq!(verdict(&plan(early, orderly), &report(5, false, 0, Saw::Reset), None), Ok(()));
    let wrong = Report { received: Received { wrong: true, ..whole.received }, ..whole };
    for (what, plan, client, vps) in [
        ("a wrong byte on the way down", plan(orderly, orderly), wrong, whole),
        ("a wrong byte on the way up", plan(orderly, orderly), whole, wrong),
        ("more bytes on the way up than were sent", plan(early, orderly), report(4, false, 9, Saw::Nothing), whole),
        ("an end on the way down before the last byte", plan(orderly, orderly), report(10, true, 9, Saw::End), whole),
        ("an end on the way down that nobody sent", plan(orderly, early), whole, report(10, false, 10, Saw::End)),
        ("an end on the way up that nobody sent", plan(early, orderly), report(10, false, 10, Saw::End), whole),
        ("a tunnel broke that nobody broke", plan(orderly, orderly), report(10, true, 9, Saw::Reset), whole),
        ("a tunnel broke that nobody broke", plan(orderly, orderly), whole, report(10, true, 9, Saw::Reset)),
    ] {
        assert_eq!(verdict(&plan, &client, Some(&vps)), Err(what.to_owned()), "{plan:?} {client:?} {vps:?}");
    }
}
