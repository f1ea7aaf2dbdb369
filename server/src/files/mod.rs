//! Files of the data set: snapshots (RDB), which are written and read where all slots are, and the
//! append-only file.

pub(crate) mod append;
pub(crate) mod load;
pub(crate) mod save;
