//! The blocks of a long reply that are full.

/// Blocks of bytes that follow each other. Most replies have none.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
    blocks: Vec<Vec<u8>>,
    /// Of all of them.
    bytes: usize,
}

/// A block of which more than this part is unused is copied to one of its size.
const UNUSED_PART_MAX: usize = 8;

impl Blocks {
    pub(super) const fn new() -> Self {
        Self { blocks: Vec::new(), bytes: 0 }
    }

    #[inline(always)]
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.blocks.iter()
    }

    pub(super) fn into_inner(self) -> Vec<Vec<u8>> {
        self.blocks
    }

    /// Appends a block, if there is something in it.
    pub(super) fn push(&mut self, mut block: Vec<u8>) {
        if block.is_empty() {
            return;
        }
        if block.capacity() - block.len() > block.len() / UNUSED_PART_MAX {
            block.shrink_to_fit();
        }
        self.bytes += block.len();
        self.blocks.push(block);
    }

    pub(super) fn append(&mut self, mut others: Blocks) {
        self.bytes += others.bytes;
        self.blocks.append(&mut others.blocks);
    }

    /// Keeps the first `len` bytes; the last block of those is taken out.
    pub(super) fn truncate(&mut self, len: usize) -> Vec<u8> {
        while let Some(mut last) = self.blocks.pop() {
            self.bytes -= last.len();
            if self.bytes <= len {
                last.truncate(len - self.bytes);
                return last;
            }
        }
        Vec::new()
    }

    /// Keeps the first `len` bytes and returns the others, to which `last` belongs as well: full
    /// blocks, and the one behind them.
    pub(super) fn split_off(&mut self, len: usize, last: Vec<u8>) -> (Blocks, Vec<u8>) {
        let (at, offset) = self.find(len);
        let mut rest = Blocks::new();
        rest.push(self.blocks[at].split_off(offset));
        self.blocks.drain(at + 1..).for_each(|block| rest.push(block));
        self.bytes = len;
        if offset == 0 {
            self.blocks.pop();
        }
        (rest, last)
    }

    /// Inserts bytes behind the first `start`: at most the rest of the block there is copied.
    pub(super) fn insert(&mut self, start: usize, bytes: &[u8]) {
        let (at, offset) = self.find(start);
        let tail = self.blocks[at].split_off(offset);
        let mut block = Vec::with_capacity(bytes.len() + tail.len());
        block.extend_from_slice(bytes);
        block.extend_from_slice(&tail);
        self.bytes += bytes.len();
        if offset == 0 {
            self.blocks[at] = block;
        } else {
            self.blocks.insert(at + 1, block);
        }
    }

    /// The block that byte `at`, which must be in one, is in, and where there.
    fn find(&self, at: usize) -> (usize, usize) {
        let mut start = self.bytes;
        for (index, block) in self.blocks.iter().enumerate().rev() {
            start -= block.len();
            if start <= at {
                return (index, at - start);
            }
        }
        (0, 0)
    }
}
