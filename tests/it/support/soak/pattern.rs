//! Bytes that tell where they belong: each place of each stream has its own, so a lost, doubled or strange one shows.

/// The eight bytes at a place (splitmix64).
fn word(seed: u64, place: u64) -> [u8; 8] {
    let mut z = seed.wrapping_add(place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)).to_le_bytes()
}

/// The bytes of the stream `seed` from `offset` on.
pub(crate) fn fill(seed: u64, offset: u64, into: &mut [u8]) {
    let mut at = 0;
    while at < into.len() {
        let place = offset + at as u64;
        let word = &word(seed, place / 8)[(place % 8) as usize..];
        let count = word.len().min(into.len() - at);
        into[at..at + count].copy_from_slice(&word[..count]);
        at += count;
    }
}

/// Whether `bytes` are those.
pub(crate) fn matches(seed: u64, offset: u64, bytes: &[u8]) -> bool {
    let mut expected = vec![0; bytes.len()];
    fill(seed, offset, &mut expected);
    expected == bytes
}
