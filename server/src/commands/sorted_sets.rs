//! Sorted sets.

use super::table::Definition;

pub(crate) static COMMANDS: &[Definition] = &[];
