//! The tree against a sorted list, with its invariants checked after each step.

use super::*;

impl RankedTree {
    /// Checks every invariant of the tree.
    pub(crate) fn check(&self) {
        assert_eq!(self.heap_bytes(), self.heap_bytes_walked());
        let runs: usize = self.leaves.iter().map(|leaf| leaf.run.len()).sum();
        assert_eq!(runs, self.run_bytes);
        if self.leaves.len() == 0 {
            assert_eq!((self.len, self.height, self.nodes.len()), (0, 0, 0));
            return;
        }
        let (mut leaves, mut nodes) = (0, 0);
        let len = self.check_below(self.root, self.height, NONE, &mut leaves, &mut nodes);
        assert_eq!(len, self.len);
        assert_eq!((leaves, nodes), (self.leaves.len(), self.nodes.len()));
        let mut previous: Option<(f64, Vec<u8>)> = None;
        let mut leaf = self.first_leaf();
        while let Some(id) = leaf {
            let mut at = 0;
            while at < self.run(id).len() {
                let (member, score, next) = pair(self.run(id), at);
                if let Some((before, name)) = &previous {
                    let order = before.partial_cmp(&score).unwrap();
                    assert!(order.then_with(|| name[..].cmp(&member.to_vec())).is_lt());
                }
                let found = self.index.candidates(member.with_bytes(hash_of)).any(|c| c == id);
                assert!(found, "the index does not know {member:?}");
                previous = Some((score, member.to_vec()));
                at = next;
            }
            leaf = self.next_leaf(id);
        }
    }

    fn check_below(
        &self,
        id: u32,
        level: u32,
        parent: u32,
        leaves: &mut u32,
        nodes: &mut u32,
    ) -> usize {
        if level == 0 {
            *leaves += 1;
            let leaf = &self.leaves[id];
            assert_eq!(leaf.parent, parent);
            assert_eq!(leaf.len as usize, pairs_between(&leaf.run, 0, leaf.run.len()));
            assert!(leaf.len > 0);
            return leaf.len as usize;
        }
        *nodes += 1;
        let node = &self.nodes[id];
        assert_eq!((node.parent, node.level), (parent, level));
        assert!(!node.children.is_empty());
        let mut total = 0;
        for child in &node.children {
            let len = self.check_below(child.id, level - 1, id, leaves, nodes);
            assert_eq!(child.len as usize, len);
            let first = self.edge_leaf(child.id, level - 1, |_| 0);
            assert_eq!(child.score, pair(self.run(first), 0).1);
            total += len;
        }
        total
    }
}
