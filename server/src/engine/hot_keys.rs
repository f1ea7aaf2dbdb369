//! Which keys of a hot slot its commands are for, by the example of those that are timed: the
//! space-saving algorithm (Metwally, Agrawal, El Abbadi 2005) with few counters. A key that has
//! more than one in so many of the commands is among them.

/// Keys that are told apart at a time.
const KEYS_MAX: usize = 16;
/// Of a longer name the beginning is kept.
const NAME_BYTES_MAX: usize = 128;
/// After so many commands what was before counts half: a key that is hot no more makes way.
const COMMANDS_MAX: u64 = 1 << 20;
/// Before so many commands nothing is said: the timed ones are too few.
const COMMANDS_MIN: u64 = 1 << 10;

/// Counts of the keys of one slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct HotKeys {
    keys: Vec<Counted>,
    commands: u64,
}

/// A key with its commands, and by how many too many they may be.
#[derive(Clone, Debug)]
struct Counted {
    name: Vec<u8>,
    commands: u64,
    excess: u64,
}

impl HotKeys {
    /// So many commands were for this key.
    pub(crate) fn count(&mut self, key: &[u8], commands: u64) {
        let name = &key[..key.len().min(NAME_BYTES_MAX)];
        if self.commands >= COMMANDS_MAX {
            self.commands /= 2;
            for counted in &mut self.keys {
                counted.commands /= 2;
                counted.excess /= 2;
            }
        }
        self.commands += commands;
        if let Some(counted) = self.keys.iter_mut().find(|counted| counted.name == name) {
            counted.commands += commands;
        } else if self.keys.len() < KEYS_MAX {
            self.keys.push(Counted { name: name.to_vec(), commands, excess: 0 });
        } else if let Some(least) = self.keys.iter_mut().min_by_key(|counted| counted.commands) {
            // The new key may have had as many before, unseen.
            least.name.clear();
            least.name.extend_from_slice(name);
            least.excess = least.commands;
            least.commands += commands;
        }
    }

    /// The key with most commands, and the part of all that it has at least.
    pub(crate) fn hottest(&self) -> Option<(&[u8], f64)> {
        if self.commands < COMMANDS_MIN {
            return None;
        }
        let sure = |counted: &Counted| counted.commands - counted.excess;
        let hottest = self.keys.iter().max_by_key(|counted| sure(counted))?;
        #[allow(clippy::cast_precision_loss, reason = "a part")]
        let part = sure(hottest) as f64 / self.commands.max(1) as f64;
        Some((&hottest.name, part))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_with_a_large_part_is_named_with_no_more_than_it_has(
            keys in prop::collection::vec(0..40_u32, 32..600),
            hot in 40..60_u32,
            every in 1..4_usize,
        ) {
            let (mut counts, mut seen) = (HotKeys::default(), HashMap::<u32, u64>::new());
            for (at, key) in keys.iter().enumerate() {
                let also = at.is_multiple_of(every).then_some(hot);
                for key in [Some(*key), also].into_iter().flatten() {
                    counts.count(key.to_string().as_bytes(), 32);
                    *seen.entry(key).or_default() += 32;
                }
            }
            prop_assert!(counts.keys.len() <= KEYS_MAX);
            let (name, part) = counts.hottest().expect("something was counted");
            let name: u32 = std::str::from_utf8(name).unwrap().parse().unwrap();
            let all: u64 = seen.values().sum();
            prop_assert!(part <= seen[&name] as f64 / all as f64 + 1e-9);
            for counted in &counts.keys {
                let key: u32 = std::str::from_utf8(&counted.name).unwrap().parse().unwrap();
                let least = counted.commands - counted.excess;
                prop_assert!((least..=counted.commands).contains(&seen[&key]));
            }
            // What has more than one command in so many cannot have been pushed out.
            for (key, count) in seen {
                let is_there = counts.keys.iter().any(|of| of.name == key.to_string().as_bytes());
                prop_assert!(is_there || count <= all / KEYS_MAX as u64);
            }
        }
    }

    #[test]
    fn long_names_are_cut_and_few_commands_say_nothing() {
        let mut counts = HotKeys::default();
        counts.count(&[b'x'; 1000], COMMANDS_MIN - 1);
        assert!(counts.hottest().is_none(), "too few");
        counts.count(&[b'x'; 1000], 1);
        let (name, part) = counts.hottest().expect("one");
        assert_eq!((name.len(), part), (NAME_BYTES_MAX, 1.0));
    }

    #[test]
    fn a_key_that_is_hot_no_more_makes_way() {
        let mut counts = HotKeys::default();
        (0..100_000).for_each(|_| counts.count(b"before", 32));
        (0..100_000).for_each(|_| counts.count(b"now", 32));
        let (name, part) = counts.hottest().expect("one");
        assert_eq!(name, b"now");
        assert!(part > 0.8, "{part}");
    }
}
