//! The best candidates for eviction that sampling has met: as in Redis, what one round does not
//! evict the next compares with.

/// Candidates that are kept.
const CANDIDATES_MAX: usize = 16;

/// A key that may be evicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The higher, the sooner it goes.
    pub(super) score: u64,
    /// Where it is.
    pub(super) slot: u16,
    /// In which database.
    pub(super) db: u8,
    /// Its name.
    pub(super) key: Vec<u8>,
}

/// The best candidates, the very best last.
#[derive(Debug, Default)]
pub(super) struct Pool {
    candidates: Vec<Candidate>,
    key_bytes: usize,
}

impl Pool {
    /// Keeps a key if it is among the best.
    pub(super) fn offer(&mut self, score: u64, slot: u16, db: u8, key: &[u8]) {
        let is_full = self.candidates.len() >= CANDIDATES_MAX;
        if is_full && self.candidates.first().is_some_and(|worst| worst.score >= score) {
            return;
        }
        let same = |other: &Candidate| other.slot == slot && other.db == db && other.key == key;
        if let Some(at) = self.candidates.iter().position(same) {
            self.remove(at);
        } else if is_full {
            self.remove(0);
        }
        let at = self.candidates.partition_point(|other| other.score < score);
        self.key_bytes += key.len();
        self.candidates.insert(at, Candidate { score, slot, db, key: key.to_vec() });
    }

    /// The best one.
    pub(super) fn best(&self) -> Option<&Candidate> {
        self.candidates.last()
    }

    /// Takes the best one out.
    pub(super) fn take_best(&mut self) -> Option<Candidate> {
        let last = self.candidates.len().checked_sub(1)?;
        Some(self.remove(last))
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Pool::default();
    }

    /// Bytes on the heap, about: names are counted as long as they are.
    pub(super) fn heap_bytes(&self) -> usize {
        self.candidates.capacity() * size_of::<Candidate>() + self.key_bytes
    }

    fn remove(&mut self, at: usize) -> Candidate {
        let removed = self.candidates.remove(at);
        self.key_bytes -= removed.key.len();
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_kept_once_each() {
        let mut pool = Pool::default();
        for n in 0..40_u64 {
            let score = n * 7 % 40;
            pool.offer(score, 1, 0, format!("k{score}").as_bytes());
            pool.offer(score, 1, 0, format!("k{score}").as_bytes());
        }
        let mut scores = Vec::new();
        while let Some(best) = pool.take_best() {
            assert_eq!(best.key, format!("k{}", best.score).into_bytes());
            scores.push(best.score);
        }
        assert_eq!(scores, (24..40).rev().collect::<Vec<_>>());
        assert_eq!(pool.key_bytes, 0);
    }

    #[test]
    fn a_key_that_is_met_again_has_its_newest_score() {
        let mut pool = Pool::default();
        pool.offer(9, 1, 0, b"a");
        pool.offer(5, 1, 0, b"b");
        pool.offer(3, 1, 0, b"a");
        pool.offer(4, 2, 0, b"a");
        let order: Vec<u64> = std::iter::from_fn(|| pool.take_best()).map(|c| c.score).collect();
        assert_eq!(order, [5, 4, 3]);
    }
}
