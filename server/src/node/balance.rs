//! The balancer's state: commands look at it and speak to it, the coordinator carries out what it
//! says.

use ballast_balancer::machine::{Clock as Clocks, Command, Machine};
use ballast_balancer::model::Tier;

use super::Node;
use crate::config::Config;

/// What the coordinator knows; commands look at it and speak to it through the lock.
pub(crate) struct Balance {
    /// The state machine.
    pub(crate) machine: Machine,
    /// Moves that a command has asked for, to be carried out by the coordinator.
    pub(crate) commands: Vec<Command>,
    /// Look at once, not only when it is due.
    pub(crate) at_once: bool,
    /// What the coordinator keeps beside the machine.
    pub(crate) collector_bytes: usize,
}

impl Balance {
    pub(crate) fn new(config: &Config) -> Balance {
        let machine = Machine::new(Tier::Thread, config.balancer.clone());
        Balance { machine, commands: Vec::new(), at_once: false, collector_bytes: 0 }
    }

    /// What the balancer has on the heap, in bytes.
    pub(crate) fn heap_bytes(&self) -> u64 {
        (self.machine.heap_bytes() + self.collector_bytes) as u64
    }

    /// The fields of `INFO balancer`.
    pub(crate) fn info(&self, node: &Node, text: &mut String) {
        let status = self.machine.status(clocks(node));
        let counters = self.machine.counters();
        let points = |fraction: f64| format!("{:.2}", fraction * 100.0);
        let mut line = |name: &str, value: String| {
            text.push_str(name);
            text.push(':');
            text.push_str(&value);
            text.push_str("\r\n");
        };
        let mode = self.machine.policy().render("balancer-thread-mode").unwrap_or_default();
        line("balancer_thread_mode", mode);
        line("balancer_thread_state", status.state.name().to_owned());
        line("balancer_thread_reason", status.reason.code().to_owned());
        line("balancer_window_open", u8::from(status.window.open).to_string());
        line("balancer_window_opens_ms", status.window.opens_ms.unwrap_or(-1).to_string());
        line("balancer_window_closes_ms", status.window.closes_ms.unwrap_or(-1).to_string());
        line("balancer_spread_memory", points(status.memory.now));
        line("balancer_spread_load", points(status.load.map_or(0.0, |load| load.now)));
        line("balancer_spread_floor", points(status.floor));
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
    }
}

/// Both clocks, as the machine wants them.
pub(crate) fn clocks(node: &Node) -> Clocks {
    Clocks { wall_ms: node.clock.wall_ms(), mono_ms: node.clock.mono_ms() }
}
