//! Whole databases: `SCAN`, `KEYS`, `FLUSHALL` and their like.

use super::table::Definition;

pub(crate) static COMMANDS: &[Definition] = &[];
