//! `SORT`.

use super::table::Definition;

pub(crate) static COMMANDS: &[Definition] = &[];
