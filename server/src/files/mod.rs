//! Files of the data set: snapshots (RDB), which are written at one go where all slots are, or in
//! the background, and read where all slots are; and the append-only file.

pub(crate) mod append;
pub(crate) mod bgsave;
pub(crate) mod load;
pub(crate) mod save;
mod take;
