//! When the peer of an idle TCP connection counts as dead.

use std::time::Duration;

/// Idle time before the first keepalive probe.
pub(super) const IDLE: Duration = Duration::from_secs(60);
/// Time between keepalive probes.
pub(super) const INTERVAL: Duration = Duration::from_secs(15);
/// Unanswered probes until a peer counts as dead: with the two times above, two minutes.
pub(super) const PROBES: u32 = 4;
