//! The thread tier of the balancer, live: collects what the slots weigh, lets the pure state
//! machine of the balancer crate decide, and hands slots over as it says.

mod collect;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ballast_balancer::Reason;
use ballast_balancer::machine::{Clock as Clocks, Command, Event, Notice};
use ballast_balancer::model::{LoadSnapshot, ShardId as Bin, SlotId};
use tokio::sync::oneshot;

use crate::ids::ShardId;
use crate::log::Level;
use crate::node::balance::{Answer, Desk, clocks};
use crate::node::relief;
use crate::shard::ShardState;
use crate::shard::message::Message;
use crate::shard::shared::Shared;

/// Waits are cut into pieces of this length, so that a stepped or injected clock is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often a process with one shard looks.
const ALONE_LOOK_EVERY_MS: u64 = 30_000;

/// The coordinator's life. A process with one shard has nothing to balance, but still answers.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut coordinator = Coordinator {
        desk: Desk::new(&shared.config.load()),
        collector: collect::Collector::default(),
        looked: None,
        hot: None,
        shared,
    };
    loop {
        coordinator.wait_until_due().await;
        coordinator.looked = Some(clocks(&coordinator.shared));
        let snapshot = coordinator.collector.collect(&coordinator.shared).await;
        if collect::is_stopping(&snapshot, &coordinator.shared) {
            return;
        }
        coordinator.desk.collector_bytes = coordinator.collector.heap_bytes();
        coordinator.observe(&snapshot).await;
        coordinator.relieve(&snapshot).await;
    }
}

/// Who alone has the machine.
struct Coordinator {
    desk: Desk,
    collector: collect::Collector,
    /// When it looked last; it looks at once if it never did.
    looked: Option<Clocks>,
    /// The slot whose keys are counted.
    hot: Option<u16>,
    shared: Arc<Shared>,
}

impl Coordinator {
    async fn wait_until_due(&mut self) {
        loop {
            self.answer_asks();
            let now_ms = self.shared.clock.mono_ms();
            let due = self.looked.is_none_or(|at| self.due_ms(at) <= now_ms);
            let asked = !self.desk.commands.is_empty() || self.desk.at_once;
            let moves = !self.shared.is_loading();
            if moves && (due || asked || self.shared.relief.is_asked()) {
                self.desk.at_once = false;
                return;
            }
            // Whichever comes first leads to another look.
            let wake = self.shared.relief.wake.notified();
            let _ = tokio::time::timeout(LOOK_EVERY, wake).await;
        }
    }

    /// When to look again. A process with one shard only shows what it holds.
    fn due_ms(&self, looked: Clocks) -> u64 {
        if self.shared.shards() == 1 {
            return looked.mono_ms + ALONE_LOOK_EVERY_MS;
        }
        self.desk.machine.due_ms(looked)
    }

    /// Does what commands ask for. They are answered when everybody sees what has changed.
    fn answer_asks(&mut self) {
        let asks = self.shared.balance.take_asks();
        if asks.is_empty() {
            return;
        }
        self.follow_policy();
        let clocks = clocks(&self.shared);
        let answers: Vec<Answer> =
            asks.into_iter().map(|ask| ask(&mut self.desk, clocks)).collect();
        self.tell();
        answers.into_iter().for_each(|answer| answer());
    }

    fn follow_policy(&mut self) {
        let config = self.shared.config.load();
        if *self.desk.machine.policy() != config.balancer {
            self.desk.machine.set_policy(config.balancer.clone());
        }
    }

    fn tell(&self) {
        self.shared.overheads.set_balancer(self.desk.heap_bytes());
        self.shared.balance.publish(self.desk.tell(clocks(&self.shared)));
    }

    async fn observe(&mut self, snapshot: &LoadSnapshot) {
        self.follow_policy();
        let mut commands = std::mem::take(&mut self.desk.commands);
        commands.extend(self.desk.machine.observe(snapshot, clocks(&self.shared)));
        // A plan is carried out batch by batch, with what operators say in between.
        while !commands.is_empty() {
            self.carry_out(commands).await;
            self.answer_asks();
            commands = std::mem::take(&mut self.desk.commands);
            commands.extend(self.desk.machine.proceed(clocks(&self.shared)));
        }
        self.tell();
        self.watch_hot_slot();
        let allowed = relief::allowed(&self.desk.machine, clocks(&self.shared));
        self.shared.relief.renew(snapshot, allowed, self.shared.clock.mono_ms());
    }

    /// Has the keys of a slot counted as long as that is too hot to be levelled, so that the hot
    /// key has a name.
    fn watch_hot_slot(&mut self) {
        let hot = match self.desk.machine.reason() {
            Reason::HotSlot { slot, .. } => Some(slot.0),
            _ => None,
        };
        if hot == self.hot {
            return;
        }
        let before = std::mem::replace(&mut self.hot, hot);
        for (slot, counts) in [(before, false), (hot, true)] {
            let Some(slot) = slot else { continue };
            let note = move |state: &mut ShardState| {
                state.note(slot, move |boxed| boxed.hot_keys = counts.then(Box::default));
            };
            let owner = self.shared.router.owner(slot);
            self.shared.mailboxes[owner.index()].push(Message::Call(Box::new(note)));
        }
    }

    /// Shards that are at their share: the smallest hand-over that gives them room, or leave to
    /// evict.
    async fn relieve(&mut self, snapshot: &LoadSnapshot) {
        for shard in self.shared.relief.take_asked(self.shared.shards()) {
            let needed_bytes = relief::needed_bytes(snapshot, shard);
            let event = Event::ShardAtLimit { shard: Bin(shard.0), needed_bytes };
            let commands = self.desk.machine.step(clocks(&self.shared), &event);
            let moves = commands.iter().any(|command| matches!(command, Command::Move { .. }));
            self.carry_out(commands).await;
            if !moves {
                self.shared.relief.refuse(shard, self.shared.clock.mono_ms());
            }
        }
    }

    /// Hands over the slots of the moves and acknowledges each.
    async fn carry_out(&mut self, commands: Vec<Command>) {
        // In the order of the plan, one message for all slots that a shard gives away.
        let mut given: BTreeMap<ShardId, Vec<(u16, ShardId)>> = BTreeMap::new();
        for command in commands {
            match command {
                Command::Move { slot, from, to, .. } => {
                    given.entry(ShardId(from.0)).or_default().push((slot.0, ShardId(to.0)));
                }
                // A hand-over is done or not begun: there is nothing to stop half way.
                Command::Stop { .. } => {}
                Command::Announce(notice) => announce(&self.shared, &notice),
            }
        }
        let mut answers = Vec::new();
        for (from, moves) in given {
            let (sender, receiver) = oneshot::channel();
            let slots: Vec<u16> = moves.iter().map(|(slot, _)| *slot).collect();
            let call = move |state: &mut ShardState| {
                let done = moves.into_iter().map(|(slot, to)| state.hand_over(slot, to)).collect();
                // The coordinator waits for the answer as long as there are threads.
                let _ = sender.send(done);
            };
            self.shared.mailboxes[from.index()].push(Message::Call(Box::new(call)));
            answers.push((slots, receiver));
        }
        for (slots, answer) in answers {
            let done: Vec<bool> = answer.await.unwrap_or_else(|_| vec![false; slots.len()]);
            for (slot, done) in slots.into_iter().zip(done) {
                self.desk.machine.completed(SlotId(slot), done, clocks(&self.shared));
            }
        }
    }
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
