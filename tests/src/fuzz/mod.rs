//! Random commands from the command table: the running server says in `COMMAND DOCS` which
//! commands it has and what arguments they take, so that a new command is tried by being there.
//!
//! A [`Generator`] makes commands, [`Differential`] compares their replies with those of
//! `redis-server`, [`Stress`] runs them from several connections while slots move and keys are
//! evicted, [`check()`] is what must hold at any time, and [`shrink()`] makes a failure short.

mod check;
mod dangers;
mod differential;
mod generator;
mod hand_overs;
mod rules;
mod shrink;
mod stress;
mod syntax;
mod words;

pub use check::{
    Signature, check, check_append_only, delete_all, everything, load_append_only, reset,
};
pub use dangers::Company;
pub use differential::Differential;
pub use generator::Generator;
pub use shrink::{script, shrink};
pub use stress::Stress;
pub use syntax::{Argument, Command, Kind, commands};

/// A command's words.
pub type Words = Vec<Vec<u8>>;

/// A command of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name in the table.
    pub name: String,
    /// What is sent.
    pub words: Words,
}

/// A fault that was found, with what reproduces it.
#[derive(Debug)]
pub struct Fault {
    /// What went wrong.
    pub what: String,
    /// The fewest commands that lead to it, as a command script; all of them if it does not come
    /// again.
    pub script: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n\n{}", self.what, self.script)
    }
}
