//! The limit of open files, and the limits of the gateway that follow from it.

/// Descriptors for everything else: listeners, the Host API in both directions, dials in parallel.
const RESERVED: u64 = 256;
/// The fewest tunnels, and the fewest handshakes, that are tried, however few files the system allows. A client that
/// finds no descriptor is refused then.
const FEWEST: u64 = 16;
/// The part of the open files that handshakes may take.
const HANDSHAKES_PART: u64 = 4;

/// The advice to an admin for too few open files.
pub(crate) const MORE_FILES: &str =
    "raise the gateway's limit of open files: `LimitNOFILE=` in its systemd unit, `ulimit -n` in a shell";

/// How many of the `wanted` handshakes fit into this number of open files (`None`: unlimited), so many files each.
pub(super) fn handshakes(wanted: u32, files: u64, open_files: Option<u64>) -> u32 {
    open_files.map_or(wanted, |open_files| at_most(wanted, open_files / HANDSHAKES_PART / files))
}

/// How many of the `wanted` tunnels fit into this number of open files beside the files of handshakes, two files each.
pub(super) fn tunnels(wanted: u32, of_handshakes: u64, open_files: Option<u64>) -> u32 {
    let Some(open_files) = open_files else { return wanted };
    at_most(wanted, open_files.saturating_sub(RESERVED + of_handshakes) / 2)
}

fn at_most(wanted: u32, fit: u64) -> u32 {
    u32::try_from(fit.max(FEWEST)).map_or(wanted, |fit| fit.min(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_for_each_tunnel_and_one_for_each_handshake() {
        for (wanted, open_files, expected) in [
            (4096, None, (1024, 4096)),
            (4096, Some(1_048_576), (1024, 4096)),
            (4096, Some(u64::MAX), (1024, 4096)),
            (4096, Some(4096), (1024, 1408)),
            (4096, Some(1024), (256, 256)),
            (100, Some(1024), (256, 100)),
            (100, Some(64), (16, 16)),
            (8, Some(64), (16, 8)),
        ] {
            let handshakes = handshakes(1024, 1, open_files);
            let tunnels = tunnels(wanted, handshakes.into(), open_files);
            assert_eq!((handshakes, tunnels), expected, "{wanted} {open_files:?}");
        }
        assert_eq!(handshakes(1024, 2, Some(1024)), 128);
    }
}
