//! The bytes that one end has taken and the other has not acknowledged. They can be sent again.
//!
//! Positions count the bytes of the stream from 0. The bytes are kept in blocks, each of which is a DATA frame as it goes
//! onto the wire: in front of its bytes there is room for a header. When a new connection starts in the middle of a block,
//! the new header overwrites bytes that have been acknowledged.

use std::collections::VecDeque;

use super::frame::{HEADER, MOST_DATA, data_header};

/// The cost of a block besides its bytes. Otherwise a stream of single bytes could take a hundred times its size.
const BLOCK_COST: usize = 128;
/// Most empty blocks that are kept for new bytes. Under bulk, blocks come and go, and the system would clear the memory of
/// each new one. One acknowledgement frees four, and two may come at once.
const MOST_SPARE: usize = 8;
/// A block with less room is cheap to make, and is not kept.
const LARGE: usize = 16 * 1024;

struct Block {
    /// Where the header starts, and behind it the bytes from `start` on.
    header: usize,
    start: u64,
    bytes: Vec<u8>,
    /// Its header has been written for this connection, so that nothing can be appended any more.
    begun: bool,
}

impl Block {
    fn length(&self) -> usize {
        self.bytes.len() - self.header - HEADER
    }

    fn end(&self) -> u64 {
        self.start + self.length() as u64
    }

    fn begin(&mut self) {
        if !self.begun {
            self.begun = true;
            let header = data_header(self.length());
            self.bytes[self.header..self.header + HEADER].copy_from_slice(&header);
        }
    }
}

/// The unacknowledged end of a stream.
#[derive(Default)]
pub(super) struct Replay {
    blocks: VecDeque<Block>,
    spare: Vec<Vec<u8>>,
    acknowledged: u64,
    end: u64,
    /// The block that is being sent, and where its next byte for the wire is, counted from its header.
    block: usize,
    at: usize,
    /// The cost of the blocks.
    cost: usize,
}

impl Replay {
    /// A stream that starts at this position.
    pub(super) fn starting_at(position: u64) -> Self {
        Self { acknowledged: position, end: position, ..Self::default() }
    }

    /// The first position that is not acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// The position behind the last byte.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The memory that it needs, in bytes.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// The memory of empty blocks.
    pub(super) fn spare(&self) -> usize {
        self.spare.iter().map(Vec::capacity).sum()
    }

    /// Gives the memory of empty blocks back.
    pub(super) fn tidy(&mut self) {
        self.spare = Vec::new();
    }

    /// Takes as many `bytes` as there is room for within `window`.
    pub(super) fn take(&mut self, bytes: &[u8], window: usize) -> usize {
        let mut taken = 0;
        while taken < bytes.len() {
            let room = window.saturating_sub(self.cost);
            let open = self.blocks.back_mut().filter(|block| !block.begun && block.length() < MOST_DATA);
            let (block, room) = match open {
                Some(block) => (block, room),
                None if room > BLOCK_COST => {
                    let mut buffer = self.spare.pop().unwrap_or_default();
                    buffer.resize(HEADER, 0);
                    self.blocks.push_back(Block { header: 0, start: self.end, bytes: buffer, begun: false });
                    self.cost += BLOCK_COST;
                    let Some(block) = self.blocks.back_mut() else { break };
                    (block, room - BLOCK_COST)
                }
                None => break,
            };
            let most = (MOST_DATA - block.length()).min(room).min(bytes.len() - taken);
            if most == 0 {
                break;
            }
            block.bytes.extend_from_slice(&bytes[taken..taken + most]);
            self.cost += most;
            self.end += most as u64;
            taken += most;
        }
        taken
    }

    /// The next bytes for the wire: the rest of a frame.
    pub(super) fn unsent(&mut self) -> &[u8] {
        match self.blocks.get_mut(self.block) {
            Some(block) => {
                block.begin();
                &block.bytes[block.header + self.at..]
            }
            None => &[],
        }
    }

    /// Whether there are bytes for the wire.
    pub(super) fn has_unsent(&self) -> bool {
        self.block < self.blocks.len()
    }

    /// Whether the wire is in the middle of a frame, which no other frame may interrupt.
    pub(super) fn is_inside_frame(&self) -> bool {
        self.at > 0
    }

    /// So many bytes of [`Replay::unsent`] are on the wire now.
    pub(super) fn note_sent(&mut self, bytes: usize) {
        self.at += bytes;
        if let Some(block) = self.blocks.get(self.block)
            && block.header + self.at >= block.bytes.len()
        {
            (self.block, self.at) = (self.block + 1, 0);
        }
    }

    /// The position up to which the stream was sent over this connection.
    pub(super) fn sent(&self) -> u64 {
        match self.blocks.get(self.block) {
            Some(block) => block.start + self.at.saturating_sub(HEADER) as u64,
            None => self.end,
        }
    }

    /// Everything before `position` has arrived. The caller has checked that it was sent.
    pub(super) fn acknowledge(&mut self, position: u64) {
        self.acknowledged = self.acknowledged.max(position);
        while self.block > 0 && self.blocks.front().is_some_and(|block| block.end() <= position) {
            let Some(Block { bytes, .. }) = self.blocks.pop_front() else { break };
            self.block -= 1;
            self.cost -= BLOCK_COST + bytes.len() - HEADER;
            if self.spare.len() < MOST_SPARE && bytes.capacity() >= LARGE {
                let mut bytes = bytes;
                bytes.clear();
                self.spare.push(bytes);
            }
        }
        if self.blocks.is_empty() {
            self.blocks = VecDeque::new();
        }
    }

    /// A new connection sends on from `position`, which has been taken and not been dropped.
    pub(super) fn rewind(&mut self, position: u64) {
        (self.block, self.at) = (self.blocks.len(), 0);
        self.acknowledge(position);
        self.block = 0;
        for block in &mut self.blocks {
            block.begun = false;
        }
        if let Some(block) = self.blocks.front_mut()
            && block.start < position
        {
            block.header += (position - block.start) as usize;
            block.start = position;
        }
    }

    /// All bytes that are not acknowledged.
    #[cfg(feature = "gateway")]
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity((self.end - self.acknowledged) as usize);
        for block in &self.blocks {
            let known = self.acknowledged.saturating_sub(block.start) as usize;
            all.extend_from_slice(&block.bytes[block.header + HEADER + known..]);
        }
        all
    }

    /// Forgets everything: nobody will ask for it any more.
    pub(super) fn clear(&mut self) {
        let end = self.end;
        *self = Self::starting_at(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_empty_blocks_are_kept_for_new_bytes_and_no_more() {
        let mut replay = Replay::default();
        let bytes = vec![7; (MOST_SPARE + 2) * MOST_DATA];
        assert_eq!(replay.take(&bytes, usize::MAX), bytes.len());
        while replay.has_unsent() {
            let length = replay.unsent().len();
            replay.note_sent(length);
        }
        replay.acknowledge(replay.end());
        assert_eq!((replay.spare.len(), replay.cost()), (MOST_SPARE, 0));
    }
}
