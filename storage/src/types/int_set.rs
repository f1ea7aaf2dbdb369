//! Sorted packed integers: the form of sets that hold nothing else.
//!
//! One byte with the width (1 to 8), then the values in ascending order, each in that many bytes,
//! little endian. An empty string is the empty set.

use super::packed::{int_from_le, int_width, splice};

/// Largest sorted form, in bytes: what one insertion moves at most.
pub(crate) const INTS_BYTES_MAX: usize = 4 * 1024 + 1;

#[inline]
fn width(bytes: &[u8]) -> usize {
    bytes.first().map_or(1, |&width| width as usize)
}

/// Number of values.
#[inline]
pub(crate) fn len(bytes: &[u8]) -> usize {
    bytes.len().saturating_sub(1) / width(bytes)
}

/// The value of rank `rank`, which must be below the length.
#[inline]
pub(crate) fn value(bytes: &[u8], rank: usize) -> i64 {
    let width = width(bytes);
    let at = 1 + rank * width;
    int_from_le(&bytes[at..at + width])
}

/// All values, ascending.
pub(crate) fn iter(bytes: &[u8]) -> impl Iterator<Item = i64> + '_ {
    bytes.get(1..).unwrap_or_default().chunks_exact(width(bytes)).map(int_from_le)
}

/// The rank of `wanted`, or the rank it would have.
pub(crate) fn search(bytes: &[u8], wanted: i64) -> Result<usize, usize> {
    let (mut low, mut high) = (0, len(bytes));
    while low < high {
        let middle = low.midpoint(high);
        let found = value(bytes, middle);
        if found == wanted {
            return Ok(middle);
        }
        if found < wanted {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Err(low)
}

/// Adds `value`; whether it is new.
pub(crate) fn insert(bytes: &mut Vec<u8>, value: i64) -> bool {
    let Err(rank) = search(bytes, value) else {
        return false;
    };
    let needed = int_width(value);
    if bytes.is_empty() {
        bytes.push(needed as u8);
    } else if needed > width(bytes) {
        let mut wide = Vec::with_capacity(1 + (len(bytes) + 1) * needed);
        wide.push(needed as u8);
        for value in iter(bytes) {
            wide.extend_from_slice(&value.to_le_bytes()[..needed]);
        }
        *bytes = wide;
    }
    let width = width(bytes);
    splice(bytes, 1 + rank * width, 0, &[&value.to_le_bytes()[..width]]);
    true
}

/// Removes the value of rank `rank`.
pub(crate) fn remove_at(bytes: &mut Vec<u8>, rank: usize) {
    let width = width(bytes);
    splice(bytes, 1 + rank * width, width, &[]);
    if bytes.len() == 1 {
        bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn equals_a_sorted_set(
            steps in prop::collection::vec((any::<bool>(), prop_oneof![
                any::<i64>(), -300i64..300, -40i64..40,
            ]), 0..200),
        ) {
            let (mut bytes, mut model) = (Vec::new(), BTreeSet::new());
            for (add, value) in steps {
                if add {
                    prop_assert_eq!(insert(&mut bytes, value), model.insert(value));
                } else {
                    let found = search(&bytes, value);
                    prop_assert_eq!(found.is_ok(), model.remove(&value));
                    if let Ok(rank) = found {
                        remove_at(&mut bytes, rank);
                    }
                }
                prop_assert_eq!(len(&bytes), model.len());
                prop_assert!(iter(&bytes).eq(model.iter().copied()));
            }
        }
    }
}
