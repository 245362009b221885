//! Bytes to move.

/// Bytes whose loss, doubling or mixing up shows.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64).flat_map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).to_le_bytes()).take(length).collect()
}
