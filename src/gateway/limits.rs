//! How many tunnels the gateway carries, within what the system lets it open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Most tunnels at once, when nothing else is asked for.
pub(super) const DEFAULT_MAX_TUNNELS: usize = 4096;
/// Connections beyond the tunnels: those whose request is being read, and those that are told that no more fit.
pub(super) const WAITING_ROOM: usize = 256;
/// Descriptors for everything else: listeners, the Host API in either direction, dials that race.
const RESERVED: u64 = 256;
/// The fewest tunnels that are tried, however little the system allows; what fails then is told to its client.
const FEWEST: u64 = 16;

/// Raises the limit of open files as far as this process may. Daemons are started with a low one for the sake of
/// programs that use `select(2)`, which this one doesn't.
pub(super) fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Without the right to, the limit stays what it is.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current
}

/// How many of the `wanted` tunnels fit into so many open files (`None`: any number), at two for each.
pub(super) fn tunnels(wanted: usize, open_files: Option<u64>) -> usize {
    let Some(open_files) = open_files else { return wanted };
    let left = open_files.saturating_sub(RESERVED + WAITING_ROOM as u64);
    wanted.min(usize::try_from((left / 2).max(FEWEST)).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_for_each_tunnel() {
        for (wanted, open_files, expected) in [
            (4096, None, 4096),
            (4096, Some(1_048_576), 4096),
            (4096, Some(1024), 256),
            (100, Some(1024), 100),
            (100, Some(64), 16),
            (8, Some(64), 8),
        ] {
            assert_eq!(tunnels(wanted, open_files), expected, "{wanted} {open_files:?}");
        }
    }
}
