//! What of a plan may start now: batch, concurrency, bandwidth, budget and latency limits.

use super::{Clock, Flight, Machine};
use crate::model::{NodeId, ShardId, SlotId, Tier};
use crate::plan::{Cause, Move, Plan};
use crate::reason::{Limit, Reason};

/// A chunk must fit into what is left of the window with this factor to spare, in halves.
const FINISH_MARGIN_HALVES: u64 = 3;
/// The latency guard halves the rate down to this fraction.
const RATE_FACTOR_MIN: f64 = 1.0 / 16.0;
/// What a batch of hand-overs takes, with a busy thread's turns.
const BATCH_MS: u64 = 2;
/// Rate assumed when bandwidth is unlimited and nothing has been measured, bytes a second.
const RATE_ASSUMED: u64 = 64 << 20;

/// One slot that may start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Admitted {
    pub(crate) slot: SlotId,
    pub(crate) from: ShardId,
    pub(crate) to: ShardId,
    pub(crate) bytes: u64,
    pub(crate) cause: Cause,
    pub(crate) chunk: u64,
}

/// Rate and budget of the node tier.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// Measured bytes a second of one move; 0 = not yet.
    pub(crate) rate: u64,
    /// What the latency guard leaves of the bandwidth.
    pub(crate) rate_factor: f64,
    /// Bytes started since the window opened.
    pub(crate) window_bytes: u64,
    pub(crate) chunks: u64,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { rate: 0, rate_factor: 1.0, window_bytes: 0, chunks: 0 }
    }
}

impl Budget {
    /// Additive increase, multiplicative decrease, by the clients' latency.
    pub(crate) fn guard_latency(&mut self, guard_ms: u64, latency_ms_p99: Option<f64>) {
        let (true, Some(latency)) = (guard_ms > 0, latency_ms_p99) else {
            self.rate_factor = 1.0;
            return;
        };
        if latency > guard_ms as f64 {
            self.rate_factor = (self.rate_factor / 2.0).max(RATE_FACTOR_MIN);
        } else {
            self.rate_factor = (self.rate_factor + 0.1).min(1.0);
        }
    }

    /// Takes in how long a move took.
    pub(crate) fn measure(&mut self, bytes: u64, elapsed_ms: u64) {
        if bytes == 0 || elapsed_ms == 0 {
            return;
        }
        let rate = u64::try_from(u128::from(bytes) * 1_000 / u128::from(elapsed_ms));
        let rate = rate.unwrap_or(u64::MAX).max(1);
        self.rate = if self.rate == 0 { rate } else { self.rate / 4 * 3 + rate / 4 };
    }
}

impl Machine {
    /// The slots that may start now, in the plan's order, and why not more.
    pub(crate) fn admit(
        &mut self,
        plan: &Plan,
        clock: Clock,
        outside: bool,
    ) -> (Vec<Admitted>, Option<Reason>) {
        match self.tier {
            Tier::Thread => self.admit_batch(&plan.moves),
            Tier::Node => self.admit_chunks(&plan.moves, clock, outside),
        }
    }

    fn admit_batch(&mut self, moves: &[Move]) -> (Vec<Admitted>, Option<Reason>) {
        let mut left = self.policy.thread_batch.saturating_sub(self.flights.len());
        let mut admitted: Vec<Admitted> = Vec::new();
        for step in moves {
            for slot in step.lo.0..=step.hi.0 {
                if left == 0 {
                    return (admitted, Some(Reason::Concurrency(Limit::Batch)));
                }
                // The second hop of a stop-over waits for the next batch.
                if admitted.iter().any(|other| other.slot == SlotId(slot)) {
                    return (admitted, Some(Reason::Concurrency(Limit::Batch)));
                }
                admitted.push(self.single(SlotId(slot), step, 0));
                left -= 1;
            }
        }
        (admitted, None)
    }

    fn single(&self, slot: SlotId, step: &Move, chunk: u64) -> Admitted {
        let load = self.working.as_ref().and_then(|snapshot| snapshot.slots.get(slot.index()));
        let bytes = load.map_or(0, |load| load.bytes);
        Admitted { slot, from: step.from, to: step.to, bytes, cause: step.cause, chunk }
    }

    fn admit_chunks(
        &mut self,
        moves: &[Move],
        clock: Clock,
        outside: bool,
    ) -> (Vec<Admitted>, Option<Reason>) {
        if self.latency_too_high() {
            return (Vec::new(), Some(Reason::LatencyGuard));
        }
        let mut admitted: Vec<Admitted> = Vec::new();
        let mut reason = None;
        for (at, step) in moves.iter().enumerate() {
            // The second hop of a stop-over waits for the first, also where that has no lane.
            if moves[..at].iter().any(|first| first.lo <= step.hi && step.lo <= first.hi) {
                continue;
            }
            if !self.has_lane(&admitted, step) {
                reason = Some(Reason::Concurrency(Limit::Chunks));
                continue;
            }
            match self.chunk_of(step, &admitted, clock, outside) {
                Ok(chunk) => admitted.extend(chunk),
                Err(why) => {
                    reason = Some(why);
                    break;
                }
            }
        }
        (admitted, reason)
    }

    fn latency_too_high(&self) -> bool {
        let guard = self.policy.latency_guard_ms;
        let latency = self.working.as_ref().and_then(|snapshot| snapshot.health.latency_ms_p99);
        guard > 0
            && self.budget.rate_factor <= RATE_FACTOR_MIN
            && latency.is_some_and(|latency| latency > guard as f64)
    }

    /// Whether cluster and both nodes may have one more chunk under way.
    fn has_lane(&self, admitted: &[Admitted], step: &Move) -> bool {
        let mut lanes: Vec<(u64, ShardId, ShardId)> =
            self.flights.iter().map(|f| (f.chunk, f.from, f.to)).collect();
        lanes.extend(admitted.iter().map(|a| (a.chunk, a.from, a.to)));
        lanes.sort_unstable();
        lanes.dedup();
        let (from, to) = (self.node_of(step.from), self.node_of(step.to));
        let leaving = lanes.iter().filter(|lane| self.node_of(lane.1) == from).count();
        let arriving = lanes.iter().filter(|lane| self.node_of(lane.2) == to).count();
        let each = self.policy.node_concurrency_direction;
        lanes.len() < self.policy.node_concurrency_cluster && leaving < each && arriving < each
    }

    fn node_of(&self, shard: ShardId) -> NodeId {
        let known = self.working.as_ref().and_then(|snapshot| snapshot.shard(shard));
        known.map_or(NodeId(shard.0), |shard| shard.node)
    }

    /// Whole slots of a move up to the chunk size, as far as they can finish before the window
    /// closes and the window's budget allows.
    fn chunk_of(
        &mut self,
        step: &Move,
        admitted: &[Admitted],
        clock: Clock,
        outside: bool,
    ) -> Result<Vec<Admitted>, Reason> {
        let started: u64 = admitted.iter().map(|a| a.bytes).sum();
        let budget = match self.policy.node_bytes_per_window {
            0 => u64::MAX,
            most => most.saturating_sub(self.budget.window_bytes + started),
        };
        let time = if outside { u64::MAX } else { self.finishable_bytes(clock) };
        let id = self.budget.chunks + 1;
        let mut chunk: Vec<Admitted> = Vec::new();
        let mut bytes = 0u64;
        for slot in step.lo.0..=step.hi.0 {
            let next = self.single(SlotId(slot), step, id);
            let sum = bytes.saturating_add(next.bytes);
            if next.bytes > 0 && sum > budget {
                return cut(chunk, Reason::BytesPerWindow, &mut self.budget.chunks);
            }
            if sum > time {
                return cut(chunk, Reason::Bandwidth, &mut self.budget.chunks);
            }
            if !chunk.is_empty() && sum > self.policy.node_chunk {
                break;
            }
            bytes = sum;
            chunk.push(next);
        }
        self.budget.chunks = id;
        Ok(chunk)
    }

    /// Bytes that would be done before the window closes, with a margin.
    fn finishable_bytes(&self, clock: Clock) -> u64 {
        let Some(close) = self.schedule.next_close(clock.wall_ms) else { return u64::MAX };
        let left_ms = u64::try_from(close - clock.wall_ms).unwrap_or(0);
        let bytes = u128::from(self.rate()) * u128::from(left_ms) * 2
            / u128::from(FINISH_MARGIN_HALVES * 1_000);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// Bytes a second that a node move may use now: the limit times the latency factor.
    pub(crate) fn rate_limit(&self) -> u64 {
        match self.policy.node_bandwidth {
            0 if self.budget.rate_factor < 1.0 => {
                (RATE_ASSUMED as f64 * self.budget.rate_factor) as u64
            }
            bandwidth => (bandwidth as f64 * self.budget.rate_factor) as u64,
        }
    }

    /// Bytes a second that a node move really makes.
    pub(crate) fn rate(&self) -> u64 {
        let limit = match self.rate_limit() {
            0 => RATE_ASSUMED,
            limit => limit,
        };
        if self.budget.rate == 0 { limit } else { self.budget.rate.min(limit) }.max(1)
    }

    /// Milliseconds that the plan's bytes need, not counting closed windows.
    pub(crate) fn duration_ms(&self, plan: &Plan) -> u64 {
        match self.tier {
            Tier::Thread => {
                plan.slots().div_ceil(self.policy.thread_batch.max(1)) as u64 * BATCH_MS
            }
            Tier::Node => {
                let lanes = self.policy.node_concurrency_cluster.max(1) as u64;
                let rate = self.rate().saturating_mul(lanes);
                u64::try_from(u128::from(plan.bytes()) * 1_000 / u128::from(rate))
                    .unwrap_or(u64::MAX)
            }
        }
    }
}

fn cut(chunk: Vec<Admitted>, reason: Reason, chunks: &mut u64) -> Result<Vec<Admitted>, Reason> {
    if chunk.is_empty() {
        return Err(reason);
    }
    *chunks += 1;
    Ok(chunk)
}

impl Flight {
    pub(crate) fn of(admitted: &Admitted, plan: u64, clock: Clock) -> Flight {
        Flight {
            slot: admitted.slot,
            from: admitted.from,
            to: admitted.to,
            bytes: admitted.bytes,
            cause: admitted.cause,
            chunk: admitted.chunk,
            plan,
            started_ms: clock.mono_ms,
            exempt: false,
            stopping: false,
        }
    }
}
