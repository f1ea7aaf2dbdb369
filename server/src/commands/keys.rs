//! Keys of any type.

use super::table::Definition;

pub(crate) static COMMANDS: &[Definition] = &[];
