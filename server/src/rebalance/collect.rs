//! What every slot weighs and what it causes of the work of its thread, from all shards.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ballast_balancer::attribute::{SlotWork, ThreadWork, attribute};
use ballast_balancer::model::{Hold, LoadSnapshot, ShardId as Bin, ShardLoad, SlotLoad};
use ballast_protocol::slot::SLOTS;
use tokio::sync::oneshot;

use crate::clock::thread_cpu_ns;
use crate::engine::slot::Work;
use crate::shard::ShardState;
use crate::shard::mailbox::Mailbox;
use crate::shard::message::Message;
use crate::shard::shared::Shared;

/// Remembers the counters of the last look, so that the next gives what was done meanwhile.
#[derive(Default)]
pub(super) struct Collector {
    last_mono_ms: Option<u64>,
    /// By slot.
    work: Vec<Work>,
    /// By shard.
    threads: Vec<ThreadCounters>,
}

/// One slot as its shard sees it.
#[derive(Clone, Copy)]
struct Weight {
    slot: u16,
    bytes: u64,
    /// `None`: it travels with a transaction, with its counters.
    work: Option<Work>,
}

/// What only grows on a shard's thread.
#[derive(Clone, Copy, Debug, Default)]
struct ThreadCounters {
    cpu_ns: u64,
    turns: u64,
    net_bytes: u64,
    commands_elsewhere: u64,
}

/// Slots that a shard is asked for at a time: some tens of microseconds of its thread.
const SLOTS_PER_SLICE: u16 = 2_048;

/// Without `maxmemory` a shard is as full as its bytes are of this many times an even share: an
/// even distribution then stands at two thirds, as a well-sized server does.
const CAPACITY_PER_SHARE: (u64, u64) = (3, 2);
/// … but of no less than this: a few kilobytes more here than there are no imbalance.
const CAPACITY_MIN: u64 = 64 << 20;

impl Collector {
    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.work.capacity() * size_of::<Work>()
            + self.threads.capacity() * size_of::<ThreadCounters>()
    }

    /// Asks all shards.
    pub(super) async fn collect(&mut self, shared: &Arc<Shared>) -> LoadSnapshot {
        let epoch = shared.router.epoch();
        let shards = usize::from(shared.shards());
        let mut weights = vec![Vec::new(); shards];
        let mut threads = vec![ThreadCounters::default(); shards];
        let mut complete = true;
        for first in (0..SLOTS).step_by(usize::from(SLOTS_PER_SLICE)) {
            let slice = first..SLOTS.min(first + SLOTS_PER_SLICE);
            for (shard, answer) in ask_all(shared, &slice).into_iter().enumerate() {
                match answer.await {
                    Ok((list, counters)) => {
                        weights[shard].extend(list);
                        threads[shard] = counters;
                    }
                    Err(_) => complete = false,
                }
            }
        }
        let mono_ms = shared.clock.mono_ms();
        let elapsed_ms = self.last_mono_ms.replace(mono_ms).map_or(0, |last| mono_ms - last);
        let mut snapshot = self.snapshot(&weights, &threads, elapsed_ms);
        let total: u64 = snapshot.slots.iter().map(|slot| slot.bytes).sum();
        let fixed: Vec<f64> = snapshot.shards.iter().map(|shard| shard.fixed_cpu).collect();
        let bins = bins(shared, total).into_iter().zip(fixed);
        snapshot.shards = bins.map(|(bin, fixed_cpu)| ShardLoad { fixed_cpu, ..bin }).collect();
        snapshot.epoch = epoch;
        snapshot.health.complete = complete && shared.router.epoch() == epoch;
        snapshot
    }

    /// The slots with what each causes, and the shards with what no slot does.
    fn snapshot(
        &mut self,
        weights: &[Vec<Weight>],
        threads: &[ThreadCounters],
        elapsed_ms: u64,
    ) -> LoadSnapshot {
        let count = usize::from(SLOTS);
        self.work.resize(count, Work::default());
        self.threads.resize(threads.len(), ThreadCounters::default());
        let mut slots = vec![SlotLoad::new(Bin::NOBODY, 0); count];
        let nobodys = SlotWork { owner: Bin::NOBODY, ..SlotWork::default() };
        let mut done = vec![nobodys; count];
        for (owner, weights) in (0..).map(Bin).zip(weights) {
            for weight in weights {
                let at = usize::from(weight.slot);
                let hold = if weight.work.is_none() { Hold::Locked } else { Hold::Free };
                slots[at] = SlotLoad { hold, ..SlotLoad::new(owner, weight.bytes) };
                // A travelling slot's counters cannot be read: the next look counts for both.
                if let Some(work) = weight.work {
                    done[at] =
                        slot_work(owner, &work, &std::mem::replace(&mut self.work[at], work));
                }
            }
        }
        let mut spent = Vec::with_capacity(threads.len());
        for (at, thread) in threads.iter().enumerate() {
            let last = std::mem::replace(&mut self.threads[at], *thread);
            let shard = Bin(u16::try_from(at).unwrap_or(u16::MAX));
            spent.push(thread_work(shard, thread, &last, elapsed_ms * 1_000_000));
        }
        let mut shards: Vec<ShardLoad> =
            spent.iter().map(|thread| ShardLoad::new(thread.shard, 1)).collect();
        // Nothing is known before the second look.
        if elapsed_ms > 0 {
            let loads = attribute(&spent, &done);
            slots.iter_mut().zip(loads.slots).for_each(|(slot, load)| slot.cpu = load);
            shards.iter_mut().zip(loads.fixed).for_each(|(shard, load)| shard.fixed_cpu = load);
            #[allow(clippy::cast_precision_loss, reason = "rates are estimates")]
            let rate = |bytes: u64| bytes as f64 * 1000.0 / elapsed_ms as f64;
            slots.iter_mut().zip(&done).for_each(|(slot, done)| slot.net = rate(done.net_bytes));
        }
        LoadSnapshot { shards, slots, ..LoadSnapshot::default() }
    }
}

type Slice = (Vec<Weight>, ThreadCounters);

/// Asks all shards for some slots.
fn ask_all(shared: &Shared, slots: &Range<u16>) -> Vec<oneshot::Receiver<Slice>> {
    let ask = |mailbox: &Mailbox<Message>| {
        let (sender, receiver) = oneshot::channel();
        let slots = slots.clone();
        let call = move |state: &mut ShardState| {
            // Without an answer the look is incomplete. Nobody waits for it any more if the
            // coordinator has ended.
            if !state.places.is_away() {
                let _ = sender.send((weigh(state, slots), thread_counters(state)));
            }
        };
        mailbox.push(Message::Call(Box::new(call)));
        receiver
    };
    shared.mailboxes.iter().map(ask).collect()
}

/// Runs on the shard's thread.
fn weigh(state: &ShardState, slots: Range<u16>) -> Vec<Weight> {
    let mut weights = Vec::with_capacity(slots.len());
    for slot in slots.clone() {
        if let Some(boxed) = state.slot(slot) {
            weights.push(Weight { slot, bytes: boxed.data().bytes(), work: Some(boxed.work) });
        }
    }
    let lent = state.places.lent().filter(|(slot, _)| slots.contains(slot));
    weights.extend(lent.map(|(slot, lent)| Weight { slot, bytes: lent.bytes, work: None }));
    weights
}

/// Runs on the shard's thread: its CPU time is that of whoever asks.
fn thread_counters(state: &ShardState) -> ThreadCounters {
    let counters = &state.counters;
    ThreadCounters {
        cpu_ns: thread_cpu_ns(),
        turns: counters.turns.value(),
        net_bytes: counters.net_in_bytes.value() + counters.net_out_bytes.value(),
        commands_elsewhere: counters.commands_elsewhere.value(),
    }
}

/// What was added to a counter, which may have been reset.
fn more(now: u64, last: u64) -> u64 {
    if now >= last { now - last } else { now }
}

fn slot_work(owner: Bin, now: &Work, last: &Work) -> SlotWork {
    let net = |work: &Work| work.net_in_bytes + work.net_out_bytes;
    SlotWork {
        owner,
        commands: more(now.commands, last.commands),
        guests: more(now.guests, last.guests),
        turns: more(now.turns, last.turns),
        net_bytes: more(net(now), net(last)),
        handler_ns: more(now.cpu_ns, last.cpu_ns),
    }
}

fn thread_work(
    shard: Bin,
    now: &ThreadCounters,
    last: &ThreadCounters,
    elapsed_ns: u64,
) -> ThreadWork {
    ThreadWork {
        shard,
        cpu_ns: more(now.cpu_ns, last.cpu_ns),
        elapsed_ns,
        turns: more(now.turns, last.turns),
        net_bytes: more(now.net_bytes, last.net_bytes),
        commands_elsewhere: more(now.commands_elsewhere, last.commands_elsewhere),
    }
}

fn bins(shared: &Shared, total_bytes: u64) -> Vec<ShardLoad> {
    let config = shared.config.load();
    let shards = shared.shards();
    let count = u64::from(shards);
    let capacity = if config.balancer.capacity > 0 {
        config.balancer.capacity / count
    } else if config.maxmemory > 0 {
        shared.share_bytes(config.maxmemory)
    } else {
        let (times, over) = CAPACITY_PER_SHARE;
        (total_bytes / count * times / over).max(CAPACITY_MIN)
    };
    let bin = |shard| ShardLoad {
        cores: shared.core_share,
        ..ShardLoad::new(Bin(shard), capacity.max(1))
    };
    (0..shards).map(bin).collect()
}

/// Whether the threads are ending, so that there is nothing to balance any more.
pub(super) fn is_stopping(snapshot: &LoadSnapshot, shared: &Shared) -> bool {
    !snapshot.health.complete && shared.stopping.load(Ordering::Acquire)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(slot: u16, commands: u64) -> Weight {
        let work = Work { commands, turns: commands, cpu_ns: commands * 100, ..Work::default() };
        Weight { slot, bytes: 10, work: Some(work) }
    }

    fn thread(cpu_ms: u64, turns: u64) -> ThreadCounters {
        ThreadCounters { cpu_ns: cpu_ms * 1_000_000, turns, ..ThreadCounters::default() }
    }

    fn sum(snapshot: &LoadSnapshot, shard: u16) -> f64 {
        let owned = snapshot.slots.iter().filter(|slot| slot.owner == Bin(shard));
        snapshot.shards[usize::from(shard)].fixed_cpu + owned.map(|slot| slot.cpu).sum::<f64>()
    }

    #[test]
    fn slots_and_the_rest_are_what_the_threads_spent() {
        let mut collector = Collector::default();
        let first = [vec![weight(1, 500), weight(2, 0)], vec![weight(3, 7)]];
        let snapshot = collector.snapshot(&first, &[thread(900, 500), thread(50, 7)], 0);
        assert!(sum(&snapshot, 0).abs() < 1e-9, "there is no interval yet");
        // Slot 2 has moved meanwhile, slot 1 travels.
        let away = Weight { slot: 1, bytes: 10, work: None };
        let second = [vec![away], vec![weight(3, 1_007), weight(2, 3_000)]];
        let threads = [thread(1_000, 900), thread(650, 4_007)];
        let snapshot = collector.snapshot(&second, &threads, 1_000);
        assert!((sum(&snapshot, 0) - 0.1).abs() < 1e-9);
        assert!((sum(&snapshot, 1) - 0.6).abs() < 1e-9);
        assert!((snapshot.slots[2].cpu / snapshot.slots[3].cpu - 3.0).abs() < 1e-6);
        assert_eq!(snapshot.slots[1].hold, Hold::Locked);
        // It is back: what was done meanwhile is seen now. The counters of the others were reset.
        let third = [vec![weight(1, 900)], vec![weight(3, 50), weight(2, 50)]];
        let threads = [thread(1_200, 900), thread(850, 100)];
        let snapshot = collector.snapshot(&third, &threads, 1_000);
        assert!((sum(&snapshot, 0) - 0.2).abs() < 1e-9);
        assert!(snapshot.slots[1].cpu > 0.05, "{}", snapshot.slots[1].cpu);
        assert!((snapshot.slots[2].cpu - snapshot.slots[3].cpu).abs() < 1e-9);
    }
}
