//! Decides which slots should live where, and when they may move.
//!
//! ```text
//! LoadSnapshot ─ machine::Machine ─┬─ window::Schedule      may work start now?
//!  (who owns what, exact bytes)    ├─ plan::plan            what should move, in which order?
//!                                  └─ admission limits      how much of it now?
//!                                        │
//!                       Command::Move ───┘   acknowledged with Machine::completed
//! ```
//!
//! One planner and one state machine serve both tiers: shard threads of a node, and nodes of a
//! cluster. Everything here is pure: no I/O, no clock, no randomness, no hash order. The same
//! history of calls gives the same commands on every machine, which is what makes the simulator
//! ([`simulate`]) worth having: it runs this very code.
//!
//! The wanted properties and what was measured are in this crate's README.
#![forbid(unsafe_code)]

pub mod attribute;
mod bound;
pub mod ewma;
pub mod explain;
pub mod machine;
pub mod model;
pub mod plan;
pub mod policy;
pub mod reason;
pub mod simulate;
pub mod window;

pub use bound::lower_bound;
pub use explain::{Explanation, Findings, Subject};
pub use machine::{Clock, Command, Event, Machine, Notice, State, Status, StopHow};
pub use model::{
    Health, Hold, InFlight, LoadSnapshot, NodeId, ShardId, ShardLoad, ShardState, SlotId, SlotLoad,
    Tier,
};
pub use plan::{Cause, Goal, Move, Plan, plan};
pub use policy::{DIRECTIVES, Mode, Policy, PolicyError, Warning};
pub use reason::{Limit, Reason};
