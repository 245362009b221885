//! The report as JSON, for scripts and bug reports.

use serde_json::{Value, json};

use super::finding::{Finding, Verdict};
use super::redaction::Redaction;

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
        "vps": vps.map(|vps| redaction.text(vps)),
        "healthy": healthy,
        "findings": findings.iter().map(|finding| one(finding, redaction)).collect::<Vec<_>>(),
        "not_checked": not_checked,
    })
}

fn one(finding: &Finding, redaction: &Redaction) -> Value {
    let show = |text: &str| redaction.text(text);
    let wrong = if let Verdict::Wrong(wrong) = &finding.verdict { Some(wrong) } else { None };
    json!({
        "check": finding.check,
        "verdict": finding.verdict.word(),
        "tried": show(&finding.tried),
        "found": show(finding.verdict.text()),
        "causes": wrong.map_or(Vec::new(), |wrong| wrong.causes.iter().map(|cause| show(cause)).collect()),
        "fix": wrong.map(|wrong| show(&wrong.fix)),
        "command": wrong.map(|wrong| show(&wrong.command)),
        "milliseconds": u64::try_from(finding.took.as_millis()).unwrap_or(u64::MAX),
    })
}
