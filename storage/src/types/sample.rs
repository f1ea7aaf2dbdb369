//! Choosing random elements: ranks for what is addressed by rank, selection for what is walked.

use std::collections::HashSet;

/// A source of uniform 64-bit random numbers; the caller owns the generator and its seed.
pub type Random<'r> = &'r mut dyn FnMut() -> u64;

/// Maps a random number to a rank below `len` (which is not 0), uniformly.
#[inline]
pub(crate) fn rank_of(random: u64, len: usize) -> usize {
    ((u128::from(random) * len as u128) >> 64) as usize
}

/// `count` different ranks below `len` (all of them if there are fewer), ascending.
pub(crate) fn distinct_ranks(count: usize, len: usize, random: Random<'_>) -> Vec<usize> {
    if count >= len {
        return (0..len).collect();
    }
    if count > len / 3 {
        return select(count, len, 0..len, random);
    }
    // Floyd: each step adds one rank, whatever was chosen before.
    let mut chosen = HashSet::with_capacity(count);
    for last in len - count..len {
        let rank = rank_of(random(), last + 1);
        if !chosen.insert(rank) {
            chosen.insert(last);
        }
    }
    let mut ranks: Vec<usize> = chosen.into_iter().collect();
    ranks.sort_unstable();
    ranks
}

/// Selects `count` of the `len` items that `items` yields, in their order, uniformly.
pub(crate) fn select<T>(
    count: usize,
    len: usize,
    items: impl Iterator<Item = T>,
    random: Random<'_>,
) -> Vec<T> {
    let mut chosen = Vec::with_capacity(count.min(len));
    for (seen, item) in items.enumerate() {
        let wanted = count - chosen.len();
        if wanted == 0 {
            break;
        }
        if rank_of(random(), len - seen) < wanted {
            chosen.push(item);
        }
    }
    chosen
}

/// Either of two iterators over the same items.
#[derive(Clone)]
pub(crate) enum Either<A, B> {
    Left(A),
    Right(B),
}

impl<T, A: Iterator<Item = T>, B: Iterator<Item = T>> Iterator for Either<A, B> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        match self {
            Either::Left(left) => left.next(),
            Either::Right(right) => right.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranks_are_distinct_and_enough(count in 0usize..60, len in 0usize..60, seed: u64) {
            let mut state = seed;
            let mut random = || {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d);
                state = state.wrapping_add(0x1405_7b7e_f767_814f);
                state ^ (state >> 29)
            };
            let ranks = distinct_ranks(count, len, &mut random);
            prop_assert_eq!(ranks.len(), count.min(len));
            prop_assert!(ranks.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(ranks.iter().all(|&rank| rank < len));
        }
    }
}
