//! What a key is made of: `OBJECT`, `MEMORY`, `DEBUG`.

use super::table::Definition;

pub(crate) static COMMANDS: &[Definition] = &[];
