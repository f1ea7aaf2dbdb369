//! A run: members with their scores in one packed string, ordered by (score, member). A small
//! sorted set is one run; a large one is a tree whose leaves are runs.

use std::cmp::Ordering;

use super::element::Element;
use super::packed::{self, Encoded, find, read, read_score, skip, splice};

/// Where an ordered sequence of (score, member) is cut in two: everything before comes first.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut<'a> {
    /// Before everything.
    Start,
    /// After everything.
    End,
    /// Before the first score that is not below this one.
    BelowScore(f64),
    /// After the last score that is not above this one.
    ThroughScore(f64),
    /// Before the first member that is not below this one, scores being equal.
    BelowMember(Element<'a>),
    /// After the last member that is not above this one, scores being equal.
    ThroughMember(Element<'a>),
    /// Where this pair is, or would be.
    Pair(f64, Element<'a>),
}

impl Cut<'_> {
    /// Whether the pair lies before the cut. `member` is asked for only where it matters.
    #[inline]
    pub(crate) fn is_after<'m>(&self, score: f64, member: impl FnOnce() -> Element<'m>) -> bool {
        let text = |name: Element<'_>| member().cmp_text(name);
        match *self {
            Cut::Start => false,
            Cut::End => true,
            Cut::BelowScore(bound) => score < bound,
            Cut::ThroughScore(bound) => score <= bound,
            Cut::BelowMember(bound) => text(bound) == Ordering::Less,
            Cut::ThroughMember(bound) => text(bound) != Ordering::Greater,
            Cut::Pair(bound, name) => {
                score < bound || (score == bound && text(name) == Ordering::Less)
            }
        }
    }
}

/// The pair at offset `at`, and the offset of the next one.
#[inline]
pub(crate) fn pair(bytes: &[u8], at: usize) -> (Element<'_>, f64, usize) {
    let (member, at) = read(bytes, at);
    let (score, next) = read_score(bytes, at);
    (member, score, next)
}

/// Offset of `member`'s pair, and its score.
pub(crate) fn lookup(bytes: &[u8], start: usize, member: &Encoded) -> Option<(usize, f64)> {
    let at = find(bytes, start, 2, member).ok()?;
    Some((at, read_score(bytes, at + member.bytes().len()).0))
}

/// Offset of the first pair that is not before `cut`, and the number of pairs before it.
pub(crate) fn position(bytes: &[u8], start: usize, cut: &Cut<'_>) -> (usize, usize) {
    let name = |at: usize| read(bytes, at).0;
    match *cut {
        // What most insertions and ranges by score ask: scores alone, in a tight loop.
        Cut::BelowScore(bound) => walk(bytes, start, |score, _| score < bound),
        Cut::Pair(bound, member) => walk(bytes, start, |score, at| {
            score < bound || (score == bound && name(at).cmp_text(member).is_lt())
        }),
        _ => walk(bytes, start, |score, at| cut.is_after(score, || name(at))),
    }
}

/// Walks on while `before` holds: offset of the first pair where it does not, and its number.
#[inline]
fn walk(bytes: &[u8], start: usize, before: impl Fn(f64, usize) -> bool) -> (usize, usize) {
    let (mut at, mut rank) = (start, 0);
    while at < bytes.len() {
        let (score, next) = read_score(bytes, skip(bytes, at));
        if !before(score, at) {
            break;
        }
        at = next;
        rank += 1;
    }
    (at, rank)
}

/// Number of pairs between the offsets `from` and `to`.
pub(crate) fn pairs_between(bytes: &[u8], from: usize, to: usize) -> usize {
    packed::count(&bytes[..to], from) / 2
}

/// Offset behind the pair at `at`.
pub(crate) fn pair_end(bytes: &[u8], at: usize) -> usize {
    skip(bytes, skip(bytes, at))
}

/// Puts a pair at offset `at`.
pub(crate) fn insert_at(bytes: &mut Vec<u8>, at: usize, member: &Encoded, score: f64) {
    splice(bytes, at, 0, &[member.bytes(), Encoded::score(score).bytes()]);
}
