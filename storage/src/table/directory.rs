//! The way from a hash to its segment: nothing while there is one segment, then small arrays of
//! pointers indexed by the next bits of the hash.
//!
//! A node has at most 2^[`NODE_BITS_MAX`] children, so that doubling it stays short; beyond that
//! a child is a node again. A segment of depth `d` under a node that covers the bits up to `c`
//! stands in `2^(c - d)` neighbouring cells.

use std::ptr;

use super::segment::RawSegment;
use crate::memory::{allocate, good_size, release};

/// A node of 2^11 pointers takes 16 KiB. Tests go through several levels with little data.
const NODE_BITS_MAX: u32 = if cfg!(test) { 2 } else { 11 };
const BITS_MASK: usize = 15;

/// Nothing, a segment, or a node with the number of its bits in the low bits of the address.
///
/// Invariant: an address in here is that of a live block that belongs to the directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Child(*mut u8);

/// An array of `1 << bits` children.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Node {
    children: *mut Child,
    bits: u32,
}

impl Child {
    pub(super) const NONE: Child = Child(ptr::null_mut());

    pub(super) fn segment(segment: RawSegment<'_>) -> Child {
        Child(segment.as_ptr())
    }

    #[inline]
    fn bits(self) -> u32 {
        (self.0.addr() & BITS_MASK) as u32
    }

    #[inline]
    fn is_none(self) -> bool {
        self.0.is_null()
    }

    #[inline]
    fn as_node(self) -> Option<Node> {
        let bits = self.bits();
        let children = self.0.wrapping_byte_sub(bits as usize).cast();
        (bits > 0).then_some(Node { children, bits })
    }

    #[inline]
    fn as_segment<'t>(self) -> Option<RawSegment<'t>> {
        if self.is_none() || self.bits() > 0 {
            return None;
        }
        // SAFETY: by the type's invariant a live segment.
        Some(unsafe { RawSegment::from_ptr(self.0) })
    }

    /// The segment of a hash.
    ///
    /// # Safety
    /// The directory lives, and for `'t` so does that segment; nobody changes either meanwhile but
    /// who holds the table mutably.
    #[inline]
    pub(super) unsafe fn find<'t>(self, hash: u64) -> Option<RawSegment<'t>> {
        let (mut child, mut rest) = (self, hash);
        while child.bits() > 0 {
            let bits = child.bits();
            let children: *mut Child = child.0.wrapping_byte_sub(bits as usize).cast();
            // SAFETY: a node has that many children.
            child = unsafe { *children.add((rest >> (64 - bits)) as usize) };
            rest <<= bits;
        }
        if child.is_none() {
            return None;
        }
        // SAFETY: by the type's invariant a live segment.
        Some(unsafe { RawSegment::from_ptr(child.0) })
    }

    /// The depth of the cell that a hash leads to.
    pub(super) fn depth_at(self, hash: u64) -> u32 {
        let (mut child, mut rest, mut depth) = (self, hash, 0);
        while let Some(node) = child.as_node() {
            child = node.child((rest >> (64 - node.bits)) as usize);
            rest <<= node.bits;
            depth += node.bits;
        }
        depth
    }

    /// Calls `f` with every segment, in the order of the hash.
    pub(super) fn for_each_segment(self, f: &mut dyn FnMut(RawSegment<'_>)) {
        if let Some(segment) = self.as_segment() {
            f(segment);
        }
        let Some(node) = self.as_node() else { return };
        let mut last = Child::NONE;
        for at in 0..node.len() {
            let child = node.child(at);
            if child != last {
                child.for_each_segment(f);
            }
            last = child;
        }
    }

    /// Bytes of all nodes.
    pub(super) fn node_bytes(self) -> usize {
        let Some(node) = self.as_node() else { return 0 };
        node.size() + (0..node.len()).map(|at| node.child(at).node_bytes()).sum::<usize>()
    }

    /// Frees the nodes, not the segments.
    ///
    /// # Safety
    /// Nothing uses them afterwards.
    pub(super) unsafe fn free_nodes(self) {
        let Some(node) = self.as_node() else { return };
        for at in 0..node.len() {
            // SAFETY: passed on; a child that is a node stands in one cell only.
            unsafe { node.child(at).free_nodes() };
        }
        // SAFETY: passed on.
        unsafe { node.free() };
    }
}

impl Node {
    fn allocate(bits: u32) -> Node {
        let children = allocate(size_of::<Child>() << bits).as_ptr().cast();
        Node { children, bits }
    }

    fn as_child(self) -> Child {
        Child(self.children.cast::<u8>().wrapping_byte_add(self.bits as usize))
    }

    fn len(self) -> usize {
        1 << self.bits
    }

    fn size(self) -> usize {
        good_size(size_of::<Child>() << self.bits)
    }

    fn child(self, at: usize) -> Child {
        debug_assert!(at < self.len());
        // SAFETY: inside the node.
        unsafe { *self.children.add(at) }
    }

    fn set(self, at: usize, child: Child) {
        debug_assert!(at < self.len());
        // SAFETY: inside the node; the directory is held mutably.
        unsafe { *self.children.add(at) = child }
    }

    /// # Safety
    /// Nothing uses the node afterwards.
    unsafe fn free(self) {
        let block = ptr::NonNull::new(self.children.cast()).expect("a node has an address");
        // SAFETY: allocated with this size.
        unsafe { release(block, size_of::<Child>() << self.bits) }
    }

    /// Twice as many children, each standing in two cells.
    fn doubled(self) -> Node {
        let node = Node::allocate(self.bits + 1);
        for at in 0..node.len() {
            // Only a node of the most bits has nodes below it, and that one is not doubled.
            debug_assert!(self.child(at / 2).as_node().is_none());
            node.set(at, self.child(at / 2));
        }
        node
    }

    /// The directory without this node's last bit, if that bit makes no difference.
    fn halved(self) -> Option<Child> {
        let same = |at: usize| {
            let (low, high) = (self.child(at), self.child(at + 1));
            low == high && low.as_node().is_none()
        };
        if !(0..self.len()).step_by(2).all(same) {
            return None;
        }
        if self.bits == 1 {
            return Some(self.child(0));
        }
        let node = Node::allocate(self.bits - 1);
        for at in 0..node.len() {
            node.set(at, self.child(at * 2));
        }
        Some(node.as_child())
    }
}

/// Where a segment hangs: for changing the directory.
pub(super) struct Place {
    /// The cell of the root or of the parent node that points to `node` (or to the segment).
    holder: *mut Child,
    node: Option<Node>,
    /// Bits of the hash used before `node`.
    consumed: u32,
    /// The hash's cell in `node`.
    at: usize,
}

impl Place {
    /// The place of a hash under `root`.
    pub(super) fn of(root: &mut Child, hash: u64) -> Place {
        let mut place = Place { holder: root, node: None, consumed: 0, at: 0 };
        let mut rest = hash;
        loop {
            let child = match place.node {
                // SAFETY: the holder is the root or a cell of a node.
                None => unsafe { *place.holder },
                Some(node) => node.child(place.at),
            };
            let Some(next) = child.as_node() else { return place };
            if let Some(node) = place.node {
                // SAFETY: `at` is inside the node.
                place.holder = unsafe { node.children.add(place.at) };
                place.consumed += node.bits;
            }
            place.at = (rest >> (64 - next.bits)) as usize;
            rest <<= next.bits;
            place.node = Some(next);
        }
    }

    fn bits(&self) -> u32 {
        self.node.map_or(0, |node| node.bits)
    }

    fn child(&self) -> Child {
        match self.node {
            // SAFETY: the holder is the root or a cell of a node, held mutably by the caller.
            None => unsafe { *self.holder },
            Some(node) => node.child(self.at),
        }
    }

    /// The segment here, if there is one.
    pub(super) fn segment<'t>(&self) -> Option<RawSegment<'t>> {
        self.child().as_segment()
    }

    /// The depth of a segment that would fill an empty place.
    pub(super) fn full_depth(&self) -> u32 {
        self.consumed + self.bits()
    }

    fn set_holder(&self, child: Child) {
        // SAFETY: the holder is the root or a cell of a node, held mutably by the caller.
        unsafe { *self.holder = child }
    }

    /// First cell and number of cells of a segment of this depth.
    fn cells(&self, depth: u32) -> (usize, usize) {
        let count = 1_usize << (self.full_depth() - depth);
        (self.at & !(count - 1), count)
    }

    /// Puts `segment` in the place of the one of the same depth.
    pub(super) fn replace(&self, segment: RawSegment<'_>) {
        self.set_all(segment.depth(), Child::segment(segment));
    }

    /// Leaves a hole where a segment of this depth was.
    pub(super) fn clear(&self, depth: u32) {
        self.set_all(depth, Child::NONE);
    }

    fn set_all(&self, depth: u32, child: Child) {
        let Some(node) = self.node else { return self.set_holder(child) };
        let (first, count) = self.cells(depth);
        for at in first..first + count {
            node.set(at, child);
        }
    }

    /// Puts the halves of the segment here in its place; returns how many bytes of nodes came
    /// and went.
    pub(super) fn split(&mut self, low: RawSegment<'_>, high: RawSegment<'_>) -> (usize, usize) {
        let depth = low.depth();
        let mut change = (0, 0);
        if depth > self.full_depth() {
            change = self.add_bit();
        }
        let node = self.node.expect("there is a node now");
        let (first, count) = self.cells(depth - 1);
        for at in first..first + count / 2 {
            node.set(at, Child::segment(low));
            node.set(at + count / 2, Child::segment(high));
        }
        change
    }

    /// One more bit for the cell here: a new node, or the node doubled.
    fn add_bit(&mut self) -> (usize, usize) {
        match self.node {
            Some(node) if node.bits < NODE_BITS_MAX => {
                let doubled = node.doubled();
                // SAFETY: the holder is set to the new node next.
                unsafe { node.free() };
                self.set_holder(doubled.as_child());
                self.node = Some(doubled);
                self.at *= 2;
                (doubled.size(), node.size())
            }
            Some(node) => {
                let child = Node::allocate(1);
                // SAFETY: `at` is inside the node.
                self.holder = unsafe { node.children.add(self.at) };
                self.consumed += node.bits;
                self.hang(child)
            }
            None => self.hang(Node::allocate(1)),
        }
    }

    fn hang(&mut self, node: Node) -> (usize, usize) {
        node.set(0, Child::NONE);
        node.set(1, Child::NONE);
        self.set_holder(node.as_child());
        (self.node, self.at) = (Some(node), 0);
        (node.size(), 0)
    }

    /// The segment that covers the other half of its parent's range, if it is as deep; with the
    /// lower one first.
    pub(super) fn pair<'t>(&self) -> Option<(RawSegment<'t>, RawSegment<'t>)> {
        let (node, segment) = (self.node?, self.segment()?);
        let (first, count) = self.cells(segment.depth());
        let other = node.child(first ^ count).as_segment()?;
        if other.depth() != segment.depth() {
            return None;
        }
        Some(if first & count == 0 { (segment, other) } else { (other, segment) })
    }

    /// Puts `segment` in the place of the pair, and takes away what the node no longer needs;
    /// returns how many bytes of nodes came and went.
    pub(super) fn merge(&mut self, segment: RawSegment<'_>) -> (usize, usize) {
        self.replace(segment);
        let mut change = (0, 0);
        while let Some(node) = self.node
            && let Some(child) = node.halved()
        {
            // SAFETY: the holder is set to what remains next.
            unsafe { node.free() };
            self.set_holder(child);
            change.1 += node.size();
            self.node = child.as_node();
            self.at /= 2;
            change.0 += self.node.map_or(0, Node::size);
        }
        change
    }

    /// Removes a node whose cells are all empty; returns its bytes.
    pub(super) fn prune(&mut self) -> usize {
        match self.node {
            Some(node) if (0..node.len()).all(|at| node.child(at).is_none()) => {
                self.set_holder(Child::NONE);
                // SAFETY: the holder no longer points to it.
                unsafe { node.free() };
                node.size()
            }
            _ => 0,
        }
    }
}

/// The first segment in the order of the hash, and a hash of its range.
pub(super) fn first_segment(root: Child) -> Option<u64> {
    let (mut child, mut consumed, mut prefix) = (root, 0, 0_u64);
    loop {
        if child.as_segment().is_some() {
            return Some(prefix);
        }
        let node = child.as_node()?;
        // An emptied node is pruned, but its parents are not searched for holes again.
        let at = (0..node.len()).find(|at| !node.child(*at).is_none())?;
        consumed += node.bits;
        prefix |= (at as u64) << (64 - consumed);
        child = node.child(at);
    }
}
