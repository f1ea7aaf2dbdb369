//! Which slots of a source should go to a target: about `want` bytes, never more than `most`.
//!
//! Where ranges matter (node tier), contiguous pieces that touch the target's slots come first;
//! otherwise the largest slots that fit, so that the fewest slots move.

use super::ledger::{BinIndex, Ledger, NOBODY, slot_number};

/// How much of `want` a piece must reach, best first (per cent).
const RELAXED: [u64; 5] = [100, 80, 50, 25, 10];
/// A piece may overshoot `want` by a fiftieth.
const OVERSHOOT: u64 = 50;
/// Below this part of `want` in its largest piece, a source counts as shredded.
const SHRED: u64 = 10;

/// How many bytes are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    /// The aim.
    pub(crate) bytes: u64,
    /// The most that target and source allow.
    pub(crate) most: u64,
    /// Whether a slot may reach beyond the aim to cover what is left of it.
    pub(crate) cover: bool,
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
    let picked = subset(ledger, from, to, want);
    let Some(left) = ranges_left else { return picked };
    within_ranges(ledger, to, &picked, left)
}

/// Largest first, as long as they fit into what is wanted; then the smallest that covers the rest.
fn subset(ledger: &mut Ledger, from: BinIndex, to: BinIndex, want: Want) -> Vec<u16> {
    let aim = want.bytes.min(want.most);
    let members = &ledger.members[from];
    let mut rest = aim;
    let mut picked = Vec::new();
    let start = members.partition_point(|&slot| ledger.size(slot) <= rest);
    for &slot in members[..start].iter().rev() {
        if rest == 0 {
            break;
        }
        let bytes = ledger.size(slot);
        if bytes <= rest && !ledger.is_barred(slot, to) {
            picked.push(slot);
            rest -= bytes;
        }
    }
    if rest > 0 && want.cover {
        let most = want.most - (aim - rest);
        let at = members.partition_point(|&slot| ledger.size(slot) < rest);
        let cover = members[at..]
            .iter()
            .take_while(|&&slot| ledger.size(slot) <= most)
            .find(|&&slot| !ledger.is_barred(slot, to) && !picked.contains(&slot));
        picked.extend(cover);
    }
    ledger.effort += start as u64;
    picked
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
