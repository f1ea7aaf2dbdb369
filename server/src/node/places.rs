//! Where connections should be: room that a shard has for those of others, and how many of its own
//! it lets go because it works much more than the idlest.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use crate::ids::ShardId;

/// Connections that a shard takes until its next cron.
const PLACES: u32 = 8;
/// A shard that uses more than this of a core, in thousandths, takes none.
const BUSY_PERMILLE: u64 = 700;
/// Loads are averaged over so many microseconds.
const WINDOW_US: f64 = 1_000_000.0;
/// A shard below this part of its core keeps its connections.
const LOAD_MIN: f64 = 0.30;
/// …and one that is not so much above the idlest.
const EXCESS_MIN: f64 = 0.10;
/// The part of what is too much that goes in a second: half, so that the average can follow.
const RATE: f64 = 0.5;
/// In millionths, for atomics.
const MILLION: f64 = 1e6;

/// See the module. One per shard; only its thread writes, but for what others take.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// How many connections the shard may take until it says so again.
    room: AtomicU32,
    /// How much of its share of a core its thread uses, in millionths.
    load: AtomicU32,
    /// How many connections may go until it says so again, where to, and how large a part of the
    /// shard's traffic, in millionths, one of them may be.
    leave: AtomicU32,
    leave_to: AtomicU32,
    leave_part: AtomicU32,
}

impl Places {
    /// The shard has used `cpu_us` in the last `elapsed_us`; `core` of a core is its share.
    pub(crate) fn offer(&self, cpu_us: u64, elapsed_us: u64, core: f64) {
        let is_busy = cpu_us.saturating_mul(1000) > elapsed_us.saturating_mul(BUSY_PERMILLE);
        self.room.store(if is_busy { 0 } else { PLACES }, Relaxed);
        #[allow(clippy::cast_precision_loss, reason = "an average")]
        let (cpu_us, elapsed_us) = (cpu_us as f64, elapsed_us as f64);
        if elapsed_us > 0.0 {
            let now = cpu_us / elapsed_us / core.max(f64::EPSILON);
            let load = self.load() + (now - self.load()) * elapsed_us / (elapsed_us + WINDOW_US);
            self.load.store(millionths(load), Relaxed);
        }
    }

    /// How much of its share of a core the shard's thread uses, over the last second or so.
    pub(crate) fn load(&self) -> f64 {
        f64::from(self.load.load(Relaxed)) / MILLION
    }

    /// Takes a place, if there is one.
    pub(crate) fn take(&self) -> bool {
        take_one(&self.room)
    }

    /// Lets connections go until it says otherwise.
    pub(crate) fn let_go(&self, leave: Option<Leave>) {
        let Some(leave) = leave else { return self.leave.store(0, Relaxed) };
        self.leave_to.store(u32::from(leave.to.0), Relaxed);
        self.leave_part.store(millionths(leave.part_max), Relaxed);
        self.leave.store(leave.count, Relaxed);
    }

    /// Where a connection should go that causes `part` of the shard's traffic.
    pub(crate) fn leave(&self, part: impl FnOnce() -> f64) -> Option<ShardId> {
        if self.leave.load(Relaxed) == 0 || millionths(part()) > self.leave_part.load(Relaxed) {
            return None;
        }
        let to = ShardId(u16::try_from(self.leave_to.load(Relaxed)).ok()?);
        take_one(&self.leave).then_some(to)
    }
}

fn take_one(left: &AtomicU32) -> bool {
    left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
}

fn millionths(value: f64) -> u32 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let whole = (value * MILLION) as u32;
    whole
}

/// How many connections may go, and where to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Leave {
    count: u32,
    to: ShardId,
    /// The part of the shard's traffic that one of them may be: with a larger one the other shard
    /// would be as busy as this one is, and it would come back.
    part_max: f64,
}

/// How much more a shard works than others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Excess {
    /// Over the mean, as a part of its load.
    part: f64,
    /// Half of the way to the idlest, as a part of its load.
    half_way: f64,
    idlest: ShardId,
}

impl Excess {
    /// Of the shard `own`, if it is worth anything.
    pub(crate) fn of(loads: &[f64], own: ShardId) -> Option<Excess> {
        let mine = *loads.get(own.index())?;
        let idlest = (0..).map(ShardId).zip(loads).min_by(|a, b| a.1.total_cmp(b.1))?;
        if mine < LOAD_MIN || mine - idlest.1 < EXCESS_MIN {
            return None;
        }
        #[allow(clippy::cast_precision_loss, reason = "a count of threads")]
        let mean = loads.iter().sum::<f64>() / loads.len() as f64;
        let half_way = (mine - idlest.1) / 2.0 / mine;
        Some(Excess { part: (mine - mean).max(0.0) / mine, half_way, idlest: idlest.0 })
    }

    /// How many of the shard's `clients` may go in the next round, which takes as long as the last,
    /// `elapsed_us`. `owed` keeps parts of one.
    pub(crate) fn leave(&self, clients: u64, elapsed_us: u64, owed: &mut f64) -> Leave {
        #[allow(clippy::cast_precision_loss, reason = "an estimate")]
        let round = (elapsed_us as f64 / WINDOW_US).min(1.0) * clients as f64;
        *owed = (*owed + self.part * RATE * round).min(f64::from(PLACES));
        let count = owed.floor();
        *owed -= count;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few")]
        let count = count as u32;
        Leave { count, to: self.idlest, part_max: self.half_way }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_shard_takes_none_and_others_a_few() {
        let places = Places::default();
        assert!(!places.take());
        places.offer(50_000, 100_000, 1.0);
        assert_eq!((0..100).filter(|_| places.take()).count(), PLACES as usize);
        places.offer(71_000, 100_000, 1.0);
        assert!(!places.take());
    }

    #[test]
    fn the_load_is_that_of_a_second_and_of_its_share() {
        let places = Places::default();
        (0..100).for_each(|_| places.offer(30_000, 100_000, 0.5));
        assert!((places.load() - 0.6).abs() < 0.01);
        places.offer(0, 100_000, 0.5);
        assert!(places.load() > 0.5, "one round is not all");
    }

    #[test]
    fn level_or_idle_shards_keep_what_they_have() {
        let excess = |loads: &[f64]| Excess::of(loads, ShardId(0));
        assert_eq!(excess(&[0.25, 0.0]), None, "idle");
        assert_eq!(excess(&[0.5, 0.45, 0.41]), None, "level");
        assert_eq!(excess(&[0.4, 0.9]), None, "others do more");
        let much = excess(&[0.8, 0.3, 0.1, 0.4]).unwrap();
        assert_eq!(much.idlest, ShardId(2));
        assert!((much.part - 0.5).abs() < 1e-9 && (much.half_way - 0.4375).abs() < 1e-9);
    }

    /// A model: clients that cause the same load each, and averages that lag behind.
    #[test]
    fn shards_become_level_and_stay_so() {
        for clients in [4, 12, 50, 1_000] {
            let (mut at, mut owed) = ([clients, 0, 0, 0], [0.0; 4]);
            let places: [Places; 4] = Default::default();
            let mut last_move = 0;
            for round in 0..600 {
                for shard in 0..4 {
                    let cpu_us = 100_000 * 9 * at[shard] / (10 * clients);
                    places[shard].offer(cpu_us, 100_000, 1.0);
                }
                let loads: Vec<f64> = places.iter().map(Places::load).collect();
                for shard in 0..4 {
                    let own = ShardId(shard as u16);
                    let leave = Excess::of(&loads, own)
                        .map(|excess| excess.leave(at[shard], 100_000, &mut owed[shard]));
                    places[shard].let_go(leave);
                    while at[shard] > 0
                        && let Some(to) = places[shard].leave(|| 1.0 / at[shard] as f64)
                    {
                        at[shard] -= 1;
                        at[to.index()] += 1;
                        last_move = round;
                    }
                }
            }
            let (most, least) = (at.iter().max().unwrap(), at.iter().min().unwrap());
            assert!(9 * (most - least) <= clients + 9, "{at:?}");
            assert!(last_move < 300, "{clients} clients: still moving in round {last_move}");
        }
    }

    /// A connection that is all of the load would take it along.
    #[test]
    fn one_client_that_does_it_all_stays() {
        let places = Places::default();
        let excess = Excess::of(&[0.9, 0.0], ShardId(0)).unwrap();
        places.let_go(Some(excess.leave(100, 100_000, &mut 1.0)));
        assert_eq!(places.leave(|| 0.95), None);
        assert_eq!(places.leave(|| 0.3), Some(ShardId(1)));
        places.let_go(None);
        assert_eq!(places.leave(|| 0.3), None);
    }
}
