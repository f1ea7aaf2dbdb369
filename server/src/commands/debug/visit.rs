//! Visits to slots on whichever shard they are, in slices, also while they are handed over.

use std::time::Duration;

use ballast_protocol::CommandError;
use ballast_protocol::slot::SLOTS;

use crate::commands::gather::{Gathering, Local};
use crate::engine::Engine;

/// Slots visited between two turns of everybody else.
const SLOTS_PER_SLICE: u16 = 64;
/// How long a slot may be held by transactions before the visit is given up.
const HELD_MAX: Duration = Duration::from_secs(10);

/// Runs `work` where `slot` is, in turn with the transactions that want it.
pub(super) async fn one<T: Send + 'static>(
    cx: &Gathering<'_>,
    slot: u16,
    work: impl FnOnce(&mut dyn Local) -> T + Send + 'static,
) -> Result<T, CommandError> {
    match tokio::time::timeout(HELD_MAX, cx.on_slot(slot, work)).await {
        Ok(Some(answer)) => Ok(answer),
        _ => Err(CommandError::other(format!("ERR a transaction holds slot {slot}"))),
    }
}

/// Runs `work` for every slot, each once; the answers are in the order of the slots.
pub(super) async fn all<T: Send + 'static>(
    cx: &Gathering<'_>,
    work: impl Fn(&mut Engine, u16) -> T + Clone + Send + 'static,
) -> Result<Vec<T>, CommandError> {
    let mut answers = Vec::with_capacity(usize::from(SLOTS));
    for first in (0..SLOTS).step_by(usize::from(SLOTS_PER_SLICE)) {
        let slots = first..SLOTS.min(first + SLOTS_PER_SLICE);
        let mut found: Vec<Option<T>> = slots.clone().map(|_| None).collect();
        let (work_here, there) = (work.clone(), slots.clone());
        let visited = cx
            .each_shard(move |state| {
                state.tick();
                let visit = |slot| Some((slot, state.has(slot).then(|| work_here(state, slot))?));
                there.clone().filter_map(visit).collect::<Vec<(u16, T)>>()
            })
            .await;
        for (slot, answer) in visited.into_iter().flatten() {
            found[usize::from(slot - first)] = Some(answer);
        }
        for (slot, answer) in slots.zip(found) {
            let answer = match answer {
                Some(answer) => answer,
                // It was on its way, or in a transaction.
                None => {
                    let work = work.clone();
                    one(cx, slot, move |state| work(state, slot)).await?
                }
            };
            answers.push(answer);
        }
        tokio::task::yield_now().await;
    }
    Ok(answers)
}

/// [`all`] where all slots are here.
pub(super) fn here<T>(state: &mut Engine, work: impl Fn(&mut Engine, u16) -> T) -> Vec<T> {
    (0..SLOTS).map(|slot| work(state, slot)).collect()
}
