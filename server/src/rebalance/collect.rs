//! What every slot weighs and how much work it causes, from all shards.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ballast_balancer::model::{Hold, LoadSnapshot, ShardId as Bin, ShardLoad, SlotLoad};
use ballast_protocol::slot::SLOTS;
use tokio::sync::oneshot;

use crate::shard::ShardState;
use crate::shard::message::Message;
use crate::shard::shared::Shared;

/// Remembers the counters of the last look, so that the next gives rates.
#[derive(Default)]
pub(super) struct Collector {
    last_mono_ms: Option<u64>,
    cpu_ns: Vec<u64>,
    net_bytes: Vec<u64>,
}

/// One slot as its shard sees it.
#[derive(Clone, Copy)]
struct Weight {
    slot: u16,
    bytes: u64,
    cpu_ns: u64,
    net_bytes: u64,
    /// It travels with a transaction.
    lent: bool,
}

/// Without `maxmemory` a shard is as full as its bytes are of this many times an even share: an
/// even distribution then stands at two thirds, as a well-sized server does.
const CAPACITY_PER_SHARE: (u64, u64) = (3, 2);
/// … but of no less than this: a few kilobytes more here than there are no imbalance.
const CAPACITY_MIN: u64 = 64 << 20;

impl Collector {
    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        (self.cpu_ns.capacity() + self.net_bytes.capacity()) * size_of::<u64>()
    }

    /// Asks all shards.
    pub(super) async fn collect(&mut self, shared: &Arc<Shared>) -> LoadSnapshot {
        let epoch = shared.router.epoch();
        let mut answers = Vec::new();
        for mailbox in &shared.mailboxes {
            let (sender, receiver) = oneshot::channel();
            let call = move |state: &mut ShardState| {
                // Without an answer the look is incomplete. Nobody waits for it any more if the
                // coordinator has ended.
                if !state.places.is_away() {
                    let _ = sender.send(weigh(state));
                }
            };
            mailbox.push(Message::Call(Box::new(call)));
            answers.push(receiver);
        }
        let mut weights = Vec::new();
        let mut complete = true;
        for (shard, answer) in answers.into_iter().enumerate() {
            match answer.await {
                Ok(list) => weights.push((shard, list)),
                Err(_) => complete = false,
            }
        }
        let mono_ms = shared.clock.mono_ms();
        let mut snapshot = self.snapshot(&weights, mono_ms);
        let total: u64 = snapshot.slots.iter().map(|slot| slot.bytes).sum();
        snapshot.shards = bins(shared, total);
        snapshot.epoch = epoch;
        snapshot.health.complete = complete && shared.router.epoch() == epoch;
        snapshot
    }

    fn snapshot(&mut self, shards: &[(usize, Vec<Weight>)], mono_ms: u64) -> LoadSnapshot {
        let slots = usize::from(SLOTS);
        self.cpu_ns.resize(slots, 0);
        self.net_bytes.resize(slots, 0);
        let elapsed_ms = self.last_mono_ms.map(|last| mono_ms.saturating_sub(last));
        self.last_mono_ms = Some(mono_ms);
        let mut snapshot = LoadSnapshot {
            slots: vec![SlotLoad::new(Bin::NOBODY, 0); slots],
            ..LoadSnapshot::default()
        };
        for (shard, weights) in shards {
            let owner = Bin(u16::try_from(*shard).unwrap_or(u16::MAX));
            for weight in weights {
                let at = usize::from(weight.slot);
                let cpu_ns = weight.cpu_ns.saturating_sub(self.cpu_ns[at]);
                let net_bytes = weight.net_bytes.saturating_sub(self.net_bytes[at]);
                if !weight.lent {
                    // A travelling slot's counters cannot be read: the next look counts for both.
                    self.cpu_ns[at] = weight.cpu_ns;
                    self.net_bytes[at] = weight.net_bytes;
                }
                let hold = if weight.lent { Hold::Locked } else { Hold::Free };
                snapshot.slots[at] = SlotLoad {
                    bytes: weight.bytes,
                    cpu: rate(cpu_ns, elapsed_ms) / 1e9,
                    net: rate(net_bytes, elapsed_ms),
                    owner,
                    hold,
                };
            }
        }
        snapshot
    }
}

/// Per second; nothing before the second look.
fn rate(more: u64, elapsed_ms: Option<u64>) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "rates are estimates")]
    match elapsed_ms {
        Some(ms) if ms > 0 => more as f64 * 1000.0 / ms as f64,
        _ => 0.0,
    }
}

/// Runs on the shard's thread: some tens of microseconds.
fn weigh(state: &mut ShardState) -> Vec<Weight> {
    let mut weights = Vec::with_capacity(usize::from(SLOTS));
    for (slot, boxed) in (0_u16..).zip(&state.slots) {
        if let Some(boxed) = boxed {
            weights.push(Weight {
                slot,
                bytes: boxed.data.bytes(),
                cpu_ns: boxed.work.cpu_ns,
                net_bytes: boxed.work.net_in_bytes + boxed.work.net_out_bytes,
                lent: false,
            });
        }
    }
    for (slot, lent) in state.places.lent() {
        weights.push(Weight { slot, bytes: lent.bytes, cpu_ns: 0, net_bytes: 0, lent: true });
    }
    weights
}

fn bins(shared: &Shared, total_bytes: u64) -> Vec<ShardLoad> {
    let config = shared.config.load();
    let shards = shared.shards();
    let count = u64::from(shards);
    let capacity = if config.balancer.capacity > 0 {
        config.balancer.capacity / count
    } else if config.maxmemory > 0 {
        share(shared, config.maxmemory)
    } else {
        let (times, over) = CAPACITY_PER_SHARE;
        (total_bytes / count * times / over).max(CAPACITY_MIN)
    };
    (0..shards).map(|shard| ShardLoad::new(Bin(shard), capacity.max(1))).collect()
}

/// What a shard may hold of `maxmemory`, as the shards themselves compute it.
fn share(shared: &Shared, maxmemory: u64) -> u64 {
    let slots_bytes = shared.sum(|counters| counters.slots_bytes.value());
    let overhead = ballast_storage::memory::used_bytes().saturating_sub(slots_bytes);
    maxmemory.saturating_sub(overhead) / u64::from(shared.shards())
}

/// Whether the threads are ending, so that there is nothing to balance any more.
pub(super) fn is_stopping(snapshot: &LoadSnapshot, shared: &Shared) -> bool {
    !snapshot.health.complete && shared.stopping.load(Ordering::Acquire)
}
