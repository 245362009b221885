//! The states of a task, as a Host spells them.

use std::fmt;

/// A task's state. An unknown spelling is kept, so that states of newer Hosts can be shown.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum VpsStatus {
    /// Waits for an operator's approval.
    PendingApproval,
    /// An operator refused it.
    Rejected,
    /// Waits for its Runner.
    Pending,
    /// Its Runner is setting it up.
    Assigning,
    /// Runs.
    Running,
    /// Frozen; its processes, sshd included, don't run.
    Paused,
    /// Its program has ended.
    Completed,
    /// Could not be started, or its Runner gave up.
    Failed,
    /// Killed by a user.
    Killed,
    /// Killed because memory ran out.
    KilledOom,
    /// The Host no longer hears from its Runner.
    Lost,
    /// Stopped by a user; a Host can't start it again.
    Stopped,
    /// A spelling this version doesn't know.
    Other(String),
}

const SPELLINGS: [(&str, VpsStatus); 12] = [
    ("pending_approval", VpsStatus::PendingApproval),
    ("rejected", VpsStatus::Rejected),
    ("pending", VpsStatus::Pending),
    ("assigning", VpsStatus::Assigning),
    ("running", VpsStatus::Running),
    ("paused", VpsStatus::Paused),
    ("completed", VpsStatus::Completed),
    ("failed", VpsStatus::Failed),
    ("killed", VpsStatus::Killed),
    ("killed_oom", VpsStatus::KilledOom),
    ("lost", VpsStatus::Lost),
    ("stopped", VpsStatus::Stopped),
];

impl VpsStatus {
    /// Every spelling that this version knows.
    pub fn spellings() -> impl Iterator<Item = &'static str> {
        SPELLINGS.iter().map(|(spelling, _)| *spelling)
    }

    /// Reads a Host's spelling.
    pub fn parse(text: &str) -> Self {
        let known = SPELLINGS.iter().find(|(spelling, _)| *spelling == text);
        known.map_or_else(|| Self::Other(text.to_owned()), |(_, status)| status.clone())
    }

    /// The Host's spelling.
    pub fn as_str(&self) -> &str {
        if let Self::Other(text) = self {
            return text;
        }
        SPELLINGS.iter().find(|(_, status)| status == self).map_or("", |(spelling, _)| spelling)
    }

    /// Whether the VPS will run soon, without anybody's help.
    pub fn is_starting(&self) -> bool {
        matches!(self, Self::Pending | Self::Assigning)
    }

    /// Whether the VPS has ended and will not run again by itself.
    pub fn is_final(&self) -> bool {
        use VpsStatus::{Completed, Failed, Killed, KilledOom, Lost, Rejected, Stopped};
        matches!(self, Rejected | Completed | Failed | Killed | KilledOom | Lost | Stopped)
    }
}

impl fmt::Display for VpsStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_reads_back() {
        for (spelling, status) in SPELLINGS {
            assert_eq!(VpsStatus::parse(spelling), status);
            assert_eq!(status.as_str(), spelling);
        }
        assert_eq!(VpsStatus::parse("hibernating").as_str(), "hibernating");
    }
}
