//! Which slots of a source should go to a target: about `want` bytes, never more than `most`.
//!
//! Where ranges matter (node tier), contiguous pieces that touch the target's slots come first;
//! otherwise the largest slots that fit, so that the fewest slots move. There a move costs the
//! same whatever its slot holds, so a hundred crumbs that fill the last gap to the byte are dearer
//! than one slot that is a little too large.

use super::ledger::{BinIndex, Ledger, NOBODY, slot_number};

/// How much of `want` a piece must reach, best first (per cent).
const RELAXED: [u64; 5] = [100, 80, 50, 25, 10];
/// A piece may overshoot `want` by a fiftieth.
const OVERSHOOT: u64 = 50;
/// Below this part of `want` in its largest piece, a source counts as shredded.
const SHRED: u64 = 10;

/// A carry of the thread tier ends with one slot more if that adds no more than this part of what
/// is moved anyway.
const FREE_PART: u64 = 200;
/// From so many slots that the rest would take …
const FINISH_FEW: u64 = 8;
/// … one slot may add this part,
const CHEAP_PART: u64 = 32;
/// and from so many on this part.
const FINISH_MAX: u64 = 64;
const LAST_PART: u64 = 20;

/// How many bytes are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    /// The aim.
    pub(crate) bytes: u64,
    /// The most that target and source allow.
    pub(crate) most: u64,
    /// Whether a slot may reach beyond the aim to cover what is left of it.
    pub(crate) cover: bool,
    /// What one bin has to give or take in the whole plan: overshoots are measured by it.
    pub(crate) scale: u64,
}

/// Slots to move, ascending or in order of choice; empty if nothing fits.
pub(crate) fn pick(
    ledger: &mut Ledger,
    from: BinIndex,
    to: BinIndex,
    want: Want,
    pieces: bool,
    ranges_left: Option<i64>,
) -> Vec<u16> {
    if want.bytes == 0 || want.most == 0 {
        return Vec::new();
    }
    if pieces {
        let picked = piece(ledger, from, to, want, ranges_left);
        if !picked.is_empty() {
            return picked;
        }
    }
    let picked = subset(ledger, from, to, want, !pieces);
    let Some(left) = ranges_left else { return picked };
    within_ranges(ledger, to, &picked, left)
}

/// Largest first, as long as they fit into what is wanted; then the smallest that covers the rest.
/// Where only whole slots count (thread tier), the end comes early: with the first slot that
/// covers what is left at hardly any more bytes, or before the crumbs begin.
fn subset(ledger: &mut Ledger, from: BinIndex, to: BinIndex, want: Want, few: bool) -> Vec<u16> {
    let aim = want.bytes.min(want.most);
    let mut choice = Choice { ledger, from, to, taken: Vec::new(), rest: aim };
    let mut at = choice.first_above(aim.saturating_add(1));
    let steps = at as u64;
    while at > 0 && choice.rest > 0 {
        let size = choice.size(at - 1);
        if few && choice.is_covered(size, aim, want) {
            break;
        }
        at -= 1;
        if size <= choice.rest && choice.is_free(at) {
            choice.take(at);
        }
    }
    if choice.rest > 0 && want.cover {
        choice.cover(want.most - (aim - choice.rest));
    }
    let picked = choice.slots();
    ledger.effort += steps;
    picked
}

/// Slots of `from` being chosen for `to`, by their position among the bin's members.
struct Choice<'a> {
    ledger: &'a Ledger,
    from: BinIndex,
    to: BinIndex,
    /// Descending, as long as nothing was covered.
    taken: Vec<usize>,
    rest: u64,
}

impl Choice<'_> {
    fn size(&self, at: usize) -> u64 {
        self.ledger.size(self.ledger.members[self.from][at])
    }

    /// Position of the smallest slot of at least `bytes`.
    fn first_above(&self, bytes: u64) -> usize {
        self.ledger.members[self.from].partition_point(|&slot| self.ledger.size(slot) < bytes)
    }

    fn is_free(&self, at: usize) -> bool {
        !self.ledger.is_barred(self.ledger.members[self.from][at], self.to)
    }

    fn is_taken(&self, at: usize) -> bool {
        self.taken.binary_search_by(|taken| at.cmp(taken)).is_ok()
    }

    fn take(&mut self, at: usize) {
        self.rest = self.rest.saturating_sub(self.size(at));
        self.taken.push(at);
    }

    /// Ends the choice with one slot of at least the rest and at most `most`, if there is one.
    fn cover(&mut self, most: u64) -> bool {
        let first = self.first_above(self.rest);
        let found = (first..self.ledger.members[self.from].len())
            .take_while(|&at| self.size(at) <= most)
            .find(|&at| self.is_free(at) && !self.is_taken(at));
        found.map(|at| self.take(at)).is_some()
    }

    /// Covers the rest if that costs next to nothing, or if slots of `size`, the largest that may
    /// be left, would make too many. Called for the largest first, so the test is cheap.
    fn is_covered(&mut self, size: u64, aim: u64, want: Want) -> bool {
        let crumbs = self.rest / size.max(1);
        let part = match crumbs {
            0..FINISH_FEW => FREE_PART,
            FINISH_FEW..FINISH_MAX => CHEAP_PART,
            _ => LAST_PART,
        };
        let room = want.most - (aim - self.rest);
        self.cover(room.min(self.rest.saturating_add(aim.max(want.scale) / part)))
    }

    fn slots(&self) -> Vec<u16> {
        self.taken.iter().map(|&at| self.ledger.members[self.from][at]).collect()
    }
}

/// The first of the slots that the limit on ranges allows. One at a time: the next slot's change
/// of ranges depends on where this one went.
fn within_ranges(ledger: &Ledger, to: BinIndex, slots: &[u16], left: i64) -> Vec<u16> {
    let allowed = slots.iter().copied().find(|&slot| {
        let at = usize::from(slot);
        i64::from(ledger.ranges_delta(at, at, to)) <= left
    });
    allowed.into_iter().collect()
}

/// A contiguous piece and how good it is.
#[derive(Clone, Copy, Debug)]
struct Piece {
    lo: usize,
    hi: usize,
    /// Index into [`RELAXED`], change of ranges, distance from the aim: smaller is better.
    key: (usize, i32, u64, usize),
}

struct Search<'a> {
    ledger: &'a Ledger,
    to: BinIndex,
    aim: u64,
    most: u64,
    ranges_left: Option<i64>,
    best: Option<Piece>,
}

fn piece(
    ledger: &mut Ledger,
    from: BinIndex,
    to: BinIndex,
    want: Want,
    ranges_left: Option<i64>,
) -> Vec<u16> {
    let runs = runs_of(ledger, from, to);
    ledger.effort += ledger.owner.len() as u64 / 8 + runs.len() as u64 * 8;
    let aim = want.bytes.min(want.most);
    let most = aim.saturating_add(aim / OVERSHOOT).min(want.most);
    let mut search = Search { ledger, to, aim, most, ranges_left, best: None };
    let largest = runs.iter().map(|&(lo, hi)| search.sum(lo, hi)).max().unwrap_or(0);
    if largest < aim / SHRED {
        return Vec::new();
    }
    for &(lo, hi) in &runs {
        search.ends(lo, hi);
    }
    if search.best.is_none_or(|piece| piece.key.0 > 0) {
        for &(lo, hi) in &runs {
            search.inside(lo, hi);
        }
    }
    let Some(best) = search.best else { return Vec::new() };
    (best.lo..=best.hi).map(slot_number).collect()
}

impl Search<'_> {
    fn sum(&self, lo: usize, hi: usize) -> u64 {
        self.ledger.prefix[hi + 1] - self.ledger.prefix[lo]
    }

    /// Takes `lo..=hi` if it is better than the best so far.
    fn offer(&mut self, lo: usize, hi: usize) {
        let bytes = self.sum(lo, hi);
        if bytes == 0 || bytes > self.most {
            return;
        }
        let share = u128::from(bytes) * 100 / u128::from(self.aim.max(1));
        let Some(class) = RELAXED.iter().position(|&part| share >= u128::from(part)) else {
            return;
        };
        let delta = self.ledger.ranges_delta(lo, hi, self.to);
        if self.ranges_left.is_some_and(|left| i64::from(delta) > left) {
            return;
        }
        let key = (class, delta, self.aim.abs_diff(bytes), lo);
        if self.best.is_none_or(|best| key < best.key) {
            self.best = Some(Piece { lo, hi, key });
        }
    }

    /// The whole run, and the prefix and suffix closest to the aim.
    fn ends(&mut self, lo: usize, hi: usize) {
        self.offer(lo, hi);
        let prefix = &self.ledger.prefix;
        let reach = prefix[lo] + self.aim;
        let end = lo + prefix[lo + 1..=hi + 1].partition_point(|&sum| sum < reach);
        for end in [end, end.wrapping_sub(1)] {
            if (lo..=hi).contains(&end) {
                self.offer(lo, end);
            }
        }
        let reach = prefix[hi + 1].saturating_sub(self.aim);
        let start = lo + prefix[lo..=hi].partition_point(|&sum| sum <= reach);
        for start in [start.wrapping_sub(1), start] {
            if (lo..=hi).contains(&start) {
                self.offer(start, hi);
            }
        }
    }

    /// Every inner piece that just reaches the aim.
    fn inside(&mut self, lo: usize, hi: usize) {
        let mut end = lo;
        for start in lo..=hi {
            end = end.max(start);
            while end < hi && self.sum(start, end) < self.aim {
                end += 1;
            }
            if self.sum(start, end) < self.aim {
                break;
            }
            self.offer(start, end);
        }
    }
}

/// Runs of neighbouring slots of `from` that may all go to `to`.
fn runs_of(ledger: &Ledger, from: BinIndex, to: BinIndex) -> Vec<(usize, usize)> {
    let owner = u16::try_from(from).unwrap_or(NOBODY);
    let bars = ledger.has_bars();
    let mut runs = Vec::new();
    let mut start = None;
    for slot in 0..ledger.owner.len() {
        let movable = ledger.owner[slot] == owner
            && ledger.free[slot]
            && !(bars && ledger.is_barred(slot_number(slot), to));
        match (movable, start) {
            (true, None) => start = Some(slot),
            (false, Some(lo)) => {
                runs.push((lo, slot - 1));
                start = None;
            }
            _ => {}
        }
    }
    if let Some(lo) = start {
        runs.push((lo, ledger.owner.len() - 1));
    }
    runs
}
