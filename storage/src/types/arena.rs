//! Nodes addressed by dense numbers, in blocks so that growing never copies much.

use std::ops::{Index, IndexMut};

use crate::memory::good_size;

/// Items of a full block.
const BLOCK_ITEMS: usize = 64;

/// A sequence of items; each is addressed by its index, and removal moves the last one.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    /// All full but the last, which has at least one item.
    blocks: Vec<Vec<T>>,
    /// Bytes of the heap blocks behind `blocks`, without `blocks` itself.
    block_bytes: usize,
}

impl<T> Arena<T> {
    pub(crate) const fn new() -> Arena<T> {
        Arena { blocks: Vec::new(), block_bytes: 0 }
    }

    /// Number of items.
    pub(crate) fn len(&self) -> u32 {
        match self.blocks.last() {
            Some(last) => ((self.blocks.len() - 1) * BLOCK_ITEMS + last.len()) as u32,
            None => 0,
        }
    }

    /// Appends `item` and returns its index.
    pub(crate) fn push(&mut self, item: T) -> u32 {
        let index = self.len();
        if (index as usize).is_multiple_of(BLOCK_ITEMS) {
            if self.blocks.len() == self.blocks.capacity() {
                self.blocks.reserve_exact((self.blocks.len() / 4).max(1));
            }
            self.blocks.push(Vec::new());
        }
        if let Some(last) = self.blocks.last_mut() {
            if last.len() == last.capacity() {
                self.block_bytes -= heap_bytes_of(last);
                let wanted = (last.len() * 2).clamp(4, BLOCK_ITEMS);
                last.reserve_exact(wanted - last.len());
                self.block_bytes += heap_bytes_of(last);
            }
            last.push(item);
        }
        index
    }

    /// Removes the item at `index`; the last item, if it is another, takes its place.
    pub(crate) fn swap_remove(&mut self, index: u32) -> T {
        let last = self.blocks.last_mut().expect("an item to remove");
        let mut item = last.pop().expect("the last block has an item");
        let len = last.len();
        if len * 4 <= last.capacity() {
            self.block_bytes -= heap_bytes_of(last);
            last.shrink_to(if len == 0 { 0 } else { (len * 2).max(4) });
            self.block_bytes += heap_bytes_of(last);
        }
        if len == 0 {
            self.blocks.pop();
            if self.blocks.len() * 4 <= self.blocks.capacity() {
                self.blocks.shrink_to(self.blocks.len() * 2);
            }
        }
        if index < self.len() {
            std::mem::swap(&mut item, &mut self[index]);
        }
        item
    }

    /// All items in order of their indexes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flatten()
    }

    /// Bytes of all heap blocks of the arena, O(1).
    pub(crate) fn heap_bytes(&self) -> usize {
        self.block_bytes + heap_bytes_of(&self.blocks)
    }

    /// The same, recomputed by walking.
    pub(crate) fn heap_bytes_walked(&self) -> usize {
        self.blocks.iter().map(heap_bytes_of).sum::<usize>() + heap_bytes_of(&self.blocks)
    }
}

impl<T> Index<u32> for Arena<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: u32) -> &T {
        &self.blocks[index as usize / BLOCK_ITEMS][index as usize % BLOCK_ITEMS]
    }
}

impl<T> IndexMut<u32> for Arena<T> {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.blocks[index as usize / BLOCK_ITEMS][index as usize % BLOCK_ITEMS]
    }
}

/// Bytes of the heap block behind `items`.
#[inline]
pub(crate) fn heap_bytes_of<T>(items: &Vec<T>) -> usize {
    good_size(items.capacity() * size_of::<T>())
}
