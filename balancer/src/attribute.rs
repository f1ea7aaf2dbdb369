//! Whose work a thread's time is.
//!
//! What a thread spends is its CPU time, user and system: sockets cost fifty times what a handler
//! does, and nobody can measure them for each command. So each thread's time is shared out after
//! the fact, by what has been counted of its slots and connections, in proportion to what such work
//! usually costs. Shares of one thread always add up to its time, to the last nanosecond.
//!
//! A thread pays for three kinds of work:
//! - Its own connections' commands on its own slots. The slot caused it, and takes it along when it
//!   moves: a connection follows its slot.
//! - Commands on its slots that came from connections of other threads, which pay for the sockets.
//! - Its connections' commands on slots of other threads, turns of connections that have slots
//!   everywhere, and what nobody asked for. No move of a slot takes that away: it is the *fixed*
//!   part of the thread.

use crate::model::ShardId;

/// What a turn of a connection costs beside its commands: poll, read, write.
const TURN_NS: f64 = 4_000.0;
/// What a command costs beside its handler: parsing, routing, books.
const COMMAND_NS: f64 = 200.0;
/// What a command for a connection of another thread costs beside its handler.
const GUEST_NS: f64 = 300.0;
/// What a byte costs on its way through a socket.
const BYTE_NS: f64 = 0.3;
/// What a thread does when nobody asks for anything, a part of the time that passed.
const IDLE_PART: f64 = 0.002;

/// What a thread did in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadWork {
    /// Which.
    pub shard: ShardId,
    /// Its CPU time.
    pub cpu_ns: u64,
    /// The time that passed.
    pub elapsed_ns: u64,
    /// Turns of its connections: what one read of a socket brought.
    pub turns: u64,
    /// Bytes through its sockets.
    pub net_bytes: u64,
    /// Commands of its connections on slots of other threads.
    pub commands_elsewhere: u64,
}

/// What was done for a slot in the same interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotWork {
    /// Whose slot it is.
    pub owner: ShardId,
    /// All commands on it.
    pub commands: u64,
    /// Those that came from connections of other threads.
    pub guests: u64,
    /// Turns of connections that are there because of this slot.
    pub turns: u64,
    /// Bytes of requests and replies.
    pub net_bytes: u64,
    /// Time of the handlers.
    pub handler_ns: u64,
}

impl SlotWork {
    /// Bytes that went through sockets of its own thread.
    fn local_bytes(&self) -> f64 {
        let local = self.commands.saturating_sub(self.guests);
        if self.commands == 0 {
            return 0.0;
        }
        self.net_bytes as f64 * local as f64 / self.commands as f64
    }

    /// What that usually costs its thread.
    fn usual_ns(&self) -> f64 {
        let local = self.commands.saturating_sub(self.guests);
        self.turns as f64 * TURN_NS
            + local as f64 * COMMAND_NS
            + self.guests as f64 * GUEST_NS
            + self.local_bytes() * BYTE_NS
            + self.handler_ns as f64
    }
}

/// The loads of an interval, in cores.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loads {
    /// Of each slot, in their order; 0 for one of no thread.
    pub slots: Vec<f64>,
    /// The fixed part of each thread, in their order.
    pub fixed: Vec<f64>,
}

/// Shares out what each thread spent.
pub fn attribute(threads: &[ThreadWork], slots: &[SlotWork]) -> Loads {
    let last = threads.iter().map(|thread| usize::from(thread.shard.0) + 1).max().unwrap_or(0);
    let mut sums = vec![Sums::default(); last];
    for slot in slots {
        if let Some(sum) = sums.get_mut(usize::from(slot.owner.0)) {
            sum.usual_ns += slot.usual_ns();
            sum.local_bytes += slot.local_bytes();
            sum.turns += slot.turns as f64;
        }
    }
    // Cores for each nanosecond of usual cost.
    let mut scales = vec![0.0; last];
    let mut fixed = Vec::with_capacity(threads.len());
    for thread in threads {
        let sum = &sums[usize::from(thread.shard.0)];
        let fixed_ns = (thread.turns as f64 - sum.turns).max(0.0) * TURN_NS
            + thread.commands_elsewhere as f64 * COMMAND_NS
            + (thread.net_bytes as f64 - sum.local_bytes).max(0.0) * BYTE_NS
            + thread.elapsed_ns as f64 * IDLE_PART;
        let whole_ns = fixed_ns + sum.usual_ns;
        let load = thread.cpu_ns as f64 / thread.elapsed_ns.max(1) as f64;
        let scale = if whole_ns > 0.0 { load / whole_ns } else { 0.0 };
        scales[usize::from(thread.shard.0)] = scale;
        fixed.push(if whole_ns > 0.0 { fixed_ns * scale } else { load });
    }
    let scale = |owner: ShardId| scales.get(usize::from(owner.0)).copied().unwrap_or(0.0);
    let slots = slots.iter().map(|slot| slot.usual_ns() * scale(slot.owner)).collect();
    Loads { slots, fixed }
}

#[derive(Clone, Debug, Default)]
struct Sums {
    usual_ns: f64,
    local_bytes: f64,
    turns: f64,
}
