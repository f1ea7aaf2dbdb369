//! Sorted sets: members ordered by (score, member), packed while small, a tree when large.
//!
//! Every range is one of ranks: a range of scores or members is turned into ranks first
//! ([`ZSetRef::ranks_by_score`], [`ZSetRef::ranks_by_member`]), which is also how many it has.
//! Offsets and limits are then plain arithmetic ([`limited`]).

use std::ops::Range;

use smallvec::SmallVec;

use super::element::Element;
use super::limits::Limits;
use super::packed::{
    self, Encoded, PACKED_BYTES_AGAIN, PACKED_BYTES_MAX, body, find, has_marker, splice,
};
use super::ranked_tree::{LeafId, RankedTree};
use super::sample::{Random, distinct_ranks, rank_of};
use super::zset_run::{self, Cut, insert_at, lookup, pair, pair_end, pairs_between, position};
use crate::memory::good_size;

/// An owned sorted set.
#[derive(Debug)]
pub enum ZSet {
    /// Members and scores in turn, in order, see [`super::packed`].
    Packed(Vec<u8>),
    /// More than the packed form holds.
    Tree(Box<ZSetTree>),
}

/// A sorted set to read.
#[derive(Clone, Copy, Debug)]
pub enum ZSetRef<'a> {
    /// Members and scores in turn, in order.
    Packed(&'a [u8]),
    /// More than the packed form holds.
    Tree(&'a ZSetTree),
}

/// A large sorted set.
#[derive(Debug)]
pub struct ZSetTree {
    tree: RankedTree,
    /// Redis would still keep it in a listpack.
    reports_listpack: bool,
}

/// What [`ZSet::insert`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The member is new.
    Added,
    /// The member had another score.
    Updated,
    /// The member had this score.
    Unchanged,
}

/// One end of a range of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScoreBound {
    /// This score and on.
    Included(f64),
    /// `(`: what lies beyond this score.
    Excluded(f64),
}

/// One end of a range of members of equal score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberBound<'a> {
    /// `-`: before every member.
    Lowest,
    /// `+`: after every member.
    Highest,
    /// `[`: this member and on.
    Included(&'a [u8]),
    /// `(`: what lies beyond this member.
    Excluded(&'a [u8]),
}

/// Which end comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Lowest score first.
    Ascending,
    /// Highest score first.
    Descending,
}

/// The part of `ranks` that LIMIT leaves: without the first `offset`, at most `count`, both
/// counted in `order`.
pub fn limited(ranks: Range<usize>, offset: usize, count: usize, order: Order) -> Range<usize> {
    match order {
        Order::Ascending => {
            let start = ranks.start.saturating_add(offset).min(ranks.end);
            start..start.saturating_add(count).min(ranks.end)
        }
        Order::Descending => {
            let end = ranks.end.saturating_sub(offset).max(ranks.start);
            end.saturating_sub(count).max(ranks.start)..end
        }
    }
}

/// The ascending ranks that the indexes `start..=stop` of ZRANGE name in a sorted set of `len`
/// members; negative ones count from the end.
pub fn ranks_by_index(start: i64, stop: i64, len: usize, order: Order) -> Range<usize> {
    let range = super::index_range(start, stop, len);
    match order {
        Order::Ascending => range,
        Order::Descending => len - range.end..len - range.start,
    }
}

impl ZSet {
    /// A sorted set without members.
    pub const fn new() -> ZSet {
        ZSet::Packed(Vec::new())
    }

    /// The sorted set to read.
    #[inline]
    pub fn as_ref(&self) -> ZSetRef<'_> {
        match self {
            ZSet::Packed(bytes) => ZSetRef::Packed(bytes),
            ZSet::Tree(tree) => ZSetRef::Tree(tree),
        }
    }

    /// Gives `member` the score `score`, which must not be NaN.
    ///
    /// As in Redis a sorted set that reports `listpack` does not know -0.0: it is 0 there.
    pub fn insert(&mut self, member: &[u8], score: f64, limits: &Limits) -> Inserted {
        debug_assert!(!score.is_nan());
        let long = member.len() > limits.zset_listpack_value_max;
        match self {
            ZSet::Packed(bytes) => {
                let name = Encoded::of(member);
                let outcome = match find(bytes, body(bytes), 2, &name) {
                    Ok(at) => {
                        let (_, old, next) = pair(bytes, at);
                        if old == score {
                            return Inserted::Unchanged;
                        }
                        splice(bytes, at, next - at, &[]);
                        Inserted::Updated
                    }
                    Err(len) => {
                        if long || len >= limits.zset_listpack_entries_max {
                            packed::mark(bytes);
                        }
                        Inserted::Added
                    }
                };
                let score = if has_marker(bytes) { score } else { score + 0.0 };
                let (at, _) =
                    position(bytes, body(bytes), &Cut::Pair(score, Element::parse(member)));
                insert_at(bytes, at, &name, score);
                self.grow();
                outcome
            }
            ZSet::Tree(zset) => {
                let small = zset.reports_listpack;
                if small && (long || zset.tree.len() >= limits.zset_listpack_entries_max) {
                    // Only a new member ends it, which is known after the insertion.
                    let outcome = zset.tree.insert(member, score);
                    zset.reports_listpack = outcome != Inserted::Added;
                    return outcome;
                }
                zset.tree.insert(member, if small { score + 0.0 } else { score })
            }
        }
    }

    /// Removes `member` and returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match self {
            ZSet::Packed(bytes) => {
                let (at, score) = lookup(bytes, body(bytes), &Encoded::of(member))?;
                let old = pair_end(bytes, at) - at;
                splice(bytes, at, old, &[]);
                Some(score)
            }
            ZSet::Tree(zset) => {
                let score = zset.tree.remove(member)?;
                self.shrink();
                Some(score)
            }
        }
    }

    /// Removes the members of these ranks (lowest score is 0), calling `f` with each in order;
    /// how many there were.
    pub fn remove_ranks(
        &mut self,
        ranks: Range<usize>,
        f: &mut dyn FnMut(Element<'_>, f64),
    ) -> usize {
        let end = ranks.end.min(self.len());
        let start = ranks.start.min(end);
        if start == end {
            return 0;
        }
        match self {
            ZSet::Packed(bytes) => {
                let from = packed::skip_many(bytes, body(bytes), 2 * start);
                let mut to = from;
                for _ in start..end {
                    let (member, score, next) = pair(bytes, to);
                    f(member, score);
                    to = next;
                }
                splice(bytes, from, to - from, &[]);
            }
            ZSet::Tree(zset) => {
                zset.tree.remove_ranks(start..end, f);
                self.shrink();
            }
        }
        end - start
    }

    /// Removes and returns the member of the lowest score.
    pub fn pop_min(&mut self) -> Option<(Vec<u8>, f64)> {
        self.pop_rank(0)
    }

    /// Removes and returns the member of the highest score.
    pub fn pop_max(&mut self) -> Option<(Vec<u8>, f64)> {
        let last = self.len().checked_sub(1)?;
        self.pop_rank(last)
    }

    /// Frees the memory of about `count` members of a sorted set that nobody will read again;
    /// how many, 0 when all is freed. Much cheaper than removing them.
    pub fn free_some(&mut self, count: usize) -> usize {
        let freed = match self {
            ZSet::Packed(_) => self.len(),
            ZSet::Tree(zset) => match zset.tree.free_some(count) {
                0 => 0,
                freed => return freed,
            },
        };
        *self = ZSet::new();
        freed
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.as_ref().len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.as_ref().is_empty()
    }

    /// Bytes of owned heap blocks: see [`ZSetRef::heap_bytes`].
    pub fn heap_bytes(&self) -> usize {
        self.as_ref().heap_bytes()
    }

    /// The encoding that OBJECT ENCODING reports.
    pub fn encoding(&self) -> &'static str {
        self.as_ref().encoding()
    }

    fn pop_rank(&mut self, rank: usize) -> Option<(Vec<u8>, f64)> {
        let mut popped = None;
        self.remove_ranks(rank..rank + 1, &mut |member, score| {
            popped = Some((member.to_vec(), score));
        });
        popped
    }

    /// Becomes a tree if the packed form is too long.
    fn grow(&mut self) {
        if let ZSet::Packed(bytes) = self
            && bytes.len() > PACKED_BYTES_MAX
        {
            let mut tree = RankedTree::new();
            let mut at = body(bytes);
            while at < bytes.len() {
                let (member, score, next) = pair(bytes, at);
                member.with_bytes(|member| tree.insert(member, score));
                at = next;
            }
            let reports_listpack = !has_marker(bytes);
            *self = ZSet::Tree(Box::new(ZSetTree { tree, reports_listpack }));
        }
    }

    /// Becomes packed if little is left.
    fn shrink(&mut self) {
        if let ZSet::Tree(zset) = self
            && zset.tree.run_bytes() <= PACKED_BYTES_AGAIN
        {
            let mut bytes = Vec::new();
            if !zset.reports_listpack {
                packed::mark(&mut bytes);
            }
            let mut leaf = zset.tree.first_leaf();
            while let Some(id) = leaf {
                bytes.extend_from_slice(zset.tree.run(id));
                leaf = zset.tree.next_leaf(id);
            }
            *self = ZSet::Packed(bytes);
        }
    }
}

impl Default for ZSet {
    fn default() -> ZSet {
        ZSet::new()
    }
}

impl<'a> ZSetRef<'a> {
    /// Number of members.
    pub fn len(self) -> usize {
        match self {
            ZSetRef::Packed(bytes) => pairs_between(bytes, body(bytes), bytes.len()),
            ZSetRef::Tree(zset) => zset.tree.len(),
        }
    }

    /// Whether there is no member.
    pub fn is_empty(self) -> bool {
        match self {
            ZSetRef::Packed(bytes) => bytes.len() == body(bytes),
            ZSetRef::Tree(zset) => zset.tree.len() == 0,
        }
    }

    /// What the member of the lowest score has at most, in bytes: it is long only if this is.
    pub fn first_bytes_max(self) -> usize {
        match self {
            ZSetRef::Packed(bytes) => bytes.len(),
            ZSetRef::Tree(zset) => zset.tree.first_leaf().map_or(0, |id| zset.tree.run(id).len()),
        }
    }

    /// [`ZSetRef::first_bytes_max`] of the member of the highest score.
    pub fn last_bytes_max(self) -> usize {
        match self {
            ZSetRef::Packed(bytes) => bytes.len(),
            ZSetRef::Tree(zset) => match zset.tree.len() {
                0 => 0,
                len => zset.tree.run(zset.tree.select(len - 1).0).len(),
            },
        }
    }

    /// The score of `member`.
    pub fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            ZSetRef::Packed(bytes) => {
                lookup(bytes, body(bytes), &Encoded::of(member)).map(|(_, score)| score)
            }
            ZSetRef::Tree(zset) => zset.tree.score(member),
        }
    }

    /// The rank of `member` in `order` from 0, and its score.
    pub fn rank(self, member: &[u8], order: Order) -> Option<(usize, f64)> {
        let (rank, score) = match self {
            ZSetRef::Packed(bytes) => {
                let (at, score) = lookup(bytes, body(bytes), &Encoded::of(member))?;
                (pairs_between(bytes, body(bytes), at), score)
            }
            ZSetRef::Tree(zset) => zset.tree.rank(member)?,
        };
        match order {
            Order::Ascending => Some((rank, score)),
            Order::Descending => Some((self.len() - 1 - rank, score)),
        }
    }

    /// The ranks of the members with scores from `min` to `max`.
    pub fn ranks_by_score(self, min: ScoreBound, max: ScoreBound) -> Range<usize> {
        let start = match min {
            ScoreBound::Included(score) => Cut::BelowScore(score),
            ScoreBound::Excluded(score) => Cut::ThroughScore(score),
        };
        let end = match max {
            ScoreBound::Included(score) => Cut::ThroughScore(score),
            ScoreBound::Excluded(score) => Cut::BelowScore(score),
        };
        self.ranks_between(&start, &end)
    }

    /// The ranks of the members from `min` to `max` in byte order. Meant for sorted sets whose
    /// scores are all equal; what it returns for others is not specified, as in Redis.
    pub fn ranks_by_member(self, min: MemberBound<'_>, max: MemberBound<'_>) -> Range<usize> {
        let start = match min {
            MemberBound::Lowest => Cut::Start,
            MemberBound::Highest => Cut::End,
            MemberBound::Included(member) => Cut::BelowMember(Element::parse(member)),
            MemberBound::Excluded(member) => Cut::ThroughMember(Element::parse(member)),
        };
        let end = match max {
            MemberBound::Lowest => Cut::Start,
            MemberBound::Highest => Cut::End,
            MemberBound::Included(member) => Cut::ThroughMember(Element::parse(member)),
            MemberBound::Excluded(member) => Cut::BelowMember(Element::parse(member)),
        };
        self.ranks_between(&start, &end)
    }

    /// The members of the ascending ranks `ranks` with their scores, in `order`.
    pub fn range(self, ranks: Range<usize>, order: Order) -> ZSetIter<'a> {
        let end = ranks.end.min(self.len());
        let start = ranks.start.min(end);
        ZSetIter::new(self, start..end, order)
    }

    /// All members with their scores, lowest first.
    pub fn iter(self) -> ZSetIter<'a> {
        self.range(0..usize::MAX, Order::Ascending)
    }

    /// One member chosen by `random`.
    pub fn random(self, random: u64) -> Option<(Element<'a>, f64)> {
        match self.len() {
            0 => None,
            len => {
                let rank = rank_of(random, len);
                self.range(rank..rank + 1, Order::Ascending).next()
            }
        }
    }

    /// Up to `count` different members chosen at random.
    pub fn random_distinct(self, count: usize, random: Random<'_>) -> Vec<(Element<'a>, f64)> {
        let len = self.len();
        if let ZSetRef::Tree(_) = self
            && count < len / 16
        {
            let ranks = distinct_ranks(count, len, random);
            return ranks
                .into_iter()
                .filter_map(|rank| self.range(rank..rank + 1, Order::Ascending).next())
                .collect();
        }
        super::sample::select(count.min(len), len, self.iter(), random)
    }

    /// Calls `f` with `count` members chosen at random, each of all.
    pub fn random_repeated(
        self,
        count: usize,
        random: Random<'_>,
        f: &mut dyn FnMut(Element<'a>, f64),
    ) {
        match self {
            ZSetRef::Packed(_) => {
                let members: Vec<_> = self.iter().collect();
                if !members.is_empty() {
                    for _ in 0..count {
                        let (member, score) = members[rank_of(random(), members.len())];
                        f(member, score);
                    }
                }
            }
            ZSetRef::Tree(_) => {
                for _ in 0..count {
                    if let Some((member, score)) = self.random(random()) {
                        f(member, score);
                    }
                }
            }
        }
    }

    /// Calls `f` with about `count` members from `cursor` on and returns the next cursor, 0 at
    /// the end. A packed sorted set is returned at once.
    pub fn scan(self, cursor: u64, count: usize, f: &mut dyn FnMut(Element<'_>, f64)) -> u64 {
        match self {
            ZSetRef::Packed(_) => {
                self.iter().for_each(|(member, score)| f(member, score));
                0
            }
            ZSetRef::Tree(zset) => zset.tree.scan(cursor, count, f),
        }
    }

    /// Bytes of owned heap blocks, O(1). A packed sorted set has none: its bytes are its
    /// holder's.
    pub fn heap_bytes(self) -> usize {
        match self {
            ZSetRef::Packed(_) => 0,
            ZSetRef::Tree(zset) => good_size(size_of::<ZSetTree>()) + zset.tree.heap_bytes(),
        }
    }

    /// The same as [`ZSetRef::heap_bytes`], recomputed by walking.
    pub fn heap_bytes_walked(self) -> usize {
        match self {
            ZSetRef::Packed(_) => 0,
            ZSetRef::Tree(zset) => good_size(size_of::<ZSetTree>()) + zset.tree.heap_bytes_walked(),
        }
    }

    /// The encoding that OBJECT ENCODING reports.
    pub fn encoding(self) -> &'static str {
        let listpack = match self {
            ZSetRef::Packed(bytes) => !has_marker(bytes),
            ZSetRef::Tree(zset) => zset.reports_listpack,
        };
        if listpack { "listpack" } else { "skiplist" }
    }

    /// A copy that owns its memory.
    pub fn to_owned(self) -> ZSet {
        match self {
            ZSetRef::Packed(bytes) => ZSet::Packed(bytes.to_vec()),
            ZSetRef::Tree(zset) => {
                let mut tree = RankedTree::new();
                for (member, score) in self.iter() {
                    member.with_bytes(|member| tree.insert(member, score));
                }
                ZSet::Tree(Box::new(ZSetTree { tree, ..*zset }))
            }
        }
    }

    fn ranks_between(self, start: &Cut<'_>, end: &Cut<'_>) -> Range<usize> {
        let rank = |cut| match self {
            ZSetRef::Packed(bytes) => position(bytes, body(bytes), cut).1,
            ZSetRef::Tree(zset) => zset.tree.rank_of_cut(cut),
        };
        let start = rank(start);
        start..rank(end).max(start)
    }
}

#[cfg(test)]
impl ZSetTree {
    /// Checks every invariant of the tree.
    pub(super) fn check(&self) {
        self.tree.check();
    }
}

/// Members with their scores, in order. See [`ZSetRef::range`].
#[derive(Clone, Debug)]
pub struct ZSetIter<'a> {
    tree: Option<(&'a RankedTree, LeafId)>,
    run: &'a [u8],
    /// Ascending: offset of the next pair.
    at: usize,
    /// Descending: offsets of the pairs of the run that are still to come.
    offsets: SmallVec<[u32; 64]>,
    remaining: usize,
    order: Order,
}

impl<'a> ZSetIter<'a> {
    fn new(zset: ZSetRef<'a>, ranks: Range<usize>, order: Order) -> ZSetIter<'a> {
        let remaining = ranks.len();
        let mut iter =
            ZSetIter { tree: None, run: &[], at: 0, offsets: SmallVec::new(), remaining, order };
        if remaining == 0 {
            return iter;
        }
        let first = match order {
            Order::Ascending => ranks.start,
            Order::Descending => ranks.end - 1,
        };
        let (start, rank) = match zset {
            ZSetRef::Packed(bytes) => {
                iter.run = bytes;
                (body(bytes), first)
            }
            ZSetRef::Tree(zset) => {
                let (leaf, rank) = zset.tree.select(first);
                iter.tree = Some((&zset.tree, leaf));
                iter.run = zset.tree.run(leaf);
                (0, rank)
            }
        };
        match order {
            Order::Ascending => iter.at = packed::skip_many(iter.run, start, 2 * rank),
            Order::Descending => {
                iter.offsets = packed::offsets(iter.run, start, 2);
                iter.offsets.truncate(rank + 1);
            }
        }
        iter
    }

    /// Goes on to the neighbouring leaf.
    fn turn(&mut self) -> Option<()> {
        let (tree, leaf) = self.tree?;
        let leaf = match self.order {
            Order::Ascending => tree.next_leaf(leaf)?,
            Order::Descending => tree.previous_leaf(leaf)?,
        };
        self.tree = Some((tree, leaf));
        self.run = tree.run(leaf);
        self.at = 0;
        if self.order == Order::Descending {
            self.offsets = packed::offsets(self.run, 0, 2);
        }
        Some(())
    }
}

impl<'a> Iterator for ZSetIter<'a> {
    type Item = (Element<'a>, f64);

    fn next(&mut self) -> Option<(Element<'a>, f64)> {
        self.remaining = self.remaining.checked_sub(1)?;
        let at = match self.order {
            Order::Ascending => {
                if self.at >= self.run.len() {
                    self.turn()?;
                }
                self.at
            }
            Order::Descending => {
                if self.offsets.is_empty() {
                    self.turn()?;
                }
                self.offsets.pop()? as usize
            }
        };
        let (member, score, next) = zset_run::pair(self.run, at);
        self.at = next;
        Some((member, score))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl ExactSizeIterator for ZSetIter<'_> {}
