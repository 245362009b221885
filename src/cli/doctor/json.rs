//! The findings for scripts and bug reports.

use serde_json::{Value, json};

use super::conceal::Conceal;
use super::finding::{Finding, Verdict};
use crate::text::printable;

/// The whole report. Every text in it is fit to be pasted into a bug report.
pub(super) fn report(
    vps: Option<&str>,
    healthy: bool,
    findings: &[Finding],
    left: &[&str],
    conceal: &Conceal,
) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "vps": vps.map(|vps| conceal.all(&printable(vps))),
        "healthy": healthy,
        "findings": findings.iter().map(|finding| one(finding, conceal)).collect::<Vec<_>>(),
        "not_checked": left,
    })
}

fn one(finding: &Finding, conceal: &Conceal) -> Value {
    let show = |text: &str| conceal.all(&printable(text));
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
