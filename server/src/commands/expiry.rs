//! When keys end.

use super::table::Definition;

pub(crate) static COMMANDS: &[Definition] = &[];
