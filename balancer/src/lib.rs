//! Decides which slots should live where, and when they may move.
//!
//! Pure: no I/O, no clock, no randomness.
#![forbid(unsafe_code)]

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
