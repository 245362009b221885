//! The report as JSON, for scripts and bug reports.

use serde_json::{Value, json};

use super::finding::{Finding, Verdict};
use super::redaction::Redaction;
use crate::text::printable;

/// The whole report. People may paste it into a bug report: its text is printable and holds nothing private.
pub(super) fn report(
    vps: Option<&str>,
    healthy: bool,
    findings: &[Finding],
    not_checked: &[&str],
    redaction: &Redaction,
) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "vps": vps.map(|vps| redaction.text(&printable(vps))),
        "healthy": healthy,
        "findings": findings.iter().map(|finding| one(finding, redaction)).collect::<Vec<_>>(),
        "not_checked": not_checked,
    })
}

fn one(finding: &Finding, redaction: &Redaction) -> Value {
    let show = |text: &str| redaction.text(&printable(text));
    let (causes, fix, command) = match &finding.verdict {
        Verdict::Wrong(wrong) => {
            let causes = wrong.causes.iter().map(|cause| show(cause)).collect();
            (causes, Some(show(&wrong.fix)), Some(show(&wrong.command)))
        }
        _ => (Vec::new(), None, None),
    };
    json!({
        "check": finding.check,
        "verdict": finding.verdict.word(),
        "tried": show(&finding.tried),
        "found": show(finding.verdict.text()),
        "causes": causes,
        "fix": fix,
        "command": command,
        "milliseconds": u64::try_from(finding.took.as_millis()).unwrap_or(u64::MAX),
    })
}
