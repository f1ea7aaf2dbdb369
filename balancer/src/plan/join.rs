//! Joins the rounds of a plan into one list of moves.

use std::collections::BTreeMap;

use super::carry_out;
use super::ledger::{BinIndex, Cause, Ledger};
use super::order::{self, Run};

type Step = (Run, Cause);

/// A slot that moved twice goes straight to its last owner if a safe order exists, or else by
/// its stop-over, but never back to an earlier owner: such loops are taken out, and if that is
/// not safe, the last round is left out. Returns the steps and the state after them.
pub(crate) fn join(original: &Ledger, last: Ledger, rounds: &[Vec<Step>]) -> (Vec<Step>, Ledger) {
    if rounds.len() <= 1 {
        return (rounds.first().cloned().unwrap_or_default(), last);
    }
    for count in (1..=rounds.len()).rev() {
        let mut state = original.clone();
        for round in &rounds[..count] {
            carry_out(&mut state, round);
        }
        state.home.copy_from_slice(&original.home);
        let order = order::order(&state);
        if order.stuck.is_empty() {
            let steps = order.ready.into_iter().map(|run| (run, state.cause[run.lo])).collect();
            return (steps, state);
        }
        if let Some(steps) = without_loops(original, single_slots(original, &rounds[..count])) {
            return (steps, state);
        }
    }
    (Vec::new(), original.clone())
}

/// The steps slot by slot.
fn single_slots(original: &Ledger, rounds: &[Vec<Step>]) -> Vec<Step> {
    let single = |&(run, cause): &Step| {
        (run.lo..=run.hi)
            .map(move |at| (Run { lo: at, hi: at, bytes: original.bytes[at], ..run }, cause))
    };
    rounds.iter().flatten().flat_map(single).collect()
}

/// Takes out what brings a slot back to an owner it had; `None` if the rest is not safe.
fn without_loops(original: &Ledger, mut steps: Vec<Step>) -> Option<Vec<Step>> {
    // Each pass takes out at least one step.
    for _ in 0..=steps.len() {
        let Some((first, last)) = first_loop(&steps) else { break };
        let slot = steps[last].0.lo;
        let mut at = 0;
        steps.retain(|(run, _)| {
            at += 1;
            !(run.lo == slot && (first..=last).contains(&(at - 1)))
        });
    }
    is_safe(original, &steps).then_some(steps)
}

/// Positions of the step that leaves a bin and the step that brings the same slot back to it.
fn first_loop(steps: &[Step]) -> Option<(usize, usize)> {
    let mut left: BTreeMap<(usize, BinIndex), usize> = BTreeMap::new();
    for (at, (run, _)) in steps.iter().enumerate() {
        left.insert((run.lo, run.from), at);
        if let Some(&first) = left.get(&(run.lo, run.to)) {
            return Some((first, at));
        }
    }
    None
}

fn is_safe(original: &Ledger, steps: &[Step]) -> bool {
    let mut end = original.used.clone();
    for (run, _) in steps {
        end[run.to] += run.bytes;
        end[run.from] -= run.bytes;
    }
    let ceiling = order::peak(original, &original.used).max(order::peak(original, &end)) + 1e-12;
    let mut used = original.used.clone();
    steps.iter().all(|(run, _)| {
        let ready = order::is_ready(original, &used, run, ceiling);
        used[run.to] += run.bytes;
        used[run.from] -= run.bytes;
        ready
    })
}
