//! The thread tier of the balancer, live: collects what the slots weigh, lets the pure state
//! machine of the balancer crate decide, and hands slots over as it says.

mod collect;

use std::sync::Arc;
use std::time::Duration;

use ballast_balancer::machine::{Clock as Clocks, Command, Event, Machine, Notice};
use ballast_balancer::model::{LoadSnapshot, ShardId as Bin, SlotId};
use tokio::sync::oneshot;

use crate::ids::ShardId;
use crate::log::Level;
use crate::node::balance::clocks;
use crate::node::relief;
use crate::shard::message::Message;
use crate::shard::shared::Shared;

/// Waits are cut into pieces of this length, so that a stepped or injected clock is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often a process with one shard looks.
const ALONE_LOOK_EVERY_MS: u64 = 30_000;

/// The coordinator's life. A process with one shard has nothing to balance, but still answers.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut collector = collect::Collector::default();
    let mut looked = None;
    loop {
        wait_until_due(&shared, looked).await;
        looked = Some(clocks(&shared));
        let snapshot = collector.collect(&shared).await;
        if collect::is_stopping(&snapshot, &shared) {
            return;
        }
        shared.balance.lock().collector_bytes = collector.heap_bytes();
        observe(&shared, &snapshot).await;
        relieve(&shared, &snapshot).await;
    }
}

/// `looked` is when it looked last; it looks at once if it never did.
async fn wait_until_due(shared: &Shared, looked: Option<Clocks>) {
    loop {
        {
            let mut rebalance = shared.balance.lock();
            let now_ms = shared.clock.mono_ms();
            let due = looked.is_none_or(|at| due_ms(shared, &rebalance.machine, at) <= now_ms);
            let asked = !rebalance.commands.is_empty() || rebalance.at_once;
            if due || asked || shared.relief.is_asked() {
                rebalance.at_once = false;
                return;
            }
        }
        // Whichever comes first leads to another look.
        let _ = tokio::time::timeout(LOOK_EVERY, shared.relief.wake.notified()).await;
    }
}

/// When to look again. A process with one shard only shows what it holds.
fn due_ms(shared: &Shared, machine: &Machine, looked: Clocks) -> u64 {
    if shared.shards() == 1 {
        return looked.mono_ms + ALONE_LOOK_EVERY_MS;
    }
    machine.due_ms(looked)
}

async fn observe(shared: &Arc<Shared>, snapshot: &LoadSnapshot) {
    let commands = {
        let mut rebalance = shared.balance.lock();
        let policy = shared.config.load().balancer.clone();
        if *rebalance.machine.policy() != policy {
            rebalance.machine.set_policy(policy);
        }
        let mut commands = std::mem::take(&mut rebalance.commands);
        commands.extend(rebalance.machine.observe(snapshot, clocks(shared)));
        commands
    };
    carry_out(shared, commands).await;
    let allowed = relief::allowed(&shared.balance.lock().machine, clocks(shared));
    shared.relief.renew(snapshot, allowed, shared.clock.mono_ms());
}

/// Shards that are at their share: the smallest hand-over that gives them room, or leave to
/// evict.
async fn relieve(shared: &Arc<Shared>, snapshot: &LoadSnapshot) {
    for shard in shared.relief.take_asked(shared.shards()) {
        let needed_bytes = relief::needed_bytes(snapshot, shard);
        let event = Event::ShardAtLimit { shard: Bin(shard.0), needed_bytes };
        let commands = shared.balance.lock().machine.step(clocks(shared), &event);
        let moves = commands.iter().any(|command| matches!(command, Command::Move { .. }));
        carry_out(shared, commands).await;
        if !moves {
            shared.relief.refuse(shard, shared.clock.mono_ms());
        }
    }
}

/// Hands over the slots of the moves and acknowledges each.
async fn carry_out(shared: &Arc<Shared>, commands: Vec<Command>) {
    let mut moves = Vec::new();
    for command in commands {
        match command {
            Command::Move { slot, from, to, .. } => moves.push((slot, from, to)),
            // A hand-over is done or not begun: there is nothing to stop half way.
            Command::Stop { .. } => {}
            Command::Announce(notice) => announce(shared, &notice),
        }
    }
    let mut answers = Vec::new();
    for (slot, from, to) in moves {
        let (sender, receiver) = oneshot::channel();
        let call = move |state: &mut crate::shard::ShardState| {
            // The coordinator waits for the answer as long as there are threads.
            let _ = sender.send(state.hand_over(slot.0, ShardId(to.0)));
        };
        shared.mailboxes[usize::from(from.0)].push(Message::Call(Box::new(call)));
        answers.push((slot, receiver));
    }
    for (slot, answer) in answers {
        let done = answer.await.unwrap_or(false);
        acknowledge(shared, slot, done);
    }
}

fn acknowledge(shared: &Shared, slot: SlotId, done: bool) {
    shared.balance.lock().machine.completed(slot, done, clocks(shared));
}

fn announce(shared: &Shared, notice: &Notice) {
    let message = match notice {
        Notice::Started { id, cue, bytes, moves } => format!(
            "Balancer: plan {id} begins ({}): {moves} slots, {bytes} bytes between shards.",
            cue.code()
        ),
        Notice::Ended(record) => format!(
            "Balancer: plan {} {}: {} slots, {} bytes moved (at least {} were needed), spread \
             {:.1} -> {:.1} points.",
            record.id,
            record.outcome.code(),
            record.moves,
            record.bytes,
            record.lower_bound,
            record.spread_before * 100.0,
            record.spread_after * 100.0
        ),
        Notice::Queued { reason, bytes, opens_ms } => format!(
            "Balancer: {bytes} bytes are to be moved and wait: {} {}",
            reason.sentence(),
            opens_ms.map_or("No window will open.".to_owned(), |at| {
                format!("The next window opens at {}.", crate::log::time(at))
            })
        ),
        Notice::Blocked(reason) => format!("Balancer: blocked: {}", reason.sentence()),
    };
    shared.log.line(shared.clock.wall_ms(), Level::Notice, &message);
}
