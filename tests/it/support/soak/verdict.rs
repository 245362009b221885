//! Whether a tunnel did what it promises, by what its two ends saw.

use super::carry::{Ending, Plan, Report, Saw, Sent};

/// Must hold whichever part failed: each byte in its place, no end that no side sent, and all bytes before an end. A
/// tunnel that no side broke ends in order. `vps` is nothing when the plan never reached it.
pub(crate) fn verdict(plan: &Plan, client: &Report, vps: Option<&Report>) -> Result<(), String> {
    let nobody = Report::default();
    let reached = vps.is_some();
    let vps = vps.unwrap_or(&nobody);
    direction("down", &vps.sent, client)?;
    direction("up", &client.sent, vps)?;
    let orderly = plan.client == Ending::Orderly && plan.vps == Ending::Orderly && reached && !vps.killed;
    if orderly && [client, vps].iter().any(|end| !end.sent.end || end.received.saw != Saw::End) {
        return Err("a tunnel broke that nobody broke".to_owned());
    }
    Ok(())
}

fn direction(way: &str, sent: &Sent, receiver: &Report) -> Result<(), String> {
    let received = &receiver.received;
    let ended = received.saw == Saw::End && !receiver.sent.reset;
    if received.wrong {
        return Err(format!("a wrong byte on the way {way}"));
    }
    if received.count > sent.count {
        return Err(format!("more bytes on the way {way} than were sent"));
    }
    if ended && !sent.end {
        return Err(format!("an end on the way {way} that nobody sent"));
    }
    if ended && received.count < sent.count {
        return Err(format!("an end on the way {way} before the last byte"));
    }
    Ok(())
}
