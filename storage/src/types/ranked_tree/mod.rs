//! The tree behind large sorted sets: a B+tree of (score, member) that counts what lies below
//! each node, so that ranks and scores are both found in O(log n).
//!
//! Leaves are runs (see [`super::zset_run`]) and hold each member once. Nodes and leaves are
//! numbered; parents are known, so a member found by its hash ([`MemberIndex`]) gives its rank
//! without a comparison. A node keeps each child's number of members and lowest score; where
//! scores are equal, the child's first member decides and is read from its leaf.

mod shape;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::arena::{Arena, heap_bytes_of};
use super::element::Element;
use super::member_index::MemberIndex;
use super::packed::{self, Encoded};
use super::zset::Inserted;
use super::zset_run::{Cut, insert_at, lookup, pair, pair_end, pairs_between, position};
use crate::table::hash_key;

/// Number of a leaf.
pub(crate) type LeafId = u32;
/// Number of a node.
type NodeId = u32;

/// A leaf that passes this many bytes splits in two.
const LEAF_BYTES_MAX: usize = 512;
/// A leaf below this many bytes joins a neighbour if the two stay well below the maximum.
const LEAF_BYTES_MIN: usize = LEAF_BYTES_MAX / 4;
/// The parent of the root.
const NONE: u32 = u32::MAX;

/// Members ordered by (score, member), found by rank, score, or member.
#[derive(Debug)]
pub(crate) struct RankedTree {
    leaves: Arena<Leaf>,
    nodes: Arena<Node>,
    index: MemberIndex,
    /// A leaf if `height` is 0, else a node.
    root: u32,
    /// Levels of nodes above the leaves.
    height: u32,
    len: usize,
    /// Bytes of all runs.
    run_bytes: usize,
    /// Bytes of the heap blocks behind runs and lists of children.
    block_bytes: usize,
}

#[derive(Debug)]
struct Leaf {
    run: Vec<u8>,
    len: u32,
    parent: NodeId,
}

#[derive(Debug)]
struct Node {
    /// In order; a node in the tree has at least one.
    children: Vec<Child>,
    parent: NodeId,
    /// 1 above leaves.
    level: u32,
}

#[derive(Clone, Copy, Debug)]
struct Child {
    id: u32,
    /// Members below it.
    len: u32,
    /// Lowest score below it.
    score: f64,
}

impl RankedTree {
    pub(crate) const fn new() -> RankedTree {
        RankedTree {
            leaves: Arena::new(),
            nodes: Arena::new(),
            index: MemberIndex::new(),
            root: 0,
            height: 0,
            len: 0,
            run_bytes: 0,
            block_bytes: 0,
        }
    }

    /// Number of members.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of all runs together: what the packed form would take.
    pub(crate) fn run_bytes(&self) -> usize {
        self.run_bytes
    }

    /// The score of `member`.
    pub(crate) fn score(&self, member: &[u8]) -> Option<f64> {
        self.locate(hash_of(member), &Encoded::of(member)).map(|(_, _, score)| score)
    }

    /// The rank of `member`, and its score.
    pub(crate) fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let (leaf, at, score) = self.locate(hash_of(member), &Encoded::of(member))?;
        let mut rank = pairs_between(self.run(leaf), 0, at);
        let (mut id, mut parent) = (leaf, self.leaves[leaf].parent);
        while parent != NONE {
            let before = self.nodes[parent].children.iter().take_while(|child| child.id != id);
            rank += before.map(|child| child.len as usize).sum::<usize>();
            (id, parent) = (parent, self.nodes[parent].parent);
        }
        Some((rank, score))
    }

    /// Number of members before `cut`.
    pub(crate) fn rank_of_cut(&self, cut: &Cut<'_>) -> usize {
        match cut {
            _ if self.len == 0 => 0,
            Cut::Start => 0,
            Cut::End => self.len,
            cut => {
                let (mut id, mut rank) = (self.root, 0);
                for level in (0..self.height).rev() {
                    let position = self.child_at(id, level, cut);
                    let children = &self.nodes[id].children;
                    rank += children[..position].iter().map(|c| c.len as usize).sum::<usize>();
                    id = children[position].id;
                }
                rank + position(self.run(id), 0, cut).1
            }
        }
    }

    /// The leaf of the member of rank `rank`, and its rank in there.
    pub(crate) fn select(&self, mut rank: usize) -> (LeafId, usize) {
        let mut id = self.root;
        for _ in 0..self.height {
            let children = &self.nodes[id].children;
            id = children[children.len() - 1].id;
            for child in children {
                if rank < child.len as usize {
                    id = child.id;
                    break;
                }
                rank -= child.len as usize;
            }
        }
        (id, rank)
    }

    /// The run of a leaf.
    #[inline]
    pub(crate) fn run(&self, leaf: LeafId) -> &[u8] {
        &self.leaves[leaf].run
    }

    /// The leaf of the lowest scores.
    pub(crate) fn first_leaf(&self) -> Option<LeafId> {
        (self.len > 0).then(|| self.edge_leaf(self.root, self.height, |_| 0))
    }

    /// The leaf after this one.
    pub(crate) fn next_leaf(&self, leaf: LeafId) -> Option<LeafId> {
        let (mut id, mut parent, mut level) = (leaf, self.leaves[leaf].parent, 0);
        while parent != NONE {
            let node = &self.nodes[parent];
            if let Some(child) = node.children.get(node.position(id) + 1) {
                return Some(self.edge_leaf(child.id, level, |_| 0));
            }
            (id, parent, level) = (parent, node.parent, level + 1);
        }
        None
    }

    /// The leaf before this one.
    pub(crate) fn previous_leaf(&self, leaf: LeafId) -> Option<LeafId> {
        let (mut id, mut parent, mut level) = (leaf, self.leaves[leaf].parent, 0);
        while parent != NONE {
            let node = &self.nodes[parent];
            if let Some(before) = node.position(id).checked_sub(1) {
                return Some(self.edge_leaf(node.children[before].id, level, |len| len - 1));
            }
            (id, parent, level) = (parent, node.parent, level + 1);
        }
        None
    }

    /// Gives `member` the score `score`.
    pub(crate) fn insert(&mut self, member: &[u8], score: f64) -> Inserted {
        let hash = hash_of(member);
        let name = Encoded::of(member);
        let found = self.locate(hash, &name);
        if let Some((leaf, at, old)) = found {
            if old == score {
                return Inserted::Unchanged;
            }
            if self.rescore(leaf, at, &name, member, score) {
                return Inserted::Updated;
            }
            self.remove_span(leaf, at, 1);
        }
        if self.leaves.len() == 0 {
            self.root = self.leaves.push(Leaf { run: Vec::new(), len: 0, parent: NONE });
        }
        let (leaf, is_last) = self.add_pair(&name, member, score);
        // The cell of a member that moves still names its old leaf, whatever is there by now.
        match found {
            Some((old, _, _)) => self.index.relocate(hash, old, leaf),
            None => self.index.insert(hash, leaf),
        }
        if self.leaves[leaf].run.len() > LEAF_BYTES_MAX && self.leaves[leaf].len > 1 {
            self.split_leaf(leaf, is_last);
        }
        if found.is_some() { Inserted::Updated } else { Inserted::Added }
    }

    /// Removes `member` and returns its score.
    pub(crate) fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let hash = hash_of(member);
        let (leaf, at, score) = self.locate(hash, &Encoded::of(member))?;
        self.index.remove(hash, leaf);
        self.remove_span(leaf, at, 1);
        Some(score)
    }

    /// Removes the members of these ranks, which exist, calling `f` with each.
    pub(crate) fn remove_ranks(
        &mut self,
        ranks: Range<usize>,
        f: &mut dyn FnMut(Element<'_>, f64),
    ) {
        let mut left = ranks.len();
        while left > 0 {
            let (leaf, rank) = self.select(ranks.start);
            let count = left.min(self.leaves[leaf].len as usize - rank);
            let from = packed::skip_many(self.run(leaf), 0, 2 * rank);
            let mut at = from;
            for _ in 0..count {
                let (member, score, next) = pair(&self.leaves[leaf].run, at);
                f(member, score);
                self.index.remove(member.with_bytes(hash_of), leaf);
                at = next;
            }
            self.remove_span(leaf, from, count);
            left -= count;
        }
    }

    /// Calls `f` with about `count` members from `cursor` on and returns the next cursor.
    pub(crate) fn scan(
        &self,
        cursor: u64,
        count: usize,
        f: &mut dyn FnMut(Element<'_>, f64),
    ) -> u64 {
        let Ok(cursor) = u32::try_from(cursor) else {
            return 0;
        };
        let next = self.index.scan(cursor, count.max(1), &mut |hash, leaves| {
            for &leaf in leaves {
                let run = self.run(leaf);
                let mut at = 0;
                while at < run.len() {
                    let (member, score, next) = pair(run, at);
                    if member.with_bytes(hash_of) == hash {
                        f(member, score);
                    }
                    at = next;
                }
            }
        });
        u64::from(next)
    }

    /// Frees the memory of about `count` members; how many, 0 at the end. The tree must not be
    /// used for anything else afterwards.
    pub(crate) fn free_some(&mut self, count: usize) -> usize {
        // What freeing a block of the index costs next to freeing one leaf's.
        const BLOCK_COST: usize = 16;
        self.len = 0;
        let mut freed = 0;
        while freed < count {
            freed += match self.leaves.len().checked_sub(1) {
                Some(last) => {
                    let leaf = self.leaves.swap_remove(last);
                    self.block_bytes -= heap_bytes_of(&leaf.run);
                    leaf.len as usize
                }
                None if self.index.free_segment() => BLOCK_COST,
                None => match self.nodes.len().checked_sub(1) {
                    Some(last) => {
                        let node = self.nodes.swap_remove(last);
                        self.block_bytes -= heap_bytes_of(&node.children);
                        node.children.len().max(1)
                    }
                    None => break,
                },
            };
        }
        freed
    }

    /// Bytes of all heap blocks of the tree, O(1).
    pub(crate) fn heap_bytes(&self) -> usize {
        self.leaves.heap_bytes()
            + self.nodes.heap_bytes()
            + self.index.heap_bytes()
            + self.block_bytes
    }

    /// The same, recomputed by walking.
    pub(crate) fn heap_bytes_walked(&self) -> usize {
        let runs: usize = self.leaves.iter().map(|leaf| heap_bytes_of(&leaf.run)).sum();
        let children: usize = self.nodes.iter().map(|node| heap_bytes_of(&node.children)).sum();
        self.leaves.heap_bytes_walked()
            + self.nodes.heap_bytes_walked()
            + self.index.heap_bytes_walked()
            + runs
            + children
    }

    /// The leaf of `member`, the offset of its pair, and its score.
    fn locate(&self, hash: u32, member: &Encoded) -> Option<(LeafId, usize, f64)> {
        self.index
            .candidates(hash)
            .find_map(|leaf| lookup(self.run(leaf), 0, member).map(|(at, score)| (leaf, at, score)))
    }

    /// The child of a node of `level` + 1 levels that `cut` falls into.
    fn child_at(&self, node: NodeId, level: u32, cut: &Cut<'_>) -> usize {
        // The last child that begins before the cut; whatever begins after it is behind.
        self.nodes[node].children[1..].partition_point(|child| {
            cut.is_after(child.score, || {
                let leaf = self.edge_leaf(child.id, level, |_| 0);
                packed::read(self.run(leaf), 0).0
            })
        })
    }

    /// Puts a new pair into its leaf, of which there is at least one. Returns the leaf, and the
    /// pair's offset if it is the last pair of all.
    fn add_pair(&mut self, name: &Encoded, member: &[u8], score: f64) -> (LeafId, Option<usize>) {
        let cut = Cut::Pair(score, Element::parse(member));
        let (mut id, mut is_last) = (self.root, true);
        for level in (0..self.height).rev() {
            let position = self.child_at(id, level, &cut);
            let children = &mut self.nodes[id].children;
            is_last &= position + 1 == children.len();
            children[position].len += 1;
            id = children[position].id;
        }
        let (at, _) = position(self.run(id), 0, &cut);
        is_last &= at == self.run(id).len();
        self.edit_run(id, |run| insert_at(run, at, name, score));
        self.len += 1;
        let leaf = &mut self.leaves[id];
        leaf.len += 1;
        let parent = leaf.parent;
        if at == 0 {
            self.update_first(id, parent, score);
        }
        (id, is_last.then_some(at))
    }

    /// The first or last leaf below `id`, which has `level` levels of nodes.
    fn edge_leaf(&self, mut id: u32, level: u32, pick: impl Fn(usize) -> usize) -> LeafId {
        for _ in 0..level {
            let children = &self.nodes[id].children;
            id = children[pick(children.len())].id;
        }
        id
    }

    /// Changes a score in place if the pair stays in its leaf: false if it must go elsewhere.
    fn rescore(
        &mut self,
        leaf: LeafId,
        at: usize,
        name: &Encoded,
        member: &[u8],
        score: f64,
    ) -> bool {
        let run = self.run(leaf);
        let width = pair_end(run, at) - at;
        let (to, _) = position(run, 0, &Cut::Pair(score, Element::parse(member)));
        // At either end of the run the pair may belong to a neighbour.
        if to == 0 || to >= run.len() {
            return false;
        }
        self.edit_run(leaf, |run| {
            // First the one that lies further back, so that the other offset stays valid.
            if to > at {
                insert_at(run, to, name, score);
                packed::splice(run, at, width, &[]);
            } else {
                packed::splice(run, at, width, &[]);
                insert_at(run, to, name, score);
            }
        });
        if at == 0 {
            let (_, first, _) = pair(self.run(leaf), 0);
            self.update_first(leaf, self.leaves[leaf].parent, first);
        }
        if self.run(leaf).len() > LEAF_BYTES_MAX && self.leaves[leaf].len > 1 {
            self.split_leaf(leaf, None);
        }
        true
    }

    /// Changes a run, keeping the account.
    fn edit_run(&mut self, leaf: LeafId, edit: impl FnOnce(&mut Vec<u8>)) {
        let run = &mut self.leaves[leaf].run;
        self.run_bytes -= run.len();
        self.block_bytes -= heap_bytes_of(run);
        edit(run);
        packed::shrink(run);
        self.run_bytes += run.len();
        self.block_bytes += heap_bytes_of(run);
    }

    /// Takes `count` off the counts above a leaf.
    fn reduce_counts(&mut self, leaf: LeafId, count: u32) {
        let (mut id, mut parent) = (leaf, self.leaves[leaf].parent);
        while parent != NONE {
            let node = &mut self.nodes[parent];
            let position = node.position(id);
            node.children[position].len -= count;
            (id, parent) = (parent, node.parent);
        }
    }

    /// Notes the new lowest score of a child of `parent` as far up as it is the first one.
    fn update_first(&mut self, mut id: u32, mut parent: NodeId, score: f64) {
        while parent != NONE {
            let node = &mut self.nodes[parent];
            let position = node.position(id);
            node.children[position].score = score;
            if position > 0 {
                return;
            }
            (id, parent) = (parent, node.parent);
        }
    }

    /// Removes `count` pairs of a leaf from offset `at` on; the index no longer has them.
    fn remove_span(&mut self, leaf: LeafId, at: usize, count: usize) {
        let end = packed::skip_many(self.run(leaf), at, 2 * count);
        self.edit_run(leaf, |run| packed::splice(run, at, end - at, &[]));
        self.leaves[leaf].len -= count as u32;
        self.len -= count;
        self.reduce_counts(leaf, count as u32);
        if self.leaves[leaf].len == 0 {
            self.remove_leaf(leaf);
            return;
        }
        if at == 0 {
            let (_, score, _) = pair(self.run(leaf), 0);
            self.update_first(leaf, self.leaves[leaf].parent, score);
        }
        if self.run(leaf).len() < LEAF_BYTES_MIN {
            self.join_leaf(leaf);
        }
    }
}

impl Node {
    /// Position of a child, which is one of the node's.
    #[inline]
    fn position(&self, id: u32) -> usize {
        let found = self.children.iter().position(|child| child.id == id);
        found.expect("a node knows its children")
    }
}

/// The hash that the index keeps of a member.
#[inline]
fn hash_of(member: &[u8]) -> u32 {
    (hash_key(member) >> 32) as u32
}
