//! How the tree keeps its shape: splitting and joining leaves and nodes, and renumbering what
//! takes a freed number.

use smallvec::SmallVec;

use super::super::arena::heap_bytes_of;
use super::super::packed;
use super::super::zset_run::{pair, pair_end};
use super::{Child, LEAF_BYTES_MAX, Leaf, LeafId, NONE, Node, NodeId, RankedTree, hash_of};
use crate::memory::good_size;

/// Two neighbouring leaves join up to this many bytes.
const LEAF_BYTES_JOINED: usize = LEAF_BYTES_MAX / 4 * 3;
/// Children of a node.
const CHILDREN_MAX: usize = 32;
/// A node with fewer children joins a neighbour, up to [`CHILDREN_JOINED`].
const CHILDREN_MIN: usize = CHILDREN_MAX / 4;
const CHILDREN_JOINED: usize = CHILDREN_MAX / 4 * 3;

/// Nodes that are no longer in the tree. They are freed when an operation is through, since
/// freeing one changes the number of another.
type Freed = SmallVec<[NodeId; 8]>;

impl RankedTree {
    /// Splits a leaf in the middle; before its last pair, whose offset is given, if the tree
    /// grows at the very end, so that ascending insertions leave full leaves behind.
    pub(super) fn split_leaf(&mut self, leaf: LeafId, last: Option<usize>) {
        let run = &self.leaves[leaf].run;
        let (mut at, mut len) = (last.unwrap_or(0), self.leaves[leaf].len - 1);
        if last.is_none() {
            len = 0;
            while len == 0 || at < run.len() / 2 {
                at = pair_end(run, at);
                len += 1;
            }
            if at >= run.len() {
                // The last pair alone makes up more than half.
                len -= 1;
                at = packed::skip_many(run, 0, 2 * len as usize);
            }
        }
        let mut tail = Vec::new();
        packed::reserve(&mut tail, run.len() - at);
        tail.extend_from_slice(&run[at..]);
        let (_, score, _) = pair(&tail, 0);
        let moved = self.leaves[leaf].len - len;
        let right = self.leaves.len();
        self.reindex(&tail, leaf, right);
        self.edit_run(leaf, |run| {
            run.truncate(at);
            run.shrink_to(good_size(at));
        });
        self.leaves[leaf].len = len;
        self.run_bytes += tail.len();
        self.block_bytes += heap_bytes_of(&tail);
        self.leaves.push(Leaf { run: tail, len: moved, parent: NONE });
        self.insert_child(leaf, 0, Child { id: right, len: moved, score });
    }

    /// Removes a leaf that has become empty.
    pub(super) fn remove_leaf(&mut self, leaf: LeafId) {
        let mut freed = Freed::new();
        self.remove_child(leaf, 0, &mut freed);
        self.free_nodes(freed);
        self.free_leaf(leaf);
    }

    /// Joins a small leaf with a neighbour below the same node, if both together are small.
    pub(super) fn join_leaf(&mut self, leaf: LeafId) {
        let parent = self.leaves[leaf].parent;
        if parent == NONE {
            return;
        }
        let children = &self.nodes[parent].children;
        let position = self.nodes[parent].position(leaf);
        let fits = |first: usize| {
            children.get(first..first + 2).is_some_and(|pair| {
                let bytes = pair.iter().map(|child| self.run(child.id).len()).sum::<usize>();
                bytes <= LEAF_BYTES_JOINED
            })
        };
        let before = position.checked_sub(1).filter(|&first| fits(first));
        let Some(first) = before.or_else(|| Some(position).filter(|&first| fits(first))) else {
            return;
        };
        let (left, right) = (children[first].id, children[first + 1].id);
        let moved = self.leaves[right].len;
        let mut run = Vec::new();
        self.edit_run(right, |from| run = std::mem::take(from));
        self.reindex(&run, right, left);
        self.edit_run(left, |to| {
            let end = to.len();
            packed::splice(to, end, 0, &[&run]);
        });
        self.leaves[left].len += moved;
        self.nodes[parent].children[first].len += moved;
        self.nodes[parent].children[first + 1].len = 0;
        self.remove_leaf(right);
    }

    /// Lets the index find the pairs of `run` in another leaf.
    fn reindex(&mut self, run: &[u8], from: LeafId, to: LeafId) {
        let mut at = 0;
        while at < run.len() {
            let (member, _, next) = pair(run, at);
            self.index.relocate(member.with_bytes(hash_of), from, to);
            at = next;
        }
    }

    /// Puts `new`, which took its members from `left`, behind it. Both are of `level`.
    fn insert_child(&mut self, left: u32, level: u32, new: Child) {
        let mut parent = self.parent(left, level);
        if parent == NONE {
            let score = match level {
                0 => pair(self.run(left), 0).1,
                _ => self.nodes[left].children[0].score,
            };
            let old = Child { id: left, len: self.len as u32, score };
            let node = Node { children: Vec::new(), parent: NONE, level: level + 1 };
            parent = self.nodes.push(node);
            self.edit_children(parent, |children| children.push(old));
            self.set_parent(left, level, parent);
            self.root = parent;
            self.height += 1;
        }
        self.set_parent(new.id, level, parent);
        let position = self.nodes[parent].position(left);
        self.edit_children(parent, |children| {
            children[position].len -= new.len;
            children.insert(position + 1, new);
        });
        if self.nodes[parent].children.len() > CHILDREN_MAX {
            self.split_node(parent, position + 2 > CHILDREN_MAX);
        }
    }

    /// Splits a node in the middle, or before its last child if it grows at the end.
    fn split_node(&mut self, node: NodeId, at_end: bool) {
        let Node { children, level, .. } = &self.nodes[node];
        let (len, level) = (children.len(), *level);
        let at = if at_end { len - 1 } else { len / 2 };
        let right = self.nodes.push(Node { children: Vec::new(), parent: NONE, level });
        let mut tail = Vec::new();
        self.edit_children(node, |children| {
            tail.extend_from_slice(&children[at..]);
            children.truncate(at);
        });
        for child in &tail {
            self.set_parent(child.id, level - 1, right);
        }
        let (members, score) = (tail.iter().map(|child| child.len).sum(), tail[0].score);
        self.edit_children(right, |children| children.extend(tail));
        self.insert_child(node, level, Child { id: right, len: members, score });
    }

    /// Takes a child without members out of its node, and nodes out of the tree that have too
    /// few children left. The child itself is the caller's to free.
    fn remove_child(&mut self, id: u32, level: u32, freed: &mut Freed) {
        let parent = self.parent(id, level);
        if parent == NONE {
            (self.root, self.height) = (0, 0);
            return;
        }
        let position = self.nodes[parent].position(id);
        self.edit_children(parent, |children| {
            children.remove(position);
        });
        let above = self.nodes[parent].parent;
        let Some(first) = self.nodes[parent].children.first().copied() else {
            self.remove_child(parent, level + 1, freed);
            freed.push(parent);
            return;
        };
        if position == 0 {
            self.update_first(parent, above, first.score);
        }
        if above == NONE {
            self.lower_root(freed);
        } else if self.nodes[parent].children.len() < CHILDREN_MIN {
            self.join_node(parent, freed);
        }
    }

    /// Makes the only child of the root the root.
    fn lower_root(&mut self, freed: &mut Freed) {
        while self.height > 0 && self.nodes[self.root].children.len() == 1 {
            let old = self.root;
            self.root = self.nodes[old].children[0].id;
            self.height -= 1;
            self.set_parent(self.root, self.height, NONE);
            self.edit_children(old, Vec::clear);
            freed.push(old);
        }
    }

    /// Joins a node with a neighbour below the same parent, if both together are small.
    fn join_node(&mut self, node: NodeId, freed: &mut Freed) {
        let Node { parent, level, .. } = self.nodes[node];
        let first = self.nodes[parent].position(node).saturating_sub(1);
        let Some([left, right]) = self.nodes[parent].children.get(first..first + 2) else {
            return;
        };
        let (left, right, moved) = (left.id, right.id, right.len);
        let total = self.nodes[left].children.len() + self.nodes[right].children.len();
        if total > CHILDREN_JOINED {
            return;
        }
        let mut children = Vec::new();
        self.edit_children(right, |all| children = std::mem::take(all));
        for child in &children {
            self.set_parent(child.id, level - 1, left);
        }
        self.edit_children(left, |all| all.extend(children));
        self.edit_children(parent, |all| {
            all[first].len += moved;
            all[first + 1].len = 0;
        });
        self.remove_child(right, level, freed);
        freed.push(right);
    }

    /// Changes a node's children, keeping the account.
    fn edit_children(&mut self, node: NodeId, edit: impl FnOnce(&mut Vec<Child>)) {
        let children = &mut self.nodes[node].children;
        self.block_bytes -= heap_bytes_of(children);
        edit(children);
        if children.len() < children.capacity() / 2 {
            children.shrink_to_fit();
        }
        self.block_bytes += heap_bytes_of(children);
    }

    fn parent(&self, id: u32, level: u32) -> NodeId {
        match level {
            0 => self.leaves[id].parent,
            _ => self.nodes[id].parent,
        }
    }

    fn set_parent(&mut self, id: u32, level: u32, parent: NodeId) {
        match level {
            0 => self.leaves[id].parent = parent,
            _ => self.nodes[id].parent = parent,
        }
    }

    /// Gives an empty leaf's number to the last leaf.
    fn free_leaf(&mut self, leaf: LeafId) {
        let freed = self.leaves.swap_remove(leaf);
        self.run_bytes -= freed.run.len();
        self.block_bytes -= heap_bytes_of(&freed.run);
        let last = self.leaves.len();
        if leaf != last {
            let run = std::mem::take(&mut self.leaves[leaf].run);
            self.reindex(&run, last, leaf);
            self.leaves[leaf].run = run;
            self.rename_child(self.leaves[leaf].parent, last, leaf);
        }
    }

    /// Gives the numbers of nodes that are out of the tree to the last nodes.
    fn free_nodes(&mut self, mut freed: Freed) {
        // From the highest down, so that what moves is never one that is still to be freed.
        freed.sort_unstable_by(|a, b| b.cmp(a));
        for node in freed {
            let gone = self.nodes.swap_remove(node);
            self.block_bytes -= heap_bytes_of(&gone.children);
            let last = self.nodes.len();
            if node != last {
                let Node { parent, level, .. } = self.nodes[node];
                for position in 0..self.nodes[node].children.len() {
                    let child = self.nodes[node].children[position].id;
                    self.set_parent(child, level - 1, node);
                }
                self.rename_child(parent, last, node);
            }
        }
    }

    /// Notes above a leaf or node that it has another number.
    fn rename_child(&mut self, parent: NodeId, old: u32, new: u32) {
        match parent {
            NONE => self.root = new,
            parent => {
                let position = self.nodes[parent].position(old);
                self.nodes[parent].children[position].id = new;
            }
        }
    }
}
