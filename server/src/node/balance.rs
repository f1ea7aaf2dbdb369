//! The balancer's desk: the coordinator on the control thread has the machine, and everybody else
//! asks there. Planning and explaining take milliseconds, so no other thread does that, nor waits
//! for it with its slots in hand. What `INFO` shows is told after each change.

use std::sync::Arc;

use ballast_balancer::machine::{Clock as Clocks, Command, Counters, Machine, Status};
use ballast_balancer::model::Tier;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Node;
use crate::config::Config;

/// What the coordinator knows.
pub(crate) struct Desk {
    /// The state machine.
    pub(crate) machine: Machine,
    /// Moves that were asked for, to be carried out.
    pub(crate) commands: Vec<Command>,
    /// Look at once, not only when it is due.
    pub(crate) at_once: bool,
    /// What the coordinator keeps beside the machine.
    pub(crate) collector_bytes: usize,
}

impl Desk {
    /// Of a node that has just started.
    pub(crate) fn new(config: &Config) -> Desk {
        let machine = Machine::new(Tier::Thread, config.balancer.clone());
        Desk { machine, commands: Vec::new(), at_once: false, collector_bytes: 0 }
    }

    /// What others may see of it.
    pub(crate) fn tell(&self, clocks: Clocks) -> Told {
        Told {
            status: self.machine.status(clocks),
            counters: self.machine.counters().clone(),
            mode: self.machine.policy().render("balancer-thread-mode").unwrap_or_default(),
            heap_bytes: self.heap_bytes(),
        }
    }

    /// What the balancer has on the heap, in bytes.
    pub(crate) fn heap_bytes(&self) -> u64 {
        (self.machine.heap_bytes() + self.collector_bytes) as u64
    }
}

/// What somebody wants to be done at the desk; it returns how to answer, once what others see is
/// up to date.
pub(crate) type Ask = Box<dyn FnOnce(&mut Desk, Clocks) -> Answer + Send>;

/// How to answer.
pub(crate) type Answer = Box<dyn FnOnce() + Send>;

/// How all threads reach the desk.
pub(crate) struct Balance {
    asks: Mutex<Vec<Ask>>,
    told: Mutex<Arc<Told>>,
}

impl Balance {
    pub(crate) fn new(config: &Config) -> Balance {
        let told = Desk::new(config).tell(Clocks::default());
        Balance { asks: Mutex::default(), told: Mutex::new(Arc::new(told)) }
    }

    /// Has `work` done at the desk, and waits for its answer; `None` only if the node is ending.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        node: &Node,
        work: impl FnOnce(&mut Desk, Clocks) -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        let ask = |desk: &mut Desk, clocks: Clocks| {
            let value = work(desk, clocks);
            // The asking connection may have gone.
            let answer = move || drop(sender.send(value));
            Box::new(answer) as Answer
        };
        self.asks.lock().push(Box::new(ask));
        node.relief.wake.notify_one();
        receiver.await.ok()
    }

    /// Has `work` done at the desk some time.
    pub(crate) fn leave_word(&self, node: &Node, work: impl FnOnce(&mut Desk) + Send + 'static) {
        let ask = |desk: &mut Desk, _: Clocks| {
            work(desk);
            Box::new(|| {}) as Answer
        };
        self.asks.lock().push(Box::new(ask));
        node.relief.wake.notify_one();
    }

    /// What is to be done at the desk; only the coordinator takes it.
    pub(crate) fn take_asks(&self) -> Vec<Ask> {
        std::mem::take(&mut *self.asks.lock())
    }

    /// Lets others see how things stand.
    pub(crate) fn publish(&self, told: Told) {
        *self.told.lock() = Arc::new(told);
    }

    /// How things stand.
    pub(crate) fn told(&self) -> Arc<Told> {
        Arc::clone(&self.told.lock())
    }
}

/// What the coordinator tells of its machine.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// Its state, as of the last look or command.
    pub(crate) status: Status,
    /// What it has done.
    pub(crate) counters: Counters,
    /// The mode in force.
    pub(crate) mode: String,
    /// What the balancer has on the heap, in bytes.
    pub(crate) heap_bytes: u64,
}

impl Told {
    /// The fields of `INFO balancer`.
    pub(crate) fn info(&self, text: &mut String) {
        let Told { status, counters, mode, .. } = self;
        let points = |fraction: f64| format!("{:.2}", fraction * 100.0);
        let mut line = |name: &str, value: String| {
            text.push_str(name);
            text.push(':');
            text.push_str(&value);
            text.push_str("\r\n");
        };
        line("balancer_thread_mode", mode.clone());
        line("balancer_thread_state", status.state.name().to_owned());
        line("balancer_thread_reason", status.reason.code().to_owned());
        line("balancer_window_open", u8::from(status.window.open).to_string());
        line("balancer_window_opens_ms", status.window.opens_ms.unwrap_or(-1).to_string());
        line("balancer_window_closes_ms", status.window.closes_ms.unwrap_or(-1).to_string());
        line("balancer_spread_memory", points(status.memory.now));
        line("balancer_spread_load", points(status.load.map_or(0.0, |load| load.now)));
        line("balancer_load_max", points(status.load.map_or(0.0, |load| load.max)));
        line("balancer_spread_floor", points(status.floor));
        line("balancer_spread_load_floor", points(status.load.map_or(0.0, |load| load.floor)));
        line("balancer_queued_moves", status.queued.as_ref().map_or(0, |q| q.moves).to_string());
        line("balancer_queued_bytes", status.queued.as_ref().map_or(0, |q| q.bytes).to_string());
        line("balancer_plans", counters.plans.to_string());
        line("balancer_moves", counters.moves.to_string());
        line("balancer_moved_bytes", counters.bytes.to_string());
        line("balancer_failed_moves", counters.failures.to_string());
        line("balancer_reversals", counters.reversals.to_string());
        line("balancer_emergency_moves", counters.emergency_moves.to_string());
        line("balancer_unmovable_slots", status.unmovable_slots.to_string());
        line("balancer_largest_slot_bytes", status.largest_slot_bytes.to_string());
        for shard in &status.shards {
            let (slot, hottest) =
                shard.hottest.map_or((-1, 0.0), |(slot, load)| (i32::from(slot.0), load));
            let value = format!(
                "load={},fixed={},hottest_slot={slot},hottest_load={}",
                points(shard.cpu),
                points(shard.fixed_cpu),
                points(hottest)
            );
            line(&format!("balancer_shard{}", shard.id), value);
        }
    }
}

/// Both clocks, as the machine wants them.
pub(crate) fn clocks(node: &Node) -> Clocks {
    Clocks { wall_ms: node.clock.wall_ms(), mono_ms: node.clock.mono_ms() }
}
