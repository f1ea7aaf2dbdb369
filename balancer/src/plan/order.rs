//! Phase E: an order in which every prefix is safe, so that a plan may stop anywhere.
//!
//! A move is ready when its target stays below its fill limit and no fuller than the fullest bin
//! was at the start (or is at the end, when a drain must raise it). Emergencies and drains go
//! first, then whatever relieves the fullest bin most.

use super::ledger::{BinIndex, Ledger, NOBODY};

/// Moves for which every order is tried when the greedy one gets stuck.
const SEARCH_MAX: usize = 10;

/// Neighbouring slots with the same source and target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) lo: usize,
    pub(crate) hi: usize,
    pub(crate) from: BinIndex,
    pub(crate) to: BinIndex,
    pub(crate) bytes: u64,
}

/// The ordered moves, and those that could never become ready.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    pub(crate) ready: Vec<Run>,
    pub(crate) stuck: Vec<Run>,
}

/// Orders the moves from the ledger's home owners to its owners of now.
pub(crate) fn order(ledger: &Ledger) -> Order {
    let runs = runs(ledger);
    let mut used = ledger.used.clone();
    for run in &runs {
        used[run.from] += run.bytes;
        used[run.to] -= run.bytes;
    }
    let ceiling = peak(ledger, &used).max(peak(ledger, &ledger.used)) + 1e-12;
    let mut queues: Vec<Vec<Run>> = vec![Vec::new(); ledger.bins.len()];
    for run in runs {
        queues[run.from].push(run);
    }
    for queue in &mut queues {
        // Popped from the back: largest first, then the lowest slot.
        queue.sort_by_key(|run| (run.bytes, usize::MAX - run.lo));
    }
    let start = used.clone();
    let mut order = Order::default();
    loop {
        let ready = |run: &Run| is_ready(ledger, &used, run, ceiling);
        let next = sources(ledger, &used, &queues)
            .into_iter()
            .find_map(|from| Some((from, queues[from].iter().rposition(ready)?)));
        let Some((from, at)) = next else { break };
        let run = queues[from].remove(at);
        used[run.from] -= run.bytes;
        used[run.to] += run.bytes;
        order.ready.push(run);
    }
    order.stuck = queues.into_iter().flatten().collect();
    if !order.stuck.is_empty() && order.ready.len() + order.stuck.len() <= SEARCH_MAX {
        let all: Vec<Run> = order.ready.iter().chain(&order.stuck).copied().collect();
        if let Some(ready) = search(ledger, &start, &all, ceiling) {
            return Order { ready, stuck: Vec::new() };
        }
    }
    order
}

/// The fullest bin's fill with these bytes.
pub(crate) fn peak(ledger: &Ledger, used: &[u64]) -> f64 {
    ledger.counted().map(|bin| ledger.fill_with(bin, used[bin])).fold(0.0, f64::max)
}

/// Whether a move keeps its target below the ceiling and its fill limit.
pub(crate) fn is_ready(ledger: &Ledger, used: &[u64], run: &Run, ceiling: f64) -> bool {
    let after = used[run.to] + run.bytes;
    run.bytes == 0
        || after <= ledger.bins[run.to].ceiling && ledger.fill_with(run.to, after) <= ceiling
}

/// Any safe order of a few moves: the state after a set of moves does not depend on their order,
/// so each set is visited once.
fn search(ledger: &Ledger, start: &[u64], runs: &[Run], ceiling: f64) -> Option<Vec<Run>> {
    let sets = 1usize << runs.len();
    // The move that reached a set last.
    let mut last: Vec<Option<u8>> = vec![None; sets];
    for set in 0..sets {
        if set != 0 && last[set].is_none() {
            continue;
        }
        let inside = |at: usize| set & (1 << at) != 0;
        let mut used = start.to_vec();
        runs.iter()
            .enumerate()
            .filter(|(at, _)| inside(*at))
            .for_each(|(_, r)| used[r.to] += r.bytes);
        runs.iter()
            .enumerate()
            .filter(|(at, _)| inside(*at))
            .for_each(|(_, r)| used[r.from] -= r.bytes);
        for (at, run) in runs.iter().enumerate() {
            if !inside(at) && is_ready(ledger, &used, run, ceiling) {
                last[set | (1 << at)] = u8::try_from(at).ok();
            }
        }
    }
    let (mut set, mut order) = (sets - 1, Vec::new());
    while set != 0 {
        let at = usize::from(last[set]?);
        order.push(runs[at]);
        set &= !(1 << at);
    }
    order.reverse();
    Some(order)
}

/// Bins with moves left, most urgent first.
fn sources(ledger: &Ledger, used: &[u64], queues: &[Vec<Run>]) -> Vec<BinIndex> {
    let mut sources: Vec<BinIndex> =
        (0..queues.len()).filter(|&bin| !queues[bin].is_empty()).collect();
    let class = |bin: BinIndex| {
        let limits = &ledger.bins[bin];
        if limits.drains {
            0
        } else if used[bin] > limits.limit {
            1
        } else {
            2
        }
    };
    sources.sort_by(|&a, &b| {
        let fuller = ledger.fill_with(b, used[b]).total_cmp(&ledger.fill_with(a, used[a]));
        class(a).cmp(&class(b)).then(fuller).then(a.cmp(&b))
    });
    sources
}

/// All moves, joined where neighbours share source and target.
fn runs(ledger: &Ledger) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for slot in 0..ledger.owner.len() {
        let (home, owner) = (ledger.home[slot], ledger.owner[slot]);
        if home == owner || home == NOBODY || owner == NOBODY {
            continue;
        }
        let (from, to) = (usize::from(home), usize::from(owner));
        let bytes = ledger.bytes[slot];
        match runs.last_mut() {
            Some(run) if run.hi + 1 == slot && run.from == from && run.to == to => {
                run.hi = slot;
                run.bytes += bytes;
            }
            _ => runs.push(Run { lo: slot, hi: slot, from, to, bytes }),
        }
    }
    runs
}
